"""What stands in the cells of a file: days, costs, currencies, ids. Each faulty one is told in a sentence's end."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from shared.domain.money import MoneyError, parse_currency
from shared.domain.texts import readable

# FOCUS files write absent values as this text, too.
ABSENT = ("", "NULL")
FIRST_DAY = date(2000, 1, 1)
# A purchase may be charged ahead; no provider does it for years.
FURTHEST_AHEAD = timedelta(days=366)
# More than any one row costs, in any currency, and finer than any provider reckons.
LARGEST_COST, MOST_DECIMALS = Decimal(10) ** 15, 60
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
LONGEST_NUMBER = 100
AMERICAN = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[T ]\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AP]M)?)?", re.IGNORECASE | re.ASCII
)
# FOCUS before 1.0r2 has no seconds, Azure's Parquet seven digits of one; Python reads six.
ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::\d\d(?:\.\d+)?)?)? ?(Z|UTC|[+-]\d\d:?\d\d)?", re.IGNORECASE | re.ASCII
)
# Azure's words for a charge of no group.
NO_GROUP = frozenset({"others", "not applicable"})
SUBSCRIPTION = re.compile(r"/?subscriptions/([^/]+)/?", re.IGNORECASE)
BILLING_ACCOUNT = re.compile(r"/?providers/microsoft\.billing/billingaccounts/([^/]+)/?", re.IGNORECASE)
# What spreadsheets make of an id of digits: all that begin alike become one.
ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]+", re.IGNORECASE)
# As we write those whom FOCUS names otherwise.
FOCUS_NAMES = {"azure": "Microsoft", "aws": "AWS"}


class CellError(ValueError):
    """A cell that can't be right; the text says why."""


def read_day(text: str, today: date) -> date:
    """The UTC day of a day or time: MM/DD/YYYY, YYYY-MM-DD, ISO 8601. Raises CellError."""
    text = text.strip()
    try:
        day = _day(text)
    except (ValueError, OverflowError):
        raise CellError(f"is {readable(text)!r}, which is no day such as 2026-09-21 or 09/21/2026") from None
    if day < FIRST_DAY:
        raise CellError(f"is {readable(text)!r}, which is before 2000")
    if day - today > FURTHEST_AHEAD:
        raise CellError(f"is {readable(text)!r}, which is more than a year ahead")
    return day


def _day(text: str) -> date:
    if american := AMERICAN.fullmatch(text):
        month, day, year = map(int, american.groups())
        return date(year, month, day)
    iso = ISO.fullmatch(text)
    if iso is None:
        raise ValueError
    day_text, time, zone = iso.groups()
    # A day without a time is the day that it says, in whatever zone.
    zone = "Z" if not zone or not time or zone.upper() == "UTC" else zone
    return datetime.fromisoformat(f"{day_text}T{time or '00:00'}{zone}").astimezone(UTC).date()


def read_cost(text: str) -> Decimal:
    """A number, exactly. Raises CellError."""
    text = text.strip()
    if len(text) > LONGEST_NUMBER or NUMBER.fullmatch(text) is None:
        hint = "; a decimal comma is not taken" if re.fullmatch(r"[-+0-9.]*,[0-9]+", text) else ""
        raise CellError(f"is {readable(text)!r}, which is no number{hint}")
    cost = Decimal(text)
    exponent = cost.as_tuple().exponent
    if abs(cost) > LARGEST_COST or not isinstance(exponent, int) or exponent < -MOST_DECIMALS:
        raise CellError(f"is {readable(text)!r}, which nothing costs")
    return cost


def read_currency(text: str) -> str:
    """An ISO 4217 code. Raises CellError."""
    try:
        return parse_currency(text)
    except MoneyError as error:
        raise CellError(f"is wrong: {error}") from None


def sub_account(text: str) -> str:
    """A sub-account's id: Azure's FOCUS files write a subscription as `/subscriptions/<id>`. Raises CellError."""
    return _id(text, SUBSCRIPTION)


def billing_account(text: str) -> str:
    """A billing account's id: Azure's FOCUS files write it with its path. Raises CellError."""
    return _id(text, BILLING_ACCOUNT)


def _id(text: str, in_a_path: re.Pattern[str]) -> str:
    text = text.strip()
    if ROUNDED.fullmatch(text):
        raise CellError(f"is {readable(text)!r}, a number that a spreadsheet has rounded, and no id any more")
    known = in_a_path.fullmatch(text)
    return known[1] if known else text


def group(text: str) -> str:
    """A resource group's name; empty for Azure's words for none."""
    text = text.strip()
    return "" if text.lower() in NO_GROUP else text
