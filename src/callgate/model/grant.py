"""Grants: one person's credential for one upstream (design §1). Times: seconds since 1970."""

import msgspec

OWN_TOKEN, OAUTH, EXCHANGED = "own_token", "oauth", "exchanged"
CONNECTED, REFUSED, NEEDS_SCOPES = "connected", "refused", "needs_scopes"


class GrantFacts(msgspec.Struct, frozen=True):
    """What is known of a grant besides its secrets. `needs` are scopes that the upstream asked for and we lack."""

    issuer: str = ""
    client_id: str = ""
    resource: str = ""
    scope: str = ""
    needs: str = ""
    reason: str = ""  # why the vendor refused it
    refreshable: bool = False
    token_endpoint: str = ""
    revocation_endpoint: str = ""


class Grant(msgspec.Struct, frozen=True):
    """One grant. `expires` is when its access token is over, None = not told. `edition` rises with every write."""

    tenant: str
    person: str
    upstream: str
    kind: str
    state: str
    facts: GrantFacts
    sealed: bytes | None = None
    expires: float | None = None
    created: float = 0.0
    changed: float = 0.0
    edition: int = 1
    revision: int = 0


class GrantTokens(msgspec.Struct, frozen=True):
    """The secrets of a grant, as they are sealed."""

    access: str
    refresh: str = ""

    def __repr__(self) -> str:
        return "GrantTokens(…)"


class ProviderTokens(msgspec.Struct, frozen=True):
    """What a person holds of the OpenID provider at which they signed in; `sealed` is a `Held`."""

    tenant: str
    provider: str
    person: str
    sealed: bytes
    changed: float
    edition: int = 1


class Held(msgspec.Struct, frozen=True):
    """The secrets of `ProviderTokens`. `until`: when the access token is over."""

    id_token: str
    access: str
    refresh: str
    until: float

    def __repr__(self) -> str:
        return "Held(…)"


class UpstreamClient(msgspec.Struct, frozen=True):
    """What the gateway is to an upstream's authorization server. `sealed` is its secret."""

    tenant: str
    upstream: str
    issuer: str
    client_id: str
    how: str  # entered | document | dynamic | exchange
    method: str  # token endpoint authentication
    redirect_uri: str
    created: float
    sealed: bytes | None = None
    expires: float | None = None


class Connect(msgspec.Struct, frozen=True):
    """A connection under way, known by the hash of its state; bound to the browser session that began it."""

    hash: bytes
    person: str
    upstream: str
    session: bytes
    sealed: bytes
    expires: float
