"""Projects, their budgets, and what is listed of them and of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import Connection, select

from shared.adapters.database.budget_rows import BUDGET_TERMS, lock_projects, period_in, terms_of
from shared.adapters.database.engine import Database
from shared.adapters.database.listings import list_projects, list_runs
from shared.adapters.database.loading import load_entries
from shared.adapters.database.revisions import Revision, revise
from shared.adapters.database.tables import budgets, projects
from shared.domain.budgets import BudgetTerms
from shared.domain.projects import ProjectEntry
from shared.messages import LARGEST_ID
from shared.ports import LoadResult, NeverError, ProjectView, RevisionView, RunView


class SqlProjects:
    """The ProjectLedger on a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, entries: Sequence[ProjectEntry], made_by: str, now: datetime) -> LoadResult:
        """Writes all the entries in one transaction (see the port)."""
        return self._database.run(lambda connection: load_entries(connection, entries, made_by, now))

    def revise_budget(self, project_id: int, terms: BudgetTerms, made_by: str, reason: str, now: datetime) -> int:
        """Makes a new revision and returns its number. Raises NeverError for an unknown project."""
        return self._database.run(lambda connection: _revise(connection, project_id, terms, made_by, reason, now))

    def find(self, project: str) -> int | None:
        """The id of the project with this acronym (in any case) or this number."""
        return self._database.read(lambda connection: _find(connection, project))

    def list_projects(self, today: date) -> list[ProjectView]:
        """All the projects by id, each with its usage in the period that holds `today`."""
        return self._database.read(lambda connection: list_projects(connection, today))

    def revisions(self, project_id: int) -> list[RevisionView]:
        """The project's budget revisions, oldest first."""
        return self._database.read(lambda connection: _revisions(connection, project_id))

    def recent_runs(self, limit: int) -> list[RunView]:
        """The last runs, newest first."""
        return self._database.read(lambda connection: list_runs(connection, limit))


def _revise(
    connection: Connection, project_id: int, terms: BudgetTerms, made_by: str, reason: str, now: datetime
) -> int:
    lock_projects(connection, [project_id])
    row = connection.execute(select(projects).where(projects.c.id == project_id)).one_or_none()
    if row is None:
        raise NeverError(f"there is no project {project_id}")
    number = int(row.budget_number) + 1
    revise(connection, [Revision(project_id, number, period_in(row), terms, reason)], made_by, now)
    return number


def _find(connection: Connection, project: str) -> int | None:
    text = project.strip()
    by_acronym = connection.scalar(select(projects.c.id).where(projects.c.acronym_key == text.lower()))
    if by_acronym is not None or not (text.isascii() and text.isdigit()) or not 0 < int(text) <= LARGEST_ID:
        return by_acronym
    return connection.scalar(select(projects.c.id).where(projects.c.id == int(text)))


def _revisions(connection: Connection, project_id: int) -> list[RevisionView]:
    rows = connection.execute(
        select(budgets.c.number, *BUDGET_TERMS, budgets.c.made_at, budgets.c.made_by, budgets.c.reason)
        .where(budgets.c.project_id == project_id)
        .order_by(budgets.c.number)
    )
    return [RevisionView(row.number, terms_of(row), row.made_at, row.made_by, row.reason) for row in rows]
