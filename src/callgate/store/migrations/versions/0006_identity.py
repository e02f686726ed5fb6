"""Identity: OAuth clients and authorizations, sign-in, identity providers, grants, offboarding."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SETTING = "current_setting('callgate.tenant', true)"
TABLES = (
    "oauth_clients", "consents", "authorizations", "oauth_codes", "refresh_tokens", "browser_sessions",
    "local_accounts", "passkeys", "recovery_codes", "links", "throttles", "providers", "identities", "grants",
    "upstream_clients", "connects", "offboardings", "revocations",
)  # fmt: skip


def _text(name: str, null: bool = False, primary: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=primary)


def _blob(name: str, null: bool = False, primary: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=null, primary_key=primary)


def _time(name: str, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=null)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text("false"))


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    for name in ("family", "scope"):
        op.add_column("tokens", _text(name, null=True))
    op.create_index("tokens_family", "tokens", ["tenant", "family"])
    op.add_column("agents", _text("owner", null=True))
    op.add_column("agents", sa.Column("active", sa.Boolean, nullable=False, server_default=sa.text("true")))
    op.add_column("upstreams", sa.Column("auth", sa.Text, nullable=False, server_default="{}"))
    _clients()
    _sign_in()
    _grants()
    _offboarding()
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            _protect(table)


def _clients() -> None:
    op.create_table(
        "oauth_clients", _text("tenant", primary=True), _text("id", primary=True), _text("client_id"),
        _text("kind"), _text("content"), _blob("secret", null=True), _text("agent", null=True),
        _text("owner", null=True), _time("created"), _time("used", null=True), _time("checked"),
        _flag("pinned"),
    )  # fmt: skip
    op.create_index("oauth_clients_client", "oauth_clients", ["tenant", "client_id"], unique=True)
    op.create_table(
        "consents", _text("tenant", primary=True), _text("person", primary=True),
        _text("client", primary=True), _text("scope"), _text("redirect"), _time("at"),
    )  # fmt: skip
    op.create_table(
        "authorizations", _text("tenant", primary=True), _text("id", primary=True), _text("person"),
        _text("client"), _text("agent", null=True), _text("scope"), _time("created"), _time("expires"),
        _time("ended", null=True), _text("ended_by"),
    )  # fmt: skip
    op.create_index("authorizations_client", "authorizations", ["tenant", "client"])
    op.create_index("authorizations_person", "authorizations", ["tenant", "person"])
    op.create_table(
        "oauth_codes", _text("tenant", primary=True), _blob("hash", primary=True), _text("client"),
        _text("person"), _text("redirect_uri"), _text("challenge"), _text("resource"), _text("scope"),
        _time("expires"), _text("family", null=True),
    )  # fmt: skip
    op.create_index("oauth_codes_expires", "oauth_codes", ["expires"])
    op.create_table(
        "refresh_tokens", _text("tenant", primary=True), _blob("hash", primary=True), _text("family"),
        _time("created"), _time("expires"), _time("used", null=True), _blob("successor", null=True),
    )  # fmt: skip
    op.create_index("refresh_tokens_expires", "refresh_tokens", ["expires"])
    op.create_index("refresh_tokens_family", "refresh_tokens", ["tenant", "family"])


def _sign_in() -> None:
    op.create_table(
        "browser_sessions", _text("tenant", primary=True), _blob("hash", primary=True), _text("id"),
        _text("person"), _time("created"), _time("seen"), _time("authenticated"), _text("method"),
        _text("provider", null=True), _text("provider_session", null=True), _time("expires"),
    )  # fmt: skip
    op.create_index("browser_sessions_expires", "browser_sessions", ["expires"])
    op.create_index("browser_sessions_person", "browser_sessions", ["tenant", "person"])
    op.create_table(
        "local_accounts", _text("tenant", primary=True), _text("person", primary=True), _text("password"),
        _blob("totp", null=True), _count("totp_step"), _time("changed"),
    )  # fmt: skip
    op.create_table(
        "passkeys", _text("tenant", primary=True), _text("id", primary=True), _text("person"),
        _blob("credential"), _blob("public_key"), _count("counter"), _text("name"), _time("created"),
        _time("used", null=True),
    )  # fmt: skip
    op.create_index("passkeys_credential", "passkeys", ["tenant", "credential"], unique=True)
    op.create_table(
        "recovery_codes", _text("tenant", primary=True), _text("person", primary=True),
        _blob("hash", primary=True), _time("used", null=True),
    )  # fmt: skip
    op.create_table(
        "links", _text("tenant", primary=True), _blob("hash", primary=True), _text("person"),
        _text("purpose"), _time("expires"),
    )  # fmt: skip
    op.create_index("links_expires", "links", ["expires"])
    op.create_table(
        "throttles", _text("tenant", primary=True), _text("key", primary=True), _count("failures"),
        _time("until"), _time("expires"),
    )  # fmt: skip
    op.create_index("throttles_expires", "throttles", ["expires"])
    op.create_table(
        "providers", _text("tenant", primary=True), _text("id", primary=True), _text("name"),
        _text("content"), _text("secret_id", null=True), _time("created"),
    )  # fmt: skip
    op.create_index("providers_name", "providers", ["tenant", "name"], unique=True)
    op.create_table(
        "identities", _text("tenant", primary=True), _text("provider", primary=True),
        _text("subject", primary=True), _text("person"), _time("created"),
    )  # fmt: skip
    op.create_index("identities_person", "identities", ["tenant", "person"])


def _grants() -> None:
    op.create_table(
        "grants", _text("tenant", primary=True), _text("person", primary=True),
        _text("upstream", primary=True), _text("kind"), _text("state"), _blob("sealed", null=True),
        _text("content"), _time("expires", null=True), _time("created"), _time("changed"), _count("edition"),
        _number("revision"), _flag("deleted"),
    )  # fmt: skip
    op.create_index("grants_revision", "grants", ["tenant", "revision"])
    op.create_index("grants_upstream", "grants", ["tenant", "upstream"])
    op.create_table(
        "upstream_clients", _text("tenant", primary=True), _text("upstream", primary=True),
        _text("issuer", primary=True), _text("client_id"), _text("how"), _text("method"),
        _blob("sealed", null=True), _text("redirect_uri"), _time("created"), _time("expires", null=True),
    )  # fmt: skip
    op.create_table(
        "connects", _text("tenant", primary=True), _blob("hash", primary=True), _text("person"),
        _text("upstream"), _blob("session"), _blob("sealed"), _time("expires"),
    )  # fmt: skip
    op.create_index("connects_expires", "connects", ["expires"])


def _offboarding() -> None:
    op.create_table(
        "offboardings", _text("tenant", primary=True), _text("id", primary=True), _text("person"),
        _text("actor"), _time("at"), _text("content"),
    )  # fmt: skip
    op.create_index("offboardings_person", "offboardings", ["tenant", "person"])
    op.create_table(
        "revocations", _text("tenant", primary=True), _text("id", primary=True),
        _text("offboarding", null=True), _text("person"), _text("upstream"), _text("upstream_name"),
        _text("state"), _text("answer"), _blob("sealed", null=True), _time("due"), _small("tries"),
        _time("changed"),
    )  # fmt: skip
    op.create_index("revocations_due", "revocations", ["state", "due"])
    op.create_index("revocations_offboarding", "revocations", ["tenant", "offboarding"])


def _protect(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    own = f"current_user = 'callgate_app' AND tenant = {SETTING}"
    every = "current_user = 'callgate_system'"
    op.execute(f"CREATE POLICY tenant ON {table} TO callgate_app USING ({own}) WITH CHECK ({own})")
    op.execute(f"CREATE POLICY system ON {table} TO callgate_system USING ({every}) WITH CHECK ({every})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO callgate_app, callgate_system")


def downgrade() -> None:
    raise NotImplementedError("There is no way back; restore the backup taken before the upgrade.")
