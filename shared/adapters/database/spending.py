"""Where the money went: sums of the stored charges."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, select
from typing_extensions import override

from shared.adapters.database.allocated import DAY_AND_CURRENCY, shares_together
from shared.adapters.database.budget_rows import COSTS, FETCHED, OWNED, AnyRow, owned
from shared.adapters.database.chunks import AMONG, among, in_chunks, select_among, select_in
from shared.adapters.database.coverage import FED, OF_FED_GROUP, known_of, lacking, owners_of_odd
from shared.adapters.database.ledger import Ledger, reads
from shared.adapters.database.tables import (
    accounts,
    charge_meters,
    charges,
    export_feeds,
    projects,
    scope_owners,
    scopes,
)
from shared.domain.coverage import DAY, Gap
from shared.domain.exports.feeding import Fed, place
from shared.domain.money import add
from shared.domain.periods import Period
from shared.domain.projects import sub_account_key
from shared.ports.spending import By, Estimated, Selection, SpendingLedger, Spent

# A day stands for its month too: no SQL for that is understood by every database.
COLUMNS: dict[By, tuple[ColumnElement[Any], ...]] = {
    By.SERVICE: (charges.c.service_name,),
    By.METER: (charges.c.service_name, charge_meters.c.sku_meter),
    By.DAY: (charges.c.charge_period_start,),
    By.MONTH: (charges.c.charge_period_start,),
    By.SUB_ACCOUNT: (scopes.c.provider, scopes.c.sub_account_id),
    By.RESOURCE_GROUP: (scopes.c.provider, scopes.c.sub_account_id, scopes.c.x_resource_group_name),
    By.PROJECT: (projects.c.acronym,),
    By.OWNER: (projects.c.owner,),
    By.DEPARTMENT: (projects.c.department,),
    By.COST_CENTRE: (projects.c.cost_centre,),
}
# A project has few sub-accounts: of each day it has a few sums by all of these, and no more.
AT_ONCE = (By.DAY, By.MONTH, By.SUB_ACCOUNT)
OWNED_DAYS = (scope_owners.c.owned_from, scope_owners.c.owned_until)
LENGTH_OF_A_MONTH = len("2026-11")

WITH_OWNER = (
    scopes.join(charges, charges.c.scope_id == scopes.c.id)
    .outerjoin(scope_owners, OWNED)
    .outerjoin(projects, projects.c.id == scope_owners.c.project_id)
)
DAYS = (
    (charges.c.charge_period_start >= bindparam("start")) & (charges.c.charge_period_start < bindparam("end")) & COSTS
)
# What some projects were charged, together.
CHARGED = among(
    select(*DAY_AND_CURRENCY, func.sum(charges.c.billed_cost))
    .join_from(scope_owners, charges, OWNED)
    .where(DAYS)
    .group_by(*DAY_AND_CURRENCY),
    scope_owners.c.project_id,
)
# The same for SQLite, which sorts what does not lie as it is grouped: a scope's charges of a day do, and are of one
# currency but where its bill has changed to another (two are named then). Servers group CHARGED in less time.
_these = select(scope_owners.c.scope_id).where(scope_owners.c.project_id.in_(bindparam(AMONG, expanding=True)))
_currency = charges.c.billing_currency
_of_day = (
    select(charges.c.scope_id, charges.c.charge_period_start.label("day"))
    .add_columns(func.min(_currency).label("one"), func.max(_currency).label("other"))
    .add_columns(func.sum(charges.c.billed_cost).label("cost"))
    .where(charges.c.scope_id.in_(_these), DAYS)
    .group_by(charges.c.scope_id, charges.c.charge_period_start)
    .subquery()
)
CHARGED_BY_SCOPE = among(
    select(_of_day.c.day, _of_day.c.one, _of_day.c.other, func.sum(_of_day.c.cost))
    .join_from(_of_day, scope_owners, owned(_of_day.c.scope_id, _of_day.c.day))
    .group_by(_of_day.c.day, _of_day.c.one, _of_day.c.other),
    scope_owners.c.project_id,
)
# Joins a charge with what its meters say.
IN_CHARGE = and_(*(charge_meters.c[column.name] == column for column in charges.primary_key))


@dataclass(frozen=True)
class SqlSpending(Ledger, SpendingLedger):
    """SpendingLedger on a SQL database. lookback_days: how far back a night reads again."""

    lookback_days: int

    @override
    @reads
    def sums(self, connection: Connection, which: Selection, by: By) -> list[Spent]:
        return _by(connection, which, by)

    @override
    @reads
    def breakdown(self, connection: Connection, which: Selection, bys: Collection[By]) -> dict[By, list[Spent]]:
        at_once = [by for by in bys if by in AT_ONCE] if which.project_ids is not None else []
        found = {by: _by(connection, which, by) for by in bys if by not in at_once}
        return found | _by_each(connection, which, at_once)

    @override
    @reads
    def used_by_day(
        self, connection: Connection, spans: Iterable[tuple[int, Period]]
    ) -> list[tuple[date, str, Decimal]]:
        ids: dict[Period, list[int]] = {}
        for project_id, period in (wanted := list(spans)):
            ids.setdefault(period, []).append(project_id)
        used = shares_together(connection, wanted)
        for period, its in ids.items():
            for day, currency, cost in _charged(connection, its, period):
                used[day, currency] = add(used.get((day, currency), Decimal(0)), cost)
        return [(*key, cost) for key, cost in used.items()]

    @override
    @reads
    def lacking(self, connection: Connection, which: Selection, today: date) -> list[Gap]:
        asked = dict(_asked(connection, which))
        known = known_of(connection, asked)
        owners = owners_of_odd(connection, known)
        found = list[Gap]()
        for fed in sorted(asked, key=place):
            months = known[fed]
            odd = {group_key for each in months.values() for group_key in each.odd or ()}
            owned = {each: groups for (each, owned), groups in owners.items() if owned == fed}
            if which.project_ids is not None:
                odd = {group for each in which.project_ids for group in owned.get(each, ())}
            elif which.unallocated:
                odd = odd.difference(*owned.values())
            of_them = {month: each.of_groups(odd) for month, each in months.items()}
            found += lacking(fed, of_them, asked[fed], today, self.lookback_days)
        return found

    @override
    @reads
    def estimated(self, connection: Connection, which: Selection) -> list[Estimated]:
        asked = dict(_asked(connection, which))
        found = list[Estimated]()
        for fed, months in sorted(known_of(connection, asked).items(), key=lambda each: place(each[0])):
            days = [max(each.estimated_from, asked[fed].start) for each in months.values() if each.estimated_from]
            if since := min((day for day in days if day < asked[fed].end), default=None):
                found.append(Estimated(fed.name, since))
        return found

    @override
    @reads
    def sub_account_names(self, connection: Connection) -> dict[tuple[str, str], str]:
        called = select(accounts.c.provider, accounts.c.sub_account_id, accounts.c.name)
        rows = connection.execute(called.where(accounts.c.name.is_not(None)))
        return {(row.provider, row.sub_account_id): row.name for row in rows}

    @override
    @reads
    def stored_sub_accounts(self, connection: Connection, written: str) -> list[tuple[str, str]]:
        spelled = select(scopes.c.provider, scopes.c.sub_account_id).distinct()
        rows = connection.execute(spelled.where(scopes.c.sub_account_id.in_({written, written.lower()})))
        return sorted((row[0], row[1]) for row in rows if row[1] == sub_account_key(row[0], written))


def _charged(connection: Connection, ids: Sequence[int], days: Period) -> Iterator[tuple[date, str, Decimal]]:
    """What these projects were charged together, by day and currency; each may come several times."""
    between = {"start": days.start, "end": days.end}
    if connection.dialect.name != "sqlite":
        yield from ((row[0], row[1], row[2]) for row in select_among(connection, CHARGED, ids, **between))
        return
    sums = list(select_among(connection, CHARGED_BY_SCOPE, ids, **between))
    mixed = {day for day, one, other, _ in sums if one != other}
    yield from ((day, currency, cost) for day, currency, _, cost in sums if day not in mixed)
    if mixed:
        between = {"start": min(mixed), "end": max(mixed) + DAY}
        again = select_among(connection, CHARGED, ids, **between)
        yield from ((day, currency, cost) for day, currency, cost in again if day in mixed)


def _by(connection: Connection, which: Selection, by: By) -> list[Spent]:
    if by is By.METER:
        return _by_meter(connection, which)
    sums = _sums(connection, which, by, _summed(*COLUMNS[by]))
    return [Spent(*this, cost) for this, cost in sums.items()]


def _by_each(connection: Connection, which: Selection, bys: Sequence[By]) -> dict[By, list[Spent]]:
    """By each of these, of one sum by all of them."""
    columns = list(dict.fromkeys(column for by in bys for column in COLUMNS[by]))
    places = {by: [columns.index(column) for column in COLUMNS[by]] for by in bys}
    sums: dict[By, dict[tuple[tuple[str, ...], str], Decimal]] = {by: {} for by in bys}
    for *parts, currency, cost in _rows(connection, which, _summed(*columns)) if bys else ():
        for by, of_by in sums.items():
            this = tuple(_text(parts[place], by) for place in places[by]), currency
            of_by[this] = add(of_by.get(this, Decimal(0)), cost)
    return {by: [Spent(*this, cost) for this, cost in of_by.items()] for by, of_by in sums.items()}


def _summed(*columns: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    key = (*columns, charges.c.billing_currency)
    return select(*key, func.sum(charges.c.billed_cost)).select_from(WITH_OWNER).group_by(*key)


def _by_meter(connection: Connection, which: Selection) -> list[Spent]:
    """By service and meter; under an empty one what no meter says, so that all of it is what charges come to."""
    metered = WITH_OWNER.join(charge_meters, IN_CHARGE)
    key = (*COLUMNS[By.METER], charges.c.billing_currency)
    summed = select(*key, func.sum(charge_meters.c.billed_cost)).select_from(metered).group_by(*key)
    sums = _sums(connection, which, By.METER, summed)
    left = _sums(connection, which, By.SERVICE, _summed(*COLUMNS[By.SERVICE]))
    for ((service, _), currency), cost in sums.items():
        left[(service,), currency] -= cost
    for (of, currency), cost in left.items():
        if cost:
            sums[(*of, ""), currency] = sums.get(((*of, ""), currency), Decimal(0)) + cost
    return [Spent(*this, cost) for this, cost in sums.items()]


def _sums(
    connection: Connection, which: Selection, by: By, summed: Select[*tuple[Any, ...]]
) -> dict[tuple[tuple[str, ...], str], Decimal]:
    sums: dict[tuple[tuple[str, ...], str], Decimal] = {}
    for *parts, currency, cost in _rows(connection, which, summed):
        this = tuple(_text(part, by) for part in parts), currency
        sums[this] = sums.get(this, Decimal(0)) + cost
    return sums


def _rows(connection: Connection, which: Selection, summed: Select[*tuple[Any, ...]]) -> Iterator[AnyRow]:
    for some in _in_chunks(which):
        yield from connection.execute(summed.where(*_selected(some)), execution_options={"yield_per": FETCHED})


def _in_chunks(which: Selection) -> Iterator[Selection]:
    if which.project_ids is None:
        yield which
    else:
        yield from (replace(which, project_ids=some) for some in in_chunks(which.project_ids))


def _selected(which: Selection) -> Iterator[ColumnElement[bool]]:
    day = charges.c.charge_period_start
    yield COSTS & (day >= which.days.start) & (day < which.days.end)
    if which.project_ids is not None:
        yield scope_owners.c.project_id.in_(which.project_ids)
    if which.unallocated:
        yield scope_owners.c.id.is_(None)
    yield from of_sub_account(which)


def of_sub_account(which: Selection) -> Iterator[ColumnElement[bool]]:
    """What selects the scopes of the sub-account that is asked for, if one is."""
    if which.sub_account_id is not None:
        yield scopes.c.sub_account_id == which.sub_account_id
    if which.provider is not None:
        yield scopes.c.provider == which.provider


def _asked(connection: Connection, which: Selection) -> Iterator[tuple[Fed, Period]]:
    """What has such charges, and the days that count: of projects', those on which they had groups."""
    fed = scopes.outerjoin(export_feeds, OF_FED_GROUP)
    if which.project_ids is not None:
        owned = fed.join(scope_owners, scope_owners.c.scope_id == scopes.c.id)
        yield from _asked_for(connection, which, select(*FED, *OWNED_DAYS).select_from(owned))
        return
    every = select(*FED).select_from(fed).distinct()
    for row in connection.execute(every.where(*of_sub_account(which))):
        yield Fed(*row), which.days


def _asked_for(
    connection: Connection, which: Selection, owned: Select[str, str, str | None, date | None, date | None]
) -> Iterator[tuple[Fed, Period]]:
    rows = select_in(connection, owned, scope_owners.c.project_id, which.project_ids or ())
    spans: dict[Fed, list[tuple[date, date]]] = {}
    for provider, sub_account_id, group_key, owned_from, owned_until in rows:
        span = max(owned_from or date.min, which.days.start), min(owned_until or date.max, which.days.end)
        is_its = which.sub_account_id in (None, sub_account_id) and which.provider in (None, provider)
        if span[0] < span[1] and is_its:
            spans.setdefault(Fed(provider, sub_account_id, group_key), []).append(span)
    for fed, days in spans.items():
        yield fed, Period(min(start for start, _ in days), max(end for _, end in days))


def _text(part: Any, by: By) -> str:
    if isinstance(part, date):
        return part.isoformat()[: LENGTH_OF_A_MONTH if by is By.MONTH else None]
    return part or ""
