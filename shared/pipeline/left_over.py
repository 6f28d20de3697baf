"""What stays on the `-poison` queues, since the host can't hand it to their functions.

The host takes members of a message for its own properties of it where they have such names. An `InsertionTime` that is
no time fails each attempt before the app is called, on the `-poison` queue too: there the message is hidden for ten
minutes after each, can be seen for a second or two, and is gone after a week.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from shared.messages import Queue, without_hosts_own
from shared.pipeline.chain import Chain
from shared.pipeline.events import event
from shared.ports.errors import LaterError, NeverError

# Half of the ten minutes: what one round misses, the next one, a quarter of an hour later, meets.
PAUSE_SECONDS, TRIES = 0.5, 620
UNREAD = (
    "the Functions host could not hand it to the app: it holds members with the names of the host's own properties "
    "(Id, DequeueCount, InsertionTime, …), without which it is kept"
)


@dataclass(frozen=True, slots=True)
class LeftOver:
    """pause: waits for so many seconds."""

    chain: Chain
    pause: Callable[[float], None]

    def bury(self) -> None:
        """Asks how many messages there are; where there are some, waits until they can be seen, and buries them.

        Most are buried by their functions meanwhile. Of what is left after that, the operators are told once a day.
        """
        try:
            left = self._left(Queue)
            for _ in range(TRIES):
                for queue in left:
                    self.chain.sender.take_poisoned(queue, partial(self._bury, queue))
                left = self._left(left)
                if not left:
                    return
                self.pause(PAUSE_SECONDS)
            self.chain.send(self.chain.dead_letters.left_over(left))
        except (LaterError, NeverError) as error:
            # The rest of the watchdog's round goes on.
            event("poison_not_looked_at", level=logging.WARNING, reason=error.reason)

    def _left(self, queues: Iterable[Queue]) -> list[Queue]:
        return [queue for queue in queues if self.chain.sender.count_poisoned(queue)]

    def _bury(self, queue: Queue, body: str, origin: str) -> None:
        kept = without_hosts_own(body)
        event("buried_by_watchdog", level=logging.WARNING, queue=queue)
        self.chain.bury(queue, kept, origin, *([UNREAD] if kept != body else []))
