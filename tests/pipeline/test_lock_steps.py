"""The process is killed at each step of locking and unlocking, and its message comes back: the end is as if it had not
been. The steps are those that are really taken, so that none is forgotten; `make crash-test` tries each of them,
`make test` some, others each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from shared.adapters.database.engine import Database
from shared.domain.locks import LockMode, Outcome
from shared.messages import LockMessage, Queue, to_json
from shared.ports.azure import ResourceGroup
from tests.cases import some
from tests.pipeline.conftest import Chain, entry
from tests.pipeline.mortal import Fate, Killed, MortalDatabase
from tests.pipeline.test_lock import (
    IS_LOCKED,
    NIGHT,
    RG,
    SECOND,
    UNLOCK_ORDER,
    audit,
    is_locked,
    outcomes,
    to_contacts,
    used_unmailed,
)

NEVER = 10_000
IS_OPEN = "[P11] The project is unlocked"


@dataclass
class DiesAt(Fate):
    """A process that is gone from one step on, until it is begun anew. names: of the steps, as they were taken."""

    random: Random = field(default_factory=Random)
    chance: float = 0
    at: int = NEVER
    steps: list[str] = field(default_factory=list)

    def step(self, name: str = "database") -> None:
        self.steps.append(name)
        if len(self.steps) >= self.at:
            raise Killed


class World:
    """Project 11 in two groups, with a machine in each, and 100 % used; nobody has asked for its lock yet."""

    def __init__(self, database: Database) -> None:
        self.fate = DiesAt()
        self.chain = chain = Chain(MortalDatabase(database, self.fate), lock_mode=LockMode.OFF, lock_stop_compute=True)
        chain.load(entry(groups=("rg-11", "rg-second")))
        for group, name in ((RG, "vm-1"), (SECOND, "vm-2")):
            chain.azure_compute.add(group, name)
        chain.azure_compute.looks = 1
        used_unmailed(chain, "1000")
        chain.configure(lock_mode=LockMode.ENFORCE)
        chain.azure_locks.fails = chain.azure_compute.fails = self._azure
        chain.queues.fails = lambda: self.fate.step("queue")

    def _azure(self, call: str, group: ResourceGroup) -> None:
        self.fate.step(f"{call} {group.name}")

    def work(self, message: LockMessage, dies_at: int = NEVER, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Works a message off, and what follows from it but for mails. meanwhile: what happens while it is dead."""
        self.fate.steps, self.fate.at = [], dies_at
        waiting = [(Queue.LOCK, to_json(message))]
        for number in range(100):
            if not waiting:
                break
            queue, text = waiting.pop(0)
            try:
                self.chain.work(queue, text, f"{message.action}-{number}")
            except Killed:
                self.fate.at = NEVER
                meanwhile()
                self.chain.work(queue, text, f"{message.action}-{number}")
            waiting += [(queue, text) for queue, text, _ in self.chain.queues.take() if queue is not Queue.EMAIL]
        assert waiting == []

    def told(self) -> list[str]:
        """What contacts have read of locks, once all of it is sent."""
        self.fate.at = NEVER
        self.chain.clock.forward(hours=1)
        self.chain.look()
        self.chain.drain()
        return to_contacts(self.chain)

    def written_down(self) -> list[str]:
        """The machines of which the audit says that they are being stopped."""
        stops = [view.entry for view in audit(self.chain) if view.entry.outcome is Outcome.STOPPING]
        return sorted(name for each in stops for _group, name, _word in each.details["machines"])


@pytest.fixture
def new_world(fresh_database: Callable[[], Database]) -> Callable[[], World]:
    return lambda: World(fresh_database())


STEPS_OF_LOCKING = {
    "survey": "locks_on rg-11",
    "look at machines": "running rg-second",
    "stop": "deallocate rg-11",
    "put": "put rg-second",
    "write down": "database",
    "put back": "queue",
}


def steps_of(world: World, message: LockMessage) -> dict[int, str]:
    """The steps of a message's way, by their number; of several in a row in the database the first and the last."""
    world.work(message)
    taken = [None, *world.fate.steps, None]
    among = zip(taken, taken[1:], taken[2:], strict=False)
    return {place: step for place, (before, step, after) in enumerate(among, 1) if step and {step} != {before, after}}


def steps_of_stopping(world: World) -> dict[int, str]:
    """From the first look at machines to where the message is put back."""
    steps = steps_of(world, NIGHT)
    places = list(steps)
    begin, end = (next(at for at in places if steps[at] == step) for step in ("running rg-11", "queue"))
    return {at: steps[at] for at in places if begin <= at <= end}


def test_a_lock_that_is_killed_at_any_step_ends_as_if_it_had_not_been(new_world: Callable[[], World]) -> None:
    steps = steps_of(new_world(), NIGHT)
    assert set(STEPS_OF_LOCKING.values()) <= set(steps.values())
    for dies_at, step in some(list(steps.items()), 4):
        world = new_world()
        world.work(NIGHT, dies_at)
        here = f"killed at {dies_at}, {step}"
        assert is_locked(world.chain) and is_locked(world.chain, SECOND), here
        assert outcomes(world.chain)[-2:] == [Outcome.STOPPING, Outcome.LOCKED], here
        assert outcomes(world.chain).count(Outcome.LOCKED) == 1, here
        assert world.written_down() == ["vm-1", "vm-2"], here
        assert world.told() == [IS_LOCKED], here


def test_a_machine_that_is_started_while_the_process_is_dead_has_its_row_if_it_is_stopped(
    new_world: Callable[[], World],
) -> None:
    stopped = 0
    for dies_at, step in steps_of_stopping(new_world()).items():
        world = new_world()
        world.work(NIGHT, dies_at, lambda: world.chain.azure_compute.add(RG, "vm-new"))  # noqa: B023 - called at once
        machines = [each for group in world.chain.azure_compute.machines.values() for each in group]
        gone = sorted(each.name for each in machines if each.state == "deallocated")
        assert world.written_down() == gone, f"killed at {dies_at}, {step}"
        stopped += "vm-new" in gone
    assert stopped


def test_a_lock_that_never_comes_after_a_kill_leaves_no_machine_without_its_row(
    new_world: Callable[[], World],
) -> None:
    """The message comes back to a budget that was raised meanwhile: what was stopped is written down all the same."""
    for dies_at, step in steps_of_stopping(new_world()).items():
        world = new_world()
        raised = entry(amount="5000", groups=("rg-11", "rg-second"))
        world.work(NIGHT, dies_at, lambda: world.chain.load(raised))  # noqa: B023 - called at once
        machines = [each for group in world.chain.azure_compute.machines.values() for each in group]
        stopped = {each.name for each in machines if each.state != "running"}
        assert stopped <= set(world.written_down()), f"killed at {dies_at}, {step}"
        assert not is_locked(world.chain) and not is_locked(world.chain, SECOND)


def test_an_unlock_that_is_killed_at_any_step_ends_as_if_it_had_not_been(new_world: Callable[[], World]) -> None:
    whole = new_world()
    whole.work(NIGHT)
    steps = steps_of(whole, UNLOCK_ORDER)
    assert {"delete rg-11", "delete rg-second", "database"} <= set(steps.values())
    for dies_at, step in some(list(steps.items()), 2):
        world = new_world()
        world.work(NIGHT)
        world.work(UNLOCK_ORDER, dies_at)
        here = f"killed at {dies_at}, {step}"
        assert not is_locked(world.chain) and not is_locked(world.chain, SECOND), here
        assert outcomes(world.chain)[-1] is Outcome.UNLOCKED, here
        assert outcomes(world.chain).count(Outcome.UNLOCKED) == 1, here
        assert sorted(world.told()) == sorted([IS_LOCKED, IS_OPEN]), here
