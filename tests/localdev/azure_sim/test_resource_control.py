"""Budgets, locks, machines and groups, told and asked from another process."""

from datetime import date
from decimal import Decimal

import pytest
from azure.core.exceptions import ResourceNotFoundError

from localdev.azure_sim import SimulatorControl


def test_a_budget_is_evaluated_and_its_action_group_called_from_outside(running, receiving, azure):
    sim, receiver = running([azure.charge("Alpha_RG", amount="100.10")]), receiving()
    control = SimulatorControl(sim.url)
    azure.budgets(sim.url).create_or_update(azure.scope, "warden-a", azure.budget())
    control.register_action_group(azure.action_group, receiver.url, schema="legacy")
    before = control.budgets()[0]["evaluated"]

    (call,) = control.evaluate_budgets(date(2026, 11, 20))

    (budget,) = control.budgets(azure.subscription.upper())
    assert (before, budget["evaluated"], budget["name"]) == (None, "2026-11-20", "warden-a")
    assert budget["properties"]["currentSpend"] == {"amount": Decimal("100.10"), "unit": "USD"}
    assert (call["status"], call["notification"], call["attempts"]) == (202, "100", 1)
    assert receiver.bodies()[0]["data"]["SpendingAmount"] == "100.10"
    assert control.budgets("other") == []


def test_locks_machines_and_groups_are_managed_from_outside(running, azure):
    sim = running()
    control, compute = SimulatorControl(sim.url), azure.compute(sim.url)
    control.add_machine(azure.subscription, "Alpha_RG", "vm")
    control.add_machine(azure.subscription, "Beta", "set", kind="scale set", running=False, instances=2)
    control.add_lock(azure.subscription, "Beta", "finance", "CanNotDelete", "ask us")
    compute.virtual_machines.begin_deallocate("alpha_rg", "vm").result()

    assert [one["state"] for one in control.machines(azure.subscription)] == ["deallocated", "deallocated"]
    assert [one["name"] for one in control.machines(group="BETA")] == ["set"]
    assert [action["action"] for action in control.machine_actions()] == ["deallocate"]
    assert [(lock["name"], lock["level"], lock["notes"]) for lock in control.locks(azure.subscription, "beta")] == [
        ("finance", "CanNotDelete", "ask us")
    ]
    assert [control.remove_lock(azure.subscription, "beta", "finance") for _ in range(2)] == [True, False]
    control.remove_group(azure.subscription, "Alpha_RG")
    assert [one["name"] for one in control.machines()] == ["set"]
    control.add_group(azure.subscription, "Alpha_RG")
    assert list(compute.virtual_machines.list("Alpha_RG")) == []


def test_what_the_control_cannot_take_is_said_and_changes_nothing(running, azure):
    sim = running()
    control = SimulatorControl(sim.url)

    for wrong in (
        lambda: control.add_lock(azure.subscription, "Beta", "finance", "Frozen"),
        lambda: control.add_machine(azure.subscription, "Beta", "x", kind="boat"),
        lambda: control.add_machine(azure.subscription, "Beta", "x", colour="red"),
        lambda: control.register_action_group(azure.action_group, "https://example.com/"),
    ):
        with pytest.raises(RuntimeError, match="400: The simulator can't take this"):
            wrong()
    assert azure.post(sim.url, "/_sim/evaluate", {"today": "soon"}).status == 400
    assert (control.locks(), control.machines(), dict(sim.action_groups)) == ([], [], {})


def test_resources_are_kept_in_the_state_file_for_the_next_start(running, receiving, azure, tmp_path):
    charges, file = [azure.charge("Alpha_RG", amount="100")], tmp_path / "state.json"
    first, receiver = running(charges, state_file=file), receiving()
    control = SimulatorControl(first.url)
    azure.budgets(first.url).create_or_update(azure.scope, "warden-a", azure.budget())
    control.register_action_group(azure.action_group, receiver.url)
    control.evaluate_budgets(date(2026, 11, 20))
    control.add_machine(azure.subscription, "Beta", "vm")
    azure.compute(first.url).virtual_machines.begin_deallocate("Beta", "vm").result()
    control.add_lock(azure.subscription, "Beta", "finance")
    control.remove_group(azure.subscription, "Alpha_RG")

    again = running(charges, state_file=file)
    second = SimulatorControl(again.url)

    for what in ("budgets", "locks", "machines", "machine_actions"):
        assert getattr(second, what)() == getattr(control, what)() != []
    assert second.evaluate_budgets(date(2026, 11, 21)) == []
    with pytest.raises(ResourceNotFoundError, match="ResourceGroupNotFound"):
        list(azure.locks(again.url).list_at_resource_group_level("Alpha_RG"))
    assert len(receiver.requests) == 1
