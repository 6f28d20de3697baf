"""Budget periods: UTC days from a start up to, and not with, an end. What people read and write is the last day."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import MAXYEAR, date, timedelta
from enum import StrEnum
from functools import lru_cache

DAY = timedelta(days=1)
DEFAULT_ANNUAL_START = date(2000, 4, 1)
DEFAULT_START = date(2000, 1, 1)


class PeriodError(ValueError):
    """A period that can't be right; the text says what would be."""


class PeriodKind(StrEnum):
    """How often a budget begins anew."""

    ANNUAL = "annual"
    QUARTERLY = "quarterly"
    MONTHLY = "monthly"
    FIXED = "fixed"


MONTHS_IN = {PeriodKind.ANNUAL: 12, PeriodKind.QUARTERLY: 3, PeriodKind.MONTHLY: 1}


@dataclass(frozen=True, slots=True)
class Period:
    """The UTC days `start` <= day < `end`."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise PeriodError(f"a period from {self.start} to {self.last_day} holds no day; it has to end later")

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    @property
    def last_day(self) -> date:
        """The last day that it holds: its end, as people say it."""
        return self.end - DAY

    @property
    def days(self) -> int:
        """How many days the period has."""
        return (self.end - self.start).days


@dataclass(frozen=True, slots=True)
class PeriodRule:
    """When a budget's periods begin.

    For annual, quarterly and monthly budgets only the month and day of `start` count, and where a month is
    too short for that day, its last day is taken. A fixed budget has one period, `start` to `end`.
    """

    kind: PeriodKind
    start: date
    end: date | None = None

    def __post_init__(self) -> None:
        if self.kind is PeriodKind.FIXED:
            if self.end is None:
                raise PeriodError("a fixed period needs period_start and period_end")
            Period(self.start, self.end)
        elif self.end is not None:
            raise PeriodError(f"a period_end goes with fixed periods only, not with {self.kind}")

    @property
    def last_day(self) -> date | None:
        """The last day of a fixed one."""
        return self.end and self.end - DAY

    def period_at(self, day: date) -> Period | None:
        """The period that holds `day`; None before or after a fixed one."""
        if self.end is not None:
            fixed = Period(self.start, self.end)
            return fixed if day in fixed else None
        step = MONTHS_IN[self.kind]
        months = _months(day) - (_months(day) - _months(self.start)) % step
        # In the month in which a period begins, the days before its first still belong to the one before.
        if day < self._first_day(months):
            months -= step
        return Period(self._first_day(months), self._first_day(months + step))

    def next_start(self, day: date) -> date | None:
        """The first day after this one that is not of the same period, nor without one like it; None where all are."""
        if period := self.period_at(day):
            return period.end
        return self.start if day < self.start else None

    def _first_day(self, months: int) -> date:
        year, month = divmod(months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        return date(year, month + 1, min(self.start.day, last))


def make_rule(kind: PeriodKind, start: date | None, last_day: date | None) -> PeriodRule:
    """A rule from a person's entries; without a start, annual budgets begin in April, others in January.

    For recurring periods a last day is taken only where it says what is so anyway (that of the period which
    begins at `start`). Raises PeriodError with what would be right.
    """
    for name, day in {"period_start": start, "period_end": last_day}.items():
        if day is not None and day.year == MAXYEAR:
            raise PeriodError(f"{name} {day} is too late: the period would end after year {MAXYEAR}")
    if kind is PeriodKind.FIXED:
        if start is None or last_day is None:
            raise PeriodError("a fixed period needs period_start and period_end")
        return PeriodRule(kind, start, last_day + DAY)
    rule = PeriodRule(kind, start or (DEFAULT_ANNUAL_START if kind is PeriodKind.ANNUAL else DEFAULT_START))
    if last_day is None:
        return rule
    first = rule.period_at(start) if start else None
    if first is None or first.last_day != last_day:
        expected = f"; leave it empty, or write {first.last_day}" if first else "; leave it empty"
        raise PeriodError(f"period_end {last_day} does not fit a budget that is {kind}{expected}")
    return rule


def is_same_period(one: Period | None, other: Period | None) -> bool:
    """Whether two are the same period of a budget; one whose end was moved is: alerts are kept by its start."""
    return one is not None and other is not None and one.start == other.start


def months_before(day: date, months: int) -> date:
    """The same day `months` months earlier, or that month's last day."""
    year, month = divmod(_months(day) - months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


@lru_cache(maxsize=1_000)
def month_of(day: date) -> Period:
    """The calendar month that holds `day`."""
    return Period(day.replace(day=1), (day.replace(day=1) + timedelta(days=32)).replace(day=1))


def split_at_month_ends(window: Period) -> list[Period]:
    """The window in parts that each lie in one calendar month, oldest first.

    Providers count by the month: a query is charged for each one that it touches.
    """
    parts = []
    start = window.start
    while start < window.end:
        end = min(month_of(start).end, window.end)
        parts.append(Period(start, end))
        start = end
    return parts


def _months(day: date) -> int:
    return day.year * 12 + day.month - 1
