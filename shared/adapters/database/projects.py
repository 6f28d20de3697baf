"""Projects, their budgets, and what is listed of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, UnicodeText, cast, exists, func, or_, select
from typing_extensions import override

from shared.adapters.database.budget_rows import lock_projects
from shared.adapters.database.forgetting import forget
from shared.adapters.database.ledger import Ledger, reads, writes
from shared.adapters.database.listings import periods_of, stored_entries, views_of
from shared.adapters.database.loading import RefusedLoadError, load_entries
from shared.adapters.database.revisions import Author, revise, revisions_of
from shared.adapters.database.standing_rows import stand
from shared.adapters.database.tables import charges, projects, scopes
from shared.domain.budgets import BudgetTerms
from shared.domain.projects import CASE_BLIND, ProjectEntry, acronym_key, sub_account_key
from shared.domain.texts import folded, storable
from shared.messages import LARGEST_ID
from shared.ports.azure import AZURE
from shared.ports.errors import NeverError
from shared.ports.projects import Consent, Forgotten, LoadResult, PeriodView, ProjectLedger, ProjectView, RevisionView


@dataclass(frozen=True)
class SqlProjects(Ledger, ProjectLedger):
    """ProjectLedger on a SQL database.

    lookback_days: how far back a night reads again. converts: whether charges in other currencies count.
    """

    lookback_days: int
    converts: bool = False

    @override
    def load(
        self,
        entries: Sequence[ProjectEntry],
        made_by: str,
        now: datetime,
        correction: bool = False,
        consent: Consent = lambda _changes: True,
    ) -> LoadResult:
        author = Author(made_by, now, by_load=True)

        def write(connection: Connection) -> LoadResult:
            return load_entries(connection, entries, author, self.lookback_days, correction, consent, self.converts)

        try:
            return self.database.run(write)
        except RefusedLoadError as refused:
            return refused.result

    @override
    @reads
    def entries(self, connection: Connection) -> list[ProjectEntry]:
        return stored_entries(connection)

    @override
    @writes
    def revise_budget(
        self, connection: Connection, project_id: int, terms: BudgetTerms, made_by: str, reason: str, now: datetime
    ) -> int:
        lock_projects(connection, [project_id])
        numbers = revise(
            connection, {project_id: terms}, Author(made_by, now, reason), self.lookback_days, self.converts
        )
        if project_id not in numbers:
            raise NeverError(f"there is no project {project_id}")
        stand(connection, [project_id], now, self.lookback_days, self.converts)
        return numbers[project_id]

    @override
    @writes
    def forget(self, connection: Connection, project_id: int) -> Forgotten:
        return forget(connection, project_id)

    @override
    @reads
    def find(self, connection: Connection, project: str) -> int | None:
        text = project.strip()
        acronyms = select(projects.c.id, projects.c.acronym)
        same = connection.execute(acronyms.where(projects.c.acronym_key == acronym_key(storable(text)))).one_or_none()
        if same is not None and same.acronym == text:
            return int(same.id)
        if text.isascii() and text.isdigit():
            known = 0 < int(text) <= LARGEST_ID
            return connection.scalar(select(projects.c.id).where(projects.c.id == int(text))) if known else None
        alike: list[int] = [row.id for row in connection.execute(acronyms) if folded(row.acronym) == folded(text)]
        return alike[0] if len(alike) == 1 else None

    @override
    @reads
    def of_contacts(self, connection: Connection, addresses: Collection[str]) -> list[int]:
        wanted = {each.casefold() for each in addresses}
        if not wanted:
            return []
        # As it is stored, only an address of plain letters can be looked for in the database's own words.
        text = func.lower(cast(projects.c.contacts, UnicodeText))
        found = select(projects.c.id, projects.c.contacts).order_by(projects.c.id)
        if all(each.isascii() for each in wanted):
            found = found.where(or_(*(text.contains(each, autoescape=True) for each in sorted(wanted))))
        rows = connection.execute(found)
        return [row.id for row in rows if any(each.casefold() in wanted for each in row.contacts)]

    @override
    @reads
    def get(self, connection: Connection, project_id: int, today: date) -> ProjectView | None:
        return next(
            iter(views_of(connection, today, self.lookback_days, self.converts, projects.c.id == project_id)), None
        )

    @override
    @reads
    def list_projects(
        self, connection: Connection, today: date, subscription_id: str | None = None
    ) -> list[ProjectView]:
        if subscription_id is None:
            return views_of(connection, today, self.lookback_days, self.converts)
        # An id of another kind may be of any provider, each of which compares it in its own way.
        of, account = scopes.c.provider, scopes.c.sub_account_id
        spelled = {provider: sub_account_key(provider, subscription_id) for provider in CASE_BLIND}
        elsewhere = of.not_in(CASE_BLIND) & (account == subscription_id.strip())
        here = or_(elsewhere, *((of == provider) & (account == key) for provider, key in spelled.items()))
        owners = select(scopes.c.project_id).where(here, scopes.c.project_id.is_not(None))
        return views_of(connection, today, self.lookback_days, self.converts, projects.c.id.in_(owners))

    @override
    @reads
    def subscriptions(self, connection: Connection) -> list[str]:
        owned = (scopes.c.provider == AZURE) & scopes.c.project_id.is_not(None)
        return sorted(connection.scalars(select(scopes.c.sub_account_id).where(owned).distinct()))

    @override
    @reads
    def providers_read(self, connection: Connection) -> list[str]:
        has_charges = exists(select(charges.c.scope_id).where(charges.c.scope_id == scopes.c.id))
        return sorted(connection.scalars(select(scopes.c.provider).where(has_charges).distinct()))

    @override
    @reads
    def revisions(self, connection: Connection, project_id: int) -> list[RevisionView]:
        return revisions_of(connection, [project_id])[project_id]

    @override
    @reads
    def periods(self, connection: Connection, project_id: int, present: ProjectView | None = None) -> list[PeriodView]:
        return periods_of(connection, project_id, self.converts, present)
