"""Runs, what each of them has done, and what of them got stuck or is late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.coverage import Incomplete
from shared.messages import ScopeTarget


class RunTrigger(StrEnum):
    """What opened a run: the night's timer, a person, or an update message that belongs to no run."""

    TIMER = "timer"
    MANUAL = "manual"
    MESSAGE = "message"


class RunState(StrEnum):
    """How far a run is. Failed: finished, with a scope that failed or is suspect."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ScopeState(StrEnum):
    """How far a run is with one scope. The last three are final."""

    PLANNED = "planned"
    QUEUED = "queued"
    DEFERRED = "deferred"
    DONE = "done"
    FAILED = "failed"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class RunScope:
    """One target of one run, and how far it is."""

    id: int
    run_key: str
    target: ScopeTarget
    state: ScopeState
    attempts: int = 0
    first_queued_at: datetime | None = None
    due_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LateRun:
    """A run that is not complete when it should be; everything that is missing, in words."""

    key: str
    started_at: datetime
    planned_until: datetime
    scopes: tuple[tuple[ScopeTarget, str, str | None], ...]
    """target, state, reason of each scope that is not done"""
    unchecked: tuple[str, ...]
    """the acronyms of the projects whose new costs were not compared with their budget"""
    unsent: tuple[tuple[str, int], ...]
    """as of a RunView"""
    planned: bool = True
    """False where the scheduler broke off before it knew which scopes the run has"""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as listed: scopes counted by state, mails counted by state."""

    key: str
    trigger: RunTrigger
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    scopes: Mapping[str, int]
    mails: Mapping[str, int]
    errors: tuple[tuple[str, str], ...] = field(default=())
    """(scope, reason) of those deferred, failed or suspect"""
    unsent: tuple[tuple[str, int], ...] = ()
    """(reason, count) of its mails that are not sent, failed ones too; the reason is empty before the first attempt"""
    unchecked: tuple[str, ...] = ()
    """as of a LateRun, of the runs that are listed and finished"""
    incomplete: Incomplete = field(default=Incomplete())
    """what figures lack, of a run that they rest on (`services.runs`)"""
    planned_until: datetime | None = None
    """when the last of its messages is to be taken"""

    @property
    def due_at(self) -> datetime:
        """From when on it can be late."""
        return self.planned_until or self.started_at

    @property
    def is_complete(self) -> bool:
        """Whether all is read, believed and compared with the budgets, and all that follows from it has been told."""
        return self.state is RunState.DONE and not (self.unsent or self.unchecked or self.incomplete.gaps)


class RunLedger(Protocol):
    """Runs, and what each of them has done."""

    def open_run(self, key: str, trigger: RunTrigger, now: datetime) -> None:
        """Makes the run if there is none with this key."""
        ...

    def open_night(self, occurrence: datetime, now: datetime) -> str:
        """The key of the night that is this occurrence of its schedule; the run is made where there is none.

        It names the day, and the time too where that day has another night.
        """
        ...

    def plan(self, run_key: str, targets: Sequence[ScopeTarget]) -> list[RunScope]:
        """Adds the targets that the run lacks; returns, in their order, those whose message is still to be sent.

        A run that then has no scopes at all is done.
        """
        ...

    def plan_until(self, run_key: str, until: datetime) -> None:
        """The last of the run's messages is to be taken then; never earlier than was planned before."""
        ...

    def mark_queued(self, scope_id: int, due_at: datetime, now: datetime) -> None:
        """The scope's message is on its queue and can be seen from `due_at`. A final state stays."""
        ...

    def scope_of(self, run_key: str, trigger: RunTrigger, target: ScopeTarget, now: datetime) -> RunScope:
        """The scope of this run for this target; both are made, as queued now, where they are missing."""
        ...

    def mark_deferred(self, scope_id: int, reason: str, due_at: datetime) -> None:
        """The scope is tried again at `due_at`; counts one attempt. Reopens a suspect one, no other final state."""
        ...

    def mark_read(self, scope_id: int, doubt: str | None, now: datetime) -> None:
        """The scope is done, or suspect for this reason; its run is finished if it was the last one."""
        ...

    def mark_failed(self, scope_id: int, reason: str, now: datetime) -> bool:
        """The scope has failed for this run, and finishes it if it was the last one.

        One that is done stays done: a late copy of its message has failed. Returns whether it had not failed before.
        """
        ...

    def failures(self, run_key: str) -> list[tuple[ScopeTarget, str]]:
        """Target and reason of each scope that failed or is suspect, once the run is finished; nothing before."""
        ...

    def recent_runs(self, limit: int) -> list[RunView]:
        """The last runs, newest first: so many of the nights' and by hand, and as many that a message has begun."""
        ...

    def get(self, key: str) -> RunView | None:
        """The run as it stands."""
        ...

    def night(self) -> RunView | None:
        """The last night as it stands."""
        ...

    def stuck_scopes(self, before: datetime) -> list[RunScope]:
        """Scopes of unfinished runs that are not final and due (or planned, run started) before `before`."""
        ...

    def due_since(self, moment: datetime) -> list[RunScope]:
        """Scopes of every run and state whose message can be seen only later than that."""
        ...

    def late_runs(self, before: datetime) -> list[LateRun]:
        """Runs by timer planned until before then that have something missing, not yet reported; oldest first.

        A project is unchecked if its check has been due since before the run ended (of a run that has not
        ended: if its check is due at all). What became due later is of another run or of a person.
        """
        ...

    def last_night(self) -> datetime | None:
        """The last occurrence that has begun a night; of a night from before those were kept, when it began."""
        ...

    def schedule_since(self, schedule: str, now: datetime) -> datetime:
        """Since when nights have this schedule: since now where they had another one.

        The first that is known counts since the first project was loaded.
        """
        ...

    def mark_reported(self, run_key: str, now: datetime) -> None:
        """The operators have been told that this run is late."""
        ...
