"""Keys of changes that were ordered over HTTP, and the answers.

Revises: 0042
"""

from alembic import op
from sqlalchemy import Column, Integer

from shared.adapters.database.types import UtcDateTime, cleaned, key_text

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        Column("by", key_text(100), primary_key=True),
        Column("key", key_text(100), primary_key=True),
        Column("digest", key_text(64), nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("status", Integer),
        Column("body", cleaned()),
    )


def downgrade() -> None:
    op.drop_table("idempotency_keys")
