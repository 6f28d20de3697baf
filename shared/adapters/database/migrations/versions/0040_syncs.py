"""Of which days a sync was answered, and which services it met.

Revises: 0039
"""

from alembic import op
from sqlalchemy import JSON, Column

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("syncs", Column("answered", JSON))
    op.add_column("syncs", Column("service_names", JSON))


def downgrade() -> None:
    op.drop_column("syncs", "service_names")
    op.drop_column("syncs", "answered")
