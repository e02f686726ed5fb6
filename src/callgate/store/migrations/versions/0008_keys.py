"""Keys: what wraps a keyset, its edition, when it was rotated and destroyed. Sign-ins that can be exchanged."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SETTING = "current_setting('callgate.tenant', true)"


def upgrade() -> None:
    for name, kind, default in (
        ("wrapped_by", sa.Text, "''"),
        ("edition", sa.BigInteger, "1"),
        ("rotated", sa.Double, "0"),
    ):
        op.add_column("keysets", sa.Column(name, kind, nullable=False, server_default=sa.text(default)))
    op.add_column("keysets", sa.Column("destroyed", sa.Double, nullable=True))
    op.create_table(
        "provider_tokens", *(sa.Column(name, sa.Text, primary_key=True) for name in ("tenant", "provider", "person")),
        sa.Column("sealed", sa.LargeBinary, nullable=False), sa.Column("changed", sa.Double, nullable=False),
        sa.Column("edition", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    )  # fmt: skip
    op.create_index("provider_tokens_person", "provider_tokens", ["tenant", "person"])
    if op.get_bind().dialect.name == "postgresql":
        _protect("provider_tokens")


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
