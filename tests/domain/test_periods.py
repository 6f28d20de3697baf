"""Budget periods tile the calendar: counted day by day, with a calendar in hand."""

import calendar
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.periods import (
    MONTHS_IN,
    Period,
    PeriodError,
    PeriodKind,
    PeriodRule,
    make_rule,
    months_before,
    split_at_month_ends,
)

DAY = timedelta(days=1)
DAYS = st.dates(date(1999, 1, 1), date(2101, 12, 31))
RECURRING = st.sampled_from([PeriodKind.ANNUAL, PeriodKind.QUARTERLY, PeriodKind.MONTHLY])
ODD_STARTS = [
    *(date(2024, 2, 29), date(2023, 1, 31), date(2023, 5, 31), date(2023, 8, 30), date(2023, 12, 31)),
    *(date(2023, 2, 28), date(2026, 1, 1), date(2026, 4, 1), date(2026, 3, 15)),
]


def begins_on(rule: PeriodRule, day: date) -> bool:
    """Whether a period begins on this day, as a person sees from the calendar on the wall."""
    months = {(rule.start.month - 1 + step) % 12 + 1 for step in range(0, 12, MONTHS_IN[rule.kind])}
    is_last_of_month = (day + DAY).month != day.month
    is_the_day = day.day == rule.start.day or (is_last_of_month and day.day < rule.start.day)
    return day.month in months and is_the_day


def found_day_by_day(rule: PeriodRule, day: date) -> Period:
    start = day
    while not begins_on(rule, start):
        start -= DAY
    end = day + DAY
    while not begins_on(rule, end):
        end += DAY
    return Period(start, end)


@given(kind=RECURRING, start=st.one_of(DAYS, st.sampled_from(ODD_STARTS)), day=DAYS)
def test_the_period_of_a_day_is_the_one_that_is_found_by_walking_both_ways(
    kind: PeriodKind, start: date, day: date
) -> None:
    rule = PeriodRule(kind, start)
    assert rule.period_at(day) == found_day_by_day(rule, day)


@pytest.mark.parametrize("kind", [PeriodKind.ANNUAL, PeriodKind.QUARTERLY, PeriodKind.MONTHLY])
@pytest.mark.parametrize("start", ODD_STARTS, ids=str)
def test_periods_tile_eight_years_without_gap_or_overlap(kind: PeriodKind, start: date) -> None:
    rule = PeriodRule(kind, start)
    day, periods = date(2022, 1, 1), []
    while day < date(2030, 1, 1):
        period = rule.period_at(day)
        assert period is not None
        assert day in period
        assert not periods or period.start == periods[-1].end
        assert rule.period_at(period.start) == rule.period_at(period.end - DAY) == period
        periods.append(period)
        day = period.end
    assert len(periods) in {8 * 12 // MONTHS_IN[kind], 8 * 12 // MONTHS_IN[kind] + 1}


@pytest.mark.parametrize(
    ("kind", "start", "day", "expected"),
    [
        ("annual", "2026-04-01", "2026-11-20", ("2026-04-01", "2027-04-01")),
        ("annual", "2026-04-01", "2027-03-31", ("2026-04-01", "2027-04-01")),
        ("annual", "2026-04-01", "2027-04-01", ("2027-04-01", "2028-04-01")),
        ("annual", "2024-02-29", "2024-02-29", ("2024-02-29", "2025-02-28")),
        ("annual", "2024-02-29", "2025-02-28", ("2025-02-28", "2026-02-28")),
        ("annual", "2024-02-29", "2028-02-28", ("2027-02-28", "2028-02-29")),
        ("annual", "2024-02-29", "2028-02-29", ("2028-02-29", "2029-02-28")),
        ("annual", "2025-12-31", "2026-12-30", ("2025-12-31", "2026-12-31")),
        ("quarterly", "2026-01-01", "2026-11-20", ("2026-10-01", "2027-01-01")),
        ("quarterly", "2026-11-30", "2027-03-01", ("2027-02-28", "2027-05-30")),
        ("quarterly", "2026-02-01", "2026-01-31", ("2025-11-01", "2026-02-01")),
        ("monthly", "2026-01-31", "2026-02-27", ("2026-01-31", "2026-02-28")),
        ("monthly", "2026-01-31", "2024-02-29", ("2024-02-29", "2024-03-31")),
        ("monthly", "2026-01-31", "2026-12-31", ("2026-12-31", "2027-01-31")),
        ("monthly", "2026-01-01", "2026-12-31", ("2026-12-01", "2027-01-01")),
    ],
)
def test_periods_at_the_corners_of_the_calendar(kind: str, start: str, day: str, expected: tuple[str, str]) -> None:
    rule = PeriodRule(PeriodKind(kind), date.fromisoformat(start))
    assert rule.period_at(date.fromisoformat(day)) == Period(*map(date.fromisoformat, expected))


@pytest.mark.parametrize(("year", "days"), [(2023, 366), (2024, 365), (2025, 365), (2026, 365), (2027, 366)])
def test_a_fiscal_year_has_366_days_where_it_holds_a_leap_day(year: int, days: int) -> None:
    period = PeriodRule(PeriodKind.ANNUAL, date(2000, 4, 1)).period_at(date(year, 4, 1))
    assert period is not None
    assert period.days == days


@given(kind=RECURRING, start=DAYS, years=st.integers(-20, 20), day=DAYS)
def test_the_year_of_a_start_does_not_count(kind: PeriodKind, start: date, years: int, day: date) -> None:
    year = start.year + years
    other = date(year, start.month, min(start.day, calendar.monthrange(year, start.month)[1]))
    if other.day == start.day:
        assert PeriodRule(kind, start).period_at(day) == PeriodRule(kind, other).period_at(day)


@given(start=DAYS, length=st.integers(1, 2000), offset=st.integers(-2100, 2100))
def test_a_fixed_budget_has_one_period_that_holds_its_start_and_not_its_end(
    start: date, length: int, offset: int
) -> None:
    end = start + timedelta(days=length)
    rule = PeriodRule(PeriodKind.FIXED, start, end)
    day = start + timedelta(days=offset)
    assert rule.period_at(day) == (Period(start, end) if 0 <= offset < length else None)


@given(start=DAYS, length=st.integers(1, 800))
def test_a_period_has_as_many_days_as_can_be_counted_in_it(start: date, length: int) -> None:
    period = Period(start, start + timedelta(days=length))
    around = [start + timedelta(days=offset) for offset in range(-2, length + 2)]
    assert period.days == len([day for day in around if day in period]) == length


@pytest.mark.parametrize("length", [0, -1, -400])
def test_a_period_without_a_day_is_refused(length: int) -> None:
    start = date(2026, 4, 1)
    with pytest.raises(PeriodError, match="holds no day; it has to end later"):
        Period(start, start + timedelta(days=length))
    with pytest.raises(PeriodError, match="holds no day; it has to end later"):
        PeriodRule(PeriodKind.FIXED, start, start + timedelta(days=length))


def test_only_fixed_rules_take_an_end_and_they_need_one() -> None:
    with pytest.raises(PeriodError, match="a period_end goes with fixed periods only, not with monthly"):
        PeriodRule(PeriodKind.MONTHLY, date(2026, 4, 1), date(2026, 5, 1))
    with pytest.raises(PeriodError, match="needs period_start and period_end"):
        PeriodRule(PeriodKind.FIXED, date(2026, 4, 1))


# --- what people enter ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "day", "start"),
    [
        (PeriodKind.ANNUAL, date(2026, 3, 31), date(2025, 4, 1)),
        (PeriodKind.ANNUAL, date(2026, 4, 1), date(2026, 4, 1)),
        (PeriodKind.QUARTERLY, date(2026, 11, 20), date(2026, 10, 1)),
        (PeriodKind.MONTHLY, date(2026, 11, 20), date(2026, 11, 1)),
    ],
)
def test_without_a_start_years_begin_in_april_and_quarters_and_months_with_the_calendars(
    kind: PeriodKind, day: date, start: date
) -> None:
    period = make_rule(kind, None, None).period_at(day)
    assert period is not None
    assert period.start == start


@given(kind=RECURRING, start=DAYS)
def test_a_recurring_budget_takes_the_end_that_follows_from_its_start_anyway_and_no_other(
    kind: PeriodKind, start: date
) -> None:
    rule = PeriodRule(kind, start)
    first = found_day_by_day(rule, start)
    assert make_rule(kind, start, None) == make_rule(kind, start, first.end - DAY) == rule
    for wrong in (first.end - 2 * DAY, first.end, first.end + DAY, start):
        with pytest.raises(
            PeriodError, match=f"does not fit a budget that is {kind}; leave it empty, or write {first.end - DAY}"
        ):
            make_rule(kind, start, wrong)


def test_an_end_without_a_start_is_refused_for_recurring_budgets() -> None:
    with pytest.raises(
        PeriodError, match=r"period_end 2027-04-01 does not fit a budget that is annual; leave it empty$"
    ):
        make_rule(PeriodKind.ANNUAL, None, date(2027, 4, 1))


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (date(2026, 4, 1), None), (None, date(2026, 4, 1))], ids=["none", "start", "end"]
)
def test_a_fixed_budget_needs_both_days(start: date | None, end: date | None) -> None:
    with pytest.raises(PeriodError, match="a fixed period needs period_start and period_end"):
        make_rule(PeriodKind.FIXED, start, end)


@given(start=DAYS, length=st.integers(1, 2000))
def test_people_name_a_fixed_budgets_first_and_last_day(start: date, length: int) -> None:
    last = start + (length - 1) * DAY
    rule = make_rule(PeriodKind.FIXED, start, last)
    period = rule.period_at(last)
    assert period == Period(start, last + DAY)
    assert rule.last_day == period.last_day == last


def test_a_recurring_budget_has_no_last_day() -> None:
    assert make_rule(PeriodKind.ANNUAL, None, None).last_day is None


def test_no_budget_begins_or_ends_at_the_end_of_time() -> None:
    with pytest.raises(PeriodError, match="period_end 9999-12-31 is too late"):
        make_rule(PeriodKind.FIXED, date(2026, 4, 1), date.max)
    for kind in MONTHS_IN:
        with pytest.raises(PeriodError, match="period_start 9999-12-31 is too late"):
            make_rule(kind, date.max, date.max)


# --- months --------------------------------------------------------------------------------------------------


@given(day=DAYS, months=st.integers(0, 40))
def test_months_before_is_the_same_day_so_many_pages_of_the_calendar_back(day: date, months: int) -> None:
    page = day.replace(day=1)
    for _ in range(months):
        page = (page - DAY).replace(day=1)
    on_the_page = [page + timedelta(days=offset) for offset in range(31)]
    expected = max(each for each in on_the_page if each.month == page.month and each.day <= day.day)
    assert months_before(day, months) == expected


@given(start=DAYS, length=st.integers(1, 500))
def test_a_window_is_split_into_parts_that_hold_each_of_its_days_once_and_no_two_months(
    start: date, length: int
) -> None:
    window = Period(start, start + timedelta(days=length))
    parts = split_at_month_ends(window)
    days = [part.start + timedelta(days=offset) for part in parts for offset in range(part.days)]
    assert days == [start + timedelta(days=offset) for offset in range(length)]
    assert all(part.days <= 31 for part in parts)
    months = [{(day.year, day.month) for day in days if day in part} for part in parts]
    assert all(len(month) == 1 for month in months)
    assert len(parts) == len(set.union(*months))


@given(st.builds(PeriodRule, RECURRING, st.sampled_from(ODD_STARTS)), DAYS)
def test_another_period_starts_the_day_after_the_last(rule: PeriodRule, day: date) -> None:
    start = rule.next_start(day)
    assert start
    assert rule.period_at(start) != rule.period_at(start - DAY) == rule.period_at(day)


def test_a_fixed_period_starts_and_ends_once() -> None:
    rule = PeriodRule(PeriodKind.FIXED, date(2026, 3, 1), date(2026, 5, 1))
    days = (
        date(2020, 1, 1),
        date(2026, 2, 28),
        date(2026, 3, 1),
        date(2026, 4, 30),
        date(2026, 5, 1),
        date(2030, 1, 1),
    )
    assert [rule.next_start(day) for day in days] == [rule.start, rule.start, rule.end, rule.end, None, None]
