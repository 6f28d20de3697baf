"""Messages that failed for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.messages import Queue


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that failed for good: which queue it was on, what it said, and why it failed."""

    id: int
    queue: str
    body: str
    reason: str
    at: datetime
    replayed_at: datetime | None = None


class DeadLetterLedger(Protocol):
    """Messages that failed for good."""

    def record(self, queue: Queue, body: str, reason: str, origin: str, now: datetime) -> int:
        """Keeps a message; `origin` (the queue message's id) makes a second record of it the same one."""
        ...

    def letters(self, replayed_too: bool = False) -> list[DeadLetter]:
        """The dead letters, oldest first; those that were replayed only if asked for."""
        ...

    def get(self, letter_id: int) -> DeadLetter | None:
        """One dead letter."""
        ...

    def mark_replayed(self, letter_id: int, now: datetime) -> None:
        """Its message has been queued again."""
        ...
