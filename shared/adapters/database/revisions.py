"""New revisions of budgets, and what stays told under them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, func

from shared.adapters.database.budget_periods import (
    budget_in,
    follow_charges,
    histories,
    opened_periods,
    settle,
    write_periods,
)
from shared.adapters.database.budget_rows import (
    NO_FORECAST,
    period_in,
    sums_in_periods,
    terms_of,
    told_in,
    with_budget,
    write_turns,
)
from shared.adapters.database.tables import alerts, budgets, projects
from shared.adapters.database.texts import fitting
from shared.adapters.database.types import UtcDateTime
from shared.domain.budget_periods import BudgetHistory, Opened
from shared.domain.budgets import BudgetTerms
from shared.domain.rollover import periods_begun
from shared.domain.thresholds import AlertOutcome, still_told

LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a revision, when and why."""

    name: str
    at: datetime
    reason: str


def begin_budgets(connection: Connection, terms: Mapping[int, BudgetTerms], author: Author) -> None:
    """The first revisions of new projects' budgets, whose present periods are opened."""
    today = author.at.astimezone(UTC).date()
    _insert(connection, dict.fromkeys(terms, 1), terms, author)
    known = {
        project_id: BudgetHistory([(author.at, each)]).begin(periods_begun(each.rule, None, today))
        for project_id, each in terms.items()
    }
    write_periods(connection, {}, known, author.at)


def revise(
    connection: Connection, terms: Mapping[int, BudgetTerms], author: Author, lookback_days: int
) -> dict[int, int]:
    """Makes these the terms that count, of projects that are locked. Returns the revisions' numbers, of known projects.

    What was told in the period that holds today stays told as far as `still_told` says; the projects are due. A period
    that ended before is followed by its next one first, under the terms that counted then: what it carries on is kept.
    """
    today = author.at.astimezone(UTC).date()
    rows = with_budget(connection, sorted(terms))
    numbers = {row.id: row.budget_number + 1 for row in rows}
    periods = {project_id: terms[project_id].rule.period_at(today) for project_id in numbers}
    starts = {project_id: period.start for project_id, period in periods.items() if period}
    told = told_in(connection, starts)
    opened = opened_periods(connection, sorted(numbers))
    known = histories(connection, opened)
    for row in rows:
        history = known[row.id].begin(periods_begun(terms_of(row).rule, period_in(row), today))
        known[row.id] = history.set_budget(periods[row.id])
    _insert(connection, numbers, terms, author)
    _make_current(connection, numbers, author.at)
    known = settle(connection, follow_charges(connection, known), lookback_days)
    write_periods(connection, opened, known, author.at)
    write_turns(connection, {row.id: (period_in(row), periods[row.id]) for row in rows})
    _carry(connection, told, {each: history.opened for each, history in known.items()}, author.at)
    return numbers


def _insert(
    connection: Connection, numbers: Mapping[int, int], terms: Mapping[int, BudgetTerms], author: Author
) -> None:
    rows = [
        {
            "project_id": project_id,
            "number": number,
            "amount": terms[project_id].amount,
            "currency": terms[project_id].currency,
            "period_kind": terms[project_id].rule.kind.value,
            "period_rule_start": terms[project_id].rule.start,
            "period_rule_end": terms[project_id].rule.end,
            "rollover": terms[project_id].rollover.value,
            "thresholds": terms[project_id].thresholds,
            "made_at": author.at,
            "made_by": fitting(author.name, LONGEST_NAME),
            "reason": fitting(author.reason),
        }
        for project_id, number in numbers.items()
    ]
    if rows:
        connection.execute(budgets.insert(), rows)


def _make_current(connection: Connection, numbers: Mapping[int, int], now: datetime) -> None:
    due = func.coalesce(projects.c.check_due_since, bindparam("due_since", type_=UtcDateTime))
    current = {"budget_number": bindparam("revision"), "check_due_since": due} | NO_FORECAST
    rows = [{"project": each, "revision": number, "due_since": now} for each, number in numbers.items()]
    if rows:
        connection.execute(projects.update().where(projects.c.id == bindparam("project")).values(current), rows)


def _carry(
    connection: Connection, told: Mapping[int, frozenset[int]], opened: dict[int, Opened], now: datetime
) -> None:
    """What was told under the revisions before, as far as it stays so under those that count now."""
    sums = sums_in_periods(connection, sorted(told))
    rows: list[dict[str, Any]] = []
    for row in with_budget(connection, sorted(told)):
        budget = budget_in(row, opened[row.id][row.period_start])
        usage = sums.get(row.id, {}).get(row.currency, Decimal(0))
        carried = {"budget_id": row.budget_id, "period_start": row.period_start, "usage": usage, "made_at": now}
        carried |= {"outcome": AlertOutcome.CARRIED}
        rows.extend(carried | {"threshold": each} for each in still_told(told[row.id], usage, budget.amount))
    if rows:
        connection.execute(alerts.insert(), rows)
