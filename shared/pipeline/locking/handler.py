"""ProjectLockHandler: takes a message, finds its project, and lets nobody else work on that project's lock meanwhile.

What can't be done now is put back; what can't be done at all, or not within 24 hours, is given up and told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.domain.locks import LockMode, goes_by_figures
from shared.messages import LockAction, LockMessage, LockTrigger, look
from shared.pipeline.azure_budgets.names import azure_name
from shared.pipeline.dead_letters import POISONED, DeadLetters
from shared.pipeline.locking.carry_out import AZURE_LIMIT, Locking
from shared.pipeline.locking.groups import Report
from shared.pipeline.locking.records import BusyError, Records
from shared.pipeline.locking.request import Request, ask_azure
from shared.pipeline.stage import Outgoing, Retry, mails_out, outgoing
from shared.ports.azure import AzureBudgets
from shared.ports.azure_budgets import SeenBudgets
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.locks import LockFacts, LockLedger

LOOKED_AT_SOON = timedelta(minutes=15)
Work = Callable[[Request], None]


@dataclass(frozen=True, slots=True)
class Locker:
    """Takes what asks for a lock, or for a lock to come off."""

    ledger: LockLedger
    budgets: AzureBudgets
    seen: SeenBudgets
    locking: Locking
    records: Records
    dead_letters: DeadLetters
    retry: Retry
    clock: Clock

    def handle(self, message: LockMessage, origin: str) -> list[Outgoing]:
        """One message that asks to lock or unlock a project. origin: the queue message's id."""
        try:
            return self._take(message, origin)
        except LaterError as error:
            if isinstance(error, BusyError) and message.is_look and message.project_id is not None:
                # Whoever works on it sees the same; should that come to nothing, the watchdog asks again.
                self.ledger.look_at(message.project_id, self.clock() + LOOKED_AT_SOON)
                return []
            return self.retry.later(
                message,
                error,
                "lock",
                give_up=lambda reason: self._give_up(message, origin, reason),
                project=message.project_id,
            )

    def _take(self, message: LockMessage, origin: str) -> list[Outgoing]:
        try:
            project_id = self._project_of(message)
            if project_id is None:
                named = message.project_id or f"with the Azure budget {message.budget_name}"
                reason = f"there is no project {named}; `python -m shared.cli projects list` shows them all"
                return self._bury_stranger(message, origin, reason)
            message = self._with_order(message, project_id)
            return self._claimed(message, origin, project_id, self._work_on)
        except NeverError as error:
            return self._give_up(message, origin, error.reason)

    def _project_of(self, message: LockMessage) -> int | None:
        """The project that the message is about; None where there is none."""
        if message.budget_name is not None:
            wanted = message.budget_name.strip().lower()
            # A project that was renamed since the last sync is known by the budget that it had; another may have its
            # acronym by now.
            return self._had_budget(message.subscription_id or "", wanted) or self._named(message, wanted)
        facts = self.ledger.facts(message.project_id or 0, self.clock())
        return facts.project.id if facts else None

    def _named(self, message: LockMessage, wanted: str) -> int | None:
        # An acronym that Azure's names can't hold is hashed in one, so that no database could search for it.
        here = self.ledger.projects_in(message.subscription_id or "")
        return next((found for found, acronym in here if azure_name(acronym) == wanted), None)

    def _had_budget(self, subscription_id: str, name: str) -> int | None:
        seen = self.seen.seen_in(subscription_id).get(name)
        return seen.project_id if seen else None

    def _with_order(self, message: LockMessage, project_id: int) -> LockMessage:
        """An operator's order counts from when it was given, whoever works on the project's lock meanwhile."""
        if message.trigger is not LockTrigger.OPERATOR:
            return message
        now = self.clock()
        ordered_at = message.ordered_at or message.envelope.first_queued_at or now
        self.ledger.order(project_id, message.action is LockAction.LOCK, ordered_at, message.by, now)
        return replace(message, ordered_at=ordered_at)

    def _claimed(self, message: LockMessage, origin: str, project_id: int, work: Work) -> list[Outgoing]:
        """Does the work while nobody else works on this project's lock."""
        now = self.clock()
        self.records.claim(project_id, origin, now)
        try:
            facts = self.ledger.facts(project_id, now)
            if facts:
                work(Request(message, origin, facts, now))
        finally:
            # Whatever it was that failed, the next try need not wait for the claim to expire.
            self.ledger.release(project_id, origin)
        changed = self._what_changed(facts) if facts else []
        return [*changed, *mails_out(self.ledger.unsent(project_id))]

    def _what_changed(self, before: LockFacts) -> list[Outgoing]:
        """A lock takes minutes to be put on: whoever has changed the project, its budget or an order since is heard."""
        project_id = before.project.id
        now = self.ledger.facts(project_id, self.clock())
        is_same = now is None or _decides(replace(now, order=now.order or before.order)) == _decides(before)
        return [] if is_same else outgoing([look(project_id)])

    def _work_on(self, request: Request) -> None:
        self.locking.settle(self._look_again(request))

    def _look_again(self, request: Request) -> Request:
        """With what Azure's budget shows. Raises LaterError where that is worth waiting for."""
        if self.locking.rules.mode is LockMode.OFF or not goes_by_figures(request.known):
            return request  # whatever was spent, nothing is going to be done
        azure = ask_azure(request.facts, self.budgets, self.seen, request.now)
        is_full = request.database is not None and request.database.is_full
        waited = self.retry.is_over(request.message.envelope.first_queued_at, AZURE_LIMIT)
        if azure.wait and not (is_full or waited):
            raise azure.wait
        return replace(request, azure=azure)

    def _give_up(self, message: LockMessage, origin: str, reason: str) -> list[Outgoing]:
        """Kept as a dead letter, written down, and told to the operators. Raises LaterError."""
        project_id = self._project_of(message)
        if project_id is None:
            return self._bury_stranger(message, origin, reason)

        def write_off(request: Request) -> None:
            self.dead_letters.give_up(message, reason, origin)
            self._write_off(request, reason)

        return self._claimed(message, origin, project_id, write_off)

    def poisoned(self, message: LockMessage, origin: str) -> list[Outgoing]:
        """Ends what the host gave up on as what could not be done: written down, and told. Raises LaterError."""
        project_id = self._project_of(message)
        if project_id is None:
            return []
        return self._claimed(message, origin, project_id, lambda request: self._write_off(request, POISONED))

    def _write_off(self, request: Request, reason: str) -> None:
        self.records.write_down_failure(request, Report(failed=((request.project.acronym, reason),)))

    def _bury_stranger(self, message: LockMessage, origin: str, reason: str) -> list[Outgoing]:
        """Whoever has the function's key can make up names of budgets."""
        bury = self.dead_letters.give_up if message.budget_name is None else self.dead_letters.give_up_stranger
        bury(message, reason, origin)
        return []


def _decides(facts: LockFacts) -> tuple[object, ...]:
    """What a person can change of what decides."""
    return facts.project, facts.counted, facts.budget, facts.order
