"""New revisions of budgets, and what stays told under them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from shared.adapters.database import budget_periods, budget_rows
from shared.adapters.database.chunks import insert_rows, kept_or, select_in, update_rows
from shared.adapters.database.converted import NOTHING_BESIDES, besides_within
from shared.adapters.database.ledger import record
from shared.adapters.database.locks import look_soon
from shared.adapters.database.tables import alerts, budgets, projects
from shared.domain.budget_periods import BudgetHistory
from shared.domain.budgets import BudgetTerms
from shared.domain.money import add
from shared.domain.thresholds import AlertOutcome, still_told
from shared.ports.projects import RevisionView


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a revision, when and why."""

    name: str
    at: datetime
    reason: str = ""
    by_load: bool = False


def revise(
    connection: Connection, terms: Mapping[int, BudgetTerms], author: Author, lookback_days: int, converts: bool = False
) -> dict[int, int]:
    """Makes these the terms that count, of projects that are locked, or new. Returns the revisions' numbers.

    What was told in the period that holds today stays told as far as `still_told` says; the projects are due. A period
    that ended before is followed by its next one first, under the terms that counted then: what it carries on is kept.
    """
    today = author.at.astimezone(UTC).date()
    rows = budget_rows.with_budget(connection, sorted(terms))
    numbers = {row.id: row.budget_number + 1 for row in rows}
    periods = {row.id: terms[row.id].rule.period_at(today) for row in rows}
    same = {
        row.id: row.same_since or row.budget_number
        for row in rows
        if row.budget_number and terms[row.id].is_for_the_same(budget_rows.terms_of(row), today)
    }
    # New projects have nothing that could be looked up.
    opened = budget_periods.opened_periods(connection, [row.id for row in rows if row.budget_number])
    told = budget_rows.told_in(connection, {each: at.start for each, at in periods.items() if at and each in opened})
    known = {each: BudgetHistory([]) for each in numbers} | budget_periods.histories(connection, opened)
    for row in rows:
        history = known[row.id].turn(budget_rows.period_in(row), today)
        known[row.id] = history.set_budget(author.at, terms[row.id])
    _write(connection, numbers, terms, same, author)
    look_soon(connection, numbers, author.at)
    known = budget_periods.follow_charges(connection, known, converts)
    known = budget_periods.settle(connection, known, lookback_days)
    budget_periods.write_periods(connection, opened, known, author.at)
    budget_rows.write_turns(connection, {row.id: (budget_rows.period_in(row), periods[row.id]) for row in rows})
    _carry(connection, told, known, same, author.at, converts)
    return numbers


def revisions_of(connection: Connection, project_ids: Sequence[int]) -> dict[int, list[RevisionView]]:
    """These projects' budget revisions, oldest first."""
    found: dict[int, list[RevisionView]] = {each: [] for each in project_ids}
    made = select(budgets).order_by(budgets.c.project_id, budgets.c.number)
    for row in select_in(connection, made, budgets.c.project_id, project_ids):
        found[row.project_id].append(record(RevisionView, row, terms=budget_rows.terms_of(row)))
    return found


def _write(
    connection: Connection,
    numbers: Mapping[int, int],
    terms: Mapping[int, BudgetTerms],
    same: Mapping[int, int],
    author: Author,
) -> None:
    """Writes the revisions, and makes them current. same: since which revision some give the same."""
    by = {"made_at": author.at, "made_by": author.name, "reason": author.reason, "by_load": author.by_load}
    rows = [
        budget_rows.budget_row(terms[project_id])
        | by
        | {"project_id": project_id, "number": number, "same_since": same.get(project_id)}
        for project_id, number in numbers.items()
    ]
    insert_rows(connection, budgets, rows)
    current = [{"id": each, "budget_number": number} | budget_rows.NO_FORECAST for each, number in numbers.items()]
    update_rows(connection, projects, current, "id", check_due_since=kept_or(projects.c.check_due_since, author.at))


def _carry(
    connection: Connection,
    told: Mapping[int, frozenset[int]],
    known: budget_periods.Histories,
    same: Collection[int],
    now: datetime,
    converts: bool,
) -> None:
    """What was told under the revisions before, as far as it stays so under those that count now.

    same: of these projects, neither the amount nor the period has changed: all of it stays.
    """
    sums = budget_rows.sums_in_periods(connection, sorted(told))
    present = budget_rows.with_budget(connection, sorted(told))
    periods = {row.id: budget_rows.period_in(row) for row in present}
    wanted = [(row.id, period, row.currency) for row in present if (period := periods[row.id])]
    counting = besides_within(connection, wanted, converts)
    rows: list[dict[str, Any]] = []
    for row in present:
        budget = budget_periods.budget_in(row, known[row.id].opened[row.period_start])
        usage = budget.terms.used(sums.get(row.id, {}).get(row.currency, Decimal(0)), periods[row.id])
        besides = counting.get((row.id, periods[row.id], row.currency), NOTHING_BESIDES)
        usage = add(add(usage, besides.spent), besides.allocated)
        carried = {"budget_id": row.budget_id, "period_start": row.period_start, "usage": usage, "made_at": now}
        carried |= {"outcome": AlertOutcome.CARRIED}
        stays = told[row.id] if row.id in same else still_told(told[row.id], usage, budget.available)
        rows.extend(carried | {"threshold": each} for each in sorted(stays))
    insert_rows(connection, alerts, rows)
