"""What became of each group and machine, and what that means for the project's lock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.domain.charges import key_of_group
from shared.ports.azure import Machine, ResourceGroup
from shared.ports.errors import LaterError
from shared.ports.locks import LockFacts

# What can be said of a group.
LOCKED, ALREADY, NOT_LOCKED, GONE, NEVER, TAKEN_OFF, NO_LOCK, LEFT = (
    "locked",
    "was locked",
    "could not be locked",
    "there is no such group",
    "never locked (LOCK_NEVER)",
    "lock taken off",
    "had no lock",
    "lock taken off: not to be locked with this project any more",
)


@dataclass(slots=True)
class GroupReport:
    """What became of each group and machine. failed: (group or machine, why not).

    lacking: groups that can have the lock and lack it; of those, `other_level` have it with another level. later:
    what could not be seen or done now, and how long to wait.
    """

    groups: list[tuple[ResourceGroup, str]] = field(default_factory=list)
    machines: list[tuple[ResourceGroup, Machine, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    lacking: list[ResourceGroup] = field(default_factory=list)
    other_level: set[ResourceGroup] = field(default_factory=set)
    later: list[LaterError] = field(default_factory=list)

    def with_word(self, *words: str) -> tuple[ResourceGroup, ...]:
        """The groups of which one of these words was said."""
        return tuple(group for group, word in self.groups if word in words)

    @property
    def has_nothing_to_lock(self) -> bool:
        """Whether there is no group that has the lock, or can have it, as far as could be seen."""
        return not (self.lacking or self.failed or self.later or self.with_word(LOCKED, ALREADY))

    def raise_later(self) -> None:
        """Raises the LaterError of what could not be seen or done now."""
        if self.later:
            raise self.later[-1]

    def as_audited(self) -> dict[str, Any]:
        """The details of an audit row."""
        return {
            "groups": [[group.subscription_id, group.name, word] for group, word in self.groups],
            "machines": [[group.name, machine.name, word] for group, machine, word in self.machines],
            "failed": [[what, why] for what, why in self.failed],
        }


def still_held(facts: LockFacts, report: GroupReport) -> tuple[ResourceGroup, ...]:
    """The groups that have the lock, and those that had it or were to have it, and could not be looked at."""
    known = {group_key(group) for group, _ in report.groups} | {group_key(group) for group in report.lacking}
    unseen = [group for group in facts.held_groups if group_key(group) not in known]
    return (*report.with_word(LOCKED, ALREADY), *unseen)


def gone_from(facts: LockFacts, report: GroupReport) -> list[ResourceGroup]:
    """The groups from which the lock had been taken in Azure."""
    held = {group_key(group) for group in facts.held_groups}
    newly = report.with_word(LOCKED)
    return [group for group in newly if group_key(group) in held and group not in report.other_level]


def done_again(facts: LockFacts, report: GroupReport) -> list[str]:
    """What was done about a lock that was there before, as the beginnings of a sentence."""
    newly, gone = report.with_word(LOCKED), gone_from(facts, report)
    relevelled = [group for group in newly if group in report.other_level]
    added = [group for group in newly if group not in report.other_level and group not in gone]
    said = (
        ("the lock was gone from {}, and was put back", gone),
        ("the lock on {} had another level, and has that of the settings now", relevelled),
        ("the lock was put on {} as well", added),
        ("the lock was taken off {}, not to be locked with this project any more", report.with_word(LEFT)),
    )
    return [sentence.format(", ".join(group.name for group in groups)) for sentence, groups in said if groups]


def group_key(group: ResourceGroup) -> tuple[str, str]:
    """The same for the same group, however Azure writes it."""
    return group.subscription_id.lower(), key_of_group(group.name)
