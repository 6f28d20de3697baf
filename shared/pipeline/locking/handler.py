"""ProjectLockHandler: takes a message, finds its project, and lets nobody else work on that project's lock meanwhile.

What can't be done now is put back; what can't be done at all, or not within 24 hours, is given up and told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.messages import LockAction, LockMessage, Queue
from shared.pipeline.azure_budgets.names import azure_name
from shared.pipeline.dead_letters import DeadLetters, lock_letter
from shared.pipeline.locking.case import Case
from shared.pipeline.locking.claims import Claims
from shared.pipeline.locking.figures import Figures
from shared.pipeline.locking.lock import Locking
from shared.pipeline.locking.records import Records
from shared.pipeline.locking.report import GroupReport
from shared.pipeline.locking.unlock import Unlocking
from shared.pipeline.stage import Outgoing, Retry, mails_out
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.locks import LockLedger


@dataclass(frozen=True, slots=True)
class Locker:
    """Locks and unlocks projects."""

    locking: Locking
    unlocking: Unlocking
    ledger: LockLedger
    claims: Claims
    records: Records
    dead_letters: DeadLetters
    retry: Retry
    clock: Clock

    def handle(self, message: LockMessage, origin: str) -> list[Outgoing]:
        """One message that asks to lock or unlock a project. origin: the queue message's id."""
        try:
            project_id = self._project_of(message)
            if project_id is None or self.ledger.facts(project_id, self.clock()) is None:
                return self._unknown(message, origin)
            return self._claimed(replace(message, project_id=project_id), project_id, origin)
        except LaterError as error:
            return self._later(message, origin, error)
        except NeverError as error:
            return self._never(message, origin, error)

    def _project_of(self, message: LockMessage) -> int | None:
        if message.budget_name is None:
            return message.project_id
        wanted = message.budget_name.strip().lower()
        here = self.ledger.projects_in(message.subscription_id or "")
        # An acronym that Azure's names can't hold is hashed in one, so that no database could search for it.
        return next((project_id for project_id, acronym in here if azure_name(acronym) == wanted), None)

    def _unknown(self, message: LockMessage, origin: str) -> list[Outgoing]:
        named = f"{message.project_id}" if message.project_id else f"with the Azure budget {message.budget_name}"
        reason = f"there is no project {named}; `python -m shared.cli projects list` shows them all"
        self.dead_letters.record(Queue.LOCK, lock_letter(message), reason, origin)
        return []

    def _claimed(self, message: LockMessage, project_id: int, origin: str) -> list[Outgoing]:
        """Does the work while nobody else works on this project's lock."""
        now = self.clock()
        self.claims.take(project_id, origin, now)
        try:
            facts = self.ledger.facts(project_id, now)
            case = Case(message, origin, facts, Figures(None), now, self.clock) if facts else None
            wanted = self._work_on(case) if case else []
        finally:
            # Whatever it was that failed, the next try need not wait for the claim to expire.
            self.claims.release(project_id, origin)
        return [*wanted, *mails_out(self.ledger.unsent(project_id))]

    def _work_on(self, case: Case) -> list[Outgoing]:
        if case.message.action is LockAction.UNLOCK:
            self.unlocking.unlock(case)
            return []
        return self.locking.lock(case)

    # --- what can't be done now, or at all ---

    def _later(self, message: LockMessage, origin: str, error: LaterError) -> list[Outgoing]:
        return self.retry.later(
            message,
            error,
            "lock",
            since=message.envelope.first_queued_at,
            give_up=lambda reason: self._given_up(message, origin, reason),
            project=message.project_id,
        )

    def _never(self, message: LockMessage, origin: str, error: NeverError) -> list[Outgoing]:
        try:
            return self._given_up(message, origin, error.reason)
        except LaterError as later:
            return self._later(message, origin, later)

    def _given_up(self, message: LockMessage, origin: str, reason: str) -> list[Outgoing]:
        """Kept as a dead letter, written down, and told to the operators. Raises LaterError."""
        project_id, now = self._project_of(message), self.clock()
        facts = self.ledger.facts(project_id, now) if project_id else None
        if facts is None:
            self.dead_letters.record(Queue.LOCK, lock_letter(message), reason, origin)
            return []
        self.claims.take(facts.project.id, origin, now)
        try:
            self.dead_letters.record(Queue.LOCK, lock_letter(message), reason, origin)
            case = Case(message, origin, facts, Figures(None), now, self.clock)
            self.records.write_down_failure(case, GroupReport(failed=[(facts.project.acronym, reason)]), None)
        finally:
            self.claims.release(facts.project.id, origin)
        return mails_out(self.ledger.unsent(facts.project.id))
