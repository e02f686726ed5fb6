"""Rules with a condition, a description, an owner and what they redact."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("condition", "description", "owner", "redact"):
        op.add_column("rules", sa.Column(name, sa.Text, nullable=False, server_default=""))
