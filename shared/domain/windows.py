"""Which days' charges have to be read.

Charges change until they are invoiced, so a night reads the last weeks again; and an account is read back, once, to
the first day of the earliest budget period that holds today. How far back a provider answers (its months of history),
and how long a window may be, is its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from shared.domain.periods import Period, PeriodRule, months_before, split_at_month_ends

# So many windows are read back in one message. The night's are read in one message too, up to MOST_PARTS, so that
# no message asks for more than a quota gives at once, or holds too much in memory.
PARTS_AT_ONCE = 2
MOST_PARTS = 4


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """What one message reads. Each part is one query.

    left: the earlier days that a further message has to read; None where this one is the last.
    """

    parts: tuple[Period, ...]
    left: Period | None


def night_window(today: date, lookback_days: int, read_until: date | None, history: int) -> Period:
    """The days that are read again: the last `lookback_days`, today among them.

    A day is read on `lookback_days` nights in a row before it counts as final; nights that were missed since
    `read_until` are made up for. At most `history` months.
    """
    last_night = min(read_until, today - timedelta(days=1)) if read_until else today - timedelta(days=1)
    start = last_night - timedelta(days=lookback_days - 2)
    return Period(max(min(start, today), months_before(today, history)), today + timedelta(days=1))


def needed_from(rules: Iterable[PeriodRule], today: date, history: int, opened_from: date | None = None) -> date | None:
    """The first day of the earliest budget period that holds today; None without any. At most `history` months back.

    opened_from: that of the earliest period that was ever opened. One may have ended before its first reading, and
    what it carries on has to be known.
    """
    starts = [period.start for rule in rules if (period := rule.period_at(today)) is not None]
    starts += [opened_from] if opened_from else []
    return max(min(starts), months_before(today, history)) if starts else None


def left_to_read(
    rules: Iterable[PeriodRule], read_from: date | None, today: date, history: int, opened_from: date | None = None
) -> date | None:
    """The day back to which an account must still be read; None where all that is needed has been read."""
    needed = needed_from(rules, today, history, opened_from)
    return None if needed is None or (read_from is not None and read_from <= needed) else needed


def plan(window: Period, back_to: date | None, longest: timedelta) -> ReadingPlan:
    """What the first message reads, of the window and of the days from `back_to` up to it: the latest of them."""
    most = min(len(split(window, longest)), MOST_PARTS)
    return _latest(_wanted(window, back_to), max(most, PARTS_AT_ONCE), longest)


def plan_onward(left: Period, longest: timedelta) -> ReadingPlan:
    """What a further message reads of the days that are left."""
    return _latest(left, PARTS_AT_ONCE, longest)


def queries(window: Period, back_to: date | None, longest: timedelta) -> int:
    """How many queries reading the window, and back to a day, takes in all."""
    return len(split(_wanted(window, back_to), longest))


def split(days: Period, longest: timedelta) -> list[Period]:
    """The days in parts that are no longer than `longest` and each lie in one calendar month, oldest first."""
    return [part for month in split_at_month_ends(days) for part in _split(month, longest)]


def _split(month: Period, longest: timedelta) -> list[Period]:
    starts = [month.start + timedelta(days=days) for days in range(0, month.days, longest.days)]
    return [Period(start, end) for start, end in pairwise([*starts, month.end])]


def _wanted(window: Period, back_to: date | None) -> Period:
    return Period(min(back_to or window.start, window.start), window.end)


def _latest(wanted: Period, most: int, longest: timedelta) -> ReadingPlan:
    parts = split(wanted, longest)
    taken, left = parts[-most:], parts[:-most]
    return ReadingPlan(tuple(taken), Period(left[0].start, left[-1].end) if left else None)
