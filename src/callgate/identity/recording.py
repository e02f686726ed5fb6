"""Administrative changes in the audit: each is written in the transaction that makes it."""

from collections.abc import Iterable

from callgate import clock, ids
from callgate.model.caller import Actor
from callgate.model.event import Change
from callgate.store import audit
from callgate.store.unit import Unit


async def record(unit: Unit, actor: Actor, action: str, subject: str, before: str = "", after: str = "") -> None:
    """Write an administrative change into the audit, in the same transaction."""
    await record_all(unit, actor, action, [(subject, before, after)])


async def record_all(unit: Unit, actor: Actor, action: str, changes: Iterable[tuple[str, str, str]]) -> None:
    """The same for many of one kind: (subject, before, after) each."""
    now = clock.now_us()
    await audit.append(unit, *(Change(ids.new_id("chg"), now, unit.tenant, actor.id, action, *one) for one in changes))
