"""New revisions of budgets, and what stays told under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from shared.adapters.database.budget_rows import (
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
from shared.domain.budgets import BudgetTerms
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


def revise(connection: Connection, revisions: Sequence[Revision], made_by: str, now: datetime) -> None:
    """Makes these the revisions that count, for projects that are locked and have a budget already.

    What was told in the period that holds today stays told as far as `still_told` says; the projects are due.
    """
    if not revisions:
        return
    today = now.astimezone(UTC).date()
    periods = {revision.project_id: revision.terms.rule.period_at(today) for revision in revisions}
    told = _told(connection, periods)
    insert_budgets(connection, revisions, made_by, now)
    _make_current(connection, revisions, now)
    turns = (turn_to(each.project_id, each.stored_period, periods[each.project_id]) for each in revisions)
    write_turns(connection, [turn for turn in turns if turn])
    _carry(connection, revisions, periods, told, now)


def _row(revision: Revision, made_by: str, now: datetime) -> dict[str, Any]:
    return budget_row(revision.terms) | {
        "project_id": revision.project_id,
        "number": revision.number,
        "made_at": now,
        "made_by": fitting(made_by, LONGEST_NAME),
        "reason": fitting(revision.reason),
    }


def _told(connection: Connection, periods: dict[int, Period | None]) -> dict[int, set[int]]:
    """What was told under the revision that still counts, in a period that begins as the new one does."""
    told: dict[int, set[int]] = {}
    source = projects.join(budgets, CURRENT_BUDGET).join(alerts, alerts.c.budget_id == budgets.c.id)
    for ids in in_chunks(sorted(periods)):
        found = select(projects.c.id, alerts.c.period_start, alerts.c.threshold).select_from(source)
        for project_id, start, threshold in connection.execute(found.where(projects.c.id.in_(ids))):
            period = periods[project_id]
            if period is not None and period.start == start:
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


def _carry(
    connection: Connection,
    revisions: Sequence[Revision],
    periods: dict[int, Period | None],
    told: dict[int, set[int]],
    now: datetime,
) -> None:
    sums = sums_in_periods(connection, sorted(told))
    budget_ids = _current_budget_ids(connection, sorted(told))
    rows: list[dict[str, Any]] = []
    for revision in revisions:
        period = periods[revision.project_id]
        if period is None or revision.project_id not in told:
            continue
        usage = sums.get(revision.project_id, {}).get(revision.terms.currency, Decimal(0))
        carried = {
            "budget_id": budget_ids[revision.project_id],
            "period_start": period.start,
            "outcome": CARRIED,
            "usage": usage,
            "made_at": now,
        }
        still = still_told(told[revision.project_id], usage, revision.terms.amount)
        rows.extend(carried | {"threshold": threshold} for threshold in still)
    if rows:
        connection.execute(alerts.insert(), rows)


def _current_budget_ids(connection: Connection, project_ids: Sequence[int]) -> dict[int, int]:
    source = select(projects.c.id, budgets.c.id).select_from(projects.join(budgets, CURRENT_BUDGET))
    return {
        project_id: budget_id
        for ids in in_chunks(project_ids)
        for project_id, budget_id in connection.execute(source.where(projects.c.id.in_(ids)))
    }
