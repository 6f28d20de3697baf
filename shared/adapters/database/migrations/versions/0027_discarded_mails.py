"""When a mail was put aside: those of before, by what was noted of them.

Revises: 0025
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from shared.adapters.database.types import UtcDateTime

revision = "0027"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("mails", Column("discarded_at", UtcDateTime()))
    mails = sa.table("mails", sa.column("state"), sa.column("reason"), sa.column("due_at"), sa.column("discarded_at"))
    aside = (mails.c.state == "failed") & mails.c.reason.startswith("put aside by ")
    op.execute(mails.update().where(aside).values(discarded_at=mails.c.due_at))


def downgrade() -> None:
    op.drop_column("mails", "discarded_at")
