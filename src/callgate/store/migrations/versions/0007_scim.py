"""Provisioning: what identity providers wrote of people, groups, members of groups."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SETTING = "current_setting('callgate.tenant', true)"
TABLES = ("scim_users", "groups", "group_members")


def _text(name: str, null: bool = False, primary: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=primary)


def upgrade() -> None:
    op.create_table(
        "scim_users", _text("tenant", primary=True), _text("person", primary=True), _text("user_name", null=True),
        _text("external_id", null=True), _text("document"), _text("teams"), _text("roles"),
        sa.Column("modified", sa.Double, nullable=False), sa.Column("edition", sa.BigInteger, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False, server_default=sa.text("false")),
    )  # fmt: skip
    op.create_index("scim_users_user_name", "scim_users", ["tenant", "user_name"], unique=True)
    op.create_index("scim_users_external_id", "scim_users", ["tenant", "external_id"])
    op.create_table(
        "groups", _text("tenant", primary=True), _text("id", primary=True), _text("name"), _text("team"),
        _text("external_id", null=True), sa.Column("created", sa.Double, nullable=False),
        sa.Column("modified", sa.Double, nullable=False), sa.Column("edition", sa.BigInteger, nullable=False),
    )  # fmt: skip
    op.create_index("groups_team", "groups", ["tenant", "team"], unique=True)
    op.create_table(
        "group_members", _text("tenant", primary=True), _text("group", primary=True), _text("person", primary=True),
        _text("display", null=True),
    )  # fmt: skip
    op.create_index("group_members_person", "group_members", ["tenant", "person"])
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            _protect(table)


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
