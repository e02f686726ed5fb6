"""Versions of the rule set, and drafts of the next one.

A version is never changed; its number is the revision of the aggregate "rules".
"""

import zlib
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update

from callgate.errors import Refused
from callgate.model.ruleset import Draft, RuleSet, Version
from callgate.store import options, revisions, rows, rules
from callgate.store.policy_schema import rule_drafts, rule_sets
from callgate.store.unit import Unit

_decode = msgspec.json.Decoder(RuleSet).decode
_VERSION = ("version", "at", "actor", "note", "back_to")


def _packed(content: RuleSet) -> bytes:
    return zlib.compress(rows.encode_json(content))


def _unpacked(raw: bytes) -> RuleSet:
    return _decode(zlib.decompress(bytes(raw)))


async def in_force(unit: Unit) -> tuple[int, RuleSet]:
    """The version in force and what it holds; revisions of rules are those of the store."""
    version = (await revisions.of_tenant(unit)).get(rules.AGGREGATE, 0)
    newest = select(rule_sets.c.content).where(rule_sets.c.tenant == unit.tenant)
    row = (await unit.execute(newest.order_by(rule_sets.c.version.desc()).limit(1))).scalar_one_or_none()
    tests = () if row is None else _unpacked(row).tests
    chosen = await options.get(unit)
    return version, RuleSet(await rules.everything(unit), tests, chosen.default_effect)


async def put(unit: Unit, version: Version, content: RuleSet) -> None:
    """Keep a version that was just put into force."""
    values = {name: getattr(version, name) for name in _VERSION}
    await unit.execute(insert(rule_sets).values(tenant=unit.tenant, content=_packed(content), **values))


async def keep_first(unit: Unit, version: int, content: RuleSet, at: float) -> None:
    """Keep what was in force before versions were kept, so that it can be brought back."""
    newest = select(rule_sets.c.version).where(rule_sets.c.tenant == unit.tenant).limit(1)
    if (await unit.execute(newest)).one_or_none() is None:
        await put(unit, Version(version, at, "", "in force before versions were kept"), content)


async def page(unit: Unit, before: int | None = None, limit: int = 100) -> tuple[Version, ...]:
    """Versions, the newest first."""
    statement = select(*(rule_sets.c[name] for name in _VERSION)).where(rule_sets.c.tenant == unit.tenant)
    if before is not None:
        statement = statement.where(rule_sets.c.version < before)
    statement = statement.order_by(rule_sets.c.version.desc()).limit(limit)
    return await rows.many(unit, statement, lambda row: Version(**row._asdict()))


async def get(unit: Unit, version: int) -> tuple[Version, RuleSet]:
    """One version. Raises `Refused("not_found")`."""
    statement = select(rule_sets).where(rule_sets.c.tenant == unit.tenant, rule_sets.c.version == version)
    row = (await unit.execute(statement)).one_or_none()
    if row is None:
        raise Refused("not_found", f"There is no version {version} of the rules; see `callgate policies versions`.")
    return Version(*(getattr(row, name) for name in _VERSION)), _unpacked(row.content)


# -- drafts ------------------------------------------------------------------------------------------------------------


def _draft(row: Row[Any]) -> Draft:
    return Draft(row.name, row.base, row.edition, row.changed, row.actor, _unpacked(row.content))


async def drafts(unit: Unit) -> tuple[Draft, ...]:
    """All drafts by name."""
    statement = select(rule_drafts).where(rule_drafts.c.tenant == unit.tenant).order_by(rule_drafts.c.name)
    return await rows.many(unit, statement, _draft)


async def draft(unit: Unit, name: str, *, lock: bool = False) -> Draft:
    """One draft; `lock` keeps others from changing it meanwhile. Raises `Refused("not_found")`."""
    statement = select(rule_drafts).where(rule_drafts.c.tenant == unit.tenant, rule_drafts.c.name == name)
    found = await rows.one(unit, statement.with_for_update() if lock else statement, _draft)
    if found is None:
        raise Refused("not_found", f"There is no draft {name}; see `callgate policies drafts`.")
    return found


async def put_draft(unit: Unit, one: Draft) -> Draft:
    """Write a draft: edition 0 is a new one. Raises `Refused("conflict")` when somebody changed it meanwhile."""
    values = {
        "base": one.base, "edition": one.edition + 1, "changed": one.changed, "actor": one.actor,
        "content": _packed(one.content),
    }  # fmt: skip
    if one.edition == 0:
        await unit.execute(insert(rule_drafts).values(tenant=unit.tenant, name=one.name, **values))
    else:
        mine = (rule_drafts.c.tenant == unit.tenant) & (rule_drafts.c.name == one.name)
        statement = update(rule_drafts).where(mine, rule_drafts.c.edition == one.edition)
        if (await unit.execute(statement.values(**values))).rowcount != 1:
            raise Refused("conflict", f"The draft {one.name} was changed meanwhile; look at it again.")
    return msgspec.structs.replace(one, edition=one.edition + 1)


async def remove_draft(unit: Unit, name: str) -> None:
    """Delete a draft. Raises `Refused("not_found")`."""
    statement = delete(rule_drafts).where(rule_drafts.c.tenant == unit.tenant, rule_drafts.c.name == name)
    if (await unit.execute(statement)).rowcount != 1:
        raise Refused("not_found", f"There is no draft {name}; see `callgate policies drafts`.")
