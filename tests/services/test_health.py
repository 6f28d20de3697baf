"""Whether the app works, as anybody may ask: no part that hangs makes the answer hang."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from shared.domain.rounds import RoundNote, to_text
from shared.domain.schedules import Schedule
from shared.ports.errors import LaterError, NeverError
from shared.ports.notes import Note
from shared.services.health import KNOWN_FOR, Health
from tests.fakes import FakeClock, FakeQueues

ROUNDS, NIGHTS = Schedule.read("0 */15 * * * *"), Schedule.read("0 0 2 * * *")


class Hanging(FakeQueues):
    """Notes that are not read before `over`."""

    def __init__(self) -> None:
        super().__init__()
        self.over, self.asked = threading.Event(), 0

    def noted(self, note: Note) -> str | None:
        self.asked += 1
        self.over.wait(10)
        return super().noted(note)


def well_since(notes: FakeQueues, clock: FakeClock) -> None:
    notes.write(Note.ROUND, to_text(RoundNote(clock(), clock(), clock() + timedelta(hours=8), clock())))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_the_app_is_well_where_the_watchdog_has_come_by_and_a_night_has_ended(clock: FakeClock) -> None:
    notes = FakeQueues()
    health = Health(notes, ROUNDS, NIGHTS, clock)
    assert not health.is_well()
    well_since(notes, clock)
    clock.forward(seconds=11)
    assert health.is_well()
    clock.forward(hours=1)
    assert not health.is_well()


@pytest.mark.parametrize("error", [LaterError("away"), NeverError("refused"), RuntimeError("nobody foresaw it")])
def test_what_can_not_be_read_is_not_well(clock: FakeClock, error: Exception) -> None:
    notes = FakeQueues()
    well_since(notes, clock)
    notes.fails = lambda: error
    assert not Health(notes, ROUNDS, NIGHTS, clock).is_well()


def test_a_part_that_hangs_does_not_hang_the_answer_and_is_not_asked_again_meanwhile(clock: FakeClock) -> None:
    notes = Hanging()
    health = Health(notes, ROUNDS, NIGHTS, clock, waits=timedelta(seconds=0.05))
    begun = time.monotonic()
    for _ in range(5):
        assert not health.is_well()
        clock.forward(minutes=5)
    assert time.monotonic() - begun < 2
    assert notes.asked == 1
    well_since(notes, clock)
    notes.over.set()
    health.waits = timedelta(seconds=5)
    health.is_well()
    clock.forward(seconds=11)
    assert health.is_well(), "it ended"


def test_however_many_ask_the_note_is_read_now_and_then_only(clock: FakeClock) -> None:
    notes = Hanging()
    notes.over.set()
    well_since(notes, clock)
    health = Health(notes, ROUNDS, NIGHTS, clock)
    assert all(health.is_well() for _ in range(100))
    assert notes.asked == 1
    clock.forward(seconds=KNOWN_FOR.total_seconds())
    health.is_well()
    assert notes.asked == 2
