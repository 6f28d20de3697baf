"""Whether the app works, for whoever asks: from the watchdog's note, never from the database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.domain.rounds import RoundNote, from_text, is_well
from shared.domain.schedules import Schedule
from shared.pipeline.events import log
from shared.ports.clock import Clock
from shared.ports.notes import Note, Notes

# An answer comes within two seconds, whatever hangs.
ANSWERS_WITHIN = timedelta(seconds=1.5)
# However many ask, the note is read so often at most.
KNOWN_FOR = timedelta(seconds=10)


@dataclass(slots=True)
class Health:
    """rounds: of the watchdog. nights: of the nights. waits: how long one who asks waits."""

    notes: Notes
    rounds: Schedule
    nights: Schedule
    clock: Clock
    waits: timedelta = ANSWERS_WITHIN
    _reading: Future[RoundNote | None] | None = None
    _read_at: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_well(self) -> bool:
        """Whether the watchdog comes by, and nights end; no where that can't be read in time."""
        now = self.clock()
        try:
            note = self._note(now).result(self.waits.total_seconds())
        except Exception as error:  # noqa: BLE001 - whatever it is, the app is not well
            log.warning("health_unknown reason=%s", type(error).__name__)
            return False
        return is_well(note, now, self.rounds, self.nights)

    def _note(self, now: datetime) -> Future[RoundNote | None]:
        """What is being read or was read a moment ago; what hangs is not asked for again until it ends."""
        with self._lock:
            is_known = self._read_at is not None and timedelta(0) <= now - self._read_at < KNOWN_FOR
            if self._reading is None or (self._reading.done() and not is_known):
                self._reading, self._read_at = _in_background(self._read), now
            return self._reading

    def _read(self) -> RoundNote | None:
        return from_text(self.notes.noted(Note.ROUND))


def _in_background(read: Callable[[], RoundNote | None]) -> Future[RoundNote | None]:
    """In a thread that keeps no program from ending."""
    future: Future[RoundNote | None] = Future()

    def run() -> None:
        try:
            future.set_result(read())
        except BaseException as error:  # noqa: BLE001 - it is the one who asks who meets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
