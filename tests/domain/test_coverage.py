"""What is believed of an answer, what is known of a month after it, and what a figure lacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.charges import LONGEST_GROUP, LONGEST_SERVICE, ChargeSet
from shared.domain.coverage import (
    BELIEVED_ON_NIGHT,
    BY_EXPORT,
    FEW_CHARGES,
    NO_CHARGE,
    Coverage,
    CoverageState,
    Gap,
    Incomplete,
    Reading,
    ReadPart,
    StoredAnswer,
    StoredCharge,
    agrees,
    doubt_about,
    fault_in,
    gaps,
    is_forgotten,
    lacks_from,
    missing_months,
    months_in_words,
    not_outdated,
    settled_before,
)
from shared.domain.periods import Period, month_of

DAY = timedelta(days=1)
TODAY = date(2026, 11, 20)
LOOKBACK = 35
CLOSED_ON = 5
NOVEMBER, OCTOBER = Period(date(2026, 11, 1), TODAY + DAY), Period(date(2026, 10, 1), date(2026, 11, 1))
SUB = "7f0c"


def at(day: date) -> datetime:
    return datetime.combine(day, time(2), UTC)


def costs(group: str = "rg", day: date = TODAY, service: str = "Storage", currency: str = "CAD") -> ChargeSet:
    charge_set = ChargeSet()
    charge_set.add(group, day, service, Decimal(1), currency)
    return charge_set


def part(window: Period, night: date, *charges: ChargeSet) -> ReadPart:
    return ReadPart(window, charges, at(night))


def good(window: Period, night: date = TODAY) -> Coverage:
    _, known = Coverage(window.start.replace(day=1)).read(
        part(window, night, costs(day=window.start)), night, LOOKBACK, None
    )
    return known


# --- which of two answers counts -----------------------------------------------------------------------------


def days(first: int, last: int) -> Period:
    return Period(date(2026, 11, first), date(2026, 11, last) + DAY)


def test_an_answer_is_outdated_where_a_later_one_has_stored_its_days_and_groups() -> None:
    charges = ChargeSet()
    for group, day in ((group, day) for group in ("a", "b") for day in range(1, 10)):
        charges.add(group, date(2026, 11, day), "Storage", Decimal(day), "CAD")
    before, later = at(TODAY), at(TODAY) + timedelta(minutes=15)
    mine = ReadPart(days(1, 9), (charges,), before)
    assert not_outdated(mine, [StoredAnswer(days(1, 9), before - DAY)]) == [(mine, frozenset())]
    assert not_outdated(mine, [StoredAnswer(days(1, 30), later)]) == []
    stored = [StoredAnswer(days(3, 4), later), StoredAnswer(days(4, 6), later, frozenset({"a"}))]
    left = not_outdated(mine, stored)
    assert [(each.window, silent) for each, silent in left] == [
        (days(1, 2), frozenset()),
        (days(5, 6), {"a"}),
        (days(7, 9), frozenset()),
    ]
    assert [sorted({key[0] for each in piece.charges for key in each.amounts}) for piece, _ in left] == [
        ["a", "b"],
        ["b"],
        ["a", "b"],
    ]
    assert {key[1].day for piece, _ in left for each in piece.charges for key in each.amounts} == {1, 2, 5, 6, 7, 8, 9}


# --- which answers are believed ------------------------------------------------------------------------------


@given(
    nights=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["charges", "blank", "failed", "away"])), max_size=40)
)
def test_a_blank_is_believed_on_the_third_night_that_met_one_with_no_other_between(
    nights: list[tuple[int, str]],
) -> None:
    known, night, row, stored = good(OCTOBER, TODAY), TODAY, set[date](), True
    for days, met in nights:
        night += timedelta(days=days)
        if met == "failed":
            known, row = known.failed("no", night, 400), set()
        elif met == "charges":
            believed, known = known.read(part(OCTOBER, night, costs()), night, 400, None)
            assert believed
            row, stored = set(), True
        elif met == "blank":
            row |= {night}
            believed, known = known.read(part(OCTOBER, night), night, 400, NO_CHARGE if stored else None)
            assert believed == (not stored or len(row) >= BELIEVED_ON_NIGHT)
            if believed:
                row, stored = set(), False
        assert (known.state is CoverageState.SUSPECT) == bool(row)
        assert known.suspect_nights == len(row) or (known.blank_believed_on and known.suspect_nights == 3)


def test_a_first_blank_of_days_that_are_over_is_as_doubtful_and_one_of_today_alone_is_not() -> None:
    known = Coverage(OCTOBER.start)
    for number in range(3):
        believed, known = known.read(part(OCTOBER, TODAY + number * DAY), TODAY + number * DAY, LOOKBACK, None)
        assert believed == (number == 2)
    assert (known.state, known.blank_believed_on) == (CoverageState.GOOD, TODAY + 2 * DAY)
    assert known.due_from(TODAY + 3 * DAY, LOOKBACK) == OCTOBER.start
    first = date(2026, 12, 1)
    assert Coverage(first).read(part(Period(first, first + DAY), first), first, LOOKBACK, None)[0]


@pytest.mark.parametrize("some", [Period(TODAY - DAY, TODAY + DAY), days(1, 5)])
def test_some_days_of_a_month_that_is_not_good_say_nothing_of_the_others(some: Period) -> None:
    _, doubted = good(NOVEMBER, TODAY - 2 * DAY).read(part(NOVEMBER, TODAY), TODAY, LOOKBACK, NO_CHARGE)
    failed = good(NOVEMBER, TODAY - 9 * DAY).failed("403", TODAY, LOOKBACK)
    stale = good(NOVEMBER, TODAY - 9 * DAY)
    for known in (doubted, failed, stale):
        believed, after = known.read(part(some, TODAY, charge_set(*rows("1"))), TODAY, LOOKBACK, None)
        assert believed
        assert (after.state, after.reason, after.begun_at) == (known.state, known.reason, known.begun_at)
        assert after.due_from(TODAY + DAY, LOOKBACK) == known.due_from(TODAY + DAY, LOOKBACK)
    again = replace(doubted, suspect_nights=2, suspect_on=TODAY - DAY)
    assert not again.read(part(some, TODAY), TODAY, LOOKBACK, NO_CHARGE)[0]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_of_a_month_that_is_read_in_windows_one_in_doubt_keeps_all_of_it_so_until_the_third_night(
    order: tuple[int, ...],
) -> None:
    windows, known = [days(1, 8), days(9, 14), Period(date(2026, 11, 15), TODAY + DAY)], good(NOVEMBER, TODAY - DAY)
    for night in range(BELIEVED_ON_NIGHT):
        tonight, read = TODAY + night * DAY, list[Period]()
        for each in order:
            doubt = FEW_CHARGES if each == 1 else None
            came = part(windows[each], tonight, costs(day=windows[each].start))
            believed, known = known.read(came, tonight, LOOKBACK, doubt, read, in_turn=True)
            assert believed == (doubt is None or night == BELIEVED_ON_NIGHT - 1)
            read += [windows[each]] if believed else []
        if night < BELIEVED_ON_NIGHT - 1:
            assert (known.state, known.suspect_nights) == (CoverageState.SUSPECT, night + 1)
            assert known.good_on == TODAY - DAY
    assert (known.is_good, known.reason, known.begun_at) == (True, None, at(tonight))


def test_of_a_month_that_is_read_in_windows_one_without_charges_says_nothing_of_its_other_days() -> None:
    known, tonight = good(NOVEMBER, TODAY - DAY), TODAY
    _, known = known.read(part(days(9, 14), tonight), tonight, LOOKBACK, NO_CHARGE, [], in_turn=True)
    assert (known.state, known.reason) == (CoverageState.SUSPECT, "came without any charge on some of its days")
    assert Gap("7f0c", NOVEMBER, known.state, known.reason).briefly == "November 2026 came in part"


def test_of_a_month_that_is_read_in_windows_one_that_failed_fails_it_whatever_else_is_read() -> None:
    known = good(NOVEMBER, TODAY - DAY).failed("no (400)", TODAY, LOOKBACK)
    for window in (Period(date(2026, 11, 15), TODAY + DAY), days(1, 8)):
        _, known = known.read(part(window, TODAY, costs(day=window.start)), TODAY, LOOKBACK, None, in_turn=True)
    assert (known.state, known.reason, known.good_on) == (CoverageState.FAILED, "no (400)", TODAY - DAY)


def test_a_first_answer_of_nothing_but_0_is_an_answer_since_who_has_free_services_only_gets_no_other() -> None:
    nothing = charge_set(("rg", OCTOBER.start, "Storage", "0"))
    believed, known = Coverage(OCTOBER.start).read(part(OCTOBER, TODAY, nothing), TODAY, LOOKBACK, None)
    assert (believed, known.state) == (True, CoverageState.GOOD)
    free = replace(good(OCTOBER), suspect_nights=3, suspect_on=TODAY)
    believed, known = free.read(part(OCTOBER, TODAY + DAY, nothing), TODAY + DAY, LOOKBACK, None)
    assert (believed, known.blank_believed_on) == (True, TODAY), "charges are still waited for"


@pytest.mark.parametrize(
    ("stored", "total", "forgotten"),
    [
        ({}, {}, False),
        ({"CAD": "100"}, {}, True),
        ({"CAD": "100"}, {"CAD": "0"}, True),
        ({"CAD": "100"}, {"CAD": "24.99"}, True),
        ({"CAD": "100"}, {"CAD": "25"}, False),
        ({"CAD": "100"}, {"CAD": "-3"}, True),
        ({"CAD": "-100"}, {}, False),
        ({"CAD": "100"}, {"USD": "70"}, False),
        ({"CAD": "100", "USD": "70"}, {"USD": "70"}, False),
        ({"CAD": "100", "USD": "70"}, {"USD": "0"}, True),
    ],
)
def test_a_total_that_leaves_next_to_nothing_is_of_a_provider_that_has_forgotten(
    stored: dict[str, str], total: dict[str, str], forgotten: bool
) -> None:
    amounts = {currency: (Decimal(amount), 1) for currency, amount in stored.items()}
    assert is_forgotten(amounts, {currency: Decimal(amount) for currency, amount in total.items()}) is forgotten


def charge_set(*rows: tuple[str, date, str, str], currency: str = "CAD") -> ChargeSet:
    charges = ChargeSet()
    for group, day, service, cost in rows:
        charges.add(group, day, service, Decimal(cost), currency)
    return charges


def rows(*amounts: str, service: str = "Storage") -> list[tuple[str, date, str, str]]:
    """One a day, from the first of the month on."""
    return [("rg", NOVEMBER.start + day * DAY, service, each) for day, each in enumerate(amounts) if each]


def as_stored(*charges: ChargeSet) -> list[StoredCharge]:
    return [(str(each.billing_currency), *item) for each in charges for item in each.amounts.items()]


TEN_DAYS = rows(*["60"] * 10)


@pytest.mark.parametrize(
    ("stored", "answered", "doubt"),
    [
        (TEN_DAYS, [], NO_CHARGE),
        (rows("-5"), [], NO_CHARGE),
        ([], [], None),
        (TEN_DAYS, rows(*["0"] * 10), FEW_CHARGES),
        (TEN_DAYS, [*rows("", "", "", "", "", "", "", "", "60", "60")], FEW_CHARGES),
        (TEN_DAYS, [("rg", TODAY, "Storage", "600")], FEW_CHARGES),
        ([*TEN_DAYS, *rows("900", service="Virtual Machines")], TEN_DAYS, None),
        (TEN_DAYS, rows(*["30"] * 10), None),
        (TEN_DAYS, rows(*["0.01"] * 10), None),
        (TEN_DAYS, rows(*["60"] * 9), None),
        (TEN_DAYS, [*TEN_DAYS, ("rg", NOVEMBER.start, "Refunds", "-600")], None),
        (TEN_DAYS, rows(*["-60"] * 10), None),
        (TEN_DAYS, rows(*["59"] * 10, service="Azure Storage"), None),
        (TEN_DAYS, [("moved", *each[1:]) for each in TEN_DAYS], None),
        ([*TEN_DAYS, ("gone", NOVEMBER.start, "Storage", "500")], TEN_DAYS, None),
        (rows("0", "0", "-5"), rows("0"), None),
        ([("rg", TODAY, "Storage", "60")], [("rg", TODAY, "Storage", "0")], None),
    ],
    ids=[
        "no row",
        "no row, where only a credit is stored",
        "nothing on either side",
        "all of them 0",
        "the days before a change of offer",
        "only today's",
        "a dear service that is credited where it stood",
        "restated to half",
        "restated to next to nothing",
        "a day that is gone",
        "a refund, in a row of its own",
        "refunds, where the charges stood",
        "a service with a new name",
        "a group with a new name",
        "a group whose charges are gone, next to others",
        "what never cost anything",
        "today's, which may still change",
    ],
)
def test_an_answer_is_doubtful_that_leaves_little_of_what_is_stored(
    stored: list[tuple[str, date, str, str]], answered: list[tuple[str, date, str, str]], doubt: str | None
) -> None:
    assert doubt_about([charge_set(*answered)], as_stored(charge_set(*stored)), TODAY) == doubt


@pytest.mark.parametrize(
    ("cad", "usd", "doubt"), [("60", "0", None), ("0", "60", None), ("60", "60", None), ("0", "0", FEW_CHARGES)]
)
def test_of_two_currencies_one_that_is_left_is_enough(cad: str, usd: str, doubt: str | None) -> None:
    """And a charge that comes in another currency has not gone."""
    both = [charge_set(*rows("60"), currency="CAD"), charge_set(*rows("", "60"), currency="USD")]
    answered = [charge_set(*rows(cad), currency="CAD"), charge_set(*rows("", usd), currency="USD")]
    assert doubt_about(answered, as_stored(*both), TODAY) == doubt
    changed = charge_set(*rows("40", "40"), currency="EUR")
    assert doubt_about([changed], as_stored(*both), TODAY) is None


COSTS = st.integers(-1000, 1000).map(Decimal)
CHARGES = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.dates(NOVEMBER.start, TODAY - DAY), st.sampled_from("xyz")), COSTS, max_size=30
)


@given(stored=CHARGES, new=CHARGES, gone=st.sets(st.integers(0, 30)), data=st.data())
def test_what_is_left_is_a_quarter_of_all_that_was_spent_in_the_same_charges_or_in_others(
    stored: dict, new: dict, gone: set[int], data: st.DataObject
) -> None:
    kept = {key for number, key in enumerate(sorted(stored)) if number not in gone}
    came = {key: cost for key, cost in new.items() if key not in stored}
    came |= {key: data.draw(COSTS.filter(bool)) for key in kept} or {("c", TODAY, "x"): Decimal(1)}
    spent = sum(cost for cost in stored.values() if cost > 0)
    again = sum(cost for key, cost in stored.items() if cost > 0 and key in kept)
    now = sum(cost for key, cost in came.items() if cost > 0 and key[1] < TODAY)
    doubt = doubt_about([ChargeSet("CAD", came)], [("CAD", *each) for each in stored.items()], TODAY)
    assert doubt == (FEW_CHARGES if spent > 0 and max(again, now) * 4 < spent else None)


def test_charges_that_were_taken_for_gone_are_waited_for_as_long_as_the_look_back_and_all_of_them() -> None:
    known = good(OCTOBER, date(2026, 10, 20))
    for days in range(1, 4):
        night = date(2026, 10, 20) + days * DAY
        _, known = known.read(part(OCTOBER, night), night, LOOKBACK, NO_CHARGE)
    assert known.blank_believed_on == date(2026, 10, 23)
    for night in (date(2026, 10, 24), date(2026, 11, 26)):
        _, known = known.read(part(OCTOBER, night), night, LOOKBACK, None)
        assert known.due_from(night + DAY, LOOKBACK) in (OCTOBER.start, None)
        assert (known.due_from(night, LOOKBACK) == OCTOBER.start) == (night < date(2026, 11, 27))
    _, known = known.read(part(OCTOBER, night, costs()), night, LOOKBACK, None)
    assert (known.good_on, known.blank_believed_on) == (night, None)


# --- what is read again --------------------------------------------------------------------------------------


@given(missed=st.lists(st.booleans(), min_size=1, max_size=120), lookback=st.integers(2, 60))
def test_however_nights_are_missed_a_month_is_due_until_its_last_day_can_be_final(
    missed: list[bool], lookback: int
) -> None:
    month = Period(date(2026, 10, 1), date(2026, 11, 1))
    known, last_read = Coverage(month.start), dict[date, date]()
    for offset, is_missed in enumerate([False, *missed]):
        night = month.start + offset * DAY
        since = known.due_from(night, lookback)
        if is_missed or since is None:
            continue
        window = Period(since, min(month.end, night + DAY))
        _, known = known.read(part(window, night, costs()), night, lookback, None)
        last_read |= {since + number * DAY: night for number in range(window.days)}
        for day, read_on in last_read.items():
            assert read_on >= min(day + (lookback - 1) * DAY, night)


def test_a_month_that_is_final_stays_so_where_somebody_reads_it_again_in_vain() -> None:
    known = good(OCTOBER, date(2026, 12, 20))
    assert known.failed("no (400)", date(2026, 12, 21), LOOKBACK) == known
    assert good(OCTOBER).failed("no (400)", TODAY, LOOKBACK).state is CoverageState.FAILED


def test_days_that_leave_a_gap_to_those_that_were_read_do_not_count() -> None:
    known = good(Period(date(2026, 11, 1), date(2026, 11, 6)), date(2026, 11, 5))
    late = Period(date(2026, 11, 10), TODAY + DAY)
    _, known = known.read(part(late, TODAY, costs()), TODAY, LOOKBACK, None)
    assert known.read_through == date(2026, 11, 5)


def test_the_last_night_that_read_all_is_the_oldest_of_the_months_that_still_move() -> None:
    june = good(Period(date(2026, 6, 1), date(2026, 7, 1)), date(2026, 9, 1))
    known = {each.month: each for each in (june, good(OCTOBER, TODAY - DAY), good(NOVEMBER, TODAY))}
    assert settled_before(known, LOOKBACK, CLOSED_ON) == TODAY - DAY - LOOKBACK * DAY
    assert settled_before({}, LOOKBACK, CLOSED_ON) is None


def test_what_a_source_calls_closed_later_settles_later_and_is_recent_by_its_own_nights() -> None:
    by = 10
    assert settled_before({OCTOBER.start: good(OCTOBER, TODAY)}, LOOKBACK, by) == TODAY - 40 * DAY
    october = good(OCTOBER, date(2026, 12, 4))
    last, day_before = (replace(october, begun_at=at(date(2026, 12, day))) for day in (9, 8))
    assert october.is_recent(date(2026, 12, 30), LOOKBACK, CLOSED_ON)
    assert last.is_recent(date(2026, 12, 30), LOOKBACK, by)
    assert not day_before.is_recent(date(2026, 12, 30), LOOKBACK, by)


def test_a_month_that_its_provider_calls_estimated_is_never_final_however_long_ago_it_was_closed() -> None:
    read = ReadPart(OCTOBER, (costs(day=OCTOBER.start),), at(TODAY), estimated_from=date(2026, 10, 20))
    later, year = TODAY + 60 * DAY, TODAY + 360 * DAY
    _, known = Coverage(OCTOBER.start).read(read, later, LOOKBACK, None)
    known = replace(known, begun_at=at(later))
    assert known.due_from(year, LOOKBACK) == date(2026, 10, 20)
    assert known.is_recent(later + DAY, LOOKBACK, CLOSED_ON)
    assert not known.is_recent(later + 2 * DAY, LOOKBACK, CLOSED_ON)
    assert settled_before({known.month: known}, LOOKBACK, CLOSED_ON) == date(2026, 10, 20)
    assert settled_before({known.month: known}, LOOKBACK, CLOSED_ON, OCTOBER.end) is None
    _, known = known.read(replace(read, estimated_from=None, begun_at=at(year)), year, LOOKBACK, None)
    assert known.due_from(year + DAY, LOOKBACK) is None
    assert known.is_recent(year + 30 * DAY, LOOKBACK, CLOSED_ON)


@pytest.mark.parametrize(
    ("days", "told", "left"),
    [
        ((10, 21), None, 5),
        ((1, 10), None, 10),
        ((1, 5), None, 5),
        ((1, 4), None, 5),
        ((1, 4), 2, 2),
        ((1, 21), None, None),
        ((1, 21), 12, 12),
        ((10, 21), 12, 5),
    ],
)
def test_part_of_a_month_says_of_its_own_days_alone_whether_they_are_estimated(
    days: tuple[int, int], told: int | None, left: int | None
) -> None:
    known = replace(good(NOVEMBER, TODAY - DAY), estimated_from=date(2026, 11, 5))
    window = Period(*(date(2026, 11, day) for day in days))
    read = ReadPart(window, (costs(day=window.start),), at(TODAY), estimated_from=told and date(2026, 11, told))
    _, known = known.read(read, TODAY, LOOKBACK, None)
    assert known.estimated_from == (left and date(2026, 11, left))


def test_a_month_that_no_open_period_needs_any_more_holds_up_no_other() -> None:
    failed = good(OCTOBER, TODAY - 30 * DAY).failed("no", TODAY, LOOKBACK)
    known = {each.month: each for each in (failed, good(NOVEMBER, TODAY))}
    assert settled_before(known, LOOKBACK, CLOSED_ON) == TODAY - (30 + LOOKBACK) * DAY
    assert settled_before(known, LOOKBACK, CLOSED_ON, OCTOBER.end - DAY) == TODAY - (30 + LOOKBACK) * DAY
    assert settled_before(known, LOOKBACK, CLOSED_ON, OCTOBER.end) == TODAY - LOOKBACK * DAY


# --- what a figure lacks -------------------------------------------------------------------------------------


FROM_JUNE = Period(date(2026, 6, 1), date(2027, 6, 1))


def said(*known: Coverage, needed: Period = FROM_JUNE, today: date = TODAY, opening: bool = False) -> list[str]:
    months = {each.month: each for each in known}
    return [str(gap) for gap in gaps(SUB, months, needed, today, LOOKBACK, CLOSED_ON, opening)]


SUMMER = [
    good(Period(date(2026, month, 1), date(2026, month + 1, 1)), date(2026, month + 2, 10)) for month in (6, 7, 8, 9)
]


windows = st.tuples(st.dates(date(2026, 6, 1), TODAY), st.integers(1, 200)).map(
    lambda it: Period(it[0], it[0] + it[1] * DAY)
)
# Source; how long after its end it was read; of which days it was not; whether its provider still estimates some.
# Mostly all is as it should be, so that there is something to tell.
read_months = st.tuples(
    st.sampled_from(["", "", "", BY_EXPORT]),
    st.sampled_from([45] * 9 + [-3, 0, 3, 10, 30]),
    st.sampled_from([0] * 9 + [3]),
    st.sampled_from([0] * 9 + [1, 9]),
    st.sampled_from([False] * 6 + [True]),
)
all_months = st.lists(st.one_of(*[read_months] * 9, st.none()), min_size=6, max_size=6)


@settings(max_examples=400, deadline=None)
@given(windows, all_months, st.sampled_from([0, 0, 1, 2, 4]), st.booleans())
def test_what_lacks_nothing_lacks_something_for_the_first_time_on_the_day_that_is_told(
    needed: Period, months: list[tuple[str, int, int, int, bool] | None], later: int, opening: bool
) -> None:
    known = {}
    for number, each in enumerate(months):
        if each is not None:
            month = month_of(date(2026, 6 + number, 1))
            source, nights, first, through, estimated = each
            read_on = min(month.end + nights * DAY, TODAY)
            read_through = max(month.start, min(month.last_day - through * DAY, read_on))
            known[month.start] = Coverage(
                *(month.start, source, month.start + first * DAY, read_through, at(read_on), read_on),
                estimated_from=month.start if estimated else None,
            )
    today = TODAY + later * DAY
    if gaps(SUB, known, needed, today, LOOKBACK, CLOSED_ON, opening):
        return
    told = lacks_from(known, needed, today, LOOKBACK, CLOSED_ON)
    days = (today + number * DAY for number in range(1, 300))
    first_day = next((day for day in days if gaps(SUB, known, needed, day, LOOKBACK, CLOSED_ON, opening)), None)
    assert told == first_day


def test_what_was_read_tonight_is_recent_for_another_day() -> None:
    known = {each.month: each for each in (*SUMMER, good(OCTOBER), good(NOVEMBER))}
    assert lacks_from(known, FROM_JUNE, TODAY, LOOKBACK, CLOSED_ON) == TODAY + 2 * DAY
    assert lacks_from(known, Period(date(2026, 6, 1), date(2026, 8, 1)), TODAY, LOOKBACK, CLOSED_ON) is None
    assert lacks_from({}, Period(TODAY, TODAY + 9 * DAY), TODAY, LOOKBACK, CLOSED_ON) == TODAY + DAY


def test_what_several_accounts_lack_is_told_once_for_each_month_and_why() -> None:
    def gap(account: str, first: date, end: date, state: CoverageState | None = None) -> Gap:
        return Gap(account, Period(first, end), state, state and f"of {account}")

    june, july, august = (date(2026, month, 1) for month in (6, 7, 8))
    failed = CoverageState.FAILED
    lacking = [gap("a", july, august, failed), gap("b", june, july, failed), gap("c", july, july + DAY, failed)]
    lacking += [gap("a", june, june + DAY), gap("b", date(2026, 9, 3), date(2026, 9, 20)), gap("c", june, july)]
    assert missing_months(lacking) == [
        (failed, Period(june, august)),
        ("unread", Period(june, july)),
        ("unread", Period(date(2026, 9, 1), date(2026, 10, 1))),
    ]


def test_what_came_without_any_charge_is_told_from_what_came_without_most() -> None:
    def gap(days: Period, reason: str) -> Gap:
        return Gap(SUB, days, CoverageState.SUSPECT, reason)

    lacking = [gap(OCTOBER, NO_CHARGE), gap(NOVEMBER, FEW_CHARGES)]
    assert [why for why, _ in missing_months(lacking)] == ["blank", "suspect"]
    assert [each.briefly for each in lacking] == ["October 2026 came blank", "November 2026 came in part"]


def test_a_figure_is_complete_where_every_month_is_good_and_recent() -> None:
    assert said(*SUMMER, good(OCTOBER), good(NOVEMBER)) == []
    assert said(*SUMMER, good(OCTOBER), good(NOVEMBER), today=TODAY + DAY) == []
    assert said(needed=Period(TODAY, TODAY + DAY)) == [], "no night can have read the first day yet"


def test_what_no_provider_answers_for_any_more_is_missing_until_an_opening_balance_says_what_it_came_to() -> None:
    old = Period(date(2025, 1, 1), date(2027, 1, 1))
    read = [*SUMMER, good(OCTOBER), good(NOVEMBER)]
    assert said(*read, needed=old) == [
        "January to October 2025 of 7f0c can't be read any more; "
        "`budgets set --opening-balance` takes what was spent then",
        "costs of 7f0c not read for November 2025 to May 2026",
    ]
    assert said(*read, needed=old, opening=True) == said(*read, needed=old)[1:], "those are still to be read"


def test_months_that_came_by_no_export_are_imported_where_only_exports_feed() -> None:
    old = Period(date(2025, 1, 1), date(2027, 1, 1))
    read = [replace(each, source=BY_EXPORT) for each in (*SUMMER, good(OCTOBER), good(NOVEMBER))]
    assert said(*read, needed=old)[0] == (
        "January to October 2025 of 7f0c came by no export; `exports import` takes files of it, or "
        "`budgets set --opening-balance` what was spent then"
    )
    assert said(SUMMER[0], *read[1:], needed=old)[0].startswith("January to October 2025 of 7f0c can't be read")
    assert gaps(SUB, {}, old, TODAY, LOOKBACK, CLOSED_ON)[0].exported is False


def test_an_opening_balance_says_nothing_of_months_that_could_not_be_read_since() -> None:
    old = Period(date(2026, 1, 1), date(2027, 1, 1))
    june, *later = SUMMER
    later[0] = later[0].failed("503", TODAY, LOOKBACK)
    known = [june, *later, good(OCTOBER), good(NOVEMBER)]
    assert said(*known, needed=old, opening=True)[1:] == said(*known)
    assert said(good(NOVEMBER), needed=Period(TODAY + DAY, TODAY + 2 * DAY), opening=True) == []


def test_nor_of_months_that_could_not_be_read_before_and_of_an_account_that_never_was() -> None:
    old = Period(date(2026, 1, 1), date(2027, 1, 1))
    refused = [Coverage(date(2026, month, 1)).failed("403", TODAY, LOOKBACK) for month in (4, 5)]
    assert said(*refused, *SUMMER, good(OCTOBER), good(NOVEMBER), needed=old, opening=True) == [
        "costs of 7f0c not read for January to March 2026",
        "April to May 2026 of 7f0c could not be read: 403",
    ]
    assert said(needed=old, opening=True) == ["costs of 7f0c not read for January to November 2026"]


def test_what_is_missing_is_said_by_month_and_neighbours_in_one_sentence() -> None:
    assert said() == ["costs of 7f0c not read for June to November 2026"]
    june = SUMMER[0].failed("no (400)", date(2026, 6, 20), LOOKBACK)
    assert said(june, *SUMMER[1:], good(OCTOBER), good(NOVEMBER)) == ["June 2026 of 7f0c could not be read: no (400)"]
    stale = (good(OCTOBER, date(2026, 11, 12)), good(Period(NOVEMBER.start, date(2026, 11, 13)), date(2026, 11, 12)))
    assert said(*SUMMER, *stale) == ["costs of 7f0c not read since 12 November 2026"]
    _, blank = good(OCTOBER).read(part(OCTOBER, TODAY), TODAY, LOOKBACK, NO_CHARGE)
    assert said(*SUMMER, blank, good(NOVEMBER)) == [
        "October 2026 of 7f0c came without any charge, which is not believed yet"
    ]
    assert said(good(OCTOBER), good(NOVEMBER)) == ["costs of 7f0c not read for June to September 2026"]


def test_days_before_the_first_that_was_read_are_missing() -> None:
    partly = good(Period(date(2026, 10, 17), date(2026, 11, 1)))
    assert said(*SUMMER, partly, good(NOVEMBER)) == ["costs of 7f0c not read for October 2026"]
    assert said(partly, good(NOVEMBER), needed=Period(date(2026, 10, 17), date(2027, 1, 1))) == []


def test_what_figures_lack_is_said_once_with_whose_they_are_and_what_most_lack_comes_first() -> None:
    june, july = (Gap(SUB, Period(date(2026, month, 1), date(2026, month + 1, 1))) for month in (6, 7))
    lacking = Incomplete.of({"A": [june, july], "B": [july], "C": [], "D": [july], "E": [july]})
    assert lacking.projects == 4
    assert lacking.lines == [
        f"A, B, D and 1 more: costs of {SUB} not read for July 2026",
        f"A: costs of {SUB} not read for June 2026",
    ]
    assert (Incomplete.of({"A": []}).projects, Incomplete.of({}).lines) == (0, [])


def test_months_in_words_are_spans() -> None:
    windows = [
        Period(date(2025, 12, 5), date(2026, 1, 1)),
        OCTOBER,
        NOVEMBER,
        Period(date(2027, 1, 1), date(2027, 1, 2)),
    ]
    assert months_in_words(windows) == "December 2025, October to November 2026, January 2027"
    assert months_in_words([Period(date(2025, 12, 5), date(2026, 2, 1))]) == "December 2025 to January 2026"


# --- what can't be stored ------------------------------------------------------------------------------------


def reading(*parts: ReadPart) -> Reading:
    return Reading("azure", SUB, frozenset(), parts, TODAY)


@pytest.mark.parametrize(
    ("charges", "says"),
    [
        (costs(day=date(2026, 10, 31)), "charges of 2026-10-31, which lies outside of these days"),
        (costs(day=NOVEMBER.end), f"charges of {NOVEMBER.end}"),
        (costs(service="s" * (LONGEST_SERVICE + 1)), "a service of 201 characters, of which 200 can be stored"),
        (costs(group="g" * (LONGEST_GROUP + 1)), "a resource group of 101 characters, of which 100 can be stored"),
    ],
)
def test_a_charge_that_can_not_be_stored_is_a_fault_that_says_which(charges: ChargeSet, says: str) -> None:
    assert says in str(fault_in(reading(part(NOVEMBER, TODAY, costs(currency="USD"), charges))))


def test_two_currencies_are_no_fault() -> None:
    assert fault_in(reading(part(NOVEMBER, TODAY, costs(), costs(currency="USD")), part(OCTOBER, TODAY))) is None


def test_of_a_reading_of_some_groups_only_their_charges_count() -> None:
    both = ChargeSet("CAD", costs("A").amounts | costs("b").amounts, {"a": "A", "b": "b"})
    some = replace(reading(part(NOVEMBER, TODAY, both)), group_keys=frozenset({"a"})).restricted()
    assert some.parts[0].charges == (ChargeSet("CAD", costs("A").amounts, {"a": "A"}),)
    assert reading(part(NOVEMBER, TODAY, both)).restricted().parts[0].charges == (both,)


@pytest.mark.parametrize(
    ("stored", "total", "same"),
    [
        ({}, {}, True),
        ({"CAD": (Decimal("1.5"), 3)}, {"CAD": Decimal("1.5")}, True),
        ({"CAD": (Decimal("1.5"), 3)}, {"CAD": Decimal("1.50000000015")}, True),
        ({"CAD": (Decimal("1.5"), 3)}, {"CAD": Decimal("1.5000000002")}, False),
        ({"CAD": (Decimal("1.5"), 3)}, {}, False),
        ({}, {"CAD": Decimal("0.0000000001")}, False),
        ({"CAD": (Decimal(1), 1)}, {"USD": Decimal(1)}, False),
        ({"CAD": (Decimal(1), 1), "USD": (Decimal(0), 2)}, {"CAD": Decimal(1)}, True),
    ],
)
def test_a_total_agrees_where_rounding_each_charge_explains_the_difference(stored, total, same) -> None:
    assert agrees(stored, total) is same
