"""A person's own page: their ways in, and where they are signed in.

What changes a way in needs that the person has just proved who they are. Fail closed: who is not signed in is sent to
the sign-in page.
"""

import msgspec
from starlette.responses import Response

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity import local
from callgate.identity.browser import is_fresh
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.store import signin
from callgate.web import pages
from callgate.web.site import Visit

_TOTP = "totp-offer"


class Offer(msgspec.Struct, frozen=True):
    """A one-time-code secret that the person has still to confirm."""

    secret: str
    person: str
    expires: float

    def __repr__(self) -> str:
        return f"Offer({self.person})"


_offer = msgspec.json.Decoder(Offer).decode


def _actor(visit: Visit, person: Person) -> Actor:
    return Actor(visit.tenant, "person", person.id, ())


def _person(visit: Visit, *, fresh: bool = True) -> Person:
    """Who is signed in, and has just proved it where a way in is changed. Raises `SignInFirst`."""
    return visit.signed_in(visit.path("/account"), fresh=fresh)


async def page(visit: Visit) -> Response:
    """GET /account."""
    return await _page(visit, _person(visit, fresh=False))


async def _page(visit: Visit, person: Person, wrong: str = "", codes: list[str] | None = None) -> Response:
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        account = await signin.account(unit, person.id)
        keys = await signin.passkeys_of(unit, person.id)
        sessions = await signin.sessions_of(unit, person.id)
    shown = [
        {
            "method": one.method,
            "since": clock.utc(one.created),
            "here": one.hash == (visit.session and visit.session.hash),
        }
        for one in sessions
    ]
    return visit.show(
        "account", 422 if wrong else 200, email=person.email, roles=person.roles, teams=person.teams,
        password=account is not None, totp=account is not None and account.totp is not None, passkeys=keys,
        sessions=shown, wrong=wrong, codes=codes or [], fresh=visit.session is not None and is_fresh(visit.session),
        shortest=local.SHORTEST,
    )  # fmt: skip


async def password(visit: Visit) -> Response:
    """POST /account/password."""
    form = await visit.form()
    person = _person(visit)
    try:
        encoded = await local.hashed(form.get("password", ""))
    except Refused as refused:
        return await _page(visit, person, refused.sentence)
    async with visit.site.db.unit(visit.tenant) as unit:
        await local.set_password(unit, person.id, encoded)
        for one in await signin.sessions_of(unit, person.id):
            if visit.session is None or one.hash != visit.session.hash:
                await signin.end_session(unit, one.hash)
        await record(unit, _actor(visit, person), "accounts.password", person.id)
    return pages.redirect(visit.path("/account"))


async def offer_totp(visit: Visit) -> Response:
    """POST /account/totp: shows a secret to be confirmed with its first code."""
    await visit.form()
    person = _person(visit)
    secret = local.new_totp()
    offer = visit.sealed(_TOTP, Offer(secret, person.id, clock.now() + 600.0))
    return visit.show("totp", secret=secret, uri=local.totp_uri(secret, person.email), offer=offer, wrong="")


async def take_totp(visit: Visit) -> Response:
    """POST /account/totp/confirm."""
    form = await visit.form()
    person = _person(visit)
    opened = visit.site.envelope.sealer(_TOTP).open(form.get("offer", ""))
    offer = None if opened is None else _offer(opened)
    if offer is None or offer.person != person.id or offer.expires <= clock.now():
        return await _page(visit, person, "That took too long; begin again.")
    step = local.step_of(offer.secret, form.get("code", "").replace(" ", ""))
    if step is None:
        uri = local.totp_uri(offer.secret, person.email)
        values = {"secret": offer.secret, "uri": uri, "offer": form["offer"], "wrong": "This code is not right."}
        return visit.show("totp", 422, **values)
    envelope = visit.site.envelope
    sealed = await envelope.seal(visit.tenant, local.PURPOSE, person.id.encode(), offer.secret.encode())
    codes = local.recovery_codes()
    async with visit.site.db.unit(visit.tenant) as unit:
        account = await signin.account(unit, person.id)
        if account is None:
            raise Refused("conflict", "Set a password first; one-time codes are asked for after it.")
        await signin.put_account(
            unit, msgspec.structs.replace(account, totp=sealed, totp_step=step, changed=clock.now())
        )
        await signin.put_recovery(unit, person.id, [ids.token_hash(one) for one in codes])
        await record(unit, _actor(visit, person), "accounts.totp", person.id, "off", "on")
    return await _page(visit, person, codes=codes)


async def drop_totp(visit: Visit) -> Response:
    """POST /account/totp/off."""
    await visit.form()
    person = _person(visit)
    async with visit.site.db.unit(visit.tenant) as unit:
        account = await signin.account(unit, person.id)
        if account is not None:
            await signin.put_account(unit, msgspec.structs.replace(account, totp=None, changed=clock.now()))
            await record(unit, _actor(visit, person), "accounts.totp", person.id, "on", "off")
    return pages.redirect(visit.path("/account"))


async def drop_passkey(visit: Visit) -> Response:
    """POST /account/passkeys/{key}/remove."""
    await visit.form()
    person = _person(visit)
    async with visit.site.db.unit(visit.tenant) as unit:
        if await signin.remove_passkey(unit, person.id, visit.match["key"]):
            await record(unit, _actor(visit, person), "passkeys.remove", visit.match["key"])
    return pages.redirect(visit.path("/account"))


async def sign_out_elsewhere(visit: Visit) -> Response:
    """POST /account/sessions/end: every browser but this one."""
    await visit.form()
    person = _person(visit, fresh=False)
    async with visit.site.db.unit(visit.tenant) as unit:
        for one in await signin.sessions_of(unit, person.id):
            if visit.session is None or one.hash != visit.session.hash:
                await signin.end_session(unit, one.hash)
        await record(unit, _actor(visit, person), "sessions.end", person.id)
    return pages.redirect(visit.path("/account"))
