"""Budgets through the year, locks, and the audit.

Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.types import Money, UtcDateTime, key_text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEVER_CHANGED = "rows of the audit are never changed"
# What refuses a change of the audit, for each database in its own words.
REFUSALS = {
    "sqlite": [
        f"""
        CREATE TRIGGER audit_is_never_{done} BEFORE {change} ON audit
        BEGIN
            SELECT RAISE(ABORT, '{NEVER_CHANGED}');
        END
        """
        for done, change in (("changed", "UPDATE"), ("deleted", "DELETE"))
    ],
    "postgresql": [
        f"""
        CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{NEVER_CHANGED}';
        END
        $$
        """,
        """
        CREATE TRIGGER audit_is_never_changed BEFORE UPDATE OR DELETE ON audit
        FOR EACH ROW EXECUTE FUNCTION refuse_change_of_audit()
        """,
    ],
    "mssql": [
        f"""
        CREATE TRIGGER audit_is_never_changed ON audit AFTER UPDATE, DELETE AS
        IF EXISTS (SELECT 1 FROM deleted)
        BEGIN
            THROW 50001, '{NEVER_CHANGED}', 1;
        END
        """
    ],
}


def upgrade() -> None:
    op.add_column("projects", sa.Column("lock_policy", sa.Unicode(length=10), server_default="auto", nullable=False))
    op.add_column("budgets", sa.Column("rollover", sa.Unicode(length=12), server_default="reset", nullable=False))
    op.add_column("budgets", sa.Column("thresholds", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "budget_periods",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column("currency", key_text(3), nullable=False),
        sa.Column("carried", Money(), nullable=False),
        sa.Column("stopped", sa.Boolean(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_budget_periods_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_periods")),
        sa.UniqueConstraint("project_id", "period_start", name=op.f("uq_budget_periods_project_id_period_start")),
    )
    op.create_table(
        "locks",
        sa.Column("project_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("held_since", UtcDateTime(), nullable=True),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("budget_number", sa.Integer(), nullable=True),
        sa.Column("period_start", sa.Date(), nullable=True),
        sa.Column("amount", Money(), nullable=True),
        sa.Column("spent", Money(), nullable=True),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("released_number", sa.Integer(), nullable=True),
        sa.Column("released_period_start", sa.Date(), nullable=True),
        sa.Column("claimant", sa.Unicode(length=100), nullable=True),
        sa.Column("claimed_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_locks_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_locks")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", key_text(200), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("acronym", sa.Unicode(length=50), nullable=False),
        sa.Column("action", sa.Unicode(length=10), nullable=False),
        sa.Column("outcome", sa.Unicode(length=20), nullable=False),
        sa.Column("reason", sa.Unicode(length=1000), nullable=False),
        sa.Column("trigger", sa.Unicode(length=20), nullable=False),
        sa.Column("by", sa.Unicode(length=100), nullable=True),
        sa.Column("asked", sa.Unicode(length=1000), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("run_key", key_text(100), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_audit_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("key", name=op.f("uq_audit_key")),
    )
    op.create_index(op.f("ix_audit_project_id"), "audit", ["project_id"], unique=False)
    for refusal in REFUSALS[op.get_context().dialect.name]:
        op.execute(refusal)
    _open_present_periods()


def _open_present_periods() -> None:
    """The periods that projects are in are their first: nothing was carried into them."""
    projects = sa.table("projects", *map(sa.column, ("id", "budget_number", "period_start", "period_end")))
    budgets = sa.table("budgets", *map(sa.column, ("project_id", "number", "currency", "made_at")))
    names = (
        "project_id",
        "period_start",
        "period_end",
        "currency",
        "carried",
        "stopped",
        "settled",
        "opened_at",
    )
    present = sa.select(
        projects.c.id,
        projects.c.period_start,
        projects.c.period_end,
        budgets.c.currency,
        sa.literal_column("0"),
        sa.false(),
        sa.true(),
        # When the period really began nobody wrote down.
        budgets.c.made_at,
    ).join_from(
        projects,
        budgets,
        (budgets.c.project_id == projects.c.id) & (budgets.c.number == projects.c.budget_number),
    )
    periods = sa.table("budget_periods", *map(sa.column, names))
    op.execute(periods.insert().from_select(names, present.where(projects.c.period_start.is_not(None))))


def downgrade() -> None:
    op.drop_index(op.f("ix_audit_project_id"), table_name="audit")
    op.drop_table("audit")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change_of_audit")
    op.drop_table("locks")
    op.drop_table("budget_periods")
    op.drop_column("budgets", "thresholds")
    op.drop_column("budgets", "rollover", mssql_drop_default=True)
    op.drop_column("projects", "lock_policy", mssql_drop_default=True)
