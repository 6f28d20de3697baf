"""The chain's queues."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from shared.messages import Message, Queue


class MessageSender(Protocol):
    """Puts messages onto the chain's queues."""

    def send(self, queue: Queue, message: Message | str, delay: timedelta = timedelta(0)) -> None:
        """Queues a message (or the text of one) that can't be seen before `delay` and never expires.

        Raises LaterError, NeverError (the queues refuse us).
        """
        ...

    def next_in(self, queue: Queue) -> str | None:
        """What tells the message that is taken next from others; None where none can be seen. Raises as `send`."""
        ...

    def put_back_poisoned(self, queue: Queue, text: str, delay: timedelta) -> None:
        """Queues a copy of what came from a queue's `-poison` queue there again. Raises as `send`."""
        ...

    def count_poisoned(self, queue: Queue) -> int:
        """About how many messages a queue's `-poison` queue holds, those too that can't be seen. Raises as `send`."""
        ...

    def take_poisoned(self, queue: Queue, bury: Callable[[str, str], None]) -> None:
        """Takes what can be seen on a queue's `-poison` queue, and deletes each after `bury`. Raises as `send`.

        bury: is given the text, and what tells the message from all others (`origin_of`).
        """
        ...
