"""Amounts, percentages and days in words."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.mail.formats import (
    NO_BREAK_SPACE,
    FormatError,
    day,
    day_before,
    money,
    months,
    percent,
    shown,
    unbroken,
)


@pytest.mark.parametrize(
    ("amount", "currency", "english", "french"),
    [
        ("1234.5", "CAD", "CAD 1,234.50", "1 234,50 CAD"),
        ("0", "CAD", "CAD 0.00", "0,00 CAD"),
        ("-12.3", "CAD", "CAD -12.30", "-12,30 CAD"),
        ("-0.001", "CAD", "CAD 0.00", "0,00 CAD"),
        ("900000000", "USD", "USD 900,000,000.00", "900 000 000,00 USD"),
        ("1234.5", "JPY", "JPY 1,234", "1 234 JPY"),
        ("1.2345", "KWD", "KWD 1.234", "1,234 KWD"),
        ("0.005", "CAD", "CAD 0.00", "0,00 CAD"),
        ("0.015", "CAD", "CAD 0.02", "0,02 CAD"),
    ],
)
def test_amounts_are_written_as_their_readers_do(amount: str, currency: str, english: str, french: str) -> None:
    assert money(amount, currency, "en") == english
    assert money(amount, currency, "fr") == french.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(
    ("value", "english", "french"),
    [
        ("80", "80.0 %", "80,0 %"),
        ("99.999999", "99.9 %", "99,9 %"),
        ("100", "100.0 %", "100,0 %"),
        ("0.04", "0.0 %", "0,0 %"),
        ("12345.67", "12,345.6 %", "12\N{NO-BREAK SPACE}345,6 %"),
    ],
)
def test_percentages_are_rounded_down(value: str, english: str, french: str) -> None:
    assert (percent(value, "en"), percent(value, "fr")) == (english, french)


CENTS = st.decimals(min_value=0, max_value=900_000_000, places=10)


@given(spent=CENTS, amount=CENTS)
def test_an_amount_below_the_budget_is_never_shown_as_the_budget(spent: Decimal, amount: Decimal) -> None:
    seen, limit = shown(spent, "CAD", below=amount), shown(amount, "CAD")
    assert seen < limit or spent >= amount
    assert abs(seen - spent) < Decimal("0.02")


@given(value=CENTS)
def test_a_percentage_is_never_shown_above_what_it_is(value: Decimal) -> None:
    assert Decimal(percent(value, "en").removesuffix(" %").replace(",", "")) <= value


def test_days_are_written_out() -> None:
    assert day("2026-11-20", "en") == "20 November 2026"
    assert day("2026-08-01", "en") == "1 August 2026"
    assert day("2026-08-20", "fr") == "20 août 2026"
    assert day("2026-08-01", "fr") == "1er août 2026"


def test_months_are_written_out() -> None:
    assert months("2026-06-01", "2026-06-30", "en") == "June 2026"
    assert months("2026-06-01", "2026-08-31", "fr") == "juin à août 2026"
    assert months("2025-12-01", "2026-02-28", "en") == "December 2025 to February 2026"


def test_a_periods_last_day_is_the_one_before_its_end() -> None:
    assert day_before("2024-03-01") == "2024-02-29"


@pytest.mark.parametrize("wrong", ["abc", "", "NaN", "Infinity", None])
def test_what_is_no_figure_is_said(wrong: object) -> None:
    with pytest.raises(FormatError, match="is not an amount"):
        money(wrong, "CAD", "en")
    with pytest.raises(FormatError, match="is not a day"):
        day(wrong, "en")


@pytest.mark.parametrize(
    ("html", "kept"),
    [
        ("about CAD 13,300, and", "about CAD_13,300, and"),
        ("on 21 December 2026", "on 21_December 2026"),
        ("du 1er avril 2026 au 31 mars 2027", "du 1er_avril 2026 au 31_mars 2027"),
        ("100 % of it", "100_% of it"),
        ("for March 2026, over mars", "for March 2026, over mars"),
        ('<p class="a b">no 12 of ABC or May</p>', '<p class="a b">no 12 of ABC or May</p>'),
    ],
)
def test_no_line_ends_within_an_amount_or_a_day(html: str, kept: str) -> None:
    assert unbroken(html) == kept.replace("_", NO_BREAK_SPACE)
