"""Single commands against a running gateway: what they print for a person, and what they refuse."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from callgate.cli import audit, demo_server, swap
from callgate.cli.configs import TOML_FILE, Entry, Place
from callgate.cli.output import table
from callgate.cli.session import Session
from callgate.cli.snippets import again, own_program, snippets, welcome
from callgate.cli.upstreams import describe
from callgate.errors import Refused
from tests.support.program import Program
from tests.support.refusals import refused
from tests.support.shop import Shop, open_shop


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with open_shop() as found:
        yield found


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Iterator[Program]:
    found = Program(tmp_path_factory.mktemp("home"))
    with found.serving():
        found.run("people", "add", "ana@acme.test", "--role", "admin")
        found.run("upstreams", "add", "shop", shop.url, "--allow-private")
        yield found


def test_a_tool_is_reviewed_by_its_hash(program: Program, shop: Shop) -> None:
    shown = program.run("tools", "show", "shop__read_order").stdout
    full = next(line.split()[1] for line in shown.splitlines() if line.startswith("full "))
    assert f"callgate tools approve shop__read_order --hash {full}" in shown
    assert "Trusted" in program.run("tools", "approve", "shop__read_order", "--hash", full).stdout
    assert "No difference" in program.run("tools", "diff", "shop__read_order").stdout
    shop.tools[1]["description"] = "Read one order.\u202e"
    program.run("upstreams", "refresh", "shop")
    diff = program.run("tools", "diff", "shop__read_order").stdout
    assert "HIGH (1)\n  description_changed  /description" in diff
    assert "- Read one order by its id." in diff
    assert "RIGHT-TO-LEFT OVERRIDE" in diff
    assert "\u202e" not in diff
    new = diff.rpartition("--hash ")[2].strip()
    stale = program.run("tools", "approve", "shop__read_order", "--hash", full, code=1)
    assert "changed since" in stale.stderr
    program.run("tools", "approve", "shop__read_order", "--hash", new)
    assert "Blocked" in program.run("tools", "block", "shop__read_order").stdout
    blocked = program.run("tools", "list", "--status", "blocked", "--upstream", "shop").stdout
    assert "shop__read_order" in blocked


def test_approving_all_asks_first_and_leaves_reviewed_ones_alone(program: Program) -> None:
    done = program.run("tools", "approve", "--all", code=1)
    assert "say --yes" in done.stderr
    assert "pending_review" in done.stdout
    program.run("tools", "approve", "--all", "--yes")
    statuses = {one["name"]: one["status"] for one in program.json("tools", "list", "--upstream", "shop")}
    assert set(statuses.values()) <= {"trusted", "blocked"}
    for words in ("--all shop__read_order", "--all --hash 0", "shop__read_order"):
        program.run("tools", "approve", *words.split(), code=2 if words != "--all --hash 0" else 1)


def test_a_program_is_added_shown_and_removed(program: Program) -> None:
    line = ["--env", "LANG=C", "--secret-env", "SHOP_KEY", "prog", "--", sys.executable, "-I", demo_server.__file__]
    assert "SHOP_KEY is not set" in program.run("upstreams", "add", *line, code=1).stderr
    added = program.run("upstreams", "add", *line, env={"SHOP_KEY": "canary"}).stdout
    assert "5 pending_review" in added
    assert "callgate tools approve" in added
    shown = program.run("upstreams", "show", "prog").stdout
    assert "LANG, SHOP_KEY" in shown
    assert "canary" not in shown
    assert "A small shop." in shown
    assert "prog" in program.run("upstreams", "list").stdout
    assert "Removed prog" in program.run("upstreams", "remove", "prog").stdout


def test_odd_upstreams_are_refused_before_anything_is_asked(program: Program) -> None:
    assert "one URL" in program.run("upstreams", "add", "x", "http://a.example", "more", code=1).stderr
    assert "NAME=VALUE" in program.run("upstreams", "add", "--env", "X", "x", "--", "cmd", code=1).stderr
    unpinned = program.run("upstreams", "add", "unpinned", "--", "npx", "-y", "no-such-package-here")
    assert "not pinned" in unpinned.stdout
    assert "finding" in program.run("upstreams", "show", "unpinned").stdout
    program.run("upstreams", "remove", "unpinned")


def test_an_upstream_with_a_credential_shows_how_it_is_sent(program: Program, shop: Shop) -> None:
    auth = ["--auth-env", "KEY", "--auth-header", "X-Key", "--auth-scheme", ""]
    program.run("upstreams", "add", "keyed", shop.url, "--allow-private", *auth, env={"KEY": "canary"})
    assert "shared, sent as X-Key" in program.run("upstreams", "show", "keyed").stdout
    program.run("upstreams", "remove", "keyed")


def test_rules_are_written_listed_and_removed(program: Program) -> None:
    program.run("rules", "add", "r1", "--effect", "deny", "--title", "T", "--match", "tool=a*", "--match", "tool=b*",
                "--unless", "team=sre")  # fmt: skip
    assert "tool=a*|b* unless (team=sre)" in program.run("rules", "list").stdout
    program.run("rules", "remove", "r1")
    assert "No rules" in program.run("rules", "list").stdout
    wrong = program.run("rules", "add", "r", "--effect", "deny", "--title", "T", "--match", "x", code=1)
    assert "WHAT=GLOB" in wrong.stderr


def test_empty_lists_say_what_to_do_next(tmp_path: Path) -> None:
    fresh = Program(tmp_path)
    with fresh.serving():
        for words, hint in (
            ("people list", "callgate people add"),
            ("tokens list", "callgate tokens issue"),
            ("upstreams list", "callgate upstreams add"),
            ("tools list", "callgate upstreams add"),
            ("agents list", "No agent profiles"),
        ):
            assert hint in fresh.run(*words.split()).stdout
        assert fresh.run("audit", "tail").stdout == ""
        failing = fresh.run("doctor", code=1)
        assert "checks failed" in failing.stderr
        assert "FAILED  people" in failing.stdout
        assert "FAILED  tools/call" in failing.stdout


def test_doctor_calls_what_it_is_told_to(program: Program) -> None:
    report = program.json("doctor", "--tool", "shop__search_handbook", "--arguments", '{"query": "refunds"}')
    assert report["checks"][-1]["ok"] is True
    for arguments, saying in (('{"query": ""}', "tool error"), ("{", "not JSON")):
        done = program.run("doctor", "--tool", "shop__search_handbook", "--arguments", arguments, code=1)
        assert saying in done.stdout
    unknown = program.run("doctor", "--tool", "shop__nothing", code=1)
    assert "no tool of this name" in unknown.stdout
    nobody = program.run("doctor", "--person", "none@acme.test", code=1)
    assert "no person" in nobody.stdout
    left = {one["client"] for one in program.json("tokens", "list") if one["revoked"] is None}
    assert "doctor" not in left


def test_following_the_audit_shows_each_new_event_once(program: Program) -> None:
    program.run("people", "add", "before@acme.test")
    with Session(json=True, data_dir=program.data_dir, url=None, token=None) as session:
        following = audit.events(session, audit.TailOptions(follow=True, lines=1))
        assert next(following)["action"] == "people.add"
        later = threading.Timer(0.2, lambda: program.run("people", "add", "after@acme.test"))
        later.start()
        assert next(following)["action"] == "people.add"
        later.join()


def test_a_reader_that_goes_away_is_no_error_of_ours(program: Program) -> None:
    command = [sys.executable, "-m", "callgate", "audit", "export", "--data-dir", str(program.data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=program.env, text=True)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors


def test_two_commands_without_a_gateway_wait_for_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "callgate", "people", "add"]
    env = Program(tmp_path).env
    both = [
        subprocess.Popen([*command, f"p{number}@acme.test"], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    for process in both:
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
    assert len(Program(tmp_path).json("people", "list")) == 2


def test_the_first_start_prints_what_to_paste(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "callgate", "up", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, env=Program(tmp_path).env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "callgate doctor" in line:
            break
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()
    text = "".join(lines)
    for part in ("claude mcp add", "~/.cursor/mcp.json", "mcp_servers.callgate", "tools approve --all --yes", "cgt_"):
        assert part in text


def test_the_bridge_is_named_by_its_whole_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A desktop client starts it from a folder of its own."""
    (tmp_path / "callgate").touch(0o755)
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setattr("sys.argv", [f"{tmp_path.name}/callgate", "up"])
    assert own_program() == str(tmp_path / "callgate")


def test_snippets_are_valid_in_their_own_language() -> None:
    found = dict(snippets("http://127.0.0.1:1/mcp", "cgt_x"))
    assert json.loads(found["Cursor (~/.cursor/mcp.json)"])["mcpServers"]["callgate"]["headers"]
    assert "--data-dir /data" in again("http://x/mcp", "/data")
    assert "cgt_x" in welcome("http://x/mcp", {"token": "cgt_x", "person": "a@b", "link": "http://x/l"}, ".callgate")


def test_an_upstream_in_one_sentence() -> None:
    assert describe({"state": "new"}) == "not looked at yet"
    assert describe({"state": "broken", "reason": "it is away"}) == "broken: it is away"
    ok = {"state": "ok", "era": "modern", "version": "v", "tools": {"trusted": 2, "blocked": 0}}
    assert describe(ok) == "modern v, tools: 2 trusted"


def test_a_table_keeps_hidden_characters_visible(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"name": "a\u200bb", "on": True, "list": []}], ("name", "on", "list"), "none")
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "ON", "LIST"]
    assert row.split() == ["a\\u200bb", "yes", "-"]


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = { a = { command = "x" } }\n',
        'mcp_servers.a.command = "x"\n',
        'note = """\n[mcp_servers.a]\n"""\n',
    ],
)
def test_a_file_in_an_unusual_form_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    place = Place("codex", path, TOML_FILE, (("mcp_servers",),))
    with refused("validation", "by hand"):
        swap.swap(place, [Entry(place, ("mcp_servers",), "a", {})], swap.Link("u", "t", "c"))
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_manifest_that_can_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / swap.MANIFEST).write_text("{")
    with pytest.raises(Refused, match="undo by hand"):
        swap.load_manifest(tmp_path)


def test_an_explanation_reads_as_sentences(program: Program) -> None:
    program.run("rules", "add", "no-reads", "--effect", "deny", "--title", "No reads", "--match", "tool=*read*")
    asked = ("policies", "explain", "--person", "ana@acme.test", "--tool", "shop__read_order")
    said = program.run(*asked, "--arguments", '{"order_id": "A-1001"}').stdout
    assert "deny: the rule no-reads" in said
    assert json.loads(program.run(*asked, "--json").stdout)["rule"] == "no-reads"
    assert "JSON object" in program.run(*asked, "--arguments", "[1]", code=1).stderr
    program.run("rules", "remove", "no-reads")
    assert "the default, no rule matches" in program.run(*asked).stdout


def test_lint_fails_where_something_is_odd(program: Program) -> None:
    assert "Nothing is odd" in program.run("policies", "lint").stdout
    program.run("rules", "add", "odd", "--effect", "deny", "--title", "Odd", "--match", "tool=nothing")
    done = program.run("policies", "lint", code=1)
    assert "matches_nothing" in done.stdout
    program.run("rules", "remove", "odd")
