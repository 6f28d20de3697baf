"""Which dead letters were discarded, when, by whom and why, and of which the operators were told.

Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import optional
from shared.adapters.database.types import UtcDateTime

revision = "0019"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in optional(discarded_at=UtcDateTime(), told_at=UtcDateTime()):
        op.add_column("dead_letters", column)
    for column in optional(discarded_by=sa.Unicode(100), discard_reason=sa.Unicode(1000)):
        op.add_column("dead_letters", column)


def downgrade() -> None:
    for name in ("discard_reason", "discarded_by", "told_at", "discarded_at"):
        op.drop_column("dead_letters", name)
