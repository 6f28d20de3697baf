"""When a doubtful answer came that counted as a night's, and on which day Azure showed what a lock rests on.

Revises: 0024
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Date

from shared.adapters.database.types import UtcDateTime

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("coverage", Column("suspect_at", UtcDateTime()))
    op.add_column("locks", Column("spent_on", Date()))
    locks = sa.table("locks", sa.column("spent"), sa.column("seen_on"), sa.column("spent_on"))
    op.execute(locks.update().where(locks.c.spent.is_not(None)).values(spent_on=locks.c.seen_on))


def downgrade() -> None:
    op.drop_column("locks", "spent_on")
    op.drop_column("coverage", "suspect_at")
