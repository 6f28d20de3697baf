"""When a month's total was last compared with what is stored.

Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("coverage", sa.Column("compared_on", sa.Date(), nullable=True))


def downgrade() -> None:
    op.drop_column("coverage", "compared_on")
