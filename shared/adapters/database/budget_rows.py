"""Budgets as rows: the revision that counts, and the periods and sums of charges that go with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import budgets, charges, projects, scopes
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.periods import Period, PeriodKind, PeriodRule

# The revision of a project's budget that counts.
CURRENT_BUDGET = (budgets.c.project_id == projects.c.id) & (budgets.c.number == projects.c.budget_number)
BUDGET_RULE = (budgets.c.amount, budgets.c.period_kind, budgets.c.period_rule_start, budgets.c.period_rule_end)
# With a JSON column, which PostgreSQL can't compare: there is no DISTINCT over these.
BUDGET_TERMS = (*BUDGET_RULE, budgets.c.currency, budgets.c.rollover, budgets.c.thresholds)
# A project's charges in the period that its row holds.
CHARGES_IN_PERIOD = projects.join(scopes, scopes.c.project_id == projects.c.id).join(
    charges,
    (charges.c.scope_id == scopes.c.id)
    & (charges.c.charge_period_start >= projects.c.period_start)
    & (charges.c.charge_period_start < projects.c.period_end),
)

# alerts.outcome of a threshold whose people get a mail.
MAILED = "mailed"

AnyRow = Row[*tuple[Any, ...]]
Sums = dict[int, dict[str, Decimal]]
"""What was spent, by project id and currency"""


def rule_of(row: AnyRow) -> PeriodRule:
    """The period rule in a row that holds BUDGET_RULE."""
    return PeriodRule(PeriodKind(row.period_kind), row.period_rule_start, row.period_rule_end)


def terms_of(row: AnyRow) -> BudgetTerms:
    """The terms in a row that holds BUDGET_TERMS."""
    thresholds = None if row.thresholds is None else tuple(row.thresholds)
    return BudgetTerms(row.amount, row.currency, rule_of(row), Rollover(row.rollover), thresholds)


def budget_row(terms: BudgetTerms) -> dict[str, Any]:
    """The columns of a budgets row that say these terms."""
    return {
        "amount": terms.amount,
        "currency": terms.currency,
        "period_kind": terms.rule.kind.value,
        "period_rule_start": terms.rule.start,
        "period_rule_end": terms.rule.end,
        "rollover": terms.rollover.value,
        "thresholds": None if terms.thresholds is None else list(terms.thresholds),
    }


def period_in(row: AnyRow) -> Period | None:
    """The period that a projects row holds."""
    return None if row.period_start is None else Period(row.period_start, row.period_end)


@dataclass(frozen=True, slots=True)
class Turn:
    """A project whose row is to hold this period; with `afresh`, what its last check saw was in another one."""

    project_id: int
    period: Period | None
    afresh: bool


def turn_to(project_id: int, stored: Period | None, period: Period | None) -> Turn | None:
    """What has to be written so that the project's row holds `period`; None if it does."""
    if stored == period:
        return None
    # A fixed period whose end is moved is the same period: its alerts are kept by its start.
    same = stored is not None and period is not None and stored.start == period.start
    return Turn(project_id, period, afresh=not same)


def write_turns(connection: Connection, turns: Iterable[Turn]) -> None:
    """Writes new periods, in at most two statements."""
    turned = projects.update().where(projects.c.id == bindparam("project"))
    turned = turned.values(period_start=bindparam("start"), period_end=bindparam("end"))
    rows: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for turn in turns:
        start, end = (turn.period.start, turn.period.end) if turn.period else (None, None)
        rows[turn.afresh].append({"project": turn.project_id, "start": start, "end": end})
    if rows[False]:
        connection.execute(turned, rows[False])
    if rows[True]:
        connection.execute(turned.values(checked_usage=None, checked_thresholds=None), rows[True])


def lock_projects(connection: Connection, project_ids: Sequence[int]) -> None:
    """Makes every check and revision of these projects wait until the transaction ends, on every database."""
    for ids in in_chunks(sorted(project_ids)):
        connection.execute(projects.update().where(projects.c.id.in_(ids)).values(checks=projects.c.checks))


def sums_in_periods(connection: Connection, project_ids: Sequence[int]) -> Sums:
    """What these projects spent in the periods that their rows hold."""
    sums: Sums = {}
    total = func.sum(charges.c.billed_cost)
    for ids in in_chunks(project_ids):
        rows = connection.execute(
            select(projects.c.id, charges.c.billing_currency, total)
            .select_from(CHARGES_IN_PERIOD)
            .where(projects.c.id.in_(ids))
            .group_by(projects.c.id, charges.c.billing_currency)
        )
        for project_id, currency, cost in rows:
            sums.setdefault(project_id, {})[currency] = cost
    return sums


def sums_within(connection: Connection, wanted: Iterable[tuple[int, Period]]) -> dict[tuple[int, Period, str], Decimal]:
    """What projects spent in some periods, by currency: a statement for each period, which many of them share."""
    project_ids: dict[Period, list[int]] = {}
    for project_id, span in wanted:
        project_ids.setdefault(span, []).append(project_id)
    spent = (
        select(scopes.c.project_id, charges.c.billing_currency, func.sum(charges.c.billed_cost))
        .join_from(scopes, charges, charges.c.scope_id == scopes.c.id)
        .group_by(scopes.c.project_id, charges.c.billing_currency)
    )
    day = charges.c.charge_period_start
    return {
        (project_id, span, currency): cost
        for span, all_ids in project_ids.items()
        for ids in in_chunks(all_ids)
        for project_id, currency, cost in connection.execute(
            spent.where(scopes.c.project_id.in_(ids), day >= span.start, day < span.end)
        )
    }


def days_in_periods(connection: Connection, project_ids: Sequence[int]) -> list[AnyRow]:
    """What these projects spent on each day of the periods that their rows hold: rows as `sums_by_day` has them."""
    total = func.sum(charges.c.billed_cost).label("cost")
    key = (projects.c.id.label("project_id"), charges.c.billing_currency, charges.c.charge_period_start)
    return [
        row
        for ids in in_chunks(project_ids)
        for row in connection.execute(
            select(*key, total)
            .select_from(CHARGES_IN_PERIOD)
            .where(projects.c.id.in_(ids))
            .group_by(projects.c.id, *key[1:])
        )
    ]


def sums_by_day(connection: Connection, project_ids: Sequence[int], since: date) -> list[AnyRow]:
    """What these projects spent on each day since `since`: rows of project id, currency, day, cost."""
    total = func.sum(charges.c.billed_cost).label("cost")
    key = (scopes.c.project_id, charges.c.billing_currency, charges.c.charge_period_start)
    return [
        row
        for ids in in_chunks(project_ids)
        for row in connection.execute(
            select(*key, total)
            .select_from(scopes.join(charges, charges.c.scope_id == scopes.c.id))
            .where(scopes.c.project_id.in_(ids), charges.c.charge_period_start >= since)
            .group_by(*key)
        )
    ]
