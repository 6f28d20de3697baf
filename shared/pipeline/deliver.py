"""EmailNotificationHandler: claims a mail, sends it, marks it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

from shared.messages import EmailMessage, MailMessage, MessageError, SentAs
from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.events import event
from shared.pipeline.operators import NOTICE, Operators
from shared.pipeline.stage import MAIL_LIMIT, Outgoing, Retry, mails_out
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import (
    AddressCheck,
    Mailer,
    MailLedger,
    MailRenderer,
    NewMail,
    OutgoingMail,
    StoredMail,
    Topic,
)

# Longer than a function may run (functionTimeout in host.json): nobody is at it any more when a claim expires.
CLAIM = timedelta(minutes=15)
# The template of a mail that came whole, in a message.
WHOLE = "whole"
# How soon the mark of a mail that went out is tried again: while it is missing, the mail looks unsent.
MARK_AGAIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Sends each mail once, or says why it can't be sent."""

    mails: MailLedger
    mailer: Mailer
    renderer: MailRenderer
    valid_addresses: AddressCheck
    dead_letters: DeadLetters
    operators: Operators
    retry: Retry
    clock: Clock

    def deliver(self, message: EmailMessage, origin: str) -> list[Outgoing]:
        """One e-mail message. origin: the queue message's id, under which the mail is claimed.

        Raises MessageError where the message can't be right.
        """
        try:
            if message.mail is not None:
                return self._accept(message.mail, origin)
            if message.sent_as is not None:
                return self._mark(message, message.sent_as)
            return self._claim_and_send(message, message.email_id or 0, origin)
        except LaterError as error:
            # The database is away: nothing can be noted, the message waits.
            return self.retry.later(message, error, "mail", mail=message.email_id)

    def _accept(self, mail: MailMessage, origin: str) -> list[Outgoing]:
        """A whole mail is written down first, so that from here on it is sent once like any other."""
        context = {"subject": mail.subject, "body": mail.body}
        new = NewMail(f"message/{origin}", WHOLE, mail.to, context, cc=mail.cc, bcc=mail.bcc, topic=Topic.MESSAGE)
        return mails_out([self.mails.add(new, self.clock())])

    def _claim_and_send(self, message: EmailMessage, mail_id: int, origin: str) -> list[Outgoing]:
        now = self.clock()
        is_ours = self.mails.claim(mail_id, origin, now + CLAIM, now, failed_too=message.envelope.replayed)
        stored = self.mails.get(mail_id)
        if stored is None:
            raise MessageError(f"there is no mail {mail_id}")
        # Sent, or another message has it: should that one's sender die, it comes again under the same id and goes on
        # with its claim; should it be lost, the watchdog finds the claim that has expired.
        return self._send(message, stored, origin) if is_ours else []

    def _send(self, message: EmailMessage, stored: StoredMail, origin: str) -> list[Outgoing]:
        try:
            prepared, notes = self._prepared(stored)
            sent_as = SentAs(origin, self.mailer.send(prepared))
        except NeverError as error:
            return self._failed(stored, origin, error.reason)
        except LaterError as error:
            return self._put_off(message, stored, origin, error)
        # Should the database be away: what comes back must only mark the mail, never send it again.
        wanted = self._mark(replace(message, email_id=stored.id, sent_as=sent_as), sent_as, notes)
        event("mail_sent", mail=stored.id, key=stored.mail.key)
        return wanted

    def _mark(self, message: EmailMessage, sent_as: SentAs, notes: str | None = None) -> list[Outgoing]:
        try:
            self.mails.mark_sent(message.email_id or 0, sent_as.claimant, sent_as.receipt, notes, self.clock())
        except LaterError:
            return self.retry.put_back(message, self.clock() + MARK_AGAIN)
        return []

    def _prepared(self, stored: StoredMail) -> tuple[OutgoingMail, str | None]:
        """The mail with its valid recipients, and a note on those that were left out. Raises NeverError."""
        mail = stored.mail
        addressed = mail.to or (self.operators.addresses if mail.template == NOTICE else ())
        to, bad_to = self.valid_addresses(addressed)
        cc, bad_cc = self.valid_addresses(mail.cc)
        bcc, bad_bcc = self.valid_addresses(mail.bcc)
        bad = [*bad_to, *bad_cc, *bad_bcc]
        context = dict(mail.context)
        # An alert's blind copies are not the people whom it is for; those of a whole mail may be all it is for.
        if not (to or cc or (bcc and mail.template == WHOLE)):
            to = self._operators_instead(mail, bad)
            context["undeliverable"] = [list(entry) for entry in bad] or [["(none)", "the project has no contact"]]
        elif not to:
            to, cc = cc, ()
        rendered = self.renderer(mail.template, mail.language, context)
        notes = "; ".join(f"left out {address!r}: {reason}" for address, reason in bad) or None
        return OutgoingMail(stored.message_id, to, **asdict(rendered), cc=cc, bcc=bcc), notes

    def _operators_instead(self, mail: NewMail, bad: list[tuple[str, str]]) -> tuple[str, ...]:
        to, _ = self.valid_addresses(self.operators.addresses)
        if not to:
            why = "; ".join(f"{address!r}: {reason}" for address, reason in bad) or "it names nobody"
            raise NeverError(f"mail {mail.key} has no valid recipient ({why}), and EMAIL_OPERATORS has none either")
        return to

    def _failed(self, stored: StoredMail, origin: str, reason: str) -> list[Outgoing]:
        now = self.clock()
        event("mail_failed", level=logging.ERROR, mail=stored.id, key=stored.mail.key, reason=reason)
        self.dead_letters.give_up(EmailMessage(email_id=stored.id), reason, f"mail/{stored.id}/{origin}")
        about = self.operators.mail_failed(stored.id, stored.mail.key, reason, now.date())
        told = self.mails.add(about, now) if stored.mail.template != NOTICE else None
        self.mails.mark_failed(stored.id, origin, reason)
        return mails_out([] if told is None else [told])

    def _put_off(self, message: EmailMessage, stored: StoredMail, origin: str, error: LaterError) -> list[Outgoing]:
        return self.retry.later(
            message,
            error,
            "mail",
            since=stored.first_attempt_at,
            limit=MAIL_LIMIT,
            give_up=lambda reason: self._failed(stored, origin, reason),
            note=lambda reason, due_at: self.mails.release(stored.id, origin, reason, due_at),
            mail=stored.id,
        )
