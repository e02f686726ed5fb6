"""Which contents the outside judge has seen: each once, under a mark that names the model, the question and the rules.

Fail closed: a content counts as judged in the same transaction that keeps what was said of it.
"""

from sqlalchemy import Select, func, select, update

from callgate.model.definition import Definition
from callgate.model.finding import Finding
from callgate.store import definitions, findings, rows
from callgate.store.findings import Kept, Scanned
from callgate.store.schema import definition_versions as versions
from callgate.store.schema import definitions as table
from callgate.store.unit import Unit


async def waiting(unit: Unit, mark: str, limit: int) -> tuple[Definition, ...]:
    """Definitions that are offered now and whose content no judge of this mark has seen."""
    return await rows.many(
        unit, _waiting(unit, mark, select(table)).order_by(table.c.id).limit(limit), definitions.build
    )


async def left(unit: Unit, mark: str) -> int:
    """How many there are of these."""
    count: int = (await unit.execute(_waiting(unit, mark, select(func.count()).select_from(table)))).scalar_one()
    return count


def _waiting(unit: Unit, mark: str, statement: Select) -> Select:  # type: ignore[type-arg]  # of whatever it selects
    same = (versions.c.tenant == table.c.tenant) & (versions.c.definition == table.c.id)
    statement = statement.join(versions, same & (versions.c.full == table.c.full))
    offered = table.c.listed & (table.c.kind != "server")  # what a server calls itself is no text for an agent
    return statement.where(table.c.tenant == unit.tenant, rows.live(table), offered, versions.c.judged != mark)


async def keep(unit: Unit, about: Definition, found: tuple[Finding, ...], mark: str, at: float) -> tuple[Kept, ...]:
    """Write what a judge said of the content that `about` had; returns what nobody had seen before."""
    contents = {about.id: about.full}
    before = {kept.key for kept in (await findings.of_contents(unit, contents)).get(about.id, ())}
    weights = await findings.replace(unit, [Scanned(about.id, about.full, found)], at, judged=True)
    own = (versions.c.tenant == unit.tenant) & (versions.c.definition == about.id) & (versions.c.full == about.full)
    await unit.execute(update(versions).where(own).values(judged=mark))
    now = await definitions.get(unit, about.id)
    if now is not None and now.full == about.full and (found or now.worst != weights[about.id].worst):
        await findings.weigh(unit, weights)
    after = (await findings.of_contents(unit, contents)).get(about.id, ())
    return tuple(kept for kept in after if kept.key not in before)
