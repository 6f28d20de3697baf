"""Brings Azure's own budgets of a subscription into step, and tells the operators what could not be."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from shared.messages import EmailMessage, LockMessage, Queue
from shared.pipeline.dead_letters import DeadLetters, lock_letter
from shared.pipeline.events import event
from shared.pipeline.handed_on import NOTHING, NextMessages
from shared.pipeline.operators import Operators, at_most
from shared.pipeline.patience import WORK_PATIENCE, Patience
from shared.pipeline.sync_budgets import BudgetSync, SyncResult
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailLedger


@dataclass(frozen=True, slots=True)
class BudgetsInStep:
    """sync: None where there is no Action Group (LOCK_ACTION_GROUP_ID), so that Azure's budgets would call nobody."""

    sync: BudgetSync | None
    mails: MailLedger
    operators: Operators
    dead_letters: DeadLetters
    patience: Patience
    clock: Clock

    def handle(self, message: LockMessage, origin: str) -> NextMessages:
        """One message about one subscription. origin: the queue message's id."""
        if self.sync is None or message.subscription_id is None:
            reason = "LOCK_ACTION_GROUP_ID is not set, so there is nobody whom Azure's budgets could call"
            self.dead_letters.record(Queue.LOCK, lock_letter(message), reason, origin)
            return NOTHING
        try:
            result = self.sync.sync(message.subscription_id)
        except LaterError as error:
            return self._later(message, message.subscription_id, error)
        except NeverError as error:
            return self._told(message.subscription_id, [error.reason])
        event("budgets_synced", subscription=message.subscription_id, changes=len(result.changes))
        return self._told(message.subscription_id, _lines(result))

    def _told(self, subscription_id: str, lines: list[str]) -> NextMessages:
        """The same lines are told once a month: what can't be mapped stays so until someone changes the project."""
        if not lines:
            return NOTHING
        now = self.clock()
        digest = hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()[:12]
        mail = self.operators.notice(
            f"azure-budgets/{subscription_id}/{now:%Y-%m}/{digest}",
            "Azure budgets are not in step",
            f"Azure's own budgets in subscription {subscription_id} could not all be brought into step. These projects "
            "are locked by the nightly check only, not by Azure's own alert:",
            at_most(lines),
            "See what would be changed with `python -m shared.cli budgets sync --dry-run`.",
        )
        return NextMessages(emails=(EmailMessage(email_id=self.mails.add(mail, now)),))

    def _later(self, message: LockMessage, subscription_id: str, error: LaterError) -> NextMessages:
        if self.patience.is_over(message.envelope.first_queued_at, WORK_PATIENCE):
            return self._told(subscription_id, [f"given up after 24 hours: {error.reason}"])
        event("budget_sync_deferred", level=logging.WARNING, subscription=subscription_id, reason=error.reason)
        self.patience.put_back(Queue.LOCK, message, self.patience.due_after(error, message.envelope.attempt))
        return NOTHING


def _lines(result: SyncResult) -> list[str]:
    return [f"{acronym}: {sentence}" for acronym, sentence in (*result.failed, *result.unmapped)]
