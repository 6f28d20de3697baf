"""What people change: noted in the very transaction that changes it, and read as one history, the audit.

Who acts is known where somebody comes in (the command line, a call by HTTP); what is changed, by the service that has
it done. A ledger's method takes neither: the first transaction that is written while a change is `noted` writes it down
too, so that there is no change without its note, and no note of what was taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Via(StrEnum):
    """How somebody came in. APP: nobody did; the app does it by itself."""

    APP = "app"
    COMMAND_LINE = "command-line"
    API = "api"
    PAGE = "page"


class Action(StrEnum):
    """What was done."""

    PROJECT_ADDED = "project-added"
    PROJECT_CHANGED = "project-changed"
    PROJECT_FORGOTTEN = "project-forgotten"
    BUDGET_REVISED = "budget-revised"
    LOCK_ORDERED = "lock-ordered"
    UNLOCK_ORDERED = "unlock-ordered"
    LOCK_DECIDED = "lock-decided"
    DEAD_LETTER_REPLAYED = "dead-letter-replayed"
    DEAD_LETTER_DISCARDED = "dead-letter-discarded"
    MAIL_RESENT = "mail-resent"
    MAILS_DISCARDED = "mails-discarded"
    CLOUD_ACCOUNT_ADDED = "cloud-account-added"
    CLOUD_ACCOUNT_CHANGED = "cloud-account-changed"
    CLOUD_ACCOUNT_DISABLED = "cloud-account-disabled"
    CLOUD_ACCOUNT_ENABLED = "cloud-account-enabled"
    CLOUD_ACCOUNT_REMOVED = "cloud-account-removed"
    CREDENTIALS_GIVEN = "credentials-given"
    CREDENTIALS_REMOVED = "credentials-removed"
    CREDENTIALS_RESEALED = "credentials-resealed"
    EXPORT_USED = "export-used"
    ALLOCATION_LOADED = "allocation-loaded"
    ALLOCATION_ENDED = "allocation-ended"
    RATE_FIXED = "rate-fixed"
    SYNC_ORDERED = "sync-ordered"
    SIGNED_IN = "signed-in"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. id: Entra's object id, where somebody signed in."""

    name: str
    via: Via
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is changed. subject: what it is about, for people: a project's acronym, `cloud account 7`.

    by: who, where that is not who acts. details: JSON values, amounts as texts; no contact's address, no secret.
    """

    action: Action
    subject: str
    at: datetime
    project_id: int | None = None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    by: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeView:
    """A change as it is kept. id: the later one has the higher."""

    id: int
    at: datetime
    by: str
    by_id: str | None
    via: Via
    action: Action
    subject: str
    project_id: int | None
    reason: str
    details: Mapping[str, Any]


THE_APP = Actor("Budget Warden", Via.APP)
_acting: ContextVar[Actor] = ContextVar("acting", default=THE_APP)
_noted: ContextVar[list[Change] | None] = ContextVar("noted", default=None)


def act_as(actor: Actor) -> None:
    """Whatever is changed from here on, in this command or call, this one changes."""
    _acting.set(actor)


def acting() -> Actor:
    """Who acts now; the app itself, where nobody came in."""
    return _acting.get()


@contextmanager
def noted(*changes: Change) -> Iterator[list[Change]]:
    """While it lasts, the first transaction that is written holds these changes too, and what is added to the list.

    It is added to before, or within the transaction: by what is asked in its course, such as a load's consent.
    """
    pending = list(changes)
    token = _noted.set(pending)
    try:
        yield pending
    finally:
        _noted.reset(token)


def pending() -> list[Change]:
    """The changes that a transaction is to hold, and takes from here once it has ended well."""
    return _noted.get() or []


class ChangeLedger(Protocol):
    """The audit. Rows are only ever added."""

    def changes(self, after: int | None, limit: int, project_id: int | None = None) -> list[ChangeView]:
        """Changes in the order of their ids: the first `limit` with a higher one than `after`, or else the last ones.

        project_id: only those of this project.
        """
        ...

    def signed_in(self, actor: Actor, at: datetime) -> None:
        """Notes, once for each UTC day, that an operator used the app by a sign-in."""
        ...
