"""Messages that failed for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.messages import Queue

# So many messages a day that name nobody are kept.
STRANGERS = 100


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that failed for good: which queue it was on, what it said, and why it failed.

    It waits for an operator until it is replayed or discarded.
    """

    id: int
    queue: str
    body: str
    reason: str
    at: datetime
    replayed_at: datetime | None = None
    discarded_at: datetime | None = None
    discarded_by: str | None = None
    discard_reason: str | None = None


class DeadLetterLedger(Protocol):
    """Messages that failed for good."""

    def record(self, queue: Queue, body: str, reason: str, origin: str, now: datetime) -> tuple[int, bool]:
        """Keeps a message; `origin` (the queue message's id) makes a second record of it the same one.

        Returns its id, and whether it is new.
        """
        ...

    def record_stranger(self, queue: Queue, body: str, reason: str, origin: str, now: datetime) -> bool:
        """Keeps a message that names nobody, as anybody can make them up: STRANGERS a day, and of the rest how many.

        The rest of a day is one letter, whose body is that of the last, with `More`: how many.
        Returns whether it is new.
        """
        ...

    def letters(self, replayed_too: bool = False) -> list[DeadLetter]:
        """The dead letters that wait, oldest first; those that were replayed or discarded only if asked for."""
        ...

    def get(self, letter_id: int) -> DeadLetter | None:
        """One dead letter."""
        ...

    def mark_replayed(self, letter_id: int, now: datetime) -> None:
        """Its message has been queued again."""
        ...

    def discard(self, letter_id: int, by: str, reason: str, now: datetime) -> None:
        """An operator wants nothing to become of it. One that was discarded before stays as it is."""
        ...

    def untold(self) -> list[DeadLetter]:
        """Those that wait, and of which no mail has told the operators; oldest first."""
        ...

    def mark_told(self, letter_ids: Sequence[int], now: datetime) -> None:
        """A mail tells the operators of these."""
        ...
