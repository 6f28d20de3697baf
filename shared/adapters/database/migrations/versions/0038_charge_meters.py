"""What charges are made of, by meter.

Revises: 0037
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, Date, Integer

from shared.adapters.database.types import Money, key_text

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "charge_meters",
        Column("scope_id", Integer, sa.ForeignKey("scopes.id"), primary_key=True, autoincrement=False),
        Column("charge_period_start", Date, primary_key=True),
        Column("service_name", key_text(200), primary_key=True),
        Column("sku_meter", key_text(200), primary_key=True),
        Column("billing_currency", key_text(3), primary_key=True),
        Column("billed_cost", Money(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("charge_meters")
