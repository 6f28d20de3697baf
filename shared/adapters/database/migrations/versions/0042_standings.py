"""How projects stand, as the chain writes it down. What cost figures say of it nobody knows yet: the next check does.

Revises: 0041
"""

from datetime import UTC, datetime

from alembic import op
from sqlalchemy import JSON, Boolean, Column, Date, ForeignKey, Integer, Table, Unicode, column, select, table, true

from shared.adapters.database.types import Money, UtcDateTime, cleaned, fitted, sorted_text
from shared.domain.standings import searched
from shared.domain.texts import folded

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

PROJECTS = table(
    "projects",
    column("id", Integer),
    column("acronym", Unicode),
    column("name", Unicode),
    column("active", Boolean),
    column("check_due_since", UtcDateTime),
)


def upgrade() -> None:
    standings = op.create_table(
        "standings",
        Column("project_id", Integer, ForeignKey("projects.id"), primary_key=True, autoincrement=False),
        Column("acronym_key", fitted(100, sorted_text), nullable=False),
        Column("searched", cleaned(), nullable=False),
        Column("as_of", UtcDateTime),
        Column("currency", sorted_text(3)),
        Column("period_start", Date),
        Column("period_end", Date),
        Column("amount", Money),
        Column("spent", Money),
        Column("allocated", Money),
        Column("percent", Money),
        Column("converted", Money),
        Column("rate_sources", JSON),
        Column("last_rate_day", Date),
        Column("lacks_from", Date),
        Column("ends_on", Date),
        Column("unrated", JSON),
    )
    # What is printed to be run by hand leaves that to the next night.
    if not op.get_context().as_sql:
        _make_due(standings)


def _make_due(standings: Table) -> None:
    """Every project can be found, and every active one is due for a check, for which the watchdog asks."""
    bind, project = op.get_bind(), PROJECTS.c
    rows = [
        {"project_id": number, "acronym_key": folded(acronym), "searched": searched(acronym, name)}
        for number, acronym, name in bind.execute(select(project.id, project.acronym, project.name)).all()
    ]
    if rows:
        bind.execute(standings.insert(), rows)
    due = PROJECTS.update().where(project.active == true(), project.check_due_since.is_(None))
    bind.execute(due.values(check_due_since=datetime.now(UTC)))


def downgrade() -> None:
    op.drop_table("standings")
