"""What is listed of projects: a few statements, however many there are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, func, select, true

from shared.adapters.database.budget_periods import histories, opened_periods, present_budgets
from shared.adapters.database.budget_rows import (
    CURRENT_BUDGET,
    WITH_BUDGET,
    AnyRow,
    period_in,
    project_in,
    sums_within,
    terms_of,
)
from shared.adapters.database.tables import alerts, budget_periods, budgets, charges, locks, projects, scopes
from shared.domain.forecast import Forecast
from shared.domain.periods import Period
from shared.domain.projects import ProjectEntry, Scope
from shared.domain.thresholds import AlertOutcome
from shared.ports.projects import PeriodView, ProjectView

# In the period that its row holds, in its budget's currency. Of each project by itself: grouped, it would be read by
# way of the charges, in four times the time.
SPENT = (
    select(func.sum(charges.c.billed_cost))
    .join_from(scopes, charges, charges.c.scope_id == scopes.c.id)
    .where(
        scopes.c.project_id == projects.c.id,
        charges.c.billing_currency == budgets.c.currency,
        charges.c.charge_period_start >= projects.c.period_start,
        charges.c.charge_period_start < projects.c.period_end,
    )
    .correlate(projects, budgets)
    .scalar_subquery()
)
LISTED = (
    WITH_BUDGET.add_columns(locks.c.held_since, SPENT.label("spent"))
    .outerjoin(locks, locks.c.project_id == projects.c.id)
    .order_by(projects.c.id)
)


def views_of(connection: Connection, today: date, which: ColumnElement[bool] | None = None) -> list[ProjectView]:
    """The projects by id, or some of them, each with its usage in the period that holds `today`."""
    chosen = true() if which is None else which
    rows = connection.execute(LISTED.where(chosen)).all()
    terms = {row.id: terms_of(row) for row in rows}
    periods = {each: of_it.rule.period_at(today) for each, of_it in terms.items()}
    held = {row.id for row in rows if period_in(row) == periods[row.id]}
    # Where a row holds another period, its check is to come.
    others = sums_within(connection, [(each, at) for each, at in periods.items() if at and each not in held])
    budgets_now = present_budgets(connection, rows, today)
    owned = _scopes(connection, chosen)
    mailed = _mailed(connection, periods, chosen)
    views = []
    for row in rows:
        here, period = row.id in held, periods[row.id]
        as_checked = here and row.active and row.costs_read_at is not None
        elsewhere = others.get(row.id, {}).get((period, row.currency)) if period else None
        spent = row.spent if here else elsewhere
        view = ProjectView(
            project=project_in(row),
            scopes=tuple(owned.get(row.id, ())),
            terms=terms[row.id],
            budget=budgets_now[row.id] if row.amount else None,
            period=period,
            spent=spent or Decimal(0),
            updated_at=row.costs_read_at,
            problem=row.problem,
            alerts=tuple(mailed.get(row.id, ())),
            locked_since=row.held_since,
            forecast=_forecast(row) if as_checked else None,
            used_up_on=row.used_up_on if as_checked else None,
        )
        views.append(view)
    return views


def stored_entries(connection: Connection) -> list[ProjectEntry]:
    """All projects by id, as they were written."""
    owned = _scopes(connection, true())
    rows = connection.execute(WITH_BUDGET.order_by(projects.c.id))
    return [ProjectEntry(project_in(row), tuple(owned.get(row.id, ())), terms_of(row)) for row in rows]


def periods_of(connection: Connection, project_id: int) -> list[PeriodView]:
    """The periods of a project's budget so far, oldest first, each in the currency that counted at its end."""
    opened = opened_periods(connection, [project_id])
    history = histories(connection, opened)[project_id]
    spent = _spent_in_opened(connection, project_id)
    views = []
    for start, each in opened[project_id].items():
        terms = history.terms_before(each.period.end)
        currency = terms.currency if terms else each.currency
        cost = spent.get((start, currency), Decimal(0))
        views.append(PeriodView(each.period, currency, each.carried_in(currency), each.stopped, each.settled, cost))
    return views


def _forecast(row: AnyRow) -> Forecast | None:
    if row.forecast_total is None:
        return None
    return Forecast(row.forecast_total, row.forecast_low, row.forecast_high, row.forecast_days)


def _scopes(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[Scope]]:
    owned: dict[int, list[Scope]] = {}
    rows = connection.execute(
        select(scopes.c.project_id, scopes.c.provider, scopes.c.sub_account_id, scopes.c.x_resource_group_name)
        .join(projects, projects.c.id == scopes.c.project_id)
        .where(which)
        .order_by(scopes.c.provider, scopes.c.sub_account_id, scopes.c.group_key)
    )
    for project_id, *scope in rows:
        owned.setdefault(project_id, []).append(Scope(*scope))
    return owned


def _mailed(
    connection: Connection, periods: Mapping[int, Period | None], which: ColumnElement[bool]
) -> dict[int, list[int]]:
    """The thresholds that were mailed for the revision and the period that count, by project."""
    mailed: dict[int, list[int]] = {}
    rows = connection.execute(
        select(projects.c.id, alerts.c.period_start, alerts.c.threshold)
        .select_from(projects.join(budgets, CURRENT_BUDGET).join(alerts, alerts.c.budget_id == budgets.c.id))
        .where(alerts.c.outcome == AlertOutcome.MAILED, which)
        .order_by(alerts.c.threshold)
    )
    for project_id, start, threshold in rows:
        period = periods.get(project_id)
        if period is not None and period.start == start:
            mailed.setdefault(project_id, []).append(threshold)
    return mailed


def _spent_in_opened(connection: Connection, project_id: int) -> dict[tuple[date, str], Decimal]:
    """What a project spent in each of its opened periods, by first day and currency."""
    opened, day = budget_periods.c, charges.c.charge_period_start
    key = (opened.period_start, charges.c.billing_currency)
    rows = connection.execute(
        select(*key, func.sum(charges.c.billed_cost))
        .join_from(budget_periods, scopes, scopes.c.project_id == opened.project_id)
        .join(charges, (charges.c.scope_id == scopes.c.id) & (day >= opened.period_start) & (day < opened.period_end))
        .where(opened.project_id == project_id)
        .group_by(*key)
    )
    return {(start, currency): cost for start, currency, cost in rows}
