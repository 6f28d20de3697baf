"""The day on which a budget is used up: told by walking on, day after day, at the pace of the last weeks."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.pace import spent_between, used_up_on
from shared.domain.periods import Period

DAY = timedelta(days=1)
START = date(2026, 4, 1)
YEAR = Period(START, date(2027, 4, 1))
COSTS = st.lists(st.integers(-30, 100), max_size=200)


def spending(costs: list[int], start: date = START) -> dict[date, Decimal]:
    return {start + timedelta(days=offset): Decimal(cost) for offset, cost in enumerate(costs)}


def walked(daily: dict[date, Decimal], amount: Decimal, period: Period, today: date) -> date | None:
    """Walks through the period: real days up to yesterday, then days that each cost the mean of the last 28."""
    past = [day for day in sorted(daily) if period.start <= day < today]
    total = Fraction(0)
    for day in past:
        total += Fraction(daily[day])
    whole_days = [today - timedelta(days=back) for back in range(1, 29)]
    whole_days = [day for day in whole_days if day >= period.start]
    if not whole_days:
        return None
    pace = sum((Fraction(daily.get(day, 0)) for day in whole_days), Fraction(0)) / len(whole_days)
    day = today
    while day < period.end and pace > 0:
        total += pace
        if total >= Fraction(amount):
            return day
        day += DAY
    return None


@given(costs=COSTS, amount=st.integers(1, 30_000), length=st.integers(1, 400))
def test_the_day_is_the_one_that_walking_on_day_by_day_comes_to(costs: list[int], amount: int, length: int) -> None:
    """Days that are not over have no costs yet here, so that walking is fair."""
    period = Period(START, START + timedelta(days=length))
    today = START + timedelta(days=min(len(costs), length - 1))
    daily = {day: cost for day, cost in spending(costs).items() if day < today}
    if sum(daily.values()) < amount:
        assert used_up_on(daily, Decimal(amount), period, today) == walked(daily, Decimal(amount), period, today)


@given(costs=COSTS.filter(bool), amount=st.integers(1, 3000))
def test_a_budget_that_is_used_up_already_was_so_on_the_first_day_that_came_to_it(
    costs: list[int], amount: int
) -> None:
    daily = spending(costs)
    if sum(costs) < amount:
        return
    first = next(count for count in range(1, len(costs) + 1) if sum(costs[:count]) >= amount)
    assert used_up_on(daily, Decimal(amount), YEAR, START + timedelta(days=len(costs))) == START + (first - 1) * DAY


@given(costs=COSTS, first=st.integers(-20, 220), length=st.integers(0, 220))
def test_what_was_spent_between_two_days_is_counted_with_the_first_and_without_the_last(
    costs: list[int], first: int, length: int
) -> None:
    start = START + timedelta(days=first)
    wanted = {start + timedelta(days=offset) for offset in range(length)}
    expected = sum(cost for day, cost in spending(costs).items() if day in wanted)
    assert spent_between(spending(costs), start, start + timedelta(days=length)) == expected


def test_sums_are_exact_past_the_28_digits_of_ordinary_decimals() -> None:
    large, small = Decimal(f"1{'0' * 25}"), Decimal("0.0000000001")
    assert spent_between({START: large, START + DAY: small}, START, START + 2 * DAY) == Decimal(
        f"1{'0' * 25}.0000000001"
    )


# --- corners -------------------------------------------------------------------------------------------------


def steady(days: int, cost: str = "10") -> dict[date, Decimal]:
    return {START + timedelta(days=offset): Decimal(cost) for offset in range(days)}


@pytest.mark.parametrize("daily", [{}, steady(10, "0"), steady(10, "-5")], ids=["nothing", "zeros", "credits"])
def test_without_spending_there_is_no_day(daily: dict[date, Decimal]) -> None:
    assert used_up_on(daily, Decimal(100), YEAR, START + 10 * DAY) is None


def test_credits_that_outweigh_the_last_weeks_give_no_day() -> None:
    daily = steady(40) | {START + 39 * DAY: Decimal(-300)}
    assert used_up_on(daily, Decimal(1000), YEAR, START + 40 * DAY) is None


def test_on_the_first_day_of_a_period_there_is_no_pace_yet() -> None:
    assert used_up_on({START: Decimal(5)}, Decimal(100), YEAR, START) is None


def test_a_budget_that_lasts_exactly_to_the_periods_last_day_is_used_up_on_that_day() -> None:
    assert used_up_on(steady(65), Decimal(3650), YEAR, START + 65 * DAY) == date(2027, 3, 31)
    assert used_up_on(steady(65), Decimal("3650.0000000001"), YEAR, START + 65 * DAY) is None


def test_a_budget_that_today_will_use_up_is_used_up_today() -> None:
    assert used_up_on(steady(9), Decimal(100), YEAR, START + 9 * DAY) == START + 9 * DAY
    assert used_up_on(steady(9), Decimal("100.01"), YEAR, START + 9 * DAY) == START + 10 * DAY


def test_only_the_last_28_days_make_the_pace() -> None:
    burst = {START + timedelta(days=offset): Decimal(100 if offset < 10 else 1) for offset in range(38)}
    assert used_up_on(burst, Decimal(1038), YEAR, START + 38 * DAY) == START + 47 * DAY
    # A day earlier the last of the burst still counts: 127 in 28 days, at which 19 are gone on the fifth day.
    assert used_up_on(burst, Decimal(1047), YEAR, START + 37 * DAY) == START + 41 * DAY


def test_spending_before_the_period_counts_neither_as_used_nor_for_the_pace() -> None:
    daily = steady(5) | {START - timedelta(days=back): Decimal(1000) for back in range(1, 30)}
    assert used_up_on(daily, Decimal(100), YEAR, START + 5 * DAY) == START + 9 * DAY


def test_a_tiny_pace_and_a_vast_budget_give_no_day_rather_than_an_error() -> None:
    assert used_up_on({START: Decimal("0.0000000001")}, Decimal(900_000_000), YEAR, START + DAY) is None


@pytest.mark.parametrize("cost", ["0.0000000001", "0.3333333333", "123456789.0123456789"])
def test_a_budget_used_up_on_its_first_day_is_told_so(cost: str) -> None:
    assert used_up_on({START: Decimal(cost)}, Decimal(cost), YEAR, START) == START
