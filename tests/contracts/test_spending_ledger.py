"""The SpendingLedger, on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import event

from shared.adapters.database.engine import Database
from shared.domain.allocation import Method, Pool, Rule, Share
from shared.domain.periods import Period
from shared.ports.spending import KEYS, By, Selection
from tests.contracts.ledger_data import NOVEMBER, NOW, OCTOBER, SUB, TODAY, Ledgers, entry, november, reading

OTHER = "2caaa5a3-2b66-438e-8ab4-bce37d518c5d"
ALL_OF_IT = Selection(Period(OCTOBER.start, NOVEMBER.end))
LATER = datetime(2026, 11, 20, 3, tzinfo=UTC)


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


@pytest.fixture
def spent(ledgers: Ledgers) -> Ledgers:
    """Two subscriptions, two projects, a group that nobody owns, two months and two currencies."""
    ledgers.load(entry(1, "RG-1"), entry(2, "rg-2", subscription_id=OTHER))
    ledgers.spend(("RG-1", date(2026, 10, 31), "Storage", "1.0000000001"), window=OCTOBER)
    ledgers.spend(
        ("RG-1", november(1), "Storage", "2"),
        ("RG-1", november(2), "SQL", "4"),
        ("stray", november(2), "SQL", "8"),
        ("", november(3), "Support", "16"),
        now=LATER,
    )
    ledgers.spend(("rg-2", november(2), "SQL", "32"), currency="USD", sub_account_id=OTHER)
    return ledgers


def sums(ledgers: Ledgers, by: By, which: Selection = ALL_OF_IT) -> dict[tuple[str, ...], str]:
    """What was spent, as text, by key and currency."""
    found = ledgers.spending.sums(which, by)
    assert len({(each.key, each.currency) for each in found}) == len(found)
    assert all(len(each.key) == len(KEYS[by]) for each in found)
    return {(*each.key, each.currency): f"{each.cost.normalize():f}" for each in found}


def test_what_projects_used_in_a_period_each_is_known_by_day_with_what_rules_gave_them(spent: Ledgers) -> None:
    rule = Rule("hub", Pool("azure", SUB), Method.FIXED, november(1), None, (Share(2, Decimal(50)),))
    spent.allocations.load([rule], "ann", "agreed", NOW, lambda _changes: True)

    def used(*spans: tuple[int, Period]) -> list[tuple[date, str, str]]:
        found = spent.spending.used_by_day(spans)
        return sorted((day, currency, f"{cost.normalize():f}") for day, currency, cost in found)

    assert used((1, NOVEMBER), (2, NOVEMBER)) == [
        (november(1), "CAD", "2"),
        # 4 of its own, and half of the stray 8.
        (november(2), "CAD", "8"),
        (november(2), "USD", "32"),
        (november(3), "CAD", "8"),
    ]
    assert used((1, OCTOBER), (2, Period(november(2), november(3)))) == [
        (date(2026, 10, 31), "CAD", "1.0000000001"),
        (november(2), "CAD", "4"),
        (november(2), "USD", "32"),
    ]
    assert used((1, Period(november(1), november(2)))) == [(november(1), "CAD", "2")]
    assert used() == []


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (
            By.SERVICE,
            {
                ("Storage", "CAD"): "3.0000000001",
                ("SQL", "CAD"): "12",
                ("SQL", "USD"): "32",
                ("Support", "CAD"): "16",
            },
        ),
        (By.MONTH, {("2026-10", "CAD"): "1.0000000001", ("2026-11", "CAD"): "30", ("2026-11", "USD"): "32"}),
        (By.SUB_ACCOUNT, {("azure", SUB, "CAD"): "31.0000000001", ("azure", OTHER, "USD"): "32"}),
        (By.PROJECT, {("P1", "CAD"): "7.0000000001", ("P2", "USD"): "32", ("", "CAD"): "24"}),
    ],
)
def test_every_charge_is_in_one_sum_of_its_currency(
    spent: Ledgers, by: By, expected: dict[tuple[str, ...], str]
) -> None:
    assert sums(spent, by) == expected


def test_projects_of_one_owner_department_or_cost_centre_are_summed(spent: Ledgers) -> None:
    spent.load(
        entry(1, "RG-1", owner="Ann Roy", department="Eau", cost_centre="CC-1"),
        entry(2, "rg-2", subscription_id=OTHER, owner="Ann Roy"),
    )
    assert sums(spent, By.OWNER) == {
        ("Ann Roy", "CAD"): "7.0000000001",
        ("Ann Roy", "USD"): "32",
        ("", "CAD"): "24",
    }
    # One sum of what no project owns, and of what belongs to none as far as anybody said.
    assert sums(spent, By.DEPARTMENT) == {("Eau", "CAD"): "7.0000000001", ("", "USD"): "32", ("", "CAD"): "24"}
    spent.load(entry(3, "stray"))
    assert sums(spent, By.COST_CENTRE) == {("CC-1", "CAD"): "7.0000000001", ("", "USD"): "32", ("", "CAD"): "24"}


def test_days_are_summed_by_day_and_the_last_one_is_not_in(spent: Ledgers) -> None:
    days = Selection(Period(date(2026, 10, 31), november(2)))
    assert sums(spent, By.DAY, days) == {("2026-10-31", "CAD"): "1.0000000001", ("2026-11-01", "CAD"): "2"}


def test_of_a_project_only_its_own_charges_count(spent: Ledgers) -> None:
    assert sums(spent, By.RESOURCE_GROUP, replace(ALL_OF_IT, project_ids=(1,))) == {
        ("azure", SUB, "RG-1", "CAD"): "7.0000000001"
    }
    assert sums(spent, By.SERVICE, replace(ALL_OF_IT, project_ids=(1,), sub_account_id=OTHER)) == {}


@pytest.mark.parametrize("project_ids", [None, (1,), (1, 2), ()])
def test_sums_that_are_asked_for_together_are_those_that_are_asked_for_alone(
    spent: Ledgers, project_ids: tuple[int, ...] | None
) -> None:
    spent.load(entry(1, "RG-1", "stray"), entry(2, "rg-2", subscription_id=OTHER))
    which = replace(ALL_OF_IT, project_ids=project_ids)
    found = spent.spending.breakdown(which, list(By))
    assert found.keys() == set(By)
    for by in By:
        alone = spent.spending.sums(which, by)
        assert sorted(found[by], key=repr) == sorted(alone, key=repr), by


def test_a_projects_days_months_and_sub_accounts_are_summed_at_once(spent: Ledgers) -> None:
    executed: list[str] = []
    event.listen(spent.database.engine, "before_cursor_execute", lambda *seen: executed.append(seen[2]))
    which = replace(ALL_OF_IT, project_ids=(1,))
    spent.spending.breakdown(which, (By.DAY, By.SERVICE, By.SUB_ACCOUNT, By.MONTH))
    assert sum("sum(" in each.lower() for each in executed) == 2


def test_of_a_sub_account_all_count_whoever_owns_them(spent: Ledgers) -> None:
    of_it = replace(ALL_OF_IT, sub_account_id=SUB)
    assert sums(spent, By.PROJECT, of_it) == {("P1", "CAD"): "7.0000000001", ("", "CAD"): "24"}


def test_unallocated_is_what_no_project_owned_on_its_day(spent: Ledgers) -> None:
    unowned = replace(ALL_OF_IT, unallocated=True)
    assert sums(spent, By.RESOURCE_GROUP, unowned) == {
        ("azure", SUB, "stray", "CAD"): "8",
        ("azure", SUB, "", "CAD"): "16",
    }
    spent.load(entry(1, "RG-1", "stray"))
    assert sums(spent, By.RESOURCE_GROUP, unowned) == {("azure", SUB, "", "CAD"): "16"}


def test_a_charge_stays_with_the_project_that_had_its_group_on_that_day(spent: Ledgers) -> None:
    spent.load(entry(1, "rg-9"), entry(3, "RG-1"), now=datetime(2026, 11, 1, 12, tzinfo=UTC))
    assert sums(spent, By.PROJECT, replace(ALL_OF_IT, sub_account_id=SUB)) == {
        ("P1", "CAD"): "3.0000000001",
        ("P3", "CAD"): "4",
        ("", "CAD"): "24",
    }


def test_a_charge_of_nothing_has_no_sum(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    ledgers.spend(("rg-1", november(1), "Storage", "0"))
    assert sums(ledgers, By.SERVICE) == {}


def test_what_was_not_read_is_lacking(spent: Ledgers) -> None:
    spending = spent.spending
    assert spending.lacking(replace(ALL_OF_IT, project_ids=(1,)), TODAY) == []
    (missing,) = spending.lacking(replace(ALL_OF_IT, project_ids=(2,)), TODAY)
    assert (missing.sub_account_id, missing.days) == (OTHER, OCTOBER)
    assert spending.lacking(replace(ALL_OF_IT, unallocated=True), TODAY) == [missing]
    assert spending.lacking(replace(ALL_OF_IT, sub_account_id=SUB), TODAY) == []


@pytest.mark.parametrize(("group", "whose"), [("rg-1", "1"), ("stray", "unallocated")])
def test_rows_that_were_set_aside_are_lacking_for_whoever_owns_their_group(
    ledgers: Ledgers, group: str, whose: str
) -> None:
    ledgers.load(entry(1), entry(2))
    ledgers.store(reading(("rg-2", november(3), "SQL", "1"), (group, november(4), "SQL", "1e18"), night=TODAY))
    asked = {
        "1": Selection(NOVEMBER, project_ids=(1,)),
        "2": Selection(NOVEMBER, project_ids=(2,)),
        "unallocated": Selection(NOVEMBER, unallocated=True),
        "all": Selection(NOVEMBER),
    }
    lacking = {name for name, which in asked.items() if ledgers.spending.lacking(which, TODAY)}
    assert lacking == {whose, "all"}


def test_of_a_sub_account_that_a_project_had_for_some_days_only_those_can_be_lacking(spent: Ledgers) -> None:
    moved = datetime(2026, 11, 10, 12, tzinfo=UTC)
    spent.load(entry(2, "rg-9"), entry(3, "rg-2", subscription_id=OTHER), now=moved)
    assert spent.spending.lacking(replace(ALL_OF_IT, project_ids=(3,)), TODAY) == []
    (missing,) = spent.spending.lacking(replace(ALL_OF_IT, project_ids=(2,)), TODAY)
    assert (missing.sub_account_id, missing.days) == (OTHER, OCTOBER)
    assert spent.spending.lacking(Selection(NOVEMBER, project_ids=(2,)), TODAY) == []


@pytest.mark.parametrize(
    ("written", "stored"), [(SUB.upper(), [("azure", SUB)]), (SUB, [("azure", SUB)]), (OTHER[:-1], [])]
)
def test_a_sub_account_is_known_in_any_spelling(spent: Ledgers, written: str, stored: list[tuple[str, str]]) -> None:
    assert spent.spending.stored_sub_accounts(written) == stored


def test_sums_are_exact(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    ledgers.spend(*(("rg-1", november(day), "Storage", "0.1") for day in range(1, 11)), now=NOW)
    assert [each.cost for each in ledgers.spending.sums(ALL_OF_IT, By.SERVICE)] == [Decimal(1)]


def test_of_several_projects_each_ones_charges_count_however_many_they_are(spent: Ledgers) -> None:
    both = replace(ALL_OF_IT, project_ids=(1, 2, *range(100, 3000)))
    assert sums(spent, By.PROJECT, both) == {("P1", "CAD"): "7.0000000001", ("P2", "USD"): "32"}
    assert sums(spent, By.PROJECT, replace(both, project_ids=())) == {}
    lacking = spent.spending.lacking(replace(both, days=Period(date(2026, 9, 1), NOVEMBER.end)), TODAY)
    assert {gap.sub_account_id for gap in lacking} == {SUB, OTHER}
