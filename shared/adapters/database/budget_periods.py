"""The periods of budgets as rows: what is known of them is loaded, and what became different is written.

What begins, stops, is carried and is final are the rules of `domain.budget_periods`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, false, or_, select

from shared.adapters.database.budget_rows import (
    BUDGET_TERMS,
    AnyRow,
    period_in,
    sums_within,
    terms_of,
    write_turns,
)
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import accounts, budget_periods, budgets, projects, scopes
from shared.domain.budget_periods import BudgetHistory, Opened, OpenedPeriod
from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.periods import Period
from shared.domain.rollover import periods_begun

# What may become different of a row of budget_periods.
CHANGING = ("period_end", "currency", "carried", "stopped", "settled")

Histories = dict[int, BudgetHistory]
"""By project id"""


def budget_in(row: AnyRow, opened: OpenedPeriod | None) -> Budget:
    """The budget in a row of WITH_BUDGET, with what came into its period."""
    terms = terms_of(row)
    if opened is None:
        return Budget(row.budget_id, row.budget_number, terms)
    return Budget(row.budget_id, row.budget_number, terms, opened.carried_in(terms.currency), opened.stopped)


def turn_to_today(
    connection: Connection, rows: Sequence[AnyRow], now: datetime, lookback_days: int
) -> dict[int, OpenedPeriod]:
    """Opens what these projects' budgets have begun since their last check, and follows late charges.

    rows: of projects, with the terms that count. Returns the present periods.
    """
    today = now.astimezone(UTC).date()
    opened = _open_ends(connection, [row.id for row in rows], today)
    known = settle(connection, _turned(connection, rows, opened, today), lookback_days)
    write_periods(connection, opened, known, now)
    write_turns(connection, {row.id: (period_in(row), terms_of(row).rule.period_at(today)) for row in rows})
    return _present(rows, opened, known, today)


def present_periods(connection: Connection, rows: Sequence[AnyRow], today: date) -> dict[int, OpenedPeriod]:
    """The periods that hold `today`, by project; those that no check has opened yet as the next one will. Only reads.

    rows: of projects, with the terms that count. What was carried into opened ones is as the last check found it.
    """
    opened = _open_ends(connection, [row.id for row in rows], today)
    beginning = [row for row in rows if _begun(row, today)]
    return _present(rows, opened, _turned(connection, beginning, opened, today), today)


def _present(
    rows: Sequence[AnyRow], opened: dict[int, Opened], known: Histories, today: date
) -> dict[int, OpenedPeriod]:
    periods = opened | {project_id: history.opened for project_id, history in known.items()}
    present = {row.id: terms_of(row).rule.period_at(today) for row in rows}
    return {each: periods[each][at.start] for each, at in present.items() if at and at.start in periods[each]}


def _begun(row: AnyRow, today: date) -> list[Period]:
    return periods_begun(terms_of(row).rule, period_in(row), today)


def _turned(connection: Connection, rows: Sequence[AnyRow], opened: dict[int, Opened], today: date) -> Histories:
    """The histories, up to `today`, of those of the projects that begin a period or follow late charges."""
    begun = {row.id: _begun(row, today) for row in rows}
    concerned = {
        project_id: opened[project_id]
        for project_id, periods in begun.items()
        if periods or not all(each.settled for each in opened[project_id].values())
    }
    known = histories(connection, concerned)
    return follow_charges(connection, {each: history.begin(begun[each]) for each, history in known.items()})


# --- what is known -------------------------------------------------------------------------------------------


def opened_periods(
    connection: Connection, project_ids: Sequence[int], which: ColumnElement[bool] | None = None
) -> dict[int, Opened]:
    """All the opened periods of these projects, or only some; by project and first day, oldest first."""
    opened: dict[int, Opened] = {project_id: {} for project_id in project_ids}
    chosen = select(budget_periods).join(projects, projects.c.id == budget_periods.c.project_id)
    if which is not None:
        chosen = chosen.where(which)
    for ids in in_chunks(project_ids):
        for row in connection.execute(chosen.where(projects.c.id.in_(ids)).order_by(budget_periods.c.period_start)):
            opened[row.project_id][row.period_start] = OpenedPeriod(
                Period(row.period_start, row.period_end), row.currency, row.carried, row.stopped, row.settled
            )
    return opened


def _open_ends(connection: Connection, project_ids: Sequence[int], today: date) -> dict[int, Opened]:
    """Of each project the present period and the one that its row holds, those not settled, and the ones before them.

    The present one may be opened although the row holds a later one: a check that has waited is of a moment ago.
    """
    later, this = budget_periods.alias(), budget_periods.c
    # The end of an ended period may have been moved since, but not back.
    follows = and_(
        later.c.project_id == this.project_id,
        later.c.period_start > this.period_start,
        later.c.period_start <= this.period_end,
    )
    precedes = exists().where(follows, later.c.settled == false())
    held = this.period_start == projects.c.period_start
    present = and_(this.period_start <= today, this.period_end > today)
    return opened_periods(connection, project_ids, or_(held, present, this.settled == false(), precedes))


def histories(connection: Connection, opened: dict[int, Opened]) -> Histories:
    """The projects' revisions, with their opened periods."""
    revisions: dict[int, list[tuple[datetime, BudgetTerms]]] = {project_id: [] for project_id in opened}
    source = select(budgets.c.project_id, budgets.c.made_at, *BUDGET_TERMS).order_by(budgets.c.number)
    for ids in in_chunks(sorted(opened)):
        for row in connection.execute(source.where(budgets.c.project_id.in_(ids))):
            revisions[row.project_id].append((row.made_at, terms_of(row)))
    return {project_id: BudgetHistory(made, opened[project_id]) for project_id, made in revisions.items()}


def follow_charges(connection: Connection, known: Histories) -> Histories:
    """The histories, with what was carried as the charges of the periods before say now."""
    spent = sums_within(connection, ((each, period) for each, history in known.items() for period in history.charged()))
    return {each: history.follow_charges(spent.get(each, {})) for each, history in known.items()}


def settle(connection: Connection, known: Histories, lookback_days: int) -> Histories:
    """The histories, with what is final by what was read."""
    open_ones = [project_id for project_id, history in known.items() if history.unsettled()]
    nights = _read_until(connection, open_ones)
    return known | {each: known[each].settle(nights[each], lookback_days) for each in open_ones}


def _read_until(connection: Connection, project_ids: Sequence[int]) -> dict[int, date | None]:
    """The last night by which all of a project's sub-accounts were read; None where one never was.

    Not when its costs were last read: a message about one project or one resource group reads less.
    """
    same = (accounts.c.provider == scopes.c.provider) & (accounts.c.sub_account_id == scopes.c.sub_account_id)
    read = select(scopes.c.project_id, accounts.c.read_until).outerjoin(accounts, same).distinct()
    nights: dict[int, set[date | None]] = {project_id: set() for project_id in project_ids}
    for ids in in_chunks(project_ids):
        for project_id, night in connection.execute(read.where(scopes.c.project_id.in_(ids))):
            nights[project_id].add(night)
    return {each: None if None in found else min(filter(None, found), default=None) for each, found in nights.items()}


# --- writing -------------------------------------------------------------------------------------------------


def write_periods(connection: Connection, stored: dict[int, Opened], known: Histories, now: datetime) -> None:
    """Writes the opened periods that are new, or differ from those that are stored, in at most two statements."""
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for project_id, history in known.items():
        before = stored.get(project_id, {})
        for start, each in history.opened.items():
            values = (each.period.end, each.currency, each.carried, each.stopped, each.settled)
            if start not in before:
                row = dict(zip(CHANGING, values, strict=True))
                new.append(row | {"project_id": project_id, "period_start": start, "opened_at": now})
            elif before[start] != each:
                row = {f"new_{name}": value for name, value in zip(CHANGING, values, strict=True)}
                changed.append(row | {"project": project_id, "start": start})
    if new:
        connection.execute(budget_periods.insert(), new)
    if changed:
        this = budget_periods.c.project_id == bindparam("project")
        update = budget_periods.update().where(this, budget_periods.c.period_start == bindparam("start"))
        # An update's own parameters may not be named as its columns.
        connection.execute(update.values({name: bindparam(f"new_{name}") for name in CHANGING}), changed)
