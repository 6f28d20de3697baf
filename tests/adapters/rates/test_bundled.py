"""The ECB's file that a package brings."""

from __future__ import annotations

import sys
from datetime import date
from decimal import Decimal

import pytest

from shared.adapters.rates import bundled
from shared.adapters.rates.bundled import BundledRates
from shared.ports.errors import NeverError

SINCE = date(2023, 12, 1)


def test_it_has_three_years_of_all_currencies_and_nothing_of_the_package_is_loaded() -> None:
    rates = BundledRates().read(SINCE)
    days, currencies = {day for day, _, _ in rates}, {currency for _, currency, _ in rates}
    assert min(days) >= SINCE
    assert max(days) >= date(2026, 10, 1)
    assert {"USD", "CAD", "GBP", "JPY", "BGN"} <= currencies
    assert max(day for day, currency, _ in rates if currency == "BGN") == date(2025, 12, 31)
    assert (date(2024, 1, 2), "USD", Decimal("1.0956")) in rates
    assert "currency_converter" not in sys.modules


def test_where_it_is_not_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "PACKAGE", "no_such_package")
    with pytest.raises(NeverError, match="are not installed"):
        BundledRates().read(SINCE)
