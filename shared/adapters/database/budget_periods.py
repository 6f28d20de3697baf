"""The periods of budgets as rows: what is known of them is loaded, and what became different is written.

What begins, stops, is carried and is final are the rules of `domain.budget_periods`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, false, select

from shared.adapters.database import budget_rows
from shared.adapters.database.budget_rows import ALL, BUDGET_TERMS, AnyRow, period_at, period_in, sums_within, terms_of
from shared.adapters.database.chunks import among, insert_rows, select_among, update_rows
from shared.adapters.database.converted import add_converted, converted_within
from shared.adapters.database.coverage import FED, OF_FED_GROUP, known_of
from shared.adapters.database.ledger import columns, record
from shared.adapters.database.owners import STILL_READ
from shared.adapters.database.tables import budget_periods, budgets, export_feeds, projects, scope_owners, scopes
from shared.domain.budget_periods import BudgetHistory, Opened, OpenedPeriod, OverPeriod, carried_since
from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.coverage import settled_before
from shared.domain.exports.feeding import Fed
from shared.domain.periods import Period
from shared.ports.export_runs import closed_on

_REVISIONS = select(budgets.c.project_id, budgets.c.made_at, *BUDGET_TERMS).order_by(budgets.c.number)
_REVISIONS = among(_REVISIONS, budgets.c.project_id)
_STILL_READ_OF = select(scope_owners.c.project_id, *FED).distinct()
_STILL_READ_OF = _STILL_READ_OF.join_from(scope_owners, scopes, scopes.c.id == scope_owners.c.scope_id)
_STILL_READ_OF = _STILL_READ_OF.outerjoin(export_feeds, OF_FED_GROUP)
_STILL_READ_OF = among(_STILL_READ_OF.where(STILL_READ), scope_owners.c.project_id)

Histories = dict[int, BudgetHistory]
"""By project id"""


@dataclass(frozen=True, slots=True)
class Turned:
    """Projects whose periods were turned to today: the present budgets, and the ended periods still to be compared."""

    present: dict[int, Budget]
    over: dict[int, list[OverPeriod]]


def turn_to_today(
    connection: Connection, rows: Sequence[AnyRow], now: datetime, lookback_days: int, converts: bool = False
) -> Turned:
    """Opens what these projects' budgets have begun since their last check, and follows late charges.

    rows: of WITH_BUDGET. What is over, and read for the last time, is closed: its last comparison is the caller's.
    converts: whether charges in other currencies count.
    """
    today = now.astimezone(UTC).date()
    opened = _open_ends(connection, rows, today)
    known = _turned(connection, rows, opened, today, converts)
    over = {project_id: history.over(today) for project_id, history in known.items()}
    settled = _settled_before(connection, known, lookback_days)
    known = {each: history.settle(settled[each]) for each, history in known.items()}
    known = {each: history.close(settled[each], today) for each, history in known.items()}
    write_periods(connection, opened, known, now)
    budget_rows.write_turns(connection, {row.id: (period_in(row), period_at(row, today)) for row in rows})
    return Turned(_budgets(rows, opened, known, today), over)


def present_budgets(
    connection: Connection, rows: Sequence[AnyRow], today: date, converts: bool = False
) -> dict[int, Budget]:
    """The budgets in the periods that hold `today`, where no check has opened those yet as the next will. Only reads.

    rows: of WITH_BUDGET. What was carried into opened periods is as the last check found it.
    """
    opened = _open_ends(connection, rows, today)
    beginning = [row for row in rows if _begins(row, today)]
    return _budgets(rows, opened, _turned(connection, beginning, opened, today, converts), today)


def budget_in(row: AnyRow, opened: OpenedPeriod | None, since: date | None = None) -> Budget:
    """The budget in a row of WITH_BUDGET, with what came into its period. since: `carried_since` then."""
    terms = terms_of(row)
    if opened is None:
        return Budget(row.budget_id, row.budget_number, terms, same_since=row.same_since)
    carried = opened.carried_in(terms.currency)
    return Budget(row.budget_id, row.budget_number, terms, carried, opened.stopped, row.same_since, since)


def _budgets(rows: Sequence[AnyRow], opened: dict[int, Opened], known: Histories, today: date) -> dict[int, Budget]:
    periods = opened | {project_id: history.opened for project_id, history in known.items()}
    return {row.id: _budget(row, periods[row.id], period_at(row, today)) for row in rows}


def _budget(row: AnyRow, opened: Opened, present: Period | None) -> Budget:
    if present is None:
        return budget_in(row, None)
    return budget_in(row, opened.get(present.start), carried_since(opened, present.start))


def _begins(row: AnyRow, today: date) -> bool:
    return period_at(row, today) not in (None, period_in(row))


def _turned(
    connection: Connection, rows: Sequence[AnyRow], opened: dict[int, Opened], today: date, converts: bool
) -> Histories:
    """The histories, up to `today`, of those of the projects that begin a period or follow late charges."""
    late = {project_id for project_id, periods in opened.items() if _is_late(periods.values(), today)}
    held = {row.id: period_in(row) for row in rows if row.id in late or _begins(row, today)}
    known = histories(connection, {project_id: opened[project_id] for project_id in held})
    turned = {each: history.turn(held[each], today) for each, history in known.items()}
    return follow_charges(connection, turned, converts)


def _is_late(periods: Collection[OpenedPeriod], today: date) -> bool:
    """Whether late charges still count for one of these periods."""
    return any(not each.settled or (each.period.end <= today and not each.closed) for each in periods)


# --- what is known -------------------------------------------------------------------------------------------


def opened_periods(
    connection: Connection, project_ids: Sequence[int], which: ColumnElement[bool] = ALL, **parameters: object
) -> dict[int, Opened]:
    """All the opened periods of these projects, or only some; by project and first day, oldest first."""
    opened: dict[int, Opened] = {project_id: {} for project_id in project_ids}
    for row in select_among(connection, _opened(which), project_ids, **parameters):
        period = Period(row.period_start, row.period_end)
        opened[row.project_id][period.start] = record(OpenedPeriod, row, period=period)
    return opened


@cache
def _opened(which: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    chosen = select(budget_periods).join(projects, projects.c.id == budget_periods.c.project_id).where(which)
    return among(chosen.order_by(budget_periods.c.period_start), projects.c.id)


def _are_open_ends() -> ColumnElement[bool]:
    """The present period and the one that a project's row holds, those that late charges change, those before.

    The present one may be opened although the row holds a later one: a check that has waited is of a moment ago.
    """
    later, this = budget_periods.alias().c, budget_periods.c
    # The end of an ended period may have been moved since, but not back.
    follows = (later.period_start > this.period_start) & (later.period_start <= this.period_end)
    precedes = exists().where(later.project_id == this.project_id, follows, later.settled == false())
    held = this.period_start == projects.c.period_start
    present = (this.period_start <= bindparam("today")) & (this.period_end > bindparam("today"))
    return held | present | (this.settled == false()) | precedes | (this.closed == false())


# Put together once: it is asked for at every check.
OPEN_ENDS = _are_open_ends()


def _open_ends(connection: Connection, rows: Sequence[AnyRow], today: date) -> dict[int, Opened]:
    return opened_periods(connection, [row.id for row in rows], OPEN_ENDS, today=today)


def histories(connection: Connection, opened: dict[int, Opened]) -> Histories:
    """The projects' revisions, with their opened periods."""
    revisions: dict[int, list[tuple[datetime, BudgetTerms]]] = {project_id: [] for project_id in opened}
    for row in select_among(connection, _REVISIONS, sorted(opened)):
        revisions[row.project_id].append((row.made_at, terms_of(row)))
    return {project_id: BudgetHistory(made, opened[project_id]) for project_id, made in revisions.items()}


def follow_charges(connection: Connection, known: Histories, converts: bool = False) -> Histories:
    """The histories, with what was carried as the charges of the periods before say now."""
    charged = [(each, *charged) for each, history in known.items() for charged in history.charged()]
    spent = sums_within(connection, (each[:2] for each in charged))
    if converts:
        add_converted(spent, converted_within(connection, charged))
    return {each: history.follow_charges(spent.get(each, {})) for each, history in known.items()}


def settle(connection: Connection, known: Histories, lookback_days: int) -> Histories:
    """The histories, with what is final by what was read."""
    open_ones = {project_id: history for project_id, history in known.items() if history.unsettled()}
    settled = _settled_before(connection, open_ones, lookback_days)
    return known | {each: known[each].settle(settled[each]) for each in open_ones}


def _settled_before(connection: Connection, histories: Histories, lookback_days: int) -> dict[int, date | None]:
    """The day before which all charges of a project's sub-accounts are final, as far as its open periods go; None where
    one never was read.

    Not when its costs were last read: a message about one project or one resource group reads less. Sub-accounts that
    it gave up count as long as nights read its days there.
    """
    rows = [(each, Fed(*key)) for each, *key in select_among(connection, _STILL_READ_OF, list(histories))]
    known = known_of(connection, {fed for _, fed in rows})
    since = {project_id: history.open_from() for project_id, history in histories.items()}
    # Many projects share a sub-account and their periods.
    settled = cache(lambda fed, day: settled_before(known[fed], lookback_days, closed_on(fed.provider), day))
    days: dict[int, set[date | None]] = {project_id: set() for project_id in histories}
    for project_id, fed in rows:
        days[project_id].add(settled(fed, since[project_id]))
    return {each: None if None in found else min(filter(None, found), default=None) for each, found in days.items()}


# --- writing -------------------------------------------------------------------------------------------------


def write_periods(connection: Connection, stored: dict[int, Opened], known: Histories, now: datetime) -> None:
    """Writes the opened periods that are new, or differ from those that are stored, in at most two statements."""
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for project_id, history in known.items():
        for start, each in history.opened.items():
            if each != (before := stored.get(project_id, {}).get(start)):
                row = {"project_id": project_id, "period_start": start, "period_end": each.period.end}
                row |= columns(each, OpenedPeriod, "period")
                changed.append(row) if before else new.append(row | {"opened_at": now})
    insert_rows(connection, budget_periods, new)
    update_rows(connection, budget_periods, changed, "project_id", "period_start")
