"""The tables of identity: OAuth clients and authorizations, sign-in, identity providers, grants, offboarding.

Kept apart from `schema` for length alone; importing either gives the same metadata. Codes, refresh tokens, sessions and
links are known by their SHA-256 alone. Columns `sealed` hold what only the envelope opens.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, Table, Text, text

from callgate.store.schema import metadata


def _tenant() -> Column[str]:
    return Column("tenant", Text, primary_key=True)


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _hash() -> Column[bytes]:
    return Column("hash", LargeBinary, primary_key=True)


def _text(name: str, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _time(name: str, null: bool = False) -> Column[float]:
    return Column(name, Double, nullable=null)


def _blob(name: str, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=null)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


# -- the authorization server ----------------------------------------------------------------------------------------

oauth_clients = Table(
    "oauth_clients",
    metadata,
    _tenant(),
    _key("id"),
    _text("client_id"),
    _text("kind"),  # dynamic | document | entered
    _text("content"),  # JSON of model.oauth.ClientFacts
    _blob("secret", null=True),  # SHA-256 of the client's secret
    _text("agent", null=True),  # agent name that its tokens act as
    _text("owner", null=True),  # person that client credentials act for
    _time("created"),
    _time("used", null=True),
    _time("checked"),  # when its document was fetched
    _flag("pinned"),  # an operator's copy, never fetched again
    Index("oauth_clients_client", "tenant", "client_id", unique=True),
)  # fmt: skip

consents = Table(  # what a person allowed a client
    "consents", metadata, _tenant(), _key("person"), _key("client"), _text("scope"), _text("redirect"), _time("at"),
)  # fmt: skip

authorizations = Table(  # one sign-in of a client: a family of access and refresh tokens
    "authorizations", metadata, _tenant(), _key("id"), _text("person"), _text("client"), _text("agent", null=True),
    _text("scope"), _time("created"), _time("expires"), _time("ended", null=True), _text("ended_by"),
    Index("authorizations_person", "tenant", "person"), Index("authorizations_client", "tenant", "client"),
)  # fmt: skip

oauth_codes = Table(
    "oauth_codes", metadata, _tenant(), _hash(), _text("client"), _text("person"), _text("redirect_uri"),
    _text("challenge"), _text("resource"), _text("scope"), _time("expires"), _text("family", null=True),
    Index("oauth_codes_expires", "expires"),
)  # fmt: skip

refresh_tokens = Table(
    "refresh_tokens", metadata, _tenant(), _hash(), _text("family"), _time("created"), _time("expires"),
    _time("used", null=True), _blob("successor", null=True),
    Index("refresh_tokens_family", "tenant", "family"), Index("refresh_tokens_expires", "expires"),
)  # fmt: skip

# -- sign-in ---------------------------------------------------------------------------------------------------------

browser_sessions = Table(
    "browser_sessions", metadata, _tenant(), _hash(), _text("id"), _text("person"), _time("created"), _time("seen"),
    _time("authenticated"), _text("method"), _text("provider", null=True), _text("provider_session", null=True),
    _time("expires"), Index("browser_sessions_person", "tenant", "person"),
    Index("browser_sessions_expires", "expires"),
)  # fmt: skip

local_accounts = Table(
    "local_accounts", metadata, _tenant(), _key("person"), _text("password"), _blob("totp", null=True),
    _count("totp_step"), _time("changed"),
)  # fmt: skip

passkeys = Table(
    "passkeys", metadata, _tenant(), _key("id"), _text("person"), _blob("credential"), _blob("public_key"),
    _count("counter"), _text("name"), _time("created"), _time("used", null=True),
    Index("passkeys_credential", "tenant", "credential", unique=True),
)  # fmt: skip

recovery_codes = Table(
    "recovery_codes", metadata, _tenant(), _key("person"), _hash(), _time("used", null=True),
)  # fmt: skip

links = Table(  # good once: to set a password
    "links", metadata, _tenant(), _hash(), _text("person"), _text("purpose"), _time("expires"),
    Index("links_expires", "expires"),
)  # fmt: skip

throttles = Table(
    "throttles", metadata, _tenant(), _key("key"), _count("failures"), _time("until"), _time("expires"),
    Index("throttles_expires", "expires"),
)  # fmt: skip

providers = Table(  # OpenID providers of a tenant
    "providers", metadata, _tenant(), _key("id"), _text("name"), _text("content"), _text("secret_id", null=True),
    _time("created"), Index("providers_name", "tenant", "name", unique=True),
)  # fmt: skip

identities = Table(  # who a provider's subject is
    "identities", metadata, _tenant(), _key("provider"), _key("subject"), _text("person"), _time("created"),
    Index("identities_person", "tenant", "person"),
)  # fmt: skip

# -- credentials of people for upstreams -----------------------------------------------------------------------------

grants = Table(
    "grants", metadata, _tenant(), _key("person"), _key("upstream"), _text("kind"), _text("state"),
    _blob("sealed", null=True), _text("content"), _time("expires", null=True), _time("created"), _time("changed"),
    _count("edition"), Column("revision", BigInteger, nullable=False), _flag("deleted"),
    Index("grants_revision", "tenant", "revision"), Index("grants_upstream", "tenant", "upstream"),
)  # fmt: skip

provider_tokens = Table(  # what people hold of the providers at which they sign in
    "provider_tokens", metadata, _tenant(), _key("provider"), _key("person"), _blob("sealed"), _time("changed"),
    _count("edition"), Index("provider_tokens_person", "tenant", "person"),
)  # fmt: skip

upstream_clients = Table(  # what the gateway is to an upstream's authorization server
    "upstream_clients", metadata, _tenant(), _key("upstream"), _key("issuer"), _text("client_id"), _text("how"),
    _text("method"), _blob("sealed", null=True), _text("redirect_uri"), _time("created"),
    _time("expires", null=True),
)  # fmt: skip

connects = Table(  # connections under way
    "connects", metadata, _tenant(), _hash(), _text("person"), _text("upstream"), _blob("session"), _blob("sealed"),
    _time("expires"), Index("connects_expires", "expires"),
)  # fmt: skip

# -- offboarding -----------------------------------------------------------------------------------------------------

offboardings = Table(
    "offboardings", metadata, _tenant(), _key("id"), _text("person"), _text("actor"), _time("at"), _text("content"),
    Index("offboardings_person", "tenant", "person"),
)  # fmt: skip

revocations = Table(  # what vendors have to be told, and what they answered
    "revocations", metadata, _tenant(), _key("id"), _text("offboarding", null=True), _text("person"),
    _text("upstream"), _text("upstream_name"), _text("state"), _text("answer"), _blob("sealed", null=True),
    _time("due"), Column("tries", Integer, nullable=False, server_default=text("0")), _time("changed"),
    Index("revocations_due", "state", "due"), Index("revocations_offboarding", "tenant", "offboarding"),
)  # fmt: skip
