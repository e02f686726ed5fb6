"""What tools and other definitions have in common for a reviewer: versions, diff, history, approve, block.

Approving binds to the hash that was shown: of a definition that has changed since, it is `stale_hash` and does nothing.
"""

import asyncio
from typing import Literal

import msgspec

from callgate.control.beside import emails
from callgate.control.fields import FullHash, LongText, Severity
from callgate.control.operations import Asked, Nothing
from callgate.control.views import clean, iso
from callgate.errors import Refused
from callgate.fingerprints.diff import changes
from callgate.identity.recording import record
from callgate.model.definition import Definition
from callgate.store import definitions as rows
from callgate.store import history, reviews
from callgate.store.reviews import Reviewer
from callgate.store.unit import Unit


class DiffQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which versions to compare; by default the approved one with the one last seen."""

    old: FullHash | None = None
    new: FullHash | None = None


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hash that was on the reviewer's screen, and what they want to say about it."""

    full: FullHash
    note: LongText = ""


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a reviewer wants to say about a decision."""

    note: LongText = ""


class VersionView(msgspec.Struct, frozen=True):
    """One content that a definition had."""

    full: str
    core: str
    quarantined: str
    first_seen: str | None
    last_seen: str | None
    approved: bool


class Versions(msgspec.Struct, frozen=True):
    """All of them, oldest first."""

    items: list[VersionView]


class StepView(msgspec.Struct, frozen=True):
    """One step of a definition's life. `actor`: an e-mail, `operator:<uid>` or `observation`."""

    at: str | None
    actor: str
    cause: str
    before: str
    after: str
    full: str
    note: str


class History(msgspec.Struct, frozen=True):
    """The last 200 steps, the newest first."""

    items: list[StepView]


class PartView(msgspec.Struct, frozen=True):
    """A piece of a changed text; `cut` says in words what was left out."""

    op: Literal["equal", "removed", "added", "cut"]
    text: str


class ChangeView(msgspec.Struct, frozen=True):
    """One difference; `path` is a JSON Pointer. Invisible characters are named in all texts, look-alikes in `parts`.

    `what` is a sentence for a person in a hurry; `parts` is empty where the values are no texts.
    """

    path: str
    kind: str
    severity: Severity
    what: str
    before: str | None
    after: str | None
    parts: list[PartView]


class Diff(msgspec.Struct, frozen=True):
    """All differences; `old` is null when nothing was approved yet. `renamed_from`: `old` is what had this body before,
    under another name."""

    name: str
    old: str | None
    new: str
    renamed_from: str | None
    changes: list[ChangeView]


async def versions(unit: Unit, one: Definition) -> Versions:
    """Every content that a definition had."""
    found = await rows.versions(unit, one.id)
    return Versions(
        [
            VersionView(
                each.full, each.core, each.quarantined, iso(each.first_seen), iso(each.last_seen),
                each.full == one.approved_full,
            )
            for each in found
        ]
    )  # fmt: skip


async def life(unit: Unit, one: Definition) -> History:
    """What happened to a definition, and who or what did it."""
    steps = await history.of_definition(unit, one.id)
    names = await emails(unit, {step.actor for step in steps})
    return History(
        [
            StepView(
                iso(step.at), names.get(step.actor, step.actor), step.cause, step.before, step.after, step.full,
                step.note,
            )
            for step in steps
        ]
    )  # fmt: skip


class Pair(msgspec.Struct, frozen=True):
    """Two contents to compare: their hashes, their bytes, and the name under which the older one was known before."""

    name: str
    old: str | None
    new: str
    before: bytes | None
    after: bytes
    renamed_from: str | None = None


async def pair(unit: Unit, one: Definition, query: DiffQuery) -> Pair:
    """The approved content, or what it was under another name, with the present one. Raises `Refused("not_found")`."""
    new = query.new or one.full
    after = await _content(unit, one, new)
    old, before, earlier = query.old or one.approved_full, None, None
    if old is not None:
        before = await _content(unit, one, old)
    elif one.renamed_from is not None and (was := await rows.get(unit, one.renamed_from)) is not None:
        old, before, earlier = was.full, was.raw, clean(was.public_name)
    return Pair(clean(one.public_name), old, new, before, after, earlier)


async def compared(both: Pair) -> Diff:
    """Every difference, found off the event loop."""
    found = await asyncio.to_thread(changes, both.before, both.after)
    views = [msgspec.convert(one, ChangeView, from_attributes=True) for one in found]
    return Diff(both.name, both.old, both.new, both.renamed_from, views)


async def _content(unit: Unit, one: Definition, full: str) -> bytes:
    if full == one.full:
        return one.raw
    found = await rows.version(unit, one.id, full)
    if found is None:
        raise Refused("not_found", "This definition never had this hash.")
    return found.raw


async def approve(asked: Asked[Nothing, Approval], unit: Unit, before: Definition, resource: str) -> Definition:
    """Trust exactly this content, with its record. Raises `Refused` as `reviews.approve`."""
    reviewer = Reviewer(asked.actor, asked.body.note)
    after = await reviews.approve(unit, reviewer, before.id, asked.body.full)
    await record(unit, asked.actor, f"{resource}.approve", after.id, before.approved_full or before.status, after.full)
    return after


async def block(asked: Asked[Nothing, Note], unit: Unit, before: Definition, resource: str) -> Definition:
    """Put a definition out of reach, with its record."""
    after = await reviews.block(unit, Reviewer(asked.actor, asked.body.note), before.id)
    await record(unit, asked.actor, f"{resource}.block", after.id, before.status, after.status)
    return after
