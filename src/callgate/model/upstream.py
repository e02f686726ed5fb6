"""Upstreams: an MCP server behind the gateway, and what is known of it."""

import msgspec

KINDS = ("http", "sse", "stdio")
REVIEW, TRUST_ON_FIRST_USE, PIN = "review", "trust_on_first_use", "pin"
REVIEW_MODES = (REVIEW, TRUST_ON_FIRST_USE, PIN)
NONE, SHARED, OWN_TOKEN, ON_BEHALF_OF = AUTH_MODES = ("none", "shared", "own_token", "on_behalf_of")
PERSONAL = frozenset({OWN_TOKEN, ON_BEHALF_OF})


class Stdio(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a subprocess is started. `env` holds plain values.

    `secret_env` names the variables whose values are sealed: the upstream's secret is then a JSON object, name → value.
    """

    command: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    secret_env: tuple[str, ...] = ()


TOKEN_EXCHANGE, ID_JAG = EXCHANGES = ("token_exchange", "id_jag")


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the gateway authenticates, beyond mode, header and secret.

    `kind` is what the secret of mode `shared` is: `secret` (sent as it is), `basic` (`user:password`),
    `client_credentials` (a client secret) or `private_key_jwt` (a private key, PEM or JWK); of mode `on_behalf_of`,
    `token_exchange` or `id_jag` make tokens out of people's sign-in at `provider`. `client_id`, `issuer` and `scopes`
    are entered by an admin where they are not to be discovered. `writes`: the mode for tools that do not say that they
    only read, "" = the same.
    """

    kind: str = "secret"
    client_id: str = ""
    issuer: str = ""
    scopes: tuple[str, ...] = ()
    writes: str = ""
    provider: str = ""

    @property
    def exchanges(self) -> bool:
        """Whether tokens come out of people's sign-in."""
        return self.kind in EXCHANGES


class Upstream(msgspec.Struct, frozen=True):
    """One upstream as configured. `identity` is a hash over what it *is* (URL or command line, names of variables and
    hashes of their values); when it changes, every tool goes back to review."""

    id: str
    tenant: str
    name: str
    kind: str
    url: str | None = None
    stdio: Stdio | None = None
    auth_mode: str = "none"
    secret_id: str | None = None  # sealed secret of mode `shared` (or the sealed env values of a stdio upstream)
    auth_header: str = "Authorization"
    auth_scheme: str = "Bearer"  # "" = the secret is the whole header value
    auth: Auth = Auth()
    allow_private: bool = False
    enabled: bool = True
    identity: str = ""
    timeout_s: float = 300.0  # a call without any sign of life for so long is given up
    review: str = REVIEW  # how its definitions come to be trusted: one of REVIEW_MODES
    trust_below: str = "medium"  # trust_on_first_use: only without a finding of this severity or worse
    labels: tuple[str, ...] = ()  # what rules may match on
    revision: int = 0


class UpstreamState(msgspec.Struct, frozen=True):
    """What the last observation said. `state`: `new`, `ok`, `broken`. `reason` is a sentence (no payload)."""

    upstream: str
    state: str = "new"
    reason: str = ""
    era: str | None = None  # `modern` | `legacy`
    version: str | None = None  # negotiated protocol revision
    server_name: str = ""
    server_version: str = ""
    capabilities: bytes = b"{}"  # raw JSON
    instructions: str = ""
    observed_at: float = 0.0
    observation: int = 0  # sequence number of the last complete observation
    revision: int = 0
