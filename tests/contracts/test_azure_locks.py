"""What every AzureLocks keeps to: the adapter with the real SDK, and the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.ports.azure import AzureLocks, GroupLock, LockLevel, ResourceGroup
from shared.ports.errors import LaterError, NeverError, NoSubscriptionError
from tests.contracts.azure_worlds import GROUP, KINDS, LASTING, OTHER, PASSING, World, a_lock, worlds

LOCK = a_lock()
NOWHERE = replace(GROUP, name="rg-gone")
CALLS: dict[str, Callable[[AzureLocks, ResourceGroup], object]] = {
    "locks_on": lambda locks, group: locks.locks_on(group),
    "put": lambda locks, group: locks.put(group, LOCK),
    "delete": lambda locks, group: locks.delete(group, LOCK.name),
}


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with worlds(request.param) as world:
        yield world


def test_a_group_that_nobody_locked_has_no_locks(world: World) -> None:
    assert world.locks.locks_on(GROUP) == []


@pytest.mark.parametrize("level", LockLevel)
def test_a_lock_that_was_put_is_there_with_its_level_and_its_notes(world: World, level: LockLevel) -> None:
    lock = a_lock(level=level, notes='100 % of the budget “Straße” is used: <ask> "us" & wait\nuntil Monday')
    assert world.locks.put(GROUP, lock) is True
    assert world.locks.locks_on(GROUP) == [lock]


def test_putting_a_lock_again_changes_its_level_and_its_notes(world: World) -> None:
    world.locks.put(GROUP, a_lock(level=LockLevel.CAN_NOT_DELETE, notes="before"))
    assert world.locks.put(GROUP, a_lock(notes="after")) is True
    assert world.locks.locks_on(GROUP) == [a_lock(notes="after")]


def test_notes_are_cut_to_what_azure_takes(world: World) -> None:
    world.locks.put(GROUP, a_lock(notes="é" * 513))
    assert world.locks.locks_on(GROUP) == [a_lock(notes="é" * 512)]


def test_every_lock_of_the_group_is_listed_whoever_made_it(world: World) -> None:
    theirs = [a_lock(f"theirs {number}", LockLevel.CAN_NOT_DELETE, f"note {number}") for number in range(5)]
    for lock in theirs:
        world.add_lock(lock)
    world.locks.put(GROUP, LOCK)
    assert world.locks.locks_on(GROUP) == [*theirs, LOCK]


def test_groups_are_kept_apart_and_known_in_any_spelling(world: World) -> None:
    neighbour = replace(GROUP, name="rg-Web2")
    world.add_group(neighbour)
    world.locks.put(replace(GROUP, name="RG-WEB", subscription_id=GROUP.subscription_id.upper()), LOCK)
    assert world.locks.locks_on(neighbour) == []
    assert world.locks.locks_on(replace(GROUP, name="rg-web")) == [LOCK]


def test_a_lock_that_was_taken_off_is_gone_and_no_other(world: World) -> None:
    theirs = a_lock("theirs")
    world.add_lock(theirs)
    world.locks.put(GROUP, LOCK)
    assert world.locks.delete(GROUP, LOCK.name) is True
    assert world.locks.locks_on(GROUP) == [theirs]


def test_taking_off_a_lock_that_is_not_there_says_so(world: World) -> None:
    world.add_lock(a_lock("theirs"))
    assert world.locks.delete(GROUP, LOCK.name) is False
    assert world.locks.locks_on(GROUP) == [a_lock("theirs")]


def test_locks_never_stand_in_the_way_of_locks(world: World) -> None:
    world.add_lock(a_lock("theirs"))
    assert world.locks.put(GROUP, LOCK) is True
    assert world.locks.delete(GROUP, LOCK.name) is True


def test_a_group_that_is_not_there_has_no_locks_and_takes_none(world: World) -> None:
    assert world.locks.locks_on(NOWHERE) is None
    assert world.locks.put(NOWHERE, LOCK) is False
    assert world.locks.delete(NOWHERE, LOCK.name) is False


def test_the_locks_of_a_group_go_with_it(world: World) -> None:
    world.locks.put(GROUP, LOCK)
    world.remove_group(GROUP)
    assert world.locks.locks_on(GROUP) is None
    world.add_group(GROUP)
    assert world.locks.locks_on(GROUP) == []


@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_subscription_is_for_never_and_named(world: World, call: str) -> None:
    with pytest.raises(NoSubscriptionError, match=OTHER):
        CALLS[call](world.locks, ResourceGroup(OTHER, GROUP.name))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("trouble", PASSING)
def test_what_may_pass_is_for_later_with_the_wait_that_was_named(world: World, trouble: str, call: str) -> None:
    world.is_in_trouble(trouble)
    with pytest.raises(LaterError) as caught:
        CALLS[call](world.locks, GROUP)
    seconds = PASSING[trouble][0]
    assert caught.value.wait == (None if seconds is None else timedelta(seconds=seconds))
    assert world.locks.locks_on(GROUP) == []


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("trouble", LASTING)
def test_what_stays_wrong_is_for_never_and_said_in_a_sentence(world: World, trouble: str, call: str) -> None:
    world.is_in_trouble(trouble)
    with pytest.raises(NeverError) as caught:
        CALLS[call](world.locks, GROUP)
    assert GROUP.name in caught.value.reason
    assert caught.value.reason.endswith(".")
    assert "\n" not in caught.value.reason


def test_many_threads_may_lock_at_once(world: World) -> None:
    wanted = [a_lock(f"warden-{number}") for number in range(12)]

    def put(lock: GroupLock) -> bool:
        return world.locks.put(GROUP, lock)

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(put, wanted * 2))
    assert sorted(lock.name for lock in world.locks.locks_on(GROUP) or []) == sorted(lock.name for lock in wanted)
