"""Since when Azure's own budgets count what they count, and which alerts can't be used yet.

Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import needed, optional
from shared.adapters.database.types import Money, UtcDateTime, key_text

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "azure_budgets",
        *needed(subscription_id=key_text(100), name=key_text(100)),
        *optional(project_id=sa.Integer()),
        *needed(counts=sa.Unicode(20), since=UtcDateTime()),
        *optional(spend=Money(), currency=key_text(3)),
        *needed(is_evaluated=sa.Boolean(), is_there=sa.Boolean()),
        sa.PrimaryKeyConstraint("subscription_id", "name", name=op.f("pk_azure_budgets")),
    )
    op.add_column("locks", sa.Column("alerted_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("locks", "alerted_at")
    op.drop_table("azure_budgets")
