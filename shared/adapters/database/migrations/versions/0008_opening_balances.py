"""What was spent before the charges that can be read.

Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import optional
from shared.adapters.database.types import Money

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in optional(opening_balance=Money(), opening_period_start=sa.Date()):
        op.add_column("budgets", column)


def downgrade() -> None:
    op.drop_column("budgets", "opening_period_start")
    op.drop_column("budgets", "opening_balance")
