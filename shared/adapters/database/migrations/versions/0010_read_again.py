"""A scope of a run may name the days that it reads, whatever is known of them.

Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import optional

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in optional(since_day=sa.Date(), before_day=sa.Date()):
        op.add_column("run_scopes", column)


def downgrade() -> None:
    for name in ("before_day", "since_day"):
        op.drop_column("run_scopes", name)
