"""Amounts, percentages and days in words, in English and French: the filters of the mail templates.

No locale library: two languages need two month lists, and Babel alone would add 30 MB to the app.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any

from shared.domain.money import EXACT
from shared.domain.money import shown as rounded

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"

ENGLISH = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
FRENCH = (
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
)
MONTHS = {"en": ENGLISH, "fr": FRENCH}
# Between a currency and its amount, a number and its %, a day and its month.
DAYS_MONTH = rf"(?:(?<=\d)|(?<=1er)) (?={'|'.join((*ENGLISH, *FRENCH))})"
KEPT_TOGETHER = re.compile(rf"(?<=\b[A-Z]{{3}}) (?=\d)|(?<=\d) (?=%)|{DAYS_MONTH}")


class FormatError(ValueError):
    """A value that is not what its template takes; the text says what would be."""


def shown(amount: Any, currency: str, below: Any = None) -> Decimal:
    """The amount as `domain.money.shown` rounds it."""
    return rounded(decimal(amount), currency, None if below is None else decimal(below))


def money(amount: Any, currency: str, language: str) -> str:
    """An amount with its currency: `CAD 1,234.50`, in French `1 234,50 CAD` (with no-break spaces)."""
    exact = shown(amount, currency)
    text = f"{exact if exact else abs(exact):,f}"
    if language == "fr":
        return f"{_french(text)}{NO_BREAK_SPACE}{currency}"
    return f"{currency} {text}"


def rough(amount: Any, currency: str, language: str) -> str:
    """A rounded amount: as `money`, without decimals where it is whole."""
    exact = decimal(amount)
    if exact != exact.to_integral_value():
        return money(amount, currency, language)
    text = f"{int(exact):,d}"
    return f"{_french(text)}{NO_BREAK_SPACE}{currency}" if language == "fr" else f"{currency} {text}"


def unbroken(html: str) -> str:
    """HTML in which no line ends within an amount, a percentage, or a day before its month."""
    return KEPT_TOGETHER.sub(NO_BREAK_SPACE, html)


def de(name: str) -> str:
    """A name after "of" in French: `de DIE1`, `d’AIR`."""
    first = unicodedata.normalize("NFD", name[:1]).casefold()[:1]
    return f"d’{name}" if first in "aeiou" and first else f"de {name}"


def percent(value: Any, language: str) -> str:
    """A percentage with one decimal, rounded down: 99.99 is shown as `99.9 %`, never as 100."""
    text = f"{decimal(value).quantize(Decimal('0.1'), rounding=ROUND_DOWN, context=EXACT):,f}"
    return f"{_french(text) if language == 'fr' else text} %"


def day(value: Any, language: str) -> str:
    """A day from its ISO text: `20 November 2026`, `20 novembre 2026`, `1er novembre 2026`."""
    found = _date(value)
    number = "1er" if language == "fr" and found.day == 1 else str(found.day)
    return f"{number} {MONTHS[language][found.month - 1]} {found.year}"


def months(first: Any, last: Any, language: str) -> str:
    """The months from that of one day to that of another: `June 2026`, `June to August 2026`, `juin à août 2026`."""
    start, end = _date(first), _date(last)
    until = f"{MONTHS[language][end.month - 1]} {end.year}"
    if (start.year, start.month) == (end.year, end.month):
        return until
    since = MONTHS[language][start.month - 1] + (f" {start.year}" if start.year != end.year else "")
    return f"{since} {'à' if language == 'fr' else 'to'} {until}"


def day_before(value: Any) -> str:
    """The ISO text of the day before: the last day of a period from the end that is not in it."""
    return (_date(value) - timedelta(days=1)).isoformat()


def decimal(value: Any) -> Decimal:
    """The number in a value, which is text (or already a number). Raises FormatError."""
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise FormatError(f"'{value}' is not an amount or a percentage") from None
    if not found.is_finite():
        raise FormatError(f"'{value}' is not an amount or a percentage")
    return found


def _date(value: Any) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise FormatError(f"'{value}' is not a day such as 2026-11-20") from None


def _french(text: str) -> str:
    return text.replace(",", NO_BREAK_SPACE).replace(".", ",")
