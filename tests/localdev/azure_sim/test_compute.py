"""Virtual machines and scale sets through the real SDK: found, looked at, stopped, and kept from stopping."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

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
    """The power state in an instance view, or how many machines of a scale set have which."""
    if hasattr(view, "virtual_machine"):
        return [(one.code, one.count) for one in view.virtual_machine.statuses_summary if "Power" in one.code]
    return next(one.code for one in view.statuses if "Power" in one.code)


def test_machines_and_scale_sets_are_listed_page_by_page_and_looked_at(sim, azure):
    compute = azure.compute(sim.url)

    machines = list(compute.virtual_machines.list("alpha_rg"))
    (scale_set,) = compute.virtual_machine_scale_sets.list(GROUP)
    instances = list(compute.virtual_machine_scale_set_vms.list(GROUP, "set", expand="instanceView"))

    assert [machine.name for machine in machines] == ["one", "two"]
    assert [machine.name for machine in compute.virtual_machines.list_all()] == ["one", "two"]
    assert "/resourceGroups/ALPHA_RG/" in machines[0].id
    assert [power(compute.virtual_machines.instance_view(GROUP, name)) for name in ("one", "TWO")] == [
        "PowerState/running",
        "PowerState/deallocated",
    ]
    assert power(compute.virtual_machines.get(GROUP, "one", expand="instanceView").properties.instance_view)
    assert scale_set.sku.capacity == 3
    assert power(compute.virtual_machine_scale_sets.get_instance_view(GROUP, "set")) == [("PowerState/running", 3)]
    assert [power(one.properties.instance_view) for one in instances] == ["PowerState/running"] * 3


def test_a_deallocation_is_polled_until_it_is_done(sim, azure):
    compute = azure.compute(sim.url)
    sim.machines.deallocate_polls = 2

    compute.virtual_machines.begin_deallocate(GROUP, "one").result()
    compute.virtual_machine_scale_sets.begin_deallocate(GROUP, "set").result()
    compute.virtual_machines.begin_deallocate(GROUP, "two").result()

    assert set(sim.machines.states().values()) == {"deallocated"}
    assert [action.machine.rpartition("/")[2] for action in sim.machines.actions] == ["one", "set", "two"]
    asked = [seen.target for seen in sim.record.requests() if "/operations/" in seen.target]
    # At the end, the SDK fetches each result from the Location.
    assert [len([target for target in asked if ("monitor" in target) is at_end]) for at_end in (False, True)] == [7, 3]


def test_a_deallocation_takes_as_long_as_it_was_said_to(sim, azure, clock):
    compute = azure.compute(sim.url)
    sim.machines.deallocate_seconds = 60

    compute.virtual_machines.begin_deallocate(GROUP, "one", polling=False)
    before = power(compute.virtual_machines.instance_view(GROUP, "one"))
    clock.now += 60

    assert before == "PowerState/deallocating"
    assert power(compute.virtual_machines.instance_view(GROUP, "one")) == "PowerState/deallocated"


@pytest.mark.parametrize(
    ("seconds", "waited", "strict", "state"),
    [(0, 0, True, "running"), (60, 59, True, "running"), (60, 60, True, "deallocated"), (0, 0, False, "deallocated")],
)
def test_a_lock_that_comes_too_early_lets_the_machine_run_on(sim, azure, clock, seconds, waited, strict, state):
    compute = azure.compute(sim.url)
    sim.machines.deallocate_seconds, sim.machines.strict = seconds, strict

    compute.virtual_machines.begin_deallocate(GROUP, "one", polling=False)
    clock.now += waited
    sim.add_lock(azure.subscription, GROUP.upper(), "warden-a")

    assert power(compute.virtual_machines.instance_view(GROUP, "one")) == f"PowerState/{state}"


def test_the_sdk_raises_where_a_deallocation_was_stopped_by_a_lock(sim, azure):
    sim.machines.deallocate_polls = 10_000
    poller = azure.compute(sim.url).virtual_machines.begin_deallocate(GROUP, "one")

    sim.add_lock(azure.subscription, GROUP, "warden-a")

    with pytest.raises(HttpResponseError, match="locked"):
        poller.result(timeout=20)
    assert sim.machines.states()["one"] == "running"


def test_starts_are_on_record_and_unknown_machines_are_a_404(sim, azure):
    compute = azure.compute(sim.url)
    assert sim.machines.started == []

    compute.virtual_machines.begin_start(GROUP, "two").result()
    compute.virtual_machines.begin_power_off(GROUP, "one").result()
    compute.virtual_machines.begin_delete(GROUP, "one").result()

    assert [machine.rpartition("/")[2] for machine in sim.machines.started] == ["two"]
    assert sim.machines.states() == {"two": "running", "set": "running"}
    with pytest.raises(ResourceNotFoundError, match=r"virtualMachines/one' under resource group 'Alpha_RG' was not"):
        compute.virtual_machines.begin_deallocate(GROUP, "one")


def test_a_flexible_scale_set_has_no_machines_of_its_own_and_is_not_deallocated(sim, azure):
    compute = azure.compute(sim.url)
    sim.machines.add(azure.subscription, GROUP, "flex", kind="scale set", instances=2, flexible=True)

    modes = {one.name: one.orchestration_mode for one in compute.virtual_machine_scale_sets.list(GROUP)}

    assert modes == {"set": "Uniform", "flex": "Flexible"}
    assert list(compute.virtual_machine_scale_set_vms.list(GROUP, "flex")) == []
    with pytest.raises(HttpResponseError, match="Flexible"):
        compute.virtual_machine_scale_sets.begin_deallocate(GROUP, "flex")
