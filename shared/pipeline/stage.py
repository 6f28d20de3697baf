"""What every stage has in common: the messages that it wants sent, and what becomes of work that can't be done now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.messages import Message, emails, put_back
from shared.pipeline.events import event
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, PauseError

FIRST_WAIT = timedelta(seconds=30)
# The first bound for a wait that was asked for: a quota may be free again in seconds, but one that never is must not
# keep a message going round.
SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(minutes=30)
# The waits of many messages that failed together spread over this share of their length.
JITTER = 0.2

# For how long work that can't be done now is tried again.
WORK_LIMIT = timedelta(hours=24)
MAIL_LIMIT = timedelta(hours=72)
# A mail whose sender is gone may have been handed over, and the message that only marks it is on its way while the
# database is away. Once that is back, the message has this long to come before the mail is sent again.
MARK_COMES_FIRST = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that a stage wants on its queue (`messages.QUEUES`), where nobody sees it before `delay` is over."""

    message: Message
    delay: timedelta = timedelta(0)


def outgoing(messages: Iterable[Message]) -> list[Outgoing]:
    """Messages that can be taken at once."""
    return [Outgoing(message) for message in messages]


def mails_out(mail_ids: Iterable[int], delay: timedelta = timedelta(0)) -> list[Outgoing]:
    """The messages that have these mails sent."""
    return [Outgoing(message, delay) for message in emails(mail_ids)]


def growing_wait(attempt: int, first: timedelta = FIRST_WAIT) -> timedelta:
    """`first` for the first attempt (0), twice that for each further one, up to 30 minutes."""
    doublings: int = min(attempt, 11)
    return min(first * (1 << doublings), LONGEST_WAIT)


def wait_after(error: LaterError, attempt: int, chance: float) -> timedelta:
    """How long to wait: what the other side asked for, else growing; up to a fifth more. chance: 0 to 1.

    What was asked for, such as `Retry-After: 0` or a date that is over, is not taken for less than 1 s, 2 s, 4 s …
    """
    if error.wait is None:
        wait = growing_wait(attempt)
    elif isinstance(error, PauseError):
        wait = error.wait
    else:
        wait = max(error.wait, growing_wait(attempt, SHORTEST_WAIT))
    return wait * (1 + JITTER * chance)


def _seconds(wait: timedelta) -> dict[str, float]:
    return {"asked_to_wait_seconds": wait.total_seconds()}


def given_up(error: LaterError, limit: timedelta = WORK_LIMIT) -> str:
    """Why work has failed that was tried for `limit`."""
    return f"given up after {limit // timedelta(hours=1)} hours: {error.reason}"


@dataclass(frozen=True, slots=True)
class Retry:
    """Work that can't be done now waits on its queue, and nobody sleeps. chance: from 0 to 1, for the jitter."""

    clock: Clock
    chance: Callable[[], float]

    def put_back(self, message: Message, due_at: datetime) -> list[Outgoing]:
        """The copy of a message that is tried again at `due_at`."""
        now = self.clock()
        return [Outgoing(put_back(message, now), due_at - now)]

    def is_over(self, since: datetime | None, limit: timedelta) -> bool:
        """Whether work that was first tried at `since` has been waiting for `limit`."""
        return since is not None and self.clock() - since >= limit

    def later(
        self,
        message: Message,
        error: LaterError,
        name: str,
        *,
        since: datetime | None = None,
        limit: timedelta = WORK_LIMIT,
        give_up: Callable[[str], list[Outgoing]] | None = None,
        note: Callable[[str, datetime], None] | None = None,
        **ids: object,
    ) -> list[Outgoing]:
        """Puts a message back that met `error`; gives up where its work has been waiting for `limit`.

        since: when it was first tried; None for when the message was first queued. give_up: does that, with the reason
        as a sentence's end; put off itself where it meets a LaterError. note: writes down why and until when the work
        waits; the message says all that is needed, so that it may fail.
        name, ids: of the event that is logged.
        """
        if give_up is not None and self.is_over(since or message.envelope.first_queued_at, limit):
            try:
                return give_up(given_up(error, limit))
            except LaterError:
                event("giving_up_put_off", level=logging.WARNING, **ids)
        due_at = self.clock() + wait_after(error, message.envelope.attempt, self.chance())
        asked = {} if error.wait is None or isinstance(error, PauseError) else _seconds(error.wait)
        event(f"{name}_deferred", level=logging.WARNING, **ids, **asked, reason=error.reason)
        if note is not None:
            try:
                note(error.reason, due_at)
            except LaterError:
                event("deferral_not_noted", level=logging.WARNING, **ids)
        return self.put_back(message, due_at)
