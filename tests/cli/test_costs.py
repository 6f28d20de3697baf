"""`costs`."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select

from shared.adapters.database.tables import charge_meters, charges, coverage
from shared.composition import Composition
from shared.ports.costs import SubAccount
from tests.cli.commands import (
    BARE,
    DIE1,
    EAU,
    FIRST,
    HEADER,
    SECOND,
    Cli,
    costs_were_read,
    program,
    spend,
    spend_unowned,
    write_csv,
)

READ_AT = datetime(2026, 11, 20, 2, 10, tzinfo=UTC)


@pytest.fixture
def spent(cli: Cli, app: Composition) -> Composition:
    """DIE1 spent 10 in March, 1.005 in April and 30 in November; EAU, whose quarter began in October, 5 each month."""
    cli("projects", "load", write_csv(DIE1, EAU, BARE))
    for day, cost in ((date(2026, 3, 31), "10"), (date(2026, 4, 1), "1.005"), (date(2026, 11, 20), "30")):
        spend(app, 11, cost, day)
    spend(app, 12, "5", date(2026, 9, 30), date(2026, 10, 1), date(2026, 11, 1))
    costs_were_read(app, READ_AT)
    return app


def listed(cli: Cli, *arguments: str) -> dict[str, str]:
    """Amounts by what they are of."""
    return {
        each[name]: each["cost"] for each in cli("costs", *arguments, "--json").json["costs"] for name in [*each][:1]
    }


def test_what_a_project_spent_is_that_of_its_period_by_service(cli: Cli, spent: Composition) -> None:
    assert cli("costs", "die1", "--json").json == {
        "project": "DIE1",
        "sub_account_id": None,
        "unallocated": False,
        "first_day": "2026-04-01",
        "last_day": "2026-11-20",
        "by": "service",
        "costs": [{"service": "VM", "cost": "31.005", "currency": "CAD"}],
        "totals": {"CAD": "31.005"},
        "opening_balance": "0",
        "allocated": [],
        "left": None,
        "missing": [],
        "estimated": [],
    }
    assert listed(cli, "EAU", "--by", "month") == {"2026-10": "5", "2026-11": "5"}


def test_both_days_that_are_given_count(cli: Cli, spent: Composition) -> None:
    days = ("--from", "2026-03-31", "--to", "2026-04-01", "--by", "day")
    assert listed(cli, "DIE1", *days) == {"2026-03-31": "10", "2026-04-01": "1.005"}


def test_a_last_day_alone_is_that_of_the_period_that_holds_it(cli: Cli, spent: Composition) -> None:
    assert listed(cli, "EAU", "--to", "2026-09-30", "--by", "day") == {"2026-09-30": "5"}
    assert cli("costs", "EAU", "--to", "2026-09-30", "--json").json["first_day"] == "2026-07-01"


def test_sub_accounts_of_one_id_are_told_apart_by_their_provider(cli: Cli, app: Composition) -> None:
    day = date(2026, 11, 3)
    for provider, cost in (("Oracle", "2"), ("Snowflake", "1")):
        spend_unowned(app, "", cost, day, of=(provider, "shared-1"))
    shared = ("--subscription", "shared-1")
    outcome = cli("costs", *shared)
    assert outcome.code != 0
    assert outcome.err == (
        "error: shared-1 is a sub-account of Oracle and of Snowflake; --provider says which is meant\n"
    )
    found = cli("costs", "--from", str(day), "--by", "resource-group", "--json").json["costs"]
    assert [(each["provider"], each["cost"]) for each in found if each["sub_account_id"] == "shared-1"] == [
        ("Oracle", "2"),
        ("Snowflake", "1"),
    ]
    assert "PROVIDER   SUB-ACCOUNT" in cli("costs", "--from", str(day), "--by", "resource-group").out
    assert listed(cli, *shared, "--provider", "oracle") == {"Firewall": "2"}
    assert listed(cli, *shared, "--provider", "Snowflake") == {"Firewall": "1"}
    assert "nothing is known of a subscription shared-1 of aws; " in cli("costs", *shared, "--provider", "aws").err
    assert "--provider goes with --subscription" in cli("costs", "--provider", "aws").err
    days = ("focus", "export", "--from", "2026-11-03", "--to", "2026-11-03", *shared)
    assert "shared-1 is a sub-account of Oracle and of Snowflake; " in cli(*days).err
    [line] = csv.DictReader(io.StringIO(program(*days, "--provider", "oracle").out))
    assert (line["ProviderName"], Decimal(line["BilledCost"])) == ("Oracle", 2)
    found = cli("reconcile", "--month", "2026-11", *shared, "--json").json
    assert [(each["provider"], each["stored"]) for each in found["accounts"]] == [
        ("Oracle", {"CAD": "2"}),
        ("Snowflake", {"CAD": "1"}),
    ]


def test_what_is_of_no_project_is_that_of_the_month(cli: Cli, spent: Composition) -> None:
    assert listed(cli, "--by", "project") == {"DIE1": "30", "EAU": "5"}
    assert listed(cli, "--subscription", SECOND.upper(), "--by", "resource-group") == {"azure": "5"}
    assert listed(cli, "--unallocated") == {}
    without = [DIE1.replace("die1-dev;die1-prod", "die1-new"), EAU.replace(",eau,", ",eau-2,"), BARE]
    cli("projects", "load", write_csv(*without), "--correction")
    assert listed(cli, "--unallocated") == {"VM": "35"}


def test_sub_accounts_are_called_what_their_provider_calls_them(cli: Cli, spent: Composition) -> None:
    (its,) = [each.id for each in spent.cloud_accounts.accounts() if each.external_account_id == SECOND]
    spent.payers.note_listed(its, "azure", [SubAccount(SECOND, "Water lab", "ACTIVE")], ["ACTIVE"], date(2026, 11, 19))
    arguments = ("costs", "--from", "2026-04-01", "--by", "sub-account")
    assert [each["name"] for each in cli(*arguments, "--json").json["costs"]] == [None, "Water lab"]
    assert f"azure     {SECOND}  Water lab  15.00 CAD" in cli(*arguments).out


def test_people_get_a_table_with_shares_and_what_it_comes_to(cli: Cli, spent: Composition) -> None:
    out = cli("costs", "--from", "2026-04-01", "--by", "sub-account").out
    assert out.splitlines() == [
        "All costs, 2026-04-01 to 2026-11-20, by sub-account:",
        "",
        f"PROVIDER  {'SUB-ACCOUNT':36}       COST   SHARE",
        f"azure     {FIRST}  31.00 CAD  67.3 %",
        f"azure     {SECOND}  15.00 CAD  32.6 %",
        "",
        "In all 46.00 CAD.",
    ]


def test_a_spreadsheet_gets_exact_amounts_and_nothing_else(cli: Cli, spent: Composition) -> None:
    outcome = cli("costs", "DIE1", "--by", "month", "--csv")
    rows = list(csv.reader(io.StringIO(outcome.out)))
    assert rows == [["month", "cost", "currency"], ["2026-04", "1.005", "CAD"], ["2026-11", "30", "CAD"]]
    assert outcome.err == ""


def test_costs_by_meter_say_where_none_is_told(cli: Cli, spent: Composition) -> None:
    assert cli("costs", "DIE1", "--by", "meter", "--json").json["costs"] == [
        {"service": "VM", "meter": "", "cost": "31.005", "currency": "CAD"}
    ]
    with spent.database.engine.begin() as connection:
        charge = connection.scalar(select(charges.c.scope_id).where(charges.c.billed_cost == Decimal(30)))
        of = {"charge_period_start": date(2026, 11, 20), "service_name": "VM", "billing_currency": "CAD"}
        hours = of | {"sku_meter": "BoxUsage", "billed_cost": Decimal(30), "scope_id": charge}
        connection.execute(charge_meters.insert().values(hours))
    table = cli("costs", "DIE1", "--by", "meter").out.splitlines()[2:5]
    assert [each.split() for each in table] == [
        ["SERVICE", "METER", "COST", "SHARE"],
        ["VM", "BoxUsage", "30.00", "CAD", "96.7", "%"],
        ["VM", "not", "told", "1.00", "CAD", "3.2", "%"],
    ]


def test_what_its_provider_may_still_change_is_said(cli: Cli, spent: Composition) -> None:
    since = coverage.update().where(coverage.c.month == date(2026, 11, 1)).values(estimated_from=date(2026, 11, 6))
    spent.database.run(lambda connection: connection.execute(since))
    said = f"Estimated: its provider may still change the costs of {FIRST} since 6 November 2026.\n"
    assert said in cli("costs", "DIE1").out
    assert cli("costs", "DIE1", "--json").json["estimated"] == [{"sub_account_id": FIRST, "since": "2026-11-06"}]
    assert cli("costs", "DIE1", "--to", "2026-11-05", "--json").json["estimated"] == []


def test_what_is_not_known_is_said(cli: Cli, spent: Composition) -> None:
    days = ("--from", "2025-12-01")
    missing = f"costs of {FIRST} not read for December 2025"
    assert f"Incomplete: {missing}\n" in cli("costs", "DIE1", *days).out
    assert cli("costs", "DIE1", *days, "--json").json["missing"] == [missing]
    of_a_spreadsheet = cli("costs", "DIE1", *days, "--csv")
    assert of_a_spreadsheet.err == f"warning: incomplete: {missing}\n"
    assert "ncomplete" not in of_a_spreadsheet.out


def test_currencies_are_shown_side_by_side(cli: Cli, spent: Composition) -> None:
    spend(spent, 11, "7", date(2026, 11, 3), currency="USD")
    out = cli("costs", "DIE1").out
    assert "In all 31.00 CAD and 7.00 USD; currencies are not added.\n" in out
    assert cli("costs", "DIE1", "--json").json["totals"] == {"CAD": "31.005", "USD": "7"}


def test_an_opening_balance_is_no_charge_and_is_said(cli: Cli, spent: Composition) -> None:
    assert cli("budgets", "set", "DIE1", "--opening-balance", "500", "--reason", "moved").code == 0
    assert "In all 31.00 CAD.\nBesides, the budget's opening balance: 500.00 CAD.\n" in cli("costs", "DIE1").out
    assert cli("costs", "DIE1", "--json").json["opening_balance"] == "500"
    assert "opening balance" not in cli("costs", "DIE1", "--from", "2026-05-01").out


def test_where_nothing_is_stored_it_is_said(cli: Cli, spent: Composition) -> None:
    assert "No costs are stored.\n" in cli("costs", "BARE").out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["NOBODY"], "there is no project NOBODY"),
        ([""], "PROJECT is empty"),
        (["DIE1", "--unallocated"], "unallocated costs are those of no project"),
        (["--subscription", "north"], "nothing is known of a subscription north"),
        (["DIE1", "--from", "2026-11-02", "--to", "2026-11-01"], "the first day, 2026-11-02, is after the last"),
        (["DIE1", "--from", "2026-11-21", "--to", "2026-11-30"], "2026-11-21, is in the future"),
        (["DIE1", "--from", "2030-01-01"], "the first day, 2030-01-01, is in the future: nothing was spent yet"),
        (["DIE1", "--from", "1.11.2026"], "'1.11.2026' is no date"),
        (["DIE1", "--csv", "--json"], "write --csv or --json, not both"),
        (["DIE1", "--by", "colour"], "Invalid value for '--by'"),
    ],
)
def test_what_can_not_be_meant_is_refused(cli: Cli, spent: Composition, arguments: list[str], sentence: str) -> None:
    outcome = cli("costs", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence in outcome.err


def test_a_last_day_in_the_future_is_cut_to_today_and_that_is_said(cli: Cli, spent: Composition) -> None:
    today = cli("costs", "DIE1", "--json").json
    for last in ("2026-11-21", "2030-01-01"):
        outcome = cli("costs", "DIE1", "--to", last, "--json")
        assert outcome.json == today
        assert f"warning: {last} is in the future; these are the costs up to 2026-11-20, today" in outcome.err
    assert cli("costs", "DIE1", "--to", "2026-11-20").err == ""


def test_costs_are_summed_by_who_answers_for_them(cli: Cli, spent: Composition) -> None:
    header = f"{HEADER},department"
    cli("projects", "load", write_csv(f"{DIE1},Numérique", f"{EAU},", header=header))
    days = ("--from", "2026-11-01", "--by", "department")
    assert listed(cli, *days) == {"Numérique": "30", "": "5"}
    rows = [line.split() for line in cli("costs", *days).out.splitlines()]
    assert ["Numérique", "30.00", "CAD", "85.7", "%"] in rows
    assert ["none", "5.00", "CAD", "14.2", "%"] in rows


def test_costs_are_those_of_the_projects_of_one_owner_department_or_cost_centre(cli: Cli, spent: Composition) -> None:
    paid = (f"{DIE1},Ann Roy,Numérique,CC-1", f"{EAU},Ann Roy,Eau,CC-2")
    cli("projects", "load", write_csv(*paid, header=f"{HEADER},owner,department,cost_centre"))
    days = ("--from", "2026-11-01", "--by", "project")
    assert listed(cli, *days, "--department", "numerique") == {"DIE1": "30"}
    assert listed(cli, *days, "--owner", "ann roy") == {"DIE1": "30", "EAU": "5"}
    assert listed(cli, *days, "--owner", "Ann Roy", "--cost-centre", "CC-2") == {"EAU": "5"}
    assert cli("costs", *days, "--owner", "Ann Roy").out.startswith("Costs of Ann Roy, 2026-11-01 to")
    for arguments, said in [
        (("--owner", "Eve"), "no project has this owner, department or cost centre"),
        (("--owner", "Ann Roy", "--unallocated"), "unallocated costs are those of no project"),
        (("DIE1", "--owner", "Ann Roy"), "name a project, or who answers for projects, not both"),
        (("--owner", ""), "--owner is empty"),
    ]:
        outcome = cli("costs", *arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert said in outcome.err


def test_csv_is_utf_8_whatever_the_machine_is_set_to(
    cli: Cli, spent: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("projects", "load", write_csv(f"{DIE1},Numérique", header=f"{HEADER},department"))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert "Numérique,30,CAD" in program("costs", "--from", "2026-11-01", "--by", "department", "--csv").out
