"""Contract of leases, replicas, mail, notes, idempotency keys, secrets and keysets. Runs on both databases."""

import asyncio

import pytest

from callgate.errors import Refused
from callgate.store import idempotency, keysets, leases, mail, notes, replicas, secrets
from callgate.store.engine import Database


async def test_a_lease_has_one_holder_until_it_is_over_or_given_back(db: Database) -> None:
    async with db.unit(None) as unit:
        assert await leases.acquire(unit, "discover:ups_1", "r1", 60)
        assert not await leases.acquire(unit, "discover:ups_1", "r2", 60)
        assert await leases.acquire(unit, "discover:ups_1", "r1", 60)
        assert await leases.holder_of(unit, "discover:ups_1") == "r1"
        await leases.release(unit, "discover:ups_1", "r2")
        assert await leases.renew(unit, "discover:ups_1", "r1", 60)
        assert not await leases.renew(unit, "discover:ups_1", "r2", 60)
        await leases.release(unit, "discover:ups_1", "r1")
        assert await leases.acquire(unit, "discover:ups_1", "r2", -1)
        assert not await leases.renew(unit, "discover:ups_1", "r2", 60)
        assert await leases.holder_of(unit, "discover:ups_1") is None
        assert await leases.acquire(unit, "discover:ups_1", "r1", 60)


async def test_of_many_at_once_one_gets_the_lease(db: Database) -> None:
    async def grab(replica: str) -> bool:
        async with db.unit(None) as unit:
            return await leases.acquire(unit, "one", replica, 60)

    async with asyncio.timeout(20):
        got = await asyncio.gather(*(grab(f"r{number}") for number in range(8)))
    assert got.count(True) == 1


async def test_replicas_tell_what_they_have_seen_and_die_by_silence(db: Database) -> None:
    async with db.unit(None) as unit:
        await replicas.heartbeat(unit, "r1", {"host": "h"}, b"k", {})
        await replicas.heartbeat(unit, "r1", {"host": "h"}, b"k", {"default": {"rules": 3}})
        (found,) = await replicas.alive(unit, 60)
        assert (found.id, found.info, found.public_key, found.seen) == (
            "r1",
            {"host": "h"},
            b"k",
            {"default": {"rules": 3}},
        )
        assert found.started <= found.beat
        assert await replicas.get(unit, "r1") == found
        assert await replicas.alive(unit, -60) == ()
        assert await replicas.dead(unit, 60) == ()
        assert await replicas.dead(unit, -60) == (found,)
        await mail.put(unit, "r1", "cancel", b"x")
        await replicas.forget(unit, "r1")
        assert await replicas.get(unit, "r1") is None
        assert await mail.take(unit, "r1") == ()


async def test_mail_is_read_once_in_order_and_wakes_its_receiver(db: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    db.listen(heard.put_nowait)
    async with db.unit(None) as unit:
        await mail.put(unit, "r1", "answer", b"\x00one")
        await mail.put(unit, "r1", "cancel", b"two")
        await mail.put(unit, "r2", "cancel", b"other")
    async with asyncio.timeout(5):
        assert {await heard.get(), await heard.get()} == {"mail:r1", "mail:r2"}
    async with db.unit(None) as unit:
        assert await mail.take(unit, "r1") == (("answer", b"\x00one"), ("cancel", b"two"))
        assert await mail.take(unit, "r1") == ()
        assert await mail.prune(unit, 1e12) == 1


async def test_notes_expire_and_are_replaced(db: Database) -> None:
    async with db.unit("default") as unit:
        await notes.put(unit, "s1", "level", b"debug", 60)
        await notes.put(unit, "s1", "level", b"info", 60)
        await notes.put(unit, "s1", "old", b"x", -1)
        await notes.put(unit, "s2", "level", b"error", 60)
        assert await notes.all_of(unit, "s1") == {"level": b"info"}
        assert await notes.with_key(unit, "level") == {"s1": b"info", "s2": b"error"}
        await notes.remove(unit, "s2")
        await notes.remove(unit, "s1", "level")
        assert await notes.with_key(unit, "level") == {}
    async with db.unit(None) as unit:
        assert await notes.prune(unit) == 1


async def test_a_repeated_request_gets_the_first_answer(db: Database) -> None:
    async with db.unit("default") as unit:
        assert await idempotency.claim(unit, "per_1", "k", "d", 60) is None
        with pytest.raises(Refused, match="under way"):
            await idempotency.claim(unit, "per_1", "k", "d", 60)
        await idempotency.finish(unit, "per_1", "k", 201, b"{}")
        assert await idempotency.claim(unit, "per_1", "k", "d", 60) == idempotency.Answer(201, b"{}")
        with pytest.raises(Refused, match="another request"):
            await idempotency.claim(unit, "per_1", "k", "other", 60)
        assert await idempotency.claim(unit, "per_2", "k", "other", 60) is None
        await idempotency.release(unit, "per_2", "k")
        assert await idempotency.claim(unit, "per_2", "k", "third", -1) is None
        assert await idempotency.claim(unit, "per_2", "k", "fourth", -1) is None
    async with db.unit(None) as unit:
        assert await idempotency.prune(unit) == 1


async def test_secrets_are_kept_sealed_once_and_removed(db: Database) -> None:
    async with db.unit("default") as unit:
        await secrets.put(unit, "sec_1", "upstream", b"\x00sealed", owner="per_1")
        assert await secrets.get(unit, "sec_1") == b"\x00sealed"
        assert await secrets.remove(unit, "sec_1")
        assert not await secrets.remove(unit, "sec_1")
        assert await secrets.get(unit, "sec_1") is None


async def test_the_first_keyset_of_a_tenant_stays(db: Database) -> None:
    async with db.unit("default") as unit:
        assert await keysets.get(unit) is None
        assert (await keysets.put_first(unit, b"one", "file:1")).wrapped == b"one"
        assert (await keysets.put_first(unit, b"two", "file:2")).wrapped == b"one"
    async with db.unit("other") as unit:
        assert await keysets.get(unit) is None
