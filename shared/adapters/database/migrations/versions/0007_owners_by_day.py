"""Whose a scope's charges are, by day.

Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import needed, optional

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scope_owners",
        *needed(id=sa.Integer(), scope_id=sa.Integer(), project_id=sa.Integer()),
        *optional(owned_from=sa.Date(), owned_until=sa.Date(), settles_on=sa.Date()),
        sa.ForeignKeyConstraint(["scope_id"], ["scopes.id"], name=op.f("fk_scope_owners_scope_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_scope_owners_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scope_owners")),
    )
    op.create_index(op.f("ix_scope_owners_scope_id"), "scope_owners", ["scope_id"], unique=False)
    op.create_index(op.f("ix_scope_owners_project_id"), "scope_owners", ["project_id"], unique=False)
    scopes = sa.table("scopes", sa.column("id"), sa.column("project_id"))
    owned = sa.select(scopes.c.id, scopes.c.project_id).where(scopes.c.project_id.is_not(None))
    owners = sa.table("scope_owners", sa.column("scope_id"), sa.column("project_id"))
    op.execute(owners.insert().from_select(["scope_id", "project_id"], owned))


def downgrade() -> None:
    op.drop_table("scope_owners")
