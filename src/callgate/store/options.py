"""What a tenant has chosen for itself; without a row the defaults hold."""

import msgspec
from sqlalchemy import select

from callgate.store.policy_schema import options
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or

AGGREGATE = "options"


class Options(msgspec.Struct, frozen=True):
    """`two_person_review`: a definition is trusted only when two different people approved the same hash."""

    two_person_review: bool = False
    default_effect: str = "allow"  # of a trusted tool that no rule matches; published with the rules
    keep_arguments_s: float = 0.0  # how long the arguments of blocked calls are kept, sealed; 0 = not at all


async def get(unit: Unit) -> Options:
    """The unit's tenant's options."""
    row = (await unit.execute(select(options).where(options.c.tenant == unit.tenant))).one_or_none()
    return Options() if row is None else Options(row.two_person_review, row.default_effect, row.keep_arguments_s)


async def put(unit: Unit, chosen: Options) -> None:
    """Write them (aggregate "options")."""
    await unit.bump(AGGREGATE)
    values = msgspec.structs.asdict(chosen)
    statement = insert_or(unit.postgresql, options).values(tenant=unit.tenant, **values)
    await unit.execute(statement.on_conflict_do_update(index_elements=[options.c.tenant], set_=values))
