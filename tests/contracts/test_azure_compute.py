"""What every AzureCompute keeps to: the adapter with the real SDK, and the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.ports.azure import AzureCompute, LockLevel, Machine, MachineKind, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from tests.contracts.azure_worlds import GROUP, KINDS, LASTING, OTHER, PASSING, World, a_lock, worlds

VM, SCALE_SET = MachineKind.VM, MachineKind.SCALE_SET
NOWHERE = replace(GROUP, name="rg-gone")
CALLS: dict[str, Callable[[AzureCompute, ResourceGroup], object]] = {
    "running": lambda compute, group: compute.running(group),
    "deallocate a machine": lambda compute, group: compute.deallocate(group, Machine("vm-1", VM)),
    "deallocate a scale set": lambda compute, group: compute.deallocate(group, Machine("set-1", SCALE_SET)),
}


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with worlds(request.param) as world:
        yield world


def test_a_group_without_machines_has_none_running(world: World) -> None:
    assert world.compute.running(GROUP) == []


def test_a_group_that_is_not_there_has_none_running(world: World) -> None:
    assert world.compute.running(NOWHERE) == []


@pytest.mark.parametrize("kind", MachineKind)
@pytest.mark.parametrize("state", ["running", "stopped"])
def test_what_is_stopped_costs_money_as_what_runs_does(world: World, kind: MachineKind, state: str) -> None:
    world.add_machine("one", kind, state)
    assert world.compute.running(GROUP) == [Machine("one", kind)]


@pytest.mark.parametrize("kind", MachineKind)
def test_what_is_deallocated_costs_nothing(world: World, kind: MachineKind) -> None:
    world.add_machine("one", kind, "deallocated")
    assert world.compute.running(GROUP) == []


def test_all_machines_of_the_group_are_found_and_no_others(world: World) -> None:
    for number in range(5):
        world.add_machine(f"vm-{number}")
        world.add_machine(f"set-{number}", SCALE_SET)
        world.add_machine(f"other-{number}", group=replace(GROUP, name="rg-web2"))
    found = world.compute.running(replace(GROUP, name="RG-WEB"))
    assert {(machine.name, machine.kind) for machine in found} == {
        *((f"vm-{number}", VM) for number in range(5)),
        *((f"set-{number}", SCALE_SET) for number in range(5)),
    }


def test_a_machine_and_a_scale_set_of_one_name_are_two(world: World) -> None:
    world.add_machine("web")
    world.add_machine("web", SCALE_SET)
    world.compute.deallocate(GROUP, Machine("web", SCALE_SET))
    assert world.compute.running(GROUP) == [Machine("web", VM)]


@pytest.mark.parametrize("kind", MachineKind)
def test_what_was_deallocated_is_stopping_until_it_is_gone(world: World, kind: MachineKind) -> None:
    world.add_machine("one", kind)
    world.takes_its_time()
    world.compute.deallocate(GROUP, Machine("one", kind))
    seen = [world.compute.running(GROUP) for _ in range(4)]
    assert seen[0] == [Machine("one", kind, stopping=True)]
    assert seen[3] == []
    assert all(found in ([], seen[0]) for found in seen)


@pytest.mark.parametrize("kind", MachineKind)
def test_deallocating_twice_is_as_good_as_once(world: World, kind: MachineKind) -> None:
    world.add_machine("one", kind)
    world.compute.deallocate(GROUP, Machine("one", kind))
    world.compute.deallocate(GROUP, Machine("one", kind))
    assert world.compute.running(GROUP) == []


@pytest.mark.parametrize("kind", MachineKind)
def test_deallocating_what_is_gone_does_nothing(world: World, kind: MachineKind) -> None:
    world.compute.deallocate(GROUP, Machine("gone", kind))
    world.compute.deallocate(NOWHERE, Machine("gone", kind))
    assert world.compute.running(GROUP) == []


@pytest.mark.parametrize("kind", MachineKind)
def test_a_read_only_lock_stands_in_the_way_and_is_named(world: World, kind: MachineKind) -> None:
    world.add_machine("one", kind)
    world.add_lock(a_lock("theirs"))
    with pytest.raises(NeverError, match=r"rg-Web.*ScopeLocked"):
        world.compute.deallocate(GROUP, Machine("one", kind))
    assert world.compute.running(GROUP) == [Machine("one", kind)]


def test_a_lock_against_deletion_does_not_stand_in_the_way(world: World) -> None:
    world.add_machine("one")
    world.add_lock(a_lock("theirs", LockLevel.CAN_NOT_DELETE))
    world.compute.deallocate(GROUP, Machine("one", VM))
    assert world.compute.running(GROUP) == []


def test_a_read_only_lock_ends_a_deallocation_that_is_not_over(world: World) -> None:
    world.add_machine("one")
    world.takes_its_time()
    world.compute.deallocate(GROUP, Machine("one", VM))
    world.locks.put(GROUP, a_lock())
    assert world.compute.running(GROUP) == [Machine("one", VM)]


@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_subscription_is_for_never_and_named(world: World, call: str) -> None:
    with pytest.raises(NeverError, match=OTHER):
        CALLS[call](world.compute, ResourceGroup(OTHER, GROUP.name))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("trouble", PASSING)
def test_what_may_pass_is_for_later_with_the_wait_that_was_named(world: World, trouble: str, call: str) -> None:
    world.add_machine("vm-1")
    world.add_machine("set-1", SCALE_SET)
    world.is_in_trouble(trouble)
    with pytest.raises(LaterError) as caught:
        CALLS[call](world.compute, GROUP)
    seconds = PASSING[trouble][0]
    assert caught.value.wait == (None if seconds is None else timedelta(seconds=seconds))
    assert world.compute.running(GROUP) == [Machine("vm-1", VM), Machine("set-1", SCALE_SET)]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("trouble", LASTING)
def test_what_stays_wrong_is_for_never_and_said_in_a_sentence(world: World, trouble: str, call: str) -> None:
    world.add_machine("vm-1")
    world.add_machine("set-1", SCALE_SET)
    world.is_in_trouble(trouble)
    with pytest.raises(NeverError) as caught:
        CALLS[call](world.compute, GROUP)
    assert GROUP.name in caught.value.reason
    assert caught.value.reason.endswith(".")
    assert "\n" not in caught.value.reason
    assert world.compute.running(GROUP) == [Machine("vm-1", VM), Machine("set-1", SCALE_SET)]
