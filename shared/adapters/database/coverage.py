"""What is known of sub-accounts' months, as rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, delete, select

from shared.adapters.database.budget_rows import ALL, AnyRow, period_at, terms_of
from shared.adapters.database.chunks import among, insert_rows, select_among
from shared.adapters.database.ledger import record
from shared.adapters.database.owners import owners_by_group
from shared.adapters.database.tables import coverage, projects, scope_owners, scopes, stored_answers
from shared.domain.budgets import Budget
from shared.domain.coverage import Coverage, Gap, Known, Reading, ReadPart, StoredAnswer, gaps
from shared.domain.periods import Period

# Longer than any answer is kept that broke off (`pipeline.asking`, two hours), and a message is worked on.
ANSWERS_LAST = timedelta(days=1)

NO_GROUPS = frozenset[str]()

_MONTHS = select(coverage).order_by(coverage.c.month)
_MONTHS_OF = among(_MONTHS, coverage.c.sub_account_id)

Months = dict[tuple[str, str], dict[date, Coverage]]
"""By provider and sub-account, and the month's first day"""


def known_months(connection: Connection, sub_account_ids: Collection[str] | None = None) -> Months:
    """What is known of these sub-accounts' months, or of all, oldest month first."""
    rows: Iterable[AnyRow] = (
        connection.execute(_MONTHS)
        if sub_account_ids is None
        else select_among(connection, _MONTHS_OF, sorted(set(sub_account_ids)))
    )
    known: Months = {}
    for row in rows:
        known.setdefault((row.provider, row.sub_account_id), {})[row.month] = record(Coverage, row)
    return known


def months_of(connection: Connection, provider: str, sub_account_id: str) -> dict[date, Coverage]:
    """What is known of one sub-account's months."""
    return known_months(connection, [sub_account_id]).get((provider, sub_account_id), {})


def stored_lately(connection: Connection, provider: str, sub_account_id: str) -> list[StoredAnswer]:
    """What the answers of the last day have stored of a sub-account."""
    rows = connection.execute(select(stored_answers).where(*_is_of(stored_answers, provider, sub_account_id)))
    return [record(StoredAnswer, row, window=Period(row.window_start, row.window_end)) for row in rows]


def note_stored(connection: Connection, reading: Reading, parts: Iterable[ReadPart], now: datetime) -> None:
    """Notes the days that are stored as these parts have them, and forgets what no answer can be older than."""
    this = _is_of(stored_answers, reading.provider, reading.sub_account_id)
    connection.execute(delete(stored_answers).where(*this, stored_answers.c.begun_at < now - ANSWERS_LAST))
    account = {"provider": reading.provider, "sub_account_id": reading.sub_account_id, "group_keys": reading.group_keys}
    days = [
        {"window_start": part.window.start, "window_end": part.window.end, "begun_at": part.begun_at} for part in parts
    ]
    insert_rows(connection, stored_answers, [account | each for each in days])


# Whoever leaves is read so long; in its last nights, others may be read without it.
LAST_NIGHTS = timedelta(days=7)


def gaps_of(
    connection: Connection,
    needed: Mapping[int, tuple[Period, bool]],
    today: date,
    lookback_days: int,
    which: ColumnElement[bool] = ALL,
) -> dict[int, tuple[Gap, ...]]:
    """What the figures of projects for these days lack, of all sub-accounts in which nights read for them.

    needed: the days, and whether an opening balance says what was before. which: what selects these projects.
    """
    found = gaps_within(connection, {(each, *days) for each, days in needed.items()}, today, lookback_days, which)
    return {project_id: lacking for (project_id, _), lacking in found.items()}


def gaps_within(
    connection: Connection,
    needed: Collection[tuple[int, Period, bool]],
    today: date,
    lookback_days: int,
    which: ColumnElement[bool] = ALL,
) -> dict[tuple[int, Period], tuple[Gap, ...]]:
    """The same of several periods of a project, by its id and the period."""
    accounts = _accounts_of(connection, which)
    wanted = {account for project_id, *_ in needed for account in accounts.get(project_id, ())}
    known = known_months(connection, {sub_account_id for _, sub_account_id in wanted})
    odd = owners_of_odd(connection, {account: known.get(account, {}) for account in wanted})
    # Many projects share a sub-account and a period.
    found: dict[tuple[str, str, Period, bool, frozenset[str]], list[Gap]] = {}
    lacking: dict[tuple[int, Period], list[Gap]] = {}
    for project_id, period, opening in needed:
        for account, (owned_from, owned_until, settles_on) in accounts.get(project_id, {}).items():
            first, end = max(period.start, owned_from), min(period.end, owned_until)
            if first >= end or _is_settled(known.get(account, {}), settles_on):
                continue
            days = Period(first, end)
            groups = odd.get((project_id, account), NO_GROUPS)
            if (key := (*account, days, opening, groups)) not in found:
                months = known.get(account, {})
                months = {month: each.of_groups(groups) for month, each in months.items()} if groups else months
                found[key] = gaps(account[1], months, days, today, lookback_days, opening)
            lacking.setdefault((project_id, period), []).extend(found[key])
    return {key: tuple(each) for key, each in lacking.items()}


Owned = tuple[date, date, date | None]
"""The first day on which something was owned, the one after the last, and the night after which it is not read."""


def _accounts_of(connection: Connection, which: ColumnElement[bool]) -> dict[int, dict[tuple[str, str], Owned]]:
    """The sub-accounts of projects, and when they had groups there. which: what selects these projects."""
    owned = select(
        scope_owners.c.project_id,
        scopes.c.provider,
        scopes.c.sub_account_id,
        scope_owners.c.owned_from,
        scope_owners.c.owned_until,
        scope_owners.c.settles_on,
    ).distinct()
    owned = owned.join_from(scope_owners, scopes, scopes.c.id == scope_owners.c.scope_id)
    owned = owned.join(projects, projects.c.id == scope_owners.c.project_id).where(which)
    accounts: dict[int, dict[tuple[str, str], Owned]] = {}
    for row in sorted(connection.execute(owned), key=lambda row: (row.project_id, row.provider, row.sub_account_id)):
        its, account = accounts.setdefault(row.project_id, {}), (row.provider, row.sub_account_id)
        this = row.owned_from or date.min, row.owned_until or date.max, row.settles_on
        its[account] = _both(its[account], this) if account in its else this
    return accounts


def _both(one: Owned, other: Owned) -> Owned:
    settles_on = max(one[2], other[2]) if one[2] and other[2] else None
    return min(one[0], other[0]), max(one[1], other[1]), settles_on


def _is_settled(known: Known, settles_on: date | None) -> bool:
    """Whether what a project has left was read to its end. Where nobody could read it then, the figure lacks it."""
    read_on = max((each.good_on for each in known.values() if each.good_on), default=date.min)
    return settles_on is not None and read_on >= settles_on - LAST_NIGHTS


def owners_of_odd(
    connection: Connection, known: Mapping[tuple[str, str], Known]
) -> dict[tuple[int, tuple[str, str]], frozenset[str]]:
    """The groups of which rows were set aside, by the project that owns them and the sub-account."""
    found: dict[tuple[int, tuple[str, str]], frozenset[str]] = {}
    for account, months in known.items():
        odd = {group_key for each in months.values() for group_key in each.odd or ()}
        for group_key, owners in (owners_by_group(connection, *account, odd) if odd else {}).items():
            for project_id in owners:
                found[project_id, account] = found.get((project_id, account), NO_GROUPS) | {group_key}
    return found


def gaps_today(
    connection: Connection,
    rows: Iterable[AnyRow],
    budgets_now: Mapping[int, Budget],
    today: date,
    lookback_days: int,
    which: ColumnElement[bool] = ALL,
) -> dict[int, tuple[Gap, ...]]:
    """What the figures of the active projects among these rows of WITH_BUDGET lack in their present periods."""
    active = {
        row.id: (budgets_now[row.id].decided_by(period), bool(terms_of(row).opening_in(period)))
        for row in rows
        if row.active and (period := period_at(row, today))
    }
    return gaps_of(connection, active, today, lookback_days, which)


def write_months(connection: Connection, provider: str, sub_account_id: str, months: Mapping[date, Coverage]) -> None:
    """Writes what is known of these months of a sub-account now."""
    account = {"provider": provider, "sub_account_id": sub_account_id}
    this = _is_of(coverage, provider, sub_account_id)
    connection.execute(delete(coverage).where(*this, coverage.c.month.in_(list(months))))
    insert_rows(connection, coverage, [account | asdict(months[month]) for month in sorted(months)])


def _is_of(table: Table, provider: str, sub_account_id: str) -> list[ColumnElement[bool]]:
    return [table.c.provider == provider, table.c.sub_account_id == sub_account_id]
