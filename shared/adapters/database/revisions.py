"""New revisions of budgets, and what stays told under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from shared.adapters.database.budget_periods import (
    Opened,
    begin_periods,
    follow_charges,
    histories,
    lift_stops,
    opened_periods,
    periods_to_open,
    settle,
    write_periods,
)
from shared.adapters.database.budget_rows import (
    BUDGET_TERMS,
    CURRENT_BUDGET,
    budget_row,
    sums_in_periods,
    turn_to,
    write_turns,
)
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import alerts, budgets, projects
from shared.adapters.database.texts import fitting
from shared.adapters.database.types import UtcDateTime
from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.periods import Period
from shared.domain.thresholds import still_told

# alerts.outcome of a threshold that was told under the revision before.
CARRIED = "carried"
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Revision:
    """A new revision of a project's budget. number: its own. stored_period: what the project's row holds."""

    project_id: int
    number: int
    stored_period: Period | None
    terms: BudgetTerms
    reason: str


def insert_budgets(connection: Connection, revisions: Sequence[Revision], made_by: str, now: datetime) -> None:
    """Writes the revisions, and nothing else."""
    if revisions:
        connection.execute(budgets.insert(), [_row(revision, made_by, now) for revision in revisions])


def revise(
    connection: Connection, revisions: Sequence[Revision], made_by: str, now: datetime, lookback_days: int
) -> None:
    """Makes these the revisions that count, for projects that are locked and have a budget already.

    What was told in the period that holds today stays told as far as `still_told` says; the projects are due. A period
    that ended before is followed by its next one first, under the terms that counted then: what it carries on is kept.
    """
    if not revisions:
        return
    today = now.astimezone(UTC).date()
    periods = {revision.project_id: revision.terms.rule.period_at(today) for revision in revisions}
    present = {project_id: period for project_id, period in periods.items() if period is not None}
    told = _told(connection, present)
    stored = opened_periods(connection, sorted(periods))
    known = histories(connection, {project_id: dict(opened) for project_id, opened in stored.items()})
    begin_periods(known, _begun(connection, sorted(periods), today))
    insert_budgets(connection, revisions, made_by, now)
    _make_current(connection, revisions, now)
    begin_periods(known, {project_id: [period] for project_id, period in present.items()})
    lift_stops(known, {project_id: period.start for project_id, period in present.items()})
    follow_charges(connection, known)
    settle(connection, known, lookback_days)
    write_periods(connection, stored, known.opened, now)
    turns = (turn_to(each.project_id, each.stored_period, periods[each.project_id]) for each in revisions)
    write_turns(connection, [turn for turn in turns if turn])
    made = _budgets(connection, [each for each in revisions if each.project_id in present], known.opened, present)
    _carry(connection, made, present, told, now)


def _begun(connection: Connection, project_ids: Sequence[int], today: date) -> dict[int, list[Period]]:
    """The periods that have begun since each project's last check, under the terms that still count."""
    source = select(projects, *BUDGET_TERMS).select_from(projects.join(budgets, CURRENT_BUDGET))
    return {
        row.id: periods_to_open(row, today)
        for ids in in_chunks(project_ids)
        for row in connection.execute(source.where(projects.c.id.in_(ids)))
    }


def _row(revision: Revision, made_by: str, now: datetime) -> dict[str, Any]:
    return budget_row(revision.terms) | {
        "project_id": revision.project_id,
        "number": revision.number,
        "made_at": now,
        "made_by": fitting(made_by, LONGEST_NAME),
        "reason": fitting(revision.reason),
    }


def _told(connection: Connection, periods: Mapping[int, Period]) -> dict[int, set[int]]:
    """What was told under the revision that still counts, in a period that begins as the new one does."""
    told: dict[int, set[int]] = {}
    source = projects.join(budgets, CURRENT_BUDGET).join(alerts, alerts.c.budget_id == budgets.c.id)
    for ids in in_chunks(sorted(periods)):
        found = select(projects.c.id, alerts.c.period_start, alerts.c.threshold).select_from(source)
        for project_id, start, threshold in connection.execute(found.where(projects.c.id.in_(ids))):
            if periods[project_id].start == start:
                told.setdefault(project_id, set()).add(threshold)
    return told


def _make_current(connection: Connection, revisions: Sequence[Revision], now: datetime) -> None:
    due = func.coalesce(projects.c.check_due_since, bindparam("due_since", type_=UtcDateTime))
    connection.execute(
        projects.update()
        .where(projects.c.id == bindparam("project"))
        .values(budget_number=bindparam("revision"), check_due_since=due),
        [{"project": each.project_id, "revision": each.number, "due_since": now} for each in revisions],
    )


def _budgets(
    connection: Connection, revisions: Sequence[Revision], opened: Opened, periods: Mapping[int, Period]
) -> dict[int, Budget]:
    """The new revisions' budgets in the present periods, by project."""
    budget_ids = _current_budget_ids(connection, sorted(periods))
    made: dict[int, Budget] = {}
    for revision in revisions:
        period = opened[revision.project_id][periods[revision.project_id].start]
        carried = period.carried_in(revision.terms.currency)
        made[revision.project_id] = Budget(budget_ids[revision.project_id], revision.number, revision.terms, carried)
    return made


def _carry(
    connection: Connection,
    made: Mapping[int, Budget],
    periods: Mapping[int, Period],
    told: Mapping[int, set[int]],
    now: datetime,
) -> None:
    sums = sums_in_periods(connection, sorted(told))
    rows: list[dict[str, Any]] = []
    for project_id, thresholds in told.items():
        budget = made[project_id]
        usage = sums.get(project_id, {}).get(budget.terms.currency, Decimal(0))
        carried = {
            "budget_id": budget.id,
            "period_start": periods[project_id].start,
            "outcome": CARRIED,
            "usage": usage,
            "made_at": now,
        }
        rows.extend(carried | {"threshold": each} for each in still_told(thresholds, usage, budget.amount))
    if rows:
        connection.execute(alerts.insert(), rows)


def _current_budget_ids(connection: Connection, project_ids: Sequence[int]) -> dict[int, int]:
    source = select(projects.c.id, budgets.c.id).select_from(projects.join(budgets, CURRENT_BUDGET))
    return {
        project_id: budget_id
        for ids in in_chunks(project_ids)
        for project_id, budget_id in connection.execute(source.where(projects.c.id.in_(ids)))
    }
