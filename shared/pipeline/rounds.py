"""PipelineWatchdog's rounds: most go by the notes, and leave the database asleep."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from shared.domain import rounds
from shared.domain.schedules import BEGINS_WITHIN, DAY, Schedule
from shared.pipeline.events import event
from shared.pipeline.stage import Outgoing
from shared.pipeline.watch import LATE_AFTER, STUCK_AFTER, Watchdog
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.notes import Note, Notes
from shared.ports.watch import Standing, WatchLedger


@dataclass(slots=True)
class Writing:
    """Says, before anything is written, that the next rounds are to look: whoever dies after that is found."""

    notes: Callable[[], Notes]
    clock: Clock
    until: datetime | None = None

    def begins(self) -> None:
        """Called before each transaction that writes. Where it can't be said, the next look may be hours away."""
        now = self.clock()
        if not rounds.says_again(self.until, now):
            return
        self.until = now + rounds.SAID_AHEAD
        try:
            self.notes().write(Note.WRITING, self.until.isoformat())
        except (LaterError, NeverError) as error:
            event("writing_not_noted", level=logging.WARNING, reason=error.reason)


@dataclass(frozen=True, slots=True)
class Rounds:
    """let_go: of the connections that wait in this process: one that is open keeps a database awake, too."""

    watchdog: Watchdog
    ledger: WatchLedger
    notes: Notes
    schedule: Schedule
    let_go: Callable[[], None]
    clock: Clock

    def next(self) -> Iterator[Outgoing]:
        """One round. Raises LaterError where the database is away."""
        now = self.clock()
        known = rounds.from_text(self._noted(Note.ROUND))
        if known is not None and not rounds.looks(known, self._writing_until(), now, self.schedule):
            self._end(replace(known, round_at=now))
            return
        try:
            yield from self.watchdog.look()
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

    def _writing_until(self) -> datetime | None:
        return rounds.moment_in(self._noted(Note.WRITING))

    def _noted(self, note: Note) -> str | None:
        try:
            return self.notes.noted(note)
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
