"""Virtual machines and scale sets with their power states; what was done to them is kept in a list."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from time import monotonic
from typing import Any, Literal

from localdev.azure_sim.groups import ResourceGroups
from localdev.azure_sim.locks import Lock, LockBook

Kind = Literal["vm", "scale set"]
TYPES: dict[Kind, str] = {"vm": "virtualMachines", "scale set": "virtualMachineScaleSets"}
STATES = ("running", "deallocating", "deallocated")


@dataclass
class Machine:
    """A machine, or a scale set of `instances` machines that all have the same state (one of STATES)."""

    subscription: str
    group: str
    name: str
    kind: Kind = "vm"
    state: str = "running"
    instances: int = 1
    deallocation: "Deallocation | None" = field(default=None, repr=False)

    @property
    def group_id(self) -> str:
        """The id of its resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"

    @property
    def id(self) -> str:
        """Its resource id, with the group as it was written."""
        return f"{self.group_id}/providers/Microsoft.Compute/{TYPES[self.kind]}/{self.name}"

    def as_json(self) -> dict[str, Any]:
        """The machine as the control shows it and takes it."""
        names = ("subscription", "group", "name", "kind", "state", "instances")
        return {name: getattr(self, name) for name in names}


@dataclass
class Deallocation:
    """A machine's way to its end: since when, and how many looks it takes yet."""

    started: float
    polls_left: int


@dataclass(frozen=True)
class Action:
    """What was done to a machine: deallocate or start."""

    action: str
    machine: str


class Machines:
    """All machines. A deallocation takes `deallocate_seconds` of the clock and `deallocate_polls` looks.

    With both 0 it is done at the next look (an instance view, a list), which may be the first one. A ReadOnly lock
    that comes before the end makes the deallocation fail, and the machine goes on running.
    """

    def __init__(self, groups: ResourceGroups, locks: LockBook, clock: Callable[[], float] = monotonic) -> None:
        self.deallocate_seconds: float = 0
        self.deallocate_polls: int = 0
        self._groups, self._locks, self._clock = groups, locks, clock
        self._lock = RLock()
        self._machines: dict[tuple[str, str, str, str], Machine] = {}
        self._actions: list[Action] = []
        locks.on_put(self._lock_was_put)

    def add(
        self,
        subscription: str,
        group: str,
        name: str,
        *,
        running: bool = True,
        kind: Kind = "vm",
        instances: int = 1,
    ) -> Machine:
        """Makes a machine or a scale set, and its group known; one that is not running is deallocated."""
        self._groups.add(subscription, group)
        state = "running" if running else "deallocated"
        machine = Machine(subscription, group, name, kind, state, instances)
        with self._lock:
            self._machines[_key(machine)] = machine
        return machine

    def get(self, subscription: str, group: str, name: str, kind: Kind = "vm") -> Machine | None:
        """The machine as it is now, if it is there; this is a look at it."""
        with self._lock:
            machine = self._machines.get((subscription.lower(), group.lower(), kind, name.lower()))
            if machine:
                self._look(machine)
            return machine

    def of(self, subscription: str | None = None, group: str | None = None, kind: Kind | None = None) -> list[Machine]:
        """The machines of a subscription and group (None: of all), in the order in which they were added.

        This is a look at each of them.
        """
        with self._lock:
            found = [machine for machine in self._machines.values() if _within(machine, subscription, group, kind)]
            for machine in found:
                self._look(machine)
            return found

    def as_json(self) -> list[dict[str, Any]]:
        """All machines as the control shows them, with their states; this is no look at them."""
        with self._lock:
            return [machine.as_json() for machine in self._machines.values()]

    def states(self) -> dict[str, str]:
        """Each machine's state by its name; this is no look at it."""
        return {machine["name"]: machine["state"] for machine in self.as_json()}

    @property
    def actions(self) -> list[Action]:
        """What was done over the API, oldest first."""
        with self._lock:
            return list(self._actions)

    def restore(self, actions: list[Action]) -> None:
        """Takes up what was done before."""
        with self._lock:
            self._actions = list(actions)

    @property
    def started(self) -> list[str]:
        """The ids of the machines that somebody started over the API."""
        return [action.machine for action in self.actions if action.action == "start"]

    def deallocate(self, machine: Machine) -> None:
        """Begins to stop the machine and to give its computer back; one that is deallocated stays so."""
        with self._lock:
            self._actions.append(Action("deallocate", machine.id))
            if machine.state != "deallocated":
                machine.deallocation = Deallocation(self._clock(), self.deallocate_polls)
                machine.state = "deallocating"

    def start(self, machine: Machine) -> None:
        """Starts the machine; it runs at once."""
        with self._lock:
            self._actions.append(Action("start", machine.id))
            machine.state, machine.deallocation = "running", None

    def forget_group(self, subscription: str, group: str) -> None:
        """Drops the machines of a group that is gone."""
        with self._lock:
            gone = [key for key, machine in self._machines.items() if _within(machine, subscription, group, None)]
            for key in gone:
                del self._machines[key]

    def _look(self, machine: Machine) -> None:
        deallocation = machine.deallocation
        if deallocation is None:
            return
        if self._locks.is_read_only(machine.subscription, machine.group):
            machine.state, machine.deallocation = "running", None
        elif deallocation.polls_left > 0:
            deallocation.polls_left -= 1
        elif self._is_due(deallocation):
            machine.state, machine.deallocation = "deallocated", None

    def _is_due(self, deallocation: Deallocation) -> bool:
        return self._clock() - deallocation.started >= self.deallocate_seconds

    def _lock_was_put(self, lock: Lock) -> None:
        """Machines whose time was up before the lock came are deallocated; those that nobody looked at are not."""
        with self._lock:
            for machine in self._machines.values():
                stopping = machine.deallocation
                if lock.level == "ReadOnly" and stopping and _within(machine, lock.subscription, lock.group, None):
                    in_time = self.deallocate_seconds > 0 and self._is_due(stopping) and stopping.polls_left == 0
                    machine.state, machine.deallocation = "deallocated" if in_time else "running", None


def _key(machine: Machine) -> tuple[str, str, str, str]:
    return (machine.subscription.lower(), machine.group.lower(), machine.kind, machine.name.lower())


def _within(machine: Machine, subscription: str | None, group: str | None, kind: Kind | None) -> bool:
    in_subscription = subscription is None or machine.subscription.lower() == subscription.lower()
    in_group = group is None or machine.group.lower() == group.lower()
    return in_subscription and in_group and kind in (None, machine.kind)
