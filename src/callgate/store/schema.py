"""The tables, as the newest migration leaves them (a test compares the two).

Texts that an upstream chooses are `Exact`: bytes that survive NUL and lone surrogates, which PostgreSQL's text does
not take. Such texts are looked up by a SHA-256 `…key`, because an index row is limited to a third of a page.
Times are seconds since 1970 (float), in the audit microseconds (integer).
"""

import hashlib

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)


class Exact(TypeDecorator[str]):
    """Any Python text, kept as UTF-8 bytes (surrogates included)."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.encode("utf-8", "surrogatepass")

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else bytes(value).decode("utf-8", "surrogatepass")


def key_of(name: str) -> str:
    """What an `Exact` text is indexed by: hex SHA-256."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


metadata = MetaData()
LIVE = "deleted = false"


def _tenant() -> Column[str]:
    return Column("tenant", Text, primary_key=True)


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _revision() -> Column[int]:
    return Column("revision", BigInteger, nullable=False)


def _deleted() -> Column[bool]:
    return Column("deleted", Boolean, nullable=False, server_default=text("false"))


def _added(name: str, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=text(f"'{default}'"))


def _live_index(name: str, *columns: str) -> Index:
    return Index(name, *columns, unique=True, sqlite_where=text(LIVE), postgresql_where=text(LIVE))


tenants = Table("tenants", metadata, Column("id", Text, primary_key=True), Column("created", Double, nullable=False))

revisions = Table(
    "revisions", metadata, _tenant(), Column("aggregate", Text, primary_key=True), _revision()
)  # fmt: skip

people = Table(
    "people",
    metadata,
    _tenant(),
    _id(),
    Column("email", Text, nullable=False),
    Column("roles", Text, nullable=False),  # JSON array, sorted
    Column("teams", Text, nullable=False),  # JSON array, sorted
    Column("active", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    _revision(),
    _deleted(),
    _live_index("people_email", "tenant", "email"),
    Index("people_revision", "tenant", "revision"),
)

agents = Table(
    "agents",
    metadata,
    _tenant(),
    _id(),
    Column("name", Text, nullable=False),
    Column("upstreams", Text),  # JSON array of globs, NULL = all
    Column("owner", Text),  # person row id
    Column("active", Boolean, nullable=False, server_default=text("true")),
    _revision(),
    _deleted(),
    _live_index("agents_name", "tenant", "name"),
    Index("agents_revision", "tenant", "revision"),
)

tokens = Table(
    "tokens",
    metadata,
    _tenant(),
    _id(),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("person", Text, nullable=False),
    Column("agent", Text),
    Column("client", Text),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked_at", Double),
    Column("last_used", Double),
    Column("family", Text),  # authorization that it belongs to
    Column("scope", Text),  # names parted by spaces, NULL = all
    _revision(),
    Index("tokens_family", "tenant", "family"),
    Index("tokens_person", "tenant", "person"),
    Index("tokens_revision", "tenant", "revision"),
)

upstreams = Table(
    "upstreams",
    metadata,
    _tenant(),
    _id(),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("url", Text),
    Column("stdio", Text),  # JSON of model.upstream.Stdio
    Column("auth_mode", Text, nullable=False),
    Column("secret_id", Text),
    Column("auth_header", Text, nullable=False),
    Column("auth_scheme", Text, nullable=False),
    Column("allow_private", Boolean, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("identity", Text, nullable=False),
    Column("timeout_s", Double, nullable=False),
    _added("review", "review"),
    _added("trust_below", "medium"),
    _added("labels", "[]"),  # JSON array, sorted
    _added("auth", "{}"),  # JSON of model.upstream.Auth
    _revision(),
    _deleted(),
    _live_index("upstreams_name", "tenant", "name"),
    Index("upstreams_revision", "tenant", "revision"),
)

states = Table(
    "states",
    metadata,
    _tenant(),
    Column("upstream", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reason", Exact, nullable=False),
    Column("era", Text),
    Column("version", Exact),
    Column("server_name", Exact, nullable=False),
    Column("server_version", Exact, nullable=False),
    Column("capabilities", LargeBinary, nullable=False),
    Column("instructions", Exact, nullable=False),
    Column("observed_at", Double, nullable=False),
    Column("observation", BigInteger, nullable=False),
    _revision(),
    _deleted(),
    Index("states_revision", "tenant", "revision"),
)

definitions = Table(
    "definitions",
    metadata,
    _tenant(),
    _id(),
    Column("upstream", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Exact, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("public_name", Exact, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("core", Text, nullable=False),
    Column("full", Text, nullable=False),
    Column("approved_full", Text),
    Column("quarantined", Text, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("listed", Boolean, nullable=False),  # by the last observation: a blocked one may have vanished
    _added("approved_by"),  # review | trust_on_first_use
    _added("worst"),  # severity of the worst finding in the current content
    _added("risk"),  # the same of those that nobody has acknowledged
    _added("scanned"),  # version of the scanner's rules that looked at it
    Column("pinned", LargeBinary),  # the approved content, while agents get it in place of the current one
    Column("renamed_from", Text),  # row id of the definition that had this body under another name
    Column("seconded_full", Text),  # hash that a first reviewer approved, where two are needed
    Column("seconded_by", Text),
    _revision(),
    _deleted(),
    _live_index("definitions_name", "tenant", "upstream", "kind", "name_key"),
    Index("definitions_public", "tenant", "kind", "public_key"),
    Index("definitions_revision", "tenant", "revision"),
)

definition_versions = Table(  # every content a definition ever had, once
    "definition_versions",
    metadata,
    _tenant(),
    Column("definition", Text, primary_key=True),
    Column("full", Text, primary_key=True),
    Column("core", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("quarantined", Text, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),  # when it last became the current one
    _added("judged"),  # which outside judge has seen it
)

findings = Table(  # what the scanner saw in one content of a definition
    "findings",
    metadata,
    _tenant(),
    Column("definition", Text, primary_key=True),
    Column("full", Text, primary_key=True),
    Column("key", Text, primary_key=True),  # of rule, version and place: what an acknowledgement is bound to
    Column("rule", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("class", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),  # JSON of model.finding.Finding
    Column("raised", Double, nullable=False),
    Column("acked_by", Text),
    Column("acked_at", Double),
    Column("note", Text, nullable=False),
)

transitions = Table(  # every change of a definition's status, and of what it says
    "transitions",
    metadata,
    _tenant(),
    _id(),
    Column("definition", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),  # person row id, `operator:<uid>`, or `observation`
    Column("cause", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("full", Text, nullable=False),
    Column("note", Text, nullable=False),
    Index("transitions_definition", "tenant", "definition", "at"),
)

public_names = Table(  # never deleted: a public name is never given to another tool
    "public_names",
    metadata,
    _tenant(),
    Column("kind", Text, primary_key=True),
    Column("folded", Text, primary_key=True),  # what clients may make of the name (wire.names.folded)
    Column("public_name", Text, nullable=False),
    Column("owner", Text, nullable=False),  # key of (upstream name, the upstream's own name of the tool)
)

secrets = Table(  # immutable: a new value is a new row, so that caches by id never go stale
    "secrets",
    metadata,
    _tenant(),
    _id(),
    Column("purpose", Text, nullable=False),
    Column("owner", Text),  # person row id, NULL = the tenant's
    Column("sealed", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
)

keysets = Table(  # the tenant's encryption keys, wrapped by the key file or a key service
    "keysets", metadata, _tenant(),
    Column("wrapped", LargeBinary, nullable=False),  # empty once they were destroyed
    Column("created", Double, nullable=False),
    Column("wrapped_by", Text, nullable=False, server_default=text("''")),
    Column("edition", BigInteger, nullable=False, server_default=text("1")),
    Column("rotated", Double, nullable=False, server_default=text("0")),
    Column("destroyed", Double),
)  # fmt: skip

notes = Table(
    "notes",
    metadata,
    _tenant(),
    Column("session", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("expires", Double, nullable=False),
    Index("notes_expires", "expires"),
)

idempotency = Table(
    "idempotency",
    metadata,
    _tenant(),
    Column("actor", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("status", Integer),  # NULL while the first request is under way
    Column("body", LargeBinary),
    Column("expires", Double, nullable=False),
    Index("idempotency_expires", "expires"),
)

# -- not a tenant's ------------------------------------------------------------------------------------------------

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("replica", Text, nullable=False),
    Column("until", Double, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", Text, primary_key=True),
    Column("info", Text, nullable=False),  # JSON object
    Column("public_key", LargeBinary, nullable=False),
    Column("seen", Text, nullable=False),  # JSON {tenant: {aggregate: revision}}
    Column("started", Double, nullable=False),
    Column("beat", Double, nullable=False),
)

mail = Table(
    "mail",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("replica", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
    Index("mail_replica", "replica", "id"),
)

# -- audit: append-only; on PostgreSQL partitioned by month over `at` -------------------------------------------------

audit = Table(
    "audit",
    metadata,
    _tenant(),
    _id(),
    Column("kind", Text, primary_key=True),  # intent | outcome | change
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("replica", Text),
    Column("person", Text),
    Column("agent", Text),
    Column("client", Text),
    Column("token", Text),
    Column("method", Text),
    Column("upstream", Text),
    Column("definition", Text),
    Column("fingerprint", Text),
    Column("decision", Text),
    Column("rule", Text),
    Column("ruleset", BigInteger),
    Column("era", Text),
    Column("args_bytes", BigInteger),
    Column("args_hash", Text),
    Column("unknown_name", Text),
    Column("unknown_name_length", BigInteger),
    Column("continues", Text),
    Column("shadow", Text),
    Column("seen", Text),
    Column("approval", Text),
    Column("outcome", Text),
    Column("code", Text),
    Column("result_bytes", BigInteger),
    Column("duration_us", BigInteger),
    Column("upstream_us", BigInteger),
    Column("durability", Text),
    Column("verdict", Text),
    Column("verdict_rule", Text),
    Column("result_seen", Text),
    Column("cost", BigInteger),
    Column("actor", Text),
    Column("action", Text),
    Column("subject", Text),
    Column("before", Text),
    Column("after", Text),
    Index(
        "audit_time", "tenant", "at", "id",
        sqlite_where=text("kind <> 'outcome'"), postgresql_where=text("kind <> 'outcome'"),
    ),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (at)",
)  # fmt: skip
