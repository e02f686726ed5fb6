"""Where MCP clients keep their servers on this machine, and what those entries mean.

Reads Claude Desktop, Claude Code, Cursor, VS Code, Codex and Gemini. Pure but for reading files: nothing is written.
A file that cannot be read and an entry that cannot be served become a `Skipped` with the reason; nothing is guessed.
"""

import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

JSON_FILE, TOML_FILE = "json", "toml"


@dataclass(frozen=True, slots=True)
class Place:
    """One file of one client. `keys` are the ways to its server maps; `*` stands for any key."""

    client: str
    path: Path
    format: str
    keys: tuple[tuple[str, ...], ...]
    project: Path | None = None  # what ${workspaceFolder} means here


@dataclass(frozen=True, slots=True)
class Entry:
    """One server as a client has it. `keys` lead to the map that holds it."""

    place: Place
    keys: tuple[str, ...]
    name: str
    values: Mapping[str, object] = field(repr=False)  # may hold secrets


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is left alone, and why."""

    client: str
    path: Path
    name: str
    reason: str


def places(home: Path, directory: Path, environment: Mapping[str, str]) -> list[Place]:
    """Every file that a client may have, for one home and one project directory."""
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    if sys.platform == "darwin":
        config = home / "Library" / "Application Support"
    claude = Path(environment.get("CLAUDE_CONFIG_DIR") or home)
    codex = Path(environment.get("CODEX_HOME") or home / ".codex")
    usual = (("mcpServers",),)
    return [
        Place("claude-desktop", config / "Claude" / "claude_desktop_config.json", JSON_FILE, usual),
        Place("claude-code", claude / ".claude.json", JSON_FILE, (*usual, ("projects", "*", "mcpServers"))),
        Place("claude-code", directory / ".mcp.json", JSON_FILE, usual, directory),
        Place("cursor", home / ".cursor" / "mcp.json", JSON_FILE, usual),
        Place("cursor", directory / ".cursor" / "mcp.json", JSON_FILE, usual, directory),
        Place("vscode", config / "Code" / "User" / "mcp.json", JSON_FILE, (("servers",),)),
        Place("vscode", config / "Code" / "User" / "settings.json", JSON_FILE, (("mcp", "servers"),)),
        Place("vscode", directory / ".vscode" / "mcp.json", JSON_FILE, (("servers",),), directory),
        Place("codex", codex / "config.toml", TOML_FILE, (("mcp_servers",),)),
        Place("gemini", home / ".gemini" / "settings.json", JSON_FILE, usual),
        Place("gemini", directory / ".gemini" / "settings.json", JSON_FILE, usual, directory),
    ]


def entries(found: list[Place]) -> tuple[list[Entry], list[Skipped]]:
    """All servers in all files that exist."""
    servers: list[Entry] = []
    skipped: list[Skipped] = []
    seen: set[Path] = set()
    for place in found:
        real = place.path.resolve()
        if real in seen or not place.path.is_file():
            continue
        seen.add(real)
        try:
            document = read(place)
        except (OSError, ValueError, RecursionError) as error:
            skipped.append(Skipped(place.client, place.path, "*", f"the file cannot be read: {_short(error)}"))
            continue
        for keys in place.keys:
            servers.extend(_servers(place, document, (), keys))
    return servers, skipped


def read(place: Place) -> dict[str, object]:
    """A file's document. Raises OSError or ValueError."""
    text = place.path.read_text("utf-8-sig")
    if place.format == TOML_FILE:
        return tomllib.loads(text)
    document = json.loads(strip_comments(text) or "{}")
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  one error for all that can be wrong with a file
    return document


def _short(error: Exception) -> str:
    return error.strerror or "I/O error" if isinstance(error, OSError) else str(error).splitlines()[0][:120]


def _servers(place: Place, node: object, done: tuple[str, ...], keys: tuple[str, ...]) -> Iterator[Entry]:
    if not isinstance(node, dict):
        return
    if not keys:
        for name, values in node.items():
            if isinstance(values, dict):
                yield Entry(place, done, str(name), values)
        return
    for name in list(node) if keys[0] == "*" else [keys[0]]:
        yield from _servers(place, node.get(name), (*done, name), keys[1:])


_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)


def strip_comments(text: str) -> str:
    """JSON with comments and trailing commas (VS Code) as plain JSON; strings stay as they are."""
    keep = _COMMENT.sub(lambda found: found.group() if found.group().startswith('"') else " ", text)
    return _TRAILING.sub(lambda found: found.group() if found.group().startswith('"') else "", keep).strip()


_VARIABLE = re.compile(
    r"\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{(?P<other>[^}]*)\}"
)


class Unresolved(Exception):
    """A reference in a value that cannot be resolved here; `args[0]` says which."""


def expand(value: str, place: Place, environment: Mapping[str, str]) -> str:
    """A value with the client's variables filled in. Raises `Unresolved`."""

    def fill(found: re.Match[str]) -> str:
        name = found["name"]
        if name == "workspaceFolder":
            return _workspace(place)
        if name == "userHome":
            return str(Path.home())
        if name is None:
            raise Unresolved(f"${{{found['other']}}} is asked for by the client and is not stored")
        known = environment.get(name)
        if known is None and found["default"] is None:
            raise Unresolved(f"the environment variable {name} is not set here")
        return known if known is not None else found["default"]

    return _VARIABLE.sub(fill, value)


def _workspace(place: Place) -> str:
    if place.project is None:
        raise Unresolved("${workspaceFolder} has no meaning outside a project")
    return str(place.project)


def process_environment() -> Mapping[str, str]:
    """The environment that `expand` may read."""
    return os.environ
