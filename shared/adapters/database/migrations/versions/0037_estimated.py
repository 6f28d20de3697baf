"""Since which day a provider calls the costs of a month estimated.

Revises: 0036
"""

from alembic import op
from sqlalchemy import Column, Date

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("coverage", "group_coverage"):
        op.add_column(name, Column("estimated_from", Date))


def downgrade() -> None:
    for name in ("group_coverage", "coverage"):
        op.drop_column(name, "estimated_from")
