"""Signing in with e-mail address and password, and a one-time code where the person has one.

Fail closed: who is unknown, inactive, throttled or wrong gets the same sentence, after the same time.
"""

import msgspec
from starlette.responses import Response

from callgate import clock
from callgate.errors import Refused
from callgate.identity import local, throttle
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.model.signin import PASSWORD, LocalAccount
from callgate.signin.entering import HALF, HALF_SECONDS, Half, enter, is_open, on_to
from callgate.signin.provider import farewell
from callgate.store import people, providers, signin
from callgate.store.unit import Unit
from callgate.web import pages
from callgate.web.site import Visit

_half = msgspec.json.Decoder(Half).decode


async def page(visit: Visit) -> Response:
    """GET /signin."""
    query = visit.query
    next_ = query.get("next", "")
    if visit.person is not None and query.get("again") != "yes":
        return pages.redirect(visit.next_of(next_))
    return await form_page(visit, next_)


async def form_page(visit: Visit, next_: str, wrong: str = "", status: int = 200) -> Response:
    """The page with every way in."""
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        names = [one.name for one in await providers.page(unit)]
        local_ones = await signin.any_account(unit)
    email = visit.person.email if visit.person is not None else ""
    return visit.show(
        "signin", status, next=next_, wrong=wrong, providers=names, local=local_ones or not names, email=email
    )


async def submit(visit: Visit) -> Response:
    """POST /signin."""
    form = await visit.form()
    email, next_ = form.get("email", "").strip().lower()[:254], form.get("next", "")
    tried = throttle.keys(visit.hidden(email), visit.address)  # some type their password into that field
    async with visit.site.db.unit(visit.tenant) as unit:
        await throttle.check(unit, tried)
        person = await people.by_email(unit, email)
        account = await signin.account(unit, person.id) if person is not None else None

    async def allowed() -> None:
        async with visit.site.db.unit(visit.tenant, write=False) as unit:
            await throttle.check(unit, tried)

    right = await local.matches(account, form.get("password", ""), allowed)
    async with visit.site.db.unit(visit.tenant) as unit:
        if not right or person is None or account is None or not person.active:
            await throttle.failed(unit, tried)
        elif account.totp is None:
            clear = await _entered(unit, visit, person, account, tried)
            return on_to(visit, clear, next_)
        else:
            half = Half(person.id, next_, clock.now() + HALF_SECONDS, account.changed)
            return visit.show("code", half=visit.sealed(HALF, half), wrong="")
    return await form_page(visit, next_, local.WRONG, 403)


async def _entered(unit: Unit, visit: Visit, person: Person, account: LocalAccount, tried: list[str]) -> str:
    """Raises `Refused` when person or password changed while the password was checked."""
    now, known = await people.locked(unit, person.id), await signin.account(unit, person.id)
    if now is None or not now.active or known is None or known.changed != account.changed:
        raise Refused("sign_in_failed", local.WRONG)
    await throttle.succeeded(unit, tried)
    return await enter(unit, visit, person.id, PASSWORD)


async def code(visit: Visit) -> Response:
    """POST /signin/code."""
    form = await visit.form()
    opened = visit.site.envelope.sealer(HALF).open(form.get("half", ""))
    half = None if opened is None else _half(opened)
    if half is None or not is_open(half):
        return await form_page(visit, "", "That took too long; begin again.", 403)
    tried = throttle.keys(half.person, visit.address)
    await visit.site.envelope.unlock(visit.tenant)
    async with visit.site.db.unit(visit.tenant) as unit:
        person = await people.locked_to_change(unit, half.person)  # one code at a time
        await throttle.check(unit, tried)
        account = await signin.account(unit, half.person)
        same = account is not None and account.totp is not None and account.changed == half.changed
        known = same and person is not None and person.active
        if account is None or not known or not await second_factor(visit, unit, account, form.get("code", "")):
            await throttle.failed(unit, tried)
            clear = None
        else:
            await throttle.succeeded(unit, tried)
            clear = await enter(unit, visit, half.person, PASSWORD)
    if clear is None:
        return visit.show("code", 403, half=form.get("half", ""), wrong=local.WRONG)
    return on_to(visit, clear, half.next)


async def second_factor(visit: Visit, unit: Unit, account: LocalAccount, given: str) -> bool:
    """Whether a code is right; it is used with that."""
    sealed = account.totp or b""
    opened = await visit.site.envelope.open_sealed(unit.tenant, local.PURPOSE, account.person.encode(), sealed)
    return await local.second_factor(unit, account.person, opened.decode(), given)


async def sign_out(visit: Visit) -> Response:
    """POST /signout: ends the session here, and at the provider where it lets us (RP-Initiated Logout 1.0)."""
    await visit.form()
    if visit.session is None:
        return pages.redirect(visit.path("/signin"))
    async with visit.site.db.unit(visit.tenant) as unit:
        await signin.end_session(unit, visit.session.hash)
        await record(
            unit, Actor(visit.tenant, "person", visit.session.person, ()), "sessions.end", visit.session.person
        )
    return await farewell(visit)
