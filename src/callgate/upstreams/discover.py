"""Discovery: who looks at which upstream, and when.

One owner per upstream, by lease, over all replicas; only its observations move statuses. It looks on an interval, when
the upstream says that a list changed, and when somebody asks, on whichever replica.
Fail closed: without the store there is no owner and no look; what is known stays. A broken upstream is looked at again
with back-off up to the interval, and never delays another.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from callgate import clock
from callgate.errors import Refused
from callgate.fleet.mail import Mail
from callgate.fleet.supervise import supervised
from callgate.fleet.sync import Fleet
from callgate.model.upstream import Upstream, UpstreamState
from callgate.store.engine import Database
from callgate.telemetry.logs import get_logger
from callgate.upstreams.catalog import Catalog, Observer, Scanner
from callgate.upstreams.ownership import LEASE_SECONDS, Ownership

WAIT_SECONDS = 90.0  # how long `refresh` waits for an owner on another replica
ASK_SECONDS = 15.0  # after so long the owner is asked again, or another one if it died
NOTICE_SECONDS = 1.0  # an upstream that says "changed" without end is looked at once in so long
RETRY_SECONDS = 1.0  # when the store is away
_CHANGED = frozenset(f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources"))
_log = get_logger(__name__)


class _Question(msgspec.Struct, frozen=True, array_like=True):
    """Mail `refresh`: another replica wants a look; `refreshed` gives the number back."""

    upstream: str
    replica: str
    number: int


class _Post:
    """One upstream that this replica follows, and what is to be done for it."""

    def __init__(self, upstream: Upstream, replaced: bool) -> None:
        self.upstream = upstream
        self.replaced = replaced  # conversations with what it was before have to end first
        self.ours = False
        self.wanted = False  # somebody asks for a look
        self.noticed = False  # the upstream said that a list changed
        self.askers: list[_Question] = []
        self.failures = 0
        self.next_look = 0.0
        self.next_notice = 0.0
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def due_in(self) -> float:
        """Seconds to the next look; 0 or less is now."""
        if self.wanted:
            return 0.0
        at = min(self.next_look, self.next_notice) if self.noticed else self.next_look
        return at - clock.monotonic()

    def ask(self, *, noticed: bool = False) -> None:
        """Have it looked at now; after a notice, not at once if the last one was just now."""
        self.noticed = self.noticed or noticed
        self.wanted = self.wanted or not noticed
        self.wake.set()


class Discovery:
    """The observer of one replica: follows the upstreams whose lease it holds."""

    def __init__(
        self, db: Database, fleet: Fleet, mail: Mail, upstreams: Observer, scanner: Scanner, *, interval: float
    ) -> None:  # fmt: skip
        self._db = db
        self._fleet = fleet
        self._mail = mail
        self._upstreams = upstreams
        self._interval = interval
        self._catalog = Catalog(db, fleet, upstreams, scanner)
        self._ownership = Ownership(db, fleet.replica)
        self._posts: dict[str, _Post] = {}
        self._moved = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._waiting: dict[int, asyncio.Event] = {}
        self._reported: set[str] = set()
        mail.on("refresh", self._on_question)
        mail.on("refreshed", self._on_answer)
        mail.on("suspect", self._on_suspect)

    async def start(self) -> None:
        """Begin to follow every upstream of every tenant."""
        self._unsubscribe = self._fleet.subscribe(self._on_change)
        self._upstreams.on_change = lambda upstream, _method: self.suspect(upstream.id)
        self._keeper = supervised("discover-keep", self._keep)

    async def stop(self) -> None:
        """Stop; leases are given back."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._upstreams.on_change = None
        tasks = [post.task for post in self._posts.values() if post.task is not None]
        tasks += [*self._tasks, *([self._keeper] if self._keeper is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._catalog.close()
        with contextlib.suppress(Refused):
            await self._ownership.give(self._posts)

    async def refresh(self, tenant: str, upstream_id: str) -> UpstreamState:
        """Look now, here or on the replica that owns the upstream, and wait for it.

        Raises `Refused`: not_found, conflict (switched off), store_unavailable. An upstream that fails is no refusal
        but a state `broken` with its reason; an owner that does not answer in 90 s leaves the state as it was.
        """
        await self._fleet.refresh()
        upstream = self._fleet.view(tenant).upstreams.get(upstream_id)
        if upstream is None:
            raise Refused("not_found", "There is no such upstream.")
        if not upstream.enabled:
            raise Refused("conflict", f"The upstream {upstream.name} is switched off; switch it on first.")
        with self._question(upstream) as (question, answered):
            end = clock.monotonic() + WAIT_SECONDS
            while not answered.is_set() and clock.monotonic() < end:
                owner = await self._owner(upstream)
                if owner is None:
                    return await self._look_once(upstream)
                if owner:
                    await self._mail.send(owner, "refresh", msgspec.msgpack.encode(question))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ASK_SECONDS if owner else RETRY_SECONDS):
                        await answered.wait()
        await self._fleet.refresh_now(tenant)
        return await self._catalog.state(upstream)

    def suspect(self, upstream_id: str) -> None:
        """Somebody heard or saw that an upstream may offer something else now: its owner looks, wherever that is."""
        post = self._posts.get(upstream_id)
        if post is not None and post.ours:
            post.ask(noticed=True)
        elif upstream_id not in self._reported:
            self._reported.add(upstream_id)
            self._spawn(self._report(upstream_id))

    # -- who follows what ------------------------------------------------------------------------------------------

    def _on_change(self, tenant: str, aggregates: frozenset[str]) -> None:
        if "upstreams" in aggregates:
            self._moved.set()

    async def _keep(self) -> None:
        """Keep the posts as configured, and their leases."""
        while True:
            self._moved.clear()
            self._follow_all()
            pause = LEASE_SECONDS / 3
            try:
                ours = await self._ownership.claim(self._posts)
            except Refused:
                ours, pause = frozenset(), RETRY_SECONDS
            for key, post in self._posts.items():
                if post.ours != (key in ours):
                    post.ours = key in ours
                    post.next_look = 0.0
                    post.wake.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._moved.wait()

    def _follow_all(self) -> None:
        wanted: dict[str, Upstream] = {}
        for tenant in self._fleet.revisions():
            try:
                found = self._fleet.view(tenant).upstreams
            except Refused:  # too old: what is followed stays as it is until the store is back
                found = {key: post.upstream for key, post in self._posts.items() if post.upstream.tenant == tenant}
            wanted.update((key, upstream) for key, upstream in found.items() if upstream.enabled)
        for key in [key for key, post in self._posts.items() if wanted.get(key) != post.upstream]:
            self._leave(self._posts.pop(key), wanted.get(key))
        for key in wanted.keys() - self._posts.keys():
            self._follow(_Post(wanted[key], replaced=False))

    def _leave(self, post: _Post, successor: Upstream | None) -> None:
        if post.task is not None:
            post.task.cancel()
        if successor is not None:
            self._follow(_Post(successor, replaced=True))
        else:
            self._spawn(self._let_go(post.upstream.id))

    def _follow(self, post: _Post) -> None:
        self._posts[post.upstream.id] = post
        post.task = supervised("discover", partial(self._attend, post))

    async def _let_go(self, upstream_id: str) -> None:
        await self._upstreams.forget(upstream_id)
        with contextlib.suppress(Refused):
            await self._ownership.give((upstream_id,))

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _attend(self, post: _Post) -> None:
        """Look whenever it is due, and listen, while the lease is ours."""
        if post.replaced:
            await self._upstreams.forget(post.upstream.id)
            post.replaced = False
        watching: asyncio.Task[None] | None = None
        try:
            while True:
                post.wake.clear()
                if post.ours and post.due_in() <= 0:
                    await self._look(post)
                if post.ours and watching is None:
                    watching = supervised("discover-watch", partial(self._watch, post))
                elif not post.ours and watching is not None:
                    watching.cancel()
                    watching = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, post.due_in()) if post.ours else None):
                        await post.wake.wait()
        finally:
            if watching is not None:
                watching.cancel()

    async def _look(self, post: _Post) -> None:
        noticed, post.noticed, post.wanted = post.noticed, False, False
        askers, post.askers = post.askers, []
        healthy = False
        try:
            healthy = (await self._catalog.look(post.upstream)).state == "ok"
            if noticed:
                async with self._db.unit(post.upstream.tenant) as unit:
                    await unit.bump("notices")
            for question in askers:
                await self._mail.send(question.replica, "refreshed", msgspec.msgpack.encode(question))
        except Refused as refused:
            _log.warning("look failed", upstream_id=post.upstream.id, code=refused.code)
            post.noticed = post.noticed or noticed  # nobody was told yet
            post.askers = [*askers, *post.askers]
        finally:
            now = clock.monotonic()
            post.failures = 0 if healthy else post.failures + 1
            post.next_notice = now + NOTICE_SECONDS if noticed else post.next_notice
            post.next_look = now + (
                self._interval if healthy else min(self._interval, 2.0 ** min(post.failures - 1, 16))
            )

    async def _watch(self, post: _Post) -> None:
        """Hear of changes until cancelled."""

        def tell(method: str, params: bytes) -> None:
            del params
            if method in _CHANGED:
                post.ask(noticed=True)

        await self._upstreams.watch(post.upstream, tell)

    # -- asking and being asked ------------------------------------------------------------------------------------

    async def _owner(self, upstream: Upstream) -> str | None:
        """None when we may look ourselves, else the replica to ask ("" when it is not known)."""
        post = self._posts.get(upstream.id)
        return None if post is not None and post.ours else await self._ownership.take(upstream.id)

    async def _look_once(self, upstream: Upstream) -> UpstreamState:
        try:
            return await self._catalog.look(upstream)
        finally:
            if upstream.id in self._posts:
                self._moved.set()  # a lease that was just taken is kept
            else:
                with contextlib.suppress(Refused):
                    await self._ownership.give((upstream.id,))

    @contextlib.contextmanager
    def _question(self, upstream: Upstream) -> Iterator[tuple[_Question, asyncio.Event]]:
        """A question for the owner, and what is set when the answer comes."""
        self._number += 1
        number, answered = self._number, asyncio.Event()
        self._waiting[number] = answered
        try:
            yield _Question(upstream.id, self._fleet.replica, number), answered
        finally:
            del self._waiting[number]

    async def _on_question(self, body: bytes) -> None:
        question = _read(body)
        post = self._posts.get(question.upstream)
        if post is not None and post.ours:
            post.askers.append(question)
            post.ask()

    async def _on_answer(self, body: bytes) -> None:
        waiting = self._waiting.get(_read(body).number)
        if waiting is not None:
            waiting.set()

    async def _report(self, upstream_id: str) -> None:
        """Tell the owner on another replica; reports within a second are one."""
        try:
            owner = await self._ownership.take(upstream_id)
            if owner:
                await self._mail.send(owner, "suspect", upstream_id.encode())
            elif owner is None and upstream_id in self._posts:
                self._moved.set()  # ours from now on, which begins with a look
            elif owner is None:
                await self._ownership.give((upstream_id,))
            await asyncio.sleep(NOTICE_SECONDS)
        except Refused as refused:
            _log.warning("suspicion lost", upstream_id=upstream_id, code=refused.code)
        finally:
            self._reported.discard(upstream_id)

    async def _on_suspect(self, body: bytes) -> None:
        post = self._posts.get(body.decode())
        if post is not None and post.ours:
            post.ask(noticed=True)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read(body: bytes) -> _Question:
    """Raises `Refused("invalid_request")`: another version of this program wrote it."""
    try:
        return msgspec.msgpack.decode(body, type=_Question)
    except msgspec.MsgspecError:
        raise Refused("invalid_request", "The mail of another replica cannot be read.") from None
