"""Mails: rendering, sending, and the rows that make each go out once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from shared.domain.deliveries import Delivery
from shared.domain.texts import fitting, storable

LONGEST_RECEIPT = 200


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A mail as it goes to the provider: valid addresses, one-line subject. message_id: `<…@…>`, always the same.

    urgent: mail programs are to show that it is important. reply_to: where answers go; to the sender if empty.
    everybody: whom it is for in all, always in the same order, with those who have it already or were refused: who has
    to hand it over in parts makes the same ones each time. asked_again: by a person, so that a refusal from
    before may be over.
    """

    message_id: str
    to: tuple[str, ...]
    subject: str
    text: str
    html: str
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    urgent: bool = False
    reply_to: str = ""
    everybody: tuple[str, ...] = ()
    asked_again: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a recipient does not get a mail, in the words of who says so. for_good: the address does not work."""

    reason: str
    for_good: bool

    def __post_init__(self) -> None:
        """Whatever was said, a database takes it."""
        object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True)
class Handover:
    """What a provider made of a mail. receipt: an id, may be empty. refused: who does not get it; all others do."""

    receipt: str = ""
    refused: Mapping[str, Refusal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Whatever the id is, a database takes it."""
        object.__setattr__(self, "receipt", fitting(self.receipt, LONGEST_RECEIPT))


class Mailer(Protocol):
    """A mail provider."""

    def check(self) -> str:
        """Whether it would take mail from us, as far as can be told without one; says what was seen.

        Raises LaterError and NeverError.
        """
        ...

    def send(self, mail: OutgoingMail) -> Handover:
        """Hands it over, to those whom it does not refuse.

        Where it refuses the mail, it refuses all of them. Raises LaterError where it takes no mail now: it is out of
        reach or busy, or it refuses *us* before it hears of a recipient (the sign-in, the sender, a quota), or in words
        that say so. Raises NeverError where there is nothing that could be handed over.
        """
        ...


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """A mail's contents: one-line subject, plain text, HTML with every value escaped."""

    subject: str
    text: str
    html: str


AddressCheck = Callable[[Iterable[str]], tuple[tuple[str, ...], tuple[tuple[str, str], ...]]]
"""Texts in; out come the valid addresses, each once, and the other texts with the reason."""
MailRenderer = Callable[[str, str | None, Mapping[str, Any]], RenderedMail]
"""From a template, a language (`en`, `fr`; None: both) and the context that its folder says. Raises NeverError."""


class Topic(StrEnum):
    """What a mail is about. Its subject (of which project, revision, period, threshold) stands next to it."""

    ALERT = "alert"
    EARLY_WARNING = "early-warning"
    LOCK = "lock"
    COSTS_FAILED = "costs-failed"
    CHECKS_FAILED = "checks-failed"
    LATE_RUN = "late-run"
    NO_NIGHT = "no-night"
    DEAD_LETTERS = "dead-letters"
    MAILS_FAILED = "mails-failed"
    NO_BUDGET = "no-budget"
    CURRENCY = "currency"
    AZURE_BUDGETS = "azure-budgets"
    MESSAGE = "message"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail to be sent once. `key` names it for good: a second mail with the same key is not made.

    Nobody reads a key, but for whose copy a mail is: topic, project, budget revision, period and threshold say what
    the mail is about.
    context: what the template needs: JSON values, amounts and days as text. run_key: the run that it comes from.
    """

    key: str
    template: str
    to: tuple[str, ...]
    context: Mapping[str, Any]
    topic: Topic = field(kw_only=True)
    language: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    project_id: int | None = None
    budget_number: int | None = None
    period_start: date | None = None
    threshold: int | None = None
    run_key: str | None = None

    @property
    def is_forgotten(self) -> bool:
        """Whether what it said, and to whom, was forgotten with its project's people (`ProjectLedger.forget`)."""
        return not (self.to or self.context)


def key_of_copies(mail_id: int | str = "") -> str:
    """How the keys of a mail's copies begin, which a person had sent; those of all copies without one."""
    return f"again/{mail_id}/" if mail_id else "again/"


class MailState(StrEnum):
    """How far a mail is."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail in the database."""

    id: int
    mail: NewMail
    state: MailState
    message_id: str
    attempts: int
    first_attempt_at: datetime | None
    claimant: str | None
    claimed_until: datetime | None
    reason: str | None = None
    sent_at: datetime | None = None
    deliveries: tuple[Delivery, ...] = ()
    """what is known of its recipients, since it was first handed over"""
    made_at: datetime | None = None
    discarded_at: datetime | None = None
    """when an operator put it aside"""


@dataclass(frozen=True, slots=True)
class MailView:
    """A mail as listed. acronym: of its project. made_at: when it was written; due_at: when it is tried next."""

    stored: StoredMail
    acronym: str | None
    made_at: datetime
    due_at: datetime


class MailLedger(Protocol):
    """Mails to be sent, each once."""

    def note(self, mail_id: int, deliveries: Sequence[Delivery]) -> None:
        """What became of it for some of its recipients, while it is being sent."""
        ...

    def add(self, mail: NewMail, now: datetime) -> int:
        """Writes the mail, or finds the one with its key; returns its id."""
        ...

    def get(self, mail_id: int) -> StoredMail | None:
        """The mail as it stands."""
        ...

    def find(self, key: str) -> int | None:
        """The id of the mail with this key, if there is one."""
        ...

    def made(self, topic: Topic, since: datetime) -> list[NewMail]:
        """The mails on this topic that were written since then, oldest first."""
        ...

    def listed(self, project_id: int | None, limit: int, unsent: bool = False) -> list[MailView]:
        """The last mails, newest first: of one project, or all. unsent: only those that not all have for whom they are,
        or nobody yet; not those that were put aside, nor those whose copies (`key_of_copies`) made up for it
        (`is_made_up_for`)."""
        ...

    def claim(
        self,
        mail_id: int,
        claimant: str,
        until: datetime,
        now: datetime,
        *,
        former: str | None = None,
        asked_at: datetime | None = None,
        rest: timedelta = timedelta(0),
    ) -> bool:
        """Takes the mail, so that nobody else sends it before `until`; counts an attempt. False where it can't be had.

        Taken if it is pending, or if the claim on it has expired. `asked_at`: when a person asked for it; then also if
        it had failed, unless it was put aside (`discard`) after that: its attempts count from the start, and whoever
        did not get it is asked again. `rest`: an expired claim of another than itself and `former` only
        after it was queued again (`mark_requeued`) this long ago.
        """
        ...

    def mark_sent(self, mail_id: int, receipt: str, deliveries: Sequence[Delivery], now: datetime) -> None:
        """It has been sent. That is a fact: whoever holds the mail now, and though it was put aside."""
        ...

    def release(
        self,
        mail_id: int,
        claimant: str,
        reason: str,
        due_at: datetime,
        deliveries: Sequence[Delivery] = (),
        *,
        anew: bool = False,
    ) -> None:
        """It could not be sent now, or not to all, and is tried again at `due_at`, if the claimant still holds it.

        Of the recipients, what is known stays known either way; anew: but for those who were refused before.
        """
        ...

    def mark_failed(self, mail_id: int, claimant: str, reason: str) -> None:
        """It can't be sent. Only the claimant's word counts."""
        ...

    def discard(self, mail_ids: Sequence[int] | None, reason: str, now: datetime) -> list[int]:
        """Puts aside those of these mails that somebody lacks, or all (None) that wait to be sent; returns which.

        They are unsent no more, and what waited has failed, whether it was to be sent or whoever was sending it is dead
        (the claim has expired). Whoever asks for one again later (`claim` with asked_at) has it sent.
        """
        ...

    def stuck(self, before: datetime) -> list[int]:
        """Mails that are pending and were due before `before`."""
        ...

    def abandoned(self, before: datetime) -> list[int]:
        """Mails whose claim expired before `before`, and that were not queued again since."""
        ...

    def mark_requeued(self, mail_ids: Sequence[int], now: datetime) -> None:
        """These were queued again now: they count as stuck or abandoned only after another while."""
        ...
