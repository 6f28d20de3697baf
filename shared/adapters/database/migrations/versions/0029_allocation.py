"""Rules that give projects shares of what no project owns.

Revises: 0028
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Date, Integer, Unicode

from shared.adapters.database.types import Money, UtcDateTime, fitted, key_text

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "allocation_rules",
        Column("id", Integer, primary_key=True),
        Column("name_key", key_text(100), nullable=False),
        Column("name", Unicode(100), nullable=False),
        Column("number", Integer, nullable=False),
        Column("provider", key_text(20), nullable=False),
        Column("sub_account_id", key_text(100), nullable=False),
        Column("group_key", key_text(100)),
        Column("x_resource_group_name", Unicode(100)),
        Column("method", Unicode(30), nullable=False),
        Column("first_day", Date, nullable=False),
        Column("last_day", Date),
        Column("made_at", UtcDateTime, nullable=False),
        Column("made_by", fitted(100), nullable=False),
        Column("reason", fitted(1000), nullable=False),
        sa.UniqueConstraint("name_key", "number"),
    )
    op.create_table(
        "allocation_shares",
        Column("rule_id", Integer, sa.ForeignKey("allocation_rules.id"), primary_key=True),
        Column("project_id", Integer, sa.ForeignKey("projects.id"), primary_key=True, index=True),
        Column("position", Integer, nullable=False),
        Column("percent", Money),
    )


def downgrade() -> None:
    op.drop_table("allocation_shares")
    op.drop_table("allocation_rules")
