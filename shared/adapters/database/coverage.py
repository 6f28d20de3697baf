"""What is known of sub-accounts' months, as rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, select

from shared.adapters.database.budget_rows import ALL, AnyRow, period_at, terms_of
from shared.adapters.database.chunks import among, in_chunks, insert_rows, select_among, select_in
from shared.adapters.database.ledger import record
from shared.adapters.database.owners import owners_by_group
from shared.adapters.database.tables import (
    WHOLE,
    coverage,
    export_feeds,
    export_spoken,
    group_coverage,
    projects,
    scope_owners,
    scopes,
    stored_answers,
)
from shared.domain.budgets import Budget
from shared.domain.coverage import (
    LACKS_NOTHING,
    Coverage,
    Gap,
    Known,
    Lacks,
    Reading,
    ReadPart,
    StoredAnswer,
    gaps,
    lacks_from,
    whole_until,
)
from shared.domain.exports.feeding import Fed, place
from shared.domain.periods import Period
from shared.ports.export_runs import closed_on

# Longer than any answer is kept that broke off (`pipeline.asking`, two hours), and a message is worked on.
ANSWERS_LAST = timedelta(days=1)

NO_GROUPS = frozenset[str]()

_MONTHS = select(coverage).order_by(coverage.c.month)
_MONTHS_OF = among(_MONTHS, coverage.c.sub_account_id)

_OF_GROUPS = among(select(group_coverage).order_by(group_coverage.c.month), group_coverage.c.sub_account_id)

_FED_GROUPS = select(export_feeds.c.provider, export_feeds.c.sub_account_id, export_feeds.c.group_key)
_FED_GROUPS = among(_FED_GROUPS.where(export_feeds.c.group_key != WHOLE), export_feeds.c.sub_account_id)

Months = dict[tuple[str, str], dict[date, Coverage]]
"""By provider and sub-account, and the month's first day"""

_OF_FED = (export_feeds.c.provider == scopes.c.provider) & (export_feeds.c.sub_account_id == scopes.c.sub_account_id)
OF_FED_GROUP = _OF_FED & (export_feeds.c.group_key == scopes.c.group_key)
FED = (scopes.c.provider, scopes.c.sub_account_id, export_feeds.c.group_key)
"""Columns of a Fed: what feeds a scope, joined by OF_FED_GROUP (outer)"""
# What exports feed of the scopes that projects have now.
_EXPORTED_OF = select(scope_owners.c.project_id, *FED).distinct()
_EXPORTED_OF = _EXPORTED_OF.join_from(scope_owners, scopes, scopes.c.id == scope_owners.c.scope_id)
_EXPORTED_OF = _EXPORTED_OF.join(export_feeds, OF_FED_GROUP | (_OF_FED & (export_feeds.c.group_key == WHOLE)))
_EXPORTED_OF = among(_EXPORTED_OF.where(scope_owners.c.owned_until.is_(None)), scope_owners.c.project_id)


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


def known_of(connection: Connection, wanted: Collection[Fed]) -> dict[Fed, Known]:
    """What is known of these: of a group that exports feed, its own months, else its sub-account's."""
    ids = sorted({each.sub_account for each in wanted})
    whole = known_months(connection, ids)
    found = {each: dict(whole.get((each.provider, each.sub_account), {})) for each in wanted}
    if any(each.group_key is not None for each in wanted):
        for row in select_among(connection, _OF_GROUPS, ids):
            fed, known = Fed(row.provider, row.sub_account_id, row.group_key), record(Coverage, row)
            # What the query has read of a group is apart only where exports say the rest of its sub-account.
            if fed in found and (known.is_exported or _is_exported(found[fed].get(row.month))):
                found[fed][row.month] = known
    return dict(found)


def _is_exported(known: Coverage | None) -> bool:
    return known is not None and known.is_exported


def exported_groups(connection: Connection, sub_account_ids: Collection[str]) -> dict[tuple[str, str], frozenset[str]]:
    """The groups that exports feed, of these sub-accounts that have such, by provider and sub-account."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for provider, sub_account_id, group_key in select_among(connection, _FED_GROUPS, sorted(set(sub_account_ids))):
        account = provider, sub_account_id
        found[account] = found.get(account, NO_GROUPS) | {group_key}
    return found


def months_delivered(
    connection: Connection, provider: str, sub_account_ids: Sequence[str]
) -> dict[str, dict[date, frozenset[str]]]:
    """The months that exports which feed these sub-accounts have delivered: of which groups, WHOLE for all of one."""
    spoken, same = export_spoken.c, ("provider", "sub_account_id", "group_key", "export_id")
    feeds = export_spoken.join(export_feeds, and_(*(spoken[name] == export_feeds.c[name] for name in same)))
    found = select(spoken.sub_account_id, spoken.billing_period, spoken.group_key).select_from(feeds).distinct()
    found = found.where(spoken.provider == provider)
    months: dict[str, dict[date, frozenset[str]]] = {}
    for account, month, group_key in select_in(connection, found, spoken.sub_account_id, sub_account_ids):
        its = months.setdefault(account, {})
        its[month] = its.get(month, NO_GROUPS) | {group_key}
    return months


def exported_until(connection: Connection, project_ids: Sequence[int]) -> dict[int, date]:
    """The day before which the charges of these projects are whole, of those that exports feed."""
    fed = {(row.project_id, _fed_in(row)) for row in select_among(connection, _EXPORTED_OF, project_ids)}
    known = known_of(connection, {each for _, each in fed}) if fed else {}
    days = defaultdict[int, set[date]](set)
    for project_id, each in fed:
        if until := whole_until(known[each]):
            days[project_id].add(until)
    return {project_id: min(found) for project_id, found in days.items()}


def _fed_in(row: AnyRow) -> Fed:
    return Fed(row.provider, row.sub_account_id, None if row.group_key == WHOLE else row.group_key)


def lacking(
    fed: Fed, known: Known, needed: Period, today: date, lookback_days: int, opening: bool = False
) -> list[Gap]:
    """`gaps` of a sub-account, or of a group that exports feed."""
    return gaps(fed.name, known, needed, today, lookback_days, closed_on(fed.provider), opening)


def months_of(connection: Connection, provider: str, sub_account_id: str) -> dict[date, Coverage]:
    """What is known of one sub-account's months."""
    return known_months(connection, [sub_account_id]).get((provider, sub_account_id), {})


def stored_lately(
    connection: Connection, provider: str, sub_account_ids: Sequence[str]
) -> dict[str, list[StoredAnswer]]:
    """What the answers of the last day have stored of these sub-accounts."""
    lately: dict[str, list[StoredAnswer]] = {}
    found = select(stored_answers).where(stored_answers.c.provider == provider)
    for row in select_in(connection, found, stored_answers.c.sub_account_id, sub_account_ids):
        known = record(StoredAnswer, row, window=Period(row.window_start, row.window_end))
        lately.setdefault(row.sub_account_id, []).append(known)
    return lately


def note_stored(connection: Connection, stored: Sequence[tuple[Reading, Sequence[ReadPart]]], now: datetime) -> None:
    """Notes the days that are stored as these parts of readings have them, and forgets what no answer can be older
    than. All are of one provider.
    """
    ids = sorted({reading.sub_account_id for reading, _ in stored})
    old = (stored_answers.c.provider == stored[0][0].provider) & (stored_answers.c.begun_at < now - ANSWERS_LAST)
    for some in in_chunks(ids):
        connection.execute(delete(stored_answers).where(old, stored_answers.c.sub_account_id.in_(some)))
    days = [
        {
            **{name: getattr(reading, name) for name in ("provider", "sub_account_id", "group_keys")},
            "window_start": part.window.start,
            "window_end": part.window.end,
            "begun_at": part.begun_at,
        }
        for reading, parts in stored
        for part in parts
    ]
    insert_rows(connection, stored_answers, days)


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
    return {
        project_id: each.gaps for project_id, each in lacks_of(connection, needed, today, lookback_days, which).items()
    }


def lacks_of(
    connection: Connection,
    needed: Mapping[int, tuple[Period, bool]],
    today: date,
    lookback_days: int,
    which: ColumnElement[bool] = ALL,
) -> dict[int, Lacks]:
    """The same, with the day from which on they lack it."""
    found = lacks_within(connection, {(each, *days) for each, days in needed.items()}, today, lookback_days, which)
    return {project_id: lacking for (project_id, _), lacking in found.items()}


def lacks_within(
    connection: Connection,
    needed: Collection[tuple[int, Period, bool]],
    today: date,
    lookback_days: int,
    which: ColumnElement[bool] = ALL,
) -> dict[tuple[int, Period], Lacks]:
    """The same of several periods of a project, by its id and the period."""
    owned = _owned_by(connection, which)
    wanted = {fed for project_id, *_ in needed for fed in owned.get(project_id, ())}
    known = known_of(connection, wanted)
    odd = owners_of_odd(connection, known)
    # Many projects share a sub-account and a period.
    found: dict[tuple[Fed, Period, bool, frozenset[str]], Lacks] = {}
    lacks: dict[tuple[int, Period], Lacks] = {}
    for project_id, period, opening in needed:
        for fed, (owned_from, owned_until, settles_on) in owned.get(project_id, {}).items():
            first, end = max(period.start, owned_from), min(period.end, owned_until)
            if first >= end or _is_settled(known[fed], settles_on):
                continue
            days = Period(first, end)
            groups = odd.get((project_id, fed), NO_GROUPS)
            if (key := (fed, days, opening, groups)) not in found:
                months = known[fed]
                months = {month: each.of_groups(groups) for month, each in months.items()} if groups else months
                found[key] = _lacks(fed, months, days, today, lookback_days, opening)
            before = lacks.get((project_id, period), LACKS_NOTHING)
            lacks[project_id, period] = before.and_of(found[key])
    return lacks


def _lacks(fed: Fed, known: Known, needed: Period, today: date, lookback_days: int, opening: bool) -> Lacks:
    if found := lacking(fed, known, needed, today, lookback_days, opening):
        return Lacks(tuple(found), today)
    return Lacks(since=lacks_from(known, needed, today, lookback_days, closed_on(fed.provider)))


Owned = tuple[date, date, date | None]
"""The first day on which something was owned, the one after the last, and the night after which it is not read."""


def _owned_by(connection: Connection, which: ColumnElement[bool]) -> dict[int, dict[Fed, Owned]]:
    """In which sub-accounts, and groups that exports feed, projects had groups, and when. which: what selects these."""
    days = (scope_owners.c.owned_from, scope_owners.c.owned_until, scope_owners.c.settles_on)
    owned = select(scope_owners.c.project_id, *FED, *days).distinct()
    owned = owned.join_from(scope_owners, scopes, scopes.c.id == scope_owners.c.scope_id)
    owned = owned.join(projects, projects.c.id == scope_owners.c.project_id).outerjoin(export_feeds, OF_FED_GROUP)
    found: dict[int, dict[Fed, Owned]] = {}
    for project_id, *key, owned_from, owned_until, settles_on in connection.execute(owned.where(which)):
        its, fed = found.setdefault(project_id, {}), Fed(*key)
        this = owned_from or date.min, owned_until or date.max, settles_on
        its[fed] = _both(its[fed], this) if fed in its else this
    return {project_id: {fed: its[fed] for fed in sorted(its, key=place)} for project_id, its in found.items()}


def _both(one: Owned, other: Owned) -> Owned:
    settles_on = max(one[2], other[2]) if one[2] and other[2] else None
    return min(one[0], other[0]), max(one[1], other[1]), settles_on


def _is_settled(known: Known, settles_on: date | None) -> bool:
    """Whether what a project has left was read to its end. Where nobody could read it then, the figure lacks it."""
    read_on = max((each.good_on for each in known.values() if each.good_on), default=date.min)
    return settles_on is not None and read_on >= settles_on - LAST_NIGHTS


def owners_of_odd(connection: Connection, known: Mapping[Fed, Known]) -> dict[tuple[int, Fed], frozenset[str]]:
    """The groups of which rows were set aside, by the project that owns them and what holds them."""
    found: dict[tuple[int, Fed], frozenset[str]] = {}
    for fed, months in known.items():
        odd = {group_key for each in months.values() for group_key in each.odd or ()}
        owners = owners_by_group(connection, fed.provider, fed.sub_account, odd) if odd else {}
        for group_key, of_group in owners.items():
            for project_id in of_group:
                found[project_id, fed] = found.get((project_id, fed), NO_GROUPS) | {group_key}
    return found


def lacks_today(
    connection: Connection,
    rows: Iterable[AnyRow],
    budgets_now: Mapping[int, Budget],
    today: date,
    lookback_days: int,
    which: ColumnElement[bool] = ALL,
) -> dict[int, Lacks]:
    """What the figures of the active projects among these rows of WITH_BUDGET lack in their present periods."""
    active = {
        row.id: (budgets_now[row.id].decided_by(period), bool(terms_of(row).opening_in(period)))
        for row in rows
        if row.active and (period := period_at(row, today))
    }
    return lacks_of(connection, active, today, lookback_days, which)


def write_months(connection: Connection, provider: str, known: Mapping[str, Mapping[date, Coverage]]) -> None:
    """Writes what is known of these months of sub-accounts now."""
    same: dict[tuple[date, ...], list[str]] = {}
    for account, months in known.items():
        same.setdefault(tuple(sorted(months)), []).append(account)
    for months_now, accounts in same.items():
        these = (coverage.c.provider == provider) & coverage.c.month.in_(months_now)
        for some in in_chunks(accounts):
            connection.execute(delete(coverage).where(these, coverage.c.sub_account_id.in_(some)))
    rows = [
        {"provider": provider, "sub_account_id": account} | asdict(months[month])
        for account, months in known.items()
        for month in sorted(months)
    ]
    insert_rows(connection, coverage, rows)


def _is_of(table: Table, provider: str, sub_account_id: str) -> list[ColumnElement[bool]]:
    return [table.c.provider == provider, table.c.sub_account_id == sub_account_id]
