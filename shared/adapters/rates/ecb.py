"""The European Central Bank's euro reference rates: a file of all days since 1999, new on working days at 16:00.

It is a ZIP with a CSV: a row a day, newest first; a column a currency, `N/A` where it had no rate; how much of it one
euro is worth; and a comma at the end of each line (ecb.europa.eu, "Euro foreign exchange reference rates").
"""

from __future__ import annotations

import csv
import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
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
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
RATE = re.compile(r"[0-9]+(\.[0-9]+)?")
NONE = ("", "N/A")
EURO = "EUR"
# What is raised for a ZIP that is broken, sealed, or packed in another way, and for what is no text.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, OSError),
    *(UnicodeDecodeError, csv.Error),
)


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
    header = [name.strip() for name in header]
    # The ECB's lines end in a comma.
    currencies = header if header[-1] else header[:-1]
    if len(currencies) < 2 or currencies[0] != "Date" or not all(map(CURRENCY.fullmatch, currencies[1:])):
        raise _wrong("its first line is not Date and the currencies")
    if twice := sorted(name for name, count in Counter(currencies).items() if count > 1):
        raise _wrong(f"it has {twice[0]} twice")
    if EURO in currencies:
        raise _wrong(f"it has rates of {EURO}: those of the European Central Bank are of one euro in other currencies")
    found = [rate for number, row in enumerate(rows, start=2) for rate in _of_day(row, header, number, since)]
    if not rows:
        raise _wrong("it has no days")
    if again := sorted(day for (day, _), count in Counter(each[:2] for each in found).items() if count > 1):
        raise _wrong(f"it has {again[0]} twice")
    return found


def _rows(content: bytes) -> list[list[str]]:
    if len(content) > MOST_BYTES:
        raise _wrong(f"it has more than {MOST_BYTES:,} bytes")
    try:
        text = (_unpacked(content) if content.startswith(b"PK") else content).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    except UNREADABLE as error:
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


def _of_day(row: list[str], header: list[str], number: int, since: date) -> Iterator[SetRate]:
    text = row[0].strip()
    try:
        # Python alone would take 2026-W48-5 and 20261127, too.
        day = date.fromisoformat(text if DAY.fullmatch(text) else "")
    except ValueError:
        raise _wrong(f"line {number} begins with {readable(row[0])!r}, which is no day") from None
    if len(row) != len(header) or (row[-1].strip() and not header[-1]):
        raise _wrong(f"line {number} has other columns than the first line")
    for currency, cell in zip(header[1:], row[1:], strict=True):
        if day >= since and cell.strip() not in NONE:
            yield day, currency, _rate(cell.strip(), currency, day)


def _rate(text: str, currency: str, day: date) -> Decimal:
    # Decimal alone would take 1e400, 1_1, NaN, and the digits of every script.
    rate = Decimal(text) if RATE.fullmatch(text) else Decimal(0)
    if not STORED_PLACES <= rate <= LARGEST_AMOUNT:
        raise _wrong(f"the rate of {currency} on {day} is {readable(text)!r}, which is none")
    return rate


def _wrong(what: str) -> NeverError:
    return NeverError(f"The file of exchange rates can't be used: {what}.")
