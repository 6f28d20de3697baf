"""Which days and groups the answers of the last day have stored, so that none that was begun before replaces them.

Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import needed
from shared.adapters.database.types import UtcDateTime, key_text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stored_answers",
        *needed(id=sa.Integer(), provider=key_text(20), sub_account_id=key_text(100)),
        *needed(window_start=sa.Date(), window_end=sa.Date(), begun_at=UtcDateTime(), group_keys=sa.JSON()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stored_answers")),
    )
    op.create_index("ix_stored_answers_account", "stored_answers", ["provider", "sub_account_id"])


def downgrade() -> None:
    op.drop_table("stored_answers")
