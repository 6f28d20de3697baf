"""Who answers for a project, and which revisions of budgets came from a projects file.

Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import optional

revision = "0017"
down_revision = "0013"
branch_labels = None
depends_on = None

# The reasons that loading has always given; whoever gave one of them by hand is not asked before a file undoes it.
BY_LOAD = ("loaded", "changed by load")


def upgrade() -> None:
    for column in optional(owner=sa.Unicode(200), department=sa.Unicode(200), cost_centre=sa.Unicode(100)):
        op.add_column("projects", column)
    op.add_column("budgets", sa.Column("by_load", sa.Boolean(), server_default=sa.false(), nullable=False))
    budgets = sa.table("budgets", sa.column("reason"), sa.column("by_load", sa.Boolean()))
    op.execute(budgets.update().where(budgets.c.reason.in_(BY_LOAD)).values(by_load=sa.true()))


def downgrade() -> None:
    op.drop_column("budgets", "by_load", mssql_drop_default=True)
    for name in ("cost_centre", "department", "owner"):
        op.drop_column("projects", name)
