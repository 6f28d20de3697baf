"""`rates`: brought up to date from a file, listed, and fixed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from shared.cli import rates
from shared.composition import Composition
from tests.adapters.rates.test_ecb import CSV, packed, serving
from tests.cli.commands import Cli

YEAR = ("--from", "2026-04-01", "--to", "2027-03-31", "--reason", "fiscal year")


@pytest.fixture(autouse=True)
def tables(cli: Cli) -> None:
    cli("db", "upgrade")


@pytest.mark.parametrize("content", [CSV, packed(("eurofxref-hist.csv", CSV))])
def test_a_file_of_the_ecbs_is_read(cli: Cli, app: Composition, content: bytes) -> None:
    Path("rates.zip").write_bytes(content)
    assert cli("rates", "update", "--file", "rates.zip", "--json").json == {
        "changed": 7,
        "newest": "2026-10-30",
        "checked": [],
        "unasked": None,
    }
    outcome = cli("rates", "update", "--file", "rates.zip")
    assert outcome.out == "0 rates new or changed. The newest are of 2026-10-30.\n"
    found = cli("rates", "list", "--json").json
    assert found["conversion"] == "off" and found["newest"] == "2026-10-30" and found["old"] is True
    assert found["currencies"][0] == {"currency": "BGN", "last_day": "2025-12-31"}
    shown = cli("rates", "list").out
    assert "2026-10-30 (old)" in shown and "3: CAD, EUR, USD" in shown and "BGN (2025-12-31)" in shown


def test_without_a_file_the_ecb_is_asked(cli: Cli, app: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "open_app", lambda: app)
    with serving(CSV.replace(b"2026-10-30", b"2026-11-19")) as app.rate_feed:
        assert cli("rates", "update", "--json").json["newest"] == "2026-11-19"
        outcome = cli("rates", "update")
    assert (outcome.code, outcome.out) == (0, "0 rates new or changed. The newest are of 2026-11-19.\n")
    assert app.rates.last_days(date(2026, 11, 19))["CAD"] == date(2026, 11, 19)
    # It serves no longer.
    away = cli("rates", "update")
    assert (away.code, away.out) == (1, "") and "which sets the exchange rates, can't be reached" in away.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"<html>", "its first line is not Date and the currencies"),
        (
            b"Date,USD,\n2026-11-30,1.1,\n",
            "The file has rates of 2026-11-30, which is to come: nothing of it was kept.",
        ),
        (b"Date,USD,\n1999-01-04,1.1,\n", "the file has no rate since 2023-11-18, and older ones are not kept"),
    ],
)
def test_any_other_file_is_refused_and_nothing_of_it_kept(
    cli: Cli, app: Composition, content: bytes, said: str
) -> None:
    Path("file").write_bytes(content)
    outcome = cli("rates", "update", "--file", "file")
    assert (outcome.code, outcome.out) == (2, "") and said in outcome.err
    assert app.rates.days(date(2100, 1, 1)) is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "2026-11-19,110,1.5,",
            "one euro is 110 USD on 2026-11-19 in the file, and 1.1 on 2026-11-18; nothing was kept: where that is "
            "meant, add --yes",
        ),
        ("2026-11-18,110,1.5,", "one euro is 110 USD on 2026-11-18 in the file, and 1.1 on 2026-11-18"),
        (
            "2026-11-18,1.5,1.1,",
            "one euro is 1.1 CAD on 2026-11-18 in the file, and 1.5 on 2026-11-18, one euro is 1.5",
        ),
        ("2026-11-15,1.1,1.5,", "the file has rates of 2026-11-15, a Sunday, when the ECB sets none"),
    ],
)
def test_rates_that_the_ecb_hardly_sets_are_kept_where_that_is_meant_alone(
    cli: Cli, app: Composition, row: str, said: str
) -> None:
    Path("first").write_text("Date,USD,CAD,\n2026-11-18,1.1,1.5,\n")
    cli("rates", "update", "--file", "first")
    Path("file").write_text(f"Date,USD,CAD,\n{row}\n")
    outcome = cli("rates", "update", "--file", "file")
    assert (outcome.code, outcome.out) == (2, "") and said in outcome.err
    assert cli("rates", "update", "--file", "first").out.startswith("0 rates new or changed.")
    meant = cli("rates", "update", "--file", "file", "--yes", "--json")
    assert (meant.code, meant.json["changed"] > 0) == (0, True)


def test_a_file_that_is_not_there_is_wrong_usage(cli: Cli) -> None:
    for given, said in (("", "FILE is empty; say what it is"), (".", ". is a folder; name a file")):
        outcome = cli("rates", "update", "--file", given)
        assert (outcome.code, outcome.err.startswith(f"error: {said}")) == (2, True)
    outcome = cli("rates", "update", "--file", "none.zip")
    assert outcome.code == 2 and "none.zip can't be read" in outcome.err


def test_without_any_rate_the_list_says_how_to_get_some(cli: Cli) -> None:
    assert "none: `python -m shared.cli rates update`" in cli("rates", "list").out
    assert cli("rates", "list", "--json").json["newest"] is None


def test_a_rate_is_fixed_with_who_and_why(cli: Cli, app: Composition) -> None:
    outcome = cli("rates", "set", "usd", "CAD", "1.3750", *YEAR)
    assert outcome.out == "1 USD is 1.375 CAD for charges of 2026-04-01 to 2027-03-31.\n"
    (record,) = app.rates.fixed()
    assert (record.fixed.rate, record.fixed.days.last_day) == (Decimal("1.375"), date(2027, 3, 31))
    assert record.reason == "fiscal year"
    # A currency that the ECB does not have can be fixed.
    assert cli("rates", "set", "AED", "CAD", "0.38", *YEAR, "--json").json["base"] == "AED"
    assert [each["base"] for each in cli("rates", "list", "--json").json["fixed"]] == ["USD", "AED"]
    assert "1 USD is 1.375 CAD" in cli("rates", "list").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("USD", "USD", "1"), "name two currencies"),
        (("US", "CAD", "1"), "is not a currency"),
        (("USD", "CAD", "0"), "is no rate"),
        (("USD", "CAD", "1e3"), "is no rate"),
        (("USD", "CAD", "1,375"), "is no rate"),
        (("USD", "CAD", "NaN"), "is no rate"),
        (("USD", "CAD", "0.00000000001"), "is too fine"),
    ],
)
def test_a_rate_that_cant_be_right_is_refused(
    cli: Cli, app: Composition, arguments: tuple[str, str, str], said: str
) -> None:
    outcome = cli("rates", "set", *arguments, *YEAR)
    assert outcome.code != 0 and said in outcome.err
    assert app.rates.fixed() == []


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2026-04-01", "2026-03-31", "the last day, 2026-03-31, is before the first, 2026-04-01"),
        ("2026", "2026-03-31", "'2026' is no date"),
        ("", "2026-03-31", "--from is empty"),
    ],
)
def test_days_that_cant_be_right_are_refused(cli: Cli, app: Composition, first: str, last: str, said: str) -> None:
    outcome = cli("rates", "set", "USD", "CAD", "1.4", "--from", first, "--to", last, "--reason", "x")
    assert outcome.code != 0 and said in outcome.err
    assert app.rates.fixed() == []
