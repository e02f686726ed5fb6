"""The answer to the consent page.

What the person saw comes back sealed and bound to their session, so that neither another site nor another page can
make them agree to something else. Fail closed: an answer that is late, of another session, or to a page that was not
shown is refused.
"""

import msgspec
from starlette.responses import Response

from callgate import clock
from callgate.errors import Refused
from callgate.model.oauth import WRITE
from callgate.oauth import clients, redirects
from callgate.oauth.authorize import CONSENT, Wanted, back, grant_code
from callgate.oauth.context import Authority
from callgate.oauth.faults import OAuthError
from callgate.web.site import Visit

_wanted = msgspec.json.Decoder(Wanted).decode
_LATE = "This page is out of date. Go back to the program that sent you here and connect again."


async def consent(_: Authority, visit: Visit) -> Response:
    """POST /oauth/consent."""
    if visit.session is None:
        raise Refused("forbidden", _LATE)
    form = await visit.form()
    opened = visit.site.envelope.sealer(CONSENT).open(form.get("request", ""))
    wanted = None if opened is None else _wanted(opened)
    if wanted is None or wanted.session != visit.session.id or wanted.expires <= clock.now():
        raise Refused("forbidden", _LATE)
    if form.get("answer") != "allow":
        denied = {"error": "access_denied", "error_description": "The person did not allow it."}
        return back(visit, wanted.redirect_uri, wanted.state, **denied)
    try:
        client = await clients.find(visit, wanted.client)
    except OAuthError as error:
        raise Refused("forbidden", f"{error.sentence} {_LATE}") from None
    if client is None or not redirects.fits(wanted.redirect_uri, client.facts.redirect_uris):
        raise Refused("forbidden", _LATE)
    if WRITE in wanted.scope and form.get("write") != "yes":
        scope = tuple(name for name in wanted.scope if name != WRITE)
        wanted = msgspec.structs.replace(wanted, scope=scope or ("mcp:read",))
    return await grant_code(visit, client, wanted)
