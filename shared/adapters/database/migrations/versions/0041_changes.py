"""What people changed: the audit.

Revises: 0040
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import JSON, Column, Integer, Unicode

from shared.adapters.database.types import UtcDateTime, fitted, key_text

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

NEVER_CHANGED = "rows of the audit are never changed"
# As those of the table `audit`, whose function PostgreSQL has.
REFUSALS = {
    "sqlite": [
        f"""
        CREATE TRIGGER changes_are_never_{done} BEFORE {change} ON changes {where}
        BEGIN
            SELECT RAISE(ABORT, '{NEVER_CHANGED}');
        END
        """
        for done, change, where in (
            ("changed", "UPDATE", ""),
            ("deleted", "DELETE", ""),
            ("replaced", "INSERT", 'WHEN EXISTS (SELECT 1 FROM changes WHERE id = NEW.id OR "key" = NEW."key")'),
        )
    ],
    "postgresql": [
        """
        CREATE TRIGGER changes_are_never_changed BEFORE UPDATE OR DELETE ON changes
        FOR EACH ROW EXECUTE FUNCTION refuse_change_of_audit()
        """,
        """
        CREATE TRIGGER changes_are_never_emptied BEFORE TRUNCATE ON changes
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()
        """,
    ],
    "mssql": [
        f"""
        CREATE TRIGGER changes_are_never_changed ON changes AFTER UPDATE, DELETE AS
        IF EXISTS (SELECT 1 FROM deleted)
        BEGIN
            THROW 50001, '{NEVER_CHANGED}', 1;
        END
        """
    ],
}


def upgrade() -> None:
    op.create_table(
        "changes",
        Column("id", Integer, primary_key=True),
        Column("key", key_text(200), nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("by", fitted(100), nullable=False),
        Column("via", Unicode(20), nullable=False),
        Column("by_id", fitted(100)),
        Column("action", Unicode(40), nullable=False),
        Column("subject", fitted(300), nullable=False),
        Column("reason", fitted(1000), nullable=False),
        Column("details", JSON, nullable=False),
        Column("project_id", Integer, sa.ForeignKey("projects.id")),
        sa.UniqueConstraint("key"),
    )
    op.create_index("ix_changes_project_id", "changes", ["project_id"])
    for statement in REFUSALS.get(op.get_context().dialect.name, []):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("changes")
