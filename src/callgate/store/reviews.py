"""What people decide about definitions: approve exactly one hash, block, acknowledge; each step goes into the history.

An approval binds to the hash that was shown. Where a tenant wants two people, the first approval is kept and changes
nothing; the second one, by somebody else and of the same hash, trusts. Fail closed: what changed meanwhile is
`stale_hash`; what drifted, was blocked, or has a high finding is never approved in bulk.
"""

from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy import bindparam, update

from callgate import clock
from callgate.errors import Refused
from callgate.model.caller import Actor
from callgate.model.definition import BLOCKED, PENDING_REVIEW, REMOVED, TRUSTED, Definition
from callgate.model.finding import rank
from callgate.model.person import REVIEWING, Person
from callgate.model.upstream import REVIEW
from callgate.store import definitions as catalogue
from callgate.store import history, options, people, rows
from callgate.store.history import Transition
from callgate.store.schema import definitions, key_of
from callgate.store.unit import Unit

BULK_BELOW = "high"  # a finding of this severity or worse is looked at by itself
_COLUMNS = ("status", "approved_full", "approved_by", "pinned", "seconded_full", "seconded_by")
Before = Definition | None
After = Definition | Refused


class Reviewer(msgspec.Struct, frozen=True):
    """Who reviews, and what they wrote about it."""

    actor: Actor
    note: str = ""


class _Panel(msgspec.Struct, frozen=True):
    """What decides whether this review is enough. `first`: who approved before, by row id, and still may."""

    reviewer: Reviewer
    two: bool
    first: frozenset[str]


async def approve(unit: Unit, reviewer: Reviewer, definition_id: str, full: str) -> Definition:
    """Trust exactly this content.

    Raises `Refused`: not_found, stale_hash, validation (removed, quarantined), two_person_review (the operator).
    What vanished while it was blocked becomes `removed`, and trusted when an observation lists exactly this again.
    """
    current = await locked(unit, definition_id)
    panel = await _panel(unit, reviewer, [current])
    after = _approved(current, full, panel)
    return (await _write(unit, reviewer, [(current, after)]))[0]


async def approve_many(unit: Unit, reviewer: Reviewer, shown: Mapping[str, str]) -> dict[str, tuple[Before, After]]:
    """The same for many tools, by public name → hash: for each name what it was, and what it is now or why not."""
    known = await _locked_tools(unit, shown)
    panel = await _panel(unit, reviewer, known.values())
    answer = {name: (known.get(name), _judged(known.get(name), full, panel)) for name, full in shown.items()}
    steps = [(one, after) for one, after in answer.values() if one is not None and isinstance(after, Definition)]
    await _write(unit, reviewer, steps)
    return answer


async def block(unit: Unit, reviewer: Reviewer, definition_id: str) -> Definition:
    """Keep a definition out of reach until a person approves it again. Raises `Refused("not_found")`."""
    current = await locked(unit, definition_id)
    after = msgspec.structs.replace(
        current, status=BLOCKED, approved_full=None, approved_by="", pinned=None, seconded_full=None, seconded_by=None
    )
    return (await _write(unit, reviewer, [(current, after)]))[0]


async def locked(unit: Unit, definition_id: str) -> Definition:
    """A definition that no observation changes before this unit ends. Raises `Refused("not_found")`."""
    statement = rows.own(unit, definitions, definitions.c.id == definition_id).with_for_update()
    found = await rows.one(unit, statement, catalogue.build)
    if found is None:
        raise Refused("not_found", "There is no such definition.")
    return found


async def _locked_tools(unit: Unit, names: Iterable[str]) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for chunk in rows.chunks(sorted(map(key_of, names))):
        condition = (definitions.c.kind == "tool") & definitions.c.public_key.in_(chunk)
        statement = rows.own(unit, definitions, condition).order_by(definitions.c.id).with_for_update()
        found.update({one.public_name: one for one in await rows.many(unit, statement, catalogue.build)})
    return found


# -- judging -----------------------------------------------------------------------------------------------------------


async def _panel(unit: Unit, reviewer: Reviewer, found: Iterable[Definition]) -> _Panel:
    two = (await options.get(unit)).two_person_review
    if two and reviewer.actor.kind != "person":
        raise Refused("two_person_review")
    first = {one.seconded_by for one in found if one.seconded_by is not None} if two else set()
    people_there = [await people.get(unit, one) for one in sorted(first)]
    return _Panel(reviewer, two, frozenset(one.id for one in people_there if one is not None and _may_review(one)))


def _may_review(person: Person) -> bool:
    return person.active and not REVIEWING.isdisjoint(person.roles)


def _judged(current: Definition | None, full: str, panel: _Panel) -> After:
    """One of many: only what was never reviewed and has no finding that a person should look at by itself."""
    try:
        if current is None:
            raise Refused("not_found", "There is no tool of this name.")
        if current.full == full and current.status not in (PENDING_REVIEW, TRUSTED, REMOVED):
            raise Refused("validation", f"It is {current.status}: approve it by itself, after a look at its diff.")
        if current.full == full and rank(current.worst) >= rank(BULK_BELOW):
            raise Refused("validation", f"It has a {current.worst} finding: approve it by itself, after a look.")
        return _approved(current, full, panel)
    except Refused as refused:
        return refused


def _approved(current: Definition, full: str, panel: _Panel) -> Definition:
    """The definition after this approval, which may be the first of two. Raises `Refused`."""
    if current.status == REMOVED:
        raise Refused("validation", "The server no longer offers this tool, so there is nothing to approve.")
    if current.quarantined:
        raise Refused("validation", f"This definition can never be trusted: {current.quarantined}.")
    if current.full != full:
        raise Refused("stale_hash")
    first = current.seconded_by if current.seconded_full == full else None
    mine = panel.reviewer.actor.id
    if panel.two and current.status != TRUSTED and (first not in panel.first or first == mine):
        return msgspec.structs.replace(current, seconded_full=full, seconded_by=mine)
    status = TRUSTED if current.listed else REMOVED
    return msgspec.structs.replace(
        current, status=status, approved_full=full, approved_by=REVIEW, pinned=None, seconded_full=None,
        seconded_by=None,
    )  # fmt: skip


# -- writing -----------------------------------------------------------------------------------------------------------


async def _write(unit: Unit, reviewer: Reviewer, steps: list[tuple[Definition, Definition]]) -> list[Definition]:
    """Write what was decided, with one line of history each."""
    if not steps:
        return []
    revision = await unit.bump(catalogue.AGGREGATE)
    after = [msgspec.structs.replace(one, revision=revision) for _, one in steps]
    statement = update(definitions).where(definitions.c.tenant == unit.tenant, definitions.c.id == bindparam("row"))
    statement = statement.values({name: bindparam(f"new_{name}") for name in _COLUMNS} | {"revision": revision})
    for chunk in rows.chunks(after):
        values = [{"row": one.id} | {f"new_{name}": getattr(one, name) for name in _COLUMNS} for one in chunk]
        await unit.execute(statement, values)
    at = clock.now()
    await history.append(
        unit,
        [
            Transition(
                one.id, at, reviewer.actor.id, _cause(other), one.status, other.status, other.full, reviewer.note
            )
            for one, other in steps
        ],
    )
    return after


def _cause(after: Definition) -> str:
    if after.status == BLOCKED:
        return "blocked"
    return "first_approval" if after.seconded_full is not None else "approved"
