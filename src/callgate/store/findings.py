"""Findings of the scanner, by the exact content that they are about, and who acknowledged them.

An acknowledgement is bound to definition, hash, rule, version of the rule and place: a changed text or a raised rule
raises the finding again. Fail closed: a scan replaces all findings of that content; none is kept by omission.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select, tuple_, update

from callgate.model.finding import Finding, worst
from callgate.store import rows
from callgate.store.schema import definitions, findings
from callgate.store.unit import Unit

_decode = msgspec.json.Decoder(Finding).decode


class Kept(msgspec.Struct, frozen=True):
    """One finding as it is kept. `raised`: seconds since 1970 at first sight; `acked_by`: row id, None = a risk."""

    definition: str
    full: str
    key: str
    finding: Finding
    raised: float
    acked_by: str | None = None
    acked_at: float | None = None
    note: str = ""


class Scanned(msgspec.Struct, frozen=True):
    """One content with what a scan saw in it."""

    definition: str
    full: str
    findings: tuple[Finding, ...]


class Weight(msgspec.Struct, frozen=True):
    """Severities ("" without any): of the worst finding, of the worst that nobody acknowledged, and what is new."""

    worst: str
    risk: str
    new: int = 0


def key_of(full: str, finding: Finding) -> str:
    """What an acknowledgement is bound to: the exact content, the rule and its version, and the place."""
    place = f"{full}\0{finding.rule}\0{finding.version}\0{finding.path}\0{finding.start}\0{finding.end}\0{finding.key}"
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:32]


async def replace(unit: Unit, scans: Iterable[Scanned], at: float, *, judged: bool = False) -> dict[str, Weight]:
    """Write what scans saw, in place of what was known of the same contents; what each weighs, by definition.

    What the outside judge says stands beside what the rules say: neither removes a finding of the other. `judged` says
    whose findings these are.
    """
    weights: dict[str, Weight] = {}
    for chunk in rows.chunks(scans):
        before = await _kept(unit, chunk)
        after: dict[str, list[Kept]] = {}
        for one in chunk:
            known = before.get((one.definition, one.full), {})
            others = [kept for kept in known.values() if kept.finding.judged != judged]
            after[one.definition] = [*others, *_merged(one, known, at)]
            if known:
                condition = (findings.c.definition == one.definition) & (findings.c.full == one.full)
                await unit.execute(delete(findings).where(findings.c.tenant == unit.tenant, condition))
        fresh = [_values(unit, kept) for found in after.values() for kept in found]
        for part in rows.chunks(fresh):
            await unit.execute(insert(findings), part)
        for one in chunk:
            old = before.get((one.definition, one.full), {})
            weights[one.definition] = _weight(after[one.definition], old)
    return weights


async def of_contents(unit: Unit, contents: Mapping[str, str]) -> dict[str, tuple[Kept, ...]]:
    """Definition id → what was found in its content of this hash, the worst first."""
    found: dict[str, list[Kept]] = {}
    for chunk in rows.chunks(contents):
        statement = select(findings).where(findings.c.tenant == unit.tenant, findings.c.definition.in_(chunk))
        for row in await unit.execute(statement):
            if contents.get(row.definition) == row.full:
                found.setdefault(row.definition, []).append(_build(row))
    return {key: tuple(sorted(kept, key=_order)) for key, kept in found.items()}


async def acknowledge(
    unit: Unit, definition: str, full: str, keys: Sequence[str], by: tuple[str, float, str]
) -> Weight:  # fmt: skip
    """Acknowledge these findings of one content; `by` is (person or operator, at, note). What the content weighs then.

    A key that is not there changes nothing: the caller has shown the keys and compares how many there were.
    """
    who, at, note = by
    condition = (findings.c.definition == definition) & (findings.c.full == full) & findings.c.key.in_(list(keys))
    statement = update(findings).where(findings.c.tenant == unit.tenant, condition, findings.c.acked_by.is_(None))
    await unit.execute(statement.values(acked_by=who, acked_at=at, note=note))
    kept = (await of_contents(unit, {definition: full})).get(definition, ())
    return _weight(kept, {})


async def weigh(unit: Unit, weights: Mapping[str, Weight], scanned: str | None = None) -> None:
    """Write severities, by definition, and which rules looked at them."""
    if not weights:
        return
    values: dict[str, object] = {"worst": bindparam("new_worst"), "risk": bindparam("new_risk")}
    if scanned is not None:
        values["scanned"] = scanned
    statement = update(definitions).where(definitions.c.tenant == unit.tenant, definitions.c.id == bindparam("row"))
    statement = statement.values(revision=await unit.bump("definitions"), **values)
    for chunk in rows.chunks(weights.items()):
        await unit.execute(
            statement, [{"row": key, "new_worst": one.worst, "new_risk": one.risk} for key, one in chunk]
        )


class Wanted(msgspec.Struct, frozen=True):
    """Which findings to list. `severities`: any of these; `acknowledged`: None = both."""

    upstream: str | None = None  # row id
    severities: tuple[str, ...] = ()
    acknowledged: bool | None = False
    definition: str | None = None  # row id


async def page(
    unit: Unit, after: str | None = None, limit: int = 100, wanted: Wanted | None = None
) -> tuple[Kept, ...]:  # fmt: skip
    """Findings in the current contents of live definitions, by definition and key; `after` is `<definition>.<key>`."""
    wanted = wanted or Wanted()
    current = (findings.c.definition == definitions.c.id) & (findings.c.full == definitions.c.full)
    statement = select(findings).join(definitions, current & (definitions.c.tenant == findings.c.tenant))
    statement = statement.where(findings.c.tenant == unit.tenant, rows.live(definitions))
    if wanted.upstream is not None:
        statement = statement.where(definitions.c.upstream == wanted.upstream)
    if wanted.definition is not None:
        statement = statement.where(findings.c.definition == wanted.definition)
    if wanted.severities:
        statement = statement.where(findings.c.severity.in_(wanted.severities))
    if wanted.acknowledged is not None:
        acked = findings.c.acked_by.is_not(None)
        statement = statement.where(acked if wanted.acknowledged else ~acked)
    if after is not None:
        definition, _, key = after.partition(".")
        statement = statement.where(tuple_(findings.c.definition, findings.c.key) > tuple_(definition, key))
    statement = statement.order_by(findings.c.definition, findings.c.key).limit(min(max(limit, 1), rows.MAX_PAGE))
    return await rows.many(unit, statement, _build)


def _order(kept: Kept) -> tuple[int, str, int, str]:
    severities = ("critical", "high", "medium", "low", "info")
    return (severities.index(kept.finding.severity), kept.finding.path, kept.finding.start, kept.key)


def _merged(one: Scanned, before: Mapping[str, Kept], at: float) -> list[Kept]:
    """The findings of a scan, with the acknowledgements of those that were there before."""
    merged: dict[str, Kept] = {}
    for finding in one.findings:
        key = key_of(one.full, finding)
        old = before.get(key)
        known = Kept(one.definition, one.full, key, finding, at)
        if old is not None:
            known = msgspec.structs.replace(old, finding=finding)
        merged[key] = known
    return list(merged.values())


def _weight(kept: Iterable[Kept], before: Mapping[str, Kept]) -> Weight:
    kept = list(kept)
    risks = [one.finding for one in kept if one.acked_by is None]
    return Weight(worst([one.finding for one in kept]), worst(risks), sum(one.key not in before for one in kept))


async def _kept(unit: Unit, scans: list[Scanned]) -> dict[tuple[str, str], dict[str, Kept]]:
    wanted = {(one.definition, one.full) for one in scans}
    statement = select(findings).where(
        findings.c.tenant == unit.tenant, findings.c.definition.in_([one.definition for one in scans])
    )
    found: dict[tuple[str, str], dict[str, Kept]] = {}
    for row in await unit.execute(statement):
        if (row.definition, row.full) in wanted:
            found.setdefault((row.definition, row.full), {})[row.key] = _build(row)
    return found


def _build(row: Row[Any]) -> Kept:
    return Kept(
        row.definition, row.full, row.key, _decode(bytes(row.content)), row.raised, row.acked_by, row.acked_at,
        row.note,
    )  # fmt: skip


def _values(unit: Unit, kept: Kept) -> dict[str, object]:
    finding = kept.finding
    return {
        "tenant": unit.tenant, "definition": kept.definition, "full": kept.full, "key": kept.key,
        "rule": finding.rule, "version": finding.version, "class": finding.cls, "severity": finding.severity,
        "content": rows.encode_json(finding), "raised": kept.raised, "acked_by": kept.acked_by,
        "acked_at": kept.acked_at, "note": kept.note,
    }  # fmt: skip
