"""Which contents the outside judge has seen, and with which model."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("definition_versions", sa.Column("judged", sa.Text, nullable=False, server_default=""))
