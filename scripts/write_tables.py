#!/usr/bin/env python3
"""Writes the reference tables that follow from the code: permissions in docs/permissions.md, commands in docs/cli.md.

What stands outside the markers is left alone. With --check nothing is written, and a stale file is exit code 1.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from callgate.cli.main import app
from callgate.control.permissions import OPERATOR_ONLY, TABLE

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- made by scripts/write_tables.py: {name} -->"
END = "<!-- end -->"
ROLES = ("member", "reviewer", "admin", "auditor")
# every command has these; they are described once, in the text above the tables
COMMON = {"json", "data_dir", "url", "token", "help"}


def permissions() -> str:
    """Permission, its routes, the roles that have it."""
    routes: dict[str, list[str]] = {}
    roles = {}
    for (method, path), need in TABLE.items():
        routes.setdefault(need.permission, []).append(f"`{method} {path}`")
        roles[need.permission] = need.roles
    rows = ["| permission | routes | roles |", "| --- | --- | --- |"]
    for permission, reached in routes.items():
        needed = roles[permission]
        who = "no identity needed" if needed is None else ", ".join(role for role in ROLES if role in needed)
        rows.append(f"| `{permission}` | {', '.join(reached)} | {who} |")
    return "\n".join(rows)


def operator_only() -> str:
    rows = ["| permission | what all others are told |", "| --- | --- |"]
    rows += [f"| `{permission}` | {sentence} |" for permission, sentence in OPERATOR_ONLY.items()]
    return "\n".join(rows)


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command
        return
    for name, each in inner.items():
        if not each.hidden:
            yield from leaves(each, (*path, name))


def usage(command: Any) -> str:
    """Arguments and own options, as on a command line."""
    words = []
    for parameter in command.params:
        if parameter.name in COMMON or getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "argument":
            name = (parameter.metavar or parameter.name).strip("[]").upper()
            words.append(name if parameter.required else f"[{name}]")
            continue
        option = max(parameter.opts, key=len)
        if not parameter.is_flag:
            option += f" {parameter.metavar or parameter.name.upper()}"
        repeated = "…" if parameter.multiple else ""
        words.append(f"{option}{repeated}" if parameter.required else f"[{option}]{repeated}")
    return "".join(f" {word}" for word in words)


def commands() -> str:
    rows = ["| command | what it does |", "| --- | --- |"]
    for name, command in leaves(typer.main.get_command(app)):
        said = " ".join((command.help or "").split("\n\n", maxsplit=1)[0].split()).replace("|", "\\|")
        shown = f"callgate {name}{usage(command)}".replace("|", "\\|")
        rows.append(f"| `{shown}` | {said} |")
    return "\n".join(rows)


TABLES = {
    "docs/permissions.md": {"permissions": permissions, "operator only": operator_only},
    "docs/cli.md": {"commands": commands},
}


def renewed(text: str, name: str, table: str) -> str:
    """The text with the table between its markers replaced. Raises ValueError where a marker is missing."""
    begin = BEGIN.format(name=name)
    head, found, rest = text.partition(begin)
    _, ended, tail = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the markers of the table `{name}` are missing")
    return f"{head}{begin}\n{table}\n{END}{tail}"


def stale(*, write: bool) -> list[str]:
    """Files whose tables are not what the code says; they are put right when `write` is set."""
    found = []
    for name, tables in TABLES.items():
        path = ROOT / name
        text = wanted = path.read_text()
        for title, make in tables.items():
            wanted = renewed(wanted, title, make())
        if wanted != text:
            found.append(name)
            if write:
                path.write_text(wanted)
    return found


def main() -> int:
    check = "--check" in sys.argv[1:]
    found = stale(write=not check)
    for name in found:
        print(f"{name}: {'is stale; run make docs' if check else 'written'}")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
