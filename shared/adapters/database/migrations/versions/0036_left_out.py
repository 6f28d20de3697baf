"""Which sub-accounts a sync met that another cloud account feeds.

Revises: 0035
"""

from alembic import op
from sqlalchemy import JSON, Column

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("syncs", Column("left_out", JSON))


def downgrade() -> None:
    op.drop_column("syncs", "left_out")
