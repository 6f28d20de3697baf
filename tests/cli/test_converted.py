"""What lists and JSON say of charges that were converted, and that they say nothing where none was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from shared import settings
from shared.composition import Composition
from shared.domain.locks import Figure
from tests.cli.commands import (
    DIE1,
    EAU,
    HOLD,
    LOCKED,
    LOCKED_AT,
    Cli,
    checked,
    costs_were_read,
    decided,
    queued,
    spend,
    write_csv,
)

BY = "the ECB's rates (the newest of 2026-11-13) and fixed rates"


@pytest.fixture
def converting(cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Composition:
    """DIE1 has spent 100 USD, for each of which there is 1.25 CAD, and 100 EUR at a fixed 1.5; EAU has spent CAD."""
    monkeypatch.setenv("CURRENCY_CONVERSION", "ecb")
    app = Composition(settings.load())
    cli("projects", "load", write_csv(DIE1, EAU))
    day = date(2026, 11, 13)
    app.rates.keep([(day, "USD", Decimal("1.2")), (day, "CAD", Decimal("1.5"))], app.clock())
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


def test_totals_over_projects_are_by_currency_and_never_mixed(cli: Cli, converting: Composition) -> None:
    converting.rates.keep([(date(2026, 11, 3), "CAD", Decimal("1.5"))], converting.clock())
    cli("projects", "load", write_csv(DIE1, EAU.replace("3000,CAD", "3000,EUR")))
    assert "Used in all: 275.00 CAD and 1,800.00 EUR." in cli("projects", "list").out
    assert "275.00 CAD and 1,800.00 EUR" in cli("status").out
    totals = cli("status", "--json", "--page").json["totals"]
    assert totals == {"by_currency": {"CAD": "275", "EUR": "1800"}}
    assert "in_reporting_currency" not in cli("costs", "--json").json


@pytest.fixture
def reporting(cli: Cli, converting: Composition, monkeypatch: pytest.MonkeyPatch) -> Composition:
    """In euros, of which there is one for 1.2 USD or 1.5 CAD; EAU's 2,700 CAD are of a day with a rate."""
    monkeypatch.setenv("REPORTING_CURRENCY", "EUR")
    converting.rates.keep([(date(2026, 11, 3), "CAD", Decimal("1.35"))], converting.clock())
    return converting


# 100 EUR as they are, 100 USD / 1.2, and 2,700 CAD / 1.35: each rounded once, to 10 places.
IN_EUROS = "2183.3333333333"
BY_THE_ECB = "the ECB's rates (the newest of 2026-11-13)"


def test_totals_over_projects_are_in_the_reporting_currency_too(cli: Cli, reporting: Composition) -> None:
    said = f"2,975.00 CAD; together 2,183.33 EUR, by {BY_THE_ECB}"
    assert f"Used in all: {said}." in cli("projects", "list").out
    assert f"used in all      {said}\n" in cli("status").out
    of_rates = {"converted": {"amount": IN_EUROS, "sources": ["ecb"], "last_rate_day": "2026-11-13"}}
    in_euros = {"in_reporting_currency": IN_EUROS, "reporting_currency": "EUR"}
    totals = cli("status", "--json", "--page").json["totals"]
    assert totals == {"by_currency": {"CAD": "2975"}, **in_euros, **of_rates, "missing": []}


def test_costs_of_many_projects_are_in_the_reporting_currency_and_of_one_in_its_budgets(
    cli: Cli, reporting: Composition
) -> None:
    found = cli("costs", "--by", "project", "--json").json
    assert (found["totals"], found["in_reporting_currency"]) == (
        {"CAD": "2700", "EUR": "100", "USD": "100"},
        IN_EUROS,
    )
    assert found["converted"] == {"amount": "2083.3333333333", "sources": ["ecb"], "last_rate_day": "2026-11-13"}
    assert f"In the reporting currency 2,183.33 EUR, by {BY_THE_ECB}." in cli("costs").out
    one = cli("costs", "DIE1", "--json").json
    assert (one["in_budget_currency"], "in_reporting_currency" in one) == ("275", False)


def test_a_total_that_lacks_a_rate_is_not_complete_and_says_so(cli: Cli, reporting: Composition) -> None:
    spend(reporting, 11, "5", date(2026, 11, 14), currency="AED")
    lacks = "charges in AED left out: there is no exchange rate for 2026-11-14"
    assert f"(incomplete: {lacks})" in cli("projects", "list").out
    totals = cli("status", "--json", "--page").json["totals"]
    assert (totals["in_reporting_currency"], totals["missing"]) == (IN_EUROS, [lacks])
    assert lacks in cli("costs", "--json").json["missing"]


def test_an_opening_balance_counts_in_totals_by_the_rate_of_its_periods_first_day(
    cli: Cli, reporting: Composition
) -> None:
    reporting.rates.keep([(date(2026, 10, 1), "CAD", Decimal(2))], reporting.clock())
    cli("budgets", "set", "EAU", "--opening-balance", "100", "--reason", "before")
    totals = cli("status", "--json", "--page").json["totals"]
    assert (totals["by_currency"], totals["in_reporting_currency"]) == ({"CAD": "3075"}, "2233.3333333333")


def test_whatever_else_shows_a_converted_sum_names_the_rates(cli: Cli, converting: Composition) -> None:
    spend(converting, 11, "8000", date(2026, 11, 12), currency="EUR")
    checked(converting, 11)
    by = {"amount": "12275", "sources": ["ecb", "fixed"], "last_rate_day": "2026-11-13"}
    (high,) = [each for each in cli("status", "--json", "--page").json["high"] if each["acronym"] == "DIE1"]
    assert high["converted"] == by
    assert f"DIE1 (98.2 %, converted by {BY})" in cli("status", "--fail-over", "95").err
    (period,) = cli("projects", "show", "DIE1", "--json").json["periods"]
    assert (period["spent"], period["converted"]) == ("12275", by)
    fuller = write_csv(DIE1.replace("12500.00", "12000.00"))
    assert f"is then at 102.2 % of it (converted by {BY})" in cli("projects", "load", fuller, "--dry-run").out
    (change,) = cli("projects", "load", fuller, "--dry-run", "--json").json["changes"]
    assert (change["percent"], change["converted"]) == ("102.291666", by)


def test_a_lock_by_converted_charges_names_the_rates(
    cli: Cli, converting: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = converting.lock_ledger.facts(11, converting.clock())
    assert facts is not None
    figure = Figure(facts.usage, Decimal(12500), "CAD", converted=str(facts.converted))
    assert str(figure) == f"275.00 of 12,500.00 CAD, converted by {BY}"
    decided(converting, replace(LOCKED, figures=dict(LOCKED.figures) | {"converted": BY}), HOLD, LOCKED_AT)
    assert f"1,050 of 1,000 CAD, converted by {BY}" in cli("audit").out


def test_commands_say_which_projects_a_rate_has_checked_anew(cli: Cli, converting: Composition) -> None:
    year = ("--from", "2026-04-01", "--to", "2027-03-31", "--reason", "year")
    assert "1 project checked anew: DIE1." in cli("rates", "set", "USD", "CAD", "1.4", *year).out
    assert cli("rates", "set", "USD", "CAD", "1.5", *year, "--json").json["checked"] == ["DIE1"]
    assert "checked anew" not in cli("rates", "set", "GBP", "CAD", "1.4", *year).out
    Path("rates.csv").write_text("Date,USD,CAD,\n2026-11-13,1.1,1.6,\n")
    assert "1 project checked anew: DIE1." in cli("rates", "update", "--file", "rates.csv").out
    assert queued("QueueProjectUsageNotification") == [{"ProjectId": 11}] * 3
