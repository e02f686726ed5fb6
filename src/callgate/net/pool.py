"""Keep-alive connections, shared by origin and policy, and the callback interface of the hot path.

One request at a time per connection. Where an idle connection exists, `send` writes in the same tick. One periodic
sweep keeps all limits of time, so that a request costs no timer. Nothing is ever repeated: a request that was written
once is answered or fails. Fail closed: bounds that are reached refuse (`PoolFull`), and a name whose addresses changed
or became forbidden loses its idle connections.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from callgate import clock
from callgate.net.connection import Connection
from callgate.net.dial import dial
from callgate.net.errors import ConnectFailed, EgressError, EgressRefused, EgressTimeout, PoolFull, ResolveFailed
from callgate.net.exchange import DEFAULT_LIMITS, Limits, ResponseHandler, Ticket
from callgate.net.policy import TargetPolicy
from callgate.net.resolve import Resolver
from callgate.net.target import Target
from callgate.net.trust import TlsContexts

T = TypeVar("T")
_SWEEP_SECONDS = 0.25
_RETRY_RESOLVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PoolBounds:
    """Connections (open or opening) and waiting requests that a pool may hold; seconds that one may stay idle."""

    per_origin: int = 256
    total: int = 1024
    idle_per_origin: int = 64
    waiting: int = 2048
    idle_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """What the pool holds now. `open` counts connections that are open or being opened."""

    open: int
    idle: int
    waiting: int
    origins: int


class _Route:
    """What is known of one origin under one policy."""

    __slots__ = ("addresses", "expires", "idle", "open", "policy", "refreshing", "target", "waiters")

    def __init__(self, target: Target, policy: TargetPolicy) -> None:
        self.target = target
        self.policy = policy
        self.idle: list[Connection] = []  # the last used first: the others grow old and are closed
        self.waiters: deque[Ticket] = deque()
        self.open = 0
        self.addresses: tuple[str, ...] = ()
        self.expires = 0.0
        self.refreshing = False


class Pool:
    """All outbound connections of one process. To be used on one loop."""

    def __init__(
        self, resolver: Resolver | None = None, bounds: PoolBounds | None = None, tls: TlsContexts | None = None
    ) -> None:
        self._resolver = resolver or Resolver()
        self._bounds = bounds or PoolBounds()
        self._tls = tls or TlsContexts()
        self._routes: dict[tuple[str, TargetPolicy], _Route] = {}
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = 0
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    def send(
        self,
        target: Target,
        policy: TargetPolicy,
        head: bytes,
        body: bytes,
        handler: ResponseHandler,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Ticket:
        """Send a request whose `head` is complete (see `request.build_head`); the answer goes to `handler`.

        Writes before it returns when an idle connection exists. Errors come through `handler.on_error`, later.
        """
        now = clock.monotonic()
        ticket = Ticket(handler, limits, head, body, now)
        route = self._routes.get((target.origin, policy))
        if route is None:
            route = self._routes[(target.origin, policy)] = _Route(target, policy)
        idle = route.idle
        while idle:
            connection = idle.pop()
            if connection.usable(now):
                if now > route.expires and not route.refreshing:
                    self._spawn(self._refresh(route))
                connection.start(ticket)
                return ticket
            connection.close()
        self._open_or_wait(route, ticket)
        return ticket

    def counts(self) -> PoolCounts:
        idle = sum(len(route.idle) for route in self._routes.values())
        return PoolCounts(open=self._open, idle=idle, waiting=self._waiting, origins=len(self._routes))

    async def aclose(self) -> None:
        """Fail what waits, cut what runs, and return when every socket is closed."""
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
        for route in self._routes.values():
            while route.waiters:
                self._take_waiter(route).fail(EgressError("The gateway is shutting down."))
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        for connection in list(self._connections):
            connection.abandon(EgressError("The gateway is shutting down.", request_sent=True))
        if self._open:
            await self._closed
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- opening ------------------------------------------------------------------------------------------------

    def _open_or_wait(self, route: _Route, ticket: Ticket) -> None:
        if self._closed is not None:
            self._fail_soon(ticket, EgressError("The gateway is shutting down."))
        elif self._has_room(route):
            self._dial(route, ticket)
        elif self._waiting >= self._bounds.waiting:
            self._fail_soon(ticket, PoolFull("Too many requests wait for a connection; try again soon."))
        else:
            self._waiting += 1
            route.waiters.append(ticket)
            if route.open < self._bounds.per_origin:
                self._evict_one_idle()
        self._keep_sweeping()

    def _has_room(self, route: _Route) -> bool:
        return route.open < self._bounds.per_origin and self._open < self._bounds.total

    def _fail_soon(self, ticket: Ticket, error: EgressError) -> None:
        asyncio.get_running_loop().call_soon(ticket.fail, error)

    def _evict_one_idle(self) -> None:
        """Make room for another origin; the waiting request starts when the socket is really closed."""
        for route in self._routes.values():
            if route.idle:
                route.idle.pop(0).close()
                return

    def _dial(self, route: _Route, ticket: Ticket) -> None:
        route.open += 1
        self._open += 1
        task = self._spawn(self._connect(route, ticket))
        ticket.cancel_dial = task.cancel
        # in a callback, not in the task: a task that is cancelled before it ran once would not give its place back
        task.add_done_callback(lambda done: self._connected(route, ticket, done))

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _connected(self, route: _Route, ticket: Ticket, task: asyncio.Task[Connection]) -> None:
        ticket.cancel_dial = None
        if task.cancelled():
            self._freed(route)
            ticket.fail(EgressError("The gateway is shutting down."))  # does nothing after an abort
            return
        error = task.exception()
        if error is None and not task.result().adopt(self, route):
            error = ConnectFailed(f"{route.target.host} closed the connection at once.")
        if error is not None:
            self._freed(route)
            ticket.fail(error if isinstance(error, EgressError) else EgressError("The gateway failed to connect."))
            if not isinstance(error, EgressError):
                raise error
            return
        connection = task.result()
        self._connections.add(connection)
        if ticket.done:
            self.released(connection)
        else:
            connection.start(ticket)

    async def _connect(self, route: _Route, ticket: Ticket) -> Connection:
        seconds = ticket.limits.connect
        left = ticket.started + seconds - clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                if clock.monotonic() >= route.expires:
                    await self._resolve(route)
                idle = self._bounds.idle_seconds
                return await dial(route.target, route.policy, route.addresses, self._tls, seconds=left, idle=idle)
        except TimeoutError:
            raise EgressTimeout("connect", seconds, request_sent=False) from None

    async def _resolve(self, route: _Route) -> None:
        resolved = await self._resolver.resolve(route.target.host, route.policy)
        route.addresses, route.expires = resolved.addresses, resolved.expires

    async def _refresh(self, route: _Route) -> None:
        """Ask for the addresses again while connections to checked ones are in use; drop what is no longer among them.

        A name that has become forbidden loses all of them. One that cannot be resolved now keeps them: they lead to
        checked addresses.
        """
        route.refreshing = True
        try:
            await self._resolve(route)
        except EgressRefused:
            route.addresses, route.expires = (), 0.0
        except ResolveFailed:
            route.expires = clock.monotonic() + _RETRY_RESOLVE_SECONDS
        finally:
            route.refreshing = False
        for connection in [one for one in route.idle if one.address not in route.addresses]:
            route.idle.remove(connection)
            connection.close()

    # --- told by connections ------------------------------------------------------------------------------------

    def released(self, connection: Connection) -> None:
        """The connection's answer is whole and it may carry another request."""
        route = connection.route
        assert isinstance(route, _Route)  # noqa: S101  set by us in `adopt`; tells the type checker
        while route.waiters:
            ticket = self._take_waiter(route)
            if not ticket.done:
                connection.start(ticket)
                return
        stale = connection.address not in route.addresses
        if self._closed is not None or stale or len(route.idle) >= self._bounds.idle_per_origin:
            connection.close()
            return
        route.idle.append(connection)
        if self._waiting and self._open >= self._bounds.total:  # some other origin waits for room
            self._evict_one_idle()

    def lost(self, connection: Connection) -> None:
        """The connection's socket is closed."""
        route = connection.route
        assert isinstance(route, _Route)  # noqa: S101
        self._connections.discard(connection)
        if connection in route.idle:
            route.idle.remove(connection)
        self._freed(route)

    def _freed(self, route: _Route) -> None:
        route.open -= 1
        self._open -= 1
        if self._closed is not None:
            if self._open == 0 and not self._closed.done():
                self._closed.set_result(None)
        elif self._waiting:
            self._serve_waiters(route)

    def _serve_waiters(self, first: _Route) -> None:
        for route in (first, *self._routes.values()):
            while route.waiters and self._has_room(route):
                ticket = self._take_waiter(route)
                if not ticket.done:
                    self._dial(route, ticket)

    def _take_waiter(self, route: _Route) -> Ticket:
        self._waiting -= 1
        return route.waiters.popleft()

    # --- time ---------------------------------------------------------------------------------------------------

    def _keep_sweeping(self) -> None:
        if self._timer is None and self._closed is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        if self._open or self._waiting:
            self._keep_sweeping()  # first, so that a handler that raises does not end the keeping of time
        now = clock.monotonic()
        for connection in list(self._connections):
            connection.check(now)
        for key, route in list(self._routes.items()):
            self._sweep_route(route, now)
            if not route.open and not route.waiters:
                del self._routes[key]

    def _sweep_route(self, route: _Route, now: float) -> None:
        for connection in [one for one in route.idle if not one.usable(now)]:
            route.idle.remove(connection)
            connection.close()
        while route.waiters:
            ticket = route.waiters[0]
            late = now - ticket.started > ticket.limits.connect
            if not ticket.done and not late:
                break
            self._take_waiter(route).fail(EgressTimeout("connect", ticket.limits.connect, request_sent=False))
