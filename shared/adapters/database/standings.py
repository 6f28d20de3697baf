"""How projects stand, listed by the page: what the chain has written down, without a sum over charges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    true,
    type_coerce,
)
from typing_extensions import override

from shared.adapters.database.budget_periods import present_budgets
from shared.adapters.database.budget_rows import AnyRow, project_in, told_in, with_budget
from shared.adapters.database.coverage import lacks_today
from shared.adapters.database.ledger import Ledger, reads
from shared.adapters.database.listings import forecast_in
from shared.adapters.database.tables import alerts, locks, projects, standings
from shared.adapters.database.types import PLACES, UNIT, Money, largest_amount
from shared.domain.coverage import Gap
from shared.domain.currencies import ConvertedSum, RateSource
from shared.domain.money import EXACT, add
from shared.domain.periods import Period
from shared.domain.standings import Figures, known
from shared.domain.texts import folded
from shared.domain.thresholds import AlertOutcome
from shared.ports.standings import Order, Place, Standing, StandingLedger, StandingPage, Total, Wanted

project, its = projects.c, standings.c
SOURCE = projects.outerjoin(standings, its.project_id == project.id).outerjoin(locks, locks.c.project_id == project.id)
# Behind all currencies.
NO_CURRENCY = "ZZZ"
NOTHING = literal(Decimal(0), Money())
# What holds any text, in a pattern; on SQL Server a bracket begins a set.
SPECIAL = re.compile(r"[%_\[/]")
# A row of projects has a period of its own.
FIGURES: list[ColumnElement[Any]] = [its.period_start.label("of_period_start"), its.period_end.label("of_period_end")]
FIGURES += [each for each in its if each.name not in projects.c]


@dataclass(frozen=True)
class SqlStandings(Ledger, StandingLedger):
    """StandingLedger on a SQL database. lookback_days: how far back a night reads again."""

    lookback_days: int

    @override
    @reads
    def page(
        self,
        connection: Connection,
        wanted: Wanted,
        order: Order,
        most: int,
        today: date,
        after: Place | None = None,
    ) -> StandingPage:
        where = [*_which(connection, wanted, today)]
        totals, count, unknown = _totals(connection, where, today)
        ranks = _ranks(order, today)
        found = select(*projects.c, *FIGURES, locks.c.held_since, *ranks.selected).select_from(SOURCE)
        found = (
            found.where(*where, *ranks.behind(after, largest_amount(connection.dialect)))
            .order_by(*ranks.ordered)
            .limit(most + 1)
        )
        rows = connection.execute(found).all()
        return StandingPage(
            standings=_standings(connection, rows[:most], today, self.lookback_days),
            count=count,
            totals=totals,
            unknown=unknown,
            next=ranks.place_of(rows[most - 1]) if len(rows) > most else None,
        )


# --- which, and in which order -------------------------------------------------------------------------------


def _says_something(today: date) -> ColumnElement[bool]:
    """As `Figures.say_something`."""
    return its.as_of.is_not(None) & or_(its.ends_on.is_(None), its.ends_on > today)


def _which(connection: Connection, wanted: Wanted, today: date) -> Iterator[ColumnElement[bool]]:
    if wanted.project_ids is not None:
        ids = sorted(wanted.project_ids)
        # As many as there are, in the statement itself: they are numbers.
        yield project.id.in_(bindparam("ids", ids, expanding=True, literal_execute=True))
    if wanted.active or wanted.stale or wanted.over is not None:
        yield project.active == true()
    if wanted.over is not None:
        # Nothing that is stored is larger.
        yield _percent(today) >= literal(min(Decimal(wanted.over), largest_amount(connection.dialect)), Money())
    if wanted.stale:
        # As `Figures.are_stale`.
        yield or_(_says_something(today) & (its.lacks_from <= today), its.ends_on < today)
    if wanted.locked:
        yield locks.c.held_since.is_not(None)
    if text := folded(wanted.search):
        yield its.searched.like("%" + SPECIAL.sub(r"/\g<0>", text) + "%", escape="/")
    yield from _answered_for(connection, wanted)


def _answered_for(connection: Connection, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    fields = (
        (project.owner, wanted.owner),
        (project.department, wanted.department),
        (project.cost_centre, wanted.cost_centre),
    )
    for column, text in fields:
        if text:
            # How it is spelled; which spellings are one, no database can be asked.
            spelled = connection.scalars(select(column).where(column.is_not(None)).distinct())
            yield column.in_([each for each in spelled if folded(each) == folded(text)])


def _percent(today: date) -> ColumnElement[Any]:
    return case((_says_something(today) & project.problem.is_(None), its.percent))


@dataclass(frozen=True)
class _Ranks:
    """By what a list is sorted, as a `Place` has it: a text, the least first, an amount, the largest first, the id."""

    text: ColumnElement[Any] | None = None
    amount: ColumnElement[Any] | None = None

    @property
    def selected(self) -> list[ColumnElement[Any]]:
        """The columns that a row's place is made of."""
        named = (("text_rank", self.text), ("amount_rank", self.amount))
        return [each.label(name) for name, each in named if each is not None]

    @property
    def ordered(self) -> list[ColumnElement[Any]]:
        """What rows are sorted by. A constant SQL Server refuses."""
        first = [] if self.text is None else [self.text]
        return [*first, *([] if self.amount is None else [self.amount.desc()]), project.id]

    def behind(self, place: Place | None, largest: Decimal) -> Iterator[ColumnElement[bool]]:
        """What selects the rows behind a place. largest: what an amount can be."""
        if place is None:
            return
        behind = project.id > place.project_id
        if self.amount is not None:
            # Nothing that is stored is larger.
            here = literal(max(-largest, min(largest, place.amount)), Money())
            behind = or_(self.amount < here, and_(self.amount == here, behind))
        if self.text is not None:
            behind = or_(self.text > place.text, and_(self.text == place.text, behind))
        yield behind

    def place_of(self, row: AnyRow) -> Place:
        """Where a row stands."""
        text = "" if self.text is None else row.text_rank
        return Place(text, Decimal(0) if self.amount is None else row.amount_rank, row.id)


def _ranks(order: Order, today: date) -> _Ranks:
    currency, says = func.coalesce(its.currency, NO_CURRENCY), _says_something(today)
    match order:
        case Order.ID:
            return _Ranks()
        case Order.ACRONYM:
            # Not the project's own: SQL Server compares no texts of two collations.
            return _Ranks(func.coalesce(its.acronym_key, ""))
        case Order.USED:
            return _Ranks(amount=func.coalesce(_percent(today), NOTHING))
        case Order.BUDGET:
            amount = case((says, its.amount))
        case Order.SPENT:
            amount = case((says, its.spent))
        case Order.FORECAST:
            amount = case((_is_expected(today), project.forecast_total))
    return _Ranks(currency, func.coalesce(amount, NOTHING))


def _is_expected(today: date) -> ColumnElement[bool]:
    """Whether the forecast in a project's row is of its present period, as a ProjectView has it."""
    present = (project.period_start <= today) & (project.period_end > today)
    return (project.active == true()) & project.costs_read_at.is_not(None) & present


# --- what all of them come to --------------------------------------------------------------------------------


def _totals(connection: Connection, where: Sequence[ColumnElement[bool]], today: date) -> tuple[list[Total], int, int]:
    """The totals by currency, of how many projects, and of how many nothing is known."""
    says = _says_something(today)
    sums = [
        part for amount in (its.amount, its.spent, its.allocated) for part in _sums(connection, case((says, amount)))
    ]
    found = select(its.currency, func.count(), func.count(case((says, 1))), *sums).select_from(SOURCE)
    totals, count, of_known = [], 0, 0
    for currency, projects_, known_, *parts in connection.execute(found.where(*where).group_by(its.currency)):
        count, of_known = count + projects_, of_known + known_
        if currency and known_:
            amount, spent, allocated = _together(connection, parts)
            totals.append(Total(currency, known_, amount, add(spent, allocated)))
    return sorted(totals, key=lambda each: each.currency), count, count - of_known


def _sums(connection: Connection, amount: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """What adds up amounts. SQLite's whole numbers do so up to 922 million: there, in two parts."""
    if connection.dialect.name != "sqlite":
        return [func.sum(amount)]
    units, one = type_coerce(amount, BigInteger), literal(10**PLACES, BigInteger)
    return [func.sum(units // one), func.sum(units % one)]


def _together(connection: Connection, parts: Sequence[Any]) -> list[Decimal]:
    if connection.dialect.name != "sqlite":
        return [part or Decimal(0) for part in parts]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [EXACT.add(Decimal(whole or 0), EXACT.multiply(Decimal(rest or 0), UNIT)) for whole, rest in pairs]


# --- how they stand ------------------------------------------------------------------------------------------


def _standings(connection: Connection, rows: Sequence[AnyRow], today: date, lookback_days: int) -> list[Standing]:
    figures = {row.id: _figures(row) for row in rows}
    says = {each: its for each, its in figures.items() if its and its.say_something(today)}
    starts = {each: its.period.start for each, its in says.items() if its.period}
    mailed = told_in(connection, starts, alerts.c.outcome == AlertOutcome.MAILED)
    stale = [row.id for row in rows if row.active and (its := figures[row.id]) and its.are_stale(today)]
    gaps = _gaps(connection, stale, today, lookback_days)
    return [
        _standing(row, figures[row.id], mailed.get(row.id, frozenset()), gaps.get(row.id, ()), today) for row in rows
    ]


def _standing(
    row: AnyRow, figures: Figures | None, alerts: frozenset[int], gaps: tuple[Gap, ...], today: date
) -> Standing:
    of_today = figures if figures and figures.say_something(today) else None
    expects = row.active and row.costs_read_at and row.period_start and row.period_start <= today < row.period_end
    return Standing(
        project=project_in(row),
        known=known(figures, row.check_due_since, row.active, today),
        figures=of_today,
        as_of=row.as_of,
        gaps=(*gaps, *(of_today.gaps_of_rates if of_today else ())),
        forecast=forecast_in(row) if expects else None,
        used_up_on=row.used_up_on if expects else None,
        alerts=tuple(sorted(alerts)),
        problem=row.problem,
        locked_since=row.held_since,
        due_since=row.check_due_since if row.active else None,
        checked_at=row.checked_at,
        updated_at=row.costs_read_at,
    )


def _figures(row: AnyRow) -> Figures | None:
    if row.as_of is None:
        return None
    return Figures(
        period=None if row.of_period_start is None else Period(row.of_period_start, row.of_period_end),
        currency=row.currency,
        amount=row.amount,
        spent=row.spent,
        allocated=row.allocated,
        converted=_converted(row) if row.rate_sources else None,
        percent=row.percent,
        lacks_from=row.lacks_from,
        unrated=tuple((currency, date.fromisoformat(day)) for currency, day in row.unrated or ()),
        ends_on=row.ends_on,
    )


def _converted(row: AnyRow) -> ConvertedSum:
    return ConvertedSum(row.converted, frozenset(map(RateSource, row.rate_sources)), row.last_rate_day)


def _gaps(
    connection: Connection, project_ids: Sequence[int], today: date, lookback_days: int
) -> dict[int, tuple[Gap, ...]]:
    """What the figures of these projects lack today. Of most there is nothing to ask."""
    if not project_ids:
        return {}
    rows = with_budget(connection, project_ids)
    budgets_now = present_budgets(connection, rows, today)
    found = lacks_today(connection, rows, budgets_now, today, lookback_days, projects.c.id.in_(project_ids))
    return {each: lacks.gaps for each, lacks in found.items()}
