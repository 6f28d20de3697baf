"""What is wrong with rows of a month that were set aside, by group.

Revises: 0021
"""

from alembic import op
from sqlalchemy import JSON

from shared.adapters.database.tables import optional

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in optional(odd=JSON(none_as_null=True)):
        op.add_column("coverage", column)


def downgrade() -> None:
    op.drop_column("coverage", "odd")
