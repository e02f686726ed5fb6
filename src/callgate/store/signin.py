"""Browser sessions, local accounts, passkeys, recovery codes, one-time links and throttles."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Table, case, delete, insert, select, update

from callgate.model.signin import BrowserSession, Link, LocalAccount, Passkey
from callgate.store import rows
from callgate.store.identity_schema import (
    browser_sessions,
    links,
    local_accounts,
    passkeys,
    recovery_codes,
    throttles,
)
from callgate.store.unit import Unit
from callgate.store.upsert import insert_or


def _own(unit: Unit, table: Table, *conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    return (table.c.tenant == unit.tenant, *conditions)


# -- sessions --------------------------------------------------------------------------------------------------------


def _session(row: Row[Any]) -> BrowserSession:
    return BrowserSession(**{**row._asdict(), "hash": bytes(row.hash)})


async def add_session(unit: Unit, one: BrowserSession) -> None:
    await unit.execute(insert(browser_sessions).values(**{**msgspec.structs.asdict(one), "tenant": unit.tenant}))


async def session(unit: Unit, digest: bytes) -> BrowserSession | None:
    return await rows.one(unit, rows.own(unit, browser_sessions, browser_sessions.c.hash == digest), _session)


async def sessions_of(unit: Unit, person: str) -> tuple[BrowserSession, ...]:
    statement = rows.own(unit, browser_sessions, browser_sessions.c.person == person)
    return await rows.many(unit, statement.order_by(browser_sessions.c.created), _session)


async def touch_session(unit: Unit, digest: bytes, seen: float) -> None:
    """Note that a session is in use."""
    statement = update(browser_sessions).where(*_own(unit, browser_sessions, browser_sessions.c.hash == digest))
    await unit.execute(statement.values(seen=seen))


async def end_session(unit: Unit, digest: bytes) -> None:
    await unit.execute(delete(browser_sessions).where(*_own(unit, browser_sessions, browser_sessions.c.hash == digest)))


async def end_sessions_of(unit: Unit, person: str) -> int:
    """End every session of a person; how many there were."""
    mine = _own(unit, browser_sessions, browser_sessions.c.person == person)
    return (await unit.execute(delete(browser_sessions).where(*mine))).rowcount


async def end_provider_session(unit: Unit, provider: str, sid: str | None, person: str | None) -> list[str]:
    """End what a provider signed in, by its session or by person; whom that concerned."""
    c = browser_sessions.c
    which = c.provider_session == sid if sid is not None else c.person == person
    mine = _own(unit, browser_sessions, c.provider == provider, which)
    found = await unit.execute(select(c.person).where(*mine).distinct())
    people = [row.person for row in found]
    await unit.execute(delete(browser_sessions).where(*mine))
    return people


# -- local accounts --------------------------------------------------------------------------------------------------


def _account(row: Row[Any]) -> LocalAccount:
    totp = None if row.totp is None else bytes(row.totp)
    return LocalAccount(row.person, row.password, totp, row.totp_step, row.changed)


async def account(unit: Unit, person: str) -> LocalAccount | None:
    return await rows.one(unit, rows.own(unit, local_accounts, local_accounts.c.person == person), _account)


async def put_account(unit: Unit, one: LocalAccount) -> None:
    values = msgspec.structs.asdict(one)
    statement = insert_or(unit.postgresql, local_accounts).values(tenant=unit.tenant, **values)
    values.pop("person")
    await unit.execute(statement.on_conflict_do_update(index_elements=["tenant", "person"], set_=values))


async def use_step(unit: Unit, person: str, step: int) -> bool:
    """Use the code of a time step, once; False when it, or a later one, was used before."""
    mine = _own(unit, local_accounts, local_accounts.c.person == person, local_accounts.c.totp_step < step)
    return (await unit.execute(update(local_accounts).where(*mine).values(totp_step=step))).rowcount == 1


async def drop_account(unit: Unit, person: str) -> bool:
    """Delete a person's own ways in: password, second factor, recovery codes, passkeys, links."""
    gone = await unit.execute(
        delete(local_accounts).where(*_own(unit, local_accounts, local_accounts.c.person == person))
    )
    for table in (recovery_codes, passkeys, links):
        await unit.execute(delete(table).where(*_own(unit, table, table.c.person == person)))
    return gone.rowcount == 1


async def any_account(unit: Unit) -> bool:
    """Whether anybody of the tenant has a local account."""
    return (
        await unit.execute(select(local_accounts.c.person).where(*_own(unit, local_accounts)).limit(1))
    ).first() is not None


async def put_recovery(unit: Unit, person: str, hashes: list[bytes]) -> None:
    """Replace a person's recovery codes."""
    await unit.execute(delete(recovery_codes).where(*_own(unit, recovery_codes, recovery_codes.c.person == person)))
    values = [{"tenant": unit.tenant, "person": person, "hash": one} for one in hashes]
    await unit.execute(insert(recovery_codes), values)


async def use_recovery(unit: Unit, person: str, digest: bytes, at: float) -> bool:
    """Use a recovery code, once."""
    c = recovery_codes.c
    mine = _own(unit, recovery_codes, c.person == person, c.hash == digest, c.used.is_(None))
    return (await unit.execute(update(recovery_codes).where(*mine).values(used=at))).rowcount == 1


# -- passkeys --------------------------------------------------------------------------------------------------------


def _passkey(row: Row[Any]) -> Passkey:
    return Passkey(
        id=row.id, person=row.person, credential=bytes(row.credential), public_key=bytes(row.public_key),
        counter=row.counter, name=row.name, created=row.created, used=row.used,
    )  # fmt: skip


async def add_passkey(unit: Unit, one: Passkey) -> None:
    await unit.execute(insert(passkeys).values(tenant=unit.tenant, **msgspec.structs.asdict(one)))


async def passkey(unit: Unit, credential: bytes) -> Passkey | None:
    return await rows.one(unit, rows.own(unit, passkeys, passkeys.c.credential == credential), _passkey)


async def passkeys_of(unit: Unit, person: str) -> tuple[Passkey, ...]:
    return await rows.many(unit, rows.own(unit, passkeys, passkeys.c.person == person), _passkey)


async def use_passkey(unit: Unit, id_: str, counter: int, at: float) -> None:
    statement = update(passkeys).where(*_own(unit, passkeys, passkeys.c.id == id_))
    await unit.execute(statement.values(counter=counter, used=at))


async def remove_passkey(unit: Unit, person: str, id_: str) -> bool:
    mine = _own(unit, passkeys, passkeys.c.person == person, passkeys.c.id == id_)
    return (await unit.execute(delete(passkeys).where(*mine))).rowcount == 1


# -- links and throttles ---------------------------------------------------------------------------------------------


def _link(row: Row[Any]) -> Link:
    return Link(bytes(row.hash), row.purpose, row.expires, row.person)


async def add_link(unit: Unit, one: Link) -> None:
    """Keep a link; an earlier one of the same purpose and person is good no more."""
    same = (links.c.purpose == one.purpose) & (links.c.person == one.person)
    await unit.execute(delete(links).where(*_own(unit, links, same)))
    await unit.execute(insert(links).values(tenant=unit.tenant, **msgspec.structs.asdict(one)))


async def link(unit: Unit, digest: bytes) -> Link | None:
    return await rows.one(unit, rows.own(unit, links, links.c.hash == digest), _link)


async def use_link(unit: Unit, digest: bytes, now: float) -> bool:
    """Use a link, once."""
    mine = _own(unit, links, links.c.hash == digest, links.c.expires > now)
    return (await unit.execute(delete(links).where(*mine))).rowcount == 1


async def throttled(unit: Unit, keys: list[str]) -> float:
    """Until when none of these keys may try again (seconds since 1970, 0 = now)."""
    statement = select(throttles.c.until).where(*_own(unit, throttles, throttles.c.key.in_(keys)))
    return max([row.until for row in await unit.execute(statement)], default=0.0)


async def count_failure(unit: Unit, key: str, now: float, memory: float, *, sliding: bool) -> int:
    """Count a failure; how many there are now. All are forgotten `memory` seconds after the first, or, `sliding`, after
    the last."""
    statement = insert_or(unit.postgresql, throttles).values(
        tenant=unit.tenant, key=key, failures=1, until=0.0, expires=now + memory
    )
    over = throttles.c.expires <= now
    more = {
        "failures": case((over, 1), else_=throttles.c.failures + 1),
        "expires": now + memory if sliding else case((over, now + memory), else_=throttles.c.expires),
    }
    changed = statement.on_conflict_do_update(index_elements=["tenant", "key"], set_=more)
    return int((await unit.execute(changed.returning(throttles.c.failures))).scalar_one())


async def hold_off(unit: Unit, key: str, until: float) -> None:
    await unit.execute(update(throttles).where(*_own(unit, throttles, throttles.c.key == key)).values(until=until))


async def forgive(unit: Unit, key: str) -> None:
    await unit.execute(delete(throttles).where(*_own(unit, throttles, throttles.c.key == key)))


async def prune(unit: Unit, now: float) -> None:
    """Delete what has expired, of all tenants."""
    unit.require_system()
    for table in (browser_sessions, links, throttles):
        await unit.execute(delete(table).where(table.c.expires < now))
