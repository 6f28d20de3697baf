"""What is believed of an answer, and what is known after it, said a second time in the plainest words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.charges import LONGEST_GROUP, LONGEST_SERVICE, ChargeSet
from shared.domain.coverage import (
    BELIEVED_ON_DAY,
    Coverage,
    Reading,
    ReadPart,
    believe,
    doubtful_windows,
    fault_in,
    is_outdated,
)
from shared.domain.periods import Period

DAY = timedelta(days=1)
TODAY = date(2026, 11, 20)
NOW = datetime.combine(TODAY, time(2), UTC)
NOVEMBER, OCTOBER = Period(date(2026, 11, 1), TODAY + DAY), Period(date(2026, 10, 17), date(2026, 11, 1))
SEPTEMBER = Period(date(2026, 9, 1), date(2026, 10, 1))
DAYS = st.integers(-60, 60).map(lambda days: TODAY + timedelta(days=days))
PERIODS = st.tuples(DAYS, st.integers(1, 40)).map(lambda drawn: Period(drawn[0], drawn[0] + timedelta(days=drawn[1])))
MOMENTS = DAYS.map(lambda day: datetime.combine(day, time(3), UTC))
KNOWN = st.builds(
    Coverage,
    read_from=st.none() | DAYS,
    read_until=st.none() | DAYS,
    read_started_at=st.none() | MOMENTS,
    suspect_days=st.integers(0, BELIEVED_ON_DAY - 1),
    suspect_on=st.none() | DAYS,
)
COST = ChargeSet("CAD", {("rg", TODAY, "Storage"): Decimal(1)}, {"rg": "rg"})
PARTS = st.lists(st.builds(ReadPart, PERIODS, st.sampled_from([ChargeSet(), COST])), max_size=4).map(tuple)
READINGS = st.builds(
    Reading,
    provider=st.just("azure"),
    sub_account_id=st.just("sub"),
    group_keys=st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"rg"})]),
    parts=PARTS,
    started_at=MOMENTS,
    read_from=st.none() | DAYS,
    complete=st.booleans(),
    read_until=st.none() | DAYS,
)


def reading(*windows: Period, now: datetime = NOW, charges: ChargeSet | None = None, complete: bool = True) -> Reading:
    """A whole reading of these windows, each empty unless `charges` are given."""
    parts = tuple(ReadPart(window, charges or ChargeSet()) for window in windows)
    return Reading("azure", "sub", frozenset(), parts, now, min(each.start for each in windows), complete, now.date())


# --- what is doubtful ----------------------------------------------------------------------------------------


@given(known=KNOWN, what=READINGS, now=MOMENTS, stored=st.frozensets(DAYS, max_size=12))
def test_an_answer_is_doubtful_where_it_is_empty_and_closed_days_have_charges(
    known: Coverage, what: Reading, now: datetime, stored: frozenset[date]
) -> None:
    closed_before = known.read_until or now.date()
    doubtful = doubtful_windows(known, what, now, lambda days: any(day in days for day in stored))
    assert doubtful == [
        part.window
        for part in what.parts
        if not part.charges.amounts and any(day in part.window and day < closed_before for day in stored)
    ]


def test_only_what_has_to_be_known_is_asked_for() -> None:
    asked: list[Period] = []

    def has_charges(days: Period) -> bool:
        asked.append(days)
        return False

    known = Coverage(read_until=date(2026, 10, 20))
    assert doubtful_windows(known, reading(SEPTEMBER, OCTOBER, NOVEMBER), NOW, has_charges) == []
    assert asked == [SEPTEMBER, Period(OCTOBER.start, date(2026, 10, 20))]


# --- what is believed ----------------------------------------------------------------------------------------


@given(known=KNOWN, what=READINGS, now=MOMENTS, doubtful=st.lists(PERIODS, max_size=3))
def test_readings_of_some_groups_say_nothing_of_the_account_and_are_not_believed_where_they_are_doubtful(
    known: Coverage, what: Reading, now: datetime, doubtful: list[Period]
) -> None:
    some = replace(what, group_keys=frozenset({"rg"}))
    assert believe(known, some, doubtful, now) == (tuple(doubtful), known)


@given(known=KNOWN, what=READINGS, now=MOMENTS, doubtful=st.lists(PERIODS, min_size=1, max_size=3))
def test_doubts_change_nothing_but_their_count_until_the_third_day(
    known: Coverage, what: Reading, now: datetime, doubtful: list[Period]
) -> None:
    whole = replace(what, group_keys=frozenset())
    suspect, after = believe(known, whole, doubtful, now)
    new_day = known.suspect_on is None or known.suspect_on < now.date()
    if known.suspect_days + new_day == BELIEVED_ON_DAY:
        assert (suspect, after) == believe(known, whole, [], now)
    else:
        assert suspect == tuple(doubtful)
        assert after == replace(known, suspect_days=known.suspect_days + new_day, suspect_on=now.date())


@given(nights=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=40))
def test_an_empty_answer_is_believed_the_third_day_on_which_one_is_met_with_no_good_one_between(
    nights: list[tuple[int, bool]],
) -> None:
    known, now, doubted_on = Coverage(), NOW, set[date]()
    for days, is_doubtful in nights:
        now += timedelta(days=days, seconds=1)
        suspect, known = believe(known, reading(NOVEMBER, now=now), [NOVEMBER] if is_doubtful else [], now)
        doubted_on = doubted_on | {now.date()} if is_doubtful else set()
        assert suspect == ((NOVEMBER,) if is_doubtful and len(doubted_on) < BELIEVED_ON_DAY else ())
        if not suspect:
            doubted_on = set()
            assert known.read_until == now.date()


def test_a_first_part_that_is_believed_does_not_reset_the_count() -> None:
    doubted = Coverage(TODAY - DAY, TODAY - DAY, suspect_days=2, suspect_on=TODAY - DAY)
    _, after = believe(doubted, reading(NOVEMBER, complete=False), [], NOW)
    assert (after.suspect_days, after.suspect_on) == (2, TODAY - DAY)
    _, after = believe(doubted, reading(NOVEMBER), [], NOW)
    assert (after.suspect_days, after.suspect_on) == (0, None)


# --- how far it reaches --------------------------------------------------------------------------------------


@given(known=KNOWN, what=READINGS, now=MOMENTS)
def test_a_reading_that_is_believed_takes_nothing_back(known: Coverage, what: Reading, now: datetime) -> None:
    _, after = believe(known, replace(what, group_keys=frozenset()), [], now)
    assert after.read_until == (what.read_until or known.read_until)
    assert (after.read_from is None) <= (known.read_from is None)
    if not what.reads_its_day:
        assert after.read_started_at == known.read_started_at


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=8))
def test_days_that_no_reading_had_never_count_as_read(windows: list[tuple[int, int]]) -> None:
    """Every day from read_from up to today was in some reading, if each says how far back the days are then read."""
    known, read, first = Coverage(), set[date](), True
    for back, days in windows:
        end = TODAY + DAY if first else TODAY - timedelta(days=back)
        window, first = Period(end - timedelta(days=days), end), False
        since = min(day for day in (known.read_from, window.start) if day)
        _, known = believe(known, replace(reading(window), read_from=since), [], NOW)
        read |= {window.start + timedelta(days=number) for number in range(window.days)}
        assert known.read_from is not None
        assert read >= {known.read_from + timedelta(days=n) for n in range((TODAY - known.read_from).days + 1)}


# --- what is outdated ----------------------------------------------------------------------------------------


@given(known=KNOWN, what=READINGS)
def test_a_reading_is_outdated_where_a_later_one_of_its_own_day_is_known(known: Coverage, what: Reading) -> None:
    whole_and_of_today = not what.group_keys and any(what.started_at.date() in part.window for part in what.parts)
    older = known.read_started_at is not None and what.started_at < known.read_started_at
    assert is_outdated(known, what) == (whole_and_of_today and older)


# --- what can't be stored ------------------------------------------------------------------------------------


def costs(group: str = "rg", day: date = TODAY, service: str = "Storage", currency: str = "CAD") -> ChargeSet:
    charge_set = ChargeSet()
    charge_set.add(group, day, service, Decimal(1), currency)
    return charge_set


@pytest.mark.parametrize(
    ("charges", "said"),
    [
        (costs(day=OCTOBER.start), f"charges of {OCTOBER.start}, which lies outside of these days"),
        (costs(day=NOVEMBER.end), f"charges of {NOVEMBER.end}"),
        (costs(service="s" * (LONGEST_SERVICE + 1)), "a service of 201 characters, of which 200 can be stored"),
        (costs(group="g" * (LONGEST_GROUP + 1)), "a resource group of 101 characters, of which 100 can be stored"),
    ],
)
def test_a_charge_that_can_not_be_stored_is_a_fault_that_says_which(charges: ChargeSet, said: str) -> None:
    assert said in str(fault_in(reading(NOVEMBER, charges=charges)))


def test_two_currencies_in_one_answer_are_a_fault_and_an_empty_part_has_none() -> None:
    october, november = costs(day=OCTOBER.start, currency="USD"), costs()
    parts = (ReadPart(SEPTEMBER, ChargeSet()), ReadPart(OCTOBER, october), ReadPart(NOVEMBER, november))
    assert "CAD and USD" in str(fault_in(replace(reading(NOVEMBER), parts=parts)))
    assert fault_in(replace(reading(NOVEMBER), parts=(parts[0], parts[2]))) is None


def test_of_a_reading_of_some_groups_only_their_charges_count() -> None:
    both = ChargeSet("CAD", costs("A").amounts | costs("b").amounts, {"a": "A", "b": "b"})
    some = replace(reading(NOVEMBER, charges=both), group_keys=frozenset({"a"})).restricted()
    assert some.parts[0].charges == ChargeSet("CAD", costs("A").amounts, {"a": "A"})
    assert reading(NOVEMBER, charges=both).restricted().parts[0].charges == both
