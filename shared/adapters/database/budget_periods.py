"""The periods of budgets: each is opened once, and follows the charges of the one before until they are final.

What is known is read first (`histories`). Then it is reckoned what has begun since (`begin_periods`), what was carried
into it (`follow_charges`), and whether that is final (`settle`). All of that changes what is held in memory only, so
that a listing can do it too; `write_periods` writes what has become different. Whoever writes has locked the projects:
only then do their periods change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, and_, bindparam, exists, false, or_, select

from shared.adapters.database.budget_rows import (
    BUDGET_TERMS,
    AnyRow,
    period_in,
    sums_within,
    terms_of,
    turn_to,
    write_turns,
)
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import accounts, budget_periods, budgets, projects, scopes
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
# What may become different of a row of budget_periods.
CHANGING = ("period_end", "currency", "carried", "stopped", "settled")


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
class Histories:
    """Some projects' opened periods and budget revisions (the times they were made, and their terms; oldest first)."""

    opened: Opened
    revisions: Mapping[int, Sequence[tuple[datetime, BudgetTerms]]]

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

    def unsettled(self) -> list[tuple[int, date]]:
        """The project and first day of each period of which what was carried is not final.

        Each project's oldest first: what comes into a period may go on into the next.
        """
        return [
            (project_id, start)
            for project_id, periods in self.opened.items()
            for start in sorted(periods)
            if not periods[start].settled
        ]


def budget_in(row: AnyRow, opened: OpenedPeriod | None) -> Budget:
    """The budget in a row that holds BUDGET_TERMS, budget_id and budget_number, with what came into its period."""
    terms = terms_of(row)
    if opened is None:
        return Budget(row.budget_id, row.budget_number, terms)
    return Budget(row.budget_id, row.budget_number, terms, opened.carried_in(terms.currency), opened.stopped)


# --- turning to the present period ---------------------------------------------------------------------------


def turn_to_today(connection: Connection, rows: Sequence[AnyRow], now: datetime, lookback_days: int) -> Opened:
    """Opens what these projects' budgets have begun since their last check, and follows late charges.

    rows: of projects, with the terms that count. Returns the present periods among others (`_open_ends`).
    """
    today = now.astimezone(UTC).date()
    stored = _open_ends(connection, [row.id for row in rows], today)
    known = _turned(connection, rows, stored, today)
    settle(connection, known, lookback_days)
    write_periods(connection, stored, known.opened, now)
    turns = (turn_to(row.id, period_in(row), terms_of(row).rule.period_at(today)) for row in rows)
    write_turns(connection, [turn for turn in turns if turn])
    return stored | known.opened


def present_periods(connection: Connection, rows: Sequence[AnyRow], today: date) -> dict[int, OpenedPeriod]:
    """The periods that hold `today`, by project; those that no check has opened yet as the next one will. Only reads.

    rows: of projects, with the terms that count. What was carried into opened ones is as the last check found it.
    """
    stored = _open_ends(connection, [row.id for row in rows], today)
    beginning = [row for row in rows if periods_to_open(row, today)]
    opened = stored | _turned(connection, beginning, stored, today).opened
    present = {row.id: terms_of(row).rule.period_at(today) for row in rows}
    found = {each: opened[each].get(period.start) for each, period in present.items() if period}
    return {project_id: each for project_id, each in found.items() if each is not None}


def periods_to_open(row: AnyRow, today: date) -> list[Period]:
    """The periods that have begun, by the terms in a project's row, since the one that it holds."""
    rule, stored = terms_of(row).rule, period_in(row)
    if stored is not None:
        return periods_until(rule, stored, today)
    present = rule.period_at(today)
    return [present] if present else []


def _turned(connection: Connection, rows: Sequence[AnyRow], stored: Opened, today: date) -> Histories:
    """The histories, up to `today`, of those of the projects that begin a period or follow late charges."""
    begun = {row.id: periods_to_open(row, today) for row in rows}
    concerned = [
        project_id
        for project_id, periods in begun.items()
        if periods or not all(each.settled for each in stored[project_id].values())
    ]
    known = histories(connection, {project_id: dict(stored[project_id]) for project_id in concerned})
    begin_periods(known, {project_id: begun[project_id] for project_id in concerned})
    follow_charges(connection, known)
    return known


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


def _open_ends(connection: Connection, project_ids: Sequence[int], today: date) -> Opened:
    """Of each project the present period and the one that its row holds, those not settled, and the ones before them.

    The present one may be opened although the row holds a later one: a check that has waited is of a moment ago.
    """
    later = budget_periods.alias()
    precedes = exists().where(_can_follow(later, budget_periods), later.c.settled == false())
    held = budget_periods.c.period_start == projects.c.period_start
    present = and_(budget_periods.c.period_start <= today, budget_periods.c.period_end > today)
    return opened_periods(connection, project_ids, or_(held, present, budget_periods.c.settled == false(), precedes))


def _can_follow(later: FromClause, ended: FromClause) -> ColumnElement[bool]:
    """Whether a period can be the next of an ended one. The end of that may have been moved since, but not back."""
    return and_(
        later.c.project_id == ended.c.project_id,
        later.c.period_start > ended.c.period_start,
        later.c.period_start <= ended.c.period_end,
    )


def histories(connection: Connection, opened: Opened) -> Histories:
    """The projects' revisions, to go with their opened periods."""
    revisions: dict[int, list[tuple[datetime, BudgetTerms]]] = {project_id: [] for project_id in opened}
    source = select(budgets.c.project_id, budgets.c.made_at, *BUDGET_TERMS).order_by(budgets.c.number)
    for ids in in_chunks(sorted(opened)):
        for row in connection.execute(source.where(budgets.c.project_id.in_(ids))):
            revisions[row.project_id].append((row.made_at, terms_of(row)))
    return Histories(opened, revisions)


def _read_until(connection: Connection, project_ids: Sequence[int]) -> dict[int, date | None]:
    """The last night by which all of a project's sub-accounts were read; None where one never was.

    Not when its costs were last read: a message about one project or one resource group reads less.
    """
    same = (accounts.c.provider == scopes.c.provider) & (accounts.c.sub_account_id == scopes.c.sub_account_id)
    read = select(scopes.c.project_id, accounts.c.read_until).outerjoin(accounts, same).distinct()
    nights: dict[int, list[date | None]] = {project_id: [] for project_id in project_ids}
    for ids in in_chunks(project_ids):
        for project_id, night in connection.execute(read.where(scopes.c.project_id.in_(ids))):
            nights[project_id].append(night)
    return {project_id: _earliest(found) for project_id, found in nights.items()}


def _earliest(nights: Sequence[date | None]) -> date | None:
    known = [night for night in nights if night is not None]
    return min(known) if known and len(known) == len(nights) else None


# --- what has begun, and what was carried into it ------------------------------------------------------------


def begin_periods(histories: Histories, wanted: Mapping[int, Iterable[Period]]) -> None:
    """Opens these periods of each project, oldest first, in `histories`.

    One that begins on the same day as an opened one is that one, with its end moved: what came into it stays.
    """
    for project_id, periods in wanted.items():
        opened = histories.opened[project_id]
        for period in periods:
            present = opened.get(period.start)
            begun = replace(present, period=period) if present else _begun(histories, project_id, period)
            opened[period.start] = begun


def _begun(histories: Histories, project_id: int, period: Period) -> OpenedPeriod:
    """A new period; what is carried into it is still to be reckoned."""
    before = histories.ended_at(project_id, period.start)
    if before is None:
        _, terms = histories.revisions[project_id][-1]
        return OpenedPeriod(period, terms.currency)
    opened, terms = before
    ended = EndedPeriod(terms, stopped=opened.stopped)
    return OpenedPeriod(period, terms.currency, NOTHING, is_stopped(ended), settled=not depends_on_usage(ended))


def lift_stops(histories: Histories, starts: Mapping[int, date]) -> None:
    """Someone has set these projects' budgets: the periods that begin on `starts` are stopped no more."""
    for project_id, start in starts.items():
        opened = histories.opened[project_id]
        opened[start] = replace(opened[start], stopped=False)


def follow_charges(connection: Connection, histories: Histories) -> None:
    """Brings what was carried, where that is not final, in line with what is now known of the periods before."""
    unsettled = histories.unsettled()
    ended = [
        (project_id, before[0].period)
        for project_id, start in unsettled
        if (before := histories.ended_at(project_id, start))
    ]
    sums = sums_within(connection, ended)
    for project_id, start in unsettled:
        opened = histories.opened[project_id]
        before = histories.ended_at(project_id, start)
        if before is None:
            opened[start] = replace(opened[start], carried=NOTHING, settled=True)
            continue
        source, terms = before
        usage = sums.get((project_id, source.period, terms.currency), NOTHING)
        carried = carried_on(EndedPeriod(terms, source.carried_in(terms.currency), source.stopped, usage))
        opened[start] = replace(opened[start], currency=terms.currency, carried=carried)


def settle(connection: Connection, histories: Histories, lookback_days: int) -> None:
    """Makes final what was carried from periods that nights no longer read again.

    What had come into such a period is final then too: it comes from an older one.
    """
    unsettled = histories.unsettled()
    nights = _read_until(connection, sorted({project_id for project_id, _ in unsettled}))
    for project_id, start in unsettled:
        before, read_until = histories.ended_at(project_id, start), nights[project_id]
        if before and read_until and read_until >= settles_on(before[0].period, lookback_days):
            opened = histories.opened[project_id]
            opened[start] = replace(opened[start], settled=True)


# --- writing -------------------------------------------------------------------------------------------------


def write_periods(connection: Connection, stored: Opened, opened: Opened, now: datetime) -> None:
    """Writes the opened periods that are new, or differ from those that are stored, in at most two statements."""
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for project_id, periods in opened.items():
        before = stored.get(project_id, {})
        for start, each in periods.items():
            if start not in before:
                new.append({"project_id": project_id, "period_start": start, "opened_at": now} | _values(each))
            elif before[start] != each:
                values = {f"new_{name}": value for name, value in _values(each).items()}
                changed.append({"project": project_id, "start": start} | values)
    if new:
        connection.execute(budget_periods.insert(), new)
    if changed:
        this = budget_periods.c.project_id == bindparam("project")
        update = budget_periods.update().where(this, budget_periods.c.period_start == bindparam("start"))
        # An update's own parameters may not be named as its columns.
        connection.execute(update.values({name: bindparam(f"new_{name}") for name in CHANGING}), changed)


def _values(opened: OpenedPeriod) -> dict[str, Any]:
    return {
        "period_end": opened.period.end,
        "currency": opened.currency,
        "carried": opened.carried,
        "stopped": opened.stopped,
        "settled": opened.settled,
    }


def _begin(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime.combine(day, time(), UTC)
