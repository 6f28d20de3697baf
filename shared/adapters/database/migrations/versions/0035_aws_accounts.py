"""What of an organization a cloud account reads, and whether without credits.

Revises: 0034
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import JSON, Boolean, Column, Unicode

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("is_organization", "without_credits"):
        op.add_column("cloud_accounts", Column(name, Boolean, server_default=sa.false(), nullable=False))
    op.add_column("cloud_accounts", Column("reads", JSON))
    op.add_column("cloud_accounts", Column("organizational_unit", Unicode(100)))


def downgrade() -> None:
    for name in ("organizational_unit", "reads", "without_credits", "is_organization"):
        op.drop_column("cloud_accounts", name)
