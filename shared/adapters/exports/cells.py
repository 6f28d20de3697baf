"""What stands in the cells of a file: days, costs, currencies, ids. Each faulty one is told in a sentence's end."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
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
# FOCUS before 1.0r2 has no seconds, Azure's Parquet seven digits of one. The 60th is a leap second.
CLOCK = r"([01]?\d|2[0-3]):([0-5]\d)(?::(?:[0-5]\d|60)(?:\.\d+)?)?"
AMERICAN = re.compile(rf"(\d{{1,2}})/(\d{{1,2}})/(\d{{4}})(?:[T ]{CLOCK}(?: ?([AP])M)?)?", re.IGNORECASE | re.ASCII)
# PostgreSQL and DuckDB write a zone of whole hours without minutes, after a time alone.
ISO = re.compile(
    rf"(\d{{4}})-(\d\d)-(\d\d)(?:[T ]{CLOCK}(?: ?(Z|UTC|[+-]\d\d(?::?\d\d)?))?| ?(?:Z|UTC|[+-]\d\d:?\d\d))?",
    re.IGNORECASE | re.ASCII,
)
# Midnight comes as much as 14 hours before it does in UTC.
FURTHEST_EAST = timedelta(hours=14)
# Azure's words for a charge of no group.
NO_GROUP = frozenset({"others", "not applicable"})
SUBSCRIPTION = re.compile(r"/?subscriptions/([^/]+)/?", re.IGNORECASE)
BILLING_ACCOUNT = re.compile(r"/?providers/microsoft\.billing/billingaccounts/([^/]+)/?", re.IGNORECASE)
# What spreadsheets make of an id of digits: all that begin alike become one; or its column was too narrow to show it.
ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]+|#+", re.IGNORECASE)
# What keeps them from that, and may stay in the file.
KEPT_AS_TEXT = re.compile(r"'([0-9]+)'?|=\"([0-9]+)\"")
# As which a program writes an id that it has held as a number; a DOUBLE keeps up to 15 digits, each of them.
WITH_POINT, EXACT_DIGITS = re.compile(r"([0-9]+)\.0+"), 15
# As programs write that there is nothing, where FOCUS has `NULL`. Nothing has such an id, or is paid in it.
NOTHING = frozenset({"nan", "none", "null", "<na>", "n/a", "\\n"})
# Microsoft's exports of before have it where no subscription is; newer ones are empty there.
EMPTY_GUID = "00000000-0000-0000-0000-000000000000"
AWS, AWS_DIGITS, SHORT_OF_THEM = "aws", 12, re.compile("[0-9]{1,11}")
# As we write those whom FOCUS names otherwise.
FOCUS_NAMES = {"azure": "Microsoft", "aws": "AWS"}


class CellError(ValueError):
    """A cell that can't be right; the text says why."""


def is_absent(text: str) -> bool:
    """Whether a cell says nothing."""
    return text.strip() in ABSENT


def read_day(text: str, today: date) -> date:
    """The UTC day of a day or time: MM/DD/YYYY, YYYY-MM-DD, ISO 8601. Raises CellError."""
    return _possible_day(text, today, timedelta(0))


def read_month(text: str, today: date) -> date:
    """The first day of the month that begins then: on that day, or at midnight of any zone. Raises CellError."""
    return _possible_day(text, today, FURTHEST_EAST).replace(day=1)


def _possible_day(text: str, today: date, later: timedelta) -> date:
    """later: what is added to a time, and not to a day."""
    text = text.strip()
    try:
        moment, has_time = _american(text) or _iso(text)
        day = (moment + later * has_time).date()
    except (ValueError, OverflowError):
        raise CellError(f"is {readable(text)!r}, which is no day such as 2026-09-21 or 09/21/2026") from None
    if day < FIRST_DAY:
        raise CellError(f"is {readable(text)!r}, which is before 2000")
    if day - today > FURTHEST_AHEAD:
        raise CellError(f"is {readable(text)!r}, which is more than a year ahead")
    return day


def _american(text: str) -> tuple[datetime, bool] | None:
    """In UTC; and whether it has a time."""
    found = AMERICAN.fullmatch(text)
    if found is None:
        return None
    month, day, year, hour, minute, half = found.groups()
    hours = int(hour or 0) % (12 if half else 24) + 12 * (half in ("P", "p"))
    return datetime(int(year), int(month), int(day), hours, int(minute or 0), tzinfo=UTC), hour is not None


def _iso(text: str) -> tuple[datetime, bool]:
    found = ISO.fullmatch(text)
    if found is None:
        raise ValueError
    # A day without a time is the day that it says, in whatever zone.
    year, month, day, hour, minute, zone = found.groups()
    zoned = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), tzinfo=_zone(zone or "Z"))
    return zoned.astimezone(UTC), hour is not None


def _zone(text: str) -> timezone:
    if text.upper() in ("Z", "UTC"):
        return UTC
    east = timedelta(hours=int(text[1:3]), minutes=int(text[3:].removeprefix(":") or 0))
    return timezone(-east if text[0] == "-" else east)


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
    _refuse_nothing(text)
    try:
        return parse_currency(text)
    except MoneyError:
        raise CellError(f"is {readable(text)!r}, and not three letters such as CAD") from None


def sub_account(text: str) -> str:
    """A sub-account's id: Azure's FOCUS files write a subscription as `/subscriptions/<id>`. Raises CellError."""
    return _id(text, SUBSCRIPTION)


def billing_account(text: str) -> str:
    """A billing account's id: Azure's FOCUS files write it with its path. Raises CellError."""
    return _id(text, BILLING_ACCOUNT)


def _id(text: str, in_a_path: re.Pattern[str]) -> str:
    text = text.strip()
    _refuse_nothing(text)
    number = WITH_POINT.fullmatch(text)
    if ROUNDED.fullmatch(text) or (number and len(number[1]) > EXACT_DIGITS):
        raise CellError(f"is {readable(text)!r}, a number that a spreadsheet has rounded, and no id any more")
    known = number or in_a_path.fullmatch(text) or KEPT_AS_TEXT.fullmatch(text)
    found = next(filter(None, known.groups())) if known else text
    return "" if found == EMPTY_GUID else found


def _refuse_nothing(text: str) -> None:
    if text.strip().lower() in NOTHING:
        raise CellError(f"is {readable(text)!r}, as programs write that there is none; such a cell is empty, or NULL")


def account_of(provider: str, account_id: str) -> str:
    """An account's id with its zeros before it: AWS's have 12 digits, of which a number lacks those."""
    if provider == AWS and SHORT_OF_THEM.fullmatch(account_id):
        return account_id.zfill(AWS_DIGITS)
    return account_id


def group(text: str) -> str:
    """A resource group's name; empty for Azure's words for none."""
    text = text.strip()
    return "" if text.lower() in NO_GROUP else text
