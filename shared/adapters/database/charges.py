"""Charges, and which of them have been read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal, select, true

from shared.adapters.database.accounts import lock_accounts
from shared.adapters.database.budget_rows import BUDGET_RULE, BUDGET_TERMS, CURRENT_BUDGET, AnyRow, rule_of, terms_of
from shared.adapters.database.charge_rows import RowChanges, note_changes, within, write
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.engine import Database
from shared.adapters.database.runs import settle_scope
from shared.adapters.database.tables import accounts, budget_periods, budgets, charges, projects, scopes
from shared.adapters.database.types import UtcDateTime
from shared.domain.charges import ChargeSet
from shared.domain.periods import Period
from shared.ports.charges import Account, ProjectScopes, Reading, ReadPart, Stored
from shared.ports.errors import NeverError
from shared.ports.runs import ScopeState, ScopeTarget

# The UTC day in a row on which an empty answer is taken after all.
BELIEVED_ON_DAY = 3
# What the columns hold; said here, because SQLite would take any length.
SERVICE_LENGTH = 200
GROUP_LENGTH = 100


class SqlCharges:
    """The ChargeLedger on a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accounts(self) -> list[Account]:
        """Every sub-account with active projects, by id, with the rules of their budgets (those with an amount)."""
        return self._database.read(lambda connection: _accounts(connection, true()))

    def account(self, sub_account_id: str) -> Account:
        """One sub-account, known or not."""
        return self._database.read(lambda connection: _account(connection, sub_account_id))

    def scopes_of(self, project_id: int) -> ProjectScopes | None:
        """A project's resource groups; None for an unknown project."""
        return self._database.read(lambda connection: _scopes_of(connection, project_id))

    def store(self, scope_id: int, reading: Reading, now: datetime) -> Stored:
        """Replaces the charges of the reading's windows by what was read, in one transaction (see the port)."""
        reading = _restricted(reading)
        _refuse_strange(reading)
        return self._database.run(lambda connection: _store(connection, scope_id, reading, now))

    def currencies_of(self, sub_account_id: str, since: date) -> frozenset[str]:
        """The currencies of the account's charges since that day."""
        return self._database.read(lambda connection: _currencies(connection, sub_account_id, since))

    def due_projects_of(self, target: ScopeTarget) -> list[int]:
        """The ids, sorted, of the target's active projects that are due for a check."""
        due = projects.c.check_due_since.is_not(None)
        return self._database.read(lambda connection: _projects_of(connection, target, due))

    def turning_projects_of(self, target: ScopeTarget, today: date) -> list[int]:
        """The ids, sorted, of the target's active projects whose period was over before `today`."""
        return self._database.read(lambda connection: _projects_of(connection, target, projects.c.period_end <= today))


# --- what is known of accounts and projects ------------------------------------------------------------------


def _accounts(connection: Connection, which: ColumnElement[bool]) -> list[Account]:
    owned = scopes.join(projects, scopes.c.project_id == projects.c.id).join(budgets, CURRENT_BUDGET)
    read = (accounts.c.provider == scopes.c.provider) & (accounts.c.sub_account_id == scopes.c.sub_account_id)
    rows = connection.execute(
        select(
            scopes.c.provider,
            scopes.c.sub_account_id,
            accounts.c.read_from,
            accounts.c.read_until,
            projects.c.id,
            *BUDGET_RULE,
        )
        .select_from(owned.outerjoin(accounts, read))
        .where(projects.c.active == true(), which)
        .distinct()
        .order_by(scopes.c.sub_account_id, scopes.c.provider)
    )
    opened = _opened_from(connection, which)
    return [
        _as_account(list(same), opened.get(account))
        for account, same in groupby(rows, key=lambda row: (row.sub_account_id, row.provider))
    ]


def _as_account(rows: list[AnyRow], opened_from: date | None) -> Account:
    first = rows[0]
    rules = frozenset(rule_of(row) for row in rows if row.amount)
    active_projects = len({row.id for row in rows})
    read = (first.read_from, first.read_until)
    return Account(first.sub_account_id, *read, rules, active_projects, first.provider, opened_from)


def _opened_from(connection: Connection, which: ColumnElement[bool]) -> dict[tuple[str, str], date]:
    """When the earliest period of its active projects' budgets began, by account and provider."""
    owned = scopes.join(projects, scopes.c.project_id == projects.c.id).join(budgets, CURRENT_BUDGET)
    account = (scopes.c.sub_account_id, scopes.c.provider)
    rows = connection.execute(
        select(*account, func.min(budget_periods.c.period_start))
        .select_from(owned.join(budget_periods, budget_periods.c.project_id == projects.c.id))
        .where(projects.c.active == true(), budgets.c.amount > Decimal(0), which)
        .group_by(*account)
    )
    return {(sub_account_id, provider): start for sub_account_id, provider, start in rows}


def _account(connection: Connection, sub_account_id: str) -> Account:
    with_projects = _accounts(connection, scopes.c.sub_account_id == sub_account_id)
    if with_projects:
        return with_projects[0]
    row = connection.execute(
        select(accounts).where(accounts.c.sub_account_id == sub_account_id).order_by(accounts.c.provider)
    ).first()
    if row is None:
        return Account(sub_account_id, None, None)
    return Account(sub_account_id, row.read_from, row.read_until, provider=row.provider)


def _scopes_of(connection: Connection, project_id: int) -> ProjectScopes | None:
    project = connection.execute(
        select(projects.c.active, *BUDGET_TERMS)
        .select_from(projects.join(budgets, CURRENT_BUDGET))
        .where(projects.c.id == project_id)
    ).one_or_none()
    if project is None:
        return None
    rows = connection.execute(
        select(scopes.c.sub_account_id, scopes.c.x_resource_group_name)
        .where(scopes.c.project_id == project_id)
        .order_by(scopes.c.sub_account_id, scopes.c.group_key)
    )
    groups = {account: tuple(row[1] for row in same) for account, same in groupby(rows, key=lambda row: row[0])}
    terms = terms_of(project)
    return ProjectScopes(project_id, project.active, groups, terms.rule if terms.amount else None)


def _currencies(connection: Connection, sub_account_id: str, since: date) -> frozenset[str]:
    of_account = scopes.join(charges, charges.c.scope_id == scopes.c.id)
    found = select(charges.c.billing_currency).distinct().select_from(of_account)
    found = found.where(scopes.c.sub_account_id == sub_account_id, charges.c.charge_period_start >= since)
    return frozenset(connection.scalars(found))


def _projects_of(connection: Connection, target: ScopeTarget, wanted: ColumnElement[bool]) -> list[int]:
    """The ids of the target's active projects for which `wanted` holds."""
    if target.project_id is not None:
        which = projects.c.id == target.project_id
    else:
        owners = select(scopes.c.project_id).where(scopes.c.sub_account_id == target.subscription_id)
        which = projects.c.id.in_(owners.where(scopes.c.project_id.is_not(None)))
    found = select(projects.c.id).where(projects.c.active == true(), wanted, which)
    return list(connection.scalars(found.order_by(projects.c.id)))


# --- storing a reading ---------------------------------------------------------------------------------------


def _restricted(reading: Reading) -> Reading:
    """The reading with charges of the groups that were asked for only: just those are compared and replaced."""
    if not reading.group_keys:
        return reading
    parts = (ReadPart(part.window, _of_groups(part.charges, reading.group_keys)) for part in reading.parts)
    return replace(reading, parts=tuple(parts))


def _of_groups(answered: ChargeSet, group_keys: frozenset[str]) -> ChargeSet:
    amounts = {key: amount for key, amount in answered.amounts.items() if key[0] in group_keys}
    names = {key: name for key, name in answered.group_names.items() if key in group_keys}
    return ChargeSet(answered.billing_currency, amounts, names)


def _refuse_strange(reading: Reading) -> None:
    """Raises NeverError for an answer that can't be stored as one."""
    whose = f"the costs of {reading.sub_account_id}"
    currencies = sorted({part.charges.billing_currency for part in reading.parts} - {None}, key=str)
    if len(currencies) > 1:
        raise NeverError(
            f"{whose} came in {' and '.join(map(str, currencies))}; "
            "amounts of two currencies are never added, so all of an answer has to be in one"
        )
    for part in reading.parts:
        _refuse_strange_part(whose, part)


def _refuse_strange_part(whose: str, part: ReadPart) -> None:
    strange = [day for day in {day for _, day, _ in part.charges.amounts} if day not in part.window]
    if strange:
        raise NeverError(
            f"{whose} from {part.window.start} up to {part.window.end} came with charges of {min(strange)}, "
            "which lies outside of these days"
        )
    _refuse_long(whose, "service", {service for _, _, service in part.charges.amounts}, SERVICE_LENGTH)
    _refuse_long(whose, "resource group", part.charges.group_names.values(), GROUP_LENGTH)


def _refuse_long(whose: str, what: str, names: Iterable[str], longest: int) -> None:
    for name in names:
        if len(name) > longest:
            raise NeverError(
                f"{whose} came with a {what} of {len(name)} characters, of which {longest} can be stored: {name[:40]}…"
            )


@dataclass(frozen=True, slots=True)
class _Scope:
    """A stored scope: its id, and how its name is spelled."""

    id: int
    name: str


def _store(connection: Connection, scope_id: int, reading: Reading, now: datetime) -> Stored:
    lock_accounts(connection, reading.provider, [reading.sub_account_id])
    account = connection.execute(select(accounts).where(_is_account(reading))).one()
    if _is_outdated(account, reading):
        # What it would say is stored already, and newer: for its run, the scope has been read.
        _mark_scope(connection, scope_id, reading, (), now)
        return Stored()
    doubtful = [part.window for part in reading.parts if _is_doubtful(connection, reading, part, account, now)]
    suspect_days = _suspect_days(account, reading, doubtful, now)
    suspect = () if suspect_days == BELIEVED_ON_DAY else tuple(doubtful)
    believed = [part for part in reading.parts if part.window not in suspect]
    changes = _replace(connection, reading, believed)
    if not reading.group_keys:
        _mark_account(connection, account, reading, suspect, suspect_days, now)
    _mark_scope(connection, scope_id, reading, suspect, now)
    return Stored(len(changes.added), len(changes.changed), len(changes.removed), suspect)


def _is_account(reading: Reading) -> ColumnElement[bool]:
    return (accounts.c.provider == reading.provider) & (accounts.c.sub_account_id == reading.sub_account_id)


def _is_outdated(account: AnyRow, reading: Reading) -> bool:
    if reading.group_keys or account.read_started_at is None or not _reads_its_day(reading):
        return False
    return bool(reading.started_at < account.read_started_at)


def _reads_its_day(reading: Reading) -> bool:
    """Whether the reading has the day on which it was begun; one that only reads further back has other days."""
    return any(reading.started_at.astimezone(UTC).date() in part.window for part in reading.parts)


def _scopes_read(reading: Reading) -> Iterator[ColumnElement[bool]]:
    """What selects the scopes that were read; more than one condition only for very many groups."""
    account = (scopes.c.provider == reading.provider) & (scopes.c.sub_account_id == reading.sub_account_id)
    if not reading.group_keys:
        yield account
    for keys in in_chunks(sorted(reading.group_keys)):
        yield account & scopes.c.group_key.in_(keys)


def _charges_read(reading: Reading, window: Period) -> Iterator[ColumnElement[bool]]:
    for which in _scopes_read(reading):
        yield charges.c.scope_id.in_(select(scopes.c.id).where(which)) & within(window)


def _is_doubtful(connection: Connection, reading: Reading, part: ReadPart, account: AnyRow, now: datetime) -> bool:
    """Whether the part is empty although its window has charges of days that were over at the last reading."""
    closed_before = account.read_until or now.astimezone(UTC).date()
    if part.charges.amounts or part.window.start >= closed_before:
        return False
    closed = Period(part.window.start, min(part.window.end, closed_before))
    counts = (
        connection.scalar(select(func.count()).select_from(charges).where(stored))
        for stored in _charges_read(reading, closed)
    )
    return any(counts)


def _suspect_days(account: AnyRow, reading: Reading, doubtful: list[Period], now: datetime) -> int:
    """How many days in a row, with today, whole readings of the account have had empty parts."""
    if reading.group_keys or not doubtful:
        return 0
    today = now.astimezone(UTC).date()
    is_new_day = account.suspect_on is None or account.suspect_on < today
    return int(account.suspect_days) + (1 if is_new_day else 0)


def _replace(connection: Connection, reading: Reading, parts: Sequence[ReadPart]) -> RowChanges:
    scope_ids = _scope_ids(connection, reading, parts)
    changes = RowChanges()
    for part in parts:
        note_changes(connection, changes, part.charges, scope_ids, _charges_read(reading, part.window))
    write(connection, changes)
    return changes


def _scope_ids(connection: Connection, reading: Reading, parts: Iterable[ReadPart]) -> dict[str, int]:
    """The ids, by group key, of all scopes that were read; new ones are made, and names are spelled anew."""
    names: dict[str, str] = {}
    for part in parts:
        names = part.charges.group_names | names
    known = _known_scopes(connection, reading)
    _respell(connection, known, names)
    missing = [
        {
            "provider": reading.provider,
            "sub_account_id": reading.sub_account_id,
            "group_key": key,
            "x_resource_group_name": name,
        }
        for key, name in sorted(names.items())
        if key not in known
    ]
    if missing:
        connection.execute(scopes.insert(), missing)
        known = _known_scopes(connection, reading)
    return {key: scope.id for key, scope in known.items()}


def _known_scopes(connection: Connection, reading: Reading) -> dict[str, _Scope]:
    columns = (scopes.c.group_key, scopes.c.id, scopes.c.x_resource_group_name)
    return {
        key: _Scope(scope_id, name)
        for which in _scopes_read(reading)
        for key, scope_id, name in connection.execute(select(*columns).where(which))
    }


def _respell(connection: Connection, known: Mapping[str, _Scope], names: Mapping[str, str]) -> None:
    """Takes over the provider's spelling: a filter on the group is then sure to be understood."""
    other = [
        {"scope": scope.id, "name": names[key]}
        for key, scope in known.items()
        if names.get(key, scope.name) != scope.name
    ]
    if other:
        renamed = scopes.update().where(scopes.c.id == bindparam("scope"))
        connection.execute(renamed.values(x_resource_group_name=bindparam("name")), other)


def _mark_account(
    connection: Connection,
    account: AnyRow,
    reading: Reading,
    suspect: tuple[Period, ...],
    suspect_days: int,
    now: datetime,
) -> None:
    values: dict[str, Any]
    if suspect:
        values = {"suspect_days": suspect_days, "suspect_on": now.astimezone(UTC).date()}
    else:
        values = {"read_started_at": reading.started_at} if _reads_its_day(reading) else {}
        days = {"read_from": _read_from(account, reading), "read_until": reading.read_until}
        values |= {name: day for name, day in days.items() if day is not None}
        # A first part that is believed says nothing of the ones to come, which may be as empty as yesterday.
        if reading.complete:
            values |= {"suspect_days": 0, "suspect_on": None}
    if values:
        connection.execute(accounts.update().where(_is_account(reading)).values(values))


def _read_from(account: AnyRow, reading: Reading) -> date | None:
    """The day since which everything has been read, with this reading; days that it leaves out stay unread."""
    reaches = max((part.window.end for part in reading.parts), default=None)
    if account.read_from is not None and (reaches is None or reaches < account.read_from):
        return None
    return reading.read_from


def _mark_scope(
    connection: Connection, scope_id: int, reading: Reading, suspect: tuple[Period, ...], now: datetime
) -> None:
    if suspect:
        settle_scope(connection, scope_id, ScopeState.SUSPECT, _doubt(suspect), now)
    elif reading.complete:
        settle_scope(connection, scope_id, ScopeState.DONE, None, now)
    else:
        return
    values: dict[str, Any] = {"check_due_since": func.coalesce(projects.c.check_due_since, literal(now, UtcDateTime))}
    if not suspect:
        values["costs_read_at"] = now
    for which in _scopes_read(reading):
        owners = select(scopes.c.project_id).where(which, scopes.c.project_id.is_not(None))
        due = (projects.c.active == true()) & projects.c.id.in_(owners)
        connection.execute(projects.update().where(due).values(values))


def _doubt(windows: tuple[Period, ...]) -> str:
    days = ", ".join(f"{window.start} up to {window.end}" for window in windows)
    return f"the answer had no charges for {days}, where some are stored: it is not believed, and they stay"
