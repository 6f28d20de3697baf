"""What lists and JSON say of charges that were converted, and that they say nothing where none was."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from shared import settings
from shared.composition import Composition
from tests.cli.commands import DIE1, EAU, Cli, checked, costs_were_read, spend, write_csv

BY = "the ECB's rates (the newest of 2026-11-13) and fixed rates"


@pytest.fixture
def converting(cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Composition:
    """DIE1 has spent 100 USD, for each of which there is 1.25 CAD, and 100 EUR at a fixed 1.5; EAU has spent CAD."""
    monkeypatch.setenv("CURRENCY_CONVERSION", "ecb")
    app = Composition(settings.load())
    cli("projects", "load", write_csv(DIE1, EAU))
    day = date(2026, 11, 13)
    app.rates.keep([(day, "USD", Decimal("1.2")), (day, "CAD", Decimal("1.5"))])
    cli("rates", "set", "EUR", "CAD", "1.5", "--from", "2026-04-01", "--to", "2027-03-31", "--reason", "year")
    for currency in ("USD", "EUR"):
        spend(app, 11, "100", day, currency=currency)
    spend(app, 12, "2700", date(2026, 11, 3))
    costs_were_read(app, datetime(2026, 11, 20, 2, tzinfo=UTC))
    checked(app, 11, 12)
    return app


def test_lists_name_whose_rates_and_the_day(cli: Cli, converting: Composition) -> None:
    assert f"With charges in other currencies, by {BY}: DIE1." in cli("projects", "list").out
    shown = cli("projects", "show", "DIE1").out
    assert "275.00 CAD" in shown
    assert f"by {BY}" in shown
    assert "In the budget's currency 275.00 CAD, by" in cli("costs", "DIE1").out
    spend(converting, 11, "8000", date(2026, 11, 12), currency="EUR")
    assert f"DIE1 98.2 % (converted by {BY})" in cli("status").out


def test_programs_are_told_too_and_only_of_what_was_converted(cli: Cli, converting: Composition) -> None:
    die1, eau = cli("projects", "list", "--json").json
    assert die1["spent"] == "275"
    assert die1["converted"] == {"amount": "275", "sources": ["ecb", "fixed"], "last_rate_day": "2026-11-13"}
    assert "converted" not in eau
    found = cli("costs", "DIE1", "--json").json
    assert found["totals"] == {"EUR": "100", "USD": "100"}
    assert (found["in_budget_currency"], found["converted"]["amount"]) == ("275", "275")


def test_without_conversion_nothing_of_it_is_said(
    cli: Cli, converting: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CURRENCY_CONVERSION")
    told = [cli(*words.split()).out for words in ("projects list", "projects show DIE1", "costs DIE1", "status")]
    told += [cli(*words.split(), "--json").out for words in ("projects list", "costs DIE1", "status")]
    assert not [text for text in told if "onverted" in text or "exchange rate" in text]
