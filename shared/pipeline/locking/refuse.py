"""Refusing a lock that was asked for: written down, and told to the operators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from shared.domain.locks import LockMode, Outcome
from shared.domain.projects import LockPolicy
from shared.messages import Envelope
from shared.pipeline.locking.case import Case, digest
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.records import Records
from shared.pipeline.locking.report import GroupReport
from shared.pipeline.stage import Outgoing
from shared.ports.locks import Freed

NOTHING_TO_LOCK = "none of its resource groups is there, or may be locked"


@dataclass(frozen=True, slots=True)
class Refusals:
    """Refuses locks. mode: with `off`, only those who ordered a lock are told."""

    records: Records
    mails: LockMails
    mode: LockMode

    def refuse(
        self, case: Case, reason: str, report: GroupReport | None = None, change: Freed | None = None
    ) -> list[Outgoing]:
        """Told once a day for the same reason, or once for the budget and period where it stays the same."""
        lasting = self._lasting(case, reason)
        key = case.key("refused", lasting or f"{case.now.date()}/{digest(reason)}")
        mail = self.mails.refused(case.facts, key, reason, case.message.reason)
        is_told = self.mode is not LockMode.OFF or case.ordered
        again_from = case.figures.doubtful_until
        self.records.write_down(case, key, Outcome.REFUSED, reason, report, change, [mail] if is_told else [])
        return [] if again_from is None or lasting else [_look_again_on(again_from, case)]

    def _lasting(self, case: Case, reason: str) -> str | None:
        """A word for a reason that is the same tomorrow."""
        if self.mode is LockMode.OFF:
            return "off"
        if case.facts.project.lock is LockPolicy.NEVER:
            return "never"
        if case.facts.released and not case.ordered:
            return "released"
        return "nothing" if reason == NOTHING_TO_LOCK else None


def _look_again_on(day: date, case: Case) -> Outgoing:
    """Azure calls but once: an alert in a period's first days is looked into again once its figure counts."""
    envelope = Envelope(run_id=case.message.envelope.run_id)
    message = replace(case.message, budget_name=None, subscription_id=None, envelope=envelope)
    due_at = datetime.combine(day, time(), UTC)
    return Outgoing(message, max(due_at - case.now, timedelta(0)))
