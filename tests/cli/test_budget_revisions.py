"""`budgets set`: revisions by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from shared.cli.app import user_name
from shared.composition import Composition
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.money import LARGEST_AMOUNT
from shared.domain.periods import Period, PeriodKind, PeriodRule
from tests.cli.commands import BARE, DIE1, HEADER, Cli, opened, queued, write_csv


def test_a_revision_can_be_told_to_programs(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    revised = cli("budgets", "set", "DIE1", "15000.50", "--reason", "more students", "--json").json
    assert (revised["acronym"], revised["number"], revised["budget"]) == ("DIE1", 2, "15000.5")
    assert revised["before"]["budget"] == "12500"
    assert cli("budgets", "set", "DIE1", "15000.5", "--reason", "again", "--json").json["number"] is None


def test_a_budget_that_is_set_is_a_revision_and_is_checked(
    cli: Cli, app: Composition, queue_names: dict[str, str]
) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "set", "die1", "15000.50", "--reason", "more students")
    assert (outcome.code, outcome.err) == (0, "")
    assert "is now 15,000.50 CAD (it was 12,500.00 CAD); this is revision 2." in outcome.out
    before, after = app.projects.revisions(11)
    assert (after.terms.amount, after.made_by, after.reason) == (Decimal("15000.5"), user_name(), "more students")
    assert (after.terms.currency, after.terms.rule) == (before.terms.currency, before.terms.rule)
    assert queued("QueueProjectUsageNotification") == [{"ProjectId": 11}]


def test_a_budget_is_saved_though_its_check_can_not_be_queued(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "set", "11", "0", "--reason", "the project is over")
    assert outcome.code == 0
    assert "is now none (it was 12,500.00 CAD)" in outcome.out
    assert outcome.err.startswith("warning: the budget is saved, but the storage account refuses us")
    assert not app.projects.revisions(11)[-1].terms.amount


def test_the_same_budget_again_makes_no_revision(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    assert "nothing was changed" in cli("budgets", "set", "DIE1", "12500.0", "--reason", "again").out
    assert len(app.projects.revisions(11)) == 1


@pytest.mark.parametrize("amount", ["abc", "-5", "1e400", "NaN", "Infinity", "12,500", "", str(LARGEST_AMOUNT + 1)])
def test_what_is_no_amount_is_wrong_usage(cli: Cli, app: Composition, amount: str) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "set", "DIE1", amount, "--reason", "x")
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    assert len(app.projects.revisions(11)) == 1


def test_a_budget_needs_a_reason_and_a_first_one_a_currency(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(BARE))
    assert cli("budgets", "set", "BARE", "5").code == 2
    assert cli("budgets", "set", "BARE", "5", "--reason", " ").code == 2
    assert "--currency CAD" in cli("budgets", "set", "BARE", "5", "--reason", "x").err
    assert cli("budgets", "set", "BARE", "5", "--reason", "x", "--currency", "dollars").code == 2
    assert cli("budgets", "set", "BARE", "5", "--reason", "x", "--currency", "cad").code == 0
    assert app.projects.revisions(13)[-1].terms.currency == "CAD"


# --- more than the amount ---

NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
MONTHLY = DIE1.replace("12500.00", "1000").replace("annual,2026-04-01", "monthly,")


def last(app: Composition) -> BudgetTerms:
    return app.projects.revisions(11)[-1].terms


def test_what_was_carried_into_the_period_is_said(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    cli("projects", "load", write_csv(MONTHLY))
    opened(app, 11, NOVEMBER, "200", settled=True)
    assert cli("budgets", "set", "DIE1", "1500", "--reason", "more students").out == (
        "The budget of DIE1 is now 1,500.00 CAD (it was 1,000.00 CAD), and 200.00 CAD carried from the period before: "
        "1,700.00 CAD in this period; this is revision 2.\n"
    )


def test_the_rollover_alone_can_be_changed(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "set", "DIE1", "--rollover", "Carry-Over", "--reason", "it may be saved")
    assert outcome.out == (
        "The budget of DIE1 stays 12,500.00 CAD; its rollover is now carry_over (before: reset); this is revision 2.\n"
    )
    assert (last(app).amount, last(app).rollover) == (Decimal(12500), Rollover.CARRY_OVER)
    assert queued("QueueProjectUsageNotification") == [{"ProjectId": 11}]


def test_the_period_can_be_changed(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    assert "its period is now monthly from 01-01 (before: annual from 04-01)" in (
        cli("budgets", "set", "DIE1", "--period", "monthly", "--reason", "x").out
    )
    assert last(app).rule == PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 1))
    cli("budgets", "set", "DIE1", "--period-start", "2026-01-15", "--reason", "x")
    assert last(app).rule == PeriodRule(PeriodKind.MONTHLY, date(2026, 1, 15))
    fixed = ("--period", "fixed", "--period-start", "2026-01-01", "--period-end", "2027-06-01")
    cli("budgets", "set", "DIE1", *fixed, "--reason", "x")
    cli("budgets", "set", "DIE1", "--period-end", "2027-07-01", "--reason", "it lasts a month more")
    assert last(app).rule == PeriodRule(PeriodKind.FIXED, date(2026, 1, 1), date(2027, 7, 2))


def test_thresholds_of_its_own_can_be_given_and_taken_back(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "set", "DIE1", "--thresholds", "100, 50,,90,", "--reason", "x")
    assert "its thresholds are now 50, 90, 100 % (before: those of the settings)" in outcome.out
    assert last(app).thresholds == (50, 90, 100)
    assert "nothing was changed" in cli("budgets", "set", "DIE1", "--thresholds", "50,90,100", "--reason", "x").out
    assert cli("budgets", "set", "DIE1", "--thresholds", "default", "--reason", "x").code == 0
    assert last(app).thresholds is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "say what is to change"),
        (["--rollover", "keep"], "'keep' is no rollover; write one of reset, carry_over, draw_down, stop"),
        (["--rolover", "stop"], ""),
        (["--rolover=stop"], "there is no option --rolover"),
        (["--period", "yearly"], "'yearly' is no period"),
        (["--period", "fixed"], "a fixed period needs period_start and period_end"),
        (["--period-start", "1 April"], "'1 April' is no date"),
        (["--period-end", "2027-01-01"], "does not fit a budget that is annual"),
        (["--thresholds", "fifty"], "'fifty' are no thresholds; write whole percents from 1 to 1000"),
        (["--thresholds", "0,50"], "are no thresholds"),
        (["--thresholds", ","], "are no thresholds"),
        (["--thresholds", "1001"], "are no thresholds"),
        (["--thresholds", "٥٠"], "are no thresholds"),
        (["--currency", "$"], "is not a currency"),
        ([""], "the amount is empty"),
    ],
)
def test_what_can_not_be_right_is_told_and_makes_no_revision(
    cli: Cli, app: Composition, options: list[str], said: str
) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "set", "DIE1", *options, "--reason", "x")
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    assert said in outcome.err
    assert len(app.projects.revisions(11)) == 1


def test_a_fixed_period_takes_no_rollover_but_stop(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    fixed = ("--period", "fixed", "--period-start", "2026-01-01", "--period-end", "2027-06-01", "--reason", "x")
    outcome = cli("budgets", "set", "DIE1", *fixed, "--rollover", "reset")
    assert (outcome.code, "a fixed period has no next one" in outcome.err) == (2, True)
    assert cli("budgets", "set", "DIE1", *fixed, "--rollover", "stop").code == 0


def test_a_budget_that_stopped_goes_on_with_the_same_amount(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(f"{MONTHLY},stop", header=f"{HEADER},rollover"))
    opened(app, 11, NOVEMBER, "0", stopped=True)
    assert cli("projects", "list", "--json").json[0]["amount"] is None
    outcome = cli("budgets", "set", "DIE1", "1000", "--reason", "it goes on")
    assert outcome.out == "The budget of DIE1 stays 1,000.00 CAD; this is revision 2.\n"
    assert cli("projects", "list", "--json").json[0]["amount"] == "1000"


def test_a_reason_that_is_too_long_is_told(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "set", "DIE1", "5", "--reason", "x" * 1001)
    assert (outcome.code, outcome.err) == (2, "error: --reason has 1,001 characters; write at most 1,000\n")
    assert len(app.projects.revisions(11)) == 1


def test_an_opening_balance_is_said_shown_and_counted(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    cli("projects", "load", write_csv(DIE1))
    said = cli("budgets", "set", "DIE1", "--opening-balance", "2920", "--reason", "from the invoices").out
    assert "its opening balance is now 2,920.00 CAD in the period from 2026-04-01 (before: none)" in said
    shown = cli("projects", "show", "DIE1")
    assert "2,920.00 CAD, of which 2,920.00 CAD is the opening balance" in " ".join(shown.out.split())
    (first, second) = cli("projects", "show", "DIE1", "--json").json["revisions"]
    assert first["opening_balance"] is None
    assert second["opening_balance"] == {"amount": "2920", "period_start": "2026-04-01"}
    (listed,) = cli("projects", "list", "--json").json
    assert (listed["spent"], listed["opening_balance"], listed["percent"]) == ("2920", "2920", "23.36")
    wrong = cli("budgets", "set", "DIE1", "--opening-balance", "2,920", "--reason", "x")
    assert wrong.code != 0
    assert "the opening balance can't be right: '2,920' is not an amount; write digits" in wrong.err
