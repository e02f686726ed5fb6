"""Dynamic client registration (RFC 7591): public clients alone, which nobody has verified.

Whoever may reach the gateway may register, so it is bounded: by network, and by number. A registration that is not used
within a day is deleted. Fail closed: what a client asks for beyond a public client it does not get; a redirect URI that
is not safe is refused.
"""

import msgspec
from starlette.responses import JSONResponse, Response

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity import throttle
from callgate.model.oauth import DYNAMIC, OAuthClient
from callgate.oauth.clients import MOST_UNUSED
from callgate.oauth.context import Authority
from callgate.oauth.documents import read_facts
from callgate.oauth.faults import NO_STORE, OAuthError
from callgate.store import oauth
from callgate.web.forms import read_body
from callgate.web.site import Visit


async def register(_: Authority, visit: Visit) -> Response:
    """POST /oauth/register."""
    try:
        document = msgspec.json.decode(await read_body(visit.request), type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return OAuthError("invalid_client_metadata", "The body must be a JSON object.").response()
    try:
        facts = read_facts(document)
        if facts.method != "none":
            raise OAuthError("invalid_client_metadata", "Only public clients may register; an admin adds others.")
        client = await _kept(visit, OAuthClient("", visit.tenant, "", DYNAMIC, facts))
    except OAuthError as error:
        return error.response()
    answer: dict[str, object] = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created),
        "redirect_uris": list(facts.redirect_uris),
        "token_endpoint_auth_method": "none",
        "grant_types": list(facts.grant_types),
        "response_types": ["code"],
    }
    answer |= {"client_name": facts.name} if facts.name else {}
    answer |= {"client_uri": facts.uri} if facts.uri else {}
    return JSONResponse(answer, 201, NO_STORE)


async def _kept(visit: Visit, new: OAuthClient) -> OAuthClient:
    async with visit.site.db.unit(visit.tenant) as unit:
        try:
            await throttle.count(unit, f"register@{throttle.network(visit.address)}", free=60)
        except Refused as refused:
            raise OAuthError("slow_down", refused.sentence) from None
        if await oauth.count_unused(unit) >= MOST_UNUSED:
            raise OAuthError("slow_down", "Too many clients have registered and were never used; try again tomorrow.")
        row = ids.new_id("cli")
        client = msgspec.structs.replace(new, id=row, client_id=row, created=clock.now())
        await oauth.put_client(unit, client)
    return client
