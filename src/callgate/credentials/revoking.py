"""Telling a vendor that a grant is over (RFC 7009), with the secrets of the grant kept sealed until it has answered.

Fail closed: what cannot be revoked there says so, with what a person can do; the secrets are erased with the answer.
"""

import msgspec

from callgate.credentials.envelope import Envelope
from callgate.credentials.granted import PURPOSE as GRANT
from callgate.credentials.granted import binding
from callgate.credentials.registering import opened, proof
from callgate.credentials.vendor import Server, Vendor
from callgate.errors import Refused
from callgate.model.grant import OWN_TOKEN, Grant, GrantFacts, GrantTokens, UpstreamClient
from callgate.model.offboarding import BY_HAND, NOT_POSSIBLE, PENDING, REFUSED, REVOKED
from callgate.model.upstream import Upstream
from callgate.net.client import Client
from callgate.net.policy import Network

_GONE = ("keys_destroyed", "internal")  # what was sealed never opens again
_tokens = msgspec.json.Decoder(GrantTokens).decode


class Over(msgspec.Struct, frozen=True):
    """What is needed to revoke a grant at its vendor, without the grant and without its upstream.

    Its secrets, the tokens and that of the client, are sealed as they were: somebody can leave while the keys are away.
    """

    person: str
    facts: GrantFacts
    tokens: bytes
    upstream: Upstream
    client: UpstreamClient | None

    def __repr__(self) -> str:
        return "Over(…)"


over = msgspec.json.Decoder(Over).decode


def prepared(
    grant: Grant, upstream: Upstream | None, client: UpstreamClient | None
) -> tuple[str, str, bytes | None]:  # fmt: skip
    """(state, answer, what `Revoker.revoke` needs) of a revocation: what has to be done for this grant."""
    if grant.kind == OWN_TOKEN:
        return (
            BY_HAND,
            "The vendor was not asked: the person made this token there, and it has to be ended there.",
            None,
        )
    if not grant.facts.revocation_endpoint or upstream is None:
        return NOT_POSSIBLE, "The vendor publishes no revocation endpoint; end the person's session there.", None
    needed = Over(grant.person, grant.facts, grant.sealed or b"", upstream, client)
    return PENDING, "", msgspec.json.encode(needed)


class Revoker:
    """Asks vendors."""

    def __init__(self, envelope: Envelope, client: Client, networks: tuple[Network, ...]) -> None:
        self._envelope = envelope
        self._client = client
        self._networks = networks

    async def revoke(self, tenant: str, blob: bytes) -> tuple[str, str]:
        """(state, answer). Raises `Refused` when the vendor cannot be asked now."""
        try:
            found = over(blob)
        except msgspec.DecodeError:  # of an older version
            return BY_HAND, "The vendor cannot be asked any more; end the person's session there."
        try:
            tokens, (fields, headers) = await self._opened(tenant, found)
        except Refused as refused:
            if refused.code not in _GONE:
                raise
            return BY_HAND, "The vendor cannot be asked: the keys of its secrets are gone; end the session there."
        vendor = Vendor(self._client, self._networks, found.upstream)
        wanted = [("refresh_token", tokens.refresh)] if tokens.refresh else []
        wanted.append(("access_token", tokens.access))
        answers = []
        for hint, token in wanted:
            form = {"token": token, "token_type_hint": hint, **fields}
            status = await vendor.revoke(found.facts.revocation_endpoint, form, headers)
            if status >= 500 or status == 429:
                raise Refused("connection_failed", f"The vendor answered with status {status}.")
            answers.append((hint, status))
        told = ", ".join(f"{hint} {status}" for hint, status in answers)
        if answers[0][1] != 200:
            return REFUSED, f"The vendor refused ({told}); end the person's session there."
        return REVOKED, told

    async def _opened(self, tenant: str, found: Over) -> tuple[GrantTokens, tuple[dict[str, str], dict[str, str]]]:
        """The tokens, and with what we prove ourselves."""
        bound = binding(found.person, found.upstream.id)
        tokens = _tokens(await self._envelope.open_sealed(tenant, GRANT, bound, found.tokens))
        if found.client is None:
            return tokens, ({"client_id": found.facts.client_id}, {})
        client = await opened(self._envelope, found.upstream, found.client)
        return tokens, proof(client, Server(found.facts.issuer))
