"""Mail between replicas: sealed, read once, and no message takes another along."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from sqlalchemy import select, update

from callgate import clock
from callgate.credentials.replica_key import ReplicaKey
from callgate.errors import Refused
from callgate.fleet import mail as mailing
from callgate.fleet.mail import Mail
from callgate.store import mail as box
from callgate.store import replicas
from callgate.store.engine import Database
from callgate.store.schema import mail as letters
from tests.support.replicas import fleet
from tests.support.waiting import until


class Reader:
    """Keeps what it is handed."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    async def __call__(self, body: bytes) -> None:
        await self.got.put(body)

    async def next(self) -> bytes:
        async with asyncio.timeout(20):
            return await self.got.get()


@asynccontextmanager
async def replica(db: Database, name: str, secret: bytes = b"s") -> AsyncIterator[tuple[Mail, Reader]]:
    """A live replica that reads mail of the kind `cancel`."""
    key = ReplicaKey.generate(secret)
    async with fleet(db, name, key=key):
        mail, reader = Mail(db, name, key), Reader()
        mail.on("cancel", reader)
        await mail.start()
        try:
            yield mail, reader
        finally:
            await mail.stop()


@pytest.fixture
async def pg(pg_url: str) -> AsyncIterator[Database]:
    found = await Database.open(pg_url)
    yield found
    await found.close()


async def left(db: Database) -> list[tuple[str, bytes]]:
    """What lies in all boxes."""
    found: list[tuple[str, bytes]] = []
    async with db.unit(None) as unit:
        for row in await replicas.alive(unit, 60):
            found += await box.take(unit, row.id)
    return found


async def test_a_message_reaches_its_replica_and_is_gone(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "_POLL_SECONDS", 3600.0)
    async with replica(pg, "r1") as (one, _), replica(pg, "r2") as (_, second):
        await one.send("r2", "cancel", b"secret words")
        assert await second.next() == b"secret words"
        assert await left(pg) == []


async def test_mail_of_a_replica_that_never_came_back_is_deleted(pg: Database) -> None:
    async with pg.unit(None) as unit:
        for replica_id, age in (("gone", 2 * mailing._LOST_SECONDS), ("away", 1.0)):
            await box.put(unit, replica_id, "cancel", b"sealed")
            await unit.execute(update(letters).where(letters.c.replica == replica_id).values(created=clock.now() - age))

    async def cleaned() -> bool:
        async with pg.unit(None, write=False) as unit:
            return list((await unit.execute(select(letters.c.replica))).scalars()) == ["away"]

    async with replica(pg, "r1"):
        await until(cleaned)


async def test_a_message_is_sealed_in_the_store(pg: Database) -> None:
    key = ReplicaKey.generate(b"s")
    async with fleet(pg, "r2", key=key), fleet(pg, "r1"):
        await Mail(pg, "r1", ReplicaKey.generate(b"s")).send("r2", "cancel", b"secret words")
        ((kind, body),) = await left(pg)
    assert kind == "cancel"
    assert b"secret" not in body
    assert key.open(body) == b"secret words"


async def test_a_lost_wake_up_only_delays_a_message(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(Mail, "_woken", lambda _self, _payload: None)
    async with replica(pg, "r1") as (one, _), replica(pg, "r2") as (_, second):
        await one.send("r2", "cancel", b"x")
        assert await second.next() == b"x"


async def test_a_broadcast_reaches_everybody_else(pg: Database) -> None:
    async with replica(pg, "r1") as (one, first), replica(pg, "r2") as (_, second), replica(pg, "r3") as (_, third):
        await one.broadcast("cancel", b"all")
        assert (await second.next(), await third.next()) == (b"all", b"all")
        assert first.got.empty()


async def test_mail_to_a_replica_that_is_gone_is_dropped(pg: Database) -> None:
    async with replica(pg, "r1") as (one, _):
        await one.send("r9", "cancel", b"x")
        async with pg.unit(None) as unit:
            assert await box.take(unit, "r9") == ()


async def test_a_replica_that_has_not_been_heard_of_gets_no_mail(
    pg: Database, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    async with replica(pg, "r1") as (one, _), replica(pg, "r2"):
        assert await one.alive() == {"r1", "r2"}
        monkeypatch.setattr(mailing, "ALIVE_SECONDS", -1.0)
        assert await one.send("r2", "cancel", b"x") is False
        assert await one.alive() == set()


async def test_what_does_not_open_is_dropped_and_the_next_message_is_read(pg: Database) -> None:
    """A message sealed without the key file's secret is forged, however it came into the table."""
    async with replica(pg, "r1") as (one, _), replica(pg, "r2") as (_, second):
        forger = Mail(pg, "r1", ReplicaKey.generate(b"other"))
        await forger.send("r2", "cancel", b"forged")
        async with pg.unit(None) as unit:
            await box.put(unit, "r2", "cancel", b"no sealed text")
        await one.send("r2", "cancel", b"real")
        assert await second.next() == b"real"


async def test_a_kind_that_nobody_handles_and_a_handler_that_refuses_take_no_message_along(pg: Database) -> None:
    async def refuses(_: bytes) -> None:
        raise Refused("conflict")

    async def reads(body: bytes) -> None:
        msgspec.json.decode(body, type=int)  # a replica of another version wrote something else

    key = ReplicaKey.generate(b"s")
    async with replica(pg, "r1") as (one, _), fleet(pg, "r2", key=key):
        await one.send("r2", "odd", b"1")
        await one.send("r2", "bad", b"2")
        await one.send("r2", "strange", b"{}")
        await one.send("r2", "cancel", b"3")
        second, reader = Mail(pg, "r2", key), Reader()
        second.on("bad", refuses)
        second.on("strange", reads)
        second.on("cancel", reader)
        await second.start()  # all of them are there: they come in one batch
        assert await reader.next() == b"3"
        await second.stop()


async def test_mail_goes_on_when_the_store_is_back(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "_POLL_SECONDS", 0.02)
    async with replica(pg, "r1") as (one, _), replica(pg, "r2") as (_, second):
        failed = asyncio.Event()
        real = box.take

        async def away(*_: object) -> tuple[tuple[str, bytes], ...]:
            failed.set()
            raise Refused("store_unavailable")

        monkeypatch.setattr(box, "take", away)
        async with asyncio.timeout(20):
            await failed.wait()
        monkeypatch.setattr(box, "take", real)
        await one.send("r2", "cancel", b"x")
        assert await second.next() == b"x"


async def test_a_single_process_has_nobody_to_write_to(sqlite_url: str) -> None:
    db = await Database.open(sqlite_url)
    async with replica(db, "r1") as (one, reader):
        await one.broadcast("cancel", b"x")
        assert await left(db) == []
        assert reader.got.empty()
    await db.close()
