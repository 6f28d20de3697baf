"""Money is exact: what people write is taken as it is meant, and nothing is rounded but once."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.money import (
    LARGEST_AMOUNT,
    MoneyError,
    add,
    parse_amount,
    parse_currency,
    percent_used,
    plain,
    share_in_words,
    stored,
)

TEN_PLACES = Fraction(1, 10**10)
# As whole numbers of the smallest amount that is stored; far past any budget, to show that nothing is rounded there.
STORED = st.integers(-(10**32), 10**32).map(lambda units: Decimal(f"{units}E-10"))
AMOUNTS = st.integers(1, 9 * 10**18).map(lambda units: Decimal(f"{units}E-10"))
FINE = st.integers(-(10**30), 10**30).map(lambda units: Decimal(f"{units}E-20"))


def rounded_half_even(value: Fraction) -> Fraction:
    """To ten places by hand: the nearest, and of two the one with an even last digit."""
    whole, rest = divmod(value, TEN_PLACES)
    up = rest * 2 > TEN_PLACES or (rest * 2 == TEN_PLACES and whole % 2 == 1)
    return (whole + up) * TEN_PLACES


@given(FINE)
def test_an_amount_is_stored_as_the_nearest_of_ten_places_and_halves_as_the_even_one(amount: Decimal) -> None:
    assert Fraction(stored(amount)) == rounded_half_even(Fraction(amount))
    assert stored(stored(amount)) == stored(amount)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0.00000000005", "0"),
        ("0.00000000015", "0.0000000002"),
        ("0.00000000025", "0.0000000002"),
        ("0.000000000250000000001", "0.0000000003"),
        ("-0.00000000015", "-0.0000000002"),
    ],
)
def test_halves_go_to_the_even_digit(amount: str, expected: str) -> None:
    assert stored(Decimal(amount)) == Decimal(expected)


@given(st.lists(STORED))
def test_sums_are_exact_in_any_order(amounts: list[Decimal]) -> None:
    total = Decimal(0)
    for amount in amounts:
        total = add(total, amount)
    backwards = Decimal(0)
    for amount in reversed(amounts):
        backwards = add(amount, backwards)
    assert Fraction(total) == Fraction(backwards) == sum(map(Fraction, amounts), Fraction(0))


# --- what people write ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("  12500.00 ", "12500.00"),
        ("+5", "5"),
        (".5", "0.5"),
        ("7.", "7"),
        ("900000000", "900000000"),
        ("0.0000000001", "0.0000000001"),
        ("1.10000000000000000000000000000000000000000", "1.1"),
        ("000000000000000000000000000000000000000000012", "12"),
    ],
)
def test_digits_with_at_most_one_point_are_an_amount(text: str, expected: str) -> None:
    assert parse_amount(text) == Decimal(expected)
    assert not parse_amount(text).is_signed()


@given(AMOUNTS)
def test_what_plain_writes_is_read_back_as_the_same_amount(amount: Decimal) -> None:
    assert parse_amount(plain(amount)) == amount


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "-", "--5", "1.2.3", "abc", "0x10", "$5", "5 CAD", "1,000", "1 000", "12\n34"),
        *("1e3", "1e400", "1E-400", "nan", "sNaN", "inf", "-Infinity", "1_000"),
        # Digits of other scripts, which Decimal would take.
        *("\u0661\u0662", "\uff11\uff12", "\u00b2", "\u00bd"),
    ],
)
def test_what_is_no_row_of_digits_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MoneyError, match=r"is not an amount; write digits, such as 12500\.00"):
        parse_amount(text)


@pytest.mark.parametrize("text", ["-1", "-0.0000000001", "-12500.00"])
def test_a_negative_amount_is_refused(text: str) -> None:
    with pytest.raises(MoneyError, match="it has to be 0 or more"):
        parse_amount(text)


@pytest.mark.parametrize("text", ["900000000.0000000001", "900000001", "9" * 400, "9" * 50_000])
def test_an_amount_past_900_million_is_refused_and_the_largest_is_named(text: str) -> None:
    with pytest.raises(MoneyError, match="too large; the largest amount is 900,000,000") as refused:
        parse_amount(text)
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize("text", ["0.00000000001", "1.00000000005", "0." + "0" * 400 + "1"])
def test_more_than_ten_decimal_places_are_refused_rather_than_rounded(text: str) -> None:
    with pytest.raises(MoneyError, match="at most 10 decimal places"):
        parse_amount(text)


@given(st.text())
def test_any_text_is_either_an_amount_in_range_or_a_money_error(text: str) -> None:
    try:
        amount = parse_amount(text)
    except MoneyError:
        return
    assert 0 <= amount <= LARGEST_AMOUNT
    assert amount == stored(amount)


@pytest.mark.parametrize(("text", "expected"), [("CAD", "CAD"), (" usd ", "USD"), ("eUr", "EUR")])
def test_a_currency_is_three_letters_in_any_case(text: str, expected: str) -> None:
    assert parse_currency(text) == expected


@pytest.mark.parametrize(
    "text", ["", "CA", "CADD", "C1D", "$$$", "€", "\u00dfa", "\u0131ad", "C D", "\uff23\uff21\uff24"]
)
def test_what_is_no_three_ascii_letters_is_no_currency(text: str) -> None:
    with pytest.raises(MoneyError, match="write its three letters, such as CAD"):
        parse_currency(text)


# --- percent -------------------------------------------------------------------------------------------------


@given(usage=STORED, amount=AMOUNTS)
def test_a_percent_is_the_exact_one_with_what_is_past_six_places_cut_off(usage: Decimal, amount: Decimal) -> None:
    percent = Fraction(percent_used(usage, amount))
    exact = max(Fraction(usage) / Fraction(amount) * 100, Fraction(0))
    assert 0 <= exact - percent < Fraction(1, 10**6)
    assert (percent * 10**6).denominator == 1


@given(AMOUNTS)
def test_usage_reads_as_100_percent_from_the_amount_on_and_not_the_smallest_bit_before(amount: Decimal) -> None:
    assert percent_used(amount, amount) == 100
    assert percent_used(amount - Decimal("1E-10"), amount) < 100


def test_99_and_ten_nines_percent_is_not_100() -> None:
    assert percent_used(Decimal("899999999.9999999999"), Decimal(900_000_000)) == Decimal("99.999999")
    assert percent_used(Decimal("99.9999999999"), Decimal(100)) == Decimal("99.999999")
    assert percent_used(Decimal("99.995"), Decimal(100)) == Decimal("99.995")


@pytest.mark.parametrize("usage", ["0", "-0.01", "-1000000"])
def test_credits_that_make_usage_negative_read_as_0_percent(usage: str) -> None:
    assert percent_used(Decimal(usage), Decimal(100)) == 0


# --- plain ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("1200", "1200"),
        ("1.2E+3", "1200"),
        ("1200.00", "1200"),
        ("8.5450077867", "8.5450077867"),
        ("1E-10", "0.0000000001"),
        ("-3.50", "-3.5"),
        ("0E-10", "0"),
        ("-0E-10", "0"),
        ("0E+999", "0"),
        ("100", "100"),
    ],
)
def test_amounts_are_written_as_digits_without_exponent_or_trailing_zeros(amount: str, expected: str) -> None:
    assert plain(Decimal(amount)) == expected


@given(STORED)
def test_what_is_written_is_exactly_the_amount(amount: Decimal) -> None:
    text = plain(amount)
    assert Fraction(text) == Fraction(amount)
    assert set(text) <= set("-0123456789.")
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")


@pytest.mark.parametrize(
    ("spent", "amount", "currency", "words"),
    [
        ("3330.0099", "3000", "EUR", "3,330.01 of 3,000.00 EUR"),
        ("999.9999", "1000", "CAD", "999.99 of 1,000.00 CAD"),
        ("1000", "1000", "JPY", "1,000 of 1,000 JPY"),
        ("0", "0", "CAD", "0.00 of 0.00 CAD"),
    ],
)
def test_what_is_used_is_written_for_people(spent: str, amount: str, currency: str, words: str) -> None:
    assert share_in_words(Decimal(spent), Decimal(amount), currency) == words
