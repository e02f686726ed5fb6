"""Resource /keys: the keys of a tenant's stored secrets; rotated, wrapped anew, destroyed. No key is ever shown."""

from typing import Any

import msgspec

from callgate.control.operations import Asked, Nothing, Operation
from callgate.control.permissions import operator_only
from callgate.control.views import iso
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.keys.rotation import Noted, Rotated, Rotation
from callgate.model.caller import Actor
from callgate.store import tenants
from callgate.store.unit import Unit


class KeysView(msgspec.Struct, frozen=True):
    """A tenant's keys. `wraps_now` differs from `wrapped_by` until they are wrapped anew; `sealed` counts values by the
    number of their key, `seals` is the number of the one that seals now; `stray` values are under a key that is gone.
    """

    wrapped_by: str
    wraps_now: str
    created: str | None
    rotated: str | None
    destroyed: str | None
    seals: str
    sealed: dict[str, int]
    stray: int


class Rewrap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`everybody` is for the operator: all tenants, which after a change of the wrapping key all have to be."""

    everybody: bool = False


class Rewrapped(msgspec.Struct, frozen=True):
    """How many tenants' keysets are wrapped by `by` now."""

    count: int
    by: str


class Destroy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tenant` is the name of the tenant once more, as a confirmation."""

    tenant: str


class Destroyed(msgspec.Struct, frozen=True):
    tenant: str
    before: bool


async def show(asked: Asked[Nothing, None]) -> KeysView:
    found = await _rotation(asked).status(asked.tenant)
    times = {name: iso(getattr(found, name)) for name in ("created", "rotated", "destroyed")}
    return KeysView(**{**msgspec.structs.asdict(found), **times})


async def rotate(asked: Asked[Nothing, None]) -> Rotated:
    done = await _rotation(asked).rotate(asked.tenant, _noted(asked.actor, "keys.rotate"))
    await asked.services.seen(asked.tenant)
    return done


async def rewrap(asked: Asked[Nothing, Rewrap]) -> Rewrapped:
    everybody: tuple[str, ...] = (asked.tenant,)
    if asked.body.everybody:
        operator_only(asked.actor, "keys.everybody")
        async with asked.services.db.unit(None, write=False) as unit:
            everybody = await tenants.all_ids(unit)
    rotation, count = _rotation(asked), 0
    for tenant in everybody:
        actor = msgspec.structs.replace(asked.actor, tenant=tenant)
        count += await rotation.rewrap(tenant, _noted(actor, "keys.rewrap"))
    await asked.services.seen(asked.tenant)
    return Rewrapped(count, asked.services.envelope.keyring.wrapping)


async def destroy(asked: Asked[Nothing, Destroy]) -> Destroyed:
    operator_only(asked.actor, "keys.destroy")
    if asked.body.tenant != asked.tenant:
        raise Refused("validation", f"`tenant` must be {asked.tenant}, whose secrets this would destroy for good.")
    done = await _rotation(asked).destroy(asked.tenant, _noted(asked.actor, "keys.destroy"))
    await asked.services.seen(asked.tenant)
    return Destroyed(asked.tenant, not done)


def _rotation(asked: Asked[Any, Any]) -> Rotation:
    return Rotation(asked.services.db, asked.services.envelope)


def _noted(actor: Actor, action: str) -> Noted:
    async def note(unit: Unit) -> None:
        await record(unit, actor, action, unit.tenant)

    return note


OPERATIONS = (
    Operation("GET", "/keys", "The keys of the stored secrets.", show, KeysView, errors=("keys_unavailable",)),
    Operation("POST", "/keys/rotate", "Seal everything with a fresh key.", rotate, Rotated, errors=("conflict",)),
    Operation("POST", "/keys/rewrap", "Wrap the keys anew.", rewrap, Rewrapped, body=Rewrap, errors=("conflict",)),
    Operation(
        "POST", "/keys/destroy", "Destroy the keys, and with them every stored secret.", destroy, Destroyed,
        body=Destroy, errors=("operator_only",),
    ),
)  # fmt: skip
