"""Revisions: which version each (tenant, aggregate) has. `Unit.bump` raises them."""

from sqlalchemy import select

from callgate.store import rows
from callgate.store.schema import revisions
from callgate.store.unit import Unit

AGGREGATES = (
    "upstreams", "states", "definitions", "rules", "agents", "identity", "notices", "options", "grants", "keys",
)  # fmt: skip


async def of_tenant(unit: Unit) -> dict[str, int]:
    """Aggregate → revision of the unit's tenant; an aggregate that never changed is absent (0)."""
    table = revisions.c
    return await rows.pairs(unit, select(table.aggregate, table.revision).where(table.tenant == unit.tenant))


async def of_all(unit: Unit) -> dict[str, dict[str, int]]:
    """Tenant → aggregate → revision, in one query. Needs a unit over all tenants."""
    unit.require_system()
    table = revisions.c
    found: dict[str, dict[str, int]] = {}
    for tenant, name, number in await unit.execute(select(table.tenant, table.aggregate, table.revision)):
        found.setdefault(tenant, {})[name] = number
    return found
