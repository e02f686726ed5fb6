"""A complete observation of one upstream becomes rows of the catalogue, in one transaction.

Fail closed: an observation that lost the race is `conflict` and changes nothing; a list that could not be had leaves
its definitions as they were; what was not scanned by the rules of now is `conflict` too, and looked at again.
"""

from collections.abc import Mapping

import msgspec
from sqlalchemy import bindparam, insert, update

from callgate import clock, ids
from callgate.errors import Refused
from callgate.fingerprints.canonical import body
from callgate.fingerprints.states import OBSERVATION, Review, Step, first_sight, seen_again, vanished
from callgate.model.definition import Definition, Observation, Observed
from callgate.model.event import Change
from callgate.model.finding import worst
from callgate.model.upstream import UpstreamState
from callgate.store import audit, findings, history, states
from callgate.store import definitions as catalogue
from callgate.store.history import Transition
from callgate.store.naming import NAMED, with_public_names
from callgate.store.rows import chunks
from callgate.store.schema import definition_versions, definitions, key_of
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

_OBSERVED = (
    "status", "raw", "core", "full", "quarantined", "last_seen", "listed", "approved_full", "approved_by", "pinned",
    "worst", "risk", "scanned", "renamed_from", "revision",
)  # fmt: skip
AUDITED = ("trust_on_first_use", "pinned", "unpinned")  # causes that are the named exceptions of promise 2
Key = tuple[str, str]  # kind and name


class _Moved(msgspec.Struct, frozen=True):
    """One definition before (None = not known yet) and after, and why."""

    before: Definition | None
    after: Definition
    cause: str


async def observe(
    unit: Unit, observation: Observation, facts: UpstreamState, expected: int, review: Review
) -> tuple[Definition, ...]:
    """Apply an observation; returns the definitions that changed, in their new form.

    `facts` is the state to write (its `observation` number is set here), `expected` the number of the observation it
    follows. Raises `Refused("conflict")` when another observation came first, the upstream is gone, or something new
    comes without its scan.
    """
    current = await states.get(unit, observation.upstream)
    # the compare-and-set comes first: on PostgreSQL it also serialises two owners
    await states.advance(unit, facts, expected)
    before = current.observed_at if current is not None else observation.seen_at
    known = {(item.kind, item.name): item for item in await catalogue.of_upstream(unit, observation.upstream)}
    observation = _once_each(observation)
    moved = [
        *await _changed(unit, known, observation, review),
        *_vanished(known, observation, before),
    ]
    moved += await _fresh(unit, known, observation, review)
    if not moved:
        return ()
    weights = await _scanned(unit, moved, observation, review)
    revision = await unit.bump(catalogue.AGGREGATE)
    done = [_weighed(one, weights, review, revision) for one in moved]
    await _write(unit, done, observation)
    return tuple(one.after for one in done)


async def _write(unit: Unit, moved: list[_Moved], observation: Observation) -> None:
    fresh = [one.after for one in moved if one.before is None]
    changed = [one.after for one in moved if one.before is not None]
    await _insert(unit, fresh)
    await _update(unit, changed)
    await _keep_versions(unit, [item for item in (*fresh, *changed) if item.last_seen == observation.seen_at])
    steps = [
        Transition(
            one.after.id, observation.seen_at, OBSERVATION, one.cause, one.before.status if one.before else "",
            one.after.status, one.after.full,
        )
        for one in moved
        if one.cause
    ]  # fmt: skip
    await history.append(unit, steps)
    await audit.append(unit, *_exceptions(unit, moved))


def _exceptions(unit: Unit, moved: list[_Moved]) -> list[Change]:
    """What the named exceptions of promise 2 did, for the audit."""
    now = clock.now_us()
    return [
        Change(
            ids.new_id("chg"), now, unit.tenant, "gateway", f"tools.{one.cause}", one.after.id,
            one.after.approved_full or "", one.after.full,
        )
        for one in moved
        if one.cause in AUDITED
    ]  # fmt: skip


def _once_each(seen: Observation) -> Observation:
    """The observation with the first of each (kind, name); an upstream that lists one twice gets no second row."""
    first: dict[Key, Observed] = {}
    for item in seen.definitions:
        first.setdefault((item.kind, item.name), item)
    return msgspec.structs.replace(seen, definitions=tuple(first.values()))


async def _changed(
    unit: Unit, known: Mapping[Key, Definition], seen: Observation, review: Review
) -> list[_Moved]:  # fmt: skip
    again = [(current, item) for item in seen.definitions if (current := known.get((item.kind, item.name)))]
    # what `pin` would go on showing
    approved = await catalogue.reviewed_contents(unit, ((current, item.full) for current, item in again))
    found = []
    for current, item in again:
        step = seen_again(current, item, review.terms, approved.get(current.id))
        content = {"raw": item.raw, "core": item.core, "full": item.full, "quarantined": item.quarantined}
        after = _stepped(current, step, listed=True, last_seen=seen.seen_at, **content)
        same = step.status == current.status and not step.cause and current.scanned == review.version
        if not same:
            found.append(_Moved(current, after, step.cause))
    return found


def _vanished(known: Mapping[Key, Definition], seen: Observation, before: float) -> list[_Moved]:
    listed = {(item.kind, item.name) for item in seen.definitions}
    found = []
    for key, current in known.items():
        if key in listed or current.kind in seen.unlisted:
            continue
        step = vanished(current)
        if step.cause:
            found.append(_Moved(current, _stepped(current, step, listed=False, last_seen=before), step.cause))
    return found


def _stepped(current: Definition, step: Step, **values: object) -> Definition:
    return msgspec.structs.replace(
        current, status=step.status, approved_full=step.approved_full, approved_by=step.approved_by,
        pinned=step.pinned, **values,
    )  # fmt: skip


async def _fresh(unit: Unit, known: Mapping[Key, Definition], seen: Observation, review: Review) -> list[_Moved]:
    """Definitions that nobody knew, each with its public name and, if it was renamed, what it was before."""
    new = [item for item in seen.definitions if (item.kind, item.name) not in known]
    bodies = _bodies(known, seen) if new else {}
    found = []
    for item in new:
        step = first_sight(item, review.terms, worst(review.scans.get((item.kind, item.name), ())))
        earlier = bodies.pop((item.kind, body(item.kind, item.raw) or ""), None) if bodies else None
        fresh = Definition(
            id=ids.new_id("def"), tenant=unit.tenant, upstream=seen.upstream, kind=item.kind, name=item.name,
            public_name=item.name, status=step.status, raw=item.raw, core=item.core, full=item.full,
            approved_full=step.approved_full, approved_by=step.approved_by, quarantined=item.quarantined,
            first_seen=seen.seen_at, last_seen=seen.seen_at, renamed_from=earlier,
        )  # fmt: skip
        found.append((fresh, "renamed" if earlier is not None and step.cause == "appeared" else step.cause))
    named = await with_public_names(unit, seen.upstream, [fresh for fresh, _ in found])
    return [_Moved(None, fresh, cause) for fresh, (_, cause) in zip(named, found, strict=True)]


def _bodies(known: Mapping[Key, Definition], seen: Observation) -> dict[tuple[str, str], str]:
    """(kind, body) → row id of what is offered no longer: it may have got another name, and one only."""
    listed = {(item.kind, item.name) for item in seen.definitions}
    renamed = {current.renamed_from for current in known.values()}
    gone = (
        current
        for key, current in known.items()
        if key not in listed
        and current.kind in NAMED
        and current.kind not in seen.unlisted
        and current.id not in renamed
    )
    bodies = ((current, body(current.kind, current.raw)) for current in gone)
    return {(current.kind, text): current.id for current, text in bodies if text is not None}


# -- scans -------------------------------------------------------------------------------------------------------------


async def _scanned(
    unit: Unit, moved: list[_Moved], seen: Observation, review: Review
) -> dict[str, findings.Weight]:  # fmt: skip
    """Write what was seen in every content that is new or was scanned by other rules; what each weighs."""
    if not review.version:
        return {}
    scans = []
    for one in moved:
        if not one.after.listed or _is_scanned(one, review):
            continue
        found = review.scans.get((one.after.kind, one.after.name))
        if found is None:
            raise Refused("conflict", "A definition changed during the look.")
        scans.append(findings.Scanned(one.after.id, one.after.full, tuple(found)))
    return await findings.replace(unit, scans, seen.seen_at)


def _is_scanned(one: _Moved, review: Review) -> bool:
    same = one.before is not None and one.before.full == one.after.full and one.before.raw == one.after.raw
    return same and one.after.scanned == review.version


def _weighed(one: _Moved, weights: Mapping[str, findings.Weight], review: Review, revision: int) -> _Moved:
    weight = weights.get(one.after.id)
    values: dict[str, object] = {"revision": revision}
    if weight is not None:
        values |= {"worst": weight.worst, "risk": weight.risk, "scanned": review.version}
    return msgspec.structs.replace(one, after=msgspec.structs.replace(one.after, **values))


# -- rows --------------------------------------------------------------------------------------------------------------


async def _insert(unit: Unit, fresh: list[Definition]) -> None:
    for chunk in chunks(fresh):
        values = [
            msgspec.structs.asdict(item) | {"name_key": key_of(item.name), "public_key": key_of(item.public_name)}
            for item in chunk
        ]
        await unit.execute(insert(definitions), values)


async def _update(unit: Unit, changed: list[Definition]) -> None:
    statement = update(definitions).where(definitions.c.tenant == unit.tenant, definitions.c.id == bindparam("row"))
    statement = statement.values({name: bindparam(f"new_{name}") for name in _OBSERVED})
    for chunk in chunks(changed):
        values = [{"row": item.id} | {f"new_{name}": getattr(item, name) for name in _OBSERVED} for item in chunk]
        await unit.execute(statement, values)


async def _keep_versions(unit: Unit, current: list[Definition]) -> None:
    table = definition_versions
    statement = insert_or(unit.postgresql, table)
    statement = statement.on_conflict_do_update(
        index_elements=[table.c.tenant, table.c.definition, table.c.full],
        set_={"last_seen": statement.excluded.last_seen},
    )
    for chunk in chunks(current):
        values = [
            {
                "tenant": item.tenant, "definition": item.id, "full": item.full, "core": item.core, "raw": item.raw,
                "quarantined": item.quarantined, "first_seen": item.last_seen, "last_seen": item.last_seen,
            }
            for item in chunk
        ]  # fmt: skip
        await unit.execute(statement, values)
