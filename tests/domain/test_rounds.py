"""Which of the watchdog's rounds looks at the database, and what its note says of how the app is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.rounds import (
    LEFT_AT_LEAST,
    LONGEST_REST,
    SAID_AHEAD,
    RoundNote,
    from_text,
    is_well,
    looks,
    moment_in,
    name_of,
    says_again,
    to_text,
)
from shared.domain.schedules import Schedule

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LOOKED = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
NIGHT_AT = datetime(2026, 11, 20, 2, 10, tzinfo=UTC)
ROUNDS, NIGHTS = Schedule.read("0 */15 * * * *"), Schedule.read("0 0 2 * * *")
NOTE = RoundNote(LOOKED, LOOKED, LOOKED + 2 * HOUR, NIGHT_AT, name_of(NIGHTS))
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given here


@given(st.builds(RoundNote, moments, moments, moments, moments, st.sampled_from(["", name_of(NIGHTS)])))
def test_a_note_is_read_as_it_was_written(note: RoundNote) -> None:
    text = to_text(note)
    assert from_text(text) == note
    assert text.isascii()
    assert len(text) < 300


NO_MOMENTS = [
    *("2026-11-30", "2026-11-30T02:00:00", "x" * 5000, "", "null", "\0", "99999-01-01T00:00:00+00:00"),
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "1999-12-31T23:59:59+00:00"),
]


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "{", "7", "[]", "{}", '{"round_at": 7}', to_text(NOTE).replace("+00:00", ""), "\0", "NaN"),
        *("[" * 100_000, '{"round_at":' * 100_000, "7" * 10_000),
        *(to_text(NOTE).replace(NIGHT_AT.isoformat(), moment) for moment in NO_MOMENTS),
    ],
)
def test_what_is_no_note_counts_as_none(text: str | None) -> None:
    assert from_text(text) is None


def test_a_note_of_before_the_schedule_was_noted_is_read_and_the_next_round_looks() -> None:
    before = json.loads(to_text(NOTE))
    del before["nights"]
    note = from_text(json.dumps(before))
    assert note == replace(NOTE, nights="")
    assert is_well(note, LOOKED, ROUNDS, NIGHTS)
    assert looks(note, None, LOOKED, NIGHTS, ROUNDS)


@pytest.mark.parametrize("text", [None, *NO_MOMENTS])
def test_what_is_no_moment_counts_as_none(text: str | None) -> None:
    assert moment_in(text) is None


def test_another_schedule_of_the_nights_is_looked_into_at_once() -> None:
    assert looks(NOTE, None, LOOKED, Schedule.read("0 0 5 * * *"), ROUNDS)
    assert looks(NOTE, None, LOOKED, Schedule.read("0 0 2 * * *", ZoneInfo("Europe/Madrid")), ROUNDS)


@pytest.mark.parametrize(("after", "left_out"), [(15, False), (21, False), (23, True), (30, True)])
def test_a_round_that_was_left_out_is_made_up_for(after: int, left_out: bool) -> None:
    assert looks(NOTE, None, LOOKED + after * MINUTE, NIGHTS, ROUNDS) is left_out


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=3000)])
def test_nobody_is_believed_to_be_writing_for_hours(ahead: timedelta) -> None:
    assert not looks(NOTE, LOOKED + ahead, LOOKED + MINUTE, NIGHTS, ROUNDS)


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(days=365)])
@pytest.mark.parametrize("moment", ["round_at", "night_at"])
def test_an_app_whose_note_is_of_the_future_is_not_well(moment: str, ahead: timedelta) -> None:
    assert not is_well(replace(NOTE, **{moment: LOOKED + ahead}), LOOKED, ROUNDS, NIGHTS)
    assert is_well(replace(NOTE, **{moment: LOOKED + MINUTE}), LOOKED, ROUNDS, NIGHTS)


@pytest.mark.parametrize(
    ("after", "due"),
    [(0 * HOUR, False), (HOUR, False), (2 * HOUR, True), (3 * HOUR, True), (-MINUTE, True)],
)
def test_a_round_looks_when_something_is_due_and_not_before(after: timedelta, due: bool) -> None:
    """A clock that was set back is no reason to rest until it has caught up."""
    assert looks(replace(NOTE, round_at=LOOKED + after), None, LOOKED + after, NIGHTS, ROUNDS) is due


def test_no_rest_is_longer_than_the_longest_whatever_the_note_says() -> None:
    note = replace(NOTE, look_at=LOOKED + timedelta(days=400), round_at=LOOKED + LONGEST_REST - 2 * MINUTE)
    assert not looks(note, None, LOOKED + LONGEST_REST - MINUTE, NIGHTS, ROUNDS)
    assert looks(note, None, LOOKED + LONGEST_REST, NIGHTS, ROUNDS)


def test_without_a_note_every_round_looks() -> None:
    assert looks(None, None, LOOKED, NIGHTS, ROUNDS)


def test_a_look_counts_only_if_nobody_was_writing_any_more() -> None:
    now = LOOKED + MINUTE
    assert looks(NOTE, LOOKED + SAID_AHEAD, now, NIGHTS, ROUNDS)
    assert looks(NOTE, LOOKED, now, NIGHTS, ROUNDS)
    assert not looks(NOTE, LOOKED - MINUTE, now, NIGHTS, ROUNDS)


@given(st.lists(st.integers(0, 3600), min_size=1, max_size=30))
def test_whoever_writes_has_said_so_for_as_long_as_a_function_may_take(steps: list[int]) -> None:
    until, now = None, LOOKED
    for step in steps:
        now += timedelta(seconds=step)
        if says_again(until, now):
            until = now + SAID_AHEAD
        assert until is not None
        assert until - now >= LEFT_AT_LEAST


def test_whoever_writes_all_the_time_says_so_every_few_minutes_only() -> None:
    assert not says_again(LOOKED + SAID_AHEAD, LOOKED + 4 * MINUTE)


@pytest.mark.parametrize(
    ("round_at", "now", "well"),
    [
        (LOOKED, LOOKED, True),
        (LOOKED, LOOKED + 36 * MINUTE, True),
        (LOOKED, LOOKED + 38 * MINUTE, False),
        (LOOKED, LOOKED + 20 * HOUR, False),
    ],
)
def test_the_app_is_not_well_once_the_watchdog_has_left_two_rounds_out(
    round_at: datetime, now: datetime, well: bool
) -> None:
    assert is_well(replace(NOTE, round_at=round_at), now, ROUNDS, NIGHTS) is well


@pytest.mark.parametrize(
    ("nights", "hours", "well"),
    [
        ("0 0 2 * * *", 25.9, True),
        ("0 0 2 * * *", 26.1, False),
        ("0 0 2 * * 1", 7 * 24, True),
        ("0 0 2 * * 1", 171, False),
    ],
)
def test_the_app_is_not_well_once_a_night_is_two_hours_over_its_time(nights: str, hours: float, well: bool) -> None:
    now = NIGHT_AT + timedelta(hours=hours)
    assert is_well(replace(NOTE, round_at=now), now, ROUNDS, Schedule.read(nights)) is well


def test_of_an_app_whose_watchdog_has_never_come_nothing_good_is_said() -> None:
    assert not is_well(None, LOOKED, ROUNDS, NIGHTS)
