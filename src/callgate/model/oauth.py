"""OAuth as the gateway's own authorization server knows it: clients, authorizations, codes, refresh tokens.

Times are seconds since 1970. Sets are sorted tuples.
"""

import msgspec

READ, WRITE = SCOPES = ("mcp:read", "mcp:write")
DYNAMIC, DOCUMENT, ENTERED = KINDS = ("dynamic", "document", "entered")


def scopes_of(text: str | None) -> tuple[str, ...] | None:
    """Names out of a `scope` column; None = all."""
    return None if text is None else tuple(text.split())


class ClientFacts(msgspec.Struct, frozen=True):
    """What a client says of itself (RFC 7591, section 2), and how it may authenticate. Unverified, but for the host of
    a metadata document."""

    name: str = ""
    redirect_uris: tuple[str, ...] = ()
    method: str = "none"  # none | client_secret_basic | client_secret_post | private_key_jwt
    uri: str = ""
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")
    jwks: str = ""  # JSON Web Key Set, for private_key_jwt
    jwks_uri: str = ""


class OAuthClient(msgspec.Struct, frozen=True):
    """A client program. `client_id` is what it sends: our own id, or the URL of its metadata document."""

    id: str  # `cli_…`
    tenant: str
    client_id: str
    kind: str  # one of KINDS
    facts: ClientFacts
    secret: bytes | None = None  # SHA-256
    agent: str | None = None
    owner: str | None = None  # person that client credentials act for
    created: float = 0.0
    used: float | None = None
    checked: float = 0.0
    pinned: bool = False


class Authorization(msgspec.Struct, frozen=True):
    """What one person allowed one client at one sign-in: a family of access and refresh tokens."""

    id: str  # `aut_…`
    tenant: str
    person: str
    client: str  # client_id
    agent: str | None
    scope: tuple[str, ...]
    created: float
    expires: float
    ended: float | None = None
    ended_by: str = ""


class Code(msgspec.Struct, frozen=True):
    """An authorization code, known by its hash, good once."""

    hash: bytes
    tenant: str
    client: str
    person: str
    redirect_uri: str
    challenge: str  # S256
    resource: str
    scope: tuple[str, ...]
    expires: float
    family: str | None = None


class RefreshToken(msgspec.Struct, frozen=True):
    """One of the chain of refresh tokens of an authorization."""

    hash: bytes
    tenant: str
    family: str
    created: float
    expires: float
    used: float | None = None
    successor: bytes | None = None
