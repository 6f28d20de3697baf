"""Loading projects: all the entries in one transaction, each written only where it says something new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from shared.adapters.database.budget_rows import NO_FORECAST, lock_projects
from shared.adapters.database.chunks import insert_rows, kept_or, update_rows
from shared.adapters.database.cloud_accounts import register_sub_accounts
from shared.adapters.database.listings import stored_entries
from shared.adapters.database.owners import hand_over
from shared.adapters.database.revisions import Author, revise
from shared.adapters.database.tables import projects, scopes
from shared.domain.projects import Project, ProjectEntry, acronym_key, taken
from shared.ports.errors import NeverError
from shared.ports.projects import LoadResult


def load_entries(
    connection: Connection, entries: Sequence[ProjectEntry], author: Author, lookback_days: int, correction: bool
) -> LoadResult:
    """Writes the entries. Raises NeverError where one can't have what belongs to another project (`taken`).

    correction: scopes that change hands have always been their new owner's.
    """
    now = author.at
    _lock(connection, entries)
    stored = {entry.project.id: entry for entry in stored_entries(connection)}
    for each in taken(entries, stored.values()):
        raise NeverError(each.sentence)
    new = [entry for entry in entries if entry.project.id not in stored]
    known = [(stored[entry.project.id], entry) for entry in entries if entry.project.id in stored]
    changed = [(before, entry) for before, entry in known if not entry.says(before)]
    _update_projects(connection, [(before.project, entry.project) for before, entry in changed], now)
    _insert_projects(connection, new, now)
    given = _give_scopes(connection, [*(entry for _, entry in changed), *new])
    kept = hand_over(connection, given, now.astimezone(UTC).date(), lookback_days, correction)
    regrouped = [entry for before, entry in changed if entry.scopes_by_key.keys() != before.scopes_by_key.keys()]
    update_rows(connection, projects, [{"id": entry.project.id} | NO_FORECAST for entry in regrouped], "id")
    first = {entry.project.id: entry.terms for entry in new}
    revise(connection, first, replace(author, reason="loaded"), lookback_days)
    others = {entry.project.id: entry.terms for before, entry in changed if entry.terms != before.terms}
    revise(connection, others, replace(author, reason="changed by load"), lookback_days)
    return LoadResult(len(new), len(changed), len(entries) - len(new) - len(changed), kept)


def _lock(connection: Connection, entries: Sequence[ProjectEntry]) -> None:
    """The sub-accounts first, as whoever reads their costs does."""
    accounts = {key[:2] for entry in entries for key in entry.scopes_by_key}
    for provider in sorted({provider for provider, _ in accounts}):
        register_sub_accounts(connection, provider, {account for each, account in accounts if each == provider})
    lock_projects(connection, [entry.project.id for entry in entries])


def _row(project: Project) -> dict[str, Any]:
    return asdict(project) | {"acronym_key": acronym_key(project.acronym)}


def _update_projects(connection: Connection, changed: Sequence[tuple[Project, Project]], now: datetime) -> None:
    """changed: each project as it is stored, and as it is to be."""
    # Two projects may swap their acronyms, which are unique at every step: those that change are set aside first.
    moving = [
        {"id": project.id, "acronym_key": f"#{project.id}#"}
        for before, project in changed
        if acronym_key(before.acronym) != acronym_key(project.acronym)
    ]
    update_rows(connection, projects, moving, "id")
    rows = [_row(project) for _, project in changed]
    update_rows(connection, projects, rows, "id", check_due_since=kept_or(projects.c.check_due_since, now))


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
