"""Locks on a project's resource groups: what is there, what is missing, and the steps from one to the other.

Every step can be done twice: what is there already is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shared.domain.charges import key_of_group
from shared.domain.locks import LockLevel
from shared.ports import (
    AzureCompute,
    AzureLocks,
    GroupLock,
    LaterError,
    LockFacts,
    Machine,
    NeverError,
    ResourceGroup,
)

LOCKED, ALREADY, GONE, NEVER, TAKEN_OFF, NO_LOCK = (
    "locked",
    "was locked",
    "there is no such group",
    "never locked (LOCK_NEVER)",
    "lock taken off",
    "had no lock",
)


def lock_name(project_id: int) -> str:
    """The name of the app's lock on a project's groups: by it the app knows its own, whatever else changes."""
    return f"budget-warden-{project_id}"


@dataclass(slots=True)
class GroupReport:
    """What became of each group and machine. failed: (group or machine, why not)."""

    groups: list[tuple[ResourceGroup, str]] = field(default_factory=list)
    machines: list[tuple[ResourceGroup, Machine, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def with_word(self, *words: str) -> tuple[ResourceGroup, ...]:
        """The groups of which one of these words was said."""
        return tuple(group for group, word in self.groups if word in words)

    def as_audited(self) -> dict[str, Any]:
        """The details of an audit row."""
        return {
            "groups": [[group.subscription_id, group.name, word] for group, word in self.groups],
            "machines": [[group.name, machine.name, word] for group, machine, word in self.machines],
            "failed": [[what, why] for what, why in self.failed],
        }


@dataclass(frozen=True, slots=True)
class GroupLocks:
    """never: keys (`charges.key_of_group`) of groups that are not locked, whoever asks."""

    locks: AzureLocks
    compute: AzureCompute
    level: LockLevel
    never: frozenset[str]

    def survey(self, facts: LockFacts) -> GroupReport:
        """How it stands with each of the project's groups; those of which nothing is reported lack the lock.

        Raises LaterError.
        """
        report = GroupReport()
        for group in facts.groups:
            try:
                word = self._state(group, facts.project_id)
            except NeverError as error:
                report.failed.append((group.name, error.reason))
                continue
            if word is not None:
                report.groups.append((group, word))
        return report

    def _state(self, group: ResourceGroup, project_id: int) -> str | None:
        if key_of_group(group.name) in self.never:
            return NEVER
        found = self.locks.list(group)
        if found is None:
            return GONE
        ours = lock_name(project_id)
        is_there = any(lock.name.lower() == ours and lock.level is self.level for lock in found)
        return ALREADY if is_there else None

    def machines_in(self, groups: Iterable[ResourceGroup]) -> list[tuple[ResourceGroup, Machine]]:
        """What runs in these groups, or is being stopped. Raises LaterError, NeverError."""
        return [(group, machine) for group in groups for machine in self.compute.running(group)]

    def stop(self, machines: Iterable[tuple[ResourceGroup, Machine]], report: GroupReport) -> None:
        """Asks for the deallocation of what runs; what can't be stopped is reported, and does not keep the lock off."""
        for group, machine in machines:
            try:
                self.compute.deallocate(group, machine)
            except NeverError as error:
                report.machines.append((group, machine, f"not stopped: {error.reason}"))
                report.failed.append((f"{machine.kind} {machine.name} in {group.name}", error.reason))

    def put(self, facts: LockFacts, groups: Iterable[ResourceGroup], notes: str, report: GroupReport) -> None:
        """Puts the lock on each of these groups: all that can be locked is, before a LaterError for the rest."""
        lock = GroupLock(lock_name(facts.project_id), self.level, notes)
        later: LaterError | None = None
        for group in groups:
            try:
                report.groups.append((group, LOCKED if self.locks.put(group, lock) else GONE))
            except NeverError as error:
                report.failed.append((group.name, error.reason))
            except LaterError as error:
                later = error
        if later is not None:
            raise later

    def take_off(self, facts: LockFacts) -> GroupReport:
        """Takes the app's lock off every group that has it, and no other lock; also off groups it has held since.

        Raises LaterError once all have been tried.
        """
        report = GroupReport()
        later: LaterError | None = None
        for group in dict.fromkeys((*facts.groups, *facts.held_groups)):
            try:
                was_there = self.locks.delete(group, lock_name(facts.project_id))
                report.groups.append((group, TAKEN_OFF if was_there else NO_LOCK))
            except NeverError as error:
                report.failed.append((group.name, error.reason))
            except LaterError as error:
                later = error
        if later is not None:
            raise later
        return report
