"""Asking for an approval, waiting for it, using it: what the call path needs of the store, on whichever replica.

A replica holds nothing of an approval but who waits here: kill it, and the repeat of the call finds the same approval
from another (promise 8). Fail closed: a store that is away refuses; a wake-up that was lost is made up for by a look
every two seconds; the arguments are sealed before they are written, and only for reviewers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from callgate import ids
from callgate.errors import Refused
from callgate.model.approval import Approval, Ask
from callgate.store import approvals, notes
from callgate.store.engine import Database

PURPOSE = "approval"
_LOOK_SECONDS = 2.0
_JUDGED_BY = frozenset({"rules", "definitions", "upstreams", "agents", "identity"})  # what a parked call depends on
_LEG_SECONDS = 3600.0  # longer than the state of a leg can be brought


class Vault(Protocol):
    """Seals for a tenant, bound to one row."""

    async def seal(self, tenant: str, purpose: str, aad: bytes, plain: bytes) -> bytes: ...

    async def open_sealed(self, tenant: str, purpose: str, aad: bytes, sealed: bytes) -> bytes: ...


class Following:
    """One who waits: `changed` is set whenever the approval, or something else it depends on, may have changed."""

    def __init__(self, tenant: str) -> None:
        self.changed = asyncio.Event()
        self._tenant = tenant

    def on_change(self, tenant: str, aggregates: frozenset[str]) -> None:
        """What a fleet tells of its snapshots."""
        if tenant == self._tenant and aggregates & _JUDGED_BY:
            self.changed.set()

    async def wait(self, seconds: float) -> bool:
        """Whether something changed within so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        changed = self.changed.is_set()
        self.changed.clear()
        return changed


class Approvals:
    """The approvals of one replica's calls."""

    def __init__(self, db: Database, vault: Vault, channels: tuple[str, ...] = ()) -> None:
        self._db = db
        self._channels = channels
        self._vault = vault
        self._waiting: dict[tuple[str, str], dict[Following, str]] = {}  # → the state that each has seen
        self._looking: asyncio.Task[None] | None = None
        self._unlisten = db.listen(self._woken)

    async def close(self) -> None:
        """Stop looking."""
        self._unlisten()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def file(self, ask: Ask) -> Approval:
        """The approval for a call: one that exists for just this, or a new one. Raises `Refused`."""
        key = ids.new_id("apr")
        sealed = await self._vault.seal(ask.tenant, PURPOSE, key.encode(), ask.arguments)
        async with self._db.unit(ask.tenant) as unit:
            return await approvals.file(unit, ask, key, sealed, self._channels)

    async def current(self, tenant: str, approval_id: str) -> Approval:
        """An approval as it is now. Raises `Refused`: not_found, store_unavailable."""
        async with self._db.unit(tenant, write=False) as unit:
            found = await approvals.get(unit, approval_id)
        if found is None:
            raise Refused("not_found", "There is no approval of this id.")
        return found

    async def claim(self, tenant: str, approval_id: str) -> bool:
        """Whether this call may be made with it: true for one call. Raises `Refused("store_unavailable")`."""
        async with self._db.unit(tenant) as unit:
            return await approvals.claim(unit, approval_id)

    async def claim_leg(self, tenant: str, call: str) -> bool:
        """Whether an approved call may go on from this leg: true once. Raises `Refused("store_unavailable")`."""
        async with self._db.unit(tenant) as unit:
            return await notes.put_first(unit, "approved legs", call, b"", _LEG_SECONDS)

    async def release(self, tenant: str, approval_id: str, state: str) -> None:
        """It is not needed any more; failing is no harm, it expires."""
        with contextlib.suppress(Refused):
            async with self._db.unit(tenant) as unit:
                await approvals.release(unit, approval_id, state)

    async def arguments(self, tenant: str, approval_id: str) -> bytes | None:
        """The exact arguments, for a reviewer; None once they were erased."""
        async with self._db.unit(tenant, write=False) as unit:
            sealed = await approvals.sealed(unit, approval_id)
        return None if sealed is None else await self._vault.open_sealed(tenant, PURPOSE, approval_id.encode(), sealed)

    @asynccontextmanager
    async def following(self, approval: Approval) -> AsyncIterator[Following]:
        """Be woken by changes for as long as the context is open."""
        key, following = (approval.tenant, approval.id), Following(approval.tenant)
        self._waiting.setdefault(key, {})[following] = approval.state
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="approvals-look")
        try:
            yield following
        finally:
            del self._waiting[key][following]
            if not self._waiting[key]:
                del self._waiting[key]

    def _woken(self, payload: str) -> None:
        kind, _, rest = payload.partition(":")
        if kind == "approval":
            tenant, _, approval_id = rest.partition(":")
            for following in self._waiting.get((tenant, approval_id), ()):
                following.changed.set()

    async def _look(self) -> None:
        """Find what a lost wake-up did not tell."""
        while self._waiting:
            await asyncio.sleep(_LOOK_SECONDS)
            for tenant in {tenant for tenant, _ in self._waiting}:
                with contextlib.suppress(Refused):
                    await self._look_at(tenant)

    async def _look_at(self, tenant: str) -> None:
        wanted = [key for of, key in self._waiting if of == tenant]
        async with self._db.unit(tenant, write=False) as unit:
            states = await approvals.states_of(unit, wanted)
        for key, state in states.items():
            for following, seen in self._waiting.get((tenant, key), {}).items():
                if seen != state:
                    following.changed.set()
