"""Of which occurrence of its schedule a night is, until when its plan goes on, and since when there is that schedule.

Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import needed, optional
from shared.adapters.database.types import UtcDateTime, fitted, key_text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nights of before go by their day, which is in their key.
    for column in optional(scheduled_for=UtcDateTime(), planned_until=UtcDateTime()):
        op.add_column("runs", column)
    op.create_table(
        "schedules",
        *needed(name=key_text(50), text=fitted(300), since=UtcDateTime()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
    )


def downgrade() -> None:
    op.drop_table("schedules")
    op.drop_column("runs", "planned_until")
    op.drop_column("runs", "scheduled_for")
