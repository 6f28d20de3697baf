"""`budgets sync`, against the simulator: what it says, and its exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from shared.cli.budget_sync import report
from shared.pipeline.azure_budgets.sync import BudgetChange, SyncResult
from tests.cli.commands import DIE1, EAU, FIRST, SECOND, Cli, write_csv

GROUP = f"/subscriptions/{FIRST}/resourceGroups/ops/providers/Microsoft.Insights/actionGroups/warden-lock"


def charge(subscription: str, group: str) -> Charge:
    return Charge(subscription, group, "VM", date(2026, 11, 1), "CAD", Decimal(7))


@pytest.fixture
def azure(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureSimulator]:
    """An Azure with a charge in each of two subscriptions, and an Action Group that is set."""
    book = ChargeBook([charge(FIRST, "die1-dev"), charge(SECOND, "eau")])
    with AzureSimulator(book) as simulator:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", simulator.url)
        monkeypatch.setenv("LOCK_ACTION_GROUP_ID", GROUP)
        yield simulator


def budget_names(azure: AzureSimulator) -> list[str]:
    return sorted(budget.name for budget in azure.budgets.of())


def test_without_an_action_group_nothing_is_synced_and_that_is_said(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "sync")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: LOCK_ACTION_GROUP_ID is not set")


def test_each_subscription_is_brought_in_step_and_a_second_time_nothing_is_to_be_done(
    cli: Cli, azure: AzureSimulator
) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    outcome = cli("budgets", "sync")
    assert (outcome.code, outcome.err) == (0, "")
    assert budget_names(azure) == ["warden-die1", "warden-eau"]
    assert outcome.out.startswith(f"{FIRST}:\n  create: DIE1 amount 12500")
    assert f"\n{SECOND}:\n  create: EAU amount 3000" in outcome.out
    assert cli("budgets", "sync").out.count("are in step") == 2


def test_a_dry_run_says_what_would_be_and_changes_nothing(cli: Cli, azure: AzureSimulator) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budgets", "sync", "--dry-run")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("Dry run: nothing of this is done.\n")
    assert "  create: DIE1 amount 12500" in outcome.out
    assert budget_names(azure) == []


def test_what_was_done_can_be_told_to_programs(cli: Cli, azure: AzureSimulator) -> None:
    cli("projects", "load", write_csv(DIE1))
    (synced,) = cli("budgets", "sync", "--json").json
    assert (synced["subscription_id"], synced["error"], synced["failed"], synced["dry_run"]) == (FIRST, None, [], False)
    assert [(each["acronym"], each["what"]) for each in synced["changes"]] == [("DIE1", "create")]


def test_a_subscription_that_asks_to_wait_is_told_with_the_wait_and_the_others_go_on(
    cli: Cli, azure: AzureSimulator
) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    azure.fault("arm_throttled", subscription=FIRST, seconds=70, times=None)
    outcome = cli("budgets", "sync")
    assert outcome.code == 1
    assert "; try again in 1 min 10 s\n" in outcome.out
    assert outcome.err == f"error: not all of Azure's budgets are in step: see {FIRST}\n"
    assert budget_names(azure) == ["warden-eau"]


def test_a_subscription_that_refuses_us_fails_alone_with_the_role_that_is_missing(
    cli: Cli, azure: AzureSimulator
) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    azure.fault("forbidden", subscription=SECOND, times=None)
    outcome = cli("budgets", "sync")
    assert outcome.code == 1
    assert f"\n{SECOND}:\n  failed: " in outcome.out
    assert outcome.err.endswith(f"see {SECOND}\n")
    assert budget_names(azure) == ["warden-die1"]


def test_a_budget_that_azure_refuses_is_a_failure(cli: Cli, azure: AzureSimulator) -> None:
    cli("projects", "load", write_csv(DIE1))
    azure.fault("forbidden", method="PUT", times=None)
    outcome = cli("budgets", "sync")
    assert outcome.code == 1
    assert "  failed: DIE1: " in outcome.out


def test_a_project_that_can_not_have_a_budget_in_azure_is_a_warning_and_no_failure(
    cli: Cli, azure: AzureSimulator
) -> None:
    # Azure takes a start on the first of a month only.
    cli("projects", "load", write_csv(DIE1.replace("2026-04-01", "2026-04-15"), EAU))
    outcome = cli("budgets", "sync")
    assert outcome.code == 0
    assert "  no budget in Azure: DIE1: " in outcome.out
    assert budget_names(azure) == ["warden-eau"]


def test_without_projects_there_is_nothing_to_sync(cli: Cli, azure: AzureSimulator) -> None:
    outcome = cli("budgets", "sync")
    assert (outcome.code, outcome.err) == (0, "")
    assert "projects load FILE.csv" in outcome.out


def test_the_report_has_a_line_for_each_budget_and_a_sum() -> None:
    result = SyncResult(
        (BudgetChange("A", "change", "A amount 1 -> 2"), BudgetChange("B", "delete", "B: the project is inactive")),
        (("C", "its budget is in CAD, and the subscription is billed in USD"),),
        (("D", "No role."),),
    )
    assert report(result) == [
        "change: A amount 1 -> 2",
        "delete: B: the project is inactive",
        "no budget in Azure: C: its budget is in CAD, and the subscription is billed in USD",
        "failed: D: No role.",
        "1 changed, 1 deleted, 1 without a budget in Azure, 1 failed",
    ]
    assert report(replace(result, unmapped=(), failed=()))[-1] == "1 changed, 1 deleted"
    assert report(SyncResult()) == ["Azure's budgets are in step."]
