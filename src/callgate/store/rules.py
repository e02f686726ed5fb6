"""Rules (aggregate "rules"); the revision is the version of the rule set. Ids are the author's own."""

from typing import Any

import msgspec
from sqlalchemy import Row

from callgate.errors import Refused
from callgate.model.rule import Rule
from callgate.store import rows
from callgate.store.policy_schema import rules
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

AGGREGATE = "rules"
_rule = msgspec.json.Decoder(Rule).decode


def _build(row: Row[Any]) -> Rule:
    return msgspec.structs.replace(_rule(row.content), revision=row.revision)


async def put(unit: Unit, rule: Rule) -> Rule:
    """Add a rule or put it in the place of the one with its id."""
    revision = await unit.bump(AGGREGATE)
    values = {"content": rows.to_json(rule), "revision": revision, "deleted": False}
    statement = insert_or(unit.postgresql, rules).values(tenant=unit.tenant, id=rule.id, **values)
    await unit.execute(statement.on_conflict_do_update(index_elements=[rules.c.tenant, rules.c.id], set_=values))
    return msgspec.structs.replace(rule, revision=revision)


async def remove(unit: Unit, rule_id: str) -> None:
    """Delete a rule. Raises `Refused("not_found")`."""
    revision = await unit.bump(AGGREGATE)
    if await rows.mark_deleted(unit, rules, revision, rules.c.id == rule_id) != 1:
        raise Refused("not_found", f"There is no rule {rule_id}.")


async def get(unit: Unit, rule_id: str) -> Rule | None:
    return await rows.one(unit, rows.own(unit, rules, rules.c.id == rule_id), _build)


async def page(unit: Unit, after: str | None = None, limit: int = 100) -> tuple[Rule, ...]:
    return await rows.many(unit, rows.after_key(rows.own(unit, rules), rules, after, limit), _build)


async def everything(unit: Unit) -> tuple[Rule, ...]:
    """All rules by id."""
    return await rows.many(unit, rows.own(unit, rules).order_by(rules.c.id), _build)


async def changed_since(unit: Unit, revision: int) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """(changed rules, ids of deleted rules) after a revision of "rules"."""
    return await rows.changed(unit, rules, revision, _build)
