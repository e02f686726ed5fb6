"""The policy gate: rules as one document each, versions and drafts, limits, approvals, kept arguments."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SETTING = "current_setting('callgate.tenant', true)"
TABLES = (
    "rule_sets", "rule_drafts", "limit_windows", "limit_slots", "approvals", "approval_notices", "kept_arguments",
)  # fmt: skip
OLD = ("title", "effect", "message", "matches", "condition", "description", "owner", "redact")


def _text(name: str, null: bool = False, primary: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=primary)


def _number(name: str, kind: type = sa.BigInteger, **more: object) -> sa.Column[float]:
    return sa.Column(name, kind, **{"nullable": False, **more})  # type: ignore[arg-type]


def _blob(name: str, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=null)


def upgrade() -> None:
    _rules()
    op.add_column("upstreams", sa.Column("labels", sa.Text, nullable=False, server_default="[]"))
    op.add_column("options", sa.Column("default_effect", sa.Text, nullable=False, server_default="allow"))
    op.add_column("options", _number("keep_arguments_s", sa.Double, server_default=sa.text("0")))
    for name in ("shadow", "seen", "approval", "verdict", "verdict_rule", "result_seen"):
        op.add_column("audit", _text(name, null=True))
    op.add_column("audit", sa.Column("cost", sa.BigInteger, nullable=True))
    _versions()
    _limits()
    _approvals()
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            _protect(table)


def _rules() -> None:
    connection = op.get_bind()
    op.add_column("rules", sa.Column("content", sa.Text, nullable=False, server_default=""))
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:  # rows are shown to the roles of the program alone
        connection.execute(sa.text("SET LOCAL ROLE callgate_system"))
    rows = connection.execute(sa.text(f"SELECT tenant, id, {', '.join(OLD)} FROM rules")).mappings().all()  # noqa: S608
    statement = sa.text("UPDATE rules SET content = :content WHERE tenant = :tenant AND id = :id")
    for row in rows:
        connection.execute(statement, {"content": _content(row), "tenant": row["tenant"], "id": row["id"]})
    if postgresql:
        connection.execute(sa.text("RESET ROLE"))
    for name in OLD:
        op.drop_column("rules", name)


def _content(row: sa.RowMapping) -> str:
    plain = {name: row[name] for name in ("id", "title", "effect", "message", "description", "owner")}
    redact = json.loads(row["redact"]) if row["redact"] else None
    return json.dumps({**plain, "match": json.loads(row["matches"]), "when": row["condition"], "redact": redact})


def _versions() -> None:
    op.create_table(
        "rule_sets", _text("tenant", primary=True), _number("version", primary_key=True, autoincrement=False),
        _number("at", sa.Double), _text("actor"), _text("note"), _number("back_to", nullable=True), _blob("content"),
    )  # fmt: skip
    op.create_table(
        "rule_drafts", _text("tenant", primary=True), _text("name", primary=True), _number("base"), _number("edition"),
        _number("changed", sa.Double), _text("actor"), _blob("content"),
    )  # fmt: skip


def _limits() -> None:
    op.create_table(
        "limit_windows", _text("tenant", primary=True), _text("key", primary=True), _number("window"),
        _number("used"), _number("before"), _number("expires", sa.Double),
    )  # fmt: skip
    op.create_table(
        "limit_slots", _text("tenant", primary=True), _text("key", primary=True), _text("call", primary=True),
        _text("replica"), _number("expires", sa.Double),
    )  # fmt: skip
    for table in ("limit_windows", "limit_slots"):
        op.create_index(f"{table}_expires", table, ["expires"])


def _approvals() -> None:
    op.create_table(
        "approvals", _text("tenant", primary=True), _text("id", primary=True), _text("state"), _text("bound"),
        _text("person"), _text("agent", null=True), _text("client", null=True), _text("upstream"), _text("definition"),
        _text("fingerprint"), _text("args_hash"), _number("ruleset"), _text("terms"), _text("call"),
        _number("created", sa.Double), _number("expires", sa.Double),
        sa.Column("escalated", sa.Boolean, nullable=False, server_default=sa.text("false")), _text("votes"),
        _number("decided", sa.Double, nullable=True), _number("reuse_until", sa.Double, nullable=True),
        _number("uses", sa.Integer), _blob("sealed", null=True),
    )  # fmt: skip
    alive = sa.text("state IN ('pending', 'approved')")
    op.create_index(
        "approvals_bound", "approvals", ["tenant", "bound"], unique=True, sqlite_where=alive, postgresql_where=alive
    )
    op.create_index("approvals_state", "approvals", ["tenant", "state", "expires"])
    op.create_table(
        "approval_notices", _text("tenant", primary=True), _text("id", primary=True), _text("approval"),
        _text("channel"), _text("kind"), _number("due", sa.Double), _number("tries", sa.Integer),
    )  # fmt: skip
    op.create_index("approval_notices_due", "approval_notices", ["due"])
    op.create_table(
        "kept_arguments", _text("tenant", primary=True), _text("call", primary=True), _blob("sealed"),
        _number("expires", sa.Double),
    )  # fmt: skip
    op.create_index("kept_arguments_expires", "kept_arguments", ["expires"])


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
