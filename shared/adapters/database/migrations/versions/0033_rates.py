"""Exchange rates.

Revises: 0032
"""

from alembic import op
from sqlalchemy import Column, Date, Integer

from shared.adapters.database.types import Money, UtcDateTime, fitted, key_text

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rates",
        Column("day", Date, primary_key=True),
        Column("currency", key_text(3), primary_key=True),
        Column("per_euro", Money, nullable=False),
    )
    op.create_table(
        "fixed_rates",
        Column("id", Integer, primary_key=True),
        Column("base", key_text(3), nullable=False),
        Column("to", key_text(3), nullable=False),
        Column("first_day", Date, nullable=False),
        Column("last_day", Date, nullable=False),
        Column("rate", Money, nullable=False),
        Column("made_at", UtcDateTime, nullable=False),
        Column("made_by", fitted(100), nullable=False),
        Column("reason", fitted(1000), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("fixed_rates")
    op.drop_table("rates")
