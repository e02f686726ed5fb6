"""identify: token → caller.

Fail closed: no token, an unknown, revoked, expired or foreign one, or an inactive person is refused. The only
exception is the anonymous mode that an operator asked for by name, on loopback alone.
"""

from typing import Protocol

from callgate.errors import Refused
from callgate.model.caller import SCIM_CLIENT, Caller


class Identities(Protocol):
    """Who stands behind a token; `peek` is the hit path (no query), `lookup` asks the store once, `again` looks whether
    a caller still is who they were, and after `settled` all know of every change that this replica has heard of."""

    def peek(self, token: str) -> Caller | None: ...

    async def lookup(self, token: str) -> Caller: ...

    async def again(self, caller: Caller) -> Caller: ...

    async def settled(self) -> None: ...


def bearer(authorization: str | None) -> str:
    """The token of an `Authorization: Bearer …` header (RFC 6750, section 2.1)."""
    if not authorization:
        raise Refused("auth_required")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Refused("auth_required", "Send the access token as `Authorization: Bearer …`.")
    return token


def belongs(caller: Caller, tenant: str) -> Caller:
    """Refuse a token of another tenant, and one for provisioning: they are valid nowhere else."""
    if caller.tenant != tenant:
        raise Refused("invalid_token")
    if caller.client == SCIM_CLIENT:
        raise Refused("invalid_token", "This token was issued for provisioning (SCIM) and is good for nothing else.")
    return caller


async def identify(identities: Identities, authorization: str | None, tenant: str) -> Caller:
    """The caller behind a request. Raises `Refused`: auth_required, invalid_token, person_inactive."""
    token = bearer(authorization)
    caller = identities.peek(token) or await identities.lookup(token)
    return belongs(caller, tenant)
