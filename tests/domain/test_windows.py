"""Which days are read: every needed day once, the newest first, and none is lost when nights are missed."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.charges import ChargeSet
from shared.domain.coverage import Coverage, ReadPart, nights_lookback
from shared.domain.periods import Period, PeriodKind, PeriodRule, month_of, months_before
from shared.domain.windows import (
    MOST_PARTS,
    PARTS_AT_ONCE,
    at_once,
    due_totals,
    due_windows,
    longest,
    needed_from,
    split,
    without,
)

DAY = timedelta(days=1)
# How far back the provider answers, and for how many days at once: those of a calendar month, all in all.
MONTHS_OF_HISTORY = 13
MONTH = timedelta(days=31)
TODAY = date(2026, 11, 20)
TODAYS = st.dates(date(2023, 1, 1), date(2030, 12, 31))
LONGEST = st.one_of(st.just(MONTH), st.integers(3, 40).map(timedelta))
LOOKBACKS = st.one_of(st.just(35), st.integers(1, 366))
RULES = st.lists(
    st.one_of(
        st.builds(PeriodRule, st.sampled_from([k for k in PeriodKind if k is not PeriodKind.FIXED]), TODAYS),
        st.builds(
            lambda start, days: PeriodRule(PeriodKind.FIXED, start, start + timedelta(days=days)),
            TODAYS,
            st.integers(1, 1500),
        ),
    ),
    max_size=4,
)


def days_of(period: Period) -> list[date]:
    return [period.start + timedelta(days=offset) for offset in range(period.days)]


def read_through(known: dict[date, Coverage], windows: list[Period], night: date, lookback: int) -> None:
    """These windows are read on this night, each with a charge."""
    at = datetime.combine(night, time(2), UTC)
    charges = ChargeSet("CAD", {("rg", night, "Storage"): Decimal(1)}, {"rg": "rg"})
    for window in windows:
        month = window.start.replace(day=1)
        _, known[month] = known.get(month, Coverage(month)).read(
            ReadPart(window, (charges,), at), night, lookback, False
        )


# --- what a night reads --------------------------------------------------------------------------------------


def test_ordinarily_the_last_35_days_are_read_with_today_among_them() -> None:
    known: dict[date, Coverage] = {}
    for night in (TODAY - DAY, TODAY):
        windows = due_windows(known, None, night, 35, MONTHS_OF_HISTORY)
        read_through(known, windows, night, 35)
    assert windows == [Period(date(2026, 10, 17), date(2026, 11, 1)), Period(date(2026, 11, 1), date(2026, 11, 21))]


@given(month=TODAYS, closed_on=st.integers(2, 28))
def test_the_least_look_back_holds_the_whole_month_before_until_it_is_closed_and_not_a_day_more(
    month: date, closed_on: int
) -> None:
    first, before = month.replace(day=1), (month.replace(day=1) - timedelta(days=1)).replace(day=1)
    for day in range(1, closed_on):
        night = first.replace(day=day)
        windows = due_windows({}, None, night, nights_lookback(1, closed_on), 13)
        assert windows[0].start <= before
    if (first - before).days == 31:
        assert windows[0].start == before


@given(today=TODAYS, lookback=LOOKBACKS)
def test_a_second_run_of_the_same_day_reads_what_the_first_has_read(today: date, lookback: int) -> None:
    known: dict[date, Coverage] = {}
    first = due_windows(known, None, today, lookback, MONTHS_OF_HISTORY)
    read_through(known, first, today, lookback)
    assert due_windows(known, None, today, lookback, MONTHS_OF_HISTORY) == first
    assert sum(window.days for window in first) == lookback


@given(lookback=st.integers(2, 60), missed=st.lists(st.booleans(), min_size=1, max_size=150))
def test_however_nights_are_missed_each_day_is_read_again_once_it_can_be_final(
    lookback: int, missed: list[bool]
) -> None:
    """A day is final when `lookback` nights have begun since; its last reading must not be from before that."""
    first_night = date(2026, 1, 1)
    known, read_on = dict[date, Coverage](), dict[date, list[date]]()
    for offset, is_missed in enumerate([False, *missed]):
        night = first_night + timedelta(days=offset)
        if is_missed:
            continue
        windows = due_windows(known, None, night, lookback, MONTHS_OF_HISTORY)
        read_through(known, windows, night, lookback)
        for window in windows:
            for day in days_of(window):
                read_on.setdefault(day, []).append(night)
        for day in days_of(Period(first_night, night + DAY)):
            assert read_on[day][-1] >= min(day + timedelta(days=lookback - 1), night)


@given(lookback=st.integers(2, 60))
def test_without_missed_nights_each_day_is_read_on_exactly_as_many_nights_as_the_look_back_has_days(
    lookback: int,
) -> None:
    nights, known, read = [TODAY + timedelta(days=offset) for offset in range(3 * lookback)], {}, []
    for night in nights:
        windows = due_windows(known, None, night, lookback, MONTHS_OF_HISTORY)
        read_through(known, windows, night, lookback)
        read += [night for window in windows if nights[lookback] in window]
    assert read == [nights[lookback] + timedelta(days=offset) for offset in range(lookback)]


@given(bad=st.integers(5, 9), nights=st.integers(1, 60))
def test_a_month_that_can_not_be_read_is_due_each_night_and_holds_no_other(bad: int, nights: int) -> None:
    known: dict[date, Coverage] = {}
    for offset in range(nights):
        night = TODAY + offset * DAY
        windows = due_windows(known, date(2026, 4, 1), night, 35, MONTHS_OF_HISTORY)
        fails = [window for window in windows if (window.start.year, window.start.month) == (2026, bad)]
        assert fails == [month_of(date(2026, bad, 1))]
        read_through(known, [window for window in windows if window not in fails], night, 35)
        known[fails[0].start] = known.get(fails[0].start, Coverage(fails[0].start)).failed("no", night, 35)
        expected = [night - 34 * DAY, date(2026, 4, 1)][offset == 0]
        assert min(window.start for window in windows if window not in fails) == expected


@given(today=TODAYS, asleep=st.integers(1, 2000), lookback=LOOKBACKS)
def test_a_night_never_reads_back_more_than_13_months_nor_less_than_was_missed(
    today: date, asleep: int, lookback: int
) -> None:
    known: dict[date, Coverage] = {}
    last = today - timedelta(days=asleep)
    read_through(known, due_windows(known, None, last, lookback, MONTHS_OF_HISTORY), last, lookback)
    windows = due_windows(known, None, today, lookback, MONTHS_OF_HISTORY)
    oldest = months_before(today, 13)
    assert windows[0].start >= oldest
    assert windows[0].start == oldest or windows[0].start <= max(last, today - timedelta(days=lookback - 1))
    assert [day for window in windows for day in days_of(window)] == days_of(Period(windows[0].start, today + DAY))


@given(today=TODAYS, rules=RULES, lookback=LOOKBACKS)
def test_what_is_needed_is_read_once_and_in_later_nights_only_the_look_back(
    today: date, rules: list[PeriodRule], lookback: int
) -> None:
    known: dict[date, Coverage] = {}
    needed, oldest = needed_from(rules, today, MONTHS_OF_HISTORY), months_before(today, MONTHS_OF_HISTORY)
    start = max(oldest, today - timedelta(days=lookback - 1))
    first = due_windows(known, needed, today, lookback, MONTHS_OF_HISTORY)
    assert [day for window in first for day in days_of(window)] == days_of(
        Period(min(needed or start, start), today + DAY)
    )
    read_through(known, first, today, lookback)
    again = due_windows(known, needed, today, lookback, MONTHS_OF_HISTORY)
    assert again[0].start == start


def test_a_month_of_which_a_part_was_read_is_read_whole_where_more_is_needed() -> None:
    known: dict[date, Coverage] = {}
    read_through(known, due_windows(known, None, TODAY, 35, MONTHS_OF_HISTORY), TODAY, 35)
    assert due_windows(known, date(2026, 10, 1), TODAY, 35, MONTHS_OF_HISTORY)[0] == month_of(date(2026, 10, 1))


# --- how far back --------------------------------------------------------------------------------------------


@given(today=TODAYS, rules=RULES)
def test_needed_is_the_first_day_of_the_earliest_period_that_holds_today_but_for_13_months(
    today: date, rules: list[PeriodRule]
) -> None:
    needed = needed_from(rules, today, MONTHS_OF_HISTORY)
    oldest = months_before(today, MONTHS_OF_HISTORY)
    in_a_period = []
    for offset in range((today - oldest).days + 1):
        day = today - timedelta(days=offset)
        if any((period := rule.period_at(today)) is not None and day in period for rule in rules):
            in_a_period.append(day)
    assert needed == min(in_a_period, default=None)


def test_a_period_that_ended_before_its_first_reading_is_read_back_to_as_well() -> None:
    monthly = PeriodRule(PeriodKind.MONTHLY, date(2026, 1, 1))
    today, opened_from = date(2026, 11, 20), date(2026, 3, 1)
    assert needed_from([monthly], today, MONTHS_OF_HISTORY) == date(2026, 11, 1)
    assert needed_from([monthly], today, MONTHS_OF_HISTORY, opened_from) == opened_from
    assert needed_from([monthly], today, MONTHS_OF_HISTORY, date(2020, 1, 1)) == months_before(today, MONTHS_OF_HISTORY)


def test_an_account_whose_budgets_have_no_period_today_needs_nothing_but_the_window() -> None:
    over = PeriodRule(PeriodKind.FIXED, date(2025, 1, 1), date(2026, 1, 1))
    to_come = PeriodRule(PeriodKind.FIXED, date(2027, 1, 1), date(2028, 1, 1))
    assert needed_from([over, to_come], TODAY, MONTHS_OF_HISTORY) is None


# --- windows ---


@given(start=TODAYS, days=st.integers(1, 500), longest=LONGEST)
def test_a_window_is_of_one_month_and_no_longer_than_the_provider_answers(
    start: date, days: int, longest: timedelta
) -> None:
    whole = Period(start, start + timedelta(days=days))
    parts = split(whole, longest)
    assert [day for part in parts for day in days_of(part)] == days_of(whole)
    for part in parts:
        assert part.days <= longest.days
        assert (part.start.year, part.start.month) == ((part.end - DAY).year, (part.end - DAY).month)
    assert all(earlier.days == longest.days or later.start.day == 1 for earlier, later in pairwise(parts))


# --- messages ------------------------------------------------------------------------------------------------


@given(days=st.integers(1, 60), answered=st.lists(st.tuples(st.integers(-5, 60), st.integers(1, 20)), max_size=5))
def test_what_is_left_are_the_days_that_nobody_has_answered(days: int, answered: list[tuple[int, int]]) -> None:
    whole = Period(TODAY, TODAY + timedelta(days=days))
    windows = [Period(TODAY + start * DAY, TODAY + (start + length) * DAY) for start, length in answered]
    left = [day for each in without(whole, windows) for day in days_of(each)]
    assert left == [day for day in days_of(whole) if not any(day in window for window in windows)]


@given(today=TODAYS, lookback=LOOKBACKS, back=st.integers(0, 500), longest=LONGEST)
def test_no_message_asks_for_more_than_a_few_windows_and_the_look_back_comes_first(
    today: date, lookback: int, back: int, longest: timedelta
) -> None:
    due = due_windows({}, today - timedelta(days=back), today, lookback, MONTHS_OF_HISTORY)
    left = [part for window in due for part in split(window, longest)]
    nightly = sum(window.end > today - timedelta(days=lookback - 1) for window in left)
    assert at_once(left, today, lookback) == max(PARTS_AT_ONCE, min(nightly, MOST_PARTS))
    assert at_once(left[:-nightly], today, lookback) == PARTS_AT_ONCE


def test_a_final_month_is_compared_once_a_week_and_made_up_for_where_its_night_was_missed() -> None:
    month = date(2026, 4, 1)
    read = Coverage(
        month,
        read_from=month,
        read_through=date(2026, 4, 30),
        begun_at=datetime(2026, 11, 20, 2, tzinfo=UTC),
        good_on=date(2026, 11, 20),
    )
    whole, nights = [month_of(month)], [date(2026, 11, 20) + timedelta(days=days) for days in range(15)]
    asked = [night for night in nights if due_totals("a", {month: read}, month, night, 35)]
    # Since its weekday came, and until it is compared.
    first = asked[0]
    assert nights[0] < first <= nights[7]
    assert asked == nights[nights.index(first) :]
    late = first + timedelta(days=2)
    seen = read.compared(late, agrees=True)
    again = [night for night in nights if night > late and due_totals("a", {month: seen}, month, night, 35) == whole]
    assert again[0] == first + timedelta(days=7)
    for other in (None, date(2026, 5, 1)):
        assert due_totals("a", {month: read}, other, nights[-1], 35) == []
    assert due_totals("a", {month: read.compared(first, agrees=False)}, month, nights[-1], 35) == [], "it is to be read"


@pytest.mark.parametrize(
    ("calls", "pages_a_day", "before", "days"),
    [(6, 0, None, 31), (6, 0, 31, 31), (6, 0, 4, 8), (6, 0, 20, 31), (6, 1.0, 4, 6), (6, 0.1, 9, 31), (1, 3.0, 1, 1)],
)
def test_a_window_is_as_long_as_its_calls_reach_and_twice_as_long_as_before_where_a_page_was_enough(
    calls: int, pages_a_day: float, before: int | None, days: int
) -> None:
    assert longest(calls, pages_a_day, before) == days
