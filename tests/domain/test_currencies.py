"""Amounts in another currency."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.currencies import Conversion, FixedRate, Jump, Rates, RateSource, convert, is_old
from shared.domain.periods import Period

MON, TUE, WED = date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 25)
USD = {MON: Decimal("1.1593"), TUE: Decimal("1.1601")}
CAD = {MON: Decimal("1.6012"), TUE: Decimal("1.6100"), WED: Decimal("1.6120")}
RATES = Rates({"USD": USD, "CAD": CAD})
YEAR = Period(date(2026, 4, 1), date(2027, 4, 1))


def converted(amount: str, base: str, to: str, day: date, rates: Rates = RATES) -> Decimal | None:
    rate = rates.rate(base, to, day)
    return None if rate is None else rate.converted(Decimal(amount))


@pytest.mark.parametrize(
    ("amount", "base", "to", "day", "expected"),
    [
        ("100", "EUR", "USD", MON, "115.93"),
        ("115.93", "USD", "EUR", MON, "100"),
        # By hand: 100 x 1.6012 / 1.1593 = 138.117829724…
        ("100", "USD", "CAD", MON, "138.1178297248"),
        ("-100", "USD", "CAD", MON, "-138.1178297248"),
        ("0", "USD", "CAD", MON, "0"),
        ("100", "USD", "CAD", TUE, "138.7811395569"),
    ],
)
def test_an_amount_crosses_through_the_euro_and_is_rounded_once(
    amount: str, base: str, to: str, day: date, expected: str
) -> None:
    assert converted(amount, base, to, day) == Decimal(expected)


def test_both_sides_of_a_cross_are_of_one_day() -> None:
    """Wednesday has a rate of the Canadian dollar alone: Tuesday's count, of both."""
    rate = RATES.rate("USD", "CAD", WED)
    assert rate is not None
    assert (rate.multiplier, rate.divisor, rate.day) == (CAD[TUE], USD[TUE], TUE)


@pytest.mark.parametrize(("days", "known"), [(0, True), (1, True), (7, True), (8, False), (-2, False)])
def test_a_rate_counts_for_a_week_where_no_later_one_was_set_and_never_before_it(days: int, *, known: bool) -> None:
    rate = RATES.rate("USD", "EUR", TUE + timedelta(days=days) if days >= 0 else MON - timedelta(days=1))
    assert (rate is not None) is known


@pytest.mark.parametrize(("base", "to"), [("USD", "AED"), ("RUB", "USD"), ("XXX", "EUR"), ("EUR", "RUB")])
def test_a_currency_of_which_nobody_sets_rates_has_none(base: str, to: str) -> None:
    assert RATES.rate(base, to, MON) is None


def test_a_currency_that_has_gone_has_no_rate_once_a_week_is_over() -> None:
    rates = Rates({"RUB": {date(2022, 3, 1): Decimal("117.201")}})
    assert converted("117.201", "RUB", "EUR", date(2022, 3, 8), rates) == 1
    assert rates.rate("RUB", "EUR", date(2022, 3, 9)) is None


NEW_YEAR = date(2026, 1, 1)


@pytest.mark.parametrize(
    ("amount", "base", "to", "day", "expected"),
    [
        # As the ECB set it, with four decimals, up to the last day; from then on what the Council fixed.
        ("1.9558", "BGN", "EUR", date(2025, 12, 31), "1"),
        ("1.95583", "BGN", "EUR", NEW_YEAR, "1"),
        ("100", "BGN", "EUR", date(2030, 7, 1), "51.1291881196"),
        ("100", "EUR", "BGN", date(2026, 7, 1), "195.583"),
        # New Year's Day has no rate of the dollar: the last one, and the lev's of the day itself.
        ("100", "USD", "BGN", NEW_YEAR, "166.4536170213"),
        ("166.4536170213", "BGN", "USD", NEW_YEAR, "100"),
        ("7.53450", "HRK", "BGN", NEW_YEAR, "1.95583"),
    ],
)
def test_what_became_the_euro_counts_at_its_rate_for_good(
    amount: str, base: str, to: str, day: date, expected: str
) -> None:
    before = date(2025, 12, 31)
    rates = Rates({"BGN": {before: Decimal("1.9558")}, "USD": {before: Decimal("1.1750")}})
    assert converted(amount, base, to, day, rates) == Decimal(expected)


def test_what_became_the_euro_still_needs_the_other_currencys_rate() -> None:
    rates = Rates({"USD": {date(2025, 12, 31): Decimal("1.1750")}})
    assert rates.rate("USD", "BGN", date(2026, 1, 7)) is not None
    assert rates.rate("USD", "BGN", date(2026, 1, 8)) is None
    fixed = rates.rate("EUR", "BGN", date(2026, 1, 8))
    assert fixed is not None and (fixed.source, fixed.day) == (RateSource.ECB, date(2026, 1, 8))


def test_what_is_in_the_currency_already_stays_as_it_is_and_is_not_said_to_be_converted() -> None:
    found = convert([(MON, "EUR", Decimal("0.1")), (TUE, "EUR", Decimal("0.0000000001"))], "EUR", Rates({}))
    assert found == Conversion({MON: Decimal("0.1"), TUE: Decimal("0.0000000001")})
    # A rate that somebody fixed from a currency to itself would be none.
    both = convert([(MON, "CAD", Decimal(1)), (MON, "USD", Decimal(100))], "CAD", RATES)
    assert (both.total, both.sources) == (Decimal("139.1178297248"), {RateSource.ECB})


def test_a_fixed_rate_counts_before_all_others_on_its_days_and_in_its_direction() -> None:
    fixed = [FixedRate("USD", "CAD", YEAR, Decimal("1.35")), FixedRate("AED", "CAD", YEAR, Decimal("0.37"))]
    rates = Rates({"USD": USD, "CAD": CAD}, fixed)
    assert converted("100", "USD", "CAD", MON, rates) == 135
    assert converted("100", "AED", "CAD", YEAR.start, rates) == 37
    rate = rates.rate("USD", "CAD", MON)
    assert rate is not None
    assert (rate.source, rate.day) == (RateSource.FIXED, None)
    assert converted("100", "CAD", "USD", MON, rates) == Decimal("72.4019485386")
    assert rates.rate("USD", "CAD", YEAR.end) is None


def test_of_two_fixed_rates_of_a_day_the_one_that_was_set_last_counts() -> None:
    half = Period(date(2026, 10, 1), YEAR.end)
    fixed = [FixedRate("USD", "CAD", YEAR, Decimal("1.35")), FixedRate("USD", "CAD", half, Decimal("1.40"))]
    rates = Rates({}, fixed)
    assert [converted("1", "USD", "CAD", day, rates) for day in (date(2026, 9, 30), MON)] == [
        Decimal("1.35"),
        Decimal("1.4"),
    ]


def test_sums_of_days_are_converted_each_at_its_own_day_s_rate() -> None:
    sums = [(MON, "USD", Decimal(100)), (TUE, "USD", Decimal(100)), (TUE, "EUR", Decimal(1))]
    found = convert(sums, "CAD", RATES)
    assert found.by_day == {MON: Decimal("138.1178297248"), TUE: Decimal("140.3911395569")}
    assert found.total == Decimal("278.5089692817")
    assert (found.missing, found.sources, found.last_rate_day) == ({}, {RateSource.ECB}, TUE)


FRI, SAT = date(2026, 11, 20), date(2026, 11, 28)
JUMPS = [
    # Of the day itself, of the last one before, and of the next one where there is none before.
    ([(TUE, "110")], [(TUE, "110", TUE, "1.1601")]),
    ([(WED, "110")], [(WED, "110", TUE, "1.1601")]),
    ([(FRI, "110")], [(FRI, "110", MON, "1.1593")]),
    # Next to one of the file's own.
    ([(WED, "1.2"), (SAT, "0.8")], [(SAT, "0.8", WED, "1.2")]),
    ([(WED, "110"), (SAT, "111")], [(WED, "110", TUE, "1.1601")]),
    # A third and no more.
    ([(WED, "1.5468")], []),
    ([(WED, "1.5469")], [(WED, "1.5469", TUE, "1.1601")]),
    ([(WED, "0.870075")], []),
    ([(WED, "0.8700")], [(WED, "0.8700", TUE, "1.1601")]),
    ([], []),
]


@pytest.mark.parametrize(("rates", "expected"), JUMPS)
def test_a_rate_that_is_more_than_a_third_off_its_neighbours_is_a_jump(
    rates: list[tuple[date, str]], expected: list[tuple[date, str, date, str]]
) -> None:
    found = RATES.jumps([(day, "USD", Decimal(worth)) for day, worth in rates])
    assert list(found) == [
        Jump("USD", day, Decimal(worth), other_day, Decimal(other)) for day, worth, other_day, other in expected
    ]


def test_a_currency_of_which_nothing_is_known_jumps_by_its_own_rates_alone() -> None:
    assert list(RATES.jumps([(MON, "JPY", Decimal(180))])) == []
    assert [each.day for each in RATES.jumps([(MON, "JPY", Decimal(180)), (TUE, "JPY", Decimal("1.8"))])] == [TUE]


def test_what_has_no_rate_is_in_no_sum_and_told_with_its_first_day() -> None:
    late = WED + timedelta(days=30)
    sums = [(late, "USD", Decimal(5)), (MON, "USD", Decimal(100)), (WED, "AED", Decimal(1)), (MON, "AED", Decimal(1))]
    found = convert(sums, "CAD", RATES)
    assert found.by_day == {MON: Decimal("138.1178297248")}
    assert found.missing == {"USD": late, "AED": MON}


def test_without_any_sums_nothing_is_converted() -> None:
    assert convert([], "CAD", RATES) == Conversion()
    assert Conversion().total == 0


amounts = st.decimals(min_value=-(10**9), max_value=10**9, places=10)
worth = st.decimals(min_value="0.0001", max_value=100_000, places=6)


@given(amounts, worth, worth)
def test_a_converted_amount_is_the_exact_quotient_rounded_half_even(
    amount: Decimal, base: Decimal, to: Decimal
) -> None:
    found = converted(str(amount), "AAA", "BBB", MON, Rates({"AAA": {MON: base}, "BBB": {MON: to}}))
    exact = Fraction(amount) * Fraction(to) / Fraction(base)
    assert found == Decimal(round(exact * 10**10)).scaleb(-10)


@given(st.lists(st.tuples(st.sampled_from([MON, TUE]), st.sampled_from(["USD", "EUR"]), amounts), max_size=20))
def test_the_total_is_the_sum_of_the_days_whatever_their_order(sums: list[tuple[date, str, Decimal]]) -> None:
    there, back = convert(sums, "CAD", RATES), convert(reversed(sums), "CAD", RATES)
    assert (there.by_day, there.total) == (back.by_day, back.total)


@pytest.mark.parametrize(
    ("newest", "today", "old"),
    [
        (date(2026, 11, 27), date(2026, 11, 30), False),
        # A Friday: the five working days of the week after, and then a sixth.
        (date(2026, 11, 20), date(2026, 11, 29), False),
        (date(2026, 11, 20), date(2026, 11, 30), True),
        # Christmas and New Year are no more than that.
        (date(2026, 12, 24), date(2026, 12, 31), False),
        (date(2026, 11, 30), date(2026, 11, 20), False),
    ],
)
def test_rates_are_old_after_five_working_days_without_one(newest: date, today: date, *, old: bool) -> None:
    assert is_old(newest, today) is old
