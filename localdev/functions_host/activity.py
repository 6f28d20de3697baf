"""Counts what the host is doing, so that stopping and draining know when nothing is left to do."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Activity:
    """How many pieces of work are under way, how many were ever begun, and how many failed for good."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._begun = 0
        self._failed: list[str] = []

    @contextmanager
    def work(self) -> Iterator[None]:
        """Counts one piece of work for as long as the block lasts."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self, pieces: int = 1) -> None:
        """Counts pieces of work as begun."""
        with self._changed:
            self._running += pieces
            self._begun += pieces

    def end(self) -> None:
        """Counts one piece of work as done."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def fail(self, what: str) -> None:
        """Records that something failed for good; `what` names it."""
        with self._changed:
            self._failed.append(what)

    @property
    def failures(self) -> list[str]:
        """What failed for good, in order."""
        with self._changed:
            return list(self._failed)

    def quiet_since(self) -> int | None:
        """Tells how much was ever begun, if nothing is running now; None if something is."""
        with self._changed:
            return None if self._running else self._begun

    def wait_until_idle(self, seconds: float) -> bool:
        """Waits until nothing is running; False when the time is up first."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._running:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True
