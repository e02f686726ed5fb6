"""Vendors without a network: what the outbound client would get, answered by the test, which can hold answers back."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from callgate import clock
from callgate.credentials.broker import Broker
from callgate.credentials.connecting import Connecting
from callgate.credentials.envelope import Envelope
from callgate.credentials.granted import PURPOSE, binding
from callgate.credentials.registering import Credentials, kept
from callgate.credentials.secrets import Secrets
from callgate.fleet.sync import Fleet
from callgate.model.grant import CONNECTED, OAUTH, Grant, GrantFacts, GrantTokens
from callgate.model.person import Person
from callgate.model.upstream import Auth, Upstream
from callgate.net.client import Client, Response
from callgate.net.exchange import DEFAULT_LIMITS, Limits
from callgate.net.policy import TargetPolicy
from callgate.net.target import Target
from callgate.store import grants, people, upstreams
from callgate.store.engine import Database
from tests.support.replicas import fleet

TENANT, PERSON, UPSTREAM = "default", "prs_1", "ups_1"
ISSUER, RESOURCE = "https://vendor.test", "https://shop.test/mcp"
Answer = tuple[int, object]
Handler = Callable[[dict[str, str]], Awaitable[Answer]]
METADATA: dict[str, Any] = {
    "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register", "revocation_endpoint": f"{ISSUER}/revoke",
    "code_challenge_methods_supported": ["S256"],
}  # fmt: skip

TOKENS: dict[str, Any] = {"access_token": "new", "token_type": "Bearer", "expires_in": 900, "refresh_token": "R2"}


class Vendors(Client):
    """Answers by URL. `asked` are the requests: URL and form (or document)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.at: dict[str, Handler] = {}
        self.put(f"{ISSUER}/.well-known/oauth-authorization-server", 200, METADATA)
        about = {"resource": RESOURCE, "authorization_servers": [ISSUER]}
        self.put("https://shop.test/.well-known/oauth-protected-resource/mcp", 200, about)

    def put(self, url: str, status: int, body: object) -> None:
        """One answer for every request."""

        async def answer(_: dict[str, str]) -> Answer:
            return status, body

        self.at[url] = answer

    async def request(
        self, method: str, url: str | Target, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"", *, policy: TargetPolicy, limits: Limits = DEFAULT_LIMITS,
    ) -> Response:  # fmt: skip
        assert isinstance(url, str)
        given = dict(json.loads(body)) if body.startswith(b"{") else dict(parse_qsl(body.decode()))
        self.asked.append((url, given))
        handler = self.at.get(url)
        status, answer = (401 if method == "POST" else 404, b"") if handler is None else await handler(given)
        response = Response()
        response.on_head(status, [])
        response.on_chunk(answer if isinstance(answer, bytes) else json.dumps(answer).encode())
        response.on_end()
        return response


class Lab:
    """One person, one upstream, and the credentials of one replica or more."""

    def __init__(self, db: Database, envelope: Envelope, fleet_: Fleet) -> None:
        self.db = db
        self.envelope = envelope
        self.fleet = fleet_
        self.vendors = Vendors()
        self.upstream = Upstream(
            id=UPSTREAM, tenant=TENANT, name="shop", kind="http", url=RESOURCE, auth_mode="on_behalf_of", identity="one"
        )
        self.outside = (self.vendors, ())
        self.secrets = Secrets(db, envelope, lambda _, key: fleet_.view(TENANT).upstreams.get(key))
        self.broker = Broker(db, envelope, self.secrets, fleet_, self.outside)
        self.connecting = Connecting(db, envelope, self.secrets, self.outside)

    async def fill(self, auth: Auth | None = None) -> None:
        await self.envelope.unlock(TENANT)
        if auth is not None:
            self.upstream = msgspec.structs.replace(self.upstream, auth=auth)
        async with self.db.unit(TENANT) as unit:
            await people.add(unit, Person(id=PERSON, tenant=TENANT, email="ana@acme.test"))
            self.upstream = await upstreams.add(unit, self.upstream)
        await self.fleet.refresh()

    async def client(self, client: Credentials, how: str = "dynamic") -> None:
        row = await kept(self.envelope, self.upstream, ISSUER, client, (how, "", None))
        async with self.db.unit(TENANT) as unit:
            await grants.put_client(unit, row)

    async def grant(self, access: str = "old", refresh: str = "R1", *, over: bool = True, **more: str) -> Grant:
        """A grant of the person, to be renewed at once if it is `over`."""
        held = msgspec.json.encode(GrantTokens(access, refresh))
        sealed = await self.envelope.seal(TENANT, PURPOSE, binding(PERSON, UPSTREAM), held)
        facts = GrantFacts(
            ISSUER, "c1", RESOURCE, refreshable=bool(refresh), token_endpoint=f"{ISSUER}/token",
            revocation_endpoint=more.get("revocation", f"{ISSUER}/revoke"),
        )  # fmt: skip
        now = clock.now()
        one = Grant(
            TENANT, PERSON, UPSTREAM, OAUTH, CONNECTED, facts, sealed, now - 1 if over else now + 900, now, now - 60
        )  # fmt: skip
        async with self.db.unit(TENANT) as unit:
            found = await grants.put(unit, one)
        await self.fleet.refresh()
        await self.broker.settled()
        return found

    async def stored(self) -> tuple[Grant | None, GrantTokens | None]:
        """The grant as the store has it, and what it holds."""
        async with self.db.unit(TENANT, write=False) as unit:
            grant = await grants.get(unit, PERSON, UPSTREAM)
        if grant is None or grant.sealed is None:
            return grant, None
        plain = await self.envelope.open_sealed(TENANT, PURPOSE, binding(PERSON, UPSTREAM), grant.sealed)
        return grant, msgspec.json.decode(plain, type=GrantTokens)

    def forms(self, url: str) -> list[dict[str, Any]]:
        return [form for asked, form in self.vendors.asked if asked == url]


def slow(lab: Lab, url: str, body: object, status: int = 200) -> tuple[asyncio.Event, asyncio.Event]:
    """Have a vendor answer when it is told to: (it was asked, it may answer)."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(_: dict[str, str]) -> Answer:
        asked.set()
        await go.wait()
        return status, body

    lab.vendors.at[url] = answer
    return asked, go


@asynccontextmanager
async def open_lab(db: Database, envelope: Envelope, auth: Auth | None = None) -> AsyncIterator[Lab]:
    """A lab until the end of the block."""
    async with fleet(db, "replica-1") as found:
        lab = Lab(db, envelope, found)
        await lab.fill(auth)
        try:
            yield lab
        finally:
            await lab.broker.close()
