"""Taking tokens back (RFC 7009) and telling what they are (RFC 7662).

Fail closed: a client can end its own tokens alone; what a token is is told to clients of auditors and admins alone.
"""

from starlette.responses import JSONResponse, Response

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity import authorizing
from callgate.model.oauth import SCOPES
from callgate.oauth import clients
from callgate.oauth.context import Authority
from callgate.oauth.faults import NO_STORE, OAuthError, invalid_client, invalid_request
from callgate.store import people, tokens
from callgate.web import forms
from callgate.web.site import Visit

_TOLD = frozenset({"admin", "auditor"})


async def revoke(_: Authority, visit: Visit) -> Response:
    """POST /oauth/revoke. An unknown token is no error: it is good for nothing, as asked."""
    try:
        form = await forms.read_form(visit.request)
        client = await clients.authenticated(visit, form, visit.request.headers.get("authorization"))
        clear = forms.needed(form, "token")
    except OAuthError as error:
        return error.response()
    except Refused as refused:
        return invalid_request(refused.sentence).response()
    async with visit.site.db.unit(visit.tenant) as unit:
        await authorizing.revoke(unit, clear, client)
    await visit.site.seen(visit.tenant)
    return Response(b"", 200, NO_STORE)


async def introspect(_: Authority, visit: Visit) -> Response:
    """POST /oauth/introspect."""
    try:
        form = await forms.read_form(visit.request)
        client = await clients.authenticated(visit, form, visit.request.headers.get("authorization"))
        clear = forms.needed(form, "token")
        async with visit.site.db.unit(visit.tenant, write=False) as unit:
            owner = await people.get(unit, client.owner or "")
            if client.secret is None or owner is None or not owner.active or _TOLD.isdisjoint(owner.roles):
                raise invalid_client("Only a client with a secret that an admin or auditor owns is told of tokens.")
            token = await tokens.by_hash(unit, ids.token_hash(clear))
            person = await people.get(unit, token.person) if token is not None else None
    except OAuthError as error:
        return error.response()
    except Refused as refused:
        return invalid_request(refused.sentence).response()
    over = token is None or token.revoked_at is not None or (token.expires or clock.now() + 1) <= clock.now()
    if over or token is None or person is None or not person.active:
        return JSONResponse({"active": False}, headers=NO_STORE)
    answer: dict[str, object] = {
        "active": True, "iss": visit.issuer, "aud": f"{visit.issuer}/mcp", "sub": person.id, "username": person.email,
        "client_id": token.client, "token_type": "Bearer", "iat": int(token.created), "jti": token.id,
        "scope": " ".join(SCOPES if token.scope is None else token.scope), "agent": token.agent,
    }  # fmt: skip
    if token.expires is not None:
        answer["exp"] = int(token.expires)
    return JSONResponse({key: value for key, value in answer.items() if value is not None}, headers=NO_STORE)
