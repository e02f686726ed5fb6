"""Who asks the control API: the operator at the local socket, or a person with an access token.

Fail closed: no identity, a foreign or ended token, or a token that was issued for an agent or an MCP client is
refused. Such tokens lie in the configuration of programs that a model steers; they must not approve their own tools.
"""

from starlette.requests import Request

from callgate.control.permissions import OPERATOR, operator_only
from callgate.control.services import Services
from callgate.errors import Refused
from callgate.model.caller import DEFAULT_TENANT, Actor

PEER_UID = "peer_uid"  # key of the ASGI scope's `state`, set by the local socket's server alone
CLI_CLIENT = "cli"  # tokens issued for this client name are meant for the control API


async def actor_of(request: Request, services: Services) -> Actor:
    """The actor behind a request.

    Raises `Refused`: auth_required, invalid_token, person_inactive, forbidden, operator_only, not_found (tenant).
    """
    state = request.scope.get("state") or {}
    uid = state.get(PEER_UID)
    if uid is not None:
        actor = Actor(DEFAULT_TENANT, OPERATOR, f"operator:{uid}", ("admin",))
    else:
        actor = await _person(request, services)
    return _in_tenant(actor, request.query_params.get("tenant"), services)


async def _person(request: Request, services: Services) -> Actor:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Refused("auth_required", "Send an access token as `Authorization: Bearer …`.")
    caller = services.tokens.peek(token) or await services.tokens.lookup(token)
    if caller.agent is not None or caller.client not in (None, CLI_CLIENT):
        raise Refused(
            "forbidden",
            "This token was issued for an agent or an MCP client and is good for MCP only; "
            "issue one with `callgate tokens issue --person EMAIL --client cli`.",
        )
    return Actor(caller.tenant, "person", caller.person, caller.roles)


def _in_tenant(actor: Actor, wanted: str | None, services: Services) -> Actor:
    if wanted is None or wanted == actor.tenant:
        return actor
    operator_only(actor, "tenants.choose")
    services.fleet.view(wanted)  # refuses a tenant that does not exist
    return Actor(wanted, actor.kind, actor.id, actor.roles)
