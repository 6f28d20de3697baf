"""`projects`: what is loaded, listed and shown."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from shared.cli.app import user_name
from shared.composition import Composition
from shared.domain.deliveries import Delivery, DeliveryState, Role
from shared.domain.periods import Period
from shared.ports.errors import NeverError
from shared.ports.mails import Topic
from tests.cli.commands import (
    BARE,
    DIE1,
    EAU,
    FIRST,
    HEADER,
    HOLD,
    LOCKED,
    LOCKED_AT,
    SECOND,
    Cli,
    checked,
    costs_were_read,
    decided,
    opened,
    program,
    spend,
    write_csv,
)
from tests.pipeline.conftest import APRIL, Chain, entry

READ_AT = datetime(2026, 11, 20, 2, 10, tzinfo=UTC)


def test_loaded_projects_are_listed_as_json(cli: Cli, app: Composition) -> None:
    assert cli("projects", "load", write_csv(DIE1, EAU, BARE)).code == 0
    spend(app, 11, "8.5450077867")
    listed = cli("projects", "list", "--json").json
    assert listed[0] == {
        "id": 11,
        "acronym": "DIE1",
        "name": "Data innovation",
        "budget": "12500",
        "carried": "0",
        "stopped": False,
        "missing": ["costs of 1caaa5a3-2b66-438e-8ab4-bce37d518c5d not read for April to November 2026"],
        "amount": "12500",
        "currency": "CAD",
        "rollover": "reset",
        "spent": "8.5450077867",
        "allocated": "0",
        "opening_balance": "0",
        "percent": "0.06836",
        "forecast": None,
        "used_up_on": None,
        "period_start": "2026-04-01",
        "period_end": "2027-03-31",
        "owner": None,
        "department": None,
        "cost_centre": None,
        "lock": "auto",
        "locked_since": None,
        "updated_at": None,
        "active": True,
    }
    assert (listed[2]["budget"], listed[2]["currency"], listed[2]["percent"]) == (None, None, None)


def test_a_project_whose_budget_was_taken_away_keeps_its_currency(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    spend(app, 11, "12.5")
    assert cli("budgets", "set", "DIE1", "0", "--reason", "it has ended").code == 0
    (listed,) = cli("projects", "list", "--json").json
    assert (listed["budget"], listed["currency"], listed["spent"]) == (None, "CAD", "12.5")


def test_projects_are_listed_for_people_in_whole_lines_and_without_colours(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    spend(app, 12, "2999.99")
    outcome = cli("projects", "list")
    (line,) = [line for line in outcome.out.splitlines() if "EAU" in line]
    assert "Qualité de l'eau" in line
    # Never rounded up to 100.
    assert "99.9 %" in line
    assert "2 projects, 2 active; 1 at 80 % or more, 2 incomplete." in outcome.out
    assert "\x1b" not in outcome.out


def listed(cli: Cli, *arguments: str) -> list[str]:
    return [each["acronym"] for each in cli("projects", "list", *arguments, "--json").json]


FORET = f"14,FORÊT,Les forêts boréales,{SECOND},foret,100,USD,annual,,,,fr,true"


@pytest.fixture
def some(cli: Cli, app: Composition) -> Composition:
    """DIE1 has used 8 %, EAU 80 %, FORÊT 50 % of its dollars; BARE has no budget, and was not read."""
    cli("projects", "load", write_csv(DIE1, EAU, BARE, FORET))
    spend(app, 11, "1000")
    spend(app, 12, "2400")
    spend(app, 14, "50", date(2026, 11, 1), currency="USD")
    costs_were_read(app, READ_AT)
    return app


@pytest.mark.parametrize(
    ("options", "acronyms"),
    [
        (("--over", "80"), ["EAU"]),
        (("--over", "50", "--sort", "used"), ["EAU", "FORÊT"]),
        (("--over", "81"), []),
        (("--subscription", FIRST.upper()), ["DIE1"]),
        (("--search", "FORET"), ["FORÊT"]),
        (("--search", "qualite"), ["EAU"]),
        (("--search", "e", "--limit", "2"), ["DIE1", "EAU"]),
        (("--sort", "acronym"), ["BARE", "DIE1", "EAU", "FORÊT"]),
        (("--sort", "spent"), ["EAU", "DIE1", "FORÊT", "BARE"]),
        (("--sort", "budget"), ["DIE1", "EAU", "FORÊT", "BARE"]),
        (("--stale",), []),
    ],
)
def test_those_that_are_wanted_are_listed(
    cli: Cli, some: Composition, options: tuple[str, ...], acronyms: list[str]
) -> None:
    assert listed(cli, *options) == acronyms


def test_an_inactive_project_is_over_nothing(cli: Cli, some: Composition) -> None:
    cli("projects", "load", write_csv(EAU.replace("true", "false")))
    assert listed(cli, "--over", "0") == ["DIE1", "FORÊT"]


def test_projects_of_which_costs_are_missing_are_stale(cli: Cli, some: Composition) -> None:
    cli("projects", "load", write_csv(DIE1.replace(FIRST, "3caaa5a3-2b66-438e-8ab4-bce37d518c5d")))
    assert listed(cli, "--stale") == ["DIE1"]


def test_an_aws_account_that_nobody_reads_is_told_and_lists_its_project(cli: Cli, some: Composition) -> None:
    account = "510000000002"
    file = write_csv(f"{DIE1},{account}", header=f"{HEADER},aws_accounts")
    said = f"warning: no cloud account reads AWS account {account} (DIE1); `cloud-accounts add aws` makes one that does"
    assert said in cli("projects", "load", file).err
    assert cli("projects", "load", file, "--json").json["unread"] == [{"account": account, "project": "DIE1"}]
    assert listed(cli, "--subscription", f" {account}") == ["DIE1"]
    assert cli("projects", "list", "--subscription", "510000000009").out == "There is no such project.\n"
    outcome = cli("run", "--subscription", account)
    told = f"error: {account} is an AWS account's id: `cloud-accounts sync` reads those\n"
    assert (outcome.code, outcome.out, outcome.err) == (2, "", told)
    assert f"  no cloud account reads AWS account {account} (DIE1) (`cloud-accounts add aws`)\n" in cli("status").out
    cli("cloud-accounts", "add", "aws", "--name", "prod", "--role-arn", f"arn:aws:iam::{account}:role/costs")
    assert cli("projects", "load", file).err == ""
    assert "no cloud account" not in cli("status").out


def test_a_list_without_any_says_whether_there_are_others(cli: Cli, some: Composition) -> None:
    assert cli("projects", "list", "--over", "81").out == "There is no such project.\n"
    wrong = cli("projects", "list", "--subscription", "north")
    assert (wrong.code, wrong.err.startswith("error: 'north' is no subscription's id")) == (2, True)


@pytest.mark.parametrize("written", ["forêt", "FORET", "foret", "Fore\u0302t"])
def test_neither_case_nor_accents_matter_in_a_projects_name(cli: Cli, some: Composition, written: str) -> None:
    assert cli("projects", "show", written, "--json").json["id"] == 14


def test_an_accent_counts_where_it_tells_two_projects_apart(cli: Cli, some: Composition) -> None:
    cli("projects", "load", write_csv(FORET.replace("14,FORÊT", "15,FORET").replace(",foret,", ",other,")))
    assert [cli("projects", "show", each, "--json").json["id"] for each in ("FORÊT", "FORET")] == [14, 15]
    for written in ("forêt", "foret", "fôret"):
        outcome = cli("budgets", "set", written, "1", "--reason", "x")
        sentence = f"error: {written} may be FORÊT or FORET; write it just so, or the project's id\n"
        assert (outcome.code, outcome.err) == (2, sentence)


def test_json_is_utf_8_whatever_the_machine_is_set_to(
    cli: Cli, some: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert '"name": "Qualité de l\'eau"' in program("projects", "list", "--json").out


def test_without_projects_the_list_says_how_to_load_them(cli: Cli) -> None:
    assert "projects load FILE.csv" in cli("projects", "list").out
    assert cli("projects", "list", "--json").json == []


def test_loading_says_what_changed_and_the_same_file_again_changes_nothing(cli: Cli, app: Composition) -> None:
    assert "2 added, 0 changed, 0 unchanged" in cli("projects", "load", write_csv(DIE1, EAU)).out
    assert "0 added, 0 changed, 2 unchanged" in cli("projects", "load", write_csv(DIE1, EAU)).out
    raised = write_csv(DIE1.replace("12500.00", "20000"), EAU)
    assert "0 added, 1 changed, 1 unchanged" in cli("projects", "load", raised).out
    assert [revision.terms.amount for revision in app.projects.revisions(11)] == [12500, 20000]


def test_loading_warns_of_active_projects_that_nobody_would_hear_of(cli: Cli) -> None:
    sleeping = BARE.replace("13,BARE", "14,SLEEPING").replace(",bare,", ",asleep,").replace("true", "false")
    outcome = cli("projects", "load", write_csv(DIE1, BARE, sleeping))
    assert "no budget, so no alerts: BARE\n" in outcome.err
    assert "no contacts, so the operators get the alerts: BARE\n" in outcome.err


def test_a_faulty_file_is_told_in_full_and_nothing_of_it_is_loaded(cli: Cli) -> None:
    outcome = cli("projects", "load", write_csv(DIE1, EAU.replace("3000", "abc"), BARE.replace("13", "x", 1)))
    assert (outcome.code, outcome.out) == (2, "")
    assert "line 3, budget: 'abc' is not an amount" in outcome.err
    assert "line 4, id: 'x' is no id" in outcome.err
    assert cli("projects", "list", "--json").json == []


def test_a_file_that_takes_what_another_project_keeps_is_told_its_line(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("projects", "load", write_csv(EAU, f"14,NEW,New,{FIRST},DIE1-Prod,,,,,,,,"))
    assert outcome.code == 2
    assert "line 3, resource_groups: DIE1-Prod belongs to project 11 (DIE1)" in outcome.err
    assert len(cli("projects", "list", "--json").json) == 1


# --- what a load would do, and what it is not done without ---

MOVED = DIE1.replace("die1-prod", "die1-new").replace("ann@example.com,en", "eve@example.com,")
PAID = "owner,department,cost_centre"


def test_a_dry_run_says_what_would_change_project_by_project_and_changes_nothing(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    cli("budgets", "set", "EAU", "5000", "--reason", "avenant 2")
    spend(app, 12, "4000")
    before = app.projects.entries()
    new = f"14,NEW,New,{FIRST},new,0.5,EUR,fixed,2026-01-01,2026-12-31,,,,Ann Roy,,"
    changed = MOVED.replace("12500.00,CAD", "13000,EUR").replace("annual", "monthly") + ",,Eau,"
    outcome = cli("projects", "load", write_csv(changed, EAU + ",,,", new, header=f"{HEADER},{PAID}"), "--dry-run")
    assert outcome.out.splitlines() == [
        f"DIE1 department none → Eau, contacts −ann@example.com +eve@example.com, language English → both, "
        f"groups −die1-prod in {FIRST} +die1-new in {FIRST}, budget 12,500 CAD → 13,000 EUR, "
        "period annual from 04-01 → monthly from 04-01",
        'EAU budget 5,000 → 3,000 CAD, undoes "avenant 2" of 20 November 2026, is then at 133.3 % of it',
        "NEW is new, budget 0.50 EUR, fixed from 2026-01-01 to 2026-12-31",
        "projects.csv: would be 1 added, 2 changed, 0 unchanged.",
        "1 group would change hands: what was spent up to today stays with the former owner. If that was never the "
        "right one, load the former file once more, then this one with --correction.",
    ]
    assert "warning: it would not be loaded without --yes, for what is said of 1 project\n" in outcome.err
    assert (outcome.code, app.projects.entries()) == (0, before)


def test_what_needs_consent_is_said_and_not_loaded_without_it(cli: Cli, app: Composition) -> None:
    fixed = EAU.replace("quarterly,,", "fixed,2026-01-01,2026-12-31")
    cli("projects", "load", write_csv(DIE1, fixed))
    cli("budgets", "set", "DIE1", "20000", "--reason", "avenant 2")
    file = write_csv(DIE1, fixed.replace("2026-12-31", "2027-01-01"))
    outcome = cli("projects", "load", file)
    assert outcome.out.splitlines() == [
        'DIE1 budget 20,000 → 12,500 CAD, undoes "avenant 2" of 20 November 2026',
        "EAU period fixed from 2026-01-01 to 2026-12-31 → fixed from 2026-01-01 to 2027-01-01, ends a day later: "
        "period_end is the last day now (it was the day after)",
    ]
    said = "error: nothing was loaded, for what is said of 2 projects; where all of it is meant, add --yes\n"
    assert (outcome.code, outcome.err) == (2, said)
    assert [each.terms.amount for each in app.projects.entries()] == [20000, 3000]
    assert "0 added, 2 changed, 0 unchanged." in cli("projects", "load", file, "--yes").out
    assert "0 added, 0 changed, 2 unchanged." in cli("projects", "load", file).out


def test_a_dry_run_that_has_the_consent_does_not_ask_for_it(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    cli("budgets", "set", "DIE1", "20000", "--reason", "avenant 2")
    outcome = cli("projects", "load", write_csv(DIE1), "--dry-run", "--yes")
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize("option", ["--owner", "--department", "--cost-centre", "--search", "--subscription"])
def test_an_option_that_is_empty_is_a_variable_that_was_not_set(cli: Cli, some: Composition, option: str) -> None:
    outcome = cli("projects", "list", option, " ")
    assert (outcome.code, outcome.err) == (2, f"error: {option} is empty; say what it is, or leave it out\n")


def test_letters_that_are_only_right_if_the_encoding_was_guessed_right_are_shown(cli: Cli) -> None:
    file = Path(write_csv(EAU))
    assert "UTF-8" not in cli("projects", "load", file.name).err
    file.write_bytes(file.read_bytes().decode().encode("cp1252"))
    said = "warning: the file is not in UTF-8: it was read as windows-1252; see that this is right: Qualité de l'eau\n"
    for options in (["--dry-run"], []):
        assert said in cli("projects", "load", file.name, *options).err
    write_csv(f"{EAU},José Roy".replace("Qualité", "Qualite"), header=f"{HEADER},owner")
    file.write_bytes(file.read_bytes().decode().encode("cp850"))
    assert "see that this is right: Jos‚ Roy" in cli("projects", "load", file.name, "--yes").err
    assert cli("projects", "load", file.name, "--json").json["guessed"] == ["Jos‚ Roy"]


def test_a_load_tells_programs_the_same(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    cli("budgets", "set", "EAU", "5000", "--reason", "avenant 2")
    refused = cli("projects", "load", write_csv(EAU, BARE), "--json")
    assert refused.code == 2
    (eau, bare) = refused.json["changes"]
    assert {name: refused.json[name] for name in refused.json if name != "changes"} == {
        "loaded": False,
        "added": 1,
        "changed": 1,
        "unchanged": 0,
        "handed_over": 0,
        "guessed": [],
        "never_read": [],
        "unread": [],
        "left_out": ["DIE1"],
        "without_budget": ["BARE"],
        "without_contacts": ["BARE"],
    }
    assert eau == {
        "id": 12,
        "acronym": "EAU",
        "new": False,
        "words": 'EAU budget 5,000 → 3,000 CAD, undoes "avenant 2" of 20 November 2026',
        "percent_before": "0",
        "percent": "0",
        "needs_consent": True,
        "undone": [
            {"number": 2, "made_at": "2026-11-20T12:00:00+00:00", "made_by": user_name(), "reason": "avenant 2"}
            | {"made_at": eau["undone"][0]["made_at"]}
        ],
    }
    assert (bare["new"], bare["percent"], bare["needs_consent"]) == (True, None, False)
    assert cli("projects", "load", write_csv(EAU, BARE), "--json", "--yes").json["loaded"]


def test_projects_that_the_file_leaves_out_are_named(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1, EAU, BARE))
    outcome = cli("projects", "load", write_csv(EAU))
    assert "Not in the file, and left as they are: 2 projects (DIE1, BARE).\n" in outcome.out
    assert "left as it is: 1 project (BARE)." in cli("projects", "load", write_csv(DIE1, EAU)).out


def test_a_dry_run_makes_no_database(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    assert "there is no database" in cli("projects", "load", write_csv(DIE1), "--dry-run").err
    assert not (tmp_path / "none.db").exists()


def test_another_spelling_or_order_is_said_to_be_no_more(cli: Cli) -> None:
    two = DIE1.replace("ann@example.com", "ann@example.com;eve@example.com")
    cli("projects", "load", write_csv(two))
    turned = write_csv(DIE1.replace("ann@example.com", "eve@example.com;ann@example.com"))
    assert "DIE1 differs in its spelling or order only\n" in cli("projects", "load", turned, "--dry-run").out


def test_projects_are_exported_as_the_file_that_loads_them(cli: Cli) -> None:
    cli("projects", "load", write_csv(f"{DIE1},never,Ann Roy", f"{EAU},,", header=f"{HEADER},lock,owner"))
    written = cli("projects", "export").out
    assert cli("projects", "export", "out.csv").out == "Wrote out.csv.\n"
    assert Path("out.csv").read_text(encoding="utf-8") == written
    assert f",en,true,,,never,reset,Ann Roy,,\n12,EAU,Qualité de l'eau,{SECOND}," in written
    assert "0 added, 0 changed, 2 unchanged" in cli("projects", "load", "out.csv").out
    assert cli("projects", "export", "no-such-folder/out.csv").code == 2


def test_a_dash_is_the_standard_input_or_output(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Path(write_csv(DIE1, EAU)).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert cli("projects", "load", "-").out.endswith("the standard input: 2 added, 0 changed, 0 unchanged.\n")
    assert cli("projects", "export", "-").out == cli("projects", "export").out
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "command",
    [
        "projects show",
        "projects forget",
        "projects lock --reason x",
        "projects unlock --reason x",
        "budgets set --reason x",
        "audit",
        "mails list",
        "costs",
    ],
)
@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_told_to_be_one(cli: Cli, some: Composition, command: str, name: str) -> None:
    outcome = cli(*command.split(), name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: PROJECT is empty; say w")


def test_projects_are_listed_and_shown_with_who_answers_for_them(cli: Cli) -> None:
    paid = [f"{DIE1},Ann Roy,Eau,CC-1", f"{EAU},Ann Roy,Air,CC-2", f"{BARE},,,"]
    cli("projects", "load", write_csv(*paid, header=f"{HEADER},{PAID}"))
    for options, ids in [
        (("--owner", "ann roy"), [11, 12]),
        (("--department", "eau"), [11]),
        (("--owner", "Ann Roy", "--cost-centre", "CC-2"), [12]),
        (("--owner", "Eve"), []),
    ]:
        assert [each["id"] for each in cli("projects", "list", "--json", *options).json] == ids
    assert "There is no such project." in cli("projects", "list", "--owner", "Eve").out
    listed = cli("projects", "list", "--json").json[0]
    assert (listed["owner"], listed["department"], listed["cost_centre"]) == ("Ann Roy", "Eau", "CC-1")
    shown = cli("projects", "show", "DIE1").out
    assert [line.split(maxsplit=1) for line in shown.splitlines() if line[:5] in {"owner", "depar"}] == [
        ["owner", "Ann Roy"],
        ["department", "Eau"],
    ]
    assert "owner" not in cli("projects", "show", "BARE").out


@pytest.mark.parametrize(("name", "said"), [("missing.csv", "can't be read: "), (".", "is a folder; name a file")])
def test_a_file_that_can_not_be_read_is_wrong_usage(cli: Cli, name: str, said: str) -> None:
    outcome = cli("projects", "load", name)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {name} {said}")


@pytest.mark.parametrize("project", ["die1", "DIE1", "11"])
def test_one_project_is_shown_by_acronym_or_id(cli: Cli, project: str) -> None:
    cli("projects", "load", write_csv(DIE1))
    shown = cli("projects", "show", project)
    assert (shown.code, shown.err) == (0, "")
    for words in ("DIE1 (id 11)", f"die1-prod  (subscription {FIRST})", "ann@example.com", "English", "12,500.00 CAD"):
        assert words in shown.out
    as_json = cli("projects", "show", project, "--json").json
    assert as_json["resource_groups"][0] == {"subscription_id": FIRST, "name": "die1-dev"}
    assert as_json["revisions"][0] == {
        "number": 1,
        "budget": "12500",
        "currency": "CAD",
        "period": "annual",
        "period_start": "2026-04-01",
        "period_end": None,
        "rollover": "reset",
        "thresholds": None,
        "opening_balance": None,
        "made_at": as_json["revisions"][0]["made_at"],
        "made_by": user_name(),
        "reason": "loaded",
    }


def test_an_unknown_project_is_wrong_usage(cli: Cli) -> None:
    for command in (["projects", "show", "99"], ["budgets", "set", "NOPE", "5", "--reason", "x"]):
        outcome = cli(*command)
        assert outcome.code == 2
        assert outcome.err.startswith("error: there is no project ")


def test_what_a_name_holds_never_steers_the_terminal(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1.replace("Data innovation", "[bold]Data[/bold] \u202einnovation")))
    assert "[bold]Data[/bold] \\u202einnovation" in cli("projects", "list").out


# --- what is to be expected, what was carried, what is locked ---

MONTHLY = DIE1.replace("12500.00", "2500").replace("annual,2026-04-01", "monthly,")
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))


def spending_steadily(app: Composition, cost: str = "100") -> None:
    """So much on each day of November up to the day before yesterday; yesterday's costs are still to come."""
    spend(app, 11, cost, *(date(2026, 11, day) for day in range(1, 19)))
    costs_were_read(app, READ_AT)
    checked(app, 11)


def test_a_forecast_has_a_total_bounds_and_the_day_on_which_the_budget_is_used_up(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(MONTHLY))
    spending_steadily(app)
    (listed,) = cli("projects", "list", "--json").json
    forecast = {name: Decimal(amount) for name, amount in listed["forecast"].items()}
    assert forecast["total"] == 3000
    assert 1800 <= forecast["low"] < 3000 < forecast["high"]
    assert listed["used_up_on"] == "2026-11-25"
    (line,) = [line for line in cli("projects", "list").out.splitlines() if "DIE1" in line]
    assert line.split()[-5:] == ["72.0", "%", "3,000", "2026-11-25", "2026-11-30"]
    shown = cli("projects", "show", "DIE1").out
    assert "3,000 CAD at the period's end; four times in five between" in shown
    assert "used up     2026-11-25" in shown


def test_an_alert_that_a_contact_does_not_have_says_so(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(MONTHLY))
    spending_steadily(app)
    assert "mailed      50 % (not delivered: not sent yet)" in cli("projects", "show", "DIE1").out
    alert = next(mail for mail in map(app.mails.get, range(1, 9)) if mail and mail.mail.topic is Topic.ALERT)
    app.mails.mark_sent(
        alert.id, "", [Delivery("ann@example.com", Role.TO, DeliveryState.REFUSED, "550 unknown")], READ_AT
    )
    assert "50 % (not delivered: ann@example.com (550 unknown))" in cli("projects", "show", "DIE1").out
    shown = cli("projects", "show", "DIE1", "--json").json
    assert shown["undelivered"] == [{"threshold": 50, "reason": "ann@example.com (550 unknown)"}]


def test_a_budget_that_lasts_is_not_used_up_within_its_period(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(MONTHLY))
    spending_steadily(app, "10")
    (listed,) = cli("projects", "list", "--json").json
    assert (listed["forecast"]["total"], listed["used_up_on"]) == ("300", None)
    assert "used up     not before the period's end" in cli("projects", "show", "DIE1").out


def test_a_forecast_is_as_of_the_last_reading(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(MONTHLY))
    spend(app, 11, "100", *(date(2026, 11, day) for day in range(1, 11)))
    costs_were_read(app, datetime(2026, 11, 12, 2, 10, tzinfo=UTC))
    checked(app, 11)
    (listed,) = cli("projects", "list", "--json").json
    # The days since then are not taken for days without costs.
    assert listed["forecast"]["total"] == "3000"
    since = "costs of 1caaa5a3-2b66-438e-8ab4-bce37d518c5d not read since 12 November 2026"
    assert "not read since 12 November 2026" in cli("projects", "list").out
    assert f"missing     {since}" in cli("projects", "show", "DIE1").out


def test_there_is_no_forecast_of_what_was_not_read_or_is_not_active(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(MONTHLY, BARE))
    spend(app, 11, "100", *(date(2026, 11, day) for day in range(1, 19)))
    checked(app, 11, 13)
    assert [each["forecast"] for each in cli("projects", "list", "--json").json] == [None, None]
    assert "not read yet" in cli("projects", "list").out
    costs_were_read(app, READ_AT)
    cli("projects", "load", write_csv(MONTHLY.replace("true", "false")))
    assert cli("projects", "list", "--json").json[0]["forecast"] is None


def test_a_project_whose_newest_month_was_never_read_is_incomplete_and_not_unread(cli: Cli, app: Composition) -> None:
    chain = Chain(app.database)
    chain.load(entry(11, rule=APRIL), entry(12))
    assert cli("projects", "list").out.count("not read yet") == 2
    for month in range(4, 11):
        chain.spend("50", date(2026, month, 10))
    chain.costs.fails = lambda query: NeverError("no role") if query.window.start.month == 11 else None
    chain.night()
    first, second, *_ = [line for line in cli("projects", "list").out.splitlines() if " P1" in line]
    assert "350.00" in first
    for line in (first, second):
        assert "not read yet" not in line
        assert "November 2026 could not be read" in line


def test_whoever_is_at_100_percent_is_at_80_percent_too(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    spend(app, 11, "12500")
    spend(app, 12, "2400")
    assert "2 projects, 2 active; 2 at 80 % or more, 1 of them at 100 % or more, " in cli("projects", "list").out


def test_one_of_anything_is_one(cli: Cli) -> None:
    cli("projects", "load", write_csv(EAU))
    assert "1 project, 1 active" in cli("projects", "list").out


def test_a_locked_project_is_seen_in_the_list(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    costs_were_read(app, READ_AT)
    decided(app, LOCKED, HOLD, LOCKED_AT)
    first, second = cli("projects", "list", "--json").json
    assert (first["locked_since"], second["locked_since"]) == ("2026-11-20T02:15:00+00:00", None)
    outcome = cli("projects", "list").out
    assert outcome.count("locked since 2026-11-20") == 1
    assert "1 locked. Costs were last read on 2026-11-20 at 02:10 UTC." in outcome
    assert "lock        locked since 2026-11-20 02:15 UTC" in cli("projects", "show", "DIE1").out


def test_what_was_carried_counts_and_is_said_to_be_provisional_or_final(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(f"{MONTHLY},carry-over", header=f"{HEADER},rollover"))
    opened(app, 11, Period(date(2026, 10, 1), NOVEMBER.start), "0", settled=True)
    opened(app, 11, NOVEMBER, "500")
    spend(app, 11, "1500")
    (listed,) = cli("projects", "list", "--json").json
    assert {name: listed[name] for name in ("budget", "carried", "amount", "percent", "rollover", "stopped")} == {
        "budget": "2500",
        "carried": "500",
        "amount": "3000",
        "percent": "50",
        "rollover": "carry_over",
        "stopped": False,
    }
    shown = cli("projects", "show", "DIE1").out
    assert "3,000.00 CAD (2,500.00 CAD, 500.00 CAD carried from the period before)" in shown
    rows = [line.split() for line in shown.splitlines() if line.startswith("2026-1")]
    assert rows == [
        ["2026-10-01", "2026-10-31", "nothing", "0.00", "CAD"],
        ["2026-11-01", "2026-11-30", "500.00", "CAD", "provisional", "1,500.00", "CAD"],
    ]
    assert cli("projects", "show", "DIE1", "--json").json["periods"][1] == {
        "period_start": "2026-11-01",
        "period_end": "2026-11-30",
        "carried": "500",
        "final": False,
        "stopped": False,
        "spent": "1500",
        "allocated": "0",
        "currency": "CAD",
    }


def test_a_total_that_is_drawn_down_says_what_was_used_before(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(f"{MONTHLY},draw_down", header=f"{HEADER},rollover"))
    opened(app, 11, NOVEMBER, "-2000")
    shown = cli("projects", "show", "DIE1").out
    assert "500.00 CAD (2,500.00 CAD, less 2,000.00 CAD used in the periods before)" in shown
    assert cli("projects", "list", "--json").json[0]["amount"] == "500"


def test_a_budget_that_stopped_is_none(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(f"{MONTHLY},stop", header=f"{HEADER},rollover"))
    opened(app, 11, NOVEMBER, "0", stopped=True)
    (listed,) = cli("projects", "list", "--json").json
    assert (listed["amount"], listed["percent"], listed["stopped"]) == (None, None, True)
    assert "none: it stopped with the period before" in cli("projects", "show", "DIE1").out


def test_lock_and_rollover_of_a_file_are_kept_by_one_that_does_not_name_them(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(f"{MONTHLY},never,carry_over", header=f"{HEADER},lock,rollover"))
    assert cli("budgets", "set", "DIE1", "--thresholds", "50,100", "--reason", "fewer mails").code == 0
    assert "0 added, 0 changed, 1 unchanged" in cli("projects", "load", write_csv(MONTHLY)).out
    shown = cli("projects", "show", "DIE1", "--json").json
    assert (shown["lock"], shown["rollover"], shown["thresholds"]) == ("never", "carry_over", [50, 100])
    for_people = cli("projects", "show", "DIE1").out
    assert "not locked, and never is to be" in for_people
    assert "50, 100 % (its own)" in for_people
    assert [revision["thresholds"] for revision in shown["revisions"]] == [None, [50, 100]]


def test_a_lock_alone_that_is_changed_by_a_file_changes_the_project(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("projects", "load", write_csv(f"{DIE1},never", header=f"{HEADER},lock"))
    assert "0 added, 1 changed, 0 unchanged" in outcome.out
    assert cli("projects", "list", "--json").json[0]["lock"] == "never"
    assert len(app.projects.revisions(11)) == 1


def test_groups_that_change_hands_are_said_and_shown(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    moved = DIE1.replace("1caaa5a3-2b66-438e-8ab4-bce37d518c5d", "ed570627-0265-4620-bb42-bae06bcfa914")
    loaded = cli("projects", "load", write_csv(moved)).out
    assert "2 groups changed hands: what was spent up to today stays with the former owner" in " ".join(loaded.split())
    shown = cli("projects", "show", "DIE1", "--json").json["owned_in_part"]
    assert {each["sub_account_id"] for each in shown} == {"1caaa5a3-2b66-438e-8ab4-bce37d518c5d"}
    assert all(each["owned_from"] is None and each["owned_until"] for each in shown)
    assert "only in part" in cli("projects", "show", "DIE1").out
    corrected = cli("projects", "load", write_csv(DIE1), "--correction").out
    assert "changed hands" not in corrected
