"""`reconcile`, against the simulator: what it writes, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import pytest

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from shared.composition import Composition
from tests.cli.commands import DIE1, FIRST, HEADER, Cli, costs_were_read, spend, write_csv
from tests.cli.test_golden import READ_AT


@pytest.fixture
def azure(cli: Cli, app: Composition, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureSimulator]:
    """An Azure of which all is stored: 1.25 CAD in October."""
    day = date(2026, 10, 3)
    with AzureSimulator(ChargeBook([Charge(FIRST, "die1-dev", "Storage", day, "CAD", Decimal("1.25"))])) as simulator:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", simulator.url)
        cli("projects", "load", write_csv(DIE1))
        spend(app, 11, "1.25", day)
        costs_were_read(app, READ_AT)
        yield simulator


@pytest.mark.usefixtures("azure")
def test_where_nothing_differs_that_is_said(cli: Cli) -> None:
    outcome = cli("reconcile", "--month", "2026-10")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        f"{FIRST} (azure)",
        "stored  1.25 CAD",
        "API     1.25 CAD",
        "",
        "October 2026: 1 sub-account, no difference.",
    ]


def test_a_difference_that_nothing_explains_fails(cli: Cli, azure: AzureSimulator, app: Composition) -> None:
    azure.book.add([Charge(FIRST, "die1-dev", "VM", date(2026, 8, 3), "CAD", Decimal(2))])
    spend(app, 11, "1", date(2026, 8, 3))
    outcome = cli("reconcile", "--month", "2026-08", "--subscription", FIRST.upper())
    assert outcome.code == 1
    assert "API less stored  1 CAD: unexplained (nothing that is known explains it)" in outcome.out
    assert outcome.out.endswith("August 2026: 1 sub-account, differences: 1 unexplained.\n")
    listed = json.loads(cli("reconcile", "--month", "2026-08", "--json").out)
    [account] = listed["accounts"]
    assert (account["stored"], account["api"]) == ({"CAD": "1"}, {"CAD": "2"})
    assert [each["cause"] for each in account["differences"]["API"]] == ["unexplained"]
    assert (listed["first_day"], listed["last_day"], listed["unexplained"]) == ("2026-08-01", "2026-08-31", 1)


def test_each_cause_has_a_line_and_what_it_comes_to(cli: Cli, azure: AzureSimulator, app: Composition) -> None:
    of_november = (date(2026, 11, 3), "1"), (date(2026, 11, 20), "2")
    azure.book.add([Charge(FIRST, "die1-dev", "VM", day, "CAD", Decimal(amount)) for day, amount in of_november])
    spend(app, 11, "4", date(2026, 11, 3))
    costs_were_read(app, READ_AT - timedelta(days=1))
    outcome = cli("reconcile", "--month", "2026-11")
    assert outcome.code == 1
    assert outcome.out.splitlines()[1:] == [
        "stored           4 CAD",
        "API              3 CAD",
        "API less stored  2 CAD: not read yet (it was read through 19 November 2026)",
        "API less stored  -3 CAD: unexplained (nothing that is known explains it)",
        "",
        "November 2026: 1 sub-account, differences: 1 not read yet, 1 unexplained.",
    ]


@pytest.mark.usefixtures("azure")
def test_where_nothing_is_compared_that_is_said_and_is_no_agreement(cli: Cli) -> None:
    account = "510000000002"
    cli("projects", "load", write_csv(f"{DIE1},{account}", header=f"{HEADER},aws_accounts"))
    outcome = cli("reconcile", "--month", "2026-10", "--subscription", account)
    assert (outcome.code, outcome.err) == (1, "")
    assert outcome.out == "October 2026: nothing was compared: AWS accounts have no total to compare with.\n"
    listed = json.loads(cli("reconcile", "--month", "2026-10", "--subscription", account, "--json").out)
    assert (listed["accounts"], listed["unexplained"]) == ([], 0)
    assert listed["not_compared"] == "AWS accounts have no total to compare with"
    # Beside what was compared, it is only not asked.
    assert cli("reconcile", "--month", "2026-10").code == 0


@pytest.mark.usefixtures("azure")
def test_a_word_that_is_no_month_is_refused(cli: Cli) -> None:
    outcome = cli("reconcile", "--month", "Oct")
    assert outcome.code != 0
    assert outcome.err == "error: 'Oct' is no month; write year-month, such as 2026-09\n"
