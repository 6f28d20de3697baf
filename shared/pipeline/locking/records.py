"""What is written down: every decision, with the new state and its mails, in one transaction.

The decision's key makes it once: whoever comes second, or again after a crash, writes nothing and mails nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from shared.domain.locks import LockMode, Outcome
from shared.domain.money import plain
from shared.domain.projects import LockPolicy
from shared.domain.texts import digest
from shared.messages import LockAction
from shared.pipeline.events import event
from shared.pipeline.locking.groups import BEING_STOPPED, LOCKED, NOTHING, STOPS, TAKEN_OFF, Report
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.request import Request
from shared.ports.errors import LaterError
from shared.ports.locks import AuditEntry, AuditView, Freed, Hold, LockLedger
from shared.ports.mails import NewMail

# A claim lasts longer than a message is worked on, its ten-minute lease included.
CLAIM = timedelta(minutes=15)
BUSY_WAIT = timedelta(seconds=15)
# Machines that were stopped are told of, if their lock does not come within these days.
STOPS_COUNT_FOR = timedelta(days=3)
# A lock that lasts for months is looked at every night, but seldom decided anew.
DECISIONS_OF_A_LOCK = 200


class BusyError(LaterError):
    """Another message works on the project's lock."""


@dataclass(frozen=True, slots=True)
class Records:
    """Writes decisions down, and knows the earlier ones. What is written ends the claim: it is taken again after."""

    ledger: LockLedger
    mails: LockMails
    mode: LockMode

    def claim(self, project_id: int, origin: str, now: datetime) -> None:
        """Takes the claim for this message, or takes it again. Raises LaterError while another message has it."""
        if not self.ledger.claim(project_id, origin, now + CLAIM, now):
            raise BusyError("another message is working on this project's lock", BUSY_WAIT)

    def keep(self, request: Request, hold: Hold) -> None:
        """Writes what counts for a lock that is there or about to be, with nothing decided."""
        self.ledger.keep(request.project.id, request.origin, hold)

    def withdraw(self, request: Request) -> None:
        """Ends an order to lock that is refused, or taken back: it shall not come true once that has changed."""
        order, is_never = request.facts.order, request.project.lock is LockPolicy.NEVER
        is_its = request.ordered and request.superseded_at is None
        if order is not None and order.locks and (is_its or is_never):
            self.ledger.withdraw(request.project.id, order)

    def look_at(self, request: Request, due_at: datetime | None, alerted_at: datetime | None) -> None:
        """When the project's lock is to be looked at again, whatever else happens."""
        self.ledger.look_at(request.project.id, due_at)
        if alerted_at != request.facts.alerted_at:
            self.ledger.alerted(request.project.id, alerted_at)

    def write_down(
        self,
        request: Request,
        key: str,
        outcome: Outcome,
        reason: str,
        report: Report = NOTHING,
        change: Hold | Freed | None = None,
        mails: Sequence[NewMail] = (),
    ) -> None:
        """Writes a decision down. Raises LaterError where another message has the claim now."""
        message, project = request.message, request.project
        entry = AuditEntry(
            key=key,
            project_id=project.id,
            action=request.doing,
            outcome=outcome,
            reason=reason,
            trigger=message.trigger,
            by=message.by,
            asked=message.reason,
            figures=self._figures(request),
            details=report.as_audited(),
            run_key=message.envelope.run_id,
        )
        if not self.ledger.record(entry, request.origin, change, mails, request.now):
            raise BusyError("another message has taken over this project's lock", BUSY_WAIT)
        event("lock_decided", project=project.id, action=request.doing, outcome=outcome, reason=reason)

    def _figures(self, request: Request) -> dict[str, Any]:
        """What a decision rests on: JSON values, amounts as text."""
        facts, azure = request.facts, request.azure
        amount = facts.budget.amount
        return {
            "mode": self.mode,
            "level": self.mails.level,
            "currency": facts.budget.terms.currency or None,
            "amount": None if amount is None else plain(amount),
            "usage": plain(facts.usage) if facts.usage_known else None,
            "usage_lacks": facts.lacks or None,
            "converted": str(facts.converted) or None,
            "azure_spend": plain(azure.figure.spent) if azure.figure else None,
            "azure_unknown": azure.unknown,
            "period_start": request.period_start.isoformat() if request.period_start else None,
            "budget_number": facts.budget.number,
        }

    def write_down_failure(self, request: Request, report: Report, change: Hold | Freed | None = None) -> None:
        """Some of it was refused for good: told once a day for the same reasons."""
        lines = [f"{what}: {why}" for what, why in report.failed]
        done = [group.name for group in report.with_word(LOCKED, TAKEN_OFF)]
        key = request.key("failed", request.doing, request.now.date(), digest(*lines, *done))
        to_contacts = self._on_a_failure(request, report, change)
        is_locked = request.doing is LockAction.LOCK and isinstance(change, Hold) and not report.later
        is_of_machines = is_locked and not report.failed_of((*request.facts.groups, *request.facts.held_groups))
        mails = [(self.mails.left_running if is_of_machines else self.mails.failed)(request, key, lines)]
        mails += [] if isinstance(change, Hold) or report.later else self.mails_on_what_was_in_vain(request, report)
        # The same failure may have its row of before they were told of a lock: mails come with a new one.
        key = f"{key}/told" if to_contacts else key
        self.write_down(request, key, Outcome.FAILED, "; ".join(lines), report, change, [*mails, *to_contacts])

    def _on_a_failure(self, request: Request, report: Report, change: Hold | Freed | None) -> list[NewMail]:
        """To the contacts, where a new lock was put on in part only, or not at all."""
        if request.doing is not LockAction.LOCK or request.facts.held_since is not None:
            return []
        if not isinstance(change, Hold):
            return self.mails_on_no_lock(request)
        left_open = report.failed_of(request.facts.groups)
        if self.mails.is_told(request) and not left_open:
            return []
        return [self.mail_to_contacts(request, report, left_open)]

    def mails_on_what_was_in_vain(self, request: Request, report: Report = NOTHING) -> list[NewMail]:
        """To the operators: machines were stopped for a lock that did not come."""
        stops = [] if request.facts.held_since else self.stops(request, STOPS_COUNT_FOR)
        machines = _stopped(stops, report)
        return [self.mails.stopped_in_vain(request, stops, machines)] if machines else []

    def mails_on_no_lock(self, request: Request) -> list[NewMail]:
        """To the contacts: the lock that they were told of is not put on."""
        if request.facts.told_at is None or request.facts.held_since is not None:
            return []
        return [self.mails.not_locked(request, self._has_stopped_machines(request))]

    def mail_to_contacts(self, request: Request, report: Report = NOTHING, left_open: Sequence[str] = ()) -> NewMail:
        """The mail that says that their project is locked now, but for the groups that are left open, or open again.

        report: what became of its machines now.
        """
        return self.mails.to_contacts(request, self._has_stopped_machines(request, report), left_open)

    # --- what was written down before ---

    def has_decided(self, request: Request, key: str) -> bool:
        """Whether a decision about the project's lock has this key."""
        return any(view.entry.key == key for view in self._latest_first(request))

    def stops(self, request: Request, within: timedelta) -> list[AuditView]:
        """What was written down about stopping machines for a lock that is not there yet, oldest first."""
        words = (Outcome.STOPPING, Outcome.REFUSED)
        since = request.now - within
        latest = takewhile(lambda view: view.at > since and view.entry.outcome in words, self._latest_first(request))
        return [view for view in latest if view.entry.outcome is Outcome.STOPPING][::-1]

    def _has_stopped_machines(self, request: Request, report: Report = NOTHING) -> bool:
        """Whether machines were stopped for the present lock: since the project was unlocked last."""
        since = takewhile(lambda view: view.entry.outcome is not Outcome.UNLOCKED, self._latest_first(request))
        return bool(_stopped([*since][::-1], report))

    def _latest_first(self, request: Request) -> list[AuditView]:
        return self.ledger.decisions(request.project.id, DECISIONS_OF_A_LOCK)[::-1]


def _stopped(views: Sequence[AuditView], report: Report) -> list[str]:
    """Which machines were stopped, by what was said of each last: such as `vm-1 in rg-11`. views: oldest first."""
    rows = [*(row for view in views for row in view.entry.details.get("machines", ())), *report.machine_rows]
    last = {f"{name} in {group}": word for group, name, word in rows}
    return [machine for machine, word in last.items() if word in (BEING_STOPPED, STOPS)]
