"""What spreadsheets make of amounts and days: `12 500,50` and `31/12/2026` are read as what they say.

Where a cell may be read in two ways, what the file's other cells say for certain decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from shared.domain.coverage import day_in_words

# Excel in French writes a narrow no-break space, older ones and other programs the other two.
GROUPED = re.compile("[+-]?[0-9]{1,3}([ \u00a0\u202f][0-9]{3})+([.,][0-9]+)?")
WITH_COMMA = re.compile("[+-]?[0-9]+,[0-9]+")
WITH_MARK = re.compile("[+-]?[0-9]+[,.][0-9]+")
# 12,500 and 12.500 may be twelve and a half.
IN_TWO_WAYS = re.compile("[+-]?[1-9][0-9]{0,2}[,.][0-9]{3}")
SLASHED = re.compile("([0-9]{1,2})/([0-9]{1,2})/([12][0-9]{3})")
TWO_DIGITS = re.compile("[0-9]{2}/[0-9]{2}/[0-9]{4}")
LAST_MONTH, LAST_DAY = 12, 31

AS_NUMBER = "give the column the format Number, without a separator for thousands, and save the file again"
AS_DAY = "give the column the format yyyy-mm-dd (in Excel: Format Cells, Custom), and save the file again"


class AmbiguousError(ValueError):
    """A cell that may be read in two ways; the text says which. advice: how its column is to be set."""

    def __init__(self, readings: str, advice: str) -> None:
        super().__init__(readings)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Forms:
    """How a file writes amounts and days.

    mark: what decimals begin with, a comma or a point; empty where that is not known. day_first: whether it is known
    that a day's number comes before its month's. semicolons: whether its cells are separated as in the spreadsheets
    whose decimals have a comma.
    """

    mark: str
    day_first: bool
    semicolons: bool

    def amount(self, text: str) -> str:
        """The amount with a point for decimals, and nothing else; what is no such form, as it is.

        Raises AmbiguousError.
        """
        if GROUPED.fullmatch(text):
            return re.sub("[ \u00a0\u202f]", "", text).replace(",", ".")
        if IN_TWO_WAYS.fullmatch(text) and (not self.mark or self.mark not in text):
            whole, decimals = re.split("[,.]", text)
            raise AmbiguousError(f"{whole}{decimals} or {whole}.{decimals}", AS_NUMBER)
        return text.replace(",", ".") if WITH_COMMA.fullmatch(text) else text

    def day(self, text: str) -> str:
        """The day as year-month-day; what is no such form, as it is. Raises AmbiguousError."""
        found = SLASHED.fullmatch(text)
        if not found or int(found[2]) > LAST_MONTH:
            return text
        day, month, year = (int(part) for part in found.groups())
        known = self.day_first or (self.semicolons and TWO_DIGITS.fullmatch(text))
        if not known and 0 < day <= LAST_MONTH and 0 < month != day:
            readings = " or ".join(day_in_words(each) for each in (date(year, month, day), date(year, day, month)))
            raise AmbiguousError(readings, AS_DAY)
        return f"{year:04}-{month:02}-{day:02}"


def forms_of(amounts: Iterable[str], days: Iterable[str], separator: str) -> Forms:
    """What a file's cells say of how it writes amounts and days."""
    numbers = [(int(found[1]), int(found[2])) for text in days if (found := SLASHED.fullmatch(text.strip()))]
    month_first = any(second > LAST_MONTH for _, second in numbers)
    day_first = any(LAST_MONTH < first <= LAST_DAY for first, _ in numbers)
    mark = _decimal_mark([text.strip() for text in amounts], separator)
    # No country's decimals have a comma where its months come first.
    return Forms(mark, (day_first or mark == ",") and not month_first, separator == ";" and not month_first)


def _decimal_mark(amounts: list[str], separator: str) -> str:
    """The only one in the column, where a cell says for certain that it is that of decimals."""
    written = {mark for text in amounts for mark in ",." if mark in text}
    if len(written) != 1:
        return ""
    # Where decimals have a comma, spreadsheets don't separate cells by one.
    certain = written == {"."} and separator == ","
    return written.pop() if certain or any(map(_is_certain, amounts)) else ""


def _is_certain(amount: str) -> bool:
    is_one = GROUPED.fullmatch(amount) or (WITH_MARK.fullmatch(amount) and not IN_TWO_WAYS.fullmatch(amount))
    return bool(is_one) and any(mark in amount for mark in ",.")
