"""Rows of the audit can't be replaced, and not be emptied where a database can refuse that.

SQLite does not call the trigger on deletions where a row is replaced, and PostgreSQL has another for TRUNCATE. SQL Server
has none: there, TRUNCATE takes the right to alter the table.

Revises: 0022
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

NEVER_CHANGED = "rows of the audit are never changed"
REFUSALS = {
    "sqlite": f"""
        CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
        WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id OR "key" = NEW."key")
        BEGIN
            SELECT RAISE(ABORT, '{NEVER_CHANGED}');
        END
        """,
    "postgresql": """
        CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()
        """,
}
DROPS = {
    "sqlite": "DROP TRIGGER audit_is_never_replaced",
    "postgresql": "DROP TRIGGER audit_is_never_emptied ON audit",
}


def upgrade() -> None:
    _execute(REFUSALS)


def downgrade() -> None:
    _execute(DROPS)


def _execute(statements: dict[str, str]) -> None:
    statement = statements.get(op.get_context().dialect.name)
    if statement:
        op.execute(statement)
