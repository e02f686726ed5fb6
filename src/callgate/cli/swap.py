"""Swapping adopted servers for the one URL in a client's own file, with a backup, and taking that back.

Every file is checked after the edit, before it replaces the old one: all but the swapped servers must be as before.
Fail closed: a file that cannot be edited so is left alone and named. Backups are readable by their owner alone.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from callgate import clock
from callgate.cli.configs import JSON_FILE, Entry, Place, read, strip_comments
from callgate.errors import Refused

NAME = "callgate"
MANIFEST = "adopted.json"


@dataclass(frozen=True, slots=True)
class Link:
    """How a client gets to the gateway."""

    url: str
    token: str = field(repr=False)
    command: str  # path of the callgate program, for clients that take no URL


class Swap(msgspec.Struct, frozen=True):
    """One swapped file. `written` is the SHA-256 of what was put there."""

    client: str
    path: str
    backup: str
    written: str


def swap(place: Place, entries: list[Entry], link: Link) -> Swap:
    """Replace some servers of one file. Raises `Refused("validation")` when that cannot be done safely."""
    old = place.path.read_bytes()
    edit = _edit_json if place.format == JSON_FILE else _edit_toml
    new = edit(place, entries, link)
    stamp = clock.utc(clock.now()).strftime("%Y%m%d-%H%M%S")
    backup = place.path.with_name(f"{place.path.name}.callgate-{stamp}.bak")
    _write(backup, old, 0o600)
    _write(place.path, new, place.path.stat().st_mode & 0o777)
    return Swap(place.client, str(place.path), str(backup), hashlib.sha256(new).hexdigest())


def undo(done: Swap) -> None:
    """Put the backup back. Raises `Refused("conflict")` when the file has changed since or the backup is gone."""
    path, backup = Path(done.path), Path(done.backup)
    try:
        now = path.read_bytes()
        old = backup.read_bytes()
    except OSError as error:
        raise Refused("conflict", f"{error.filename} cannot be read: {error.strerror}.") from None
    if hashlib.sha256(now).hexdigest() != done.written:
        raise Refused("conflict", f"{path} has changed since; its backup is {backup}. Put it back by hand.")
    _write(path, old, path.stat().st_mode & 0o777)
    backup.unlink()


def load_manifest(data_dir: Path) -> list[Swap]:
    """The swaps that were done from this data directory and not taken back."""
    path = data_dir / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Swap]) if path.exists() else []
    except (OSError, msgspec.DecodeError):
        raise Refused("conflict", f"{path} cannot be read; undo by hand from the .bak files beside it.") from None


def save_manifest(data_dir: Path, swaps: list[Swap]) -> None:
    """Remember the swaps for `adopt --undo`."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(data_dir / MANIFEST, msgspec.json.format(msgspec.json.encode(swaps)), 0o600)


def server_entry(client: str, link: Link) -> dict[str, object]:
    """The one server in the form that a client reads."""
    headers = {"Authorization": f"Bearer {link.token}"}
    if client == "claude-desktop":
        return {"command": link.command, "args": ["connect", link.url], "env": {"CALLGATE_TOKEN": link.token}}
    if client == "gemini":
        return {"httpUrl": link.url, "headers": headers}
    if client == "cursor":
        return {"url": link.url, "headers": headers}
    if client == "codex":
        return {"url": link.url, "http_headers": headers}
    return {"type": "http", "url": link.url, "headers": headers}


def _edit_json(place: Place, entries: list[Entry], link: Link) -> bytes:
    document = read(place)
    for keys in {entry.keys for entry in entries}:
        servers = _at(document, keys)
        for entry in entries:
            if entry.keys == keys:
                servers.pop(entry.name, None)
        servers[NAME] = server_entry(place.client, link)
    indent = _indent(place.path.read_text("utf-8-sig"))
    return (json.dumps(document, indent=indent, ensure_ascii=False) + "\n").encode()


def _at(document: dict[str, object], keys: tuple[str, ...]) -> dict[str, object]:
    node: object = document
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise Refused("validation", "The file has changed while it was read.")
    return node


def _indent(text: str) -> int | str:
    found = re.search(r"\n(\t|[ ]+)\"", strip_comments(text))
    return 2 if found is None else ("\t" if found[1] == "\t" else len(found[1]))


_TABLE = re.compile(r"^\s*\[(?P<array>\[)?(?P<name>[^\]]+)\]\]?\s*(?:#.*)?$")


def _edit_toml(place: Place, entries: list[Entry], link: Link) -> bytes:
    """Cut out the tables of the swapped servers line by line, so that comments and order of the rest survive."""
    text = place.path.read_text("utf-8-sig")
    gone = {entry.name for entry in entries} | {NAME}
    kept: list[str] = []
    cutting = False
    for line in text.splitlines(keepends=True):
        table = _TABLE.match(line)
        if table is not None:
            cutting = _names_server(table["name"], gone)
        if not cutting:
            kept.append(line)
    body = "".join(kept).rstrip("\n")
    new = f"{body}\n\n[mcp_servers.{NAME}]\n" if body else f"[mcp_servers.{NAME}]\n"
    entry = server_entry(place.client, link)
    headers = entry["http_headers"]
    new += f"url = {json.dumps(entry['url'])}\n"
    if isinstance(headers, dict):
        pairs = ", ".join(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in headers.items())
        new += f"http_headers = {{ {pairs} }}\n"
    _check_toml(place, text, new, gone)
    return new.encode()


def _names_server(table: str, names: set[str]) -> bool:
    try:
        keys = tomllib.loads(f"{table}.x = 1")
    except tomllib.TOMLDecodeError:
        return False
    servers = keys.get("mcp_servers")
    return isinstance(servers, dict) and not names.isdisjoint(servers)


def _check_toml(place: Place, old: str, new: str, gone: set[str]) -> None:
    before, after = tomllib.loads(old), _loads(place, new)
    servers = dict(before.get("mcp_servers", {}))
    expected = {**before, "mcp_servers": {name: one for name, one in servers.items() if name not in gone}}
    found: Mapping[str, object] = after.get("mcp_servers", {})
    actual = {**after, "mcp_servers": {name: one for name, one in found.items() if name != NAME}}
    if expected != actual or NAME not in found:
        raise Refused("validation", f"{place.path} is written in a way that cannot be edited safely; edit it by hand.")


def _loads(place: Place, text: str) -> dict[str, dict[str, object]]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise Refused("validation", f"{place.path} cannot be edited safely; edit it by hand.") from None


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that it is never half there. A symbolic link keeps pointing to the file."""
    real = path.resolve()
    partial = real.with_name(f".{real.name}.{clock.random_bytes(4).hex()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(mode)
        partial.replace(real)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Refused("conflict", f"{path} cannot be written: {error.strerror}.") from None
