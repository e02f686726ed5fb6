"""Resource /options: what a tenant has chosen for itself."""

from typing import Annotated

import msgspec

from callgate.control.operations import Asked, Nothing, Operation
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.store import kept
from callgate.store import options as rows
from callgate.store.options import Options
from callgate.store.unit import Unit

LONGEST_S = 30 * 86400.0
Keep = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_S)]


class OptionsChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays. `keep_arguments_s`: for how many seconds the arguments of blocked and
    parked calls are kept, sealed, so that they can be judged again; 0 keeps none and erases what there is."""

    two_person_review: bool | None = None
    keep_arguments_s: Keep | None = None


async def get_options(asked: Asked[Nothing, None]) -> Options:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return await rows.get(unit)


async def change_options(asked: Asked[Nothing, OptionsChange]) -> Options:
    async with asked.services.db.unit(asked.tenant) as unit:
        _, after = await choose(unit, asked.actor, asked.body.two_person_review, asked.body.keep_arguments_s)
    await asked.services.seen(asked.tenant)
    return after


async def choose(
    unit: Unit, actor: Actor, two_person_review: bool | None, keep_arguments_s: float | None = None
) -> tuple[Options, Options]:
    """Write what is chosen, with its record; None leaves it. What it was, and what it is."""
    before = await rows.get(unit)
    given = {"two_person_review": two_person_review, "keep_arguments_s": keep_arguments_s}
    after = msgspec.structs.replace(before, **{name: one for name, one in given.items() if one is not None})
    if after != before:
        await rows.put(unit, after)
        if not after.keep_arguments_s:
            await kept.forget(unit)
        await record(unit, actor, "options.change", unit.tenant, _shown(before), _shown(after))
    return before, after


def _shown(chosen: Options) -> str:
    review = "two_person_review" if chosen.two_person_review else "one_person_review"
    return f"{review} keep_arguments={chosen.keep_arguments_s:.0f}" if chosen.keep_arguments_s else review


OPERATIONS = (
    Operation("GET", "/options", "What this tenant has chosen.", get_options, Options),
    Operation("PATCH", "/options", "Choose otherwise.", change_options, Options, body=OptionsChange),
)
