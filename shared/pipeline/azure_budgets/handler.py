"""Takes a message about a subscription: brings its budgets in step, and tells the operators what could not be."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.texts import digest
from shared.messages import BudgetSyncMessage
from shared.pipeline.azure_budgets.sync import DELETE, BudgetSync, SyncResult
from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.events import event
from shared.pipeline.operators import Operators, at_most, concerning
from shared.pipeline.stage import Outgoing, Retry, mails_out
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailLedger, Topic


@dataclass(frozen=True, slots=True)
class BudgetSyncHandler:
    """ProjectLockHandler's second kind of message: brings Azure's budgets of a subscription in step."""

    sync: BudgetSync
    mails: MailLedger
    operators: Operators
    dead_letters: DeadLetters
    retry: Retry
    clock: Clock

    def handle(self, message: BudgetSyncMessage, origin: str) -> list[Outgoing]:
        """One message about one subscription. origin: the queue message's id."""
        if self.sync.action_group_id is None:
            reason = "LOCK_ACTION_GROUP_ID is not set, so there is nobody whom Azure's budgets could call"
            self.dead_letters.give_up(message, reason, origin)
            return []
        try:
            result = self.sync.sync(message.subscription_id)
        except LaterError as error:
            return self.retry.later(
                message,
                error,
                "budget_sync",
                give_up=lambda reason: self._told_whole(message.subscription_id, reason),
                subscription=message.subscription_id,
            )
        except NeverError as error:
            self.sync.forget(message.subscription_id)
            return self._told_whole(message.subscription_id, error.reason)
        event("budgets_synced", subscription=message.subscription_id, changes=len(result.changes))
        return [*self._told(message.subscription_id, _lines(result)), *self._told_deleted(message, result)]

    def _told_deleted(self, message: BudgetSyncMessage, result: SyncResult) -> list[Outgoing]:
        """Nobody but us knows that Azure does not watch over these any more."""
        lines = [change.sentence for change in result.changes if change.what == DELETE]
        if not lines:
            return []
        now, subscription = self.clock(), message.subscription_id
        mail = self.operators.notice(
            Topic.AZURE_BUDGETS,
            f"azure-budgets-deleted/{subscription}/{now.date()}/{digest(*lines)}",
            "Azure budgets were deleted",
            f"These budgets in subscription {subscription}, which Budget Warden had made, were deleted:",
            at_most(lines),
        )
        return mails_out([self.mails.add(mail, now)])

    def _told(self, subscription_id: str, lines: list[str]) -> list[Outgoing]:
        """The same lines are told once a month: what can't be mapped stays so until someone changes the project."""
        intro = (
            f"Azure's own budgets in subscription {subscription_id} could not all be brought into step. These projects "
            "are locked by the nightly check only, not by Azure's own alert:"
        )
        return self._out_of_step(subscription_id, intro, lines) if lines else []

    def _told_whole(self, subscription_id: str, reason: str) -> list[Outgoing]:
        """The same where none of a subscription's budgets could be looked at."""
        whose = concerning(f"subscription {subscription_id}", self.sync.acronyms(subscription_id))
        intro = (
            f"Azure's own budgets in {whose} could not be brought into step, so that its projects are locked by the "
            "nightly check only, not by Azure's own alert. Why:"
        )
        return self._out_of_step(subscription_id, intro, [reason])

    def _out_of_step(self, subscription_id: str, intro: str, lines: list[str]) -> list[Outgoing]:
        now = self.clock()
        mail = self.operators.notice(
            Topic.AZURE_BUDGETS,
            f"azure-budgets/{subscription_id}/{now:%Y-%m}/{digest(*lines)}",
            "Azure budgets are not in step",
            intro,
            at_most(lines),
            "See what would be changed with `python -m shared.cli budgets sync --dry-run`.",
        )
        return mails_out([self.mails.add(mail, now)])


def _lines(result: SyncResult) -> list[str]:
    return [f"{acronym}: {sentence}" for acronym, sentence in (*result.failed, *result.unmapped)]
