"""The command line from the first start to an exported record, as a person would type it."""

import csv
import io
import json
from pathlib import Path

import pytest
import yaml

from callgate import __version__
from callgate.cli.mcp_probe import call_tool
from callgate.errors import Refused
from tests.support.program import Program
from tests.support.shop import open_shop


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_the_tour_of_the_readme(program: Program) -> None:
    with program.up("--demo") as facts:
        url, token = facts["mcp"], facts["token"]
        with pytest.raises(Refused, match="waiting for a review"):
            call_tool(url, token, "demo__list_orders", {})
        tools = program.json("tools", "list")
        assert {one["status"] for one in tools} == {"pending_review"}
        assert {"name", "upstream", "status", "core", "full", "findings"} <= set(tools[0])
        program.run("tools", "approve", "--all", "--yes")
        assert call_tool(url, token, "demo__list_orders", {}) == "result"
        assert call_tool(url, token, "demo__read_order", {"order_id": "A-9999"}) == "tool_error"
        program.run("rules", "add", "no-refunds", "--effect", "deny", "--title", "Refunds need a person",
                    "--match", "tool=refund_*")  # fmt: skip
        with pytest.raises(Refused, match="Refunds need a person"):
            call_tool(url, token, "demo__refund_order", {"order_id": "A-1003"})
        calls = [one for one in program.lines("audit", "tail") if one["type"] == "call"]
        assert [(one["decision"], one["outcome"], one["code"]) for one in calls] == [
            ("deny", "refused", "tool_not_trusted"),
            ("allow", "result", ""),
            ("allow", "tool_error", ""),
            ("deny", "refused", "denied_by_rule"),
        ]
        assert [one["tool"] for one in calls[1:]] == ["demo__list_orders", "demo__read_order", "demo__refund_order"]
        report = program.json("doctor")
        assert report["ok"] is True
        assert report["checks"][-1]["name"] == "tools/call"
        exported = program.run("audit", "export", "--format", "csv", "--since", "1h").stdout
        assert "A-1003" not in exported
        assert [row["tool"] for row in csv.DictReader(io.StringIO(exported)) if row["rule"]] == ["demo__refund_order"]


def test_everything_works_without_a_running_gateway(program: Program) -> None:
    assert program.json("version") == {"version": __version__}
    person = program.json("people", "add", "Ana@acme.test", "--role", "admin", "--team", "red", "--team", "blue")
    assert (person["email"], person["teams"]) == ("ana@acme.test", ["blue", "red"])
    bare = program.run("tokens", "issue", "--person", "ana@acme.test", "--expires", "30d")
    assert bare.stdout.startswith("cgt_")
    assert len(bare.stdout.splitlines()) == 1
    assert "shown this once" in bare.stderr
    [token] = program.json("tokens", "list")
    assert program.json("tokens", "revoke", token["id"]) == {"id": token["id"], "revoked": True}
    program.run("agents", "add", "bot", "--upstream", "docs-*")
    assert program.json("agents", "list")[0]["upstreams"] == ["docs-*"]
    program.run("agents", "remove", "bot")
    program.run("people", "set", "ana@acme.test", "--role", "auditor")
    program.run("people", "deactivate", "ana@acme.test")
    assert program.json("people", "list")[0]["active"] is False
    program.run("people", "reactivate", "ana@acme.test")
    actions = [one["action"] for one in program.lines("audit", "tail")]
    assert actions == [
        "people.add", "tokens.issue", "tokens.revoke", "agents.add", "agents.remove", "people.change",
        "people.deactivate", "people.reactivate",
    ]  # fmt: skip


def test_a_refusal_is_one_line_that_says_what_to_do(program: Program) -> None:
    program.run("people", "add", "ana@acme.test")
    for arguments, saying in (
        (("people", "add", "ana@acme.test"), "already a person"),
        (("people", "add", "ana"), "an e-mail address"),
        (("tokens", "issue", "--person", "none@acme.test"), "no person"),
        (("upstreams", "add", "meta", "http://169.254.169.254/"), "metadata"),
        (("tools", "show", "nobody__nothing"), "callgate tools list"),
        (("people", "list", "--url", "http://127.0.0.1:1"), "CALLGATE_TOKEN"),
        (("people", "list", "--url", "http://127.0.0.1:1", "--token", "cgt_x"), "is it running?"),
        (("apply", "-f", "nowhere.yaml"), "cannot be read"),
    ):
        done = program.run(*arguments, code=1)
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("callgate: ")
        assert saying in done.stderr


def test_wrong_usage_is_exit_code_2(program: Program) -> None:
    for words in ("people", "nothing", "people add", "tools approve", "tools approve x", "tokens issue"):
        assert program.run(*words.split(), code=2).stdout == "" or words == "people"
    program.run("audit", "export", "--format", "xml", code=2)


def test_a_setting_that_does_not_exist_stops_the_start(program: Program) -> None:
    done = program.run("up", code=1, env={"CALLGATE_PROT": "1"})
    assert "CALLGATE_PROT" in done.stderr
    assert "`port`" in done.stderr


def test_a_second_gateway_on_the_same_directory_and_port_is_refused(program: Program) -> None:
    with program.serving() as url:
        assert "Another Callgate uses" in program.run("up", code=1).stderr
        port = url.rpartition(":")[2]
        other = program.run("up", "--data-dir", "other", "--port", port, code=1)
        assert f"Port {port} on 127.0.0.1 is taken" in other.stderr


def test_a_person_with_a_token_uses_the_same_commands_from_elsewhere(program: Program) -> None:
    with program.serving() as url:
        program.run("people", "add", "rev@acme.test", "--role", "reviewer")
        token = program.run("tokens", "issue", "--person", "rev@acme.test", "--client", "cli").stdout.strip()
        there = {"CALLGATE_URL": url, "CALLGATE_TOKEN": token}
        assert program.json("people", "list", env=there)[0]["email"]
        denied = program.run("people", "add", "x@acme.test", code=1, env=there)
        assert "people.add" in denied.stderr


def test_the_governance_file_is_applied_checked_and_exported(program: Program) -> None:
    with open_shop() as shop, program.serving():
        path = program.place / "gov.yaml"
        path.write_text(
            f"""
people:
  - {{email: ana@acme.test, roles: [admin]}}
upstreams:
  - {{name: shop, url: "{shop.url}", allow_private: true, auth: {{mode: shared, secret: {{env: SHOP_KEY}}}}}}
tools:
  - {{upstream: shop, tool: "*_order*"}}
rules:
  - id: no-refunds
    title: No refunds
    match: {{tool: [refund_order]}}
    effect: deny
"""
        )
        missing = program.run("apply", "-f", "gov.yaml", code=1)
        assert "SHOP_KEY" in missing.stderr
        key = {"SHOP_KEY": "the-key"}
        assert "add" in program.run("plan", "-f", "gov.yaml").stdout
        done = program.run("apply", "-f", "gov.yaml", "--json", env=key)
        changes = json.loads(done.stdout)["changes"]
        assert ("trust", "shop__read_order") in {(one["action"], one["name"]) for one in changes}
        assert "Waiting for" in done.stderr
        assert program.json("apply", "-f", "gov.yaml", env=key) == {"changes": [], "missing": []}
        assert shop.seen_authorization[-1] == "Bearer the-key"
        exported = program.run("export").stdout
        assert "the-key" not in exported
        assert len(yaml.safe_load(exported)["tools"][0]["full"]) == 64
        (program.place / "again.yaml").write_text(exported)
        again = program.json("apply", "-f", "again.yaml", env={"SHOP_SECRET": "the-key"})
        assert again == {"changes": [], "missing": []}


def test_apply_names_what_is_missing_after_the_wait(program: Program) -> None:
    (program.place / "gov.yaml").write_text(
        'upstreams: [{name: gone, url: "http://127.0.0.1:1/mcp", allow_private: true}]\n'
        'tools: [{upstream: gone, tool: "*"}]\n'
    )
    done = program.run("apply", "-f", "gov.yaml", "--wait", "1", code=1)
    assert "upstream gone: it is broken" in done.stderr
    assert "tool gone: *: the upstream is broken" in done.stderr


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("people:\n  - {email: a@b.test, rols: [admin]}\n", "gov.yaml:2: Unknown key `rols`"),
        ("upstreams:\n  - name: x\n    stdio:\n      comand: npx\n", "Did you mean `command`?"),
        ("rules:\n  - id: x\n    title: T\n    effect: block\n", "gov.yaml:4:"),
        (
            "rules:\n  - id: x\n    title: T\n    when: 'args.x'\n    effect: deny\n",
            "gov.yaml:4: `when`, it must be true or false",
        ),
        ("people: []\npeople: []\n", "gov.yaml:2: the key `people` stands here twice"),
        ("a: &a [*a]\n", "gov.yaml:1:"),
        ("{", "gov.yaml:1: this is not valid YAML"),
        ("- 1\n", "must be a mapping"),
        ("agents: [{name: Bad Name}]\n", "Expected 1 to 32 characters"),
        ("people: [{email: 2026-01-01}]\n", "an e-mail address"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(program: Program, text: str, saying: str) -> None:
    (program.place / "gov.yaml").write_text(text)
    done = program.run("plan", "-f", "gov.yaml", code=1)
    assert saying in done.stderr
    assert not program.data_dir.exists()


def test_what_an_upstream_says_can_not_move_the_cursor(program: Program) -> None:
    with open_shop() as shop, program.serving():
        shop.tools[0]["description"] = "\x1b[2J\u202eevil"
        shop.tools[0]["name"] = "list\x1b[31morders"
        program.run("upstreams", "add", "shop", shop.url, "--allow-private")
        for command in (("tools", "list"), ("tools", "show", "shop__count_stock"), ("upstreams", "show", "shop")):
            assert "\x1b" not in program.run(*command).stdout
        [odd] = [one["name"] for one in program.json("tools", "list") if one["tool"].startswith("list")]
        shown = program.run("tools", "show", odd).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
