"""NCRONTAB as the Functions host reads it, and which night a firing is of."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.schedules import Schedule

CASES = Path(__file__).resolve().parents[3] / "shared" / "data" / "functions" / "ncrontab.json"
NIGHTLY = Schedule.read("0 0 2 * * *")
LATE_EVENING = Schedule.read("0 30 23 * * *")
# Taken by the host, but surely not what is meant.
BACKWARDS = {"0 0 0 * * FRI-MON", "0 0 0 * * 5-1", "0 50-10/10 * * * *", "0 0 22-2 * * *"}
BACKWARDS |= {"0 0 0 * * 6-0", "0 0 0 * DEC-FEB *"}
WITHOUT_STEP, NEVER = {"0 */0 * * * *", "0 */-5 * * * *"}, {"0 0 0 30 2 *", "0 0 0 31 4 *"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cases() -> list[dict[str, Any]]:
    if not CASES.is_file():
        pytest.skip("the host's own occurrences are not beside this repository (../shared/data/functions)")
    found: list[dict[str, Any]] = json.loads(CASES.read_text("utf-8"))["cases"]
    return found


def test_the_schedules_of_the_host_are_taken_but_for_those_that_are_surely_mistakes() -> None:
    for case in cases():
        text = case["text"]
        if case["taken"] and text not in BACKWARDS | WITHOUT_STEP | NEVER:
            Schedule.read(text)
        else:
            with pytest.raises(ValueError, match=r"."):
                Schedule.read(text)


def test_every_next_moment_is_the_host_s() -> None:
    compared = 0
    for case in cases():
        if not case["taken"] or case["text"] in BACKWARDS | WITHOUT_STEP | NEVER:
            continue
        schedule = Schedule.read(case["text"])
        for start, expected in case["next"].items():
            moment, found = at(start), []
            while len(found) < 4 and (moment := schedule.after(moment)) < at(start) + timedelta(days=365.2 * 12):
                found.append(moment)
            assert found == [at(each) for each in expected], (case["text"], start)
            compared += 1
    assert compared > 150


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 2 * * *", "six fields"),
        ("0 0 22-2 * * *", "'22-2' runs backwards"),
        ("0 0 0 * * fri-mon", "'fri-mon' runs backwards"),
        ("0 */0 * * * *", "has a step of 0"),
        ("0 0 0 30 2 *", "no such day ever comes"),
        ("0 0 24 * * *", "24 is not from 0 to 23"),
        ("0 0 0 * janx *", "'janx' is not a name"),
        ("0 0 2 ? * *", "is no value"),
    ],
)
def test_a_refusal_says_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("?", r"\?")):
        Schedule.read(text)


SOME = st.sampled_from([NIGHTLY, LATE_EVENING, *map(Schedule.read, ("0 */15 * * * *", "30 0 9-17 1-7 * mon-fri"))])
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(schedule=SOME, moment=MOMENTS)
def test_the_latest_occurrence_is_the_one_before_the_next(schedule: Schedule, moment: datetime) -> None:
    latest = schedule.latest(moment)
    assert latest <= moment < schedule.after(moment)
    assert schedule.after(latest) == schedule.after(moment)
    assert schedule.latest(latest) == latest


# --- the time of a zone --------------------------------------------------------------------------------------

MADRID = ZoneInfo("Europe/Madrid")


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("0 0 2 * * *", "2026-01-10T12:00:00", "2026-01-11T01:00:00"),
        ("0 0 2 * * *", "2026-07-10T12:00:00", "2026-07-11T00:00:00"),
        # On 29 March 02:00 becomes 03:00: half past two is half an hour later.
        ("0 30 2 * * *", "2026-03-28T12:00:00", "2026-03-29T01:30:00"),
        ("0 30 2 * * *", "2026-03-29T01:10:00", "2026-03-29T01:30:00"),
        ("0 30 2 * * *", "2026-03-29T01:30:00", "2026-03-30T00:30:00"),
        # On 25 October half past two comes twice: the second counts.
        ("0 30 2 * * *", "2026-10-24T12:00:00", "2026-10-25T01:30:00"),
        ("0 30 2 * * *", "2026-10-25T00:40:00", "2026-10-25T01:30:00"),
        ("0 30 2 * * *", "2026-10-25T01:30:00", "2026-10-26T01:30:00"),
    ],
)
def test_a_schedule_in_a_zone_s_time_goes_with_its_clocks(text: str, after: str, expected: str) -> None:
    schedule = Schedule.read(text, MADRID)
    assert schedule.after(at(after)) == at(expected)
    assert schedule.latest(at(expected)) == at(expected)
    assert schedule.latest(at(expected) - timedelta(seconds=1)) <= at(after)


def test_every_night_of_a_year_in_a_zone_comes_once() -> None:
    schedule, moment, nights = Schedule.read("0 30 2 * * *", MADRID), at("2026-01-01T00:00:00"), []
    while (moment := schedule.after(moment)) < at("2027-01-01T00:00:00"):
        nights.append(moment)
    assert len(nights) == 365
    assert {later - earlier for earlier, later in pairwise(nights)} <= {
        timedelta(hours=hours) for hours in (23, 24, 25)
    }
    assert [schedule.latest(night + timedelta(hours=1)) for night in islice(nights, 364)] == nights[:364]


# --- which night a firing is of ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "fired", "night"),
    [
        (NIGHTLY, "2026-11-20T02:00:00", "2026-11-20T02:00:00"),
        (NIGHTLY, "2026-11-20T02:00:00.004", "2026-11-20T02:00:00"),
        (NIGHTLY, "2026-11-20T01:59:59", "2026-11-20T02:00:00"),
        (NIGHTLY, "2026-11-20T01:59:59.998", "2026-11-20T02:00:00"),
        (NIGHTLY, "2026-11-20T14:00:00", "2026-11-20T02:00:00"),
        (NIGHTLY, "2026-11-21T01:30:00", "2026-11-20T02:00:00"),
        (LATE_EVENING, "2026-11-20T23:29:59", "2026-11-20T23:30:00"),
        (LATE_EVENING, "2026-11-21T00:10:00", "2026-11-20T23:30:00"),
        (LATE_EVENING, "2026-11-21T22:00:00", "2026-11-20T23:30:00"),
        (Schedule.read("0 0 0 * * *"), "2026-11-20T23:59:59", "2026-11-21T00:00:00"),
        (Schedule.read("*/10 * * * * *"), "2026-11-20T02:00:08", "2026-11-20T02:00:00"),
        (Schedule.read("*/10 * * * * *"), "2026-11-20T02:00:09.5", "2026-11-20T02:00:10"),
    ],
)
def test_a_firing_is_of_the_occurrence_before_it_or_of_the_one_a_hair_after(
    schedule: Schedule, fired: str, night: str
) -> None:
    assert schedule.fired(at(fired)) == at(night)


LONG_AGO = at("2020-01-01T00:00:00")


@pytest.mark.parametrize(
    ("last", "since", "now", "missed"),
    [
        # Until four hours later it may still begin.
        ("2026-11-20T02:00:00", LONG_AGO, "2026-11-21T05:59:59", None),
        ("2026-11-20T02:00:00", LONG_AGO, "2026-11-21T06:00:00", "2026-11-21T02:00:00"),
        ("2026-11-20T02:00:00", LONG_AGO, "2026-11-25T12:00:00", "2026-11-25T02:00:00"),
        ("2026-11-21T02:00:00", LONG_AGO, "2026-11-21T06:00:00", None),
        ("2026-11-21T01:59:59", LONG_AGO, "2026-11-21T06:00:00", None),
        (None, LONG_AGO, "2026-11-21T06:00:00", "2026-11-21T02:00:00"),
        # Nothing is missed that came before the schedule did.
        (None, at("2026-11-21T02:00:00"), "2026-11-21T06:00:00", None),
        ("2026-11-20T02:00:00", at("2026-11-21T10:00:00"), "2026-11-21T12:00:00", None),
        (None, at("2026-11-21T10:00:00"), "2026-11-22T06:00:00", "2026-11-22T02:00:00"),
    ],
)
def test_a_night_is_missed_that_did_not_begin_within_four_hours(
    last: str | None, since: datetime, now: str, missed: str | None
) -> None:
    assert NIGHTLY.missed(at(last) if last else None, since, at(now)) == (at(missed) if missed else None)


def test_a_schedule_of_some_weekdays_misses_nothing_on_the_others() -> None:
    fridays = Schedule.read("0 0 2 * * fri")
    assert fridays.missed(at("2026-11-20T02:00:00"), LONG_AGO, at("2026-11-27T05:00:00")) is None
    assert fridays.missed(at("2026-11-20T02:00:00"), LONG_AGO, at("2026-11-27T06:00:00")) == at("2026-11-27T02:00:00")
