"""Reviews: findings, the history of every definition, ways to trust, and a second reviewer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SETTING = "current_setting('callgate.tenant', true)"
TABLES = ("findings", "transitions", "options")


def _text(name: str, null: bool = False, primary: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=primary)


def _added(name: str, default: str = "") -> sa.Column[str]:
    """A column of an existing table: its rows get the default."""
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def upgrade() -> None:
    for name in ("approved_by", "worst", "risk", "scanned"):
        op.add_column("definitions", _added(name))
    op.add_column("definitions", sa.Column("pinned", sa.LargeBinary, nullable=True))
    for name in ("renamed_from", "seconded_full", "seconded_by"):
        op.add_column("definitions", _text(name, null=True))
    op.execute("UPDATE definitions SET approved_by = 'review' WHERE approved_full IS NOT NULL")
    op.add_column("upstreams", _added("review", "review"))
    op.add_column("upstreams", _added("trust_below", "medium"))
    _findings()
    op.create_table(
        "transitions", _text("tenant", primary=True), _text("id", primary=True), _text("definition"),
        sa.Column("at", sa.Double, nullable=False), _text("actor"), _text("cause"), _text("before"), _text("after"),
        _text("full"), _text("note"),
    )  # fmt: skip
    op.create_index("transitions_definition", "transitions", ["tenant", "definition", "at"])
    op.create_table(
        "options", _text("tenant", primary=True), sa.Column("two_person_review", sa.Boolean, nullable=False)
    )  # fmt: skip
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            _protect(table)


def _findings() -> None:
    op.create_table(
        "findings", _text("tenant", primary=True), _text("definition", primary=True), _text("full", primary=True),
        _text("key", primary=True), _text("rule"), sa.Column("version", sa.BigInteger, nullable=False), _text("class"),
        _text("severity"), sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("raised", sa.Double, nullable=False), _text("acked_by", null=True),
        sa.Column("acked_at", sa.Double, nullable=True), _text("note"),
    )  # fmt: skip


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
