"""Virtual machines and scale sets through the real SDK: found, looked at, stopped, and kept from stopping."""

import pytest
from azure.core.exceptions import ResourceNotFoundError

GROUP = "Alpha_RG"


@pytest.fixture
def sim(running, azure, clock):
    """A simulator with a machine that runs, one that doesn't, and a scale set of three; lists have pages of one."""
    simulator = running([azure.charge(GROUP)], clock=clock, page_size=1)
    simulator.machines.add(azure.subscription, GROUP, "one")
    simulator.machines.add(azure.subscription, GROUP, "two", running=False)
    simulator.machines.add(azure.subscription, GROUP, "set", kind="scale set", instances=3)
    return simulator


def power(view):
    """The power state in an instance view."""
    return next(one.code for one in view.statuses if "Power" in one.code)


def test_machines_and_scale_sets_are_listed_page_by_page_and_looked_at(sim, azure):
    compute = azure.compute(sim.url)

    machines = list(compute.virtual_machines.list("alpha_rg"))
    (scale_set,) = compute.virtual_machine_scale_sets.list(GROUP)
    instances = list(compute.virtual_machine_scale_set_vms.list(GROUP, "set", expand="instanceView"))

    assert [machine.name for machine in machines] == ["one", "two"]
    assert "/resourceGroups/ALPHA_RG/" in machines[0].id
    assert [power(compute.virtual_machines.instance_view(GROUP, name)) for name in ("one", "TWO")] == [
        "PowerState/running",
        "PowerState/deallocated",
    ]
    assert scale_set.sku.capacity == 3
    assert [power(one.properties.instance_view) for one in instances] == ["PowerState/running"] * 3


def test_a_deallocation_takes_as_long_as_it_was_said_to(sim, azure, clock):
    compute = azure.compute(sim.url)
    sim.machines.deallocate_seconds = 60

    compute.virtual_machines.begin_deallocate(GROUP, "one", polling=False)
    before = power(compute.virtual_machines.instance_view(GROUP, "one"))
    clock.now += 60

    assert before == "PowerState/deallocating"
    assert power(compute.virtual_machines.instance_view(GROUP, "one")) == "PowerState/deallocated"


@pytest.mark.parametrize(
    ("seconds", "waited", "state"),
    [(0, 0, "running"), (60, 59, "running"), (60, 60, "deallocated")],
)
def test_a_lock_that_comes_too_early_lets_the_machine_run_on(sim, azure, clock, seconds, waited, state):
    compute = azure.compute(sim.url)
    sim.machines.deallocate_seconds = seconds

    compute.virtual_machines.begin_deallocate(GROUP, "one", polling=False)
    clock.now += waited
    sim.add_lock(azure.subscription, GROUP.upper(), "warden-a")

    assert power(compute.virtual_machines.instance_view(GROUP, "one")) == f"PowerState/{state}"


def test_starts_are_on_record_and_unknown_machines_are_a_404(sim, azure):
    compute = azure.compute(sim.url)
    assert sim.machines.started == []

    compute.virtual_machines.begin_start(GROUP, "two", polling=False)

    assert [machine.rpartition("/")[2] for machine in sim.machines.started] == ["two"]
    assert sim.machines.states() == {"one": "running", "two": "running", "set": "running"}
    with pytest.raises(ResourceNotFoundError, match=r"virtualMachines/ten' under resource group 'Alpha_RG' was not"):
        compute.virtual_machines.begin_deallocate(GROUP, "ten")
