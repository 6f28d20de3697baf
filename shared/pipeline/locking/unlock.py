"""A message that asks for a lock to come off: decides, and takes it off."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.locks import LockDecision, LockMode, Outcome, decide_unlock
from shared.messages import LockTrigger
from shared.pipeline.locking.case import Case, digest
from shared.pipeline.locking.groups import GroupLocks
from shared.pipeline.locking.limits import TAKEN_OFF_WITHIN
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.records import Records
from shared.pipeline.locking.report import TAKEN_OFF
from shared.ports.locks import Freed


@dataclass(frozen=True, slots=True)
class Unlocking:
    """Takes locks off, says that they would come off, or leaves them on."""

    groups: GroupLocks
    mails: LockMails
    records: Records
    mode: LockMode

    def unlock(self, case: Case) -> None:
        """Decides, and does it. Raises LaterError where something has to wait."""
        decision = self._decide(case)
        if decision.outcome is Outcome.REFUSED:
            self._leave_on(case, decision.reason)
        elif decision.outcome is Outcome.WOULD_UNLOCK:
            self._would_unlock(case, decision.reason)
        else:
            self._take_off(case, decision.reason)

    def _decide(self, case: Case) -> LockDecision:
        facts = case.facts
        decision = decide_unlock(self.mode, facts.held, facts.budget, facts.period, facts.usage, case.ordered)
        if not case.ordered and decision.outcome is not Outcome.REFUSED and not facts.usage_known:
            return LockDecision(Outcome.REFUSED, "nobody knows what it has spent")
        return decision

    def _leave_on(self, case: Case, reason: str) -> None:
        if case.facts.held is None and case.message.trigger is LockTrigger.CHECK:
            return  # a check asks only where there was a lock: this is its message once more
        key = f"stays/{case.this_budget}/{case.now.date()}/{digest(reason)}"
        self.records.write_down(case, key, Outcome.REFUSED, reason)

    def _would_unlock(self, case: Case, reason: str) -> None:
        key = case.key("would-unlock")
        mail = self.mails.would_unlock(case.facts, key, reason)
        self.records.write_down(case, key, Outcome.WOULD_UNLOCK, reason, mails=[mail])

    def _take_off(self, case: Case, reason: str) -> None:
        facts = case.facts
        report = self.groups.take_off(facts, case.in_time(TAKEN_OFF_WITHIN))
        report.raise_later()
        freed = Freed(case.ordered, facts.budget.number, case.period_start)
        if report.failed:
            self.records.write_down_failure(case, report, None)
        elif facts.held_since is None and not report.with_word(TAKEN_OFF):
            key = f"not-locked/{case.this_budget}/{case.origin}"
            change = freed if facts.held else None
            self.records.write_down(case, key, Outcome.REFUSED, "it was not locked by this app", report, change)
        else:
            mail = self.records.mail_to_contacts(case)
            key = f"unlocked/{case.this_budget}/{case.origin}"
            self.records.write_down(case, key, Outcome.UNLOCKED, reason, report, freed, [mail])
