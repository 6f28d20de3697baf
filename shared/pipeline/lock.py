"""ProjectLockHandler: looks again, then locks or unlocks the project.

One message at a time works on a project (a claim in the database), and every step can be done twice: whoever comes
second, or again after a crash, finds the lock there and the decision written down, and has nothing left to do.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.locks import LockDecision, LockMode, Outcome, WhenUnsure, decide_lock, decide_unlock
from shared.domain.projects import LockPolicy
from shared.messages import EmailMessage, LockAction, LockMessage, LockTrigger, Queue
from shared.pipeline.budgets_in_step import BudgetsInStep
from shared.pipeline.dead_letters import DeadLetters, lock_letter
from shared.pipeline.events import event
from shared.pipeline.handed_on import NOTHING, NextMessages
from shared.pipeline.lock_figures import Figures, as_audited, database_figure, held_lock, highest_known, look_again
from shared.pipeline.lock_groups import ALREADY, LOCKED, TAKEN_OFF, GroupLocks, GroupReport
from shared.pipeline.lock_mails import LockMails, LockNews
from shared.pipeline.patience import WORK_PATIENCE, Patience
from shared.ports import (
    AuditEntry,
    AuditLedger,
    AzureBudgets,
    Clock,
    Freed,
    Hold,
    LaterError,
    LockFacts,
    LockLedger,
    Machine,
    NeverError,
    NewMail,
    ResourceGroup,
)

# Longer than a message is worked on, its ten-minute lease included.
CLAIM = timedelta(minutes=15)
BUSY_WAIT = timedelta(seconds=15)
# Machines are given this long to stop; what still runs then is locked all the same.
STOPPING_WAIT, STOPPING_PATIENCE = timedelta(seconds=20), timedelta(minutes=10)
# A lock that lasts for months is looked at every night, but seldom decided anew.
DECISIONS_OF_A_LOCK = 200
# So long is Azure asked again for its figure, where that could change what is decided.
AZURE_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class LockRules:
    """What is done at 100 %. stop_compute: machines are deallocated before the lock."""

    mode: LockMode
    when_unsure: WhenUnsure
    stop_compute: bool


@dataclass(frozen=True, slots=True)
class _Case:
    """One message on one project."""

    message: LockMessage
    origin: str
    facts: LockFacts
    figures: Figures
    now: datetime

    @property
    def ordered(self) -> bool:
        """Whether an operator says so."""
        return self.message.trigger is LockTrigger.OPERATOR

    @property
    def this_budget(self) -> str:
        """The project, the revision of its budget and the period: for what is decided once for each."""
        period = self.facts.period.start if self.facts.period else "no-period"
        return f"{self.facts.project_id}/{self.facts.budget.number}/{period}"


@dataclass(frozen=True, slots=True)
class Locker:
    """Locks and unlocks projects, and passes on what is about Azure's budgets."""

    in_step: BudgetsInStep
    ledger: LockLedger
    audit: AuditLedger
    budgets: AzureBudgets
    groups: GroupLocks
    mails: LockMails
    rules: LockRules
    dead_letters: DeadLetters
    patience: Patience
    clock: Clock

    def handle(self, message: LockMessage, origin: str) -> NextMessages:
        """One message that asks to lock or unlock a project. origin: the queue message's id."""
        if message.action is LockAction.SYNC:
            return self.in_step.handle(message, origin)
        try:
            project_id = self._project_of(message)
            if project_id is None or self.ledger.facts(project_id, self.clock()) is None:
                return self._unknown(message, origin)
            return self._claimed(replace(message, project_id=project_id), project_id, origin)
        except LaterError as error:
            return self._later(message, origin, error)
        except NeverError as error:
            return self._given_up(message, origin, error.reason)

    def _project_of(self, message: LockMessage) -> int | None:
        if message.budget_name is None:
            return message.project_id
        return self.ledger.find(message.budget_name, message.subscription_id or "")

    def _unknown(self, message: LockMessage, origin: str) -> NextMessages:
        named = f"{message.project_id}" if message.project_id else f"with the Azure budget {message.budget_name}"
        reason = f"there is no project {named}; `python -m shared.cli projects list` shows them all"
        self.dead_letters.record(Queue.LOCK, lock_letter(message), reason, origin)
        return NOTHING

    def _claimed(self, message: LockMessage, project_id: int, origin: str) -> NextMessages:
        """Does the work while nobody else works on this project's lock."""
        now = self.clock()
        if not self.ledger.claim(project_id, origin, now + CLAIM, now):
            raise LaterError("another message is working on this project's lock", BUSY_WAIT)
        try:
            facts = self.ledger.facts(project_id, now)
            if facts is not None and message.action is LockAction.UNLOCK:
                self._unlock(_Case(message, origin, facts, Figures(None), now))
            elif facts is not None:
                self._lock(self._looked_at(message, origin, facts, now))
        finally:
            # Whatever it was that failed, the next try need not wait for the claim to expire.
            self.ledger.release(project_id, origin)
        return self._unsent(project_id)

    # --- locking ---

    def _looked_at(self, message: LockMessage, origin: str, facts: LockFacts, now: datetime) -> _Case:
        """Looks again at both figures; a LaterError where it is worth waiting for Azure's."""
        if self.rules.mode is LockMode.OFF or facts.lock is LockPolicy.NEVER:
            # Whatever was spent, nothing is going to be done.
            return _Case(message, origin, facts, Figures(database_figure(facts)), now)
        figures = look_again(facts, self.budgets, now.date())
        waited = self.patience.is_over(message.envelope.first_queued_at, AZURE_PATIENCE)
        if figures.wait and figures.can_wait and not waited and message.trigger is not LockTrigger.OPERATOR:
            raise figures.wait
        return _Case(message, origin, facts, figures, now)

    def _lock(self, case: _Case) -> None:
        facts, figures, rules = case.facts, case.figures, self.rules
        decision = decide_lock(
            rules.mode, facts.lock, figures.azure, figures.database, rules.when_unsure, case.ordered, facts.released
        )
        if not facts.active and not case.ordered:
            decision = LockDecision(Outcome.REFUSED, "the project is not active")
        if decision.outcome is Outcome.REFUSED:
            self._refuse(case, decision.reason)
        elif decision.outcome is Outcome.WOULD_LOCK:
            self._would_lock(case, decision.reason)
        else:
            self._enforce(case, decision.reason)

    def _refuse(self, case: _Case, reason: str) -> None:
        """Told once a day, or once for the budget and period where it can't be otherwise tomorrow."""
        is_lasting = self.rules.mode is LockMode.OFF or case.facts.lock is LockPolicy.NEVER or case.facts.released
        key = f"refused/{case.this_budget}/{'lasting' if is_lasting and not case.ordered else case.now.date()}"
        mail = self.mails.refused(case.facts, key, reason, case.message.reason)
        self._record(case, key, Outcome.REFUSED, reason, mails=[] if self.rules.mode is LockMode.OFF else [mail])

    def _would_lock(self, case: _Case, reason: str) -> None:
        key = f"would-lock/{case.this_budget}"
        survey = self.groups.survey(case.facts)
        missing = self._missing(case.facts, survey)
        lines = [f"a {self.groups.level} lock on the resource group {group.name}" for group in missing]
        machines = self.groups.machines_in(missing) if self.rules.stop_compute else []
        lines += [f"the {machine.kind} {machine.name} in {group.name} deallocated" for group, machine in machines]
        survey.groups += [(group, "would be locked") for group in missing]
        survey.machines += [(group, machine, "would be stopped") for group, machine in machines]
        mail = self.mails.would_lock(case.facts, key, reason, lines)
        self._record(case, key, Outcome.WOULD_LOCK, reason, survey, mails=[mail])

    @staticmethod
    def _missing(facts: LockFacts, survey: GroupReport) -> list[ResourceGroup]:
        """The groups that could have the lock and lack it."""
        known = {group for group, _ in survey.groups}
        refused = {name for name, _ in survey.failed}
        return [group for group in facts.groups if group not in known and group.name not in refused]

    def _enforce(self, case: _Case, reason: str) -> None:
        report = self.groups.survey(case.facts)
        missing = self._missing(case.facts, report)
        if not missing and not report.failed and not report.with_word(ALREADY):
            self._refuse(case, "none of its resource groups is there, or may be locked")
            return
        if missing and self.rules.stop_compute:
            self._stop_machines(case, missing, report)
        notes = self.mails.note(case.facts, reason, case.now)
        self.groups.put(case.facts, missing, notes, report)
        if report.failed and not report.with_word(LOCKED, ALREADY):
            self._failed(case, report, None)
        else:
            self._write_down_lock(case, reason, report)

    def _stop_machines(self, case: _Case, missing: list[ResourceGroup], report: GroupReport) -> None:
        """Sees to it that nothing runs in these groups, or has had its time to stop: a lock would keep it running."""
        machines = self.groups.machines_in(missing)
        running = [(group, machine) for group, machine in machines if not machine.stopping]
        if running:
            self._write_down_stop(case, running)
            self.groups.stop(running, report)
        unstoppable = {(group, machine) for group, machine, _ in report.machines}
        waiting = [each for each in machines if each not in unstoppable]
        is_over = self.patience.is_over(case.message.envelope.first_queued_at, STOPPING_PATIENCE)
        if waiting and (not is_over or len(running) > len(unstoppable)):
            raise LaterError(f"{_machines(len(waiting))} being stopped before the lock", STOPPING_WAIT)
        report.machines += [(group, machine, "was still being stopped") for group, machine in waiting]

    def _write_down_stop(self, case: _Case, running: list[tuple[ResourceGroup, Machine]]) -> None:
        """Before it is done: once it is, nobody could tell any more what had been running."""
        report = GroupReport(machines=[(group, machine, "is being stopped") for group, machine in running])
        reason = f"{_machines(len(running))} deallocated before the lock"
        self._record(case, f"stopping/{case.this_budget}/{case.origin}", Outcome.STOPPING, reason, report)
        if not self.ledger.claim(case.facts.project_id, case.origin, case.now + CLAIM, case.now):
            raise LaterError("another message is working on this project's lock", BUSY_WAIT)

    def _write_down_lock(self, case: _Case, reason: str, report: GroupReport) -> None:
        facts = case.facts
        lock = held_lock(facts, case.figures, case.ordered)
        hold = Hold(lock, report.with_word(LOCKED, ALREADY))
        newly = report.with_word(LOCKED)
        if report.failed:
            self._failed(case, report, hold)
        elif facts.held is None:
            mail = self._to_contacts(case)
            self._record(case, f"locked/{case.this_budget}/{case.origin}", Outcome.LOCKED, reason, report, hold, [mail])
        elif newly:
            names = [group.name for group in newly]
            mail = self.mails.locked_again(facts, f"again/{case.this_budget}/{case.origin}", names)
            again = f"the lock was gone from {', '.join(names)}, and was put back; {reason}"
            self._record(case, f"again/{case.this_budget}/{case.origin}", Outcome.LOCKED, again, report, hold, [mail])
        elif (lock.budget_number, lock.period_start) != (facts.held.budget_number, facts.held.period_start):
            stays = f"it stays locked: {reason}"
            self._record(case, f"locked/{case.this_budget}", Outcome.LOCKED, stays, report, hold)
        elif lock != facts.held:
            self.ledger.keep(facts.project_id, case.origin, hold, case.now)

    # --- unlocking ---

    def _unlock(self, case: _Case) -> None:
        facts = case.facts
        decision = decide_unlock(self.rules.mode, facts.held, facts.budget, facts.period, facts.usage, case.ordered)
        if not case.ordered and decision.outcome is not Outcome.REFUSED and not facts.usage_known:
            decision = LockDecision(Outcome.REFUSED, "nobody knows what it has spent")
        if decision.outcome is Outcome.REFUSED:
            key = f"stays/{case.this_budget}/{case.now.date()}"
            self._record(case, key, Outcome.REFUSED, decision.reason)
        elif decision.outcome is Outcome.WOULD_UNLOCK:
            key = f"would-unlock/{case.this_budget}"
            mail = self.mails.would_unlock(facts, key, decision.reason)
            self._record(case, key, Outcome.WOULD_UNLOCK, decision.reason, mails=[mail])
        else:
            self._take_off(case, decision.reason)

    def _take_off(self, case: _Case, reason: str) -> None:
        facts = case.facts
        report = self.groups.take_off(facts)
        if report.failed:
            self._failed(case, report, None)
        elif facts.held is None and not report.with_word(TAKEN_OFF):
            key = f"not-locked/{case.this_budget}/{case.origin}"
            self._record(case, key, Outcome.REFUSED, "it was not locked by this app", report)
        else:
            freed = Freed(case.ordered, facts.budget.number, facts.period.start if facts.period else None)
            mail = self._to_contacts(case)
            key = f"unlocked/{case.this_budget}/{case.origin}"
            self._record(case, key, Outcome.UNLOCKED, reason, report, freed, [mail])

    # --- what is written down ---

    def _to_contacts(self, case: _Case) -> NewMail:
        stopped = self._has_stopped_machines(case.facts.project_id)
        news = LockNews(case.ordered, stopped, highest_known(case.facts, case.figures), case.message.envelope.run_id)
        return self.mails.to_contacts(case.facts, case.message.action, case.origin, news)

    def _has_stopped_machines(self, project_id: int) -> bool:
        """Whether machines were stopped for the present lock: since the project was unlocked last."""
        for view in reversed(self.audit.list(project_id, DECISIONS_OF_A_LOCK)):
            if view.entry.outcome in (Outcome.STOPPING, Outcome.UNLOCKED):
                return view.entry.outcome is Outcome.STOPPING
        return False

    def _failed(self, case: _Case, report: GroupReport, change: Hold | None) -> None:
        """Some of it was refused for good: told once a day for the same reasons."""
        action = case.message.action
        lines = [f"{what}: {why}" for what, why in report.failed]
        key = f"failed/{action}/{case.this_budget}/{case.now.date()}"
        mails = [self.mails.failed(case.facts, key, action, lines)]
        if change is not None and change.groups and case.facts.held is None:
            mails.append(self._to_contacts(case))
        self._record(case, key, Outcome.FAILED, "; ".join(lines), report, change, mails)

    def _record(
        self,
        case: _Case,
        key: str,
        outcome: Outcome,
        reason: str,
        report: GroupReport | None = None,
        change: Hold | Freed | None = None,
        mails: list[NewMail] | None = None,
    ) -> None:
        message = case.message
        entry = AuditEntry(
            key=key,
            project_id=case.facts.project_id,
            action=message.action,
            outcome=outcome,
            reason=reason,
            trigger=message.trigger,
            by=message.by,
            asked=message.reason,
            figures=as_audited(case.facts, case.figures, self.rules.mode, self.groups.level),
            details=report.as_audited() if report else {},
            run_key=message.envelope.run_id,
        )
        if not self.ledger.record(entry, case.origin, change, mails or [], case.now):
            raise LaterError("another message has taken over this project's lock", BUSY_WAIT)
        event("lock_decided", project=case.facts.project_id, action=message.action, outcome=outcome, reason=reason)

    # --- what can't be done now, or at all ---

    def _later(self, message: LockMessage, origin: str, error: LaterError) -> NextMessages:
        if self.patience.is_over(message.envelope.first_queued_at, WORK_PATIENCE):
            try:
                return self._given_up(message, origin, f"given up after 24 hours: {error.reason}")
            except LaterError:
                event("giving_up_put_off", level=logging.WARNING, project=message.project_id)
        due_at = self.patience.due_after(error, message.envelope.attempt)
        event("lock_deferred", level=logging.WARNING, project=message.project_id, reason=error.reason)
        self.patience.put_back(Queue.LOCK, message, due_at)
        return NOTHING

    def _given_up(self, message: LockMessage, origin: str, reason: str) -> NextMessages:
        """Kept as a dead letter, written down, and told to the operators. Raises LaterError."""
        self.dead_letters.record(Queue.LOCK, lock_letter(message), reason, origin)
        project_id, now = self._project_of(message), self.clock()
        facts = self.ledger.facts(project_id, now) if project_id else None
        if facts is None or not self.ledger.claim(facts.project_id, origin, now + CLAIM, now):
            return NOTHING
        case = _Case(message, origin, facts, Figures(None), now)
        self._failed(case, GroupReport(failed=[(facts.acronym, reason)]), None)
        return self._unsent(facts.project_id)

    def _unsent(self, project_id: int) -> NextMessages:
        return NextMessages(emails=tuple(EmailMessage(email_id=each) for each in self.ledger.unsent(project_id)))


def _machines(number: int) -> str:
    return "one machine is" if number == 1 else f"{number} machines are"
