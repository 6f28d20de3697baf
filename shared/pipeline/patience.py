"""What happens to work that can't be done now: it waits on its queue, and nobody sleeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.messages import Message, Queue, put_back
from shared.ports.clock import Clock
from shared.ports.errors import LaterError
from shared.ports.queues import MessageSender

FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=30)
# The waits of many messages that failed together spread over this share of their length.
JITTER = 0.2

WORK_PATIENCE = timedelta(hours=24)
MAIL_PATIENCE = timedelta(hours=72)


def growing_wait(attempt: int) -> timedelta:
    """30 s for the first attempt (0), twice that for each further one, up to 30 minutes."""
    doublings: int = min(attempt, 10)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def wait_after(error: LaterError, attempt: int, chance: float) -> timedelta:
    """How long to wait: what the other side asked for, else growing; up to a fifth more. chance: 0 to 1."""
    wait = error.wait if error.wait is not None else growing_wait(attempt)
    return wait * (1 + JITTER * chance)


@dataclass(frozen=True, slots=True)
class Patience:
    """Puts messages back. chance: gives a number from 0 to 1, for the jitter."""

    sender: MessageSender
    clock: Clock
    chance: Callable[[], float]

    def due_after(self, error: LaterError, attempt: int) -> datetime:
        """When work that met `error` is to be tried again."""
        return self.clock() + wait_after(error, attempt, self.chance())

    def is_over(self, first_queued_at: datetime | None, limit: timedelta) -> bool:
        """Whether the work has been waiting for `limit` since it was first queued."""
        return first_queued_at is not None and self.clock() - first_queued_at >= limit

    def put_back(self, queue: Queue, message: Message, due_at: datetime) -> None:
        """Queues the copy of a message that is tried again at `due_at`. Raises LaterError, NeverError."""
        now = self.clock()
        self.sender.send(queue, put_back(message, now), due_at - now)
