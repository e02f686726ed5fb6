"""The end of every way in: a fresh session and its cookie."""

import msgspec
from starlette.responses import Response

from callgate import clock
from callgate.identity import browser
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.store.unit import Unit
from callgate.web import cookies, pages
from callgate.web.site import Visit

HALF = "half-signed-in"
HALF_SECONDS = 300.0


class Half(msgspec.Struct, frozen=True):
    """Somebody whose password was right and whose code is still to come; `changed` says which password that was."""

    person: str
    next: str
    expires: float
    changed: float


class Provider(msgspec.Struct, frozen=True):
    """At which provider, in which of its sessions, somebody signed in, and when they proved there who they are."""

    id: str
    session: str | None
    authenticated: float


async def enter(unit: Unit, visit: Visit, person: str, method: str, provider: Provider | None = None) -> str:
    """A fresh session in this unit; returns the cookie's value."""
    pair = None if provider is None else (provider.id, provider.session)
    at = None if provider is None else provider.authenticated
    clear = await browser.start(unit, person, method, visit.cookie(cookies.SESSION), pair, at)
    await record(unit, Actor(unit.tenant, "person", person, ()), "sessions.start", person, after=method)
    return clear


def signed_in(visit: Visit, clear: str, response: Response) -> Response:
    """The response with the session's cookie."""
    cookies.write(response, cookies.SESSION, clear, secure=visit.secure, seconds=browser.LIFETIME)
    cookies.drop(response, cookies.VISIT, secure=visit.secure)
    return response


def on_to(visit: Visit, clear: str, next_: str) -> Response:
    """Signed in: on to where the person wanted to go."""
    return signed_in(visit, clear, pages.redirect(visit.next_of(next_)))


def is_open(half: Half) -> bool:
    return half.expires > clock.now()
