"""Programs whose code is fetched anew at each start are a finding; pinned and local ones are not."""

import pytest

from callgate.control.upstream_findings import findings
from callgate.model.upstream import Stdio

UNPINNED = [
    ("npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv"),
    ("npx", "-y", "@modelcontextprotocol/server-filesystem@latest"),
    ("npx", "server-everything@^1.0.0"),
    ("/usr/bin/npx", "--package=server-memory", "mcp-server-memory"),
    ("npm", "exec", "--", "server-memory"),
    ("uvx", "mcp-server-time"),
    ("uvx", "--python", "3.12", "mcp-server-time>=1"),
    ("uvx", "--from", "mcp-server-git", "mcp-server-git"),
    ("uv", "tool", "run", "mcp-server-time"),
    ("pipx", "run", "mcp-server-time"),
]
FINE = [
    ("npx", "-y", "@modelcontextprotocol/server-filesystem@2026.8.31", "/srv"),
    ("npx", "-y", "server-memory@1.2.3-beta.1"),
    ("npx", "./local"),
    ("uvx", "mcp-server-time==2026.10.10"),
    ("uvx", "--from", "mcp-server-git@2026.10.1", "mcp-server-git"),
    ("uv", "run", "server.py"),
    ("node", "server.js"),
    ("npx",),
]


@pytest.mark.parametrize("line", UNPINNED, ids=" ".join)
def test_what_may_change_at_any_start_is_a_finding(line: tuple[str, ...]) -> None:
    [found] = findings(Stdio(line[0], line[1:]))
    assert (found.rule, found.severity) == ("unpinned_package", "medium")
    assert "name an exact one" in found.detail


@pytest.mark.parametrize("line", FINE, ids=" ".join)
def test_what_is_pinned_or_local_is_none(line: tuple[str, ...]) -> None:
    assert findings(Stdio(line[0], line[1:])) == ()


def test_a_url_has_no_command_line() -> None:
    assert findings(None) == ()
