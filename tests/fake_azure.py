"""Stand-ins for Azure's locks and machines; they pass the contract suites of their ports (tests/contracts)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from shared.ports.azure import GroupLock, LockLevel, Machine, MachineKind, ResourceGroup
from shared.ports.errors import NeverError, NoSubscriptionError

LONGEST_NOTES = 512
# Told what is called and for which group, it gives the error that is to be raised, or None.
Fails = Callable[[str, ResourceGroup], Exception | None]


def key_of(group: ResourceGroup) -> tuple[str, str]:
    return group.subscription_id.lower(), group.name.lower()


@dataclass
class FakeRights:
    """What the app may do: all but what is denied, by subscription and group ('' for the whole of it).

    hidden: the subscriptions in which Azure does not tell.
    """

    denied: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()

    def missing(self, subscription_id: str, group: str | None, actions: Sequence[str]) -> list[str] | None:
        if subscription_id in self.hidden:
            return None
        denied = self.denied.get((subscription_id, group or ""), ())
        return [action for action in actions if action in denied]


@dataclass
class FakeLocks:
    """The locks of the groups that there are. calls: what was asked for, with the group and the lock's name."""

    groups: dict[tuple[str, str], dict[str, GroupLock]] = field(default_factory=dict)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    fails: Fails = lambda _call, _group: None

    def add_group(self, group: ResourceGroup) -> None:
        self.groups.setdefault(key_of(group), {})

    def remove_group(self, group: ResourceGroup) -> None:
        """Another group of the subscription stays, so that the subscription is known."""
        self.groups.pop(key_of(group), None)
        self.add_group(replace(group, name="still-there"))

    def locks_on(self, group: ResourceGroup) -> list[GroupLock] | None:
        held = self._called("locks_on", group)
        return None if held is None else list(held.values())

    def put(self, group: ResourceGroup, lock: GroupLock) -> bool:
        held = self._called("put", group, lock.name)
        if held is None:
            return False
        held[lock.name.lower()] = replace(lock, notes=lock.notes[:LONGEST_NOTES])
        return True

    def delete(self, group: ResourceGroup, name: str) -> bool:
        held = self._called("delete", group, name)
        return held is not None and held.pop(name.lower(), None) is not None

    def is_read_only(self, group: ResourceGroup) -> bool:
        """Whether machines in the group can't be deallocated."""
        held = self.groups.get(key_of(group), {})
        return any(lock.level is LockLevel.READ_ONLY for lock in held.values())

    def known(self, group: ResourceGroup) -> dict[str, GroupLock] | None:
        """The group's locks, None where it is not there. Raises NoSubscriptionError where the subscription has none."""
        if not any(subscription == group.subscription_id.lower() for subscription, _ in self.groups):
            raise NoSubscriptionError(f"There is no subscription {group.subscription_id}.")
        return self.groups.get(key_of(group))

    def _called(self, call: str, group: ResourceGroup, name: str = "") -> dict[str, GroupLock] | None:
        self.calls.append((call, group.name, name))
        error = self.fails(call, group)
        if error is not None:
            raise error
        return self.known(group)


@dataclass
class FakeMachine:
    """state: running, stopped, deallocating or deallocated. looks: how often it will still show that it deallocates."""

    name: str
    kind: MachineKind = MachineKind.VM
    state: str = "running"
    looks: int = 0


@dataclass
class FakeCompute:
    """Machines in the groups of `locks`, whose ReadOnly locks stop deallocations, those that have begun too.

    A deallocation takes `looks` calls of `running`, and is over with the next one.
    """

    locks: FakeLocks = field(default_factory=FakeLocks)
    machines: dict[tuple[str, str], list[FakeMachine]] = field(default_factory=dict)
    looks: int = 0
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    fails: Fails = lambda _call, _group: None
    never_stops: set[str] = field(default_factory=set)

    def add(
        self, group: ResourceGroup, name: str, kind: MachineKind = MachineKind.VM, state: str = "running"
    ) -> FakeMachine:
        """Makes a machine, and its group known."""
        self.locks.add_group(group)
        machine = FakeMachine(name, kind, state)
        self.machines.setdefault(key_of(group), []).append(machine)
        return machine

    def running(self, group: ResourceGroup) -> list[Machine]:
        found = self._called("running", group)
        for machine in found:
            if machine.state == "deallocating":
                self._look(group, machine)
        return [
            Machine(machine.name, machine.kind, stopping=machine.state == "deallocating")
            for machine in found
            if machine.state != "deallocated"
        ]

    def deallocate(self, group: ResourceGroup, machine: Machine) -> None:
        found = self._called("deallocate", group, machine.name)
        if self.locks.is_read_only(group):
            raise NeverError(f"A lock on {group.name} is in the way (ScopeLocked).")
        if machine.name in self.never_stops:
            raise NeverError(f"Azure refuses to deallocate the {machine.kind} {machine.name}: its disk is ephemeral.")
        for one in found:
            if (one.name.lower(), one.kind) == (machine.name.lower(), machine.kind) and one.state != "deallocated":
                one.state, one.looks = "deallocating", self.looks

    def _look(self, group: ResourceGroup, machine: FakeMachine) -> None:
        if self.locks.is_read_only(group):
            machine.state = "running"
        elif machine.looks == 0:
            machine.state = "deallocated"
        machine.looks -= 1

    def _called(self, call: str, group: ResourceGroup, name: str = "") -> list[FakeMachine]:
        self.calls.append((call, group.name, name))
        error = self.fails(call, group)
        if error is not None:
            raise error
        return self.machines.get(key_of(group), []) if self.locks.known(group) is not None else []
