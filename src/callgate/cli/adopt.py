"""`callgate adopt`: bring in the MCP servers that the clients on this machine already have.

Without `--yes` it only says what it would do. Secrets are sealed as the adopting person's own. `--replace` then swaps
the adopted servers for the one URL, with a backup; `--undo` takes that back.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from callgate.cli import swap
from callgate.cli.candidates import Candidate, candidates
from callgate.cli.client import Client, segment
from callgate.cli.commands import command
from callgate.cli.configs import Entry, Skipped, entries, places, process_environment
from callgate.cli.connect import DEFAULT_URL
from callgate.cli.output import note, say, table
from callgate.cli.session import Session
from callgate.cli.snippets import own_program
from callgate.errors import Refused

COLUMNS = ("name", "kind", "target", "secrets", "from")


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    person: Annotated[
        str | None, typer.Option("--person", metavar="EMAIL", help="Whose servers these are; default: the only admin.")
    ] = None
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would be done.")] = False
    replace: Annotated[
        bool, typer.Option("--replace", help="Swap them for the one URL in the clients' files, with a backup.")
    ] = False
    undo: Annotated[bool, typer.Option("--undo", help="Put the clients' files back.")] = False
    endpoint: Annotated[str, typer.Option("--endpoint", metavar="URL", help="MCP endpoint that clients shall use.")] = (
        f"{DEFAULT_URL}/mcp"
    )


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "adopt", AdoptOptions)(adopt)


def adopt(session: Session, options: AdoptOptions) -> None:
    """Register the servers of this machine's MCP clients; first a dry run."""
    if options.undo:
        _undo(session)
        return
    environment = process_environment()
    found, unread = entries(places(Path.home(), Path.cwd(), environment))
    wanted, skipped = candidates(found, environment, options.endpoint)
    skipped = [*unread, *skipped]
    rows = [_row(one) for one in wanted]
    if not options.yes:
        answer: dict[str, object] = {"would_adopt": rows, "skipped": [_skip_row(one) for one in skipped]}
        session.show(answer, lambda: _dry_run(rows, skipped))
        return
    person = _person(session.client, options.person)
    adopted = [(one, _register(session, one, person)) for one in wanted]
    swapped = _replace(session, options, person, adopted) if options.replace else []
    done: dict[str, Any] = {
        "adopted": [name for _one, name in adopted if name],
        "skipped": [_skip_row(one) for one in skipped],
        "swapped": [one.path for one in swapped],
    }
    session.show(done, lambda: _done(done, skipped))


def _row(one: Candidate) -> dict[str, object]:
    secrets = [name for name, _value in one.env] + ([one.header] if one.header else [])
    clients = sorted({entry.place.client for entry in one.entries})
    return {"name": one.slug, "kind": one.kind, "target": one.target, "secrets": secrets, "from": clients}


def _skip_row(one: Skipped) -> dict[str, object]:
    return {"name": one.name, "from": one.client, "file": str(one.path), "reason": one.reason}


def _dry_run(rows: list[dict[str, object]], skipped: list[Skipped]) -> None:
    table(rows, COLUMNS, "No MCP servers found in the files of Claude, Cursor, VS Code, Codex and Gemini.")
    _say_skipped(skipped)
    if rows:
        say("Nothing was done. Do it: callgate adopt --yes   and swap the clients' files too: --yes --replace")


def _say_skipped(skipped: Iterable[Skipped]) -> None:
    for one in skipped:
        say(f"skipped  {one.name} ({one.client}, {one.path}): {one.reason}")


def _done(answer: dict[str, Any], skipped: list[Skipped]) -> None:
    say(f"Adopted: {', '.join(answer['adopted']) or 'nothing'}")
    _say_skipped(skipped)
    for path in answer["swapped"]:
        say(f"swapped  {path} (take it back: callgate adopt --undo)")
    say("Look at the tools and approve them: callgate tools list; callgate tools approve --all --yes")


def _person(client: Client, wanted: str | None) -> str:
    if wanted is not None:
        return str(client.get(f"/people/{segment(wanted)}")["email"])
    admins = [one for one in client.pages("/people", active=True) if "admin" in one["roles"]]
    if len(admins) != 1:
        raise Refused("validation", "Say whose servers these are: callgate adopt --person EMAIL")
    return str(admins[0]["email"])


def is_private(url: str) -> bool:
    """Whether a URL names this machine or an address that only this network has."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _register(session: Session, one: Candidate, person: str) -> str:
    """Add one upstream; its name, or an empty text when it can not be served (said on stderr)."""
    body: dict[str, object] = {"name": one.slug, "owner": person}
    if one.kind == "stdio":
        secrets = dict(one.env)
        body["stdio"] = {"command": one.command, "args": one.args, "cwd": one.cwd, "secret_env": secrets}
    else:
        # the operator's own clients speak to this address already
        private = not session.remote and is_private(one.url or "")
        body |= {"url": one.url, "transport": one.kind, "allow_private": private}
        if one.secret is not None:
            body["auth"] = {"mode": "shared", "secret": one.secret, "header": one.header, "scheme": one.scheme}
    client = session.client
    try:
        if not _is_there(client, one):
            client.post("/upstreams", body)
        state = client.post(f"/upstreams/{segment(one.slug)}/refresh")
    except Refused as refused:
        note(f"{one.slug}: {refused.sentence}")
        return ""
    if state["state"] == "broken":
        note(f"{one.slug} was added but does not work, so no client's file is changed for it: {state['reason']}")
        return ""
    return one.slug


def _is_there(client: Client, one: Candidate) -> bool:
    """Whether this very server was adopted before. Raises `Refused("conflict")` when another one has its name."""
    try:
        found = client.get(f"/upstreams/{segment(one.slug)}")
    except Refused as refused:
        if refused.code == "not_found":
            return False
        raise
    stdio = found["stdio"] or {"command": None, "args": []}
    if (found["url"], stdio["command"], tuple(stdio["args"])) != (one.url, one.command, one.args):
        raise Refused("conflict", "There is another upstream of this name; rename one of them.")
    return True


def _replace(
    session: Session, options: AdoptOptions, person: str, adopted: list[tuple[Candidate, str]]
) -> list[swap.Swap]:
    """Swap the adopted servers in every file that holds some; a file that can not be edited is named and left."""
    by_file: dict[Path, list[Entry]] = {}
    for one, name in adopted:
        if name:
            for entry in one.entries:
                by_file.setdefault(entry.place.path, []).append(entry)
    data_dir = session.settings().data_dir
    manifest = swap.load_manifest(data_dir)
    done: list[swap.Swap] = []
    tokens: dict[str, str] = {}
    for path, held in by_file.items():
        client = held[0].place.client
        try:
            if client not in tokens:
                issued = session.client.post("/tokens", {"person": person, "client": client})
                tokens[client] = issued["token"]
            link = swap.Link(options.endpoint, tokens[client], own_program())
            done.append(swap.swap(held[0].place, held, link))
        except Refused as refused:
            note(f"{path}: {refused.sentence}")
            continue
        swap.save_manifest(data_dir, [*manifest, *done])
    return done


def _undo(session: Session) -> None:
    data_dir = session.settings().data_dir
    left: list[swap.Swap] = []
    undone: list[str] = []
    for one in reversed(swap.load_manifest(data_dir)):
        try:
            swap.undo(one)
            undone.append(one.path)
        except Refused as refused:
            note(refused.sentence)
            left.append(one)
    swap.save_manifest(data_dir, left[::-1])
    session.show(
        {"undone": undone}, lambda: say("\n".join(f"put back {path}" for path in undone) or "Nothing to undo.")
    )
    if left:
        raise Refused("conflict", f"{len(left)} files were left as they are.")
