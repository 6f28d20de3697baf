"""EmailNotificationHandler: claims a mail, sends it, marks it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from shared.domain.budgets import ALL_OF_IT
from shared.domain.deliveries import (
    Delivery,
    DeliveryState,
    Role,
    all_final,
    has_arrived,
    in_words,
    is_for,
    merged,
    missing,
    refused,
    taken,
)
from shared.domain.texts import digest, shortened
from shared.messages import EmailMessage, EmailsMessage, MailMessage, MessageError, SentAs, with_room
from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.events import event, log
from shared.pipeline.operators import NOTICE, Operators
from shared.pipeline.stage import MAIL_LIMIT, MARK_COMES_FIRST, Outgoing, Retry, given_up, growing_wait, mails_out
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import (
    AddressCheck,
    Mailer,
    MailLedger,
    MailRenderer,
    NewMail,
    OutgoingMail,
    Refusal,
    StoredMail,
    Topic,
)

# Longer than a function may run (functionTimeout in host.json): nobody is at it any more when a claim expires.
CLAIM = timedelta(minutes=15)
# A message that waits for a claim to be over comes so much later.
A_MOMENT = timedelta(seconds=1)
# A mail whose sender died this often is given up: it may be what kills them.
MOST_DEATHS = 5
# How long a message about several mails goes on with the next one: far less than a function may run.
TIME_FOR_MANY = timedelta(minutes=2)
# The template of a mail that came whole, in a message.
WHOLE = "whole"
# How soon the mark of a mail that went out is tried again: while it is missing, the mail looks unsent.
MARK_AGAIN = timedelta(seconds=30)
# Of all reasons together, in the message that only marks a mail: it must fit onto its queue.
ROOM_FOR_REASONS = 8000


HandedOver = tuple[list[Delivery], str]
"""What became of a mail for those who were asked, and the provider's receipt"""


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Sends each mail once, or says why it can't be sent. private: each recipient gets a mail of their own."""

    mails: MailLedger
    mailer: Mailer
    renderer: MailRenderer
    valid_addresses: AddressCheck
    dead_letters: DeadLetters
    operators: Operators
    retry: Retry
    clock: Clock
    private: bool = False
    reply_to: str = ""

    def deliver(self, message: EmailMessage, origin: str) -> list[Outgoing]:
        """One e-mail message. origin: the queue message's id, under which the mail is claimed.

        Raises MessageError where the message can't be right.
        """
        try:
            if message.mail is not None:
                return self._accept(message.mail, origin)
            if message.sent_as is not None:
                return self._note(message, self._stored(message), message.sent_as)
            return self._claim_and_send(message, origin)
        except LaterError as error:
            # The database is away: nothing can be noted, the message waits.
            if message.sent_as is not None:
                return self.retry.put_back(message, self.clock() + MARK_AGAIN)
            return self.retry.later(replace(message, claimant=None), error, "mail", mail=message.email_id)

    def deliver_each(self, message: EmailsMessage, origin: str) -> Iterator[Outgoing]:
        """One message about several mails: whatever becomes of one, the others are sent.

        Those that the time does not reach get a message of their own. What a mail wants sent goes before the next mail:
        a process that dies on the next must not lose what one's provider said.
        """
        until = self.clock() + TIME_FOR_MANY
        for number, mail_id in enumerate(message.email_ids):
            if number and self.clock() >= until:
                yield from mails_out(message.email_ids[number:])
                return
            yield from self._one_of_many(EmailMessage(mail_id, envelope=message.envelope), mail_id, origin)

    def _one_of_many(self, message: EmailMessage, mail_id: int, origin: str) -> list[Outgoing]:
        try:
            return self.deliver(message, origin)
        except MessageError as error:
            self.dead_letters.give_up(message, str(error), f"{origin}/{mail_id}")
            return []
        except Exception:  # noqa: BLE001 - alone, the error goes to the host
            log.exception("mail_split mail=%s", mail_id)
            return [Outgoing(EmailMessage(mail_id))]

    def _accept(self, mail: MailMessage, origin: str) -> list[Outgoing]:
        """A whole mail is written down first, so that from here on it is sent once like any other."""
        context = {"subject": mail.subject, "body": mail.body, "attachments": list(mail.attachments)}
        new = NewMail(f"message/{origin}", WHOLE, mail.to, context, cc=mail.cc, bcc=mail.bcc, topic=Topic.MESSAGE)
        return mails_out([self.mails.add(new, self.clock())])

    def _stored(self, message: EmailMessage) -> StoredMail:
        stored = self.mails.get(message.email_id or 0)
        if stored is None:
            raise MessageError(f"there is no mail {message.email_id}")
        return stored

    def _claim_and_send(self, message: EmailMessage, origin: str) -> list[Outgoing]:
        now, mail_id, former = self.clock(), message.email_id or 0, message.claimant
        asked = message.envelope
        is_ours = self.mails.claim(
            mail_id,
            origin,
            now + CLAIM,
            now,
            former=former,
            asked_at=asked.first_queued_at or now if asked.replayed else None,
            rest=MARK_COMES_FIRST,
        )
        stored = self._stored(message)
        if not is_ours:
            return self._wait(message, stored, origin)
        if former is not None and message.envelope.attempt >= MOST_DEATHS:
            return self._failed(stored, origin, f"{MOST_DEATHS} times the app ended while it was sending it")
        try:
            return self._send(replace(message, claimant=None), stored, origin)
        except LaterError:
            raise
        except Exception:
            with suppress(LaterError):
                self.mails.release(mail_id, origin, "it broke its message", now)
            raise

    def _wait(self, message: EmailMessage, stored: StoredMail, origin: str) -> list[Outgoing]:
        """The mail is sent, or claimed: by another message, which comes again should its sender die (should it be lost,
        the watchdog finds the claim that has expired), or by this one, whose sender may be dead, or at it still.
        """
        is_claimed = stored.claimant is not None and stored.claimant in (origin, message.claimant)
        if stored.claimed_until is None or not is_claimed:
            return []
        # From here on, its attempts count the senders that died.
        dead = message.envelope.attempt if message.claimant else 0
        if stored.claimant == message.claimant:  # it waits for this one already, and has come a moment early
            dead -= 1
        waiting = replace(message, claimant=stored.claimant, envelope=replace(message.envelope, attempt=dead))
        return self.retry.put_back(waiting, stored.claimed_until + A_MOMENT)

    def _send(self, message: EmailMessage, stored: StoredMail, origin: str) -> list[Outgoing]:
        try:
            asked, left_out = self._recipients(stored)
            mail = replace(self._written(stored, asked, left_out), asked_again=message.envelope.replayed)
        except NeverError as error:
            return self._failed(stored, origin, error.reason)
        try:
            said, receipt = (self._hand_over_each if self.private else self._hand_over)(stored, mail, asked)
        except NeverError as error:
            _tell_handed_over(stored, refused=len(asked))
            if _is_notice(stored):
                return self._put_off(message, stored, origin, LaterError(error.reason))
            return self._failed(stored, origin, error.reason)
        except LaterError as error:
            _tell_handed_over(stored, refused_for_now=len(asked))
            return self._put_off(message, stored, origin, error)
        states = Counter(each.state for each in said)
        _tell_handed_over(
            stored, states[DeliveryState.TAKEN], states[DeliveryState.LATER], states[DeliveryState.REFUSED]
        )
        # Should the database be away: what comes back must only note this, never send the mail again.
        sent_as = SentAs(origin, receipt, _with_short_reasons([*said, *left_out]))
        return self._note(replace(message, email_id=stored.id, sent_as=sent_as), stored, sent_as)

    def _hand_over(self, _stored: StoredMail, mail: OutgoingMail, asked: Sequence[Delivery]) -> HandedOver:
        """What the provider says of each, and its receipt. Raises LaterError and NeverError."""
        handover = self.mailer.send(mail)
        # One address may be there twice, in other letters: it is asked, and refused, once.
        refusals = {address.casefold(): refusal for address, refusal in handover.refused.items()}
        return [_answered(each, refusals.get(each.recipient.casefold())) for each in asked], handover.receipt

    def _hand_over_each(self, stored: StoredMail, mail: OutgoingMail, asked: Sequence[Delivery]) -> HandedOver:
        """One mail to each address. Raises LaterError and NeverError where nobody has been asked."""
        first, *others = _by_address(asked)
        until = self.clock() + TIME_FOR_MANY
        said, receipt = self._hand_over(stored, _private(mail, first), first)
        for place, its in enumerate(others):
            try:
                # Whoever has it must not get it again, should this process die on the next.
                self.mails.note(stored.id, said)
                if self.clock() >= until:
                    return [*said, *_still_to_come(others[place:], "its turn is still to come")], receipt
                answer, receipt = self._hand_over(stored, _private(mail, its), its)
            except NeverError as error:
                answer = [_answered(each, Refusal(error.reason, for_good=True)) for each in its]
            except LaterError as error:
                return [*said, *_still_to_come(others[place:], error.reason)], receipt
            said += answer
        return said, receipt

    def _note(self, message: EmailMessage, stored: StoredMail, sent_as: SentAs) -> list[Outgoing]:
        """Notes what the provider said of each recipient; whoever is missing is asked again."""
        now = self.clock()
        known = merged(stored.deliveries, sent_as.deliveries)
        is_waited_for = _is_notice(stored) and not has_arrived(known, _is_whole(stored))
        if not is_waited_for and self.retry.is_over(stored.first_attempt_at, MAIL_LIMIT):
            known = all_final(known, lambda reason: given_up(LaterError(reason), MAIL_LIMIT))
        untold = missing(known)
        try:
            if untold:
                due_at = now + growing_wait(message.envelope.attempt)
                self.mails.release(stored.id, sent_as.claimant, in_words(untold), due_at, known)
                event("mail_deferred", level=logging.WARNING, mail=stored.id, recipients=len(untold))
                return self.retry.put_back(replace(message, sent_as=None), due_at)
            # A message of earlier versions says only that the mail is sent.
            if known and not has_arrived(known, _is_whole(stored)):
                return self._refused_by_all(message, stored, sent_as.claimant, known)
            self.mails.mark_sent(stored.id, sent_as.receipt, known, now)
        except LaterError:
            return self.retry.put_back(_that_fits(message), now + MARK_AGAIN)
        waited = (now - stored.made_at).total_seconds() if stored.made_at else None
        event("mail_sent", mail=stored.id, key=stored.mail.key, seconds=waited)
        return []

    def _refused_by_all(
        self, message: EmailMessage, stored: StoredMail, claimant: str, known: Sequence[Delivery]
    ) -> list[Outgoing]:
        """The operators are asked instead. Where they are refused too, it is rather us whom the provider refuses.

        Whatever its words: then it waits, as for a provider that is down, and all are asked anew.
        """
        is_over = self.retry.is_over(stored.first_attempt_at, MAIL_LIMIT)
        is_of_us = _is_notice(stored) or not (is_over or self._operators_unasked(known))
        due_at = self.clock() + (growing_wait(message.envelope.attempt) if is_of_us else timedelta(0))
        kept = taken(known) if is_of_us else known
        self.mails.release(stored.id, claimant, in_words(refused(known)), due_at, kept, anew=is_of_us)
        event("mail_refused_by_all", level=logging.WARNING, mail=stored.id)
        return self.retry.put_back(replace(message, sent_as=None), due_at)

    def _recipients(self, stored: StoredMail) -> tuple[list[Delivery], list[Delivery]]:
        """Who is asked now, and whose address is none. Raises NeverError where nobody is left."""
        mail = stored.mail
        addressed = mail.to or (self.operators.addresses if _is_notice(stored) else ())
        asked, left_out = [], []
        for role, texts in ((Role.TO, addressed), (Role.CC, mail.cc), (Role.BCC, mail.bcc)):
            valid, invalid = self.valid_addresses(texts)
            asked += [Delivery(address, role, DeliveryState.LATER) for address in valid]
            left_out += [Delivery(text, role, DeliveryState.REFUSED, reason) for text, reason in invalid]
        asked = _unsettled(asked, stored.deliveries)
        if not has_arrived(stored.deliveries, _is_whole(stored)) and not any(
            is_for(each, _is_whole(stored)) for each in asked
        ):
            asked += self._operators_instead(stored, left_out)
        return asked, left_out

    def _operators_instead(self, stored: StoredMail, left_out: Sequence[Delivery]) -> list[Delivery]:
        asked = self._operators_unasked(stored.deliveries)
        if not asked:
            why = in_words(_unreached(stored, left_out)) or "it names nobody"
            raise NeverError(f"mail {stored.mail.key} reaches nobody ({why}), and none of EMAIL_OPERATORS either")
        return asked

    def _operators_unasked(self, known: Sequence[Delivery]) -> list[Delivery]:
        valid, _ = self.valid_addresses(self.operators.addresses)
        return _unsettled([Delivery(address, Role.INSTEAD, DeliveryState.LATER) for address in valid], known)

    def _written(self, stored: StoredMail, asked: Sequence[Delivery], left_out: Sequence[Delivery]) -> OutgoingMail:
        """The mail to those who are asked now. Raises NeverError."""
        mail, context = stored.mail, dict(stored.mail.context)
        if any(each.role is Role.INSTEAD for each in asked):
            context["undeliverable"] = [[each.recipient, each.reason] for each in _unreached(stored, left_out)]
        to, cc, bcc = (
            tuple(each.recipient for each in asked if each.role in roles)
            for roles in ((Role.TO, Role.INSTEAD), (Role.CC,), (Role.BCC,))
        )
        if not to:
            to, cc = cc, ()
        rendered = asdict(self.renderer(mail.template, mail.language, context))
        urgent = mail.threshold is not None and mail.threshold >= ALL_OF_IT
        everybody = tuple(sorted({each.recipient.strip() for each in (*stored.deliveries, *asked, *left_out)}))
        of_it: dict[str, Any] = {"cc": cc, "bcc": bcc, "everybody": everybody, "reply_to": self.reply_to}
        return OutgoingMail(stored.message_id, to, **rendered, **of_it, urgent=urgent)

    def _failed(self, stored: StoredMail, origin: str, reason: str) -> list[Outgoing]:
        if (self.mails.get(stored.id) or stored).mail.is_forgotten:
            self.mails.mark_failed(stored.id, origin, "whom it was for was forgotten")
            return []
        now = self.clock()
        event("mail_failed", level=logging.ERROR, mail=stored.id, key=stored.mail.key, reason=reason)
        self.dead_letters.give_up(EmailMessage(email_id=stored.id), reason, f"mail/{stored.id}/{origin}")
        about = self.operators.mail_failed(stored.id, _about(stored.mail), reason, now.date())
        told = self.mails.add(about, now) if not _is_notice(stored) else None
        self.mails.mark_failed(stored.id, origin, reason)
        return mails_out([] if told is None else [told])

    def _put_off(self, message: EmailMessage, stored: StoredMail, origin: str, error: LaterError) -> list[Outgoing]:
        return self.retry.later(
            message,
            error,
            "mail",
            since=stored.first_attempt_at,
            limit=MAIL_LIMIT,
            give_up=None if _is_notice(stored) else lambda reason: self._failed(stored, origin, reason),
            note=lambda reason, due_at: self.mails.release(stored.id, origin, reason, due_at),
            mail=stored.id,
        )


def _tell_handed_over(stored: StoredMail, taken: int = 0, refused_for_now: int = 0, refused: int = 0) -> None:
    """What the provider said of how many recipients."""
    event("mail_handed_over", mail=stored.id, taken=taken, refused_for_now=refused_for_now, refused=refused)


def _by_address(asked: Sequence[Delivery]) -> list[list[Delivery]]:
    """Who gets the mail in several roles, or in other letters, gets one."""
    found: dict[str, list[Delivery]] = {}
    for each in asked:
        found.setdefault(each.recipient.casefold(), []).append(each)
    return list(found.values())


def _private(mail: OutgoingMail, its: Sequence[Delivery]) -> OutgoingMail:
    """The mail to one address alone, with an id of its own: always the same."""
    address = its[0].recipient
    left, at, domain = mail.message_id.rpartition("@")
    return replace(mail, message_id=f"{left}.{digest(address)}{at}{domain}", to=(address,), cc=(), bcc=())


def _still_to_come(left: Sequence[Sequence[Delivery]], reason: str) -> list[Delivery]:
    return [replace(each, reason=reason) for its in left for each in its]


def _about(mail: NewMail) -> str:
    """What a mail is about, with its project's name, for operators: `DIE1: alert, 80 %`."""
    threshold = f", {mail.threshold} %" if mail.threshold is not None else ""
    acronym = mail.context.get("acronym")
    return f"{acronym}: {mail.topic}{threshold}" if acronym else mail.key


def _is_notice(stored: StoredMail) -> bool:
    """What operators are told is never given up: it must outlive the outage of which it tells."""
    return stored.mail.template == NOTICE


def _is_whole(stored: StoredMail) -> bool:
    """An alert's blind copies are not the people whom it is for; those of a whole mail may be all it is for."""
    return stored.mail.template == WHOLE


def _unsettled(asked: Sequence[Delivery], known: Sequence[Delivery]) -> list[Delivery]:
    """Those of whom it is not known yet what became of the mail."""
    settled = {each.key for each in known if each.state is not DeliveryState.LATER}
    return [each for each in asked if each.key not in settled]


def _unreached(stored: StoredMail, left_out: Sequence[Delivery]) -> list[Delivery]:
    """Whom the mail is for, and does not reach."""
    known = refused(merged(stored.deliveries, left_out))
    return [each for each in known if is_for(each, _is_whole(stored)) and each.role is not Role.INSTEAD]


def _answered(asked: Delivery, refusal: Refusal | None) -> Delivery:
    if refusal is None:
        return replace(asked, state=DeliveryState.TAKEN)
    state = DeliveryState.REFUSED if refusal.for_good else DeliveryState.LATER
    return replace(asked, state=state, reason=refusal.reason)


def _that_fits(message: EmailMessage) -> EmailMessage:
    """Of thousands of recipients it does not travel who is missing: rather that than the mail sent to all again."""
    try:
        return with_room(message)
    except MessageError:
        return replace(message, sent_as=message.sent_as and replace(message.sent_as, deliveries=()))


def _with_short_reasons(deliveries: Sequence[Delivery]) -> tuple[Delivery, ...]:
    longest = ROOM_FOR_REASONS // max(len(deliveries), 1)
    return tuple(replace(each, reason=each.reason and shortened(each.reason, longest)) for each in deliveries)
