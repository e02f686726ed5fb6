"""The pages themselves."""

from urllib.parse import quote, urlsplit

from starlette.responses import JSONResponse, Response

from callgate.accounts.accounts import personal
from callgate.connections.context import Desk, named, person_of, upstreams_of
from callgate.credentials.connecting import document
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.upstream import ON_BEHALF_OF
from callgate.web import pages
from callgate.web.site import Visit


async def overview(desk: Desk, visit: Visit) -> Response:
    """GET /connections."""
    person = visit.signed_in(visit.path("/connections"))
    found = [await desk.status.of(visit.tenant, person.id, one) for one in upstreams_of(visit)]
    return visit.show("connections", connections=found, email=person.email)


async def one(desk: Desk, visit: Visit) -> Response:
    """GET /connections/{upstream}: what would be connected, before anything happens."""
    visit.signed_in(visit.path(f"/connections/{visit.match['upstream']}"))
    return await _one(desk, visit, "")


async def _one(desk: Desk, visit: Visit, wrong: str) -> Response:
    upstream, person = named(visit), person_of(visit)
    status = await desk.status.of(visit.tenant, person.id, upstream)
    values: dict[str, object] = {
        "upstream": upstream.name, "host": urlsplit(upstream.url or "").netloc, "email": person.email,
        "status": status, "wrong": wrong, "vendor": "", "scopes": [],
    }  # fmt: skip
    if personal(upstream) != ON_BEHALF_OF:
        return visit.show("own_token", 422 if wrong else 200, **values)
    if upstream.auth.exchanges:
        return visit.show("connect", 422 if wrong else 200, **{**values, "vendor": upstream.auth.provider})
    try:
        found = await desk.accounts.connecting.look(upstream, person.id)
    except Refused as refused:
        return visit.show("connect", 502, **{**values, "wrong": wrong or refused.sentence})
    values |= {"vendor": urlsplit(found.server.authorization_endpoint).netloc, "scopes": found.scope.split()}
    return visit.show("connect", 422 if wrong else 200, **values)


async def begin(desk: Desk, visit: Visit) -> Response:
    """POST /connections/{upstream}: on to the vendor, or keep the token that the person brings."""
    form = await visit.form()
    upstream, person = named(visit), person_of(visit)
    session = visit.session.hash if visit.session is not None else b""
    try:
        if upstream.auth.exchanges:
            return await _by_sign_in(desk, visit)
        if personal(upstream) == ON_BEHALF_OF:
            return pages.redirect(await desk.accounts.connecting.begin(upstream, (person.id, session), visit.issuer))
        await desk.accounts.own_token(upstream, person.id, form.get("token", "").strip())
    except Refused as refused:
        return await _one(desk, visit, refused.sentence)
    await _made(desk, visit, upstream.id)
    return pages.redirect(visit.path(f"/connections/{upstream.name}"))


async def _by_sign_in(desk: Desk, visit: Visit) -> Response:
    """Make the account out of the sign-in, or on to sign in."""
    upstream, person = named(visit), person_of(visit)
    try:
        await desk.accounts.broker.open(upstream, person.id)
    except Refused as refused:
        if refused.code != "connection_required":
            raise
        back = quote(visit.path(f"/connections/{upstream.name}"), safe="")
        return pages.redirect(f"{visit.path(f'/signin/with/{upstream.auth.provider}')}?next={back}")
    await _made(desk, visit, upstream.id)
    return visit.show("connected", upstream=upstream.name, email=person.email)


async def callback(desk: Desk, visit: Visit) -> Response:
    """GET /connections/callback/{upstream}: the vendor sends the browser back."""
    person, upstream = person_of(visit), named(visit)
    session = visit.session.hash if visit.session is not None else b""
    await desk.accounts.connecting.finish(upstream, (person.id, session), visit.query)
    await _made(desk, visit, upstream.id)
    return visit.show("connected", upstream=upstream.name, email=person.email)


async def _made(desk: Desk, visit: Visit, upstream: str) -> None:
    person = person_of(visit)
    async with visit.site.db.unit(visit.tenant) as unit:
        await record(unit, Actor(visit.tenant, "person", person.id, ()), "connections.add", upstream)
    await desk.accounts.connected(visit.tenant, upstream)


async def disconnect(desk: Desk, visit: Visit) -> Response:
    """POST /connections/{upstream}/disconnect."""
    await visit.form()
    upstream, person = named(visit), person_of(visit)
    await desk.accounts.disconnect(Actor(visit.tenant, "person", person.id, ()), person.id, upstream)
    return pages.redirect(visit.path("/connections"))


async def client_document(_: Desk, visit: Visit) -> Response:
    """GET /connections/client/{upstream}: what the gateway says of itself to the vendors (Client ID Metadata)."""
    upstream = named(visit)
    return JSONResponse(document(visit.issuer, upstream.id), headers={"Cache-Control": "max-age=3600"})
