"""Messages that failed for good: kept with their reason, so that a person can mend the cause and replay them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from shared.messages import (
    PARSERS,
    QUEUES,
    EmailMessage,
    EmailsMessage,
    LockMessage,
    Message,
    MessageError,
    NotificationMessage,
    PartMessage,
    Queue,
    ScopeTarget,
    UpdateMessage,
    one_by_one,
    to_json,
)
from shared.pipeline.ending import Ending
from shared.pipeline.events import event, log
from shared.pipeline.naming import acronyms_in
from shared.pipeline.operators import NOTICE, Operators
from shared.pipeline.stage import Outgoing, mails_out, outgoing
from shared.ports.checks import CheckLedger
from shared.ports.clock import Clock
from shared.ports.dead_letters import DeadLetterLedger
from shared.ports.errors import LaterError
from shared.ports.mails import MailLedger, MailState

POISONED = "it failed again and again for a reason that nobody foresaw; the logs of the app have it"
CLOSING_CLAIM = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Records messages that failed for good, and closes the work that hung on them.

    lock_failed: writes down that a lock message has failed, and tells whom it concerns; export_failed: the same of a
    message of cost exports. Both may raise anything.
    """

    ledger: DeadLetterLedger
    ending: Ending
    checks: CheckLedger
    mails: MailLedger
    operators: Operators
    clock: Clock
    lock_failed: Callable[[LockMessage, str], list[Outgoing]]
    export_failed: Callable[[PartMessage, str], list[Outgoing]]

    def record(self, queue: Queue, body: str, reason: str, origin: str) -> None:
        """Keeps one message. origin: the queue message's id, or what else makes it the same one."""
        _, is_new = self.ledger.record(queue, body, reason, origin, self.clock())
        _tell(queue, origin, is_new)

    def give_up(self, message: Message, reason: str, origin: str) -> None:
        """Keeps the message of work that was given up: replayed, it has the work done."""
        self.record(QUEUES[type(message)], to_json(message), reason, origin)

    def give_up_stranger(self, message: Message, reason: str, origin: str) -> None:
        """The same of a message that names nobody, of which anybody can make up as many as he likes."""
        queue = QUEUES[type(message)]
        _tell(queue, origin, self.ledger.record_stranger(queue, to_json(message), reason, origin, self.clock()))

    def bury(self, queue: Queue, body: str, origin: str, reason: str = POISONED) -> list[Outgoing]:
        """Takes what the host gave up on (its `-poison` queue), and tells the operators. reason: why it has failed.

        A set of projects or mails is not given up, but goes one by one: it may be one of them. Raises LaterError.
        """
        try:
            message = PARSERS[queue](body)
        except MessageError as error:
            self.record(queue, body, str(error), origin)
            return []
        alone = map(EmailMessage, message.email_ids) if isinstance(message, EmailsMessage) else one_by_one(message)
        if wanted := outgoing(alone):
            return wanted
        wanted = [*self._close(message, origin), *self._told(queue, message)]
        # Last: where one of those fails it is a copy of another id that comes again.
        self.record(queue, body, reason, origin)
        return wanted

    def _told(self, queue: Queue, message: Message) -> list[Outgoing]:
        if isinstance(message, EmailMessage) and self._is_notice(message.email_id):
            return []  # a notice that can't be sent is no reason for another one
        now = self.clock()
        told = self.operators.message_poisoned(queue, acronyms_in(message, self.checks, self.mails), now.date())
        return mails_out([self.mails.add(told, now)])

    def _is_notice(self, mail_id: int | None) -> bool:
        stored = self.mails.get(mail_id) if mail_id is not None else None
        return stored is not None and stored.mail.template == NOTICE

    def _close(self, message: Message, origin: str) -> list[Outgoing]:
        """Nobody works on it any more: without this the watchdog would queue it again and again."""
        match message:
            case UpdateMessage(envelope=envelope) if envelope.run_id:
                return self.ending.fail(envelope.run_id, ScopeTarget.of(message), POISONED)
            case NotificationMessage():
                self.checks.give_up(message.project_ids, f"its check failed: {POISONED}")
            case EmailMessage(email_id=int(mail_id)):
                self._close_mail(mail_id, origin)
            case LockMessage():
                return self._closed("lock", lambda: self.lock_failed(message, origin), origin)
            case PartMessage():
                return self._closed("export", lambda: self.export_failed(message, origin), origin)
        return []

    def _closed(self, what: str, close: Callable[[], list[Outgoing]], origin: str) -> list[Outgoing]:
        try:
            return close()
        except LaterError:
            raise
        except Exception:  # noqa: BLE001 - what nobody foresaw may be the same again; the operators hear of it all the same
            log.warning("%s_not_closed origin=%s", what, origin, exc_info=True)
            return []

    def _close_mail(self, mail_id: int, origin: str) -> None:
        now = self.clock()
        if self.mails.claim(mail_id, origin, now + CLOSING_CLAIM, now):
            self.mails.mark_failed(mail_id, origin, POISONED)
            return
        stored = self.mails.get(mail_id)
        if stored is not None and stored.state is MailState.CLAIMED:
            # Mostly by the very message that has just failed for good; left so, the watchdog would queue it for ever.
            raise LaterError(f"mail {mail_id} is claimed; it is marked as failed once the claim has expired")


def _tell(queue: Queue, origin: str, is_new: bool) -> None:
    """Once for each that is kept: while the database is away, and after it, a message comes again and again."""
    if is_new:
        event("dead_letter", level=logging.WARNING, queue=queue, origin=origin)
