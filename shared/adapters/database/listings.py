"""Listings of projects, and of their periods: a few statements, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Connection, func, select

from shared.adapters.database.budget_periods import (
    budget_in,
    histories,
    opened_periods,
    present_periods,
)
from shared.adapters.database.budget_rows import (
    BUDGET_TERMS,
    CURRENT_BUDGET,
    AnyRow,
    days_in_periods,
    period_in,
    project_in,
    sums_by_day,
    sums_in_periods,
    sums_within,
    terms_of,
)
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import (
    alerts,
    budget_periods,
    budgets,
    charges,
    locks,
    projects,
    scopes,
)
from shared.domain.budget_periods import OpenedPeriod
from shared.domain.periods import Period
from shared.domain.projects import ProjectEntry, Scope
from shared.domain.thresholds import AlertOutcome
from shared.ports.projects import PeriodView, ProjectView


@dataclass(frozen=True, slots=True)
class _Beside:
    """What is listed of a project and stands in other tables than its own row."""

    opened: OpenedPeriod | None
    scopes: Sequence[Scope]
    mailed: Sequence[int]
    locked_since: datetime | None


def list_projects(connection: Connection, today: date, subscription_id: str | None = None) -> list[ProjectView]:
    """The projects by id (only those with groups in a subscription), each with its usage in its period."""
    listed = (
        select(projects, budgets.c.id.label("budget_id"), locks.c.held_since, *BUDGET_TERMS)
        .select_from(projects.join(budgets, CURRENT_BUDGET).outerjoin(locks, locks.c.project_id == projects.c.id))
        .order_by(projects.c.id)
    )
    if subscription_id is not None:
        here = select(scopes.c.project_id).where(scopes.c.sub_account_id == subscription_id.lower())
        listed = listed.where(projects.c.id.in_(here.where(scopes.c.project_id.is_not(None))))
    rows = connection.execute(listed).all()
    periods = {row.id: terms_of(row).rule.period_at(today) for row in rows}
    spent = _spent(connection, rows, periods)
    opened = present_periods(connection, rows, today)
    owned = _scopes(connection)
    mailed = _mailed(connection, periods)
    views = []
    for row in rows:
        beside = _Beside(opened.get(row.id), owned.get(row.id, ()), mailed.get(row.id, ()), row.held_since)
        views.append(_view(row, periods[row.id], spent.get(row.id, Decimal(0)), beside))
    return views


def list_entries(connection: Connection) -> list[ProjectEntry]:
    """All projects by id, as they were written."""
    owned = _scopes(connection)
    listed = select(projects, *BUDGET_TERMS).select_from(projects.join(budgets, CURRENT_BUDGET)).order_by(projects.c.id)
    rows = connection.execute(listed)
    return [ProjectEntry(project_in(row), tuple(owned.get(row.id, ())), terms_of(row)) for row in rows]


def _view(row: AnyRow, period: Period | None, spent: Decimal, beside: _Beside) -> ProjectView:
    terms = terms_of(row)
    return ProjectView(
        project=project_in(row),
        scopes=tuple(beside.scopes),
        budget=budget_in(row, beside.opened) if terms.amount else None,
        period=period,
        spent=spent,
        updated_at=row.costs_read_at,
        problem=row.problem,
        alerts=tuple(beside.mailed),
        terms=terms,
        locked_since=beside.locked_since,
    )


def _spent(connection: Connection, rows: Sequence[AnyRow], periods: Mapping[int, Period | None]) -> dict[int, Decimal]:
    """What each project spent in its period, in its budget's currency."""
    held, others = _held_and_others(rows, periods)
    sums = sums_in_periods(connection, held)
    for project_id, spent in sums_within(connection, others.items()).items():
        sums[project_id] = {currency: cost for (_, currency), cost in spent.items()}
    return {row.id: sums[row.id].get(row.currency, Decimal(0)) for row in rows if row.id in sums}


def _held_and_others(
    rows: Sequence[AnyRow], periods: Mapping[int, Period | None]
) -> tuple[list[int], dict[int, Period]]:
    """The projects whose rows hold their periods, and the periods of the others: their first check is to come."""
    held = {row.id for row in rows if period_in(row) == periods[row.id]}
    return sorted(held), {each: period for each, period in periods.items() if period and each not in held}


def list_days(connection: Connection, project_ids: Sequence[int], today: date) -> dict[int, dict[date, Decimal]]:
    """What projects spent on each day of the period that holds `today`, in their budgets' currencies."""
    source = select(projects, *BUDGET_TERMS).join_from(projects, budgets, CURRENT_BUDGET)
    rows = [row for ids in in_chunks(project_ids) for row in connection.execute(source.where(projects.c.id.in_(ids)))]
    periods = {row.id: terms_of(row).rule.period_at(today) for row in rows}
    held, others = _held_and_others(rows, periods)
    found = days_in_periods(connection, held)
    if others:
        found += sums_by_day(connection, sorted(others), min(period.start for period in others.values()))
    currencies = {row.id: row.currency for row in rows}
    spent: dict[int, dict[date, Decimal]] = {}
    for row in found:
        period = periods[row.project_id]
        if period and row.charge_period_start in period and row.billing_currency == currencies[row.project_id]:
            spent.setdefault(row.project_id, {})[row.charge_period_start] = row.cost
    return spent


def _scopes(connection: Connection) -> dict[int, list[Scope]]:
    owned: dict[int, list[Scope]] = {}
    rows = connection.execute(
        select(scopes.c.project_id, scopes.c.provider, scopes.c.sub_account_id, scopes.c.x_resource_group_name)
        .where(scopes.c.project_id.is_not(None))
        .order_by(scopes.c.provider, scopes.c.sub_account_id, scopes.c.group_key)
    )
    for project_id, *scope in rows:
        owned.setdefault(project_id, []).append(Scope(*scope))
    return owned


def _mailed(connection: Connection, periods: Mapping[int, Period | None]) -> dict[int, list[int]]:
    """The thresholds that were mailed for the revision and the period that count, by project."""
    mailed: dict[int, list[int]] = {}
    source = projects.join(budgets, CURRENT_BUDGET).join(alerts, alerts.c.budget_id == budgets.c.id)
    rows = connection.execute(
        select(projects.c.id, alerts.c.period_start, alerts.c.threshold)
        .select_from(source)
        .where(alerts.c.outcome == AlertOutcome.MAILED)
        .order_by(alerts.c.threshold)
    )
    for project_id, start, threshold in rows:
        period = periods.get(project_id)
        if period is not None and period.start == start:
            mailed.setdefault(project_id, []).append(threshold)
    return mailed


def list_periods(connection: Connection, project_id: int) -> list[PeriodView]:
    """The periods of a project's budget so far, oldest first, each in the currency that counted at its end."""
    opened = opened_periods(connection, [project_id])
    if not opened[project_id]:
        return []
    known = histories(connection, opened)
    spent = _sums_in(connection, project_id)
    views = []
    for start, each in opened[project_id].items():
        terms = known[project_id].terms_before(each.period.end)
        currency = terms.currency if terms else each.currency
        cost = spent.get((start, currency), Decimal(0))
        views.append(PeriodView(each.period, currency, each.carried_in(currency), each.stopped, each.settled, cost))
    return views


def _sums_in(connection: Connection, project_id: int) -> dict[tuple[date, str], Decimal]:
    """What a project spent in each of its opened periods, by first day and currency."""
    key = (budget_periods.c.period_start, charges.c.billing_currency)
    within = (charges.c.charge_period_start >= budget_periods.c.period_start) & (
        charges.c.charge_period_start < budget_periods.c.period_end
    )
    rows = connection.execute(
        select(*key, func.sum(charges.c.billed_cost))
        .join_from(budget_periods, scopes, scopes.c.project_id == budget_periods.c.project_id)
        .join(charges, (charges.c.scope_id == scopes.c.id) & within)
        .where(budget_periods.c.project_id == project_id)
        .group_by(*key)
    )
    return {(start, currency): cost for start, currency, cost in rows}
