"""What the charges of exports come to, worked out anew after each step: slow, plain, and from the words of the rules.

A day's charges are those of the newest run that speaks for it; a month's are all of those who feed and have delivered
it, else what it had, else another's; of a month of nobody's, what the other months of those who feed hold of its days.
Who feeds is the first that delivers, or who was ordered to.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

QUERY = "query"
DAY = timedelta(days=1)
Unit = tuple[str, str | None]
"""A sub-account, or a group of it"""
Day = tuple[str, str, date]
"""Sub-account, group, day"""
Span = tuple[date, date] | None
"""The first and the last day"""


@dataclass(frozen=True)
class Line:
    """A row of a file."""

    sub: str
    group: str
    day: date
    cost: Decimal
    period: date | None = None


@dataclass(frozen=True)
class Told:
    """A run, as its manifest and files tell it. dates: the first and the last day."""

    source: str
    number: int
    at: datetime
    dates: tuple[date, date] | None
    lines: tuple[Line, ...]
    of_group: bool = False
    account: str = ""

    def period_of(self, line: Line) -> date:
        if self.dates is None:
            return first(line.period or line.day)
        start, end = self.dates
        return first(line.day) if start <= line.day <= end else first(start)

    def speaks(self, period: date, day: date) -> bool:
        if self.dates is None:
            return period in {self.period_of(each) for each in self.lines}
        start, end = self.dates
        if first(day) == period:
            return start <= day <= end
        return period == first(start) == start

    def units(self, sub: str) -> set[Unit]:
        """What it has rows of."""
        own = [each for each in self.lines if each.sub == sub and self.speaks(self.period_of(each), each.day)]
        return {(sub, each.group if self.of_group else None) for each in own}


def first(day: date) -> date:
    return day.replace(day=1)


def days_of(month: date) -> list[date]:
    return [month + number * DAY for number in range(calendar.monthrange(month.year, month.month)[1])]


@dataclass
class Oracle:
    """All that exports and the query have brought, and what of it counts."""

    subs: tuple[str, ...]
    groups: tuple[str, ...]
    months: tuple[date, ...]
    feeds: dict[Unit, dict[str, Span]] = field(default_factory=dict)
    believed: dict[tuple[str, Unit, date], dict[int, Told]] = field(default_factory=dict)
    held: dict[tuple[Unit, date], set[str]] = field(default_factory=dict)
    charges: dict[Day, Decimal] = field(default_factory=dict)
    orders: list[tuple[str, datetime, str | None]] = field(default_factory=list)
    accounts: dict[str, str] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    # --- what happens ---

    def find(self, run: Told) -> None:
        """A run is found."""
        self.accounts[run.source] = run.account
        self.found += [run.source] if run.source not in self.found else []

    def make(self, run: Told, sub: str, believed: Iterable[tuple[Unit, date]]) -> None:
        """Charges of a run are made, of one sub-account; of what it was believed."""
        before = dict(self.feeds)
        for unit in sorted(run.units(sub), key=str):
            self._offer(run, unit)
        for unit, period in believed:
            self.believed.setdefault((run.source, unit, period), {})[run.number] = run
        for unit, sources in self.feeds.items():
            if unit[0] == sub and run.source in sources:
                sources[run.source] = self._span(self._lines(run.source, unit))
        self._count(sub, before)

    def use(self, source: str, at: datetime, sub: str | None) -> None:
        """An operator orders that a source feeds."""
        self.orders.append((source, at, sub))
        delivered = {unit for name, unit, _ in self.believed if name == source}
        for unit in sorted({(sub, None)} if source == QUERY else delivered, key=str):
            if sub in (None, unit[0]):
                before = dict(self.feeds)
                self._take_over(unit, source, None if source == QUERY else self._span(self._lines(source, unit)))
                self._count(unit[0], before)

    def query(self, sub: str, month: date, lines: Iterable[Line]) -> None:
        """The query, which feeds a sub-account, reads a month of all but what exports of groups have delivered."""
        apart = {unit: sources for unit, sources in self.feeds.items() if unit[0] == sub and unit[1] is not None}
        groups = {
            group
            for group in self.groups
            if not any((each, (sub, group), month) in self.believed for each in apart.get((sub, group), ()))
        }
        for group in groups:
            for day in days_of(month):
                self.charges.pop((sub, group, day), None)
            self.held.pop(((sub, group), month), None)
        for each in lines:
            if each.group in groups:
                self.charges[sub, each.group, each.day] = each.cost
        self.held[(sub, None), month] = {QUERY}

    # --- who feeds ---

    def _offer(self, run: Told, unit: Unit) -> None:
        here, span = self.feeds.get(unit, {}), self._span(self._placed(run, unit))
        if run.source in here:
            return
        # All that it has delivered would count, and not this run alone.
        span = both(span, self._span(self._lines(run.source, unit)))
        mine = self._ordered(run.source, unit[0])
        others = [
            (other, source)
            for other, sources in self.feeds.items()
            for source in sources
            if overlap(unit, other) and not self._is_beside(unit, other, mine)
        ]
        follows = all(
            other == unit and self._follows(source, here.get(source), run.source, span) for other, source in others
        )
        if follows or all(mine > self._ordered(source, unit[0]) for _, source in others):
            beside = {other: self.feeds[other] for other in self.feeds if self._is_beside(unit, other, mine)}
            self._take_over(unit, run.source, span)
            self.feeds |= beside

    def _is_beside(self, unit: Unit, other: Unit, mine: float) -> bool:
        """A group that was ordered to others later than all of its sub-account to this one."""
        if not mine or unit[1] is not None or other[0] != unit[0] or other[1] is None:
            return False
        return all(self._ordered(source, unit[0]) > mine for source in self.feeds[other])

    def _take_over(self, unit: Unit, source: str, span: Span) -> None:
        before = self.feeds.get(unit, {})
        kept = {name: its for name, its in before.items() if name != source and self._follows(name, its, source, span)}
        gone = [each for each in self.feeds if unit[1] is None and overlap(unit, each)]
        self.feeds = {each: sources for each, sources in self.feeds.items() if each not in gone and each != unit}
        self.feeds[unit] = {**kept, source: span}

    def _follows(self, one: str, its: Span, other: str, span: Span) -> bool:
        accounts = {self.accounts.get(one, ""), self.accounts.get(other, "")}
        if its is None or span is None or "" in accounts or len(accounts) == 1:
            return False
        (begun, ended), (then, _) = sorted((its, span))
        return begun < then and ended <= then

    def _ordered(self, source: str, sub: str) -> float:
        return max((at.timestamp() for name, at, of in self.orders if name == source and of in (None, sub)), default=0)

    # --- what counts ---

    def _placed(self, run: Told, unit: Unit) -> list[tuple[date, Line]]:
        placed = [(run.period_of(each), each) for each in run.lines if overlap(unit, (each.sub, each.group))]
        return [(period, each) for period, each in placed if run.speaks(period, each.day)]

    def _lines(self, source: str, unit: Unit) -> list[tuple[date, Line]]:
        """What an export has delivered: of each day what the newest run says that speaks for it."""
        found = []
        for (name, its, period), runs in self.believed.items():
            if name == source and its == unit:
                for run in runs.values():
                    newer = [each for each in runs.values() if (each.at, each.number) > (run.at, run.number)]
                    found += [
                        (period, each)
                        for its_period, each in self._placed(run, unit)
                        if its_period == period and not any(other.speaks(period, each.day) for other in newer)
                    ]
        return found

    def _span(self, lines: Iterable[tuple[date, Line]]) -> Span:
        """The days of charges in their own month."""
        summed: dict[tuple[str, str, date], Decimal] = {}
        for period, each in lines:
            if first(each.day) == period:
                key = each.sub, each.group, each.day
                summed[key] = summed.get(key, Decimal(0)) + each.cost
        spent = [day for (_, _, day), cost in summed.items() if cost > 0]
        return (min(spent), max(spent)) if spent else None

    def _count(self, sub: str, before: dict[Unit, dict[str, Span]]) -> None:
        for unit in before.keys() - self.feeds.keys():
            for month in self.months:
                self.held.pop((unit, month), None)
        mine = {unit: sources for unit, sources in self.feeds.items() if unit[0] == sub}
        whole = {month: set(self.held.get(((sub, None), month), set())) for month in self.months}
        for unit, sources in mine.items():
            for month in self.months:
                held = self.held.get((unit, month)) or whole[month]
                delivered = [
                    each for each in self.found for of in {unit, (sub, None)} if (each, of, month) in self.believed
                ] + [each for each in held if each == QUERY]
                holding = {each for each in held if each in delivered}
                counting = {each for each in sources if each in delivered} or holding or set(delivered[:1])
                # Of a month of nobody's there is what those who feed hold of its days in their other months.
                counting = counting or {each for each in sources if each != QUERY}
                if counting:
                    self.held[unit, month] = counting
                if counting and QUERY not in counting:
                    apart = {each for _, each in mine if each is not None}
                    groups = set(self.groups) - apart if unit[1] is None else {unit[1]}
                    self._replace(unit, month, counting, groups)

    def _replace(self, unit: Unit, month: date, counting: set[str], groups: Iterable[str]) -> None:
        for group in groups:
            for day in days_of(month):
                self.charges.pop((unit[0], group, day), None)
            for source in counting:
                for of in {unit, (unit[0], None), (unit[0], group)}:
                    for _, each in self._lines(source, of):
                        if each.group == group and first(each.day) == month:
                            key = unit[0], group, each.day
                            self.charges[key] = self.charges.get(key, Decimal(0)) + each.cost


def both(one: Span, other: Span) -> Span:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def overlap(one: Unit, other: Unit) -> bool:
    return one[0] == other[0] and (None in (one[1], other[1]) or one == other)
