"""Foundation: identity, upstreams, definitions, rules, secrets, coordination, audit; row-level security.

On PostgreSQL three roles own nothing: `callgate_app` sees the tenant of `callgate.tenant`, `callgate_system` sees all
tenants (maintenance, token look-up), `callgate_audit` inserts audit events and can do nothing else. Nobody may update
or delete an audit event. `audit` is partitioned by month; partitions are made ahead by `store.partitions`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TENANT_TABLES = (
    "revisions", "people", "agents", "tokens", "upstreams", "states", "definitions", "definition_versions",
    "public_names", "rules", "secrets", "keysets", "notes", "idempotency",
)  # fmt: skip
SHARED_TABLES = ("leases", "replicas", "mail")
SETTING = "current_setting('callgate.tenant', true)"
LIVE = sa.text("deleted = false")


def _text(name: str, null: bool = False, primary: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=primary)


def _bytes(name: str, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=null)


def _time(name: str, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=null)


def _big(name: str, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _key(*names: str) -> list[sa.Column[str]]:
    return [_text(name, primary=True) for name in names]


def _tracked(deletable: bool = True) -> list[sa.Column[int] | sa.Column[bool]]:
    deleted = sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.text("false"))
    return [_big("revision"), deleted] if deletable else [_big("revision")]


def _live_index(name: str, table: str, columns: list[str]) -> None:
    op.create_index(name, table, columns, unique=True, sqlite_where=LIVE, postgresql_where=LIVE)


def upgrade() -> None:
    op.create_table("tenants", *_key("id"), _time("created"))
    op.create_table("revisions", *_key("tenant", "aggregate"), _big("revision"))
    _identity()
    _upstreams()
    _definitions()
    _rules_and_secrets()
    _short_lived()
    _shared()
    _audit()
    if op.get_bind().dialect.name == "postgresql":
        _row_level_security()


def _identity() -> None:
    op.create_table(
        "people", *_key("tenant", "id"), _text("email"), _text("roles"), _text("teams"), _flag("active"),
        _time("created"), *_tracked(),
    )  # fmt: skip
    _live_index("people_email", "people", ["tenant", "email"])
    op.create_index("people_revision", "people", ["tenant", "revision"])
    op.create_table("agents", *_key("tenant", "id"), _text("name"), _text("upstreams", null=True), *_tracked())
    _live_index("agents_name", "agents", ["tenant", "name"])
    op.create_index("agents_revision", "agents", ["tenant", "revision"])
    op.create_table(
        "tokens", *_key("tenant", "id"), sa.Column("hash", sa.LargeBinary, nullable=False, unique=True),
        _text("person"), _text("agent", null=True), _text("client", null=True), _time("created"),
        _time("expires", null=True), _time("revoked_at", null=True), _time("last_used", null=True),
        *_tracked(deletable=False),
    )  # fmt: skip
    op.create_index("tokens_person", "tokens", ["tenant", "person"])
    op.create_index("tokens_revision", "tokens", ["tenant", "revision"])


def _upstreams() -> None:
    op.create_table(
        "upstreams", *_key("tenant", "id"), _text("name"), _text("kind"), _text("url", null=True),
        _text("stdio", null=True), _text("auth_mode"), _text("secret_id", null=True), _text("auth_header"),
        _text("auth_scheme"), _flag("allow_private"), _flag("enabled"), _text("identity"), _time("timeout_s"),
        *_tracked(),
    )  # fmt: skip
    _live_index("upstreams_name", "upstreams", ["tenant", "name"])
    op.create_index("upstreams_revision", "upstreams", ["tenant", "revision"])
    op.create_table(
        "states", *_key("tenant", "upstream"), _text("state"), _bytes("reason"), _text("era", null=True),
        _bytes("version", null=True), _bytes("server_name"), _bytes("server_version"), _bytes("capabilities"),
        _bytes("instructions"), _time("observed_at"), _big("observation"), *_tracked(),
    )  # fmt: skip
    op.create_index("states_revision", "states", ["tenant", "revision"])


def _definitions() -> None:
    op.create_table(
        "definitions", *_key("tenant", "id"), _text("upstream"), _text("kind"), _bytes("name"), _text("name_key"),
        _bytes("public_name"), _text("public_key"), _text("status"), _bytes("raw"), _text("core"), _text("full"),
        _text("approved_full", null=True), _text("quarantined"), _time("first_seen"), _time("last_seen"),
        _flag("listed"), *_tracked(),
    )  # fmt: skip
    _live_index("definitions_name", "definitions", ["tenant", "upstream", "kind", "name_key"])
    op.create_index("definitions_public", "definitions", ["tenant", "kind", "public_key"])
    op.create_index("definitions_revision", "definitions", ["tenant", "revision"])
    op.create_table(
        "definition_versions", *_key("tenant", "definition", "full"), _text("core"), _bytes("raw"),
        _text("quarantined"), _time("first_seen"), _time("last_seen"),
    )  # fmt: skip
    op.create_table("public_names", *_key("tenant", "kind", "folded"), _text("public_name"), _text("owner"))


def _rules_and_secrets() -> None:
    op.create_table(
        "rules", *_key("tenant", "id"), _text("title"), _text("effect"), _text("matches"), _text("message"), *_tracked()
    )
    op.create_index("rules_revision", "rules", ["tenant", "revision"])
    op.create_table(
        "secrets", *_key("tenant", "id"), _text("purpose"), _text("owner", null=True), _bytes("sealed"),
        _time("created"),
    )  # fmt: skip
    op.create_table("keysets", *_key("tenant"), _bytes("wrapped"), _time("created"))


def _short_lived() -> None:
    op.create_table("notes", *_key("tenant", "session", "key"), _bytes("value"), _time("expires"))
    op.create_index("notes_expires", "notes", ["expires"])
    op.create_table(
        "idempotency", *_key("tenant", "actor", "key"), _text("digest"), sa.Column("status", sa.Integer),
        _bytes("body", null=True), _time("expires"),
    )  # fmt: skip
    op.create_index("idempotency_expires", "idempotency", ["expires"])


def _shared() -> None:
    op.create_table("leases", *_key("name"), _text("replica"), _time("until"))
    op.create_table(
        "replicas", *_key("id"), _text("info"), _bytes("public_key"), _text("seen"), _time("started"), _time("beat")
    )
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "mail", sa.Column("id", number, primary_key=True, autoincrement=True), _text("replica"), _text("kind"),
        _bytes("body"), _time("created"),
    )  # fmt: skip
    op.create_index("mail_replica", "mail", ["replica", "id"])


def _audit() -> None:
    texts = ("replica", "person", "agent", "client", "token", "method", "upstream", "definition", "fingerprint")
    op.create_table(
        "audit",
        *_key("tenant", "id", "kind"),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        *(_text(name, null=True) for name in (*texts, "decision", "rule")),
        _big("ruleset", null=True), _text("era", null=True), _big("args_bytes", null=True),
        _text("args_hash", null=True), _text("unknown_name", null=True), _big("unknown_name_length", null=True),
        _text("continues", null=True), _text("outcome", null=True), _text("code", null=True),
        _big("result_bytes", null=True), _big("duration_us", null=True), _big("upstream_us", null=True),
        *(_text(name, null=True) for name in ("durability", "actor", "action", "subject", "before", "after")),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (at)",
    )  # fmt: skip
    calls = sa.text("kind <> 'outcome'")
    op.create_index("audit_time", "audit", ["tenant", "at", "id"], sqlite_where=calls, postgresql_where=calls)


def _row_level_security() -> None:
    op.execute("CREATE TABLE audit_default PARTITION OF audit DEFAULT")
    for table in TENANT_TABLES:
        _protect(table, "tenant")
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO callgate_app, callgate_system")
    _protect("tenants", "id")
    op.execute("GRANT SELECT ON tenants TO callgate_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON tenants TO callgate_system")
    _protect("audit", "tenant")
    recorder = "current_user = 'callgate_audit'"
    op.execute(f"CREATE POLICY recorder ON audit FOR INSERT TO callgate_audit WITH CHECK ({recorder})")
    op.execute("GRANT SELECT, INSERT ON audit TO callgate_app, callgate_system")
    op.execute("GRANT INSERT ON audit TO callgate_audit")
    for table in SHARED_TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO callgate_system")
    op.execute("GRANT USAGE ON SEQUENCE mail_id_seq TO callgate_system")
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(f"GRANT USAGE ON SCHEMA {schema} TO callgate_app, callgate_system, callgate_audit")


def _protect(table: str, column: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    # a policy also applies to members of its role, and the owner has to be one: hence `current_user`
    own = f"current_user = 'callgate_app' AND {column} = {SETTING}"
    every = "current_user = 'callgate_system'"
    op.execute(f"CREATE POLICY tenant ON {table} TO callgate_app USING ({own}) WITH CHECK ({own})")
    op.execute(f"CREATE POLICY system ON {table} TO callgate_system USING ({every}) WITH CHECK ({every})")


def downgrade() -> None:
    raise NotImplementedError("There is no way back; restore the backup taken before the upgrade.")
