"""PipelineWatchdog's rounds: most go by the notes, and leave the database asleep."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from shared.domain import rounds
from shared.domain.schedules import BEGINS_WITHIN, DAY, Schedule
from shared.messages import Queue
from shared.pipeline.events import event
from shared.pipeline.stage import Outgoing
from shared.pipeline.watch import LATE_AFTER, STUCK_AFTER, Watchdog
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.notes import Note, Notes
from shared.ports.watch import Standing, WatchLedger

# Where the notes are away, a write takes seconds: after so many in a row, the next is tried after a while only.
TRIES_AT_ONCE = 2
A_WHILE = timedelta(minutes=1)


@dataclass(slots=True)
class Writing:
    """Says, before anything is written, that the next rounds are to look: whoever dies after that is found.

    until: until when it is said. failed, failed_at: how often in a row it could not be said, and when last.
    """

    notes: Callable[[], Notes]
    clock: Clock
    until: datetime | None = None
    failed: int = 0
    failed_at: datetime | None = None

    def begins(self) -> None:
        """Called before each transaction that writes. Where it can't be said, the next look may be hours away."""
        now = self.clock()
        if not rounds.says_again(self.until, now) or self._waits(now):
            return
        until = now + rounds.SAID_AHEAD
        try:
            self.notes().write(Note.WRITING, until.isoformat())
        except (LaterError, NeverError) as error:
            self.failed, self.failed_at = self.failed + 1, now
            event("writing_not_noted", level=logging.WARNING, reason=error.reason)
        else:
            self.until, self.failed = until, 0

    def _waits(self, now: datetime) -> bool:
        if self.failed < TRIES_AT_ONCE or self.failed_at is None:
            return False
        return timedelta(0) <= now - self.failed_at < A_WHILE


@dataclass(frozen=True, slots=True)
class Rounds:
    """schedule: of the nights; own: of the rounds.

    let_go: of the connections that wait in this process: one that is open keeps a database awake, too.
    """

    watchdog: Watchdog
    ledger: WatchLedger
    notes: Notes
    schedule: Schedule
    own: Schedule
    let_go: Callable[[], None]
    clock: Clock

    def next(self, left_over: Sequence[Queue] = ()) -> Iterator[Outgoing]:
        """One round. left_over: the queues with messages that nobody gets hold of, of which those who look tell.

        Raises LaterError where the database is away.
        """
        now = self.clock()
        known = rounds.from_text(self._noted(Note.ROUND))
        if known is not None and not self._looks(known, now):
            self._end(replace(known, round_at=now))
            return
        try:
            yield from self.watchdog.look()
            yield from self.watchdog.left_over(left_over)
            # What was looked at is sent by now: whoever breaks off before looks again the next time.
            standing = self.ledger.standing()
        finally:
            self.let_go()
        night_at = max(filter(None, (standing.complete_at, standing.since)), default=now)
        its = rounds.name_of(self.schedule)
        self._end(rounds.RoundNote(now, now, self._look_at(standing, now), night_at, its))

    def _look_at(self, standing: Standing, now: datetime) -> datetime:
        """When something may be due."""
        missed = self.schedule.after(now - BEGINS_WITHIN) + BEGINS_WITHIN
        tomorrow = datetime.combine(now.astimezone(UTC) + DAY, time(), UTC)
        moments = [
            _after(standing.waits_since, STUCK_AFTER),
            _after(standing.late_from, LATE_AFTER),
            standing.look_at,
            tomorrow if standing.is_untold else None,
        ]
        return min(now + rounds.LONGEST_REST, missed, *filter(None, moments))

    def _looks(self, known: rounds.RoundNote, now: datetime) -> bool:
        writing = self._noted(Note.WRITING)
        return writing is None or rounds.looks(known, rounds.moment_in(writing), now, self.schedule, self.own)

    def _noted(self, note: Note) -> str | None:
        """The note; empty where there is none, None where it can't be read."""
        try:
            return self.notes.noted(note) or ""
        except (LaterError, NeverError) as error:
            event("note_not_read", level=logging.WARNING, note=note, reason=error.reason)
            return None

    def _end(self, note: rounds.RoundNote) -> None:
        age = rounds.night_age(note, note.round_at)
        event("round", looked=note.looked_at == note.round_at, night_age_hours=round(age / timedelta(hours=1), 2))
        try:
            self.notes.write(Note.ROUND, rounds.to_text(note))
        except (LaterError, NeverError) as error:
            event("note_not_written", level=logging.WARNING, note=Note.ROUND, reason=error.reason)


def _after(moment: datetime | None, wait: timedelta) -> datetime | None:
    return None if moment is None else moment + wait
