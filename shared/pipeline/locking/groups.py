"""A project's resource groups in Azure: which locks and machines are there, and the steps to what is to be.

Each step returns what became of each group and machine; whoever takes several adds their reports up. Every step can
be done twice: what is there already is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

from shared.domain.charges import key_of_group
from shared.ports.azure import AzureCompute, AzureLocks, GroupLock, LockLevel, Machine, ResourceGroup
from shared.ports.errors import LaterError, NeverError, NoSubscriptionError, PauseError
from shared.ports.locks import LockFacts

T = TypeVar("T")
InTime = Callable[[], bool]
"""Whether there is still time for one call more: a function that runs for ten minutes is killed."""
GroupMachine = tuple[ResourceGroup, Machine]
AT_ONCE = timedelta(0)
NAME: Callable[[ResourceGroup], str] = attrgetter("name")

# What can be said of a group, and of a machine.
LOCKED, ALREADY, NOT_LOCKED = "locked", "was locked", "could not be locked"
GONE, NEVER = "there is no such group", "never locked (LOCK_NEVER)"
TAKEN_OFF, NO_LOCK = "lock taken off", "had no lock"
LEFT = "lock taken off: not to be locked with this project any more"
NO_SUBSCRIPTION = "there is no such subscription"
RUNS, STOPS, BEING_STOPPED = "still runs", "was still being stopped", "is being stopped"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of each group and machine, in words. failed: (group or machine, why not).

    lacking: groups that can have the lock and lack it; of those, `other_level` have it with another level. later:
    what could not be seen or done now, and how long to wait.
    """

    groups: tuple[tuple[ResourceGroup, str], ...] = ()
    machines: tuple[tuple[ResourceGroup, Machine, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    lacking: tuple[ResourceGroup, ...] = ()
    other_level: tuple[ResourceGroup, ...] = ()
    later: tuple[LaterError, ...] = ()

    def __add__(self, other: Report) -> Report:
        return Report(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def with_word(self, *words: str) -> tuple[ResourceGroup, ...]:
        """The groups of which one of these words was said."""
        return tuple(group for group, word in self.groups if word in words)

    def failed_of(self, groups: Iterable[ResourceGroup]) -> list[str]:
        """The names of those groups that were refused; what else has failed are machines."""
        refused = {what for what, _ in self.failed}
        return [group.name for group in groups if group.name in refused]

    @property
    def has_nothing_to_lock(self) -> bool:
        """Whether there is no group that has the lock, or can have it, as far as could be seen."""
        return not (self.lacking or self.failed or self.later or self.is_locked)

    @property
    def is_locked(self) -> bool:
        """Whether a group is known to have the lock now."""
        return bool(self.with_word(LOCKED, ALREADY))

    def still_held(self, facts: LockFacts) -> tuple[ResourceGroup, ...]:
        """The groups that have the lock, and those that had it or were to have it, and could not be looked at."""
        # Of one that is never to be locked nobody has asked, until the lock comes off it.
        known = {group.key for group, word in self.groups if word != NEVER} | {group.key for group in self.lacking}
        unseen = [group for group in facts.held_groups if group.key not in known]
        return (*self.with_word(LOCKED, ALREADY), *unseen)

    def left_of(self, held: Iterable[ResourceGroup]) -> tuple[ResourceGroup, ...]:
        """Those of the groups that had a lock from which it could not be taken."""
        off = {group.key for group in self.with_word(TAKEN_OFF, NO_LOCK, NO_SUBSCRIPTION)}
        return tuple(group for group in held if group.key not in off)

    def gone_from(self, facts: LockFacts, now: datetime) -> list[ResourceGroup]:
        """The groups from which the lock had been taken in Azure, and that have it again."""
        if facts.held_since is not None and now - facts.held_since < SEEN_LATE:
            return []
        held = {group.key for group in facts.held_groups}
        return [each for each in self.with_word(LOCKED) if each.key in held and each not in self.other_level]

    def done_again(self, facts: LockFacts, gone: Sequence[ResourceGroup]) -> list[str]:
        """What was done about a lock that was there before, as the beginnings of a sentence. gone: `gone_from` it."""
        newly, held = self.with_word(LOCKED), {group.key for group in facts.held_groups}
        relevelled = [group for group in newly if group in self.other_level]
        added = [group for group in newly if group not in self.other_level and group.key not in held]
        said = (
            ("the lock was gone from {}, and was put back", gone),
            ("the lock on {} had another level, and has that of the settings now", relevelled),
            ("the lock was put on {} as well", added),
            ("the lock was taken off {}, not to be locked with this project any more", self.with_word(LEFT)),
            ("the lock on {} has gone with its subscription", self.with_word(NO_SUBSCRIPTION)),
        )
        return [sentence.format(", ".join(group.name for group in groups)) for sentence, groups in said if groups]

    def raise_later(self) -> None:
        """Raises the LaterError of what could not be seen or done now."""
        if self.later:
            raise self.later[-1]

    @property
    def machine_rows(self) -> list[list[str]]:
        """Of each machine its group, its name, and what is said of it."""
        return [[group.name, machine.name, word] for group, machine, word in self.machines]

    def as_audited(self) -> dict[str, Any]:
        """The details of an audit row; nothing where nothing was looked at."""
        details = {
            "groups": [[group.subscription_id, group.name, word] for group, word in self.groups],
            "machines": self.machine_rows,
            "failed": [[what, why] for what, why in self.failed],
        }
        return details if any(details.values()) else {}


NOTHING = Report()
# Azure shows its locks up to two minutes late (terraform-provider-azurerm #23028). To put one twice does no harm.
SEEN_LATE = timedelta(minutes=5)


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

    def survey(self, facts: LockFacts, in_time: InTime) -> Report:
        """How it stands with each of the project's groups.

        Those that are known to have the lock come last, and wait for the next night where there is no time for them.
        """
        held = {group.key for group in facts.held_groups} if facts.held_since else set()
        ordered = sorted(facts.groups, key=lambda group: group.key in held)
        due = (group for group in ordered if group.key not in held or in_time())
        name = lock_name(facts.project.id)
        return _each(due, NAME, in_time, lambda group: self._look(group, name, group.key in held))

    def _look(self, group: ResourceGroup, name: str, is_held: bool) -> Report:
        """What a group has. A lock that is not known to be there may be one that was just taken off, and is put once
        more.
        """
        found = None if self._is_never(group) else self.locks.locks_on(group)
        if found is None:
            return Report(groups=((group, NEVER if self._is_never(group) else GONE),))
        levels = [lock.level for lock in found if lock.name.lower() == name]
        is_there = self.level in levels
        if is_there and is_held:
            return Report(groups=((group, ALREADY),))
        return Report(lacking=(group,), other_level=(group,) if levels and not is_there else ())

    def _has(self, group: ResourceGroup, name: str) -> bool:
        return name in [lock.name.lower() for lock in self.locks.locks_on(group) or ()]

    def _is_never(self, group: ResourceGroup) -> bool:
        return key_of_group(group.name) in self.never

    def machines_in(self, groups: Iterable[ResourceGroup], in_time: InTime) -> Report:
        """What runs in these groups, or is being stopped."""

        def look(group: ResourceGroup) -> Report:
            found = self.compute.running(group)
            return Report(machines=tuple((group, each, STOPS if each.stopping else RUNS) for each in found))

        return _each(groups, lambda group: f"the machines in {group.name}", in_time, look)

    def stop(self, machines: Iterable[GroupMachine], in_time: InTime) -> Report:
        """Asks for the deallocation of machines; reports those that can't be stopped."""

        def stop(each: GroupMachine) -> Report:
            try:
                self.compute.deallocate(*each)
            except NeverError as error:
                failed = (machine_name(each), error.reason)
                return Report(machines=((*each, f"not stopped: {error.reason}"),), failed=(failed,))
            return NOTHING

        return _each(machines, machine_name, in_time, stop)

    def put(self, groups: Iterable[ResourceGroup], project_id: int, notes: str, in_time: InTime) -> Report:
        """Puts the project's lock on each of these groups."""
        lock = GroupLock(lock_name(project_id), self.level, notes)

        def put(group: ResourceGroup) -> Report:
            try:
                return Report(groups=((group, LOCKED if self.locks.put(group, lock) else GONE),))
            except NeverError as error:
                return Report(groups=((group, NOT_LOCKED),), failed=((group.name, error.reason),))

        return _each(groups, NAME, in_time, put)

    def lost(self, facts: LockFacts) -> list[ResourceGroup]:
        """The groups that have had the lock and are the project's no more, or may not be locked any more."""
        own = {group.key for group in facts.groups if not self._is_never(group)}
        return [group for group in facts.held_groups if group.key not in own]

    def leave(self, facts: LockFacts, in_time: InTime) -> Report:
        """Takes the lock off the groups that are lost."""
        return self._delete(self.lost(facts), facts, LEFT, in_time)

    def take_off(self, facts: LockFacts, in_time: InTime) -> Report:
        """Takes the app's lock off every group that has it, and no other lock; where none is known to have it, any."""
        return self._delete(facts.held_groups or facts.groups, facts, TAKEN_OFF, in_time)

    def _delete(self, groups: Iterable[ResourceGroup], facts: LockFacts, word: str, in_time: InTime) -> Report:
        name = lock_name(facts.project.id)

        def delete(group: ResourceGroup) -> Report:
            try:
                was_there = self.locks.delete(group, name)
            except NoSubscriptionError:
                # Not in `survey`: of a group that is the project's, its people have to know.
                return Report(groups=((group, NO_SUBSCRIPTION),))
            except NeverError:
                # Whoever may not take it off may see that someone else has.
                if self._has(group, name):
                    raise
                was_there = False
            return Report(groups=((group, word if was_there else NO_LOCK),))

        return _each(groups, NAME, in_time, delete)


def machine_name(machine: GroupMachine) -> str:
    """Such as `virtual machine vm-1 in rg-11`."""
    group, each = machine
    return f"{each.kind} {each.name} in {group.name}"


def _each(items: Iterable[T], named: Callable[[T], str], in_time: InTime, step: Callable[[T], Report]) -> Report:
    """What becomes of each item, as long as there is time."""
    return sum((_tried(item, named(item), in_time, step) for item in items), NOTHING)


def _tried(item: T, name: str, in_time: InTime, step: Callable[[T], Report]) -> Report:
    try:
        if in_time():
            return step(item)
        return Report(later=(PauseError(f"there was no time left for {name}", AT_ONCE),))
    except NeverError as error:
        return Report(failed=((name, error.reason),))
    except LaterError as error:
        return Report(later=(error,))
