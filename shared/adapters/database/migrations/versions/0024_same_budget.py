"""Since which revision a budget gives the same amount for the same period: what was told under it is not told again.

Revises: 0023
"""

from alembic import op
from sqlalchemy import Column, Integer

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("budgets", Column("same_since", Integer))


def downgrade() -> None:
    op.drop_column("budgets", "same_since")
