"""Which days are read: every needed day once, the newest first, and none is lost when nights are missed."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.periods import Period, PeriodKind, PeriodRule, months_before
from shared.domain.windows import (
    MOST_PARTS,
    PARTS_AT_ONCE,
    ReadingPlan,
    left_to_read,
    needed_from,
    night_window,
    plan,
    plan_onward,
    queries,
    split,
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


def all_messages(window: Period, back_to: date | None, longest: timedelta = MONTH) -> list[ReadingPlan]:
    """The first message's plan and those of the messages that follow it."""
    plans = [plan(window, back_to, longest)]
    while (left := plans[-1].left) is not None:
        plans.append(plan_onward(left, longest))
        assert len(plans) < 400, "reading back does not come to an end"
    return plans


# --- the night's window --------------------------------------------------------------------------------------


def test_ordinarily_the_last_35_days_are_read_with_today_among_them() -> None:
    window = night_window(TODAY, 35, TODAY - DAY, MONTHS_OF_HISTORY)
    assert window == Period(date(2026, 10, 17), date(2026, 11, 21))
    assert window.days == 35


@given(today=TODAYS, lookback=LOOKBACKS, ahead=st.integers(-1, 40))
def test_a_first_night_and_a_second_run_of_the_same_day_read_what_an_ordinary_night_reads(
    today: date, lookback: int, ahead: int
) -> None:
    ordinary = night_window(today, lookback, None, MONTHS_OF_HISTORY)
    assert ordinary.end == today + DAY
    assert ordinary.days == lookback
    assert night_window(today, lookback, today + timedelta(days=ahead), MONTHS_OF_HISTORY) == ordinary


@given(
    lookback=st.integers(1, 60),
    missed=st.lists(st.booleans(), min_size=1, max_size=150),
)
def test_however_nights_are_missed_each_day_is_read_again_once_it_can_be_final(
    lookback: int, missed: list[bool]
) -> None:
    """A day is final when `lookback` nights have begun since; its last reading must not be from before that."""
    first_night = date(2026, 1, 1)
    read_until, read_on = None, {}
    for offset, is_missed in enumerate([False, *missed]):
        today = first_night + timedelta(days=offset)
        if is_missed:
            continue
        for day in days_of(night_window(today, lookback, read_until, MONTHS_OF_HISTORY)):
            read_on.setdefault(day, []).append(today)
        read_until = today
        for day in days_of(Period(first_night, today + DAY)):
            final_on = day + timedelta(days=lookback - 1)
            assert read_on[day][-1] >= min(final_on, today)


@given(lookback=st.integers(1, 60))
def test_without_missed_nights_each_day_is_read_on_exactly_as_many_nights_as_the_look_back_has_days(
    lookback: int,
) -> None:
    nights = [TODAY + timedelta(days=offset) for offset in range(3 * lookback)]
    windows = [night_window(night, lookback, night - DAY, MONTHS_OF_HISTORY) for night in nights]
    day = nights[lookback]
    assert [night for night, window in zip(nights, windows, strict=True) if day in window] == [
        day + timedelta(days=offset) for offset in range(lookback)
    ]


@given(today=TODAYS, lookback=LOOKBACKS, asleep=st.integers(1, 2000))
def test_a_window_never_reaches_back_more_than_13_months_nor_less_than_was_missed(
    today: date, lookback: int, asleep: int
) -> None:
    read_until = today - timedelta(days=asleep)
    window = night_window(today, lookback, read_until, MONTHS_OF_HISTORY)
    oldest = months_before(today, 13)
    assert window.start >= oldest
    assert window.end == today + DAY
    assert window.start == oldest or window.start <= read_until + DAY
    assert window.days >= min(lookback, (today - oldest).days + 1)


@given(today=TODAYS, asleep=st.integers(0, 2000), history=st.integers(1, 40))
def test_how_far_back_a_night_reads_and_what_is_needed_is_bounded_by_the_providers_history(
    today: date, asleep: int, history: int
) -> None:
    oldest = months_before(today, history)
    assert night_window(today, 35, today - timedelta(days=asleep), history).start >= oldest
    since = today - timedelta(days=2000)
    assert needed_from([PeriodRule(PeriodKind.FIXED, since, today + DAY)], today, history) == max(since, oldest)
    assert needed_from([PeriodRule(PeriodKind.MONTHLY, since)], today, history, since) == max(since, oldest)


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


@given(today=TODAYS, rules=RULES, read=st.one_of(st.none(), st.integers(0, 500)))
def test_what_has_been_read_is_not_left_to_read(today: date, rules: list[PeriodRule], read: int | None) -> None:
    read_from = None if read is None else today - timedelta(days=read)
    left = left_to_read(rules, read_from, today, MONTHS_OF_HISTORY)
    needed = needed_from(rules, today, MONTHS_OF_HISTORY)
    missing = needed is not None and (read_from is None or needed < read_from)
    assert left == (needed if missing else None)


def test_a_period_that_ended_before_its_first_reading_is_read_back_to_as_well() -> None:
    monthly = PeriodRule(PeriodKind.MONTHLY, date(2026, 1, 1))
    today, opened_from = date(2026, 11, 20), date(2026, 3, 1)
    assert needed_from([monthly], today, MONTHS_OF_HISTORY) == date(2026, 11, 1)
    assert needed_from([monthly], today, MONTHS_OF_HISTORY, opened_from) == opened_from
    assert left_to_read([monthly], date(2026, 3, 2), today, MONTHS_OF_HISTORY, opened_from) == opened_from
    assert left_to_read([monthly], opened_from, today, MONTHS_OF_HISTORY, opened_from) is None
    assert needed_from([monthly], today, MONTHS_OF_HISTORY, date(2020, 1, 1)) == months_before(today, MONTHS_OF_HISTORY)


def test_an_account_whose_budgets_have_no_period_today_needs_nothing_but_the_window() -> None:
    over = PeriodRule(PeriodKind.FIXED, date(2025, 1, 1), date(2026, 1, 1))
    to_come = PeriodRule(PeriodKind.FIXED, date(2027, 1, 1), date(2028, 1, 1))
    assert needed_from([over, to_come], TODAY, MONTHS_OF_HISTORY) is None
    assert left_to_read([over, to_come], None, TODAY, MONTHS_OF_HISTORY) is None


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


@given(
    today=TODAYS,
    lookback=LOOKBACKS,
    asleep=st.integers(0, 400),
    back=st.one_of(st.none(), st.integers(0, 500)),
    longest=LONGEST,
)
def test_message_after_message_every_needed_day_is_read_exactly_once(
    today: date, lookback: int, asleep: int, back: int | None, longest: timedelta
) -> None:
    window = night_window(today, lookback, today - timedelta(days=asleep), MONTHS_OF_HISTORY)
    back_to = None if back is None else today - timedelta(days=back)
    plans = all_messages(window, back_to, longest)
    read = [day for each in plans for part in each.parts for day in days_of(part)]
    assert len(read) == len(set(read))
    assert sorted(read) == days_of(Period(min(back_to or window.start, window.start), window.end))


@given(today=TODAYS, lookback=st.integers(1, 90), back=st.integers(0, 500))
def test_the_window_comes_first_whole_and_then_the_months_before_newest_first(
    today: date, lookback: int, back: int
) -> None:
    window = night_window(today, lookback, None, MONTHS_OF_HISTORY)
    plans = all_messages(window, today - timedelta(days=back))
    first = {day for part in plans[0].parts for day in days_of(part)}
    assert first >= set(days_of(window))
    for earlier, later in pairwise(plans):
        assert earlier.left is not None
        assert earlier.left.end == earlier.parts[0].start
        assert later.parts[-1].end == earlier.left.end


@given(today=TODAYS, lookback=LOOKBACKS, back=st.integers(0, 500), longest=LONGEST)
def test_no_message_asks_for_more_than_a_few_windows(today: date, lookback: int, back: int, longest: timedelta) -> None:
    window = night_window(today, lookback, None, MONTHS_OF_HISTORY)
    plans = all_messages(window, today - timedelta(days=back), longest)
    assert 1 <= len(plans[0].parts) <= MOST_PARTS
    assert all(1 <= len(each.parts) <= PARTS_AT_ONCE for each in plans[1:])


@given(today=TODAYS, lookback=LOOKBACKS, back=st.one_of(st.none(), st.integers(0, 500)), longest=LONGEST)
def test_the_queries_that_a_night_announces_are_those_that_its_messages_make(
    today: date, lookback: int, back: int | None, longest: timedelta
) -> None:
    window = night_window(today, lookback, None, MONTHS_OF_HISTORY)
    back_to = None if back is None else today - timedelta(days=back)
    assert queries(window, back_to, longest) == sum(len(each.parts) for each in all_messages(window, back_to, longest))


def test_an_account_that_was_read_back_to_the_periods_first_day_is_done_and_a_day_less_is_not() -> None:
    fiscal_year = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))
    assert left_to_read([fiscal_year], date(2026, 4, 1), TODAY, MONTHS_OF_HISTORY) is None
    assert left_to_read([fiscal_year], date(2026, 4, 2), TODAY, MONTHS_OF_HISTORY) == date(2026, 4, 1)


def test_a_new_project_with_a_fiscal_year_is_read_back_to_april_in_messages_of_two_months() -> None:
    window = night_window(TODAY, 35, None, MONTHS_OF_HISTORY)
    plans = all_messages(window, date(2026, 4, 1))
    starts = [[part.start.isoformat() for part in sorted(each.parts, key=lambda part: part.start)] for each in plans]
    assert starts == [
        ["2026-10-01", "2026-11-01"],
        ["2026-08-01", "2026-09-01"],
        ["2026-06-01", "2026-07-01"],
        ["2026-04-01", "2026-05-01"],
    ]
    assert queries(window, date(2026, 4, 1), MONTH) == 8
