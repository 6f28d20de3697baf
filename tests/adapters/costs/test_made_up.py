"""Costs that are made up: the same each time, of the projects' groups, up to yesterday."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from shared.adapters.costs.made_up import MadeUpCosts
from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery
from tests.contracts.ledger_data import MONTHLY, SUB, entry, terms
from tests.fakes import charges_of

NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
ENTRIES = [
    replace(entry(number), scopes=(Scope(AZURE, SUB, f"RG-{number}"),), terms=terms("900", rule=MONTHLY))
    for number in range(1, 41)
]


def spent(now: datetime, *groups: str, account: str = SUB) -> dict[str, Decimal]:
    answer = MadeUpCosts(lambda: ENTRIES, lambda: now).read(CostQuery(AZURE, account, NOVEMBER, groups))
    sums: dict[str, Decimal] = {}
    for (group, _, _), cost in charges_of(answer).amounts.items():
        sums[group] = sums.get(group, Decimal(0)) + cost
    return sums


def test_at_a_periods_end_some_projects_are_past_their_budget_and_some_are_not() -> None:
    sums = spent(datetime(2026, 12, 1, 2, tzinfo=UTC))
    assert len(sums) == len(ENTRIES)
    assert all(Decimal(359) < each < Decimal(1261) for each in sums.values())
    assert min(sums.values()) < 900 <= max(sums.values())


def test_what_was_told_stays_and_today_is_not_told() -> None:
    early, late = (spent(datetime(2026, 11, day, 23, tzinfo=UTC), "rg-7")["rg-7"] for day in (11, 21))
    assert late == 2 * early


def test_only_groups_that_were_asked_for_in_whatever_spelling_and_of_this_subscription() -> None:
    now = datetime(2026, 11, 11, tzinfo=UTC)
    assert set(spent(now, "Rg-1", "rg-2", "nobodys", account=SUB.upper())) == {"rg-1", "rg-2"}
    assert spent(now, account="other") == {}
