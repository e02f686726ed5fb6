"""Resource /options: what a tenant has chosen for itself."""

import msgspec

from callgate.control.operations import Asked, Nothing, Operation
from callgate.identity.people import record
from callgate.model.caller import Actor
from callgate.store import options as rows
from callgate.store.options import Options
from callgate.store.unit import Unit


class OptionsChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    two_person_review: bool | None = None


async def get_options(asked: Asked[Nothing, None]) -> Options:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return await rows.get(unit)


async def change_options(asked: Asked[Nothing, OptionsChange]) -> Options:
    async with asked.services.db.unit(asked.tenant) as unit:
        return (await choose(unit, asked.actor, asked.body.two_person_review))[1]


async def choose(unit: Unit, actor: Actor, two_person_review: bool | None) -> tuple[Options, Options]:
    """Write what is chosen, with its record; None leaves it. What it was, and what it is."""
    before = await rows.get(unit)
    after = before
    if two_person_review is not None:
        after = msgspec.structs.replace(before, two_person_review=two_person_review)
    if after != before:
        await rows.put(unit, after)
        await record(unit, actor, "options.change", unit.tenant, _shown(before), _shown(after))
    return before, after


def _shown(chosen: Options) -> str:
    return "two_person_review" if chosen.two_person_review else "one_person_review"


OPERATIONS = (
    Operation("GET", "/options", "What this tenant has chosen.", get_options, Options),
    Operation("PATCH", "/options", "Choose otherwise.", change_options, Options, body=OptionsChange),
)
