"""Which days' charges have to be read (DESIGN 5, "Reading costs")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from shared.domain.periods import Period, PeriodRule, months_before, split_at_month_ends

# The provider keeps this much (FACTS 1).
MONTHS_OF_HISTORY = 13
# A message reads the window, or this many months where that is more, so that none uses a large share of the quota
# or of the memory.
PARTS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """What one message reads. Each part is one query, and one query unit.

    next_before: where days are left that a further message has to read, those before this one.
    """

    parts: tuple[Period, ...]
    next_before: date | None

    @property
    def since(self) -> date:
        """The first day that is read."""
        return min(part.start for part in self.parts)


def night_window(today: date, lookback_days: int, read_until: date | None) -> Period:
    """The days that are read again: the last `lookback_days`, today among them.

    A day is read on `lookback_days` nights in a row before it counts as final; nights that were missed since
    `read_until` are made up for. At most 13 months.
    """
    last_night = min(read_until, today - timedelta(days=1)) if read_until else today - timedelta(days=1)
    start = last_night - timedelta(days=lookback_days - 2)
    return Period(max(min(start, today), months_before(today, MONTHS_OF_HISTORY)), today + timedelta(days=1))


def needed_from(rules: Iterable[PeriodRule], today: date) -> date | None:
    """The first day of the earliest budget period that holds today; None without any. At most 13 months back."""
    starts = [period.start for rule in rules if (period := rule.period_at(today)) is not None]
    return max(min(starts), months_before(today, MONTHS_OF_HISTORY)) if starts else None


def left_to_read(rules: Iterable[PeriodRule], read_from: date | None, today: date) -> date | None:
    """The day back to which an account must still be read; None where all that is needed has been read."""
    needed = needed_from(rules, today)
    return None if needed is None or (read_from is not None and read_from <= needed) else needed


def plan(window: Period, back_to: date | None, before: date | None = None) -> ReadingPlan:
    """What one message reads, of the window and of the days from `back_to` up to it.

    before: set in messages that go on reading back: the days from this one on have been read.
    """
    recent = [] if before else split_at_month_ends(window)
    past_end = min(before or window.start, window.start)
    past = split_at_month_ends(Period(back_to, past_end)) if back_to and back_to < past_end else []
    room = max(PARTS_AT_ONCE - len(recent), 0)
    taken = [*recent, *past[len(past) - room :]] if room else recent
    left = past[: len(past) - room] if room else past
    return ReadingPlan(tuple(taken), min(part.start for part in taken) if left and taken else None)


def units(window: Period, back_to: date | None) -> int:
    """How many query units reading the window, and back to a day, takes in all."""
    start = min(back_to or window.start, window.start)
    past = split_at_month_ends(Period(start, window.start)) if start < window.start else []
    return len(split_at_month_ends(window)) + len(past)
