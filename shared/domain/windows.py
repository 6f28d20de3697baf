"""Which days' charges have to be read.

Charges change until they are invoiced, so a night reads the last weeks again; and an account is read back, once, to
the first day of the earliest budget period that holds today. How far back a provider answers (its months of history),
and how long a window may be, is its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from zlib import crc32

from shared.domain.coverage import LONGEST_MONTH, Coverage, Known
from shared.domain.periods import Period, PeriodRule, months_before, split_at_month_ends

# So many windows are read back in one message. The night's are read in one message too, up to MOST_PARTS, so that
# no message asks for more than a quota gives at once, or holds too much in memory.
PARTS_AT_ONCE = 2
MOST_PARTS = 4
DAY = timedelta(days=1)


def needed_from(rules: Iterable[PeriodRule], today: date, history: int, opened_from: date | None = None) -> date | None:
    """The first day of the earliest budget period that holds today; None without any. At most `history` months back.

    opened_from: that of the earliest period that was ever opened. One may have ended before its first reading, and
    what it carries on has to be known.
    """
    starts = [period.start for rule in rules if (period := rule.period_at(today)) is not None]
    starts += [opened_from] if opened_from else []
    return max(min(starts), months_before(today, history)) if starts else None


def due_windows(known: Known, needed: date | None, night: date, lookback_days: int, history: int) -> list[Period]:
    """What a night has to read, each in one month, oldest first: of each month its look-back, and what was missed.

    needed: the day back to which all has to be known (`needed_from`). A month that can't be read is due each night,
    and holds no other. A month that an export has delivered is read whole: one source says all of its days.
    """
    exported = {month for month, each in known.items() if each.is_exported}
    known = {month: known[month] for month in known.keys() - exported}
    oldest, lookback = months_before(night, history), night - (lookback_days - 1) * DAY
    back_to = max(oldest, min(needed or lookback, lookback))
    if (first := back_to.replace(day=1)) in exported:
        back_to = max(oldest, first)
    moving = [day for each in known.values() if (day := _moving_from(each, night, lookback_days))]
    since = max(oldest, min([back_to, *moving]))
    months = split_at_month_ends(Period(since, night + DAY))
    windows = (_due(known.get(days.start.replace(day=1)), days, back_to, night, lookback_days) for days in months)
    return [window for window in windows if window]


def _moving_from(known: Coverage, night: date, lookback_days: int) -> date | None:
    """Since when a month that was read is due; one that never was is due only where it is needed."""
    return known.due_from(night, lookback_days) if known.good_on or known.blank_believed_on else None


def _due(known: Coverage | None, days: Period, back_to: date, night: date, lookback_days: int) -> Period | None:
    if known is None or known.read_from is None or max(days.start, back_to) < known.read_from:
        return days
    since = known.due_from(night, lookback_days)
    return None if since is None or since >= days.end else Period(max(since, days.start), days.end)


def due_totals(sub_account_id: str, known: Known, needed: date | None, night: date, lookback_days: int) -> list[Period]:
    """Of which days the total is to be compared on this night, month by month: once a week, oldest first.

    Each sub-account has a weekday of its own, so that a week's nights share the work; a night that was missed is made
    up for. needed: the first day that somebody still counts on.
    """
    if needed is None:
        return []
    turn = night - (night.toordinal() - crc32(sub_account_id.lower().encode())) % 7 * DAY
    of_months = (known[month].days_to_compare(night, lookback_days, turn) for month in sorted(known))
    return [days for days in of_months if days and days.end > needed]


def split(days: Period, longest: timedelta) -> list[Period]:
    """The days in parts that are no longer than `longest` and each lie in one calendar month, oldest first."""
    return [part for month in split_at_month_ends(days) for part in _split(month, longest)]


def longest(calls: int, pages_a_day: float, before: int | None = None) -> int:
    """How many days a window has at most whose answer is to take no more than so many calls.

    pages_a_day: what each of its days takes; 0 where all windows were one page, of which the longest had `before` days:
    one that is twice as long tells more. None: nothing is known yet.
    """
    if not pages_a_day:
        return LONGEST_MONTH if before is None else min(LONGEST_MONTH, 2 * before)
    return max(1, min(LONGEST_MONTH, int(calls / pages_a_day)))


def without(days: Period, answered: Iterable[Period]) -> list[Period]:
    """The days that none of these holds, oldest first."""
    left = [days]
    for window in answered:
        left = [rest for each in left for rest in _outside(each, window)]
    return left


def at_once(left: Sequence[Period], night: date, lookback_days: int) -> int:
    """How many of these windows one message reads: those of the look-back, and of older ones a few."""
    lookback = night - (lookback_days - 1) * DAY
    return max(PARTS_AT_ONCE, min(sum(window.end > lookback for window in left), MOST_PARTS))


def _split(month: Period, longest: timedelta) -> list[Period]:
    starts = [month.start + timedelta(days=days) for days in range(0, month.days, longest.days)]
    return [Period(start, end) for start, end in pairwise([*starts, month.end])]


def _outside(days: Period, window: Period) -> list[Period]:
    ends = [(days.start, min(days.end, window.start)), (max(days.start, window.end), days.end)]
    return [Period(start, end) for start, end in ends if start < end]
