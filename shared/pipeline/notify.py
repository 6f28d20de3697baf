"""ProjectUsageNotifier: compares usage with the budget, makes the alerts."""

from __future__ import annotations

from dataclasses import dataclass

from shared.messages import Envelope, LockMessage, LockTrigger, NotificationMessage, one_by_one
from shared.pipeline.alerts import AlertPolicy, Alerts
from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.events import event, log
from shared.pipeline.operators import Operators, at_most
from shared.pipeline.stage import Outgoing, Retry, mails_out, outgoing
from shared.ports.checks import CheckLedger
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailLedger, Topic


@dataclass(frozen=True, slots=True)
class Notifier:
    """Checks projects and returns the mails that nobody has begun to send, and what is asked of locks."""

    checks: CheckLedger
    mails: MailLedger
    dead_letters: DeadLetters
    operators: Operators
    policy: AlertPolicy
    retry: Retry
    clock: Clock

    def notify(self, message: NotificationMessage, origin: str) -> list[Outgoing]:
        """One notification message. origin: the queue message's id."""
        try:
            return self._check(message, origin)
        except LaterError as error:
            return self._later(message, origin, error)
        except NeverError as error:
            return outgoing(one_by_one(message)) or self._failed(message, origin, error.reason)
        except Exception:
            if len(message.project_ids) == 1:
                raise
            # Whichever project it is, it shall fail alone; alone, the error goes to the host.
            log.exception("check_split projects=%s", len(message.project_ids))
            return outgoing(one_by_one(message))

    def _check(self, message: NotificationMessage, origin: str) -> list[Outgoing]:
        now, run_key = self.clock(), message.envelope.run_id
        alerts = Alerts(self.policy, self.operators, now.date(), run_key)
        result = self.checks.check(message.project_ids, alerts, now)
        event("checked", run=run_key, projects=result.checked)
        for project_id, threshold in result.alerts:
            event("alert_made", run=run_key, project=project_id, threshold=threshold)
        for project_id in result.unknown:
            reason = f"there is no project {project_id}; `python -m shared.cli projects list` shows them all"
            self._bury(project_id, reason, origin)
        locks = (
            LockMessage(action, project_id, reason=reason, trigger=LockTrigger.CHECK, envelope=Envelope(run_key))
            for project_id, action, reason in result.locks
        )
        return [*mails_out(result.unsent), *outgoing(locks)]

    def _later(self, message: NotificationMessage, origin: str, error: LaterError) -> list[Outgoing]:
        return self.retry.later(
            message,
            error,
            "check",
            give_up=lambda reason: self._failed(message, origin, reason),
            projects=len(message.project_ids),
        )

    def _failed(self, message: NotificationMessage, origin: str, reason: str) -> list[Outgoing]:
        self.checks.give_up(message.project_ids, reason)
        named = self.checks.acronyms(message.project_ids)
        for project_id in message.project_ids:
            self._bury(project_id, reason, origin)
        mail = self.operators.notice(
            Topic.CHECKS_FAILED,
            f"check/{self.clock().date()}",
            "Projects could not be checked",
            f"{len(message.project_ids)} project(s) could not be compared with their budget: {reason}.",
            at_most([f"{named[each]} (id {each})" if each in named else f"id {each}" for each in message.project_ids]),
            "See them with `python -m shared.cli dead-letters list`. The next night tries again.",
            message.envelope.run_id,
        )
        return mails_out([self.mails.add(mail, self.clock())])

    def _bury(self, project_id: int, reason: str, origin: str) -> None:
        self.dead_letters.give_up(NotificationMessage((project_id,)), reason, f"{origin}/{project_id}")
