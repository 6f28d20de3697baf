"""Cloud accounts that are asked for all of their sub-accounts at once.

Revises: 0033
"""

from alembic import op
from sqlalchemy import JSON, Column, Date, Integer

from shared.adapters.database.types import UtcDateTime, fitted, key_text

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", Column("name", fitted(200)))
    op.add_column("accounts", Column("state", fitted(40)))
    op.add_column("accounts", Column("left_on", Date))
    op.create_table(
        "paid_calls",
        Column("cloud_account_id", Integer, primary_key=True),
        Column("day", Date, primary_key=True),
        Column("calls", Integer, nullable=False),
    )
    op.create_table(
        "syncs",
        Column("cloud_account_id", Integer, primary_key=True),
        Column("run_key", key_text(100), primary_key=True),
        Column("started_at", UtcDateTime, nullable=False),
        Column("finished_at", UtcDateTime, nullable=False),
        Column("rows", Integer, nullable=False),
        Column("totals", JSON, nullable=False),
        Column("services", Integer, nullable=False),
        Column("calls", Integer, nullable=False),
        Column("errors", JSON, nullable=False),
        Column("days_unfit", Integer),
    )


def downgrade() -> None:
    op.drop_table("syncs")
    op.drop_table("paid_calls")
    for name in ("left_on", "state", "name"):
        op.drop_column("accounts", name)
