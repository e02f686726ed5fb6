"""Connecting a person's account at an upstream: the authorization code flow, as a client of the vendor.

What belongs to a flow under way is kept sealed under the hash of its `state`, bound to the browser session that began
it and to its upstream, good once and for ten minutes. Fail closed: an answer in another browser, of another person, for
another upstream, or of another issuer (RFC 9207) makes no grant.
"""

import asyncio
import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import msgspec

from callgate import clock, ids
from callgate.credentials.discovery import Found, discover
from callgate.credentials.envelope import Envelope
from callgate.credentials.granted import PURPOSE, Began, began, binding, sealed_grant, still_there
from callgate.credentials.registering import Credentials, entered, kept, opened, proof, register
from callgate.credentials.secrets import Secrets
from callgate.credentials.vendor import Vendor, VendorRefused
from callgate.errors import Refused
from callgate.model.grant import CONNECTED, OAUTH, OWN_TOKEN, Connect, Grant, GrantFacts, GrantTokens, UpstreamClient
from callgate.model.upstream import ON_BEHALF_OF, Upstream
from callgate.net.client import Client
from callgate.net.policy import Network
from callgate.store import grants
from callgate.store.engine import Database
from callgate.store.unit import Unit

_SECONDS = 600.0
SEALED = "connect"


class Underway(msgspec.Struct, frozen=True):
    """A flow that was begun."""

    found: Found
    client_id: str
    verifier: str
    redirect_uri: str

    def __repr__(self) -> str:
        return f"Underway({self.client_id})"


_underway = msgspec.json.Decoder(Underway).decode


class Connecting:
    """Begins and finishes connections."""

    def __init__(
        self, db: Database, envelope: Envelope, secrets: Secrets, outside: tuple[Client, tuple[Network, ...]]
    ) -> None:  # fmt: skip
        self._db = db
        self._envelope = envelope
        self._secrets = secrets
        self._client, self._networks = outside
        self._locks: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()

    def _vendor(self, upstream: Upstream) -> Vendor:
        return Vendor(self._client, self._networks, upstream)

    async def look(self, upstream: Upstream, person: str) -> Found:
        """Where the connection would be made and what it would ask for. Raises `Refused("connection_failed")`."""
        async with self._db.unit(upstream.tenant, write=False) as unit:
            known = await grants.get(unit, person, upstream.id)
        needs = known.facts.needs if known is not None else ""
        if needs and known is not None:
            needs = " ".join(dict.fromkeys([*known.facts.scope.split(), *needs.split()]))
        return await discover(self._vendor(upstream), upstream, needs)

    async def begin(self, upstream: Upstream, who: tuple[str, bytes], base: str) -> str:
        """Where to send the browser. `who`: the person and the hash of their session; `base`: our issuer.

        Raises `Refused("connection_failed")`.
        """
        person, session = who
        await self._envelope.unlock(upstream.tenant)
        found = await self.look(upstream, person)
        if not found.server.authorization_endpoint:
            raise Refused("connection_failed", "The authorization server has no page to sign in at.")
        redirect_uri = f"{base}/connections/callback/{upstream.id}"
        client = await self._our_client(upstream, found, base, redirect_uri)
        state = clock.random_urlsafe(32)
        underway = Underway(found, client.client_id, clock.random_urlsafe(48), redirect_uri)
        aad = binding(person, upstream.id)
        sealed = await self._envelope.seal(upstream.tenant, SEALED, aad, msgspec.json.encode(underway))
        one = Connect(ids.token_hash(state), person, upstream.id, session, sealed, clock.now() + _SECONDS)
        async with self._db.unit(upstream.tenant) as unit:
            await grants.begin(unit, one)
        return _authorization_url(found, underway, state)

    async def _our_client(self, upstream: Upstream, found: Found, base: str, redirect_uri: str) -> Credentials:
        """Who we are there: entered, by document, or registered once. Kept, so that it can renew and revoke."""
        issuer = found.server.issuer
        if upstream.auth.client_id and upstream.auth_mode == ON_BEHALF_OF:
            secret = await self._secrets.plain(upstream) if upstream.secret_id is not None else ""
            client, how = entered(upstream, found.server, secret), "entered"
        elif found.server.client_id_metadata_document_supported and base.startswith("https://"):
            client, how = Credentials(f"{base}/connections/client/{upstream.id}", "none"), "document"
        else:
            return await self._registered(upstream, found, redirect_uri)
        row = await kept(self._envelope, upstream, issuer, client, (how, redirect_uri, None))
        async with self._db.unit(upstream.tenant) as unit:
            await grants.put_client(unit, row)
        return client

    async def _registered(self, upstream: Upstream, found: Found, redirect_uri: str) -> Credentials:
        """The client that was registered, by the first who needed it: others who come at that moment take theirs."""
        issuer = found.server.issuer
        lock = self._locks.setdefault((upstream.tenant, upstream.id, issuer), asyncio.Lock())
        async with lock:
            async with self._db.unit(upstream.tenant, write=False) as unit:
                row = await grants.client(unit, upstream.id, issuer)
            if row is None or not _good(row, redirect_uri):
                client, expires = await register(self._vendor(upstream), found.server, redirect_uri, found.scope)
                row = await kept(self._envelope, upstream, issuer, client, ("dynamic", redirect_uri, expires))
                async with self._db.unit(upstream.tenant) as unit:
                    row = await self._first(unit, row)
        return await opened(self._envelope, upstream, row)

    @staticmethod
    async def _first(unit: Unit, row: UpstreamClient) -> UpstreamClient:
        """Keep a client, unless another replica has kept one meanwhile."""
        await unit.bump(grants.AGGREGATE)  # one replica at a time
        known = await grants.client(unit, row.upstream, row.issuer)
        if known is not None and _good(known, row.redirect_uri):
            return known
        await grants.put_client(unit, row)
        return row

    async def finish(
        self, upstream: Upstream, who: tuple[str, bytes], answer: Mapping[str, str]
    ) -> Grant:  # fmt: skip
        """Make the grant out of what the vendor sent the browser back with.

        Raises `Refused`: connection_failed, person_inactive.
        """
        person, session = who
        async with self._db.unit(upstream.tenant) as unit:
            begun = await grants.take(unit, ids.token_hash(answer.get("state", "")), clock.now())
            since = await began(unit, person, upstream)
        if begun is None or (begun.person, begun.session, begun.upstream) != (person, session, upstream.id):
            raise Refused("connection_failed", "This connection was not begun in this browser, or it took too long.")
        aad = binding(person, upstream.id)
        underway = _underway(await self._envelope.open_sealed(upstream.tenant, SEALED, aad, begun.sealed))
        server = underway.found.server
        if answer.get("iss", server.issuer) != server.issuer or (
            server.authorization_response_iss_parameter_supported and "iss" not in answer
        ):
            raise Refused("connection_failed", "The answer is of another authorization server; begin again.")
        if "error" in answer or not answer.get("code"):
            raise Refused("connection_failed", "The vendor did not allow it; begin again when you want to.")
        tokens = await self._redeemed(upstream, underway, answer["code"])
        facts = GrantFacts(
            server.issuer, underway.client_id, underway.found.resource, underway.found.scope,
            token_endpoint=server.token_endpoint, revocation_endpoint=server.revocation_endpoint,
        )  # fmt: skip
        now = clock.now()
        empty = Grant(upstream.tenant, person, upstream.id, OAUTH, CONNECTED, facts, created=now, changed=now)
        made = await sealed_grant(self._envelope, empty, tokens)
        async with self._db.unit(upstream.tenant) as unit:
            await still_there(unit, since)
            return await grants.put(unit, made)

    async def _redeemed(self, upstream: Upstream, underway: Underway, code: str) -> dict[str, object]:
        issuer = underway.found.server.issuer
        async with self._db.unit(upstream.tenant, write=False) as unit:
            row = await grants.client(unit, upstream.id, issuer)
        if row is None or row.client_id != underway.client_id:
            raise Refused("connection_failed", "The configuration of this server changed meanwhile; begin again.")
        fields, headers = proof(await opened(self._envelope, upstream, row), underway.found.server)
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": underway.redirect_uri,
            "code_verifier": underway.verifier, "resource": underway.found.resource, **fields,
        }  # fmt: skip
        try:
            return await self._vendor(upstream).token(underway.found.server.token_endpoint, form, headers)
        except VendorRefused as refused:
            if refused.of_us:
                async with self._db.unit(upstream.tenant) as unit:
                    await grants.drop_client(unit, upstream.id, issuer)
            raise Refused("connection_failed", f"The vendor gave no token ({refused.error}); begin again.") from None

    async def own_token(self, upstream: Upstream, since: Began, token: str) -> Grant:
        """Keep a token that a person brings; nobody sees it again.

        Raises `Refused`: validation, person_inactive, connection_failed.
        """
        person = since.person
        if not token or not token.isascii() or not token.isprintable() or len(token) > 8000:
            raise Refused("validation", "The token must be 1 to 8,000 printable ASCII characters.")
        now = clock.now()
        held = msgspec.json.encode(GrantTokens(token))
        sealed = await self._envelope.seal(upstream.tenant, PURPOSE, binding(person, upstream.id), held)
        one = Grant(
            upstream.tenant, person, upstream.id, OWN_TOKEN, CONNECTED, GrantFacts(), sealed, None, now, now
        )  # fmt: skip
        async with self._db.unit(upstream.tenant) as unit:
            await still_there(unit, since)
            return await grants.put(unit, one)


def _good(row: UpstreamClient, redirect_uri: str) -> bool:
    over = row.expires is not None and row.expires <= clock.now() + 60.0
    return row.how == "dynamic" and row.redirect_uri == redirect_uri and not over


def _authorization_url(found: Found, underway: Underway, state: str) -> str:
    fields = {
        "response_type": "code",
        "client_id": underway.client_id,
        "redirect_uri": underway.redirect_uri,
        "state": state,
        "code_challenge": urlsafe_b64encode(hashlib.sha256(underway.verifier.encode()).digest()).decode().rstrip("="),
        "code_challenge_method": "S256",
        "resource": found.resource,
    }
    if found.scope:
        fields["scope"] = found.scope
        if "offline_access" in found.scope.split():
            fields["prompt"] = "consent"  # OpenID Connect Core, section 11: else no refresh token is given
    endpoint = found.server.authorization_endpoint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(fields)}"


def document(base: str, upstream: str) -> dict[str, object]:
    """The gateway's own metadata document for one upstream; its URL is the client id."""
    return {
        "client_id": f"{base}/connections/client/{upstream}",
        "client_name": "Callgate",
        "client_uri": base,
        "redirect_uris": [f"{base}/connections/callback/{upstream}"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
