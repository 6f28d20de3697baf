"""Loading projects: all the entries in one transaction, each written only where it says something new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from shared.adapters.database.budget_rows import (
    BUDGET_TERMS,
    CURRENT_BUDGET,
    AnyRow,
    lock_projects,
    terms_of,
)
from shared.adapters.database.cloud_accounts import register_sub_accounts
from shared.adapters.database.revisions import Author, begin_budgets, revise
from shared.adapters.database.tables import budgets, projects, scopes
from shared.adapters.database.types import UtcDateTime
from shared.domain.budgets import BudgetTerms
from shared.domain.projects import ProjectEntry
from shared.ports.errors import NeverError
from shared.ports.projects import LoadResult

ScopeKey = tuple[str, str, str]
"""provider, sub-account id, group key"""


@dataclass(frozen=True, slots=True)
class _Scope:
    """A stored scope, and the project that owns it."""

    id: int
    project_id: int | None


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is stored of all projects, by id, and of all scopes."""

    projects: Mapping[int, AnyRow]
    scopes: Mapping[ScopeKey, _Scope]
    owned: Mapping[int, frozenset[ScopeKey]]


def load_entries(
    connection: Connection, entries: Sequence[ProjectEntry], made_by: str, now: datetime, lookback_days: int
) -> LoadResult:
    """Writes the entries. Raises NeverError where two projects claim the same id, acronym or resource group."""
    _refuse_twice(entries)
    for provider, accounts in _sub_accounts(entries).items():
        register_sub_accounts(connection, provider, accounts)
    lock_projects(connection, [entry.project.id for entry in entries])
    stored = _stored(connection)
    _refuse_taken_acronyms(entries, stored)
    _refuse_taken_groups(entries, stored)
    new = [entry for entry in entries if entry.project.id not in stored.projects]
    changed = [entry for entry in entries if entry.project.id in stored.projects and _differs(entry, stored)]
    _update_projects(connection, changed, stored, now)
    _insert_projects(connection, new, made_by, now)
    _give_scopes(connection, [*changed, *new], stored)
    revise(connection, _revisions(changed, stored), Author(made_by, now, "changed by load"), lookback_days)
    return LoadResult(len(new), len(changed), len(entries) - len(new) - len(changed))


def _groups(entry: ProjectEntry) -> dict[ScopeKey, str]:
    """The entry's resource groups: their names as first written."""
    names: dict[ScopeKey, str] = {}
    for scope in entry.scopes:
        names.setdefault(scope.key, scope.resource_group.strip())
    return names


def _sub_accounts(entries: Sequence[ProjectEntry]) -> dict[str, set[str]]:
    """The entries' sub-accounts by provider, in the order in which they are locked."""
    found: dict[str, set[str]] = {}
    for provider, account, _ in sorted(key for entry in entries for key in _groups(entry)):
        found.setdefault(provider, set()).add(account)
    return found


def _acronym_key(acronym: str) -> str:
    return acronym.strip().lower()


def _stored(connection: Connection) -> _Stored:
    rows = connection.execute(select(projects, *BUDGET_TERMS).select_from(projects.join(budgets, CURRENT_BUDGET)))
    known = {row.id: row for row in rows}
    columns = (scopes.c.provider, scopes.c.sub_account_id, scopes.c.group_key)
    found = connection.execute(select(*columns, scopes.c.id, scopes.c.project_id))
    all_scopes = {(provider, account, group): _Scope(*scope) for provider, account, group, *scope in found}
    owned: dict[int, set[ScopeKey]] = {}
    for key, scope in all_scopes.items():
        if scope.project_id is not None:
            owned.setdefault(scope.project_id, set()).add(key)
    return _Stored(known, all_scopes, {owner: frozenset(keys) for owner, keys in owned.items()})


# --- what can't be loaded ------------------------------------------------------------------------------------


def _refuse_twice(entries: Sequence[ProjectEntry]) -> None:
    by_id: dict[int, ProjectEntry] = {}
    by_acronym: dict[str, ProjectEntry] = {}
    by_group: dict[ScopeKey, ProjectEntry] = {}
    for entry in entries:
        other = by_id.setdefault(entry.project.id, entry)
        if other is not entry:
            raise NeverError(
                f"the id {entry.project.id} is given twice, to {other.project.acronym} and to {entry.project.acronym}"
            )
        other = by_acronym.setdefault(_acronym_key(entry.project.acronym), entry)
        if other is not entry:
            raise NeverError(_acronym_is_taken(entry, other.project.id, other.project.acronym))
        for key in _groups(entry):
            other = by_group.setdefault(key, entry)
            if other is not entry:
                raise NeverError(_group_is_taken(entry, key, other.project.id, other.project.acronym))


def _refuse_taken_acronyms(entries: Sequence[ProjectEntry], stored: _Stored) -> None:
    loaded = {entry.project.id for entry in entries}
    kept = {row.acronym_key: row for row in stored.projects.values() if row.id not in loaded}
    for entry in entries:
        other = kept.get(_acronym_key(entry.project.acronym))
        if other is not None:
            raise NeverError(_acronym_is_taken(entry, other.id, other.acronym))


def _refuse_taken_groups(entries: Sequence[ProjectEntry], stored: _Stored) -> None:
    loaded = {entry.project.id for entry in entries}
    for entry in entries:
        for key in _groups(entry):
            scope = stored.scopes.get(key)
            if scope is not None and scope.project_id is not None and scope.project_id not in loaded:
                raise NeverError(
                    _group_is_taken(entry, key, scope.project_id, stored.projects[scope.project_id].acronym)
                )


def _acronym_is_taken(entry: ProjectEntry, other_id: int, other_acronym: str) -> str:
    return (
        f"project {entry.project.id} can't have the acronym {entry.project.acronym}: "
        f"it belongs to project {other_id} ({other_acronym}), and each project needs its own"
    )


def _group_is_taken(entry: ProjectEntry, key: ScopeKey, other_id: int, other_acronym: str) -> str:
    group, (_, account, _) = _groups(entry)[key], key
    return (
        f"project {entry.project.id} ({entry.project.acronym}) can't have the resource group {group} of subscription "
        f"{account}: it belongs to project {other_id} ({other_acronym}), which keeps it"
    )


# --- what is written -----------------------------------------------------------------------------------------


def _differs(entry: ProjectEntry, stored: _Stored) -> bool:
    row = stored.projects[entry.project.id]
    is_so = {name: getattr(row, name) for name in _columns(entry)} == _columns(entry)
    has_groups = stored.owned.get(entry.project.id, frozenset()) == _groups(entry).keys()
    return not (is_so and has_groups and terms_of(row) == entry.terms)


def _columns(entry: ProjectEntry) -> dict[str, Any]:
    return {
        "acronym": entry.project.acronym.strip(),
        "acronym_key": _acronym_key(entry.project.acronym),
        "name": entry.project.name,
        "language": entry.project.language,
        "contacts": list(entry.project.contacts),
        "active": entry.project.active,
        "lock_policy": entry.project.lock.value,
    }


def _update_projects(connection: Connection, changed: list[ProjectEntry], stored: _Stored, now: datetime) -> None:
    if not changed:
        return
    this = projects.update().where(projects.c.id == bindparam("project"))
    # Two projects may swap their acronyms, which are unique at every step: those that change are set aside first.
    moving = [
        {"project": entry.project.id, "aside": f"#{entry.project.id}#"}
        for entry in changed
        if stored.projects[entry.project.id].acronym_key != _acronym_key(entry.project.acronym)
    ]
    if moving:
        connection.execute(this.values(acronym_key=bindparam("aside")), moving)
    values = {name: bindparam(f"new_{name}", type_=projects.c[name].type) for name in _columns(changed[0])}
    due = func.coalesce(projects.c.check_due_since, bindparam("due_since", type_=UtcDateTime))
    connection.execute(
        this.values(check_due_since=due, **values),
        [
            {"project": entry.project.id, "due_since": now}
            | {f"new_{name}": value for name, value in _columns(entry).items()}
            for entry in changed
        ],
    )


def _insert_projects(connection: Connection, new: list[ProjectEntry], made_by: str, now: datetime) -> None:
    if not new:
        return
    today = now.astimezone(UTC).date()
    periods = {entry.project.id: entry.terms.rule.period_at(today) for entry in new}
    rows = []
    for entry in new:
        period = periods[entry.project.id]
        rows.append(
            {
                **_columns(entry),
                "id": entry.project.id,
                "budget_number": 1,
                "check_due_since": now,
                "checks": 0,
                "period_start": period.start if period else None,
                "period_end": period.end if period else None,
            }
        )
    connection.execute(projects.insert(), rows)
    begin_budgets(connection, {entry.project.id: entry.terms for entry in new}, Author(made_by, now, "loaded"))


def _give_scopes(connection: Connection, entries: list[ProjectEntry], stored: _Stored) -> None:
    """Makes these projects own their entries' groups and no others; groups that nobody owns any more stay."""
    released = {stored.scopes[key].id: None for entry in entries for key in stored.owned.get(entry.project.id, ())}
    kept = {
        stored.scopes[key].id: entry.project.id for entry in entries for key in _groups(entry) if key in stored.scopes
    }
    before = {scope.id: scope.project_id for scope in stored.scopes.values()}
    moved = [
        {"scope": scope_id, "owner": owner}
        for scope_id, owner in (released | kept).items()
        if owner != before[scope_id]
    ]
    if moved:
        given = scopes.update().where(scopes.c.id == bindparam("scope")).values(project_id=bindparam("owner"))
        connection.execute(given, moved)
    missing = [
        {
            "provider": key[0],
            "sub_account_id": key[1],
            "group_key": key[2],
            "x_resource_group_name": name,
            "project_id": entry.project.id,
        }
        for entry in entries
        for key, name in _groups(entry).items()
        if key not in stored.scopes
    ]
    if missing:
        connection.execute(scopes.insert(), missing)


def _revisions(changed: list[ProjectEntry], stored: _Stored) -> dict[int, BudgetTerms]:
    return {
        entry.project.id: entry.terms for entry in changed if terms_of(stored.projects[entry.project.id]) != entry.terms
    }
