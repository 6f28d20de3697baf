"""Projects, their budgets, and what is listed of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Connection, select

from shared.adapters.database.budget_rows import BUDGET_TERMS, lock_projects, terms_of
from shared.adapters.database.engine import Database
from shared.adapters.database.listings import list_days, list_entries, list_periods, list_projects
from shared.adapters.database.loading import load_entries
from shared.adapters.database.revisions import Author, revise
from shared.adapters.database.tables import budgets, projects, scopes
from shared.domain.budgets import BudgetTerms
from shared.domain.projects import ProjectEntry
from shared.messages import LARGEST_ID
from shared.ports.errors import NeverError
from shared.ports.projects import LoadResult, PeriodView, ProjectView, RevisionView


class SqlProjects:
    """The ProjectLedger on a SQL database. `lookback_days`: how far back a night reads again."""

    def __init__(self, database: Database, lookback_days: int) -> None:
        self._database = database
        self._lookback_days = lookback_days

    def load(self, entries: Sequence[ProjectEntry], made_by: str, now: datetime) -> LoadResult:
        """Writes all the entries in one transaction (see the port)."""
        return self._database.run(
            lambda connection: load_entries(connection, entries, made_by, now, self._lookback_days)
        )

    def entries(self) -> list[ProjectEntry]:
        """All projects by id (see the port)."""
        return self._database.read(list_entries)

    def revise_budget(self, project_id: int, terms: BudgetTerms, made_by: str, reason: str, now: datetime) -> int:
        """Makes a new revision and returns its number. Raises NeverError for an unknown project."""
        revision = NewRevision(project_id, terms, made_by, reason)
        return self._database.run(lambda connection: _revise(connection, revision, now, self._lookback_days))

    def find(self, project: str) -> int | None:
        """The id of the project with this acronym (in any case) or this number."""
        return self._database.read(lambda connection: _find(connection, project))

    def list_projects(self, today: date, subscription_id: str | None = None) -> list[ProjectView]:
        """The projects by id, each with its usage in the period that holds `today` (see the port)."""
        return self._database.read(lambda connection: list_projects(connection, today, subscription_id))

    def days_spent(self, project_ids: Sequence[int], today: date) -> dict[int, dict[date, Decimal]]:
        """What projects spent on each day of the period that holds `today` (see the port)."""
        return self._database.read(lambda connection: list_days(connection, project_ids, today))

    def subscriptions(self) -> list[str]:
        """The subscriptions in which any project has resource groups."""
        return self._database.read(_subscriptions)

    def revisions(self, project_id: int) -> list[RevisionView]:
        """The project's budget revisions, oldest first."""
        return self._database.read(lambda connection: _revisions(connection, project_id))

    def periods(self, project_id: int) -> list[PeriodView]:
        """The periods of the project's budget so far, oldest first."""
        return self._database.read(lambda connection: list_periods(connection, project_id))


@dataclass(frozen=True, slots=True)
class NewRevision:
    """A revision of a project's budget that is to be made."""

    project_id: int
    terms: BudgetTerms
    made_by: str
    reason: str


def _revise(connection: Connection, new: NewRevision, now: datetime, lookback_days: int) -> int:
    lock_projects(connection, [new.project_id])
    author = Author(new.made_by, now, new.reason)
    numbers = revise(connection, {new.project_id: new.terms}, author, lookback_days)
    if new.project_id not in numbers:
        raise NeverError(f"there is no project {new.project_id}")
    return numbers[new.project_id]


def _find(connection: Connection, project: str) -> int | None:
    text = project.strip()
    by_acronym = connection.scalar(select(projects.c.id).where(projects.c.acronym_key == text.lower()))
    if by_acronym is not None or not (text.isascii() and text.isdigit()) or not 0 < int(text) <= LARGEST_ID:
        return by_acronym
    return connection.scalar(select(projects.c.id).where(projects.c.id == int(text)))


def _subscriptions(connection: Connection) -> list[str]:
    found = select(scopes.c.sub_account_id).where(scopes.c.project_id.is_not(None)).distinct()
    return sorted(connection.scalars(found))


def _revisions(connection: Connection, project_id: int) -> list[RevisionView]:
    rows = connection.execute(
        select(budgets.c.number, *BUDGET_TERMS, budgets.c.made_at, budgets.c.made_by, budgets.c.reason)
        .where(budgets.c.project_id == project_id)
        .order_by(budgets.c.number)
    )
    return [RevisionView(row.number, terms_of(row), row.made_at, row.made_by, row.reason) for row in rows]
