"""Whose a charge's day is, for which days a run speaks, and what of it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

from shared.domain.coverage import days_in_words
from shared.domain.exports.runs import ExportRun
from shared.domain.exports.sums import Sums
from shared.domain.periods import Period, month_of, split_at_month_ends

DAY = timedelta(days=1)


def billing_period(run: ExportRun, day: date, named: date | None) -> date:
    """The first day of the month to which a run counts a charge. named: the billing period that its row names."""
    if run.days is None:
        return (named or day).replace(day=1)
    return (day if day in run.days else run.days.start).replace(day=1)


@dataclass(frozen=True, slots=True)
class Spoken:
    """For what of one billing period a run speaks.

    period: its first day. days: of its month. outside: whether it speaks for all that lies on other months' days.
    """

    period: date
    days: frozenset[date]
    outside: bool

    def __contains__(self, day: date) -> bool:
        is_in_month = (day.year, day.month) == (self.period.year, self.period.month)
        return day in self.days if is_in_month else self.outside

    def __bool__(self) -> bool:
        return self.outside or bool(self.days)

    @property
    def windows(self) -> list[Period]:
        """The days, those in a row together, oldest first."""
        found: list[Period] = []
        for day in sorted(self.days):
            in_a_row = bool(found) and found[-1].end == day
            start = found.pop().start if in_a_row else day
            found.append(Period(start, day + DAY))
        return found

    def without(self, other: Spoken) -> Spoken:
        """What is left beside the other."""
        if other.period != self.period:
            return self
        return Spoken(self.period, self.days - other.days, self.outside and not other.outside)


def spoken_by(run: ExportRun, periods: Iterable[date]) -> dict[date, Spoken]:
    """For what a run speaks, by billing period. periods: those to which its charges count.

    A run with dates speaks for these, and with the first day of the month to which it counts what lies outside, for
    that too. A run without speaks for the periods in its rows, whole.
    """
    if run.days is None:
        return {period: Spoken(period, days_within(month_of(period)), True) for period in sorted(periods)}
    months = split_at_month_ends(run.days)
    first = months[0].start
    spoken = (
        Spoken(days.start.replace(day=1), days_within(days), days.start == first and first.day == 1) for days in months
    )
    return {each.period: each for each in spoken}


def days_within(days: Period) -> frozenset[date]:
    """Each day of a period."""
    return frozenset(days.start + number * DAY for number in range(days.days))


def left_to(run: ExportRun, spoken: Spoken, earlier: Iterable[tuple[ExportRun, Spoken]]) -> Spoken:
    """For what a run still speaks among those of its export that were believed: it changes this, and nothing else.

    earlier: what has spoken before, in whatever order; runs as old as this, too, and the run itself. What a newer one
    spoke for is that one's.
    """
    for other, its in earlier:
        if other.export.key == run.export.key and other.age > run.age:
            spoken = spoken.without(its)
    return spoken


@dataclass(frozen=True, slots=True)
class Placed:
    """A run's charges, each with its billing period.

    charges: for which it speaks. left_out: those for which another run of the export has to speak.
    """

    charges: Sums
    left_out: Sums
    spoken: Mapping[date, Spoken]

    @property
    def sentence(self) -> str | None:
        """What is left out; None where nothing is."""
        days = [key.day for key in self.left_out.charges]
        return left_out_in_words(self.left_out.rows, min(days), max(days)) if days else None


def left_out_in_words(rows: int, first: date, last: date) -> str:
    """That so many rows of these days are left out."""
    span = days_in_words(first, last)
    return f"{rows:,} {'row' if rows == 1 else 'rows'} of {span} left out, for which a run of other days speaks"


def placed(run: ExportRun, sums: Sums, periods: Iterable[date] = ()) -> Placed:
    """Where a run's charges count, and which it has to leave to another run of its export.

    periods: those to which its other charges count, where these are not all that it has.
    """
    whole = sums.placed(partial(billing_period, run))
    spoken = spoken_by(run, {*periods, *(_month(*each) for each in whole.days)})
    charges, left_out = whole.parted(lambda day, period: _speaks(spoken.get(_month(day, period)), day))
    return Placed(charges, left_out, spoken)


def counted(charges: Sums, spoken: Spoken) -> Sums:
    """What a run's placed charges put in the place of all that its export delivered where it still speaks."""
    return charges.parted(lambda day, period: period == spoken.period and day in spoken)[0]


def _month(day: date, period: date | None) -> date:
    return period or day.replace(day=1)


def _speaks(spoken: Spoken | None, day: date) -> bool:
    return spoken is not None and day in spoken
