"""What a stage hands on."""

from __future__ import annotations

from dataclasses import dataclass

from shared.messages import EmailMessage, LockMessage, NotificationMessage, UpdateMessage


@dataclass(frozen=True, slots=True)
class NextMessages:
    """The messages that a stage wants on the queues once it is through."""

    updates: tuple[UpdateMessage, ...] = ()
    notifications: tuple[NotificationMessage, ...] = ()
    emails: tuple[EmailMessage, ...] = ()
    locks: tuple[LockMessage, ...] = ()


NOTHING = NextMessages()
