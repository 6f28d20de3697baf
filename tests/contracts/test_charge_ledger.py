"""The ChargeLedger, on every database."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, update

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import cloud_accounts
from shared.domain.coverage import NO_CHARGE, Reading, ReadPart
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import Scope
from shared.messages import ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.charges import Account, Answered, AnswerState, Stored
from shared.ports.errors import NeverError
from tests.contracts.ledger_data import (
    ANNUAL,
    DAY,
    LOOKBACK_DAYS,
    MONTHLY,
    NOVEMBER,
    NOW,
    OCTOBER,
    SUB,
    TODAY,
    Ledgers,
    answer,
    entry,
    november,
    part,
    reading,
    terms,
)


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def row(group: str, day: int, amount: str, service: str = "Storage") -> tuple[str, date, str, str]:
    return group, november(day), service, amount


# --- replacing what was read ---------------------------------------------------------------------------------


def test_a_first_reading_is_stored_as_it_came(ledgers: Ledgers) -> None:
    stored = ledgers.store(reading(row("rg-1", 3, "1.5"), row("rg-2", 4, "0.0000000001")))
    assert stored == Stored(added=2)
    assert ledgers.stored_charges() == {
        ("rg-1", november(3), "Storage", "CAD"): Decimal("1.5"),
        ("rg-2", november(4), "Storage", "CAD"): Decimal("1E-10"),
    }


def test_the_same_reading_again_writes_nothing(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1.5"), row("rg-2", 4, "2")))
    writes: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if " charges" in statement and not statement.startswith("SELECT"):
            writes.append(statement)

    event.listen(ledgers.database.engine, "before_cursor_execute", note)
    assert ledgers.store(reading(row("rg-1", 3, "1.5"), row("rg-2", 4, "2"))) == Stored()
    assert writes == []


def test_restated_late_and_vanished_charges_replace_what_was_stored(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1.5"), row("rg-1", 4, "2"), row("rg-1", 5, "3")))
    stored = ledgers.store(reading(row("rg-1", 3, "1.5"), row("rg-1", 4, "2.25"), row("rg-1", 6, "4")))
    assert stored == Stored(added=1, changed=1, removed=1)
    assert ledgers.amounts() == {("rg-1", 3): "1.5", ("rg-1", 4): "2.25", ("rg-1", 6): "4"}


def test_charges_outside_of_the_windows_stay(ledgers: Ledgers) -> None:
    ledgers.store(reading(("rg-1", date(2026, 10, 31), "Storage", "7"), window=OCTOBER))
    ledgers.store(reading(row("rg-1", 1, "1")))
    ledgers.store(reading(row("rg-1", 1, "2")))
    assert ledgers.amounts() == {("rg-1", 31): "7", ("rg-1", 1): "2"}


def test_a_credit_makes_a_negative_charge(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "-12.5")))
    assert ledgers.amounts() == {("rg-1", 3): "-12.5"}


def test_a_group_is_the_same_in_any_spelling(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "Rg-One"))
    ledgers.store(reading(row("RG-ONE", 3, "1"), row("rg-one", 3, "2")))
    stored = ledgers.store(reading(row("rg-one", 3, "3")))
    assert stored == Stored()
    assert ledgers.amounts() == {("rg-one", 3): "3"}
    assert ledgers.due() == [1]


def test_the_providers_spelling_of_a_group_is_taken_over(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-one"))
    ledgers.store(reading(row("RG-One", 3, "1")))
    found = ledgers.charges.scopes_of(1)
    assert found is not None
    assert found.groups == {(AZURE, SUB): ("RG-One",)}


def test_charges_of_no_project_and_of_no_group_are_kept(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    ledgers.store(reading(row("rg-1", 3, "1"), row("nobodys", 3, "2"), row("", 3, "4")))
    assert ledgers.amounts() == {("rg-1", 3): "1", ("nobodys", 3): "2", ("", 3): "4"}


def test_a_charge_that_changes_its_currency_is_another_charge(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1"), row("rg-1", 4, "2")))
    stored = ledgers.store(reading(row("rg-1", 3, "1"), currency="USD"))
    assert stored == Stored(added=1, removed=2)
    assert ledgers.stored_charges() == {("rg-1", november(3), "Storage", "USD"): Decimal(1)}


def test_two_currencies_stand_side_by_side_in_one_month_and_in_two(ledgers: Ledgers) -> None:
    mixed = ReadPart(NOVEMBER, (answer([row("rg-1", 3, "1")]), answer([row("rg-1", 3, "2")], "USD")), NOW)
    october = part(("rg-1", date(2026, 10, 3), "Storage", "4"), window=OCTOBER, currency="USD")
    assert ledgers.store(reading(parts=(october, mixed))) == Stored(added=3)
    assert {(key[1], key[3]): int(cost) for key, cost in ledgers.stored_charges().items()} == {
        (date(2026, 10, 3), "USD"): 4,
        (november(3), "CAD"): 1,
        (november(3), "USD"): 2,
    }
    assert ledgers.store(reading(parts=(october, mixed))) == Stored()


def test_a_charge_outside_of_its_window_is_refused(ledgers: Ledgers) -> None:
    with pytest.raises(NeverError, match="2026-12-01"):
        ledgers.store(reading(("rg-1", date(2026, 12, 1), "Storage", "1")))
    assert ledgers.stored_charges() == {}


TOO_LONG = [("g" * 101, "Storage"), ("rg-1", "s" * 201), ("😀" * 51, "Storage"), ("rg-1", "😀" * 101), ("İ" * 60, "S")]


@pytest.mark.parametrize(("group", "service"), TOO_LONG)
def test_a_name_that_is_too_long_is_refused_on_every_database(ledgers: Ledgers, group: str, service: str) -> None:
    with pytest.raises(NeverError, match="can be stored"):
        ledgers.store(reading((group, november(3), service, "1")))
    assert ledgers.stored_charges() == {}


@pytest.mark.parametrize(("group", "service"), [("g" * 100, "s" * 200), ("😀" * 50, "😀" * 100)])
def test_the_longest_names_are_stored(ledgers: Ledgers, group: str, service: str) -> None:
    ledgers.store(reading((group, november(3), service, "1")))
    assert list(ledgers.stored_charges()) == [(group, november(3), service, "CAD")]


def test_services_that_differ_by_the_blanks_around_them_are_one_charge_on_every_database(ledgers: Ledgers) -> None:
    """SQL Server takes texts for the same that differ by trailing blanks, in a key too."""
    spelled = [row("rg-1", 3, "1", service) for service in ("Storage", "Storage ", " Storage")]
    for _ in range(2):
        ledgers.store(reading(*spelled))
        assert ledgers.stored_charges() == {("rg-1", november(3), "Storage", "CAD"): Decimal(3)}


def test_an_amount_that_is_too_large_is_set_aside_and_missing_for_whoever_owns_its_group(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    stored = ledgers.store(reading(row("rg-1", 3, "1"), row("rg-2", 4, "1e18"), row("rg-9", 4, "-1e18"), night=TODAY))
    (owned, nobodys) = stored.odd
    assert "the largest amount is" in owned[0]
    assert (owned[1], nobodys[1]) == (("P2",), ())
    assert ledgers.amounts() == {("rg-1", 3): "1"}
    gaps = {view.project.id: [str(gap.reason) for gap in view.gaps] for view in ledgers.projects.list_projects(TODAY)}
    assert (owned[0] in gaps[1], owned[0] in gaps[2]) == (False, True)


def test_what_is_set_aside_in_some_groups_that_were_asked_for_fails_the_reading(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    with pytest.raises(NeverError, match="the largest amount is"):
        ledgers.store(reading(row("rg-1", 3, "1"), row("rg-1", 4, "1e18"), group_keys=frozenset({"rg-1"})))
    assert ledgers.stored_charges() == {}


def test_several_parts_are_stored_together(ledgers: Ledgers) -> None:
    october = part(("rg-1", date(2026, 10, 31), "Storage", "1"), window=OCTOBER)
    assert ledgers.store(reading(parts=(october, part(row("rg-1", 1, "2"))))) == Stored(added=2)
    assert months(ledgers) == {10: ("good", OCTOBER.start, OCTOBER.end - DAY), 11: GOOD_NOVEMBER}


# --- readings of some groups only ----------------------------------------------------------------------------


def test_a_reading_of_one_group_leaves_the_others_as_they_are(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"), entry(2, "rg-2"))
    ledgers.store(reading(row("rg-1", 3, "1"), row("rg-1", 4, "1"), row("rg-2", 3, "2")))
    ledgers.check(1, 2)
    some = reading(row("RG-1", 3, "9"), group_keys=frozenset({"rg-1"}))
    assert ledgers.store(some) == Stored(changed=1, removed=1)
    assert ledgers.amounts() == {("rg-1", 3): "9", ("rg-2", 3): "2"}
    assert ledgers.due() == [1]


def test_charges_of_a_group_that_was_not_asked_for_are_left_out(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-2", 3, "2")))
    ledgers.store(reading(row("rg-1", 3, "1"), row("rg-2", 3, "99"), group_keys=frozenset({"rg-1"})))
    assert ledgers.amounts() == {("rg-1", 3): "1", ("rg-2", 3): "2"}


def test_a_reading_of_one_group_does_not_count_as_a_reading_of_the_account(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1"), group_keys=frozenset({"rg-1"})))
    ledgers.store(reading(parts=(), failed=((OCTOBER, "no (400)"),), group_keys=frozenset({"rg-1"})))
    assert months(ledgers) == {}


# --- empty answers -------------------------------------------------------------------------------------------


def empty(now: datetime, **changes: object) -> Reading:
    return reading(now=now, **changes)


def months(ledgers: Ledgers) -> dict[int, tuple[str, date | None, date | None]]:
    """What is known of each month: its state, and the first and the last day that were read."""
    known = ledgers.charges.account(AZURE, SUB).known.values()
    return {each.month.month: (each.state, each.read_from, each.read_through) for each in known}


GOOD_NOVEMBER = ("good", NOVEMBER.start, NOVEMBER.end - DAY)


def test_an_empty_answer_where_charges_are_stored_is_not_believed(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    ledgers.store(reading(row("rg-1", 3, "1")))
    ledgers.check(1)
    stored = ledgers.store(empty(NOW + DAY), NOW + DAY)
    assert stored == Stored(suspect=(NOVEMBER,))
    assert ledgers.amounts() == {("rg-1", 3): "1"}
    (known,) = ledgers.charges.account(AZURE, SUB).known.values()
    assert (known.state, known.begun_at, known.good_on, known.suspect_nights) == ("suspect", NOW, TODAY, 1)
    assert ledgers.due() == [1]


def test_a_first_empty_answer_for_days_that_are_over_is_not_believed_but_no_charges_are_in_danger(
    ledgers: Ledgers,
) -> None:
    assert ledgers.store(empty(NOW)) == Stored()
    assert months(ledgers) == {11: ("suspect", None, None)}
    assert ledgers.store(reading(row("rg-1", 3, "1"))) == Stored(added=1)
    assert months(ledgers) == {11: GOOD_NOVEMBER}


def test_a_first_empty_answer_is_taken_the_third_night(ledgers: Ledgers) -> None:
    for days in range(3):
        assert months(ledgers) == ({11: ("suspect", None, None)} if days else {})
        ledgers.store(empty(NOW + days * DAY), NOW + days * DAY)
    assert months(ledgers) == {11: GOOD_NOVEMBER}


def test_charges_of_days_that_were_not_over_when_they_were_read_do_not_vanish_either(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", TODAY.day, "1")))
    assert ledgers.store(empty(NOW + DAY), NOW + DAY) == Stored(suspect=(NOVEMBER,))


def test_before_any_whole_reading_what_is_stored_counts(ledgers: Ledgers) -> None:
    only = {"group_keys": frozenset({"rg-1"})}
    ledgers.store(reading(row("rg-1", TODAY.day, "1"), **only))
    assert ledgers.store(reading(**only)) == Stored(suspect=(NOVEMBER,))
    ledgers.store(reading(row("rg-1", TODAY.day - 1, "1"), **only))
    assert ledgers.store(reading(**only)) == Stored(suspect=(NOVEMBER,))


def test_the_third_night_in_a_row_an_empty_answer_is_taken(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1")))
    first, second, third = NOW + DAY, NOW + 2 * DAY, NOW + 3 * DAY
    assert ledgers.store(empty(first), first).suspect == (NOVEMBER,)
    assert ledgers.store(empty(second), second).suspect == (NOVEMBER,)
    assert ledgers.store(empty(third), third) == Stored(removed=1)
    assert months(ledgers) == {11: GOOD_NOVEMBER}
    assert [(each.is_gone, each.reason) for each in ledgers.charges.answers(ledgers.scope().id)] == [(True, NO_CHARGE)]


def test_re_reads_of_one_night_count_once_across_midnight_too(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1")))
    for hours in range(1, 60, 4):
        now = NOW + timedelta(hours=hours)
        assert ledgers.store(empty(now, night=TODAY + DAY), now).suspect == (NOVEMBER,)
    (known,) = ledgers.charges.account(AZURE, SUB).known.values()
    assert known.suspect_nights == 1


def test_a_night_that_fails_breaks_the_row(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1")))
    for days in (1, 2):
        assert ledgers.store(empty(NOW + days * DAY), NOW + days * DAY).suspect
    ledgers.store(reading(parts=(), failed=((NOVEMBER, "no (403)"),), night=TODAY + 3 * DAY))
    for days in (4, 5):
        assert ledgers.store(empty(NOW + days * DAY), NOW + days * DAY).suspect
    assert ledgers.store(empty(NOW + 6 * DAY), NOW + 6 * DAY) == Stored(removed=1)


def test_each_month_has_a_count_of_its_own(ledgers: Ledgers) -> None:
    charged = part(("rg-1", date(2026, 10, 9), "Storage", "5"), window=OCTOBER)
    ledgers.store(reading(parts=(charged, part(row("rg-1", 3, "1")))))
    for days, blank in ((1, OCTOBER), (2, NOVEMBER), (3, OCTOBER)):
        now = NOW + days * DAY
        good = part(row("rg-1", 3, "1"), begun_at=now) if blank == OCTOBER else replace(charged, begun_at=now)
        assert ledgers.store(reading(parts=(part(window=blank, begun_at=now), good), night=now.date()), now).suspect
    assert ledgers.amounts() == {("rg-1", 9): "5", ("rg-1", 3): "1"}


def test_a_believed_reading_in_between_starts_the_count_afresh(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1")))
    for days in (1, 2):
        assert ledgers.store(empty(NOW + days * DAY), NOW + days * DAY).suspect
    third = NOW + 3 * DAY
    ledgers.store(reading(row("rg-1", 3, "1"), now=third), third)
    for days in (4, 5):
        assert ledgers.store(empty(NOW + days * DAY), NOW + days * DAY).suspect
    assert ledgers.store(empty(NOW + 6 * DAY), NOW + 6 * DAY) == Stored(removed=1)


def test_after_an_empty_answer_was_taken_the_count_starts_afresh(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1")))
    for days in (1, 2, 3):
        ledgers.store(empty(NOW + days * DAY), NOW + days * DAY)
    assert ledgers.amounts() == {}
    fourth = NOW + 4 * DAY
    ledgers.store(reading(row("rg-1", 3, "1"), now=fourth), fourth)
    assert ledgers.store(empty(NOW + 5 * DAY), NOW + 5 * DAY).suspect == (NOVEMBER,)


def test_an_empty_reading_of_one_group_is_never_taken_on_its_own(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1"), row("rg-2", 3, "1")))
    for days in range(1, 6):
        only = empty(NOW + days * DAY, group_keys=frozenset({"rg-1"}))
        assert ledgers.store(only, NOW + days * DAY).suspect == (NOVEMBER,)
    assert ledgers.amounts() == {("rg-1", 3): "1", ("rg-2", 3): "1"}


def test_an_empty_reading_of_a_group_without_charges_is_believed(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-2", 3, "1")))
    assert ledgers.store(empty(NOW, group_keys=frozenset({"rg-1"}))) == Stored()


def test_parts_next_to_a_suspect_one_and_to_one_that_failed_are_stored(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1")))
    now = NOW + DAY
    october = part(("rg-1", date(2026, 10, 9), "Storage", "5"), window=OCTOBER, begun_at=now)
    september = (Period(date(2026, 9, 1), date(2026, 10, 1)), "no (400)")
    all_three = reading(parts=(october, part(begun_at=now)), failed=(september,), night=now.date())
    assert ledgers.store(all_three, now) == Stored(added=1, suspect=(NOVEMBER,))
    assert ledgers.amounts() == {("rg-1", 9): "5", ("rg-1", 3): "1"}
    assert months(ledgers) == {
        9: ("failed", None, None),
        10: ("good", OCTOBER.start, OCTOBER.end - DAY),
        11: ("suspect", *GOOD_NOVEMBER[1:]),
    }


# --- order, repetition, crashes ------------------------------------------------------------------------------


def test_an_older_answer_changes_nothing_whatever_it_was_asked_for(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "2")), run_key="by hand")
    before = NOW - timedelta(seconds=1)
    for groups in (frozenset[str](), frozenset({"rg-1"})):
        assert ledgers.store(reading(row("rg-1", 3, "1"), now=before, group_keys=groups), NOW + DAY) == Stored()
    assert ledgers.amounts() == {("rg-1", 3): "2"}
    (known,) = ledgers.charges.account(AZURE, SUB).known.values()
    assert known.begun_at == NOW


@pytest.mark.parametrize("seed", range(4))
def test_of_each_group_and_day_the_answer_that_was_begun_last_counts_in_whatever_order_they_are_stored(
    ledgers: Ledgers, seed: int
) -> None:
    chance = random.Random(seed)
    latest: dict[tuple[str, int], tuple[int, str]] = {}
    begun = chance.sample(range(1, 100), 12)
    for second in begun:
        first = chance.randint(1, 8)
        last = chance.randint(first, 8)
        groups = chance.choice([frozenset[str](), frozenset({"rg-1"}), frozenset({"rg-2"})])
        cells = [(group, day) for group in sorted(groups or {"rg-1", "rg-2"}) for day in range(first, last + 1)]
        rows = [row(group, day, str(second)) for group, day in cells]
        window = Period(november(first), november(last + 1))
        now = NOW + timedelta(seconds=second)
        ledgers.store(reading(*rows, window=window, now=now, group_keys=groups), run_key=f"run {second}")
        for cell in cells:
            latest[cell] = max(latest.get(cell, (0, "")), (second, str(second)))
    assert ledgers.amounts() == {cell: amount for cell, (_, amount) in latest.items()}


def test_another_run_that_reads_further_back_does_not_make_a_reading_of_today_outdated(ledgers: Ledgers) -> None:
    october = reading(("rg-1", date(2026, 10, 9), "Storage", "5"), window=OCTOBER)
    today = reading(row("rg-1", 3, "2"), now=NOW - timedelta(seconds=30))
    ledgers.store(october, run_key="reads back")
    assert ledgers.store(today) == Stored(added=1)
    assert ledgers.amounts() == {("rg-1", 9): "5", ("rg-1", 3): "2"}


def test_a_reading_without_the_nights_day_does_not_count_as_its_projects_latest(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    ledgers.check(1)
    ledgers.store(reading(("rg-1", date(2026, 10, 9), "Storage", "5"), window=OCTOBER))
    assert ledgers.due() == [1]
    assert ledgers.projects.list_projects(TODAY)[0].updated_at is None


def test_a_reading_makes_its_projects_due(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2), entry(3, active=False), entry(4, subscription_id="other"))
    ledgers.check(1, 2, 3, 4)
    ledgers.store(reading(row("rg-1", 3, "1")))
    assert ledgers.due() == [1, 2]
    assert ledgers.charges.due_projects_of(ScopeTarget(subscription_id="other")) == []
    updated = {view.project.id: view.updated_at for view in ledgers.projects.list_projects(TODAY)}
    assert updated == {1: NOW, 2: NOW, 3: None, 4: None}


def test_what_became_of_a_scopes_queries_is_known_until_it_is_final(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1")), run_key="before")
    scope = ledgers.scope()
    for _ in range(2):
        ledgers.store(reading(parts=(part(window=NOVEMBER),), failed=((OCTOBER, "no (400)"),)))
    assert ledgers.charges.answers(scope.id) == [
        Answered(AZURE, SUB, OCTOBER, AnswerState.FAILED, 2, "no (400)"),
        Answered(AZURE, SUB, NOVEMBER, AnswerState.SUSPECT, 2, "came without any charge"),
    ]
    ledgers.store(reading(row("rg-1", 3, "1")))
    assert ledgers.charges.answers(scope.id)[1] == Answered(AZURE, SUB, NOVEMBER, AnswerState.READ, 3)
    ledgers.runs.mark_read(scope.id, None, NOW)
    assert ledgers.charges.answers(scope.id) == []


def test_a_project_that_is_due_keeps_the_time_since_when(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.store(reading(row("rg-1", 3, "1")), NOW + DAY)
    with ledgers.database.engine.connect() as connection:
        due_since = connection.exec_driver_sql("SELECT check_due_since FROM projects").scalar_one()
    assert str(due_since)[:10] == "2026-11-20"


def test_two_that_store_the_same_window_at_once_store_it_once(ledgers: Ledgers) -> None:
    what = reading(*(row(f"rg-{number}", day, "1") for number in range(20) for day in range(1, 20)))
    scope = ledgers.scope()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: ledgers.charges.store(scope.id, [what], NOW)[0], range(2)))
    assert sorted(results, key=lambda stored: stored.added) == [Stored(), Stored(added=380)]
    assert len(ledgers.stored_charges()) == 380


def test_of_two_different_readings_at_once_one_is_stored_and_no_mixture(ledgers: Ledgers) -> None:
    scope = ledgers.scope()
    answers = [[row(f"rg-{number}", day, "1") for number in range(10) for day in days] for days in ((1, 2), (3, 4))]
    for minute in range(5):
        ledgers.store(reading(row("rg-1", 9, "1"), now=NOW + timedelta(minutes=minute)))
        both = [reading(*rows, now=NOW + timedelta(minutes=minute)) for rows in answers]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda what: ledgers.charges.store(scope.id, [what], NOW), both))
        assert {key[1].day for key in ledgers.stored_charges()} in ({1, 2}, {3, 4})


# --- what is known of accounts and projects ------------------------------------------------------------------


def test_accounts_are_those_with_active_projects_and_the_rules_of_their_budgets(ledgers: Ledgers) -> None:
    ledgers.load(
        entry(1, "rg-1", "rg-one", subscription_id="b"),
        entry(2, subscription_id="b", terms=terms(rule=MONTHLY)),
        entry(3, subscription_id="a", terms=terms(None)),
        entry(4, subscription_id="a", terms=terms("0")),
        entry(5, subscription_id="c", active=False),
    )
    ledgers.store(reading(sub_account_id="unallocated"))
    a, b, c = (each.id for each in ledgers.cloud_accounts.accounts())
    assert ledgers.charges.accounts() == [
        Account(AZURE, "a", cloud_account_id=a, active_projects=2),
        Account(
            AZURE,
            "b",
            cloud_account_id=b,
            rules=frozenset({ANNUAL, MONTHLY}),
            active_projects=2,
            opened_from=date(2026, 4, 1),
            unclosed_from=date(2026, 4, 1),
        ),
    ]
    assert ledgers.charges.accounts(b) == ledgers.charges.accounts()[1:]
    assert ledgers.charges.account(AZURE, "b").rules == {ANNUAL, MONTHLY}
    assert ledgers.charges.account(AZURE, "c") == Account(AZURE, "c", cloud_account_id=c)
    assert ledgers.charges.account(AZURE, "unknown") == Account(AZURE, "unknown")


def test_scopes_of_a_project(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "Rg-B", "rg-a"), entry(2, active=False, terms=terms(None)))
    first, second = ledgers.charges.scopes_of(1), ledgers.charges.scopes_of(2)
    assert first is not None
    assert (first.active, first.groups, first.rule) == (True, {(AZURE, SUB): ("rg-a", "Rg-B")}, ANNUAL)
    assert second is not None
    assert (second.active, second.rule) == (False, None)
    assert ledgers.charges.scopes_of(99) is None


def test_due_projects_of_one_project(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2), entry(3, active=False))
    ledgers.check(2)
    due = ledgers.charges.due_projects_of
    assert [due(ScopeTarget(project_id=each)) for each in (1, 2, 3, 99)] == [[1], [], [], []]
    assert due(ScopeTarget(project_id=1, resource_group="rg-1")) == [1]


def test_a_project_turns_where_no_check_has_begun_its_present_period(ledgers: Ledgers) -> None:
    december = PeriodRule(PeriodKind.FIXED, date(2026, 12, 1), date(2027, 1, 1))
    november_only = PeriodRule(PeriodKind.FIXED, NOVEMBER.start, NOVEMBER.end)
    rules = (MONTHLY, ANNUAL, december, november_only)
    ledgers.load(*(entry(number, terms=terms(rule=rule)) for number, rule in enumerate(rules, start=1)))
    ledgers.load(entry(5, terms=terms(rule=MONTHLY), active=False))
    target = ScopeTarget(subscription_id=SUB)
    first = datetime(2026, 12, 1, 2, tzinfo=UTC)
    assert ledgers.charges.turning_projects_of(target, TODAY) == []
    # A period that begins, one that begins anew, and one that is over without another.
    assert ledgers.charges.turning_projects_of(target, first.date()) == [1, 3, 4]
    assert ledgers.charges.turning_projects_of(ScopeTarget(project_id=3), first.date()) == [3]
    assert ledgers.charges.turning_projects_of(ScopeTarget(project_id=2), first.date()) == []
    ledgers.check(1, 2, 3, 4, now=first)
    assert ledgers.charges.turning_projects_of(target, first.date()) == []
    assert ledgers.charges.turning_projects_of(target, date(2027, 1, 1)) == [1, 3]


def test_a_project_of_which_nothing_is_asked_turns_too(ledgers: Ledgers) -> None:
    monthly = terms(rule=MONTHLY)
    mixed = replace(entry(3, terms=monthly), scopes=(Scope(AZURE, SUB, "rg-3"), Scope("hetzner", "unfed")))
    unfed = replace(entry(4, terms=monthly), scopes=(Scope("hetzner", "unfed-4"),))
    ledgers.cloud_accounts.register(AZURE, "COST_EXPORT", ["exported"])
    ledgers.load(entry(1, terms=monthly), entry(2, subscription_id="exported", terms=monthly), mixed, unfed)
    ledgers.load(entry(5, subscription_id="disabled", terms=monthly), replace(entry(6, terms=monthly), scopes=()))
    ledgers.load(replace(entry(7, terms=monthly, active=False), scopes=()), entry(8, subscription_id="exported"))
    disabled = update(cloud_accounts).where(cloud_accounts.c.external_account_id == "disabled")
    ledgers.database.run(lambda connection: connection.execute(disabled.values(status="disabled")))
    turning = ledgers.charges.turning_projects_unasked
    assert turning({"COST_MANAGEMENT"}, TODAY) == []
    first = datetime(2026, 12, 1, 2, tzinfo=UTC)
    assert turning({"COST_MANAGEMENT"}, first.date()) == [2, 4, 5, 6]
    assert turning({"COST_MANAGEMENT", "COST_EXPORT"}, first.date()) == [4, 5, 6]
    ledgers.check(2, 4, 5, 6, now=first)
    assert turning({"COST_MANAGEMENT"}, first.date()) == []


def test_projects_of_a_subscription_of_a_cloud_account_and_of_another_provider(ledgers: Ledgers) -> None:
    elsewhere = replace(entry(2), scopes=(Scope("hetzner", SUB),))
    ledgers.load(entry(1), elsewhere, entry(3, subscription_id="other"))
    ledgers.cloud_accounts.register("hetzner", "HETZNER_API", [SUB])
    due = ledgers.charges.due_projects_of
    assert due(ScopeTarget(subscription_id=SUB)) == [1]
    fed = {each.provider + each.external_account_id: each.id for each in ledgers.cloud_accounts.accounts()}
    assert due(ScopeTarget(cloud_account_id=fed["hetzner" + SUB], provider="hetzner")) == [2]
    assert due(ScopeTarget(cloud_account_id=fed["azureother"], provider=AZURE)) == [3]
    ledgers.check(1, 2, 3)
    ledgers.store(reading(("", november(3), "Servers", "5"), provider="hetzner"))
    assert due(ScopeTarget(project_id=2)) == [2]
    assert due(ScopeTarget(subscription_id=SUB)) == []
    assert ledgers.charges.currencies_of("hetzner", SUB, NOVEMBER.start) == {"CAD"}
    assert ledgers.charges.currencies_of(AZURE, SUB, NOVEMBER.start) == frozenset()
    assert ledgers.charges.account(AZURE, SUB).known == {}


def test_what_figures_lack_is_told_of_active_projects_with_a_budget(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"), entry(2, "rg-2", active=False), replace(entry(3, "rg-3"), terms=terms("0")))
    (lacking,) = ledgers.charges.incomplete(TODAY).gaps
    assert (str(lacking[0]), lacking[1]) == (f"costs of {SUB} not read for April to November 2026", ("P1",))
    assert [str(each) for each in ledgers.projects.list_projects(TODAY)[0].gaps] == [str(lacking[0])]


def test_a_targets_projects_are_told_by_their_names(ledgers: Ledgers) -> None:
    other_id = "ed570627-0265-4620-bb42-bae06bcfa914"
    ledgers.load(entry(1, "rg-1"), entry(2, "rg-2", active=False), entry(3, "rg-3"))
    ledgers.load(entry(4, "rg-4", subscription_id=other_id))
    one, other = (ScopeTarget(subscription_id=each) for each in (SUB, other_id))
    assert [ledgers.charges.acronyms_of(each) for each in (one, other)] == [["P1", "P3"], ["P4"]]
    assert ledgers.charges.acronyms_of(ScopeTarget(project_id=3)) == ["P3"]


def test_an_accounts_currencies_are_those_of_its_charges_since_a_day(ledgers: Ledgers) -> None:
    ledgers.store(reading(("rg-1", date(2026, 10, 31), "Storage", "7"), window=OCTOBER, currency="USD"))
    ledgers.store(reading(row("rg-1", 3, "1"), currency="CAD"))
    account = reading().sub_account_id
    assert ledgers.charges.currencies_of(AZURE, account, date(2026, 10, 1)) == {"CAD", "USD"}
    assert ledgers.charges.currencies_of(AZURE, account, date(2026, 11, 3)) == {"CAD"}
    assert ledgers.charges.currencies_of(AZURE, account, date(2026, 11, 4)) == frozenset()
    assert ledgers.charges.currencies_of(AZURE, "another", date(2026, 1, 1)) == frozenset()


def test_stored_totals_are_told_by_currency_with_how_many_charges_they_are_of(ledgers: Ledgers) -> None:
    ledgers.store(reading(("rg-1", date(2026, 10, 31), "Storage", "7"), window=OCTOBER, currency="USD"))
    ledgers.store(reading(row("rg-1", 3, "1.5"), row("rg-2", 4, "0.0000000001"), currency="CAD"))
    both = Period(date(2026, 10, 31), date(2026, 11, 4))
    assert ledgers.charges.totals(AZURE, SUB, both) == {"USD": (Decimal(7), 1), "CAD": (Decimal("1.5"), 1)}
    assert ledgers.charges.totals(AZURE, SUB, OCTOBER) == {"USD": (Decimal(7), 1)}
    assert ledgers.charges.totals(AZURE, "another", both) == {}


def test_a_month_that_does_not_agree_with_its_total_is_due_and_stays_good(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("rg-1", 3, "1.5")))
    for agrees, good_on in ((True, TODAY), (False, None)):
        ledgers.charges.note_compared(AZURE, SUB, date(2026, 11, 1), TODAY, agrees)
        (month,) = ledgers.charges.account(AZURE, SUB).known.values()
        assert (month.is_good, month.good_on, month.compared_on) == (True, good_on, TODAY)
    ledgers.charges.note_compared(AZURE, SUB, date(2026, 5, 1), TODAY, agrees=False)
    assert len(ledgers.charges.account(AZURE, SUB).known) == 1


# --- any sequence --------------------------------------------------------------------------------------------


@dataclass
class SlowLedger:
    """What store() has to come to, in the plainest words."""

    charges: dict[tuple[str, date, str, str], Decimal] = field(default_factory=dict)
    read_at: dict[int, datetime] = field(default_factory=dict)
    suspect_on: dict[int, set[date]] = field(default_factory=dict)
    stored: list[tuple[Period, frozenset[str], datetime]] = field(default_factory=list)

    def store(self, what: Reading) -> tuple[Period, ...]:
        (read,) = what.parts
        month, whole = read.window.start.month, not what.group_keys
        last = self.read_at.get(month)
        days = [read.window.start + timedelta(days=number) for number in range(read.window.days)]
        if all(self.is_newer(None, day, read.begun_at) for day in days):
            return ()
        gone = self.takes_away(read, what.group_keys, what.night)
        blank = not any(each.amounts for each in read.charges)
        if whole and (gone or (blank and last is None and read.window.start < what.night)):
            nights = self.suspect_on.setdefault(month, set())
            nights.add(what.night)
            if len(nights) < 3:
                return (read.window,) if gone else ()
        elif gone:
            return (read.window,)
        self.replace(read, what.group_keys)
        if whole:
            self.suspect_on.pop(month, None)
            self.read_at[month] = max(last or read.begun_at, read.begun_at)
        return ()

    def is_newer(self, group: str | None, day: date, than: datetime) -> bool:
        """Whether what is stored of the day, of this group or (None) of all, is of an answer begun later."""
        return any(
            begun_at > than and day in window and (not groups or group in groups)
            for window, groups, begun_at in self.stored
        )

    def takes_away(self, read: ReadPart, groups: frozenset[str], night: date) -> bool:
        """Whether nothing, or less than a quarter, is left of what is stored, as the same charges or as others."""
        stored = [key for key in self.within(read.window, groups) if not self.is_newer(key[0], key[1], read.begun_at)]
        came = [
            (key, str(each.billing_currency), cost)
            for each in read.charges
            for key, cost in each.amounts.items()
            if not self.is_newer(key[0], key[1], read.begun_at)
        ]
        if not came:
            return bool(stored)
        left = []
        for currency in {key[3] for key in stored if self.charges[key] > 0 and key[1] < night}:
            costs = {key[:3]: self.charges[key] for key in stored if key[3] == currency and key[1] < night}
            again = sum(max(costs.get(key, 0), 0) for key, _, cost in came if cost)
            now = sum(cost for key, its, cost in came if its == currency and cost > 0 and key[1] < night)
            left.append(4 * max(again, now) >= sum(cost for cost in costs.values() if cost > 0))
        return bool(left) and not any(left)

    def within(self, window: Period, groups: frozenset[str]) -> list[tuple[str, date, str, str]]:
        return [key for key in self.charges if key[1] in window and (not groups or key[0] in groups)]

    def replace(self, read: ReadPart, groups: frozenset[str]) -> None:
        for key in self.within(read.window, groups):
            if not self.is_newer(key[0], key[1], read.begun_at):
                del self.charges[key]
        for each in read.charges:
            for (group, day, service), cost in each.amounts.items():
                if not self.is_newer(group, day, read.begun_at):
                    self.charges[group, day, service, str(each.billing_currency)] = cost
        self.stored.append((read.window, groups, read.begun_at))


WINDOWS = (OCTOBER, NOVEMBER)
GROUPS = ("", "rg-1", "RG-1", "rg-2")


@st.composite
def nights(draw: st.DrawFn) -> tuple[timedelta, timedelta, Reading]:
    """Time since the night before, how long before its storing the reading began, and the reading."""
    window = draw(st.sampled_from(WINDOWS))
    days = st.integers(0, window.days - 1).map(lambda number: window.start + timedelta(days=number))
    key = st.tuples(st.sampled_from(GROUPS), days, st.sampled_from(("Storage", "SQL")))
    groups = frozenset(draw(st.sampled_from(((), (), ("rg-1",), ("rg-1", "rg-2")))))
    rows = draw(st.lists(st.tuples(key, st.sampled_from(("-1", "0", "0.5", "2"))), max_size=6))
    kept = [(*key, amount) for key, amount in rows if not groups or key[0].lower() in groups]
    what = reading(*kept, window=window, currency=draw(st.sampled_from(("CAD", "CAD", "USD"))), group_keys=groups)
    passed = timedelta(hours=draw(st.sampled_from((1, 24, 24, 72))))
    return passed, timedelta(minutes=draw(st.sampled_from((1, 1, 90)))), what


numbers = itertools.count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(nights(), min_size=1, max_size=8))
def test_any_sequence_of_readings_gives_what_a_plain_dictionary_gives(
    ledgers: Ledgers, sequence: list[tuple[timedelta, timedelta, Reading]]
) -> None:
    """Alone, and together with others in one transaction."""
    alone, one, other = (f"account {next(numbers)}" for _ in range(3))
    slow, now, scope = SlowLedger(), NOW, ledgers.scope(alone)
    for passed, before, what in sequence:
        now += passed
        (read,) = what.parts
        again = replace(what, parts=(replace(read, begun_at=now - before),), night=now.date())
        together = [replace(again, sub_account_id=each) for each in (other, one)]
        stored = ledgers.charges.store(scope.id, [replace(again, sub_account_id=alone)], now)
        assert ledgers.charges.store(scope.id, together, now) == stored * 2
        assert stored[0].suspect == slow.store(again)
        for account in (alone, one, other):
            assert ledgers.stored_charges(account) == slow.charges
    known = [ledgers.charges.account(AZURE, account).known for account in (alone, one, other)]
    assert known[1:] == known[:1] * 2
    answered = [(each.window, each.state, each.tries, each.reason) for each in ledgers.charges.answers(scope.id)]
    assert answered == answered[: len(answered) // 3] * 3


def test_many_sub_accounts_take_no_more_statements_and_transactions_than_a_few(ledgers: Ledgers) -> None:
    def counted(number: int, now: datetime, cost: str) -> int:
        came = [reading(row("", 3, cost), now=now, sub_account_id=f"{number}-{each}") for each in range(number)]
        statements: list[str] = []
        event.listen(ledgers.database.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
        begun: list[object] = []
        event.listen(ledgers.database.engine, "begin", begun.append)
        ledgers.charges.store(scope.id, came, now)
        assert len(begun) == 1
        return len(statements)

    scope = ledgers.scope()
    for now, cost in ((NOW, "1"), (NOW + DAY, "2")):
        assert counted(30, now, cost) == counted(3, now, cost)


# --- what a payer's answer misses ----------------------------------------------------------------------------


def missing_in(window: Period, begun_at: datetime) -> ReadPart:
    """Others' charges came, and none of this sub-account."""
    return replace(part(window=window, begun_at=begun_at), left_out=True)


AUGUST = Period(date(2026, 8, 1), date(2026, 9, 1))


def test_what_a_payers_answer_misses_next_to_months_with_charges_is_taken_the_third_night_and_not_waited_for(
    ledgers: Ledgers,
) -> None:
    ledgers.store(reading(row("", 3, "1")))
    for days, state in ((0, "suspect"), (1, "suspect"), (2, "good"), (3, "good")):
        now = NOW + days * DAY
        ledgers.store(reading(parts=(missing_in(OCTOBER, now),), now=now), now)
        assert months(ledgers)[10][0] == state
    known = ledgers.charges.account(AZURE, SUB).known[OCTOBER.start]
    assert (known.blank_believed_on, known.good_on) == (None, TODAY + 3 * DAY)


@pytest.mark.parametrize("is_stored", [True, False])
def test_charges_of_the_same_answers_make_it_doubtful_as_those_that_are_stored(
    ledgers: Ledgers, is_stored: bool
) -> None:
    charged = part(row("", 3, "1"))
    if is_stored:
        ledgers.store(reading(parts=(charged,)))
        ledgers.store(reading(parts=(missing_in(OCTOBER, NOW),)))
    else:
        ledgers.store(reading(parts=(missing_in(OCTOBER, NOW), charged)))
    assert months(ledgers) == {10: ("suspect", None, None), 11: GOOD_NOVEMBER}


def test_what_it_misses_elsewhere_is_believed_at_once(ledgers: Ledgers) -> None:
    ledgers.store(reading(parts=(missing_in(AUGUST, NOW), part(row("", 3, "1")))))
    assert months(ledgers)[8][0] == "good"


def test_where_charges_are_stored_what_it_misses_is_waited_for_all_of_it(ledgers: Ledgers) -> None:
    ledgers.store(reading(row("", 3, "1"), row("", 4, "2")))
    for days in (1, 2, 3):
        now = NOW + days * DAY
        outcome = ledgers.store(reading(parts=(missing_in(NOVEMBER, now),), now=now), now)
    assert outcome == Stored(removed=2)
    known = ledgers.charges.account(AZURE, SUB).known[NOVEMBER.start]
    assert known.blank_believed_on == TODAY + 3 * DAY
    assert known.due_from(TODAY + 20 * DAY, LOOKBACK_DAYS) == NOVEMBER.start
