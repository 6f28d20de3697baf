"""Who disabled a cloud account, and why.

Revises: 0029
"""

from alembic import op
from sqlalchemy import Column

from shared.adapters.database.types import fitted

revision = "0031"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cloud_accounts", Column("disabled_why", fitted(1000)))


def downgrade() -> None:
    op.drop_column("cloud_accounts", "disabled_why")
