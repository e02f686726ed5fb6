"""Adopting the servers of the clients on a machine: found, registered, swapped, put back; the rest named."""

import json
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from callgate.cli import demo_server
from callgate.cli.candidates import Candidate, candidates, slug_of
from callgate.cli.configs import entries, places, strip_comments
from tests.support.program import Program
from tests.support.shop import Shop, open_shop

SECRET = "canary-4711"
URL = "http://127.0.0.1:8787/mcp"
DEMO = [sys.executable, "-I", str(demo_server.__file__)]


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=2))
    return path


def found(home: Path, **environment: str) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Slug → candidate, and name → reason of what is skipped."""
    given = {"PATH": "/usr/bin:/bin", **environment}
    servers, unread = entries(places(home, home / "project", given))
    wanted, skipped = candidates(servers, given, URL)
    return {one.slug: one for one in wanted}, {one.name: one.reason for one in [*unread, *skipped]}


def test_every_client_is_read(tmp_path: Path) -> None:
    entry = {"command": "/bin/cat", "args": ["{}"]}

    def named(name: str) -> dict[str, Any]:
        return {name: {**entry, "args": [name]}}

    write(tmp_path / ".config/Claude/claude_desktop_config.json", {"mcpServers": named("desktop")})
    write(
        tmp_path / ".claude.json",
        {"mcpServers": named("code"), "projects": {"/x": {"mcpServers": named("code-project")}}},
    )
    write(tmp_path / "project/.mcp.json", {"mcpServers": named("code-shared")})
    write(tmp_path / ".cursor/mcp.json", {"mcpServers": named("cursor")})
    write(tmp_path / ".config/Code/User/mcp.json", {"servers": named("vscode")})
    write(tmp_path / ".config/Code/User/settings.json", {"mcp": {"servers": named("vscode-old")}})
    write(tmp_path / ".codex/config.toml", '[mcp_servers.codex]\ncommand = "/bin/cat"\nargs = ["codex"]\n')
    write(tmp_path / ".gemini/settings.json", {"mcpServers": named("gemini")})
    wanted, skipped = found(tmp_path)
    assert set(wanted) == {
        "desktop", "code", "code-project", "code-shared", "cursor", "vscode", "vscode-old", "codex", "gemini",
    }  # fmt: skip
    assert skipped == {}


def test_one_server_in_many_clients_is_one_upstream(tmp_path: Path) -> None:
    entry = {"command": "/bin/cat", "env": {"KEY": SECRET}}
    write(tmp_path / ".claude.json", {"mcpServers": {"Files": entry}})
    write(tmp_path / ".cursor/mcp.json", {"mcpServers": {"my files": entry, "files": {"command": "/bin/true"}}})
    wanted, _ = found(tmp_path)
    assert {one.place.client for one in wanted["files"].entries} == {"claude-code", "cursor"}
    assert wanted["files-2"].command == "/bin/true"
    assert SECRET not in repr(wanted)


def test_urls_with_their_credentials(tmp_path: Path) -> None:
    servers = {
        "plain": {"url": "https://a.example/mcp"},
        "bearer": {"type": "http", "url": "https://b.example/mcp", "headers": {"Authorization": f"Bearer {SECRET}"}},
        "key": {"url": "https://c.example/mcp", "headers": {"X-Api-Key": SECRET}},
        "old": {"type": "sse", "url": "https://d.example/sse"},
    }
    write(tmp_path / ".cursor/mcp.json", {"mcpServers": servers})
    write(tmp_path / ".gemini/settings.json", {"mcpServers": {"gem": {"url": "https://e.example/sse"}}})
    codex = '[mcp_servers.token]\nurl = "https://f.example/mcp"\nbearer_token_env_var = "TOK"\n'
    write(tmp_path / ".codex/config.toml", codex)
    wanted, skipped = found(tmp_path, TOK=SECRET)
    assert skipped == {}
    shown = {slug: (one.kind, one.header, one.scheme, one.secret) for slug, one in wanted.items()}
    assert shown == {
        "plain": ("http", None, "", None),
        "bearer": ("http", "Authorization", "Bearer", SECRET),
        "key": ("http", "X-Api-Key", "", SECRET),
        "old": ("sse", None, "", None),
        "gem": ("sse", None, "", None),
        "token": ("http", "Authorization", "Bearer", SECRET),
    }


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"command": "no-such-program-here"}, "not on this machine"),
        ({"command": "/bin/cat", "disabled": True}, "switched off"),
        ({"command": "/bin/cat", "args": "x"}, "list of arguments"),
        ({"command": "/bin/cat", "envFile": ".env"}, "envFile"),
        ({"command": "/bin/cat", "args": ["--api-key", SECRET]}, "seems to be a secret"),
        ({"command": "/bin/cat", "args": [f"--token={SECRET}"]}, "seems to be a secret"),
        ({"command": "/bin/cat", "args": ["postgres://me:pw@host/db"]}, "seems to be a secret"),
        ({"command": "/bin/cat", "env": {"A": "${input:token}"}}, "asked for by the client"),
        ({"command": "/bin/cat", "env": {"A": "${NOT_SET}"}}, "NOT_SET is not set"),
        ({"command": "/bin/cat", "env": ["A"]}, "no map"),
        ({"type": "ws", "url": "wss://x"}, "transport 'ws'"),
        ({"url": "wss://x"}, "neither a command"),
        ({}, "neither a command"),
        ({"url": URL}, "this gateway already"),
        ({"command": "/usr/bin/callgate", "args": ["connect", URL]}, "this gateway already"),
        ({"url": "https://x.example/mcp?api_key=1"}, "seems to hold a secret"),
        ({"url": "https://x.example/mcp", "headers": {"A": "1", "B": "2"}}, "2 headers"),
        ({"url": "https://x.example/mcp", "headersHelper": "x"}, "headersHelper"),
    ],
)
def test_what_can_not_be_kept_exactly_is_skipped_with_the_reason(
    tmp_path: Path, entry: dict[str, Any], reason: str
) -> None:
    write(tmp_path / ".cursor/mcp.json", {"mcpServers": {"it": entry}})
    wanted, skipped = found(tmp_path)
    assert wanted == {}
    assert reason in skipped["it"]
    assert SECRET not in skipped["it"]


def test_variables_are_filled_in_as_the_client_would(tmp_path: Path) -> None:
    entry = {
        "command": "/bin/cat",
        "args": ["${workspaceFolder}/src", "${MISSING:-default}", "$PLAIN"],
        "env": {"A": "${env:HERE}", "B": "x${HERE}y"},
    }
    write(tmp_path / "project/.vscode/mcp.json", {"servers": {"it": entry}})
    wanted, _ = found(tmp_path, HERE="h")
    assert wanted["it"].args == (f"{tmp_path}/project/src", "default", "$PLAIN")
    assert dict(wanted["it"].env) == {"A": "h", "B": "xhy"}


def test_a_broken_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path / ".cursor/mcp.json", "{")
    write(tmp_path / ".codex/config.toml", "= 1")
    write(tmp_path / ".claude.json", {"mcpServers": {"it": {"command": "/bin/cat"}}})
    servers, unread = entries(places(tmp_path, tmp_path, {}))
    assert [one.name for one in servers] == ["it"]
    assert {one.client for one in unread} == {"cursor", "codex"}
    assert all("cannot be read" in one.reason for one in unread)


def test_comments_and_trailing_commas_are_json_too() -> None:
    text = '{\n// one\n"a": "//no", /* two */ "b": [1, 2,], "c": "x, }",\n}'
    assert json.loads(strip_comments(text)) == {"a": "//no", "b": [1, 2], "c": "x, }"}


@pytest.mark.parametrize(
    ("name", "slug"), [("GitHub MCP", "github-mcp"), ("__x__", "x"), ("ü", "server"), ("a" * 50, "a" * 32)]
)
def test_names_become_names_of_upstreams(name: str, slug: str) -> None:
    assert slug_of(name) == slug


class Machine:
    """A home with the files of three clients, and a gateway that is not running."""

    def __init__(self, program: Program, shop: Shop) -> None:
        self.program = program
        self.shop = shop
        home = program.place
        server = {"command": DEMO[0], "args": DEMO[1:], "env": {"SHOP_KEY": SECRET}}
        self.claude = write(home / ".claude.json", {"numStartups": 3, "mcpServers": {"shop": server}})
        self.cursor = write(
            home / ".cursor/mcp.json",
            {"mcpServers": {"shop": server, "gone": {"url": "http://127.0.0.1:1/mcp"}, "odd": {"type": "ws"}}},
        )
        self.codex = write(
            home / ".codex/config.toml",
            f'# mine\nmodel = "x"\n\n[mcp_servers.shop]\ncommand = "{DEMO[0]}"\nargs = {json.dumps(DEMO[1:])}\n'
            f'[mcp_servers.shop.env]\nSHOP_KEY = "{SECRET}"\n\n[mcp_servers.other]\ncommand = "not-here"\n',
        )


@pytest.fixture
def machine(tmp_path: Path) -> Any:
    program = Program(tmp_path)
    program.run("people", "add", "ana@acme.test", "--role", "admin")
    with open_shop() as shop:
        yield Machine(program, shop)


def test_the_dry_run_says_what_would_be_done_and_does_nothing(machine: Machine) -> None:
    before = machine.cursor.read_bytes()
    shown = machine.program.json("adopt")
    assert [(one["name"], one["from"], one["secrets"]) for one in shown["would_adopt"]] == [
        ("shop", ["claude-code", "codex", "cursor"], ["SHOP_KEY"]),
        ("gone", ["cursor"], []),
    ]
    assert {one["name"] for one in shown["skipped"]} == {"odd", "other"}
    assert SECRET not in str(shown)
    assert "Nothing was done" in machine.program.run("adopt").stdout
    assert machine.program.json("upstreams", "list") == []
    assert machine.cursor.read_bytes() == before


def test_adopted_servers_are_swapped_and_put_back(machine: Machine) -> None:
    program = machine.program
    before = {path: path.read_bytes() for path in (machine.claude, machine.cursor, machine.codex)}
    done = program.run("adopt", "--yes", "--replace", "--json")
    answer = json.loads(done.stdout)
    assert answer["adopted"] == ["shop"]
    assert "gone was added but does not work" in done.stderr
    assert set(answer["swapped"]) == {str(path) for path in before}
    claude = json.loads(machine.claude.read_text())
    assert claude["numStartups"] == 3
    assert list(claude["mcpServers"]) == ["callgate"]
    cursor = json.loads(machine.cursor.read_text())["mcpServers"]
    assert set(cursor) == {"callgate", "gone", "odd"}
    codex = tomllib.loads(machine.codex.read_text())
    assert machine.codex.read_text().startswith("# mine\n")
    assert set(codex["mcp_servers"]) == {"callgate", "other"}
    token = codex["mcp_servers"]["callgate"]["http_headers"]["Authorization"].removeprefix("Bearer ")
    assert {one["client"] for one in program.json("tokens", "list")} == {"claude-code", "cursor", "codex"}
    assert token.startswith("cgt_")
    for swapped in answer["swapped"]:
        [backup] = Path(swapped).parent.glob(f"{Path(swapped).name}.callgate-*.bak")
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    [upstream] = [one for one in program.json("upstreams", "list") if one["name"] == "shop"]
    assert (upstream["state"], upstream["stdio"]["secret_env"]) == ("ok", ["SHOP_KEY"])
    program.run("adopt", "--undo")
    assert {path: path.read_bytes() for path in before} == before
    assert list(program.place.rglob("*.bak")) == []
    assert program.json("adopt", "--undo") == {"undone": []}


def test_a_file_that_has_changed_since_is_not_put_back(machine: Machine) -> None:
    machine.program.run("adopt", "--yes", "--replace")
    changed = machine.claude.read_text().replace('"numStartups": 3', '"numStartups": 4')
    machine.claude.write_text(changed)
    done = machine.program.run("adopt", "--undo", code=1)
    assert "has changed since" in done.stderr
    assert ".bak" in done.stderr
    assert machine.claude.read_text() == changed
    assert list(json.loads(machine.cursor.read_text())["mcpServers"]) == ["shop", "gone", "odd"]


def test_adopting_twice_adds_nothing_twice(machine: Machine) -> None:
    machine.program.run("adopt", "--yes")
    again = machine.program.json("adopt", "--yes")
    assert again["adopted"] == ["shop"]
    assert len(machine.program.json("upstreams", "list")) == 2


def test_a_name_that_another_upstream_has_is_not_swapped(machine: Machine) -> None:
    machine.program.run("upstreams", "add", "shop", machine.shop.url, "--allow-private")
    done = machine.program.run("adopt", "--yes", "--replace", "--json")
    assert json.loads(done.stdout)["adopted"] == []
    assert "rename one of them" in done.stderr
    assert list(json.loads(machine.claude.read_text())["mcpServers"]) == ["shop"]


def test_the_secrets_are_nowhere_in_clear(machine: Machine) -> None:
    machine.program.run("adopt", "--yes")
    for path in machine.program.data_dir.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_whose_they_are_must_be_clear(machine: Machine) -> None:
    machine.program.run("people", "add", "bo@acme.test", "--role", "admin")
    assert "--person EMAIL" in machine.program.run("adopt", "--yes", code=1).stderr
    machine.program.run("adopt", "--yes", "--person", "bo@acme.test")
