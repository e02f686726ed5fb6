"""The documents are complete: settings, errors, permissions, audit fields, commands; and links lead somewhere."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from callgate.cli.main import app
from callgate.control.permissions import OPERATOR_ONLY, TABLE
from callgate.errors import ERRORS
from callgate.model.event import OUTCOMES, Change, Intent, Outcome
from callgate.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def _named(document: str) -> set[str]:
    """What stands in backquotes in a document."""
    return set(re.findall(r"`([^`\n]+)`", (DOCS / document).read_text()))


def _first_cells(document: str) -> set[str]:
    """What stands in backquotes in the first cell of a table row."""
    rows = re.findall(r"(?m)^\| ([^|]+) \|", (DOCS / document).read_text())
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def _commands(group: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    commands = getattr(group, "commands", None)
    if commands is None:
        yield " ".join(path)
        return
    for name, command in commands.items():
        if not command.hidden:
            yield from _commands(command, (*path, name))


def test_every_setting_is_documented_and_no_other() -> None:
    assert _first_cells("settings.md") == set(Settings.model_fields)


def test_every_error_code_is_documented_as_the_table_has_it() -> None:
    rows = re.findall(
        r"(?m)^\| `([a-z_]+)` \| (\d+) \| (-?\d+) \| (yes|no) \| (.+?) \|", (DOCS / "errors.md").read_text()
    )
    documented = {row[0]: row[1:] for row in rows}
    table = {
        kind.code: (str(kind.http), str(kind.rpc), "yes" if kind.policy else "no", kind.sentence)
        for kind in ERRORS.values()
    }
    assert documented == table


def test_the_tables_of_permissions_and_commands_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "write_tables.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_permission_is_documented() -> None:
    assert {need.permission for need in TABLE.values()} | set(OPERATOR_ONLY) <= _first_cells("permissions.md")


def test_every_audit_field_and_outcome_is_documented() -> None:
    fields = {field.name for event in (Intent, Outcome, Change) for field in msgspec.structs.fields(event)}
    assert fields <= _first_cells("audit.md")
    assert set(OUTCOMES) <= _named("audit.md")


def test_every_command_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    missing = [name for name in _commands(typer.main.get_command(app)) if f"callgate {name}" not in text]
    assert missing == []


def _pasted(document: Path) -> Iterator[str]:
    """The `callgate` commands of a document's shell blocks."""
    for block in re.findall(r"(?s)```sh\n(.*?)```", document.read_text().replace("\n   ", "\n")):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("callgate "):
                yield line.strip()


def _parsed(words: list[str]) -> None:
    """Parse a command line as the program does, without running it. Raises what the program shows as a usage error."""
    command: Any = typer.main.get_command(app)
    context: Any = None
    while hasattr(command, "resolve_command"):
        context = command.make_context("callgate", words, parent=context)
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context("callgate", words, parent=context)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_document_are_commands_of_the_program(document: Path) -> None:
    for line in _pasted(document):
        words = shlex.split(line.split(" > ")[0], comments=True)[1:]
        if words != ["--help"]:
            _parsed(words)


@pytest.mark.parametrize("wrong", ["nope", "agents add x --nope", "rules add"])
def test_a_wrong_command_in_a_document_would_show(wrong: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing"):
        _parsed(wrong.split())


def test_every_file_on_the_path_of_a_call_exists() -> None:
    named = re.findall(r"`((?:src|tests)/[\w./-]+)`", (DOCS / "path-of-a-call.md").read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_document_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text())
    for link in links:
        if "://" not in link and not link.startswith("mailto:"):
            assert (document.parent / link).exists(), link
