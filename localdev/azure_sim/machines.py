"""Virtual machines and scale sets with their power states; what was done to them is kept in a list."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from threading import RLock
from time import monotonic
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from localdev.azure_sim.groups import ResourceGroups
from localdev.azure_sim.locks import Lock, LockBook, scope_locked
from localdev.azure_sim.wire import AzureError

Kind = Literal["vm", "scale set"]
TYPES: dict[Kind, str] = {"vm": "virtualMachines", "scale set": "virtualMachineScaleSets"}
STATES = ("running", "stopped", "deallocating", "deallocated")


@dataclass
class Machine:
    """A machine, or a scale set of `instances` machines that all have the same state (one of STATES).

    A `flexible` scale set has none of its own: single machines stand in their place, and are added as such.
    """

    subscription: str
    group: str
    name: str
    kind: Kind = "vm"
    state: str = "running"
    instances: int = 1
    flexible: bool = False
    deallocation: "Operation | None" = field(default=None, repr=False)

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
        names = ("subscription", "group", "name", "kind", "state", "instances", "flexible")
        return {name: getattr(self, name) for name in names}


@dataclass
class Operation:
    """A long-running operation: done at once unless it was said to take its time; `error` is why it failed."""

    id: str
    subscription: str
    started: float
    polls_left: int = 0
    status: str = "InProgress"
    error: AzureError | None = None


@dataclass(frozen=True)
class Action:
    """What was done to a machine: deallocate, start, powerOff or delete."""

    action: str
    machine: str


class Machines:
    """All machines. A deallocation takes `deallocate_seconds` of the clock and `deallocate_polls` looks.

    With both 0 it is done at the next look (a poll, an instance view, a list), which may be the first one. `strict`:
    a ReadOnly lock that comes before the end makes the deallocation fail, and the machine goes on running.
    """

    def __init__(self, groups: ResourceGroups, locks: LockBook, clock: Callable[[], float] = monotonic) -> None:
        self.deallocate_seconds: float = 0
        self.deallocate_polls: int = 0
        self.strict = True
        self._groups, self._locks, self._clock = groups, locks, clock
        self._lock = RLock()
        self._machines: dict[tuple[str, str, str, str], Machine] = {}
        self._operations: dict[str, Operation] = {}
        self._numbers = count(1)
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
        flexible: bool = False,
    ) -> Machine:
        """Makes a machine or a scale set, and its group known; one that is not running is deallocated."""
        if kind not in TYPES:
            raise ValueError(f"There is no kind {kind!r} of machine; there are {', '.join(TYPES)}.")
        self._groups.add(subscription, group)
        state = "running" if running else "deallocated"
        machine = Machine(subscription, group, name, kind, state, instances, flexible)
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

    def deallocate(self, machine: Machine) -> Operation:
        """Begins to stop the machine and to give its computer back; one that is deallocated stays so."""
        with self._lock:
            operation = self._begin("deallocate", machine)
            if machine.state == "deallocated":
                operation.status = "Succeeded"
            else:
                operation.polls_left = self.deallocate_polls
                machine.state, machine.deallocation = "deallocating", operation
            return operation

    def start(self, machine: Machine) -> Operation:
        """Starts the machine; it runs at once."""
        return self._at_once("start", machine, "running")

    def power_off(self, machine: Machine) -> Operation:
        """Stops the machine and keeps its computer, which goes on costing money."""
        return self._at_once("powerOff", machine, "stopped")

    def delete(self, machine: Machine) -> Operation:
        """Deletes the machine."""
        with self._lock:
            self._machines.pop(_key(machine), None)
            return self._at_once("delete", machine, machine.state)

    def operation(self, subscription: str, number: str) -> Operation | None:
        """The operation as it is now, if it is there; this is a look at its machine."""
        with self._lock:
            for machine in self._machines.values():
                if machine.deallocation and machine.deallocation.id == number:
                    self._look(machine)
            found = self._operations.get(number)
            return found if found and found.subscription.lower() == subscription.lower() else None

    def forget_group(self, subscription: str, group: str) -> None:
        """Drops the machines of a group that is gone."""
        with self._lock:
            gone = [key for key, machine in self._machines.items() if _within(machine, subscription, group, None)]
            for key in gone:
                del self._machines[key]

    def _at_once(self, action: str, machine: Machine, state: str) -> Operation:
        with self._lock:
            operation = self._begin(action, machine)
            operation.status = "Succeeded"
            self._end(machine, state, "Canceled")
            return operation

    def _begin(self, action: str, machine: Machine) -> Operation:
        self._actions.append(Action(action, machine.id))
        number = str(uuid5(NAMESPACE_URL, f"{machine.id}/{action}/{next(self._numbers)}"))
        operation = Operation(number, machine.subscription, self._clock())
        self._operations[number] = operation
        return operation

    def _look(self, machine: Machine) -> None:
        operation = machine.deallocation
        if operation is None:
            return
        if self.strict and self._locks.is_read_only(machine.subscription, machine.group):
            self._fail(machine, operation)
        elif operation.polls_left > 0:
            operation.polls_left -= 1
        elif self._clock() - operation.started >= self.deallocate_seconds:
            self._end(machine, "deallocated", "Succeeded")

    def _lock_was_put(self, lock: Lock) -> None:
        """Machines whose time was up before the lock came are deallocated; those that nobody looked at are not."""
        if lock.level != "ReadOnly" or not self.strict:
            return
        with self._lock:
            for machine in list(self._machines.values()):
                operation = machine.deallocation
                if operation is None or not _within(machine, lock.subscription, lock.group, None):
                    continue
                in_time = 0 < self.deallocate_seconds <= self._clock() - operation.started
                if in_time and operation.polls_left == 0:
                    self._end(machine, "deallocated", "Succeeded")
                else:
                    self._fail(machine, operation)

    def _fail(self, machine: Machine, operation: Operation) -> None:
        operation.error = scope_locked(machine.id, machine.group_id, "write")
        self._end(machine, "running", "Failed")

    def _end(self, machine: Machine, state: str, status: str) -> None:
        """Sets the machine's state, and how its deallocation ended if it was in one."""
        machine.state = state
        if machine.deallocation:
            machine.deallocation.status = status
            machine.deallocation = None


def _key(machine: Machine) -> tuple[str, str, str, str]:
    return (machine.subscription.lower(), machine.group.lower(), machine.kind, machine.name.lower())


def _within(machine: Machine, subscription: str | None, group: str | None, kind: Kind | None) -> bool:
    in_subscription = subscription is None or machine.subscription.lower() == subscription.lower()
    in_group = group is None or machine.group.lower() == group.lower()
    return in_subscription and in_group and kind in (None, machine.kind)
