"""Local accounts: passwords (argon2id), one-time codes (TOTP, RFC 6238), recovery codes, one-time links.

Checking a password takes as long for an address that nobody has as for one that somebody has. Fail closed: a person who
is inactive, a code that was used before, a link that was used or is over: refused with the same sentence.
"""

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

import pyotp
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from callgate import clock, ids
from callgate.errors import Refused
from callgate.model.person import Person
from callgate.model.signin import Link, LocalAccount
from callgate.store import people, signin
from callgate.store.unit import Unit

SHORTEST, LONGEST = 12, 256
LINK_SECONDS = 24 * 3600.0
PURPOSE = "totp"
_STEP = 30
_hasher = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1, type=Type.ID)  # RFC 9106, section 4
_NOBODY = _hasher.hash("a password that nobody has")
_AT_ONCE = 2  # each takes 64 MB
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
WRONG = "The e-mail address, password or code is not right."


async def hashed(password: str) -> str:
    """The argon2id string. Raises `Refused("validation")` for a password that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Refused("validation", f"A password has {SHORTEST} to {LONGEST} characters; several words are good ones.")
    async with _turn():
        return await asyncio.to_thread(_hasher.hash, password)


async def matches(account: LocalAccount | None, password: str, allowed: Callable[[], Awaitable[None]]) -> bool:
    """Whether the password is the account's; as slow without an account.

    `allowed` raises for whom it is not tried; it is asked when it is their turn, so that of many who come at once not
    all have passed before the first has failed.
    """
    expected = account.password if account is not None and account.password else _NOBODY
    async with _turn():
        await allowed()
        right = await asyncio.to_thread(_verified, expected, password[:LONGEST])
    return right and expected is not _NOBODY


def _turn() -> asyncio.Semaphore:
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE))


def _verified(expected: str, password: str) -> bool:
    try:
        return _hasher.verify(expected, password)
    except (VerificationError, InvalidHashError):
        return False


async def set_password(unit: Unit, person: str, encoded: str) -> None:
    """Give a person a password; the second factor stays."""
    known = await signin.account(unit, person)
    totp, step = (known.totp, known.totp_step) if known is not None else (None, 0)
    await signin.put_account(unit, LocalAccount(person, encoded, totp, step, clock.now()))


# -- one-time codes --------------------------------------------------------------------------------------------------


def new_totp() -> str:
    """A fresh secret in base 32, as authenticator apps take it."""
    return pyotp.random_base32()


def totp_uri(secret: str, email: str) -> str:
    """What an authenticator app reads (`otpauth://`)."""
    return pyotp.TOTP(secret, name=email, issuer="Callgate").provisioning_uri()


def step_of(secret: str, code: str) -> int | None:
    """The time step that a code is of, at most one step away from now; None for a wrong one."""
    now = int(clock.now()) // _STEP
    totp = pyotp.TOTP(secret)
    for step in (now, now - 1, now + 1):
        if totp.verify(code, for_time=step * _STEP):
            return step
    return None


async def second_factor(unit: Unit, person: str, secret: str, code: str) -> bool:
    """Whether a one-time or recovery code is right; it is used with that. `secret` is the opened one of the account."""
    code = code.replace(" ", "").strip()
    if code.isdigit() and len(code) == 6:
        step = step_of(secret, code)
        return step is not None and await signin.use_step(unit, person, step)
    return await signin.use_recovery(unit, person, ids.token_hash(code.lower()), clock.now())


def recovery_codes() -> list[str]:
    """Ten fresh recovery codes, to be shown once."""
    return [f"{clock.random_bytes(5).hex()}-{clock.random_bytes(5).hex()}" for _ in range(10)]


# -- links -----------------------------------------------------------------------------------------------------------


async def new_link(unit: Unit, purpose: str, person: str, seconds: float = LINK_SECONDS) -> str:
    """A one-time link's last part, in clear."""
    clear = ids.new_secret(ids.LINK)
    await signin.add_link(unit, Link(ids.token_hash(clear), purpose, clock.now() + seconds, person))
    return clear


async def link_of(unit: Unit, clear: str) -> Person | None:
    """Whom a link is for; None for one that is used or over, or of somebody inactive."""
    link = await signin.link(unit, ids.token_hash(clear))
    if link is None or link.expires <= clock.now():
        return None
    person = await people.get(unit, link.person)
    return None if person is None or not person.active else person
