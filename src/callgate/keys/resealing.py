"""Sealing every value of a tenant again, under the key that seals now.

Each value is opened and sealed for itself and put back only if it is still the same, so it can be stopped anywhere and
run again. A value that does not open stays as it is and is counted.
"""

from collections import Counter

import msgspec

from callgate.credentials.envelope import Envelope
from callgate.credentials.granted import PURPOSE as GRANT
from callgate.credentials.granted import binding as grant_binding
from callgate.credentials.keyring import NUMBER
from callgate.credentials.registering import PURPOSE as CLIENT
from callgate.credentials.registering import binding as client_binding
from callgate.credentials.revoking import Over, over
from callgate.errors import Refused
from callgate.keys.places import OUTBOX, PLACES, Place
from callgate.store import sealed
from callgate.store.engine import Database


class Resealer:
    """Of one tenant; `primary` is the number of the key that seals now."""

    def __init__(self, db: Database, envelope: Envelope, tenant: str, primary: bytes) -> None:
        self._db = db
        self._envelope = envelope
        self._tenant = tenant
        self._primary = primary
        self.done = self.left = 0

    async def run(self) -> None:
        """Raises `Refused` when the store or the keys cannot be reached; what was done stays done."""
        async with self._db.unit(self._tenant, write=False) as unit:
            owners = await sealed.owners(unit)
            found = [(place, await sealed.keys(unit, place.where)) for place in PLACES]
            waiting = await sealed.keys(unit, OUTBOX)
        for place, rows in found:
            for row in rows:
                if row["number"] != self._primary:
                    await self._value(place, row, owners)
        for row in waiting:
            await self._message(row)

    async def _value(self, place: Place, key: sealed.Row, owners: dict[str, str]) -> None:
        async with self._db.unit(self._tenant, write=False) as unit:
            row = await sealed.get(unit, place.where, key)
        if row is None:
            return
        old = bytes(row[place.where.column])
        try:
            new = await self._again(*place.bound(row, owners), old)
        except Refused as refused:
            if refused.code != "internal":
                raise
            self.left += 1
            return
        await self._put(place.where, key, old, new)

    async def _put(self, where: sealed.Where, key: sealed.Row, old: bytes, new: bytes) -> None:
        async with self._db.unit(self._tenant) as unit:
            self.done += await sealed.swap(unit, where, key, old, new)

    async def _again(self, purpose: str, aad: bytes, old: bytes) -> bytes:
        if old[:NUMBER] == self._primary:
            return old
        plain = await self._envelope.open_sealed(self._tenant, purpose, aad, old)
        return await self._envelope.seal(self._tenant, purpose, aad, plain)

    async def _message(self, key: sealed.Row) -> None:
        async with self._db.unit(self._tenant, write=False) as unit:
            row = await sealed.get(unit, OUTBOX, key)
        if row is None:
            return
        old = bytes(row[OUTBOX.column])
        try:
            new = await self._told_again(over(old))
        except (Refused, msgspec.DecodeError) as error:
            if isinstance(error, Refused) and error.code != "internal":
                raise
            self.left += 1
            return
        if new != old:
            await self._put(OUTBOX, key, old, new)

    async def _told_again(self, found: Over) -> bytes:
        bound = grant_binding(found.person, found.upstream.id)
        tokens = await self._again(GRANT, bound, found.tokens)
        client = found.client
        if client is not None and client.sealed is not None:
            bound = client_binding(found.upstream.id, client.issuer)
            client = msgspec.structs.replace(client, sealed=await self._again(CLIENT, bound, client.sealed))
        return msgspec.json.encode(msgspec.structs.replace(found, tokens=tokens, client=client))


async def in_use(db: Database, tenant: str) -> Counter[bytes]:
    """Key number → how many values of a tenant are sealed with it."""
    found: Counter[bytes] = Counter()
    async with db.unit(tenant, write=False) as unit:
        for place in PLACES:
            found.update(await sealed.numbers(unit, place.where))
        for key in await sealed.keys(unit, OUTBOX):
            row = await sealed.get(unit, OUTBOX, key)
            if row is not None:
                found.update(_inside(bytes(row[OUTBOX.column])))
    return found


def _inside(document: bytes) -> list[bytes]:
    try:
        found = over(document)
    except msgspec.DecodeError:
        return []
    client = found.client.sealed if found.client is not None else None
    return [value[:NUMBER] for value in (found.tokens, client) if value]
