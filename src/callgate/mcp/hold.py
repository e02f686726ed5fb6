"""The driver's side of a parked call: files, waits, claims, and tells the machine what happened.

A client is held as long as it is known to hold (`hold_seconds`, `hold_clients`; protocol.md §8). While it waits,
something is said every eight seconds. Fail closed: whoever is not the same any more, and a store that is away when it
counts, ends the wait; nothing here lets a call through, only a claim does.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from fnmatch import fnmatchcase
from typing import Any

from callgate import clock
from callgate.call import model as m
from callgate.call.authorize import authorize
from callgate.errors import Refused
from callgate.mcp.context import MCPContext
from callgate.model.approval import PENDING, Approval
from callgate.wire import eras, jsonrpc

SAY_SECONDS = 8.0
_LOOK_SECONDS = 0.5
_SHUTDOWN_SECONDS = 0.5  # how often a wait looks whether the gateway stops


class Hold:
    """What one call waits for."""

    def __init__(self, context: MCPContext, request: m.Request, post: Callable[[object], None]) -> None:
        self._context = context
        self._request = request
        self._post = post
        self._waiting: asyncio.Task[None] | None = None
        self._said_at, self._count = 0.0, 0  # of this wait
        self._until = clock.monotonic() + seconds(context.settings.hold_seconds, context.settings.holds, request)

    async def file(self, effect: m.FileApproval) -> None:
        try:
            self._post(m.Filed(await self._context.approvals.file(effect.ask)))
        except Refused as refused:
            self._post(m.CannotGoOn(refused))

    async def claim(self, effect: m.ClaimApproval) -> None:
        one = effect.approval
        try:
            self._post(m.Claimed(await self._context.approvals.claim(one.tenant, one.id)))
        except Refused as refused:
            self._post(m.CannotGoOn(refused))

    async def claim_leg(self, effect: m.ClaimLeg) -> None:
        try:
            self._post(m.Claimed(await self._context.approvals.claim_leg(self._request.caller.tenant, effect.call)))
        except Refused as refused:
            self._post(m.CannotGoOn(refused))

    async def release(self, effect: m.ReleaseApproval) -> None:
        await self._context.approvals.release(effect.approval.tenant, effect.approval.id, effect.state)

    async def wait(self, effect: m.AwaitApproval) -> None:
        """Begin to wait; an earlier wait of the same call ends."""
        await self.close()
        self._waiting = asyncio.ensure_future(self._guarded(self._follow(effect.approval)))

    async def wait_for_account(self, target: m.Target) -> None:
        """Begin to wait for the person to connect an account at an upstream."""
        await self.close()
        self._waiting = asyncio.ensure_future(self._guarded(self._connected(target)))

    async def _connected(self, target: m.Target) -> None:
        context, request = self._context, self._request
        while not self._is_over(now := clock.monotonic()):
            await asyncio.sleep(min(_LOOK_SECONDS, max(self._until - now, 0.01)))
            try:
                await authorize(context.credentials, request, target)
            except Refused as refused:
                if refused.code != "connection_required":
                    raise
            else:
                caller = await context.identities.again(request.caller)
                self._post(m.Connected(context.fleet.view(caller.tenant), caller))
                return

    async def close(self) -> None:
        """Wait no longer."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
            self._waiting = None
        self._said_at, self._count = 0.0, 0

    def _is_over(self, now: float) -> bool:
        """Whether the wait ends now, which the machine is told; every eight seconds it is told that it goes on."""
        if now >= self._until or self._context.stopping.is_set():
            self._post(m.HoldOver())
            return True
        if now - self._said_at >= SAY_SECONDS:
            self._said_at, self._count = now, self._count + 1
            self._post(m.StillWaiting(self._count))
        return False

    async def _guarded(self, wait: Coroutine[Any, Any, None]) -> None:
        try:
            await wait
        except Refused as refused:
            self._post(m.CannotGoOn(refused))
        except Exception:  # nobody foresaw it; the call must end all the same
            self._post(m.CannotGoOn(Refused("internal")))
            raise

    async def _follow(self, approval: Approval) -> None:
        context = self._context
        async with context.approvals.following(approval) as following:
            undo = context.fleet.subscribe(following.on_change)
            following.changed.set()  # what changed between the filing and now
            try:
                while not self._is_over(now := clock.monotonic()):
                    left = min(self._until - now, self._said_at + SAY_SECONDS - now, _SHUTDOWN_SECONDS)
                    changed = await following.wait(max(left, 0.01))
                    if (changed or clock.now() >= approval.expires) and await self._tell(approval):
                        return
            finally:
                undo()

    async def _tell(self, approval: Approval) -> bool:
        """Tell the machine how things are now; says whether it is decided. While the store is away nothing is known."""
        context = self._context
        try:
            current = await context.approvals.current(approval.tenant, approval.id)
            snapshot = context.fleet.view(approval.tenant)
        except Refused:
            return False
        caller = await context.identities.again(self._request.caller)
        self._post(m.Decided(current, snapshot, caller))
        return current.state != PENDING


def seconds(usual: float, by_client: dict[str, float], request: m.Request) -> float:
    """How long the client of a request is held, by the name that it gives itself."""
    name = request.client_name
    if not name and request.meta:
        with contextlib.suppress(Refused):
            name = jsonrpc.text(jsonrpc.members(request.meta.get(eras.CLIENT_INFO_KEY, b"")).get("name", b"")) or ""
    held = [found for glob, found in by_client.items() if fnmatchcase(name.lower(), glob)]
    return max(held, default=usual)
