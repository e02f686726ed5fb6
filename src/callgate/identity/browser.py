"""Browser sessions, kept on the server: a cookie is a random name for a row, so ending one ends it everywhere.

Every sign-in makes a fresh session (no fixation) and ends the one before. Fail closed: a session that is over, idle for
too long, of another tenant, or of a person who is inactive is none.
"""

from callgate import clock, ids
from callgate.model.person import Person
from callgate.model.signin import BrowserSession
from callgate.store import people, signin
from callgate.store.unit import Unit

LIFETIME = 12 * 3600.0
IDLE = 2 * 3600.0
FRESH = 300.0  # for how long a proof of who one is counts for dangerous acts
_TOUCH = 60.0


async def start(
    unit: Unit, person: str, method: str, before: str | None = None,
    provider: tuple[str, str | None] | None = None, authenticated: float | None = None,
) -> str:  # fmt: skip
    """Sign a person in; returns the cookie's value. `before` is the cookie that the browser had, `provider` the
    provider's row id and its session, `authenticated` when they proved who they are where that was not now."""
    if before:
        await signin.end_session(unit, ids.token_hash(before))
    clear, now = ids.new_secret(ids.BROWSER), clock.now()
    session = BrowserSession(
        ids.token_hash(clear), unit.tenant, ids.new_id("ses"), person, now, now,
        now if authenticated is None else min(authenticated, now), method, now + LIFETIME, *(provider or (None, None)),
    )  # fmt: skip
    await signin.add_session(unit, session)
    return clear


async def find(unit: Unit, clear: str) -> tuple[BrowserSession, Person] | None:
    """The session of a cookie and its person."""
    session = await signin.session(unit, ids.token_hash(clear))
    now = clock.now()
    if session is None or session.expires <= now or session.seen + IDLE <= now:
        return None
    person = await people.get(unit, session.person)
    return None if person is None or not person.active else (session, person)


def is_stale(session: BrowserSession) -> bool:
    """Whether it is time to note that the session is in use."""
    return clock.now() - session.seen > _TOUCH


def is_fresh(session: BrowserSession) -> bool:
    """Whether the person proved a moment ago who they are."""
    return clock.now() - session.authenticated <= FRESH
