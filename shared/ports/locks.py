"""Which projects are locked, and every decision about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from shared.domain.budgets import Budget
from shared.domain.coverage import Gap
from shared.domain.currencies import Conversion
from shared.domain.locks import HeldLock, LockOrder, Outcome
from shared.domain.periods import Period
from shared.domain.projects import Project, Scope
from shared.messages import LockAction, LockTrigger
from shared.ports.azure import ResourceGroup
from shared.ports.mails import NewMail

# A reason has room for no more; `projects show` has all.
SAID_GAPS = 3


@dataclass(frozen=True, slots=True)
class LockFacts:
    """A project as the lock sees it, today.

    groups: its resource groups in Azure; unreached: what it has that no lock reaches. held_groups: those on which it
    holds a lock. held without held_since: a lock was about to be put on, and may be there. usage: at every provider,
    in the budget's currency and present period. usage_known: its costs have been read, and all of them can be added;
    gaps: what is missing of it. order: what an operator ordered last; ordered_at: when that was, though it may have
    been withdrawn since. alerted_at: when Azure called with an alert that can't be used yet. taken_over: a group came
    to it within the period, and what that cost before is not its own. left_credit: groups that left within it brought
    the project a credit.
    told_at: when a mail told the contacts that 100 % is reached, for this revision and period, and that the project is
    being locked; None where none did. told_otherwise: another has told them since that it could not be locked.
    """

    project: Project
    groups: tuple[ResourceGroup, ...]
    budget: Budget
    period: Period | None
    usage: Decimal
    usage_known: bool
    held: HeldLock | None = None
    held_groups: tuple[ResourceGroup, ...] = ()
    held_since: datetime | None = None
    order: LockOrder | None = None
    ordered_at: datetime | None = None
    alerted_at: datetime | None = None
    taken_over: bool = False
    left_credit: bool = False
    gaps: tuple[Gap, ...] = ()
    told_at: datetime | None = None
    told_otherwise: bool = False
    converted: Conversion = field(default_factory=Conversion)
    unreached: tuple[Scope, ...] = ()

    @property
    def counted(self) -> frozenset[str]:
        """The keys of its groups, by which figures are told apart."""
        return frozenset("/".join(group.key) for group in self.groups)

    @property
    def lacks(self) -> str:
        """What is missing of the usage, as a sentence's end; empty where nothing is."""
        first, more = self.gaps[:SAID_GAPS], len(self.gaps) - SAID_GAPS
        return "; ".join(map(str, first)) + (f"; and {more} more" if more > 0 else "")

    @property
    def unknown(self) -> str:
        """Why not all of the usage is known, as a sentence's end; empty where it is."""
        return self.lacks if self.usage_known else "its costs were not read yet, or not all of them can be added"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A decision to be written down for good. `key` names it: a second row with the same key is not written.

    figures: on what; details: on which groups and machines; JSON values, amounts as text.
    """

    key: str
    project_id: int
    action: LockAction
    outcome: Outcome
    reason: str
    trigger: LockTrigger
    by: str | None = None
    asked: str = ""
    """the reason that the request gave"""
    figures: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    run_key: str | None = None


@dataclass(frozen=True, slots=True)
class AuditView:
    """A row of the audit. acronym: as it was then."""

    id: int
    at: datetime
    acronym: str
    entry: AuditEntry


@dataclass(frozen=True, slots=True)
class Hold:
    """The lock that a project now has: on which groups."""

    lock: HeldLock
    groups: tuple[ResourceGroup, ...]


@dataclass(frozen=True, slots=True)
class Freed:
    """The project has no lock any more."""


class LockLedger(Protocol):
    """Which projects are locked, who works on that, and every decision about it."""

    def projects_in(self, subscription_id: str) -> list[tuple[int, str]]:
        """(id, acronym) of each project, active or not, with resource groups in this Azure subscription, by id."""
        ...

    def facts(self, project_id: int, now: datetime) -> LockFacts | None:
        """What is known of a project, active or not; its period is the one that holds `now`. None: unknown."""
        ...

    def order(self, project_id: int, is_lock: bool, at: datetime, by: str | None, now: datetime) -> None:
        """Records an order to lock (else unlock) a project, for the revision and period of now.

        It is carried out by its message, or else by a look (`looks_due`). Nothing is recorded where a later order is,
        or where there is no such project.
        """
        ...

    def withdraw(self, project_id: int, order: LockOrder) -> None:
        """Ends an order that can't be carried out, if it is still the last."""
        ...

    def look_at(self, project_id: int, due_at: datetime | None) -> None:
        """When the project's lock is to be looked at again; None: not by itself."""
        ...

    def alerted(self, project_id: int, at: datetime | None) -> None:
        """When Azure called with an alert that can't be used yet; None: with none that matters any more."""
        ...

    def looks_due(self, now: datetime) -> list[int]:
        """The projects whose lock is to be looked at now, by id."""
        ...

    def decisions(self, project_id: int | None = None, limit: int | None = None) -> list[AuditView]:
        """The last `limit` decisions, oldest first; all projects' without a `project_id`."""
        ...

    def claim(self, project_id: int, claimant: str, until: datetime, now: datetime) -> bool:
        """Takes the project's lock for work, so that nobody else does before `until`; False where it can't be had.

        Taken if it is free, if the claim on it has expired, or if this same claimant holds it. claimant: a text of at
        most 100 characters.
        """
        ...

    def release(self, project_id: int, claimant: str) -> None:
        """Ends the claim, if it is this claimant's."""
        ...

    def record(
        self, entry: AuditEntry, claimant: str, change: Hold | Freed | None, mails: Sequence[NewMail], now: datetime
    ) -> bool:
        """Writes the decision, the new state and the mails in one transaction, and ends the claimant's claim.

        False, and nothing is written, where the claim was lost. With an `entry` whose key there is already, only the
        change counts: its mails were written then.
        """
        ...

    def keep(self, project_id: int, claimant: str, hold: Hold) -> None:
        """Writes what counts for a lock that is there or about to be, with nothing decided; ends the claim."""
        ...

    def unsent(self, project_id: int) -> list[int]:
        """The ids of mails about the project's lock that nobody has begun to send."""
        ...
