"""Amounts of money: Decimal with a currency, rounded once, never added across currencies."""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal

from shared.domain.texts import shortened

# Providers charge in tiny fractions; past ten places, what is cut off does not add up to a cent in millions of rows.
STORED_DIGITS = 10
STORED_PLACES = Decimal(1).scaleb(-STORED_DIGITS)
# Wide enough that no sum or product of stored amounts is ever rounded by the arithmetic itself.
EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
# Past this an amount can't be stored on the embedded database, and no project budget comes near it.
LARGEST_AMOUNT = Decimal(900_000_000)


class MoneyError(ValueError):
    """An amount or a currency that can't be right; the text says what would be."""


def stored(amount: Decimal) -> Decimal:
    """`amount` rounded half-even to the 10 decimal places that are stored."""
    return amount.quantize(STORED_PLACES, context=EXACT)


def add(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum of two amounts of one currency."""
    return EXACT.add(left, right)


def parse_amount(text: str) -> Decimal:
    """A budget's amount from a person's text.

    Takes digits with at most one decimal point, not negative, up to 900 million.
    Raises MoneyError with what would be right.
    """
    cleaned = text.strip()
    # Decimal alone would take 1e3, 1_000, NaN, and the digits of every script.
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", cleaned):
        raise MoneyError(f"{_quoted(cleaned)} is not an amount; write digits, such as 12500.00")
    amount = Decimal(cleaned)
    if amount < 0:
        raise MoneyError(f"{_quoted(cleaned)} is not an amount; it has to be 0 or more, such as 12500.00")
    if amount > LARGEST_AMOUNT:
        raise MoneyError(f"{_quoted(cleaned)} is too large; the largest amount is {LARGEST_AMOUNT:,}")
    if amount != stored(amount):
        raise MoneyError(f"{_quoted(cleaned)} is too fine; an amount has at most 10 decimal places")
    return abs(amount)


def parse_currency(text: str) -> str:
    """An ISO 4217 code in capitals, such as CAD. Raises MoneyError."""
    code = text.strip()
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        raise MoneyError(f"{_quoted(text)} is not a currency; write its three letters, such as CAD")
    return code.upper()


def percent_used(usage: Decimal, amount: Decimal) -> Decimal:
    """Usage as a percentage of a positive amount, rounded *down* to 6 places, 0 where usage is negative.

    For people and listings only: whether a threshold is reached is compared exactly (`thresholds.reached`).
    Rounding down keeps 99.9999999 % from reading as 100 %.
    """
    if usage <= 0:
        return Decimal(0)
    share = EXACT.divide(EXACT.multiply(usage, Decimal(100)), amount)
    return share.quantize(Decimal("1E-6"), rounding=ROUND_DOWN, context=EXACT)


def plain(amount: Decimal) -> str:
    """An amount or percentage as digits without an exponent or trailing zeros: `1200`, `8.5450077867`."""
    if not amount:
        # Zeros come with signs and exponents of their own.
        return "0"
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


# ISO 4217; every other currency has two decimals.
NO_DECIMALS = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW",
    "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",
)  # fmt: skip
THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
DECIMALS = dict.fromkeys(NO_DECIMALS, 0) | dict.fromkeys(THREE_DECIMALS, 3)


def shown(amount: Decimal, currency: str, below: Decimal | None = None) -> Decimal:
    """The amount rounded half-even to its currency's decimals, as it is shown.

    below: a limit; an amount that is under it is never rounded up to it (999.996 of 1,000 is shown as 999.99).
    """
    unit = Decimal(1).scaleb(-DECIMALS.get(currency, 2))
    rounded = amount.quantize(unit, rounding=ROUND_HALF_EVEN, context=EXACT)
    if below is None or amount >= below:
        return rounded
    return min(rounded, below.quantize(unit, rounding=ROUND_HALF_EVEN, context=EXACT) - unit)


def in_words(amount: Decimal, currency: str) -> str:
    """An amount for people: `3,000.00 EUR`."""
    return f"{shown(amount, currency):,f} {currency}"


def share_in_words(spent: Decimal, amount: Decimal, currency: str) -> str:
    """What is used of an amount, for people: `3,330.01 of 3,000.00 EUR`."""
    return f"{shown(spent, currency, below=amount):,f} of {in_words(amount, currency)}"


def _quoted(text: str) -> str:
    return f"'{shortened(text, 40)}'"
