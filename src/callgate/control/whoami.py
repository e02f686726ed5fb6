"""Resource /whoami: who the API takes the caller for."""

from typing import Any

import msgspec

from callgate.control.operations import Asked, Operation
from callgate.control.permissions import TABLE, allowed


class Whoami(msgspec.Struct, frozen=True):
    """The actor and its permissions, sorted."""

    tenant: str
    kind: str
    id: str
    roles: tuple[str, ...]
    permissions: list[str]


async def whoami(asked: Asked[Any, None]) -> Whoami:
    actor = asked.actor
    held = sorted({need.permission for need in TABLE.values() if allowed(actor, need)})
    return Whoami(actor.tenant, actor.kind, actor.id, actor.roles, held)


OPERATIONS = (Operation("GET", "/whoami", "Who you are here, and what you may do.", whoami, Whoami),)
