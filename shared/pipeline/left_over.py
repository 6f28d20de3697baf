"""What stays on the `-poison` queues, since the host can't hand it to their functions.

The host takes members of a message for its own properties of it where they have such names. An `InsertionTime` that is
no time fails each attempt before the app is called, on the `-poison` queue too: there the message is hidden for ten
minutes after each, can be seen for a second or two, and is gone after a week.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from shared.messages import Queue, without_hosts_own
from shared.pipeline.chain import Chain
from shared.pipeline.events import event
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError

PAUSE_SECONDS = 0.5
# Half of the ten minutes: what one round misses, the next one, a quarter of an hour later, meets.
WAITS = timedelta(minutes=5, seconds=10)
UNREAD = (
    "the Functions host could not hand it to the app: it holds members with the names of the host's own properties "
    "(Id, DequeueCount, InsertionTime, …), without which it is kept"
)


@dataclass(frozen=True, slots=True)
class LeftOver:
    """pause: waits for so many seconds."""

    chain: Chain
    pause: Callable[[float], None]
    clock: Clock

    def bury(self) -> list[Queue]:
        """Asks how many messages there are; where there are some, waits until they can be seen, and buries them.

        Most are buried by their functions meanwhile. Returns the queues on which some are left after that.
        """
        until, left = self.clock() + WAITS, list(Queue)
        try:
            left = self._left(left)
            while left and self.clock() < until:
                for queue in left:
                    self.chain.sender.take_poisoned(queue, partial(self._bury, queue))
                left = self._left(left)
                if left:
                    self.pause(PAUSE_SECONDS)
        except (LaterError, NeverError) as error:
            # The rest of the watchdog's round goes on.
            event("poison_not_looked_at", level=logging.WARNING, reason=error.reason)
            return []
        return left

    def _left(self, queues: Iterable[Queue]) -> list[Queue]:
        return [queue for queue in queues if self.chain.sender.count_poisoned(queue)]

    def _bury(self, queue: Queue, body: str, origin: str) -> None:
        kept = without_hosts_own(body)
        event("buried_by_watchdog", level=logging.WARNING, queue=queue)
        self.chain.bury(queue, kept, origin, *([UNREAD] if kept != body else []))
