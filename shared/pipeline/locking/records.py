"""What is written down: every decision, with the new state and its mails, in one transaction.

The decision's key makes it once: whoever comes second, or again after a crash, writes nothing and mails nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from shared.domain.locks import LockMode, Outcome
from shared.pipeline.events import event
from shared.pipeline.locking.case import Case, digest
from shared.pipeline.locking.figures import as_audited, highest_known
from shared.pipeline.locking.limits import AZURE_PATIENCE, BUSY_WAIT, DECISIONS_OF_A_LOCK, STOPPING_PATIENCE
from shared.pipeline.locking.mails import LockMails, LockNews
from shared.pipeline.locking.report import LOCKED, TAKEN_OFF, GroupReport
from shared.ports.azure import LockLevel
from shared.ports.errors import LaterError
from shared.ports.locks import AuditEntry, AuditView, Freed, Hold, LockLedger
from shared.ports.mails import NewMail


@dataclass(frozen=True, slots=True)
class Records:
    """Writes decisions down, and knows the earlier ones."""

    ledger: LockLedger
    mails: LockMails
    mode: LockMode
    level: LockLevel

    def write_down(
        self,
        case: Case,
        key: str,
        outcome: Outcome,
        reason: str,
        report: GroupReport | None = None,
        change: Hold | Freed | None = None,
        mails: Sequence[NewMail] = (),
    ) -> None:
        """Writes a decision down, and ends the claim. Raises LaterError where another message has the claim now."""
        entry = self._entry(case, key, outcome, reason, report)
        if not self.ledger.record(entry, case.origin, change, mails, case.now):
            raise LaterError("another message has taken over this project's lock", BUSY_WAIT)
        event("lock_decided", project=entry.project_id, action=entry.action, outcome=outcome, reason=reason)

    def _entry(self, case: Case, key: str, outcome: Outcome, reason: str, report: GroupReport | None) -> AuditEntry:
        message = case.message
        return AuditEntry(
            key=key,
            project_id=case.facts.project.id,
            action=message.action,
            outcome=outcome,
            reason=reason,
            trigger=message.trigger,
            by=message.by,
            asked=message.reason,
            figures=as_audited(case.facts, case.figures, self.mode, self.level),
            details=report.as_audited() if report else {},
            run_key=message.envelope.run_id,
        )

    def write_down_failure(self, case: Case, report: GroupReport, change: Hold | Freed | None) -> None:
        """Some of it was refused for good: told once a day for the same reasons."""
        action = case.message.action
        lines = [f"{what}: {why}" for what, why in report.failed]
        done = [group.name for group in report.with_word(LOCKED, TAKEN_OFF)]
        key = case.key("failed", action, case.now.date(), digest(*lines, *done))
        mails = [self.mails.failed(case.facts, key, action, lines, case.ordered)]
        if isinstance(change, Hold) and case.facts.held_since is None:
            mails.append(self.mail_to_contacts(case))
        self.write_down(case, key, Outcome.FAILED, "; ".join(lines), report, change, mails)

    def mail_to_contacts(self, case: Case) -> NewMail:
        """The mail that says that their project is locked now, or open again."""
        stopped = self._has_stopped_machines(case.facts.project.id)
        news = LockNews(case.ordered, stopped, highest_known(case.facts, case.figures), case.message.envelope.run_id)
        return self.mails.to_contacts(case.facts, case.message.action, case.origin, news)

    # --- what was written down before ---

    def stops(self, case: Case) -> list[AuditView]:
        """What was written down about stopping machines for the lock that is being put on now, oldest first."""
        since = case.now - AZURE_PATIENCE - STOPPING_PATIENCE
        latest = takewhile(
            lambda view: view.at > since and view.entry.outcome in (Outcome.STOPPING, Outcome.REFUSED),
            self._latest_first(case.facts.project.id),
        )
        return [view for view in latest if view.entry.outcome is Outcome.STOPPING][::-1]

    def _has_stopped_machines(self, project_id: int) -> bool:
        """Whether machines were stopped for the present lock: since the project was unlocked last."""
        for view in self._latest_first(project_id):
            if view.entry.outcome in (Outcome.STOPPING, Outcome.UNLOCKED):
                return view.entry.outcome is Outcome.STOPPING
        return False

    def _latest_first(self, project_id: int) -> list[AuditView]:
        return self.ledger.decisions(project_id, DECISIONS_OF_A_LOCK)[::-1]
