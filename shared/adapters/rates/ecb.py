"""The European Central Bank's euro reference rates: a file of all days since 1999, new on working days at 16:00.

It is a ZIP with a CSV: a row a day, newest first; a column a currency, `N/A` where it had no rate; how much of it one
euro is worth; and a comma at the end of each line (ecb.europa.eu, "Euro foreign exchange reference rates").
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from http.client import HTTPException
from urllib.error import HTTPError

from typing_extensions import override

from shared.adapters.http import opener
from shared.domain.money import LARGEST_AMOUNT, STORED_PLACES
from shared.domain.texts import readable
from shared.ports.errors import LaterError, NeverError
from shared.ports.rates import RateFeed, SetRate

URL = "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip"
SECONDS = 60.0
# 642 KB in 2026, which unpack to 2 MB.
MOST_BYTES = 50_000_000
CURRENCY = re.compile("[A-Z]{3}")
NONE = ("", "N/A")


@dataclass(frozen=True)
class EcbRates(RateFeed):
    """Asks the ECB for its file."""

    url: str = URL
    is_local: bool = False

    @override
    def read(self, since: date) -> list[SetRate]:
        """Raises LaterError where the ECB can't be reached, NeverError where it answers something else."""
        try:
            with opener(self.is_local).open(self.url, timeout=SECONDS) as response:
                content = response.read(MOST_BYTES + 1)
        except HTTPError as error:
            error.close()
            raise LaterError(f"the European Central Bank does not hand out exchange rates ({error.code})") from error
        except (OSError, HTTPException, ValueError) as error:
            raise LaterError("the European Central Bank, which sets the exchange rates, can't be reached") from error
        return rates_in(content, since)


def rates_in(content: bytes, since: date) -> list[SetRate]:
    """The rates of a file of the ECB's, as CSV or in a ZIP, from a day on. Raises NeverError for any other file."""
    header, *rows = _rows(content)
    currencies = [name.strip() for name in header]
    if len(currencies) < 2 or currencies[0] != "Date" or not all(map(_is_currency, currencies[1:])):
        raise _wrong("its first line is not Date and the currencies")
    found = [rate for number, row in enumerate(rows, start=2) for rate in _of_day(row, currencies, number, since)]
    if not found and not rows:
        raise _wrong("it has no days")
    return found


def _is_currency(name: str) -> bool:
    return not name or CURRENCY.fullmatch(name) is not None


def _rows(content: bytes) -> list[list[str]]:
    if len(content) > MOST_BYTES:
        raise _wrong(f"it has more than {MOST_BYTES:,} bytes")
    try:
        text = (_unpacked(content) if content.startswith(b"PK") else content).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    except (zipfile.BadZipFile, UnicodeDecodeError, csv.Error, NotImplementedError, RuntimeError, EOFError) as error:
        raise _wrong("it is no CSV, and no ZIP of one") from error
    if not rows:
        raise _wrong("it is empty")
    return rows


def _unpacked(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        names = [name for name in packed.namelist() if name.lower().endswith(".csv")]
        if len(names) != 1:
            raise _wrong(f"it holds {len(names)} CSV files, and not one")
        with packed.open(names[0]) as file:
            text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise _wrong(f"it unpacks to more than {MOST_BYTES:,} bytes")
    return text


def _of_day(row: list[str], currencies: list[str], number: int, since: date) -> Iterator[SetRate]:
    try:
        day = date.fromisoformat(row[0].strip())
    except ValueError:
        raise _wrong(f"line {number} begins with {readable(row[0])!r}, which is no day") from None
    if day < since:
        return
    for currency, cell in zip(currencies[1:], row[1:], strict=False):
        if currency and cell.strip() not in NONE:
            yield day, currency, _rate(cell.strip(), currency, day)


def _rate(text: str, currency: str, day: date) -> Decimal:
    try:
        rate = Decimal(text)
    except InvalidOperation:
        rate = Decimal(0)
    if not rate.is_finite() or not STORED_PLACES <= rate <= LARGEST_AMOUNT:
        raise _wrong(f"the rate of {currency} on {day} is {readable(text)!r}, which is none")
    return rate


def _wrong(what: str) -> NeverError:
    return NeverError(f"The file of exchange rates can't be used: {what}.")
