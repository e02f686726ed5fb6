"""One-time links: whoever was invited, the first admin too, sets a password.

Looking at a link uses nothing up (mail programs look at links); sending its form does, once.
Fail closed: a link that is used, over or of somebody inactive says just that.
"""

from starlette.responses import Response

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity import local, throttle
from callgate.model.signin import LINK
from callgate.signin.entering import enter, on_to, signed_in
from callgate.store import signin
from callgate.web import pages
from callgate.web.site import Visit

_OVER = "This link was used before or is over. Ask an admin for another one."


async def page(visit: Visit) -> Response:
    """GET /signin/link/{link}."""
    async with visit.site.db.unit(visit.tenant) as unit:
        await throttle.check(unit, throttle.keys("link", visit.address))
        found = await local.link_of(unit, visit.match["link"])
        if found is None:
            await throttle.failed(unit, throttle.keys("link", visit.address))
    if found is None:
        return pages.sorry(410, "This link is good no more", _OVER)
    return visit.show("link", link=visit.match["link"], email=found.email, wrong="", shortest=local.SHORTEST)


async def submit(visit: Visit) -> Response:
    """POST /signin/link/{link}."""
    form = await visit.form()
    clear = visit.match["link"]
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        found = await local.link_of(unit, clear)
    if found is None:
        return pages.sorry(410, "This link is good no more", _OVER)
    try:
        encoded = await local.hashed(form.get("password", ""))
        async with visit.site.db.unit(visit.tenant) as unit:
            if not await signin.use_link(unit, ids.token_hash(clear), clock.now()):
                return pages.sorry(410, "This link is good no more", _OVER)
            await local.set_password(unit, found.id, encoded)
            codes = local.recovery_codes()
            await signin.put_recovery(unit, found.id, [ids.token_hash(one) for one in codes])
            await signin.end_sessions_of(unit, found.id)
            session = await enter(unit, visit, found.id, LINK)
    except Refused as refused:
        values = {"link": clear, "email": found.email, "wrong": refused.sentence, "shortest": local.SHORTEST}
        return visit.show("link", 422, **values)
    await visit.site.seen(visit.tenant)
    if form.get("next"):
        return on_to(visit, session, form["next"])
    shown = pages.page("recovery", codes=codes, on=visit.path("/account"))
    return signed_in(visit, session, shown)
