"""The forecast: against straight lines over made-up spending, by what has to hold for all spending, and in corners."""

import random
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.forecast import SHAPES, Outcome, back_test, median_errors
from shared.domain.forecast import (
    MIN_DAYS,
    MIN_WARNING_DAYS,
    Forecast,
    as_told,
    forecast,
    spent_between,
    used_up_on,
    warns,
)
from shared.domain.periods import Period

DAY = timedelta(days=1)
START = date(2026, 4, 1)
YEAR = Period(START, date(2027, 4, 1))
MONTH = Period(START, date(2026, 5, 1))
COSTS = st.lists(st.integers(-30, 100), max_size=150)
CHARGES = st.lists(st.integers(0, 100), max_size=150)
AMOUNTS = st.integers(1, 20_000)


def spending(costs: Sequence[int | Decimal], start: date = START) -> dict[date, Decimal]:
    return {start + timedelta(days=offset): Decimal(cost) for offset, cost in enumerate(costs)}


def steady(days: int, cost: str = "10") -> dict[date, Decimal]:
    return spending([Decimal(cost)] * days)


def made(daily: dict[date, Decimal], period: Period, today: date) -> Forecast:
    found = forecast(daily, period, today)
    assert found is not None
    return found


def spent(daily: dict[date, Decimal], period: Period) -> Decimal:
    return spent_between(daily, period.start, period.end)


# --- against the straight line from the period's start ---------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return list(back_test(seed=3, series=20))


def test_the_forecast_is_far_better_than_the_straight_line_overall(outcomes: list[Outcome]) -> None:
    error, line_error = median_errors(outcomes)
    assert error < 0.6 * line_error


@pytest.mark.parametrize(
    ("shape", "most"), [("steady", 1.1), ("weekday", 1.1), ("growing", 0.95), ("burst", 0.95), ("stopped", 0.7)]
)
def test_no_shape_of_spending_is_forecast_worse_than_by_the_straight_line(
    outcomes: list[Outcome], shape: str, most: float
) -> None:
    """Where a line is all there is to find, it is no better; where it is not, the forecast is."""
    error, line_error = median_errors([outcome for outcome in outcomes if outcome.shape == shape])
    assert error <= most * line_error


def test_the_shapes_are_all_compared() -> None:
    assert set(SHAPES) == {"steady", "weekday", "growing", "burst", "stopped"}


def test_the_bounds_hold_in_about_80_percent_of_cases(outcomes: list[Outcome]) -> None:
    assert 0.75 <= sum(outcome.within for outcome in outcomes) / len(outcomes) <= 0.88


# --- for all spending ------------------------------------------------------------------------------------------


@given(cost=st.integers(1, 10**6), length=st.integers(5, 400), day=st.integers(4, 500))
def test_spending_that_never_changes_is_forecast_exactly_on_every_day(cost: int, length: int, day: int) -> None:
    period = Period(START, START + length * DAY)
    known = spending([cost] * min(day, length))
    assert made(known, period, START + day * DAY).total == cost * length


@given(cost=st.integers(1, 1000), length=st.integers(5, 400), day=st.integers(4, 399), amount=st.integers(1, 500_000))
def test_spending_that_never_changes_uses_a_budget_up_on_the_day_that_division_gives(
    cost: int, length: int, day: int, amount: int
) -> None:
    assume(day < length)
    period = Period(START, START + length * DAY)
    days = -(-amount // cost)
    expected = START + (days - 1) * DAY if days <= length else None
    assert used_up_on(spending([cost] * day), Decimal(amount), period, START + day * DAY) == expected


@given(costs=COSTS, amount=AMOUNTS, length=st.integers(1, 200), after=st.integers(0, 5))
def test_a_budget_is_used_up_within_the_period_exactly_if_spending_or_forecast_come_to_it(
    costs: list[int], amount: int, length: int, after: int
) -> None:
    period, today = Period(START, START + length * DAY), START + (len(costs) + after) * DAY
    found = forecast(spending(costs), period, today)
    reached = spent(spending(costs), period) >= amount or (found is not None and found.total >= amount)
    day = used_up_on(spending(costs), Decimal(amount), period, today)
    assert (day is not None) == reached
    assert day is None or day in period


@given(costs=COSTS, amount=AMOUNTS, more=st.integers(0, 5000))
def test_a_larger_budget_is_never_used_up_earlier(costs: list[int], amount: int, more: int) -> None:
    today = START + len(costs) * DAY
    day = used_up_on(spending(costs), Decimal(amount), YEAR, today)
    later = used_up_on(spending(costs), Decimal(amount + more), YEAR, today)
    assert later is None or (day is not None and day <= later)


@given(costs=COSTS, amount=AMOUNTS)
def test_a_budget_that_is_not_used_up_yet_will_not_be_so_before_today(costs: list[int], amount: int) -> None:
    assume(sum(costs) < amount)
    today = START + len(costs) * DAY
    day = used_up_on(spending(costs), Decimal(amount), YEAR, today)
    assert day is None or day >= today


@given(costs=COSTS.filter(bool), amount=AMOUNTS)
def test_a_budget_that_is_used_up_already_was_so_on_the_first_day_that_came_to_it(
    costs: list[int], amount: int
) -> None:
    assume(sum(costs) >= amount)
    first = next(count for count in range(1, len(costs) + 1) if sum(costs[:count]) >= amount)
    assert used_up_on(spending(costs), Decimal(amount), YEAR, START + len(costs) * DAY) == START + (first - 1) * DAY


@given(costs=COSTS, length=st.integers(1, 200), after=st.integers(-3, 5))
def test_the_bounds_lie_on_either_side_and_what_is_spent_stays_spent(costs: list[int], length: int, after: int) -> None:
    period, daily = Period(START, START + length * DAY), spending(costs)
    found = forecast(daily, period, START + (len(costs) + after) * DAY)
    if found is not None:
        assert spent(daily, period) <= found.low <= found.total <= found.high


@given(costs=CHARGES, factor=st.sampled_from(["0.01", "3", "7.5", "100000"]))
def test_in_another_unit_of_money_the_forecast_is_the_same(costs: list[int], factor: str) -> None:
    """Up to the rounding to 10 places."""
    today = START + len(costs) * DAY
    scaled = {day: cost * Decimal(factor) for day, cost in spending(costs).items()}
    found, of_scaled = forecast(spending(costs), YEAR, today), forecast(scaled, YEAR, today)
    assert (found is None) == (of_scaled is None)
    if found is not None and of_scaled is not None:
        assert of_scaled.data_days == found.data_days
        for name in ("total", "low", "high"):
            expected = getattr(found, name) * Decimal(factor)
            assert abs(getattr(of_scaled, name) - expected) <= Decimal("1E-10") * (Decimal(factor) + 1)


@given(costs=COSTS, seed=st.integers(0, 99))
def test_the_order_of_the_days_in_the_mapping_does_not_matter(costs: list[int], seed: int) -> None:
    daily, today = spending(costs), START + len(costs) * DAY
    days = list(daily.items())
    random.Random(seed).shuffle(days)
    assert forecast(dict(days), YEAR, today) == forecast(daily, YEAR, today)
    assert used_up_on(dict(days), Decimal(500), YEAR, today) == used_up_on(daily, Decimal(500), YEAR, today)


@given(costs=COSTS, before=st.integers(-100, 100), after=st.integers(-100, 100))
def test_costs_outside_of_the_period_change_nothing(costs: list[int], before: int, after: int) -> None:
    today = START + len(costs) * DAY
    outside = {START - DAY: Decimal(before), YEAR.end: Decimal(after)}
    assert forecast(spending(costs) | outside, YEAR, today) == forecast(spending(costs), YEAR, today)
    assert used_up_on(spending(costs) | outside, Decimal(90), YEAR, today) == used_up_on(
        spending(costs), Decimal(90), YEAR, today
    )


@given(costs=CHARGES.filter(lambda costs: len(costs) > 5), back=st.integers(0, 1), more=st.integers(0, 1000))
def test_more_known_of_a_day_that_is_not_whole_never_lowers_the_total_and_never_counts_twice(
    costs: list[int], back: int, more: int
) -> None:
    today = START + (len(costs) - 1) * DAY
    daily = spending(costs)
    dearer = daily | {today - back * DAY: daily[today - back * DAY] + more}
    found, with_more = forecast(daily, YEAR, today), forecast(dearer, YEAR, today)
    if found is None or with_more is None:
        assert found is with_more
    else:
        assert 0 <= with_more.total - found.total <= more


@given(costs=COSTS, first=st.integers(-20, 170), length=st.integers(0, 170))
def test_what_was_spent_between_two_days_is_counted_with_the_first_and_without_the_last(
    costs: list[int], first: int, length: int
) -> None:
    start = START + first * DAY
    wanted = {start + offset * DAY for offset in range(length)}
    expected = sum(cost for day, cost in spending(costs).items() if day in wanted)
    assert spent_between(spending(costs), start, start + length * DAY) == expected


# --- corners ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", range(MIN_DAYS + 1))
def test_there_is_no_forecast_before_three_days_are_whole(days: int) -> None:
    """Yesterday is not: on the fourth day of a period two are."""
    assert forecast(steady(days), YEAR, START + days * DAY) is None
    assert used_up_on(steady(days), Decimal(100), YEAR, START + days * DAY) is None


def test_three_whole_days_give_a_forecast() -> None:
    found = made(steady(4), YEAR, START + 4 * DAY)
    assert found.total == 3650
    assert found.data_days == 3


@pytest.mark.parametrize("offset", range(-2, 3))
def test_a_period_of_one_day_has_no_forecast(offset: int) -> None:
    assert forecast({START: Decimal(5)}, Period(START, START + DAY), START + offset * DAY) is None


def test_a_budget_used_up_on_the_first_day_is_told_so() -> None:
    assert used_up_on({START: Decimal(5)}, Decimal(5), Period(START, START + DAY), START) == START


def test_on_the_last_day_only_that_day_and_the_one_before_are_guessed() -> None:
    daily = steady(29) | {date(2026, 4, 29): Decimal(4)}
    found = made(daily, MONTH, date(2026, 4, 30))
    assert found.total == 300
    assert found.data_days == 28
    assert found.low >= 284


def test_when_every_day_is_whole_the_total_is_what_was_spent() -> None:
    found = made(steady(30), MONTH, date(2026, 5, 2))
    assert found == Forecast(Decimal(300), Decimal(300), Decimal(300), 30)


def test_the_day_after_the_end_the_last_day_is_not_whole_yet() -> None:
    daily = steady(29) | {date(2026, 4, 30): Decimal(1)}
    assert made(daily, MONTH, date(2026, 5, 1)).total == 300
    assert used_up_on(daily, Decimal(295), MONTH, date(2026, 5, 1)) == date(2026, 4, 30)


def test_a_leap_day_is_a_day_of_the_period() -> None:
    leap_year = Period(date(2023, 4, 1), date(2024, 4, 1))
    assert made(spending([10] * 100, leap_year.start), leap_year, date(2023, 7, 10)).total == 3660


def test_without_any_charge_nothing_is_forecast_to_be_spent() -> None:
    for daily in ({}, steady(40, "0")):
        assert made(daily, YEAR, START + 40 * DAY) == Forecast(Decimal(0), Decimal(0), Decimal(0), 39)
        assert used_up_on(daily, Decimal(1), YEAR, START + 40 * DAY) is None


@pytest.mark.parametrize("burst", [1, 7, 10])
def test_a_burst_counts_once_and_is_not_expected_again(burst: int) -> None:
    daily = steady(90) | {START + (40 + offset) * DAY: Decimal(1000) for offset in range(burst)}
    assert made(daily, YEAR, START + 90 * DAY).total == 3650 + burst * 990


def test_a_burst_of_yesterday_counts_although_yesterday_is_not_whole() -> None:
    daily = steady(90) | {START + 89 * DAY: Decimal(1000)}
    assert made(daily, YEAR, START + 90 * DAY).total == 3650 + 990


def test_a_bill_that_comes_every_month_is_expected_again() -> None:
    bills = {date(2026, month, 1): Decimal(310) for month in range(4, 10)}
    found = made(steady(183) | bills, YEAR, date(2026, 10, 1))
    assert found.total == pytest.approx(Decimal(3650 + 12 * 300), rel=Decimal("0.05"))


def test_yesterdays_and_todays_low_figures_do_not_lower_the_pace() -> None:
    daily = steady(50) | {START + 49 * DAY: Decimal(3), START + 50 * DAY: Decimal("0.1")}
    assert made(daily, YEAR, START + 50 * DAY).total == 3650


def test_a_project_that_stopped_a_week_ago_is_not_expected_to_go_on() -> None:
    found = made(steady(60), YEAR, START + 68 * DAY)
    assert found.total == found.low == 600
    assert found.high > 600
    assert used_up_on(steady(60), Decimal(601), YEAR, START + 68 * DAY) is None


@pytest.mark.parametrize("days", [6, 60])
def test_six_days_without_costs_are_no_stop(days: int) -> None:
    assert made(steady(days), YEAR, START + (days + 7) * DAY).total > 1500
    assert made(steady(days), YEAR, START + (days + 8) * DAY).total == days * 10


def test_a_project_that_pauses_as_long_as_before_goes_on() -> None:
    """Ten days at work, ten days of nothing, three times over."""
    daily = spending(([10] * 10 + [0] * 10) * 3)
    assert made(daily, YEAR, START + 61 * DAY).total > 1500


def test_what_stopped_and_went_on_goes_on() -> None:
    daily = spending([10] * 30 + [0] * 30 + [10] * 30)
    assert made(daily, YEAR, START + 90 * DAY).total > 600 + 5 * 275


@pytest.mark.parametrize(("before", "since"), [(10, 30), (30, 10)], ids=["higher", "lower"])
def test_a_new_level_is_taken_once_it_has_lasted_two_weeks(before: int, since: int) -> None:
    daily = spending([before] * 84 + [since] * 14)
    assert made(daily, YEAR, START + 99 * DAY).total == before * 84 + since * (365 - 84)


def test_a_week_on_a_new_level_may_be_a_burst() -> None:
    daily = spending([10] * 84 + [30] * 8)
    assert made(daily, YEAR, START + 92 * DAY).total == 3650 + 8 * 20


def test_weekends_weigh_as_they_should_whatever_day_it_is() -> None:
    """Monday to Friday 10 and nothing at weekends; 2026-04-06 is a Monday."""
    year = Period(date(2026, 4, 6), date(2027, 4, 5))
    daily = spending([10, 10, 10, 10, 10, 0, 0] * 10, year.start)
    for day in range(50, 57):
        found = made(daily, year, year.start + (day + 1) * DAY)
        assert abs(found.total - 52 * 50) < 50


@pytest.mark.parametrize("rows_before", [{}, spending([0] * 100)], ids=["no rows", "rows of 0"])
def test_what_began_late_is_not_thinned_out_by_the_days_before(rows_before: dict[date, Decimal]) -> None:
    daily = rows_before | spending([10] * 20, START + 100 * DAY)
    found = made(daily, YEAR, START + 120 * DAY)
    assert found.total == 2650
    assert found.data_days == 19


def test_a_credit_counts_as_spent_less_and_is_not_expected_again() -> None:
    """Nor does it make the project look as if it cost nothing any more."""
    credited = steady(42) | {START + 20 * DAY: Decimal(-5000)}
    found = made(credited, YEAR, START + 43 * DAY)
    assert abs(found.total - (3650 - 5010)) < 100
    assert used_up_on(credited, Decimal(100), YEAR, START + 43 * DAY) is None


def test_nothing_but_credits_is_forecast_to_stay_as_it_is() -> None:
    assert made(steady(40, "-5"), YEAR, START + 41 * DAY).total == -200


def test_a_credit_of_yesterday_does_not_use_a_budget_up_before_today() -> None:
    """The whole days alone come to the amount; with the credit it is not used up."""
    daily = steady(50) | {START + 49 * DAY: Decimal(-100)}
    assert used_up_on(daily, Decimal(490), YEAR, START + 50 * DAY) == START + 50 * DAY


def test_a_charge_that_is_dated_ahead_uses_the_budget_up_on_its_day() -> None:
    daily = steady(50) | {START + 70 * DAY: Decimal(400)}
    assert used_up_on(daily, Decimal(1000), YEAR, START + 50 * DAY) == START + 70 * DAY


def test_a_budget_that_lasts_exactly_to_the_last_day_is_used_up_on_that_day() -> None:
    assert used_up_on(steady(65), Decimal(3650), YEAR, START + 65 * DAY) == date(2027, 3, 31)
    assert used_up_on(steady(65), Decimal("3650.0000000001"), YEAR, START + 65 * DAY) is None


def test_a_few_days_of_an_endless_period_are_answered_at_once() -> None:
    """Some write a far day for a budget without an end."""
    endless = Period(START, date.max)
    assert used_up_on(steady(10), Decimal(900_000_000), endless, START + 10 * DAY) is None
    assert used_up_on(steady(10), Decimal(20_000_000), endless, START + 10 * DAY) == START + 1_999_999 * DAY


def test_sums_are_exact_past_the_28_digits_of_ordinary_decimals() -> None:
    large, small = Decimal(f"1{'0' * 25}"), Decimal("0.0000000001")
    daily = {START: large, START + DAY: small}
    assert spent_between(daily, START, START + 2 * DAY) == Decimal(f"1{'0' * 25}.0000000001")
    whole = steady(30, "1000000000000000000000000.0000000001")
    assert made(whole, MONTH, date(2026, 4, 20)).total == Decimal("30000000000000000000000000.0000000030")


# --- early warning ---------------------------------------------------------------------------------------------

TWO_WEEKS = Forecast(Decimal(100), Decimal(80), Decimal(130), MIN_WARNING_DAYS)
TODAY = START + 20 * DAY


@pytest.mark.parametrize(
    ("found", "spent_so_far", "amount", "today", "expected"),
    [
        pytest.param(TWO_WEEKS, "50", "99.99", TODAY, True, id="passes"),
        pytest.param(TWO_WEEKS, "50", "100", TODAY, True, id="comes to it exactly"),
        pytest.param(TWO_WEEKS, "50", "100.0000000001", TODAY, False, id="stays below"),
        pytest.param(TWO_WEEKS, "50", "120", TODAY, False, id="only the high bound passes"),
        pytest.param(TWO_WEEKS, "90", "90", TODAY, False, id="used up already"),
        pytest.param(TWO_WEEKS, "89.99", "90", TODAY, True, id="nearly used up"),
        pytest.param(TWO_WEEKS, "50", "90", YEAR.end - DAY, True, id="on the last day"),
        pytest.param(TWO_WEEKS, "50", "90", YEAR.end, False, id="the period is over"),
        pytest.param(TWO_WEEKS, "0", "0", TODAY, False, id="no budget"),
        pytest.param(None, "50", "90", TODAY, False, id="no forecast"),
        pytest.param(
            Forecast(Decimal(100), Decimal(80), Decimal(130), MIN_WARNING_DAYS - 1),
            "50",
            "90",
            TODAY,
            False,
            id="thirteen days",
        ),
    ],
)
def test_people_are_warned(found: Forecast | None, spent_so_far: str, amount: str, today: date, expected: bool) -> None:
    assert warns(found, Decimal(spent_so_far), Decimal(amount), YEAR, today) is expected


def test_the_first_warning_of_a_project_comes_on_the_sixteenth_day_from_its_first_charge() -> None:
    """Fourteen whole days, and yesterday, which is not whole."""
    first = START + 50 * DAY
    warned = [
        day
        for day in range(30)
        if warns(
            forecast(spending([10] * day, first), YEAR, first + day * DAY),
            Decimal(10 * day),
            Decimal(1000),
            YEAR,
            first + day * DAY,
        )
    ]
    assert warned == list(range(15, 30))


@pytest.mark.parametrize(
    ("total", "low", "high", "told"),
    [
        ("3330.01", "2843.12", "3512.77", ("3330", "2840", "3510")),
        ("73000", "8000", "138000", ("73000", "8000", "138000")),
        ("100.004", "99.998", "100.01", ("100.004", "99.998", "100.01")),
        ("305", "299", "311", ("305", "299", "311")),
    ],
)
def test_what_is_told_of_a_forecast_is_rounded_to_what_it_is_worth(
    total: str, low: str, high: str, told: tuple[str, ...]
) -> None:
    rounded = as_told(Forecast(Decimal(total), Decimal(low), Decimal(high), 20), Decimal(50))
    assert (rounded.total, rounded.low, rounded.high) == tuple(map(Decimal, told))


def test_what_is_spent_stays_spent_in_what_is_told() -> None:
    rounded = as_told(Forecast(Decimal(3330), Decimal(2843), Decimal(3512), 20), Decimal("2842.40"))
    assert rounded.low == Decimal("2842.40")
