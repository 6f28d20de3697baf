"""Since which day a cloud account tells of a sub-account; no cloud account's id comes twice.

Revises: 0038
"""

from alembic import op
from sqlalchemy import Column, Date

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", Column("read_since", Date))
    context = op.get_context()
    # The other databases count on by themselves. Steps that are printed can't see the table that is made anew.
    if context.dialect.name == "sqlite" and not context.as_sql:
        with op.batch_alter_table(
            "cloud_accounts", recreate="always", table_kwargs={"sqlite_autoincrement": True}
        ):
            pass


def downgrade() -> None:
    op.drop_column("accounts", "read_since")
