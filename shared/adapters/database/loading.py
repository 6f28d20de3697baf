"""Loading projects: all the entries in one transaction, each written only where it says something new.

Whoever only wants to see what a load would do has it done, and taken back: so both are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, case, select, true

from shared.adapters.database.allocated import getters_of
from shared.adapters.database.budget_periods import present_budgets
from shared.adapters.database.budget_rows import NO_FORECAST, lock_projects, period_at, sums_within, with_budget
from shared.adapters.database.chunks import insert_rows, kept_or, update_in, update_rows
from shared.adapters.database.cloud_accounts import register_sub_accounts
from shared.adapters.database.converted import NOTHING_BESIDES, besides_within
from shared.adapters.database.ledger import columns
from shared.adapters.database.listings import stored_entries
from shared.adapters.database.locks import look_soon
from shared.adapters.database.owners import hand_over
from shared.adapters.database.revisions import Author, revise, revisions_of
from shared.adapters.database.standing_rows import stand
from shared.adapters.database.tables import projects, scopes
from shared.domain.budgets import BudgetTerms, undone
from shared.domain.currencies import Conversion
from shared.domain.money import add
from shared.domain.projects import Project, ProjectEntry, acronym_key, taken
from shared.ports.errors import NeverError
from shared.ports.projects import Consent, LoadResult, ProjectChange, RevisionView

# Of a project that is not active.
NOT_USED = None, Conversion()

Changed = tuple[ProjectEntry, ProjectEntry]
"""A project as it is stored, and as it is to be"""


class RefusedLoadError(Exception):
    """There is no consent to a load; it takes back what the transaction has written."""

    def __init__(self, result: LoadResult) -> None:
        super().__init__()
        self.result = result


def load_entries(
    connection: Connection,
    entries: Sequence[ProjectEntry],
    author: Author,
    lookback_days: int,
    correction: bool,
    consent: Consent,
    converts: bool = False,
) -> LoadResult:
    """Writes the entries. Raises NeverError where one can't have what belongs to another project (`taken`).

    correction: scopes that change hands have always been their new owner's. Raises RefusedLoadError without consent.
    """
    now = author.at
    _lock(connection, entries)
    stored = {entry.project.id: entry for entry in stored_entries(connection)}
    for each in taken(entries, stored.values()):
        raise NeverError(each.sentence)
    new = [entry for entry in entries if entry.project.id not in stored]
    known = [(stored[entry.project.id], entry) for entry in entries if entry.project.id in stored]
    changed = [(before, entry) for before, entry in known if not entry.says(before)]
    used = _percents(connection, [entry for _, entry in changed], now, converts)
    look_soon(connection, [entry.project.id for _, entry in changed], now)
    _update_projects(connection, [(before.project, entry.project) for before, entry in changed], now)
    _insert_projects(connection, new, now)
    kept = _move_scopes(connection, changed, new, now, lookback_days, correction)
    by_hand = _revise(connection, (changed, new), author, lookback_days, converts)
    written = [*(entry for _, entry in changed), *new]
    percents = _percents(connection, written, now, converts)
    stand(connection, [entry.project.id for entry in written], now, lookback_days, converts)
    befores = {entry.project.id: before for before, entry in changed} | {entry.project.id: None for entry in new}
    changes = [
        ProjectChange(
            befores[number],
            entry,
            used.get(number, NOT_USED)[0],
            *percents.get(number, NOT_USED),
            undone=by_hand.get(number, ()),
        )
        for entry in entries
        if (number := entry.project.id) in befores
    ]
    result = LoadResult(len(new), len(changed), len(entries) - len(changes), kept)
    if not consent(changes):
        raise RefusedLoadError(result)
    return result


def _move_scopes(
    connection: Connection,
    changed: Sequence[Changed],
    new: Sequence[ProjectEntry],
    now: datetime,
    lookback_days: int,
    correction: bool,
) -> int:
    """Gives the entries their scopes; returns of how many a former owner keeps what they have cost."""
    given = _give_scopes(connection, [*(entry for _, entry in changed), *new])
    kept = hand_over(connection, given, now.astimezone(UTC).date(), lookback_days, correction)
    regrouped = [entry for before, entry in changed if entry.scopes_by_key.keys() != before.scopes_by_key.keys()]
    update_rows(connection, projects, [{"id": entry.project.id} | NO_FORECAST for entry in regrouped], "id")
    # What becomes somebody's own is allocated no more, and what becomes nobody's is.
    sharing, due = sorted(getters_of(connection, given)), kept_or(projects.c.check_due_since, now)
    update_in(connection, projects, sharing, projects.c.active == true(), check_due_since=due)
    return kept


def _revise(
    connection: Connection,
    loaded: tuple[Sequence[Changed], Sequence[ProjectEntry]],
    author: Author,
    lookback_days: int,
    converts: bool,
) -> dict[int, tuple[RevisionView, ...]]:
    """Revises what the entries say otherwise; returns what was said by hand and is taken back, by project."""
    changed, new = loaded
    first = {entry.project.id: entry.terms for entry in new}
    others = {entry.project.id: entry.terms for before, entry in changed if entry.terms != before.terms}
    by_hand = _undone(connection, others)
    revise(connection, first, replace(author, reason="loaded"), lookback_days, converts)
    revise(connection, others, replace(author, reason="changed by load"), lookback_days, converts)
    return by_hand


def _undone(connection: Connection, revised: Mapping[int, BudgetTerms]) -> dict[int, tuple[RevisionView, ...]]:
    """The revisions by hand since the last load that new terms take something back of, by project."""
    found = {}
    for project_id, revisions in revisions_of(connection, sorted(revised)).items():
        loaded = max((place for place, each in enumerate(revisions) if each.by_load), default=0)
        since = revisions[loaded:]
        places = undone([each.terms for each in since], revised[project_id])
        found[project_id] = tuple(since[place] for place in places)
    return found


def _percents(
    connection: Connection, entries: Sequence[ProjectEntry], now: datetime, converts: bool
) -> dict[int, tuple[Decimal | None, Conversion]]:
    """What the active ones of these projects have used of their budgets, as they are stored now, and what of it was
    converted."""
    today = now.astimezone(UTC).date()
    rows = [row for row in with_budget(connection, [entry.project.id for entry in entries]) if row.active]
    budgets = present_budgets(connection, rows, today, converts)
    periods = {row.id: period for row in rows if (period := period_at(row, today))}
    spent = sums_within(connection, periods.items())
    wanted = [(each, period, budgets[each].terms.currency) for each, period in periods.items()]
    counting = besides_within(connection, wanted, converts)
    percents = {}
    for project_id, period in periods.items():
        budget = budgets[project_id]
        charged = spent.get(project_id, {}).get((period, budget.terms.currency), Decimal(0))
        besides = counting.get((project_id, period, budget.terms.currency), NOTHING_BESIDES)
        spent_here = add(budget.terms.used(charged, period), besides.spent)
        percents[project_id] = budget.percent(add(spent_here, besides.allocated)), besides.converted
    return percents


def _lock(connection: Connection, entries: Sequence[ProjectEntry]) -> None:
    """The sub-accounts first, as whoever reads their costs does."""
    accounts = {key[:2] for entry in entries for key in entry.scopes_by_key}
    for provider in sorted({provider for provider, _ in accounts}):
        register_sub_accounts(connection, provider, {account for each, account in accounts if each == provider})
    lock_projects(connection, [entry.project.id for entry in entries])


def _row(project: Project) -> dict[str, Any]:
    return columns(project, Project) | {"acronym_key": acronym_key(project.acronym)}


def _update_projects(connection: Connection, changed: Sequence[tuple[Project, Project]], now: datetime) -> None:
    """changed: each project as it is stored, and as it is to be."""
    # Two projects may swap their acronyms, which are unique at every step: those that change are set aside first, under
    # what no acronym's key begins with.
    moving = [
        {"id": project.id, "acronym_key": f" {project.id}"}
        for before, project in changed
        if acronym_key(before.acronym) != acronym_key(project.acronym)
    ]
    update_rows(connection, projects, moving, "id")
    rows = [_row(project) for _, project in changed]
    # Whatever was due of one that was not active is of no night since.
    known = case((projects.c.active == true(), projects.c.check_due_since))
    update_rows(connection, projects, rows, "id", check_due_since=kept_or(known, now))


def _insert_projects(connection: Connection, new: Sequence[ProjectEntry], now: datetime) -> None:
    # Their budgets are revised from none, 0, to the first.
    begun = {"budget_number": 0, "check_due_since": now, "checks": 0}
    insert_rows(connection, projects, [_row(entry.project) | begun for entry in new])


def _give_scopes(connection: Connection, entries: Sequence[ProjectEntry]) -> dict[int, int | None]:
    """Makes these projects own their entries' scopes and no others; scopes that nobody owns any more stay.

    Returns the known scopes that change hands, by id, with whose they are now.
    """
    wanted = {key: (entry.project.id, scope) for entry in entries for key, scope in entry.scopes_by_key.items()}
    owners = {entry.project.id for entry in entries}
    columns = (scopes.c.provider, scopes.c.sub_account_id, scopes.c.group_key)
    given: dict[int, int | None] = {}
    for row in connection.execute(select(*columns, scopes.c.id, scopes.c.project_id)) if entries else ():
        owner, _ = wanted.pop(tuple(row[:3]), (None if row.project_id in owners else row.project_id, None))
        if owner != row.project_id:
            given[row.id] = owner
    update_rows(connection, scopes, [{"id": each, "project_id": owner} for each, owner in given.items()], "id")
    missing = [
        dict(zip(("provider", "sub_account_id", "group_key"), key, strict=True))
        | {"x_resource_group_name": scope.resource_group.strip(), "project_id": owner}
        for key, (owner, scope) in wanted.items()
    ]
    insert_rows(connection, scopes, missing)
    return given
