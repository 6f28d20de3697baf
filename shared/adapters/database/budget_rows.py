"""Budgets as rows: the revision that counts, and the periods and sums of charges that go with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, bindparam, func, or_, select, true

from shared.adapters.database.chunks import among, select_among, select_in, update_in, update_rows
from shared.adapters.database.ledger import record
from shared.adapters.database.tables import alerts, budget_periods, budgets, charges, projects, scope_owners
from shared.domain.budgets import BudgetTerms, OpeningBalance
from shared.domain.periods import Period, PeriodRule, is_same_period
from shared.domain.projects import Project

ALL = true()
# A charge of exactly 0 says nothing of its currency.
COSTS = charges.c.billed_cost != Decimal(0)
# The revision of a project's budget that counts.
CURRENT_BUDGET = (budgets.c.project_id == projects.c.id) & (budgets.c.number == projects.c.budget_number)
BUDGET_RULE = (budgets.c.amount, budgets.c.period_kind, budgets.c.period_rule_start, budgets.c.period_rule_end)
# With a JSON column, which PostgreSQL can't compare: there is no DISTINCT over these.
OPENING = (budgets.c.opening_balance, budgets.c.opening_period_start)
BUDGET_TERMS = (*BUDGET_RULE, budgets.c.currency, budgets.c.rollover, budgets.c.thresholds, *OPENING)
# Projects, with the revisions that count.
WITH_BUDGET = select(projects, budgets.c.id.label("budget_id"), budgets.c.same_since, *BUDGET_TERMS)
WITH_BUDGET = WITH_BUDGET.join_from(projects, budgets, CURRENT_BUDGET, isouter=True)
_WITH_BUDGET_BY_ID = among(WITH_BUDGET.order_by(projects.c.id), projects.c.id)


def owned(scope_id: ColumnElement[int], day: ColumnElement[date]) -> ColumnElement[bool]:
    """What a scope cost on a day is a project's by an ownership. Each OR keeps the bound of an index to the days."""
    return (
        (scope_id == scope_owners.c.scope_id)
        & or_(scope_owners.c.owned_from.is_(None), day >= scope_owners.c.owned_from)
        & or_(scope_owners.c.owned_until.is_(None), day < scope_owners.c.owned_until)
    )


OWNED = owned(charges.c.scope_id, charges.c.charge_period_start)
# A project's charges in the period that its row holds.
CHARGES_IN_PERIOD = projects.join(scope_owners, scope_owners.c.project_id == projects.c.id).join(
    charges,
    OWNED
    & (charges.c.charge_period_start >= projects.c.period_start)
    & (charges.c.charge_period_start < projects.c.period_end),
)
# Those of them that are in its budget's currency.
BUDGETED_CHARGES = CHARGES_IN_PERIOD.join(budgets, CURRENT_BUDGET & (budgets.c.currency == charges.c.billing_currency))
# What the last check saw and expected of a period, once the project's row holds another.
FORGOTTEN = dict.fromkeys(("checked_usage", "checked_thresholds"))
FORECAST = ("forecast_total", "forecast_low", "forecast_high", "forecast_days")
# What the last check saw, for the row of the period in which that was.
LAST_SEEN = {
    name: select(projects.c[name]).where(projects.c.id == budget_periods.c.project_id).scalar_subquery()
    for name in FORGOTTEN
}
NO_FORECAST = dict.fromkeys((*FORECAST, "used_up_on"))

FETCHED = 1_000

# Thousands of budgets share a few.
_rule = lru_cache(maxsize=1_000)(PeriodRule)
_period_at = lru_cache(maxsize=1_000)(PeriodRule.period_at)

AnyRow = Row[*tuple[Any, ...]]
T = TypeVar("T")


def with_budget(connection: Connection, project_ids: Sequence[int]) -> list[AnyRow]:
    """The rows of these projects, by id, with the revisions that count; a new project has none yet."""
    return list(select_among(connection, _WITH_BUDGET_BY_ID, project_ids))


def project_in(row: AnyRow) -> Project:
    """The project in its row."""
    return record(Project, row)


def rule_of(row: AnyRow) -> PeriodRule:
    """The period rule in a row that holds BUDGET_RULE."""
    return _rule(row.period_kind, row.period_rule_start, row.period_rule_end)


def terms_of(row: AnyRow) -> BudgetTerms:
    """The terms in a row that holds BUDGET_TERMS."""
    opening = None if row.opening_balance is None else OpeningBalance(row.opening_balance, row.opening_period_start)
    return BudgetTerms(row.amount, row.currency, rule_of(row), row.rollover, row.thresholds, opening)


def budget_row(terms: BudgetTerms) -> dict[str, Any]:
    """The columns of a budgets row that say these terms."""
    rule = terms.rule
    opening = (terms.opening.amount, terms.opening.period_start) if terms.opening else (None, None)
    values = (terms.amount, rule.kind, rule.start, rule.end, terms.currency, terms.rollover, terms.thresholds, *opening)
    return dict(zip((column.name for column in BUDGET_TERMS), values, strict=True))


def period_in(row: AnyRow) -> Period | None:
    """The period that a projects row holds."""
    return None if row.period_start is None else Period(row.period_start, row.period_end)


def period_at(row: AnyRow, today: date) -> Period | None:
    """The period that holds `today`, by the terms in a row of WITH_BUDGET."""
    return _period_at(rule_of(row), today)


def write_turns(connection: Connection, turns: Mapping[int, tuple[Period | None, Period | None]]) -> None:
    """Writes the periods that projects' rows are to hold instead of others, in at most two statements.

    turns: the period before and the one to come, by project. What the last check saw in the one before stays with it.
    """
    kept: list[dict[str, Any]] = []
    rows: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for project_id, (held, period) in turns.items():
        if held != period:
            start, end = (period.start, period.end) if period else (None, None)
            rows[is_same_period(held, period)].append({"id": project_id, "period_start": start, "period_end": end})
            if held and not is_same_period(held, period):
                kept.append({"project_id": project_id, "period_start": held.start})
    update_rows(connection, budget_periods, kept, "project_id", "period_start", **LAST_SEEN)
    update_rows(connection, projects, rows[True], "id")
    update_rows(connection, projects, [row | FORGOTTEN | NO_FORECAST for row in rows[False]], "id")


def lock_projects(connection: Connection, project_ids: Sequence[int]) -> None:
    """Makes every check and revision of these projects wait until the transaction ends, on every database."""
    update_in(connection, projects, sorted(project_ids), checks=projects.c.checks)


def told_in(
    connection: Connection, starts: Mapping[int, date], which: ColumnElement[bool] = ALL
) -> dict[int, frozenset[int]]:
    """The thresholds that count as told, by project: for the revision that counts, in the period that begins so.

    which: only some of the alerts.
    """
    told: dict[int, frozenset[int]] = {}
    since = alerts.c.period_start >= min(starts.values(), default=date.max)
    found = select(projects.c.id, alerts.c.period_start, alerts.c.threshold).where(since, which)
    found = found.join(budgets, CURRENT_BUDGET).join(alerts, alerts.c.budget_id == budgets.c.id)
    for project_id, start, threshold in select_in(connection, found, projects.c.id, list(starts)):
        if starts[project_id] == start:
            told[project_id] = told.get(project_id, frozenset()) | {threshold}
    return told


def sums_in_periods(connection: Connection, project_ids: Sequence[int]) -> dict[int, dict[str, Decimal]]:
    """What these projects spent in the periods that their rows hold, by currency."""
    return sums_by(connection, project_ids, charges.c.billing_currency, CHARGES_IN_PERIOD, COSTS)


def last_days(connection: Connection, project_ids: Sequence[int]) -> dict[int, dict[str, date]]:
    """The last days with a charge of these projects in the periods that their rows hold, by currency."""
    by = (projects.c.id, charges.c.billing_currency)
    last = select(*by, func.max(charges.c.charge_period_start)).select_from(CHARGES_IN_PERIOD).group_by(*by)
    days: dict[int, dict[str, date]] = {}
    for project_id, currency, day in select_in(connection, last, projects.c.id, project_ids):
        days.setdefault(project_id, {})[currency] = day
    return days


def sums_by(
    connection: Connection,
    project_ids: Sequence[int],
    column: ColumnElement[T],
    source: FromClause = BUDGETED_CHARGES,
    which: ColumnElement[bool] = ALL,
) -> dict[int, dict[T, Decimal]]:
    """What these projects spent in the periods that their rows hold, by a column of the charges."""
    sums: dict[int, dict[T, Decimal]] = {}
    spent = select(projects.c.id, column, func.sum(charges.c.billed_cost)).select_from(source).where(which)
    # The days of a year of a thousand projects: fetched in parts, which is faster, too, than one by one.
    spent = spent.group_by(projects.c.id, column).execution_options(yield_per=FETCHED)
    for project_id, value, cost in select_in(connection, spent, projects.c.id, project_ids):
        sums.setdefault(project_id, {})[value] = cost
    return sums


def sums_within(
    connection: Connection, wanted: Iterable[tuple[int, Period]]
) -> dict[int, dict[tuple[Period, str], Decimal]]:
    """What projects spent in some periods, by currency: a statement for each period, which many of them share."""
    return _sums(connection, wanted)


def service_sums_within(
    connection: Connection, wanted: Iterable[tuple[int, Period]]
) -> dict[int, dict[tuple[Period, str, str], Decimal]]:
    """The same by currency and service."""
    return _sums(connection, wanted, charges.c.service_name)


def _sums(connection: Connection, wanted: Iterable[tuple[int, Period]], *by: ColumnElement[str]) -> dict[int, Any]:
    project_ids: dict[Period, list[int]] = {}
    for project_id, span in wanted:
        project_ids.setdefault(span, []).append(project_id)
    sums: dict[int, Any] = {}
    for span, ids in project_ids.items():
        for project_id, *values, cost in select_among(connection, _spent(*by), ids, start=span.start, end=span.end):
            sums.setdefault(project_id, {})[(span, *values)] = cost
    return sums


@cache
def _spent(*by: ColumnElement[str]) -> Select[*tuple[Any, ...]]:
    key = (scope_owners.c.project_id, charges.c.billing_currency, *by)
    spent = select(*key, func.sum(charges.c.billed_cost)).join_from(scope_owners, charges, OWNED).group_by(*key)
    day = charges.c.charge_period_start
    return among(spent.where(day >= bindparam("start"), day < bindparam("end"), COSTS), scope_owners.c.project_id)
