"""Real MCP servers from npm and PyPI that work without a network: how each is started and what it must be able to do.

Credentials here are made up: these servers list their tools with any string, and no test calls a tool that would use
them. Servers that do real work get a directory of the test's own.
"""

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.environments import node, program, script

MCP = "@modelcontextprotocol/server-"


@dataclass(frozen=True)
class Call:
    """A call that needs no network, and a text that its result must hold."""

    tool: str
    arguments: dict[str, Any]
    expect: str


@dataclass(frozen=True)
class Server:
    """`command` and `env` are complete. `least` is the number of tools that it offers at least."""

    name: str
    era: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    least: int = 1
    call: Call | None = None


def _npm(package: str, *arguments: str) -> tuple[str, ...]:
    return (str(node()), str(program(package)), *arguments)


def _pypi(environment: str, command: str, *arguments: str) -> tuple[str, ...]:
    return (str(script(environment, command)), *arguments)


def prepare(place: Path) -> None:
    """Fill a directory with what the servers work on. It is open to every user: children may run as another one."""
    files = place / "files"
    files.mkdir()
    (files / "note.txt").write_text("a note for the filesystem server\n")
    database = sqlite3.connect(place / "shop.db")
    database.execute("CREATE TABLE parts (name TEXT)")
    database.commit()
    database.close()
    repository = place / "repository"
    git = ("git", "-c", "user.name=Test", "-c", "user.email=test@acme.test", "-C", str(repository))
    subprocess.run(["git", "init", "-q", str(repository)], check=True, capture_output=True)
    (repository / "README").write_text("hello\n")
    subprocess.run([*git, "add", "."], check=True, capture_output=True)
    subprocess.run([*git, "commit", "-q", "-m", "First commit of the test"], check=True, capture_output=True)
    (place / "memory.json").write_text("")
    for directory, _, names in os.walk(place):
        Path(directory).chmod(0o777)
        for name in names:
            (Path(directory) / name).chmod(0o666)


def table(place: Path) -> list[Server]:
    """All servers, working in `place` (see prepare). Raises environments.Missing where one is not installed."""
    notion = {"Authorization": "Bearer made-up", "Notion-Version": "2022-06-28"}
    everything = Call("echo", {"message": "real-echo"}, "real-echo")
    read = Call("read_text_file", {"path": str(place / "files" / "note.txt")}, "a note for the filesystem server")
    thought = {"thought": "one", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
    return [
        Server("everything", "legacy", _npm(f"{MCP}everything"), least=10, call=everything),
        Server("files", "legacy", _npm(f"{MCP}filesystem", str(place / "files")), least=10, call=read),
        Server(
            "memory",
            "legacy",
            _npm(f"{MCP}memory"),
            {"MEMORY_FILE_PATH": str(place / "memory.json")},
            least=9,
            call=Call("read_graph", {}, "entities"),
        ),
        Server(
            "thinking",
            "legacy",
            _npm(f"{MCP}sequential-thinking"),
            call=Call("sequentialthinking", thought, "thoughtNumber"),
        ),
        Server("time", "modern", _pypi("py-mcp2", "mcp-server-time"), least=2, call=_TIME),
        # listed only: what git itself needs beside the repository is not among the paths of an isolated child
        Server("git", "modern", _pypi("py-mcp2", "mcp-server-git"), least=10),
        Server("fetch", "modern", _pypi("py-mcp2", "mcp-server-fetch")),
        Server(
            "sqlite",
            "legacy",
            _pypi("py-mcp1-servers", "mcp-server-sqlite", "--db-path", str(place / "shop.db")),
            least=6,
            call=Call("list_tables", {}, "parts"),
        ),
        Server("github", "legacy", _npm(f"{MCP}github"), {"GITHUB_PERSONAL_ACCESS_TOKEN": "made-up"}, least=20),
        Server(
            "slack", "legacy", _npm(f"{MCP}slack"), {"SLACK_BOT_TOKEN": "xoxb-made-up", "SLACK_TEAM_ID": "T0"}, least=8
        ),
        Server("postgres", "legacy", _npm(f"{MCP}postgres", "postgresql://nobody@127.0.0.1:9/none")),
        Server(
            "notion",
            "legacy",
            _npm("@notionhq/notion-mcp-server"),
            {"OPENAPI_MCP_HEADERS": json.dumps(notion)},
            least=10,
        ),
        Server("context7", "modern", _npm("@upstash/context7-mcp"), least=2),
    ]


_TIME = Call("get_current_time", {"timezone": "UTC"}, "UTC")
Table = Callable[[Path], list[Server]]
