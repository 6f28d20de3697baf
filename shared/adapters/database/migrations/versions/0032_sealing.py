"""The keys that have sealed credentials.

Revises: 0031
"""

from alembic import op
from sqlalchemy import Column, Unicode

from shared.adapters.database.types import UtcDateTime, key_text

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sealing_keys",
        Column("key_id", key_text(40), primary_key=True),
        Column("sealed", Unicode(200), nullable=False),
        Column("made_at", UtcDateTime, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sealing_keys")
