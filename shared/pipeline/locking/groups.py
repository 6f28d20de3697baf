"""Locks on a project's resource groups: what is there, what is missing, and the steps from one to the other.

Every step can be done twice: what is there already is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.charges import key_of_group
from shared.pipeline.locking.report import (
    ALREADY,
    GONE,
    LEFT,
    LOCKED,
    NEVER,
    NO_LOCK,
    NOT_LOCKED,
    TAKEN_OFF,
    GroupReport,
    group_key,
)
from shared.ports.azure import AzureCompute, AzureLocks, GroupLock, LockLevel, Machine, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from shared.ports.locks import LockFacts

# Whether there is still time for one call more: a function that runs for ten minutes is killed.
InTime = Callable[[], bool]
AT_ONCE = timedelta(0)


def lock_name(project_id: int) -> str:
    """The name of the app's lock on a project's groups: by it the app knows its own, whatever else changes."""
    return f"budget-warden-{project_id}"


@dataclass(frozen=True, slots=True)
class GroupLocks:
    """never: keys (`charges.key_of_group`) of groups that are not locked, whoever asks.

    What can't be done now with one group or machine keeps nothing from being done with the others: it is reported in
    `later`, as is what there is no time for.
    """

    locks: AzureLocks
    compute: AzureCompute
    level: LockLevel
    never: frozenset[str]

    def survey(self, facts: LockFacts, in_time: InTime) -> GroupReport:
        """How it stands with each of the project's groups.

        Those that are known to have the lock come last, and wait for the next night where there is no time for them.
        """
        report = GroupReport()
        held = {group_key(group) for group in facts.held_groups} if facts.held_since else set()
        for group in sorted(facts.groups, key=lambda group: group_key(group) in held):
            if group_key(group) in held and not in_time():
                break
            with _reported(report, group.name, in_time) as may_go_on:
                if may_go_on:
                    self._look(group, facts.project.id, report)
        return report

    def _look(self, group: ResourceGroup, project_id: int, report: GroupReport) -> None:
        if self._is_never(group):
            report.groups.append((group, NEVER))
            return
        found = self.locks.locks_on(group)
        if found is None:
            report.groups.append((group, GONE))
            return
        levels = [lock.level for lock in found if lock.name.lower() == lock_name(project_id)]
        if self.level in levels:
            report.groups.append((group, ALREADY))
            return
        report.lacking.append(group)
        if levels:
            report.other_level.add(group)

    def _is_never(self, group: ResourceGroup) -> bool:
        return key_of_group(group.name) in self.never

    def machines_in(self, report: GroupReport, in_time: InTime) -> list[tuple[ResourceGroup, Machine]]:
        """What runs in the groups that lack the lock, or is being stopped."""
        machines: list[tuple[ResourceGroup, Machine]] = []
        for group in report.lacking:
            with _reported(report, f"the machines in {group.name}", in_time) as may_go_on:
                if may_go_on:
                    machines += [(group, machine) for machine in self.compute.running(group)]
        return machines

    def stop(
        self, machines: Iterable[tuple[ResourceGroup, Machine]], report: GroupReport, in_time: InTime
    ) -> set[tuple[ResourceGroup, Machine]]:
        """Asks for the deallocation of what runs; returns what can't be stopped, which does not keep the lock off."""
        refused = set()
        for group, machine in machines:
            with _reported(report, f"{machine.kind} {machine.name} in {group.name}", in_time) as may_go_on:
                if not may_go_on:
                    continue
                try:
                    self.compute.deallocate(group, machine)
                except NeverError as error:
                    report.machines.append((group, machine, f"not stopped: {error.reason}"))
                    refused.add((group, machine))
                    raise
        return refused

    def put(self, facts: LockFacts, notes: str, report: GroupReport, in_time: InTime) -> None:
        """Puts the lock on each of the groups that lack it."""
        lock = GroupLock(lock_name(facts.project.id), self.level, notes)
        for group in report.lacking:
            with _reported(report, group.name, in_time) as may_go_on:
                if may_go_on:
                    report.groups.append((group, self._put(group, lock, report)))

    def _put(self, group: ResourceGroup, lock: GroupLock, report: GroupReport) -> str:
        try:
            return LOCKED if self.locks.put(group, lock) else GONE
        except NeverError:
            report.groups.append((group, NOT_LOCKED))
            raise

    def leave(self, facts: LockFacts, report: GroupReport, in_time: InTime) -> None:
        """Takes the lock off groups that have had it and are the project's no more, or may not be locked any more."""
        own = {group_key(group) for group in facts.groups}
        for group in facts.held_groups:
            if group_key(group) in own and not self._is_never(group):
                continue
            with _reported(report, group.name, in_time) as may_go_on:
                if may_go_on:
                    was_there = self.locks.delete(group, lock_name(facts.project.id))
                    report.groups.append((group, LEFT if was_there else NO_LOCK))

    def take_off(self, facts: LockFacts, in_time: InTime) -> GroupReport:
        """Takes the app's lock off every group that has it, and no other lock; also off groups it has held since."""
        report = GroupReport()
        for group in {group_key(group): group for group in (*facts.held_groups, *facts.groups)}.values():
            with _reported(report, group.name, in_time) as may_go_on:
                if may_go_on:
                    was_there = self.locks.delete(group, lock_name(facts.project.id))
                    report.groups.append((group, TAKEN_OFF if was_there else NO_LOCK))
        return report


@contextmanager
def _reported(report: GroupReport, what: str, in_time: InTime) -> Iterator[bool]:
    """Whether there is time for it; what is raised inside is reported, and goes no further."""
    try:
        may_go_on = in_time()
        if not may_go_on:
            report.later.append(LaterError(f"there was no time left for {what}", AT_ONCE))
        yield may_go_on
    except NeverError as error:
        report.failed.append((what, error.reason))
    except LaterError as error:
        report.later.append(error)
