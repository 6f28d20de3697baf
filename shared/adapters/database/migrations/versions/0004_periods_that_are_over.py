"""Periods that are over are compared until they are closed.

Revises: 0003
"""

from datetime import timedelta

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.types import Money

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# COST_LOOKBACK_DAYS, where nobody has set it.
LOOKBACK = timedelta(days=35)


def upgrade() -> None:
    op.add_column("budget_periods", sa.Column("closed", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("budget_periods", sa.Column("checked_usage", Money(), nullable=True))
    op.add_column("budget_periods", sa.Column("checked_thresholds", sa.JSON(), nullable=True))
    if not op.get_context().as_sql:
        _close_what_is_final()


def _close_what_is_final() -> None:
    """Nobody is told now of a period that ended months ago.

    In SQL that is applied by hand these periods are compared once more, and closed by that.
    """
    connection = op.get_bind()
    accounts = sa.table("accounts", sa.column("read_until", sa.Date()))
    last_night = connection.scalar(sa.select(sa.func.max(accounts.c.read_until)))
    if last_night is not None:
        periods = sa.table("budget_periods", sa.column("period_end", sa.Date()), sa.column("closed", sa.Boolean()))
        final = periods.c.period_end <= last_night - LOOKBACK
        connection.execute(periods.update().where(final).values(closed=True))


def downgrade() -> None:
    op.drop_column("budget_periods", "checked_thresholds")
    op.drop_column("budget_periods", "checked_usage")
    op.drop_column("budget_periods", "closed", mssql_drop_default=True)
