"""Secrets of upstreams: sealed into the store, opened for one request (auth mode `shared`, values for programs).

Sealed rows are immutable but for a change of keys, and cached sealed for one edition of the keys; the opened value is
not kept. Fail closed: a secret that is missing or does not open is `upstream_unavailable`.
"""

import base64
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from callgate.credentials.envelope import Envelope
from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.store import secrets
from callgate.store.engine import Database

PURPOSE = "upstream"
_KEPT = 10_000  # sealed secrets, about 200 bytes each
_values = msgspec.json.Decoder(dict[str, str]).decode
Find = Callable[[str, str], Upstream | None]
"""(tenant, upstream row id) → the upstream as the snapshot knows it."""


def binding(upstream_id: str) -> bytes:
    """What a sealed secret is bound to: it opens for no other upstream."""
    return upstream_id.encode()


class Secrets:
    """Opens the secrets of upstreams. `find` looks in the snapshot, so that a hit costs no query."""

    def __init__(self, db: Database, envelope: Envelope, find: Find) -> None:
        self._db = db
        self._envelope = envelope
        self._find = find
        self._sealed: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()

    async def open(self, tenant: str, upstream_id: str) -> tuple[str, str] | None:
        """Header name and value for an upstream; None where its mode is `none`.

        Raises `Refused`: upstream_unavailable when the secret is missing or does not open, else as `Envelope.unlock`.
        """
        upstream = self._find(tenant, upstream_id)
        if upstream is None or upstream.auth_mode == "none":
            return None
        return _header(upstream, await self.plain(upstream))

    def at_hand(self, upstream: Upstream) -> tuple[str, str] | None:
        """The same, if nothing has to be waited for. Raises `Refused("internal")` when it does not open."""
        tenant, edition = upstream.tenant, self._envelope.keyring.edition(upstream.tenant)
        sealed = self._sealed.get((tenant, upstream.secret_id or "", edition))
        if sealed is None:
            return None
        plain = self._envelope.open_at_hand(tenant, PURPOSE, binding(upstream.id), sealed)
        return None if plain is None else _header(upstream, plain.decode())

    async def plain(self, upstream: Upstream) -> str:
        """The secret itself. Raises as `open`."""
        return (await self._plain(upstream)).decode()

    async def variables(self, upstream: Upstream) -> dict[str, str]:
        """The sealed environment values of a program, by name; empty when it has none. Raises as `open`."""
        if upstream.kind != "stdio" or upstream.secret_id is None:
            return {}
        return _values(await self._plain(upstream))

    async def _plain(self, upstream: Upstream) -> bytes:
        await self._envelope.unlock(upstream.tenant)
        sealed = await self._find_sealed(upstream.tenant, upstream.secret_id or "")
        if sealed is None:
            raise Refused("upstream_unavailable", f"The secret for {upstream.name} is missing; an admin has to set it.")
        try:
            return await self._envelope.open_sealed(upstream.tenant, PURPOSE, binding(upstream.id), sealed)
        except Refused as refused:
            if refused.code != "internal":
                raise
            raise Refused(
                "upstream_unavailable", f"The secret for {upstream.name} does not open; an admin has to set it again."
            ) from None

    async def _find_sealed(self, tenant: str, secret_id: str) -> bytes | None:
        key = (tenant, secret_id, self._envelope.keyring.edition(tenant))
        found = self._sealed.get(key)
        if found is None:
            async with self._db.unit(tenant, write=False) as unit:
                found = await secrets.get(unit, secret_id)
            if found is None:
                return None
            self._sealed[key] = found
            if len(self._sealed) > _KEPT:
                self._sealed.popitem(last=False)
        return found


def _header(upstream: Upstream, secret: str) -> tuple[str, str]:
    if upstream.auth.kind == "basic":
        return upstream.auth_header, "Basic " + base64.b64encode(secret.encode()).decode()
    return upstream.auth_header, f"{upstream.auth_scheme} {secret}" if upstream.auth_scheme else secret
