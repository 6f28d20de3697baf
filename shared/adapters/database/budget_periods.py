"""The periods of budgets: each is opened once, and follows the charges of the one before until they are final.

Whoever calls this in a writing transaction has locked the projects: only then do their periods change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Update, and_, bindparam, exists, false, func, or_, select

from shared.adapters.database.budget_rows import BUDGET_TERMS, AnyRow, period_in, terms_of, turn_to, write_turns
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import budget_periods, budgets, charges, projects, scopes
from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.periods import Period
from shared.domain.rollover import (
    EndedPeriod,
    carried_on,
    depends_on_usage,
    is_stopped,
    period_before,
    periods_until,
    settles_on,
)

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class OpenedPeriod:
    """A row of budget_periods. carried: in `currency`, that of the budget of the period before."""

    period: Period
    currency: str
    carried: Decimal = NOTHING
    stopped: bool = False
    settled: bool = True

    def carried_in(self, currency: str) -> Decimal:
        """What was carried, for a budget in this currency: two are never added."""
        return self.carried if self.currency == currency else NOTHING


Opened = dict[int, dict[date, OpenedPeriod]]
"""Opened periods by project id and first day"""


@dataclass(frozen=True, slots=True)
class _Sum:
    """What was spent in a period that has ended: which one, and the first day of the one that follows."""

    project_id: int
    start: date
    next_start: date
    currency: str


@dataclass(frozen=True, slots=True)
class Histories:
    """Some projects' opened periods and budget revisions (the times they were made, and their terms; oldest first).

    costs_read: the day on which each project's costs were last read.
    """

    opened: Opened
    revisions: Mapping[int, Sequence[tuple[datetime, BudgetTerms]]]
    costs_read: Mapping[int, date | None]

    def terms_before(self, project_id: int, day: date) -> BudgetTerms | None:
        """The terms that counted when the day began; None where there were none yet."""
        made_before = (terms for made_at, terms in reversed(self.revisions[project_id]) if made_at < _begin(day))
        return next(made_before, None)

    def ended_at(self, project_id: int, start: date) -> tuple[OpenedPeriod, BudgetTerms] | None:
        """The opened period that ends where another begins, and the terms at its end.

        It is found by the rule that counted then: a row of another rule may end on that day too, and the end of this
        one may have been moved since.
        """
        terms = self.terms_before(project_id, start)
        ended = period_before(terms.rule, start) if terms else None
        opened = self.opened[project_id].get(ended.start) if ended else None
        return (replace(opened, period=ended), terms) if opened and ended and terms else None


def budget_in(row: AnyRow, opened: OpenedPeriod | None) -> Budget:
    """The budget in a row that holds BUDGET_TERMS, budget_id and budget_number, with what came into its period."""
    terms = terms_of(row)
    if opened is None:
        return Budget(row.budget_id, row.budget_number, terms)
    return Budget(row.budget_id, row.budget_number, terms, opened.carried_in(terms.currency), opened.stopped)


# --- what is known -------------------------------------------------------------------------------------------


def opened_periods(
    connection: Connection, project_ids: Sequence[int], which: ColumnElement[bool] | None = None
) -> Opened:
    """All the opened periods of these projects, or only some."""
    opened: Opened = {project_id: {} for project_id in project_ids}
    chosen = select(budget_periods).join(projects, projects.c.id == budget_periods.c.project_id)
    if which is not None:
        chosen = chosen.where(which)
    for ids in in_chunks(project_ids):
        for row in connection.execute(chosen.where(projects.c.id.in_(ids)).order_by(budget_periods.c.period_start)):
            opened[row.project_id][row.period_start] = OpenedPeriod(
                Period(row.period_start, row.period_end), row.currency, row.carried, row.stopped, row.settled
            )
    return opened


def open_ends(connection: Connection, project_ids: Sequence[int]) -> Opened:
    """Of each project the period that its row holds, those that are not settled, and the ones before them."""
    later = budget_periods.alias()
    precedes = exists().where(_follows(later, budget_periods), later.c.settled == false())
    present = budget_periods.c.period_start == projects.c.period_start
    return opened_periods(connection, project_ids, or_(present, budget_periods.c.settled == false(), precedes))


def histories(connection: Connection, opened: Opened) -> Histories:
    """The projects' revisions and readings, to go with their opened periods."""
    revisions: dict[int, list[tuple[datetime, BudgetTerms]]] = {project_id: [] for project_id in opened}
    costs_read: dict[int, date | None] = {}
    columns = (projects.c.id, projects.c.costs_read_at, budgets.c.made_at, *BUDGET_TERMS)
    source = select(*columns).join(budgets, budgets.c.project_id == projects.c.id).order_by(budgets.c.number)
    for ids in in_chunks(sorted(opened)):
        for row in connection.execute(source.where(projects.c.id.in_(ids))):
            revisions[row.id].append((row.made_at, terms_of(row)))
            costs_read[row.id] = row.costs_read_at.astimezone(UTC).date() if row.costs_read_at else None
    return Histories(opened, revisions, costs_read)


def _follows(later: FromClause, ended: FromClause) -> ColumnElement[bool]:
    """Whether a period can be the next of an ended one. The end of that may have been moved since, but not back."""
    return and_(
        later.c.project_id == ended.c.project_id,
        later.c.period_start > ended.c.period_start,
        later.c.period_start <= ended.c.period_end,
    )


def _sums(connection: Connection, project_ids: Sequence[int]) -> dict[_Sum, Decimal]:
    """What was spent in the periods before those that are not settled."""
    later = budget_periods.alias()
    key = (later.c.project_id, budget_periods.c.period_start, later.c.period_start, charges.c.billing_currency)
    spent = (
        select(*key, func.sum(charges.c.billed_cost))
        .join_from(later, budget_periods, _follows(later, budget_periods))
        .join(scopes, scopes.c.project_id == later.c.project_id)
        .join(
            charges,
            (charges.c.scope_id == scopes.c.id)
            & (charges.c.charge_period_start >= budget_periods.c.period_start)
            & (charges.c.charge_period_start < later.c.period_start),
        )
        .where(later.c.settled == false())
        .group_by(*key)
    )
    return {
        _Sum(*rest): cost
        for ids in in_chunks(project_ids)
        for *rest, cost in connection.execute(spent.where(later.c.project_id.in_(ids)))
    }


# --- turning to the present period ---------------------------------------------------------------------------


def turn_to_today(connection: Connection, rows: Sequence[AnyRow], now: datetime, lookback_days: int) -> Opened:
    """Opens what these projects' budgets have begun since their last check, and follows late charges.

    rows: of projects, with the terms that count. Returns the present periods among others (`open_ends`).
    """
    today = now.astimezone(UTC).date()
    opened = open_ends(connection, [row.id for row in rows])
    present = {row.id: terms_of(row).rule.period_at(today) for row in rows}
    moving = [row for row in rows if period_in(row) != present[row.id]]
    concerned = {row.id for row in moving} | set(unsettled(opened))
    if concerned:
        known = histories(connection, {project_id: opened[project_id] for project_id in sorted(concerned)})
        open_periods(connection, known, {row.id: periods_to_open(row, today) for row in moving}, now)
        write_turns(connection, [turn for row in moving if (turn := turn_to(row.id, period_in(row), present[row.id]))])
        follow_charges(connection, known, lookback_days)
    return opened


def periods_to_open(row: AnyRow, today: date) -> list[Period]:
    """The periods that have begun, by the terms in a project's row, since the one that it holds."""
    rule, stored = terms_of(row).rule, period_in(row)
    if stored is not None:
        return periods_until(rule, stored, today)
    present = rule.period_at(today)
    return [present] if present else []


# --- opening -------------------------------------------------------------------------------------------------


def open_periods(
    connection: Connection, histories: Histories, wanted: Mapping[int, Iterable[Period]], now: datetime
) -> None:
    """Opens these periods of each project, oldest first, in at most two statements; `histories` get them too.

    One that begins on the same day as an opened one is that one, with its end moved: what came into it stays.
    """
    new: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for project_id, periods in wanted.items():
        opened = histories.opened[project_id]
        for period in periods:
            present = opened.get(period.start)
            if present is None:
                opened[period.start] = _opened(histories, project_id, period)
                new.append(_row(project_id, opened[period.start]) | {"opened_at": now})
            elif present.period != period:
                opened[period.start] = replace(present, period=period)
                moved.append({"project": project_id, "start": period.start, "end": period.end})
    if new:
        connection.execute(budget_periods.insert(), new)
    if moved:
        connection.execute(_this_period().values(period_end=bindparam("end")), moved)


def _opened(histories: Histories, project_id: int, period: Period) -> OpenedPeriod:
    before = histories.ended_at(project_id, period.start)
    if before is None:
        _, terms = histories.revisions[project_id][-1]
        return OpenedPeriod(period, terms.currency)
    opened, terms = before
    ended = EndedPeriod(terms, stopped=opened.stopped)
    return OpenedPeriod(period, terms.currency, NOTHING, is_stopped(ended), settled=not depends_on_usage(ended))


def _row(project_id: int, opened: OpenedPeriod) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "period_start": opened.period.start,
        "period_end": opened.period.end,
        "currency": opened.currency,
        "carried": opened.carried,
        "stopped": opened.stopped,
        "settled": opened.settled,
    }


def _this_period() -> Update:
    this = budget_periods.c.project_id == bindparam("project")
    return budget_periods.update().where(this, budget_periods.c.period_start == bindparam("start"))


def lift_stops(connection: Connection, opened: Opened, starts: Mapping[int, date]) -> None:
    """Someone has set these projects' budgets: the periods that begin on `starts` are stopped no more."""
    lifted = [(project_id, start) for project_id, start in starts.items() if opened[project_id][start].stopped]
    for project_id, start in lifted:
        opened[project_id][start] = replace(opened[project_id][start], stopped=False)
    if lifted:
        rows = [{"project": project_id, "start": start} for project_id, start in lifted]
        connection.execute(_this_period().values(stopped=False), rows)


# --- following late charges ----------------------------------------------------------------------------------


def unsettled(opened: Opened) -> list[int]:
    """The projects of which not all that was carried is final."""
    return [project_id for project_id, periods in opened.items() if not all(each.settled for each in periods.values())]


def follow_charges(connection: Connection, histories: Histories, lookback_days: int) -> None:
    """Brings what was carried in line with what is now known of the periods before; `histories` get it too."""
    project_ids = unsettled(histories.opened)
    if not project_ids:
        return
    sums = _sums(connection, project_ids)
    changed: list[dict[str, Any]] = []
    for project_id in project_ids:
        opened = histories.opened[project_id]
        # Oldest first: what comes into a period may go on into the next.
        for start in sorted(start for start, each in opened.items() if not each.settled):
            followed = _followed(histories, project_id, start, sums, lookback_days)
            if followed != opened[start]:
                opened[start] = followed
                changed.append(_carried_row(project_id, followed))
    if changed:
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("currency", "carried", "settled")}
        connection.execute(_this_period().values(values), changed)


def _followed(
    histories: Histories, project_id: int, start: date, sums: Mapping[_Sum, Decimal], lookback_days: int
) -> OpenedPeriod:
    opened = histories.opened[project_id][start]
    before = histories.ended_at(project_id, start)
    if before is None:
        return replace(opened, carried=NOTHING, settled=True)
    source, terms = before
    usage = sums.get(_Sum(project_id, source.period.start, start, terms.currency), NOTHING)
    ended = EndedPeriod(terms, source.carried_in(terms.currency), source.stopped, usage)
    # What came into the ended period is then final too: it comes from an older one.
    costs_read = histories.costs_read[project_id]
    settled = costs_read is not None and costs_read >= settles_on(source.period, lookback_days)
    return replace(opened, currency=terms.currency, carried=carried_on(ended), settled=settled)


def _carried_row(project_id: int, opened: OpenedPeriod) -> dict[str, Any]:
    return {
        "project": project_id,
        "start": opened.period.start,
        "new_currency": opened.currency,
        "new_carried": opened.carried,
        "new_settled": opened.settled,
    }


def _begin(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime.combine(day, time(), UTC)
