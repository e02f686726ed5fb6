"""Who stands behind an access token, cached.

A hit is one hash and one look-up. A miss asks the store once, however many wait for it; unknown tokens are remembered
for a short time, so that guessing costs us little. Fail closed: when the fleet's view is too old, nobody is known.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from callgate import clock, ids
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.identity.anonymous import TOKEN as ANONYMOUS
from callgate.model.caller import Caller
from callgate.model.person import Person, Token
from callgate.store import people, tokens
from callgate.store.engine import Database
from callgate.store.people import AGGREGATE

_NEGATIVE_SECONDS = 5.0
_MAX_KNOWN = 200_000
_MAX_UNKNOWN = 10_000


class TokenCache:
    """The identities port of one replica."""

    def __init__(self, db: Database, fleet: Fleet) -> None:
        self._db = db
        self._fleet = fleet
        self._known: OrderedDict[bytes, Caller] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Caller]] = {}
        # what was read of the store before now is in no cache yet
        self._seen = {tenant: seen.get(AGGREGATE, 0) for tenant, seen in fleet.revisions().items()}
        self._epoch = 0
        self._stop = fleet.subscribe(self._on_change)
        self.on_left: Callable[[frozenset[str]], None] | None = None  # told who is inactive from now on
        self._tasks: set[asyncio.Task[None]] = set()

    def peek(self, token: str) -> Caller | None:
        """The caller behind a token that is known; None says only that the store has to be asked."""
        caller = self._known.get(ids.token_hash(token))
        if caller is None or not self._fleet.fresh:
            return None
        if caller.expires_at is not None and caller.expires_at <= clock.now():
            return None
        return caller

    async def lookup(self, token: str) -> Caller:
        """The caller behind a token. Raises `Refused`: invalid_token, person_inactive, store_unavailable."""
        found = self.peek(token)
        if found is not None:
            return found
        digest = ids.token_hash(token)
        until = self._unknown.get(digest)
        if not ids.looks_like_token(token) or (until is not None and until > clock.monotonic()):
            raise Refused("invalid_token")
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.ensure_future(self._ask(digest))
            task.add_done_callback(lambda done: self._asked(digest, done))
        return await asyncio.shield(task)

    async def again(self, caller: Caller) -> Caller:
        """The same caller as the store knows them now. Raises `Refused`: invalid_token, person_inactive."""
        async with self._db.unit(caller.tenant, write=False) as unit:
            person = await people.get(unit, caller.person)
            token = await tokens.get(unit, caller.token) if caller.token != ANONYMOUS else None
        if person is None or not person.active:
            raise Refused("person_inactive")
        if caller.token == ANONYMOUS:
            return msgspec.structs.replace(caller, roles=person.roles, teams=person.teams)
        if token is None:
            raise Refused("invalid_token")
        return self._caller(token, person)

    async def ended(self, caller: Caller) -> bool:
        """Whether a caller who was let in has been ended since: left, or the token revoked. One that is merely over
        lets what it began come to its end. Raises `Refused("store_unavailable")`."""
        async with self._db.unit(caller.tenant, write=False) as unit:
            person = await people.get(unit, caller.person)
            token = await tokens.get(unit, caller.token) if caller.token != ANONYMOUS else None
        if person is None or not person.active:
            return True
        return caller.token != ANONYMOUS and token is not None and token.revoked_at is not None

    def _asked(self, digest: bytes, done: asyncio.Task[Caller]) -> None:
        self._asking.pop(digest, None)
        if not done.cancelled():
            done.exception()  # everybody who waited may be gone by now

    async def _ask(self, digest: bytes) -> Caller:
        epoch = self._epoch
        async with self._db.unit(None, write=False) as unit:
            row = await tokens.find(unit, digest)
        if row is None:
            if epoch == self._epoch:  # else it may have been issued while we read
                self._remember_unknown(digest)
            raise Refused("invalid_token")
        caller = self._caller(*row)
        if epoch == self._epoch:  # nothing changed while we read: safe to keep
            self._known[digest] = caller
            while len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return caller

    def _caller(self, token: Token, person: Person) -> Caller:
        now = clock.now()
        if token.revoked_at is not None or (token.expires is not None and token.expires <= now):
            raise Refused("invalid_token")
        if not person.active:
            raise Refused("person_inactive")
        allowed = None
        if token.agent is not None:
            agent = self._fleet.view(token.tenant).agents.get(token.agent)
            if agent is None:
                raise Refused("invalid_token", "The agent this token was issued for no longer exists.")
            if not agent.active:
                raise Refused("invalid_token", "The agent this token was issued for was stopped; an admin can say why.")
            allowed = agent.upstreams
        return Caller(
            tenant=token.tenant,
            person=person.id,
            email=person.email,
            roles=person.roles,
            teams=person.teams,
            agent=token.agent,
            client=token.client,
            token=token.id,
            expires_at=token.expires,
            allowed_upstreams=allowed,
            scope=token.scope,
        )

    def _remember_unknown(self, digest: bytes) -> None:
        self._unknown[digest] = clock.monotonic() + _NEGATIVE_SECONDS
        while len(self._unknown) > _MAX_UNKNOWN:
            self._unknown.popitem(last=False)

    # -- changes -------------------------------------------------------------------------------------------------

    def _on_change(self, tenant: str, aggregates: frozenset[str]) -> None:
        if "agents" in aggregates:
            self._forget(lambda caller: caller.tenant == tenant and caller.agent is not None)
        if AGGREGATE in aggregates:
            self._epoch += 1
            self._unknown.clear()
            revision = self._fleet.view(tenant).revisions.get(AGGREGATE, 0)
            task = asyncio.ensure_future(self._evict(tenant, revision))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _evict(self, tenant: str, revision: int) -> None:
        """Forget just whom the change touched; everybody of the tenant when that cannot be read."""
        since = self._seen.get(tenant)
        try:
            if since is None:
                raise Refused("store_unavailable")
            async with self._db.unit(tenant, write=False) as unit:
                touched_people, gone = await people.changed_since(unit, since)
                touched_tokens, _ = await tokens.changed_since(unit, since)
        except Refused:
            self._forget(lambda caller: caller.tenant == tenant)
        else:
            persons = {person.id for person in touched_people} | set(gone)
            left = frozenset(person.id for person in touched_people if not person.active) | set(gone)
            if left and self.on_left is not None:
                self.on_left(left)
            ended = {token.id for token in touched_tokens}
            self._forget(lambda caller: caller.person in persons or caller.token in ended)
        self._seen[tenant] = max(revision, self._seen.get(tenant, 0))

    def _forget(self, concerns: Callable[[Caller], bool]) -> None:
        for digest in [key for key, caller in self._known.items() if concerns(caller)]:
            del self._known[digest]

    async def settled(self) -> None:
        """Return when every change that this replica has heard of is applied here."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Stop following changes."""
        self._stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
