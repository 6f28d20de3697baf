"""Whatever changes hands, and when: each charge is one project's or nobody's, and none is summed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.database.engine import Database
from shared.domain.periods import Period
from shared.ports.spending import By, Selection
from tests.contracts.ledger_data import MONTHLY, Ledgers, entry, terms

DAY = timedelta(days=1)
FIRST, LAST = date(2026, 11, 1), date(2026, 11, 30)
GROUPS = ("a", "b", "c")
owners = st.fixed_dictionaries({group: st.sampled_from([None, 1, 2]) for group in GROUPS})
changes = st.lists(st.tuples(st.integers(1, 28), owners), max_size=6, unique_by=lambda change: change[0])
charged = st.dictionaries(st.tuples(st.sampled_from(GROUPS), st.integers(1, 30)), st.integers(-50, 100), max_size=40)


def load(ledgers: Ledgers, owned: dict[str, int | None], day: date) -> None:
    rule = terms(rule=MONTHLY)
    groups = {each: [group for group, owner in owned.items() if owner == each] for each in (1, 2)}
    entries = [entry(each, f"own-{each}", *groups[each], terms=rule) for each in (1, 2)]
    ledgers.load(*entries, now=datetime(day.year, day.month, day.day, 12, tzinfo=UTC))


def owner_on(history: list[tuple[date, dict[str, int | None]]], group: str, day: date) -> int | None:
    """Whoever had the group when the day began; on a day that nobody had, whoever took it next."""
    begun = [owned[group] for changed_on, owned in history if changed_on < day]
    if begun and begun[-1] is not None:
        return begun[-1]
    return next((owned[group] for changed_on, owned in history if changed_on >= day and owned[group]), None)


@given(first=owners, happened=changes, spent=charged)
@settings(max_examples=60, deadline=None)
def test_whose_a_charge_is_is_what_a_walk_through_the_days_says(
    fresh_database: Callable[[], Database],
    first: dict[str, int | None],
    happened: list[tuple[int, dict[str, int | None]]],
    spent: dict[tuple[str, int], int],
) -> None:
    ledgers = Ledgers(fresh_database())
    history = [(FIRST - DAY, first), *((date(2026, 11, day), owned) for day, owned in sorted(happened, key=_day))]
    rows = [(group, date(2026, 11, day), "Storage", str(cost)) for (group, day), cost in spent.items()]
    for number, (day, owned) in enumerate(history):
        load(ledgers, owned, day)
        if number == 0:
            ledgers.spend(*rows)
    expected = Counter[int | None]()
    for (group, day), cost in spent.items():
        expected[owner_on(history, group, date(2026, 11, day))] += cost
    seen = {view.project.id: view.spent for view in ledgers.projects.list_projects(LAST)}
    assert seen == {each: Decimal(expected[each]) for each in (1, 2)}
    unallocated = sum(spent.values()) - sum(map(int, seen.values()))
    assert unallocated == expected[None]
    whose = {"P1": 1, "P2": 2, "": None}
    sums = ledgers.spending.sums(Selection(Period(FIRST, LAST + DAY)), By.PROJECT)
    assert {whose[each.key[0]]: each.cost for each in sums if each.cost} == {
        who: cost for who, cost in expected.items() if cost
    }


def _day(change: tuple[int, dict[str, int | None]]) -> int:
    return change[0]
