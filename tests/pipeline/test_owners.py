"""A project whose groups change keeps what it has spent, and it is still read as long as it may change."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from shared.domain.locks import LockMode
from shared.messages import Queue, to_json
from shared.pipeline.azure_budgets.names import azure_name
from shared.ports.azure import AzureBudget, ResourceGroup
from shared.ports.errors import NeverError
from tests.pipeline.conftest import APRIL, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry
from tests.pipeline.test_any_history import alert_of
from tests.pipeline.test_year import carrying, nights, on, settled, told

MOVED = date(2026, 11, 25)


def spend(chain: Chain, subscription: str, cost: str, day: date, group: str = "rg-11") -> None:
    chain.costs.charges[subscription, group, day, "Storage"] = Decimal(cost)


def moved(chain: Chain, **changes: object) -> None:
    """Project 11 spends 932 in one subscription, and from 26 November on 400 in another."""
    chain.load(entry(amount="10000", **changes))
    spend(chain, SUBSCRIPTION, "932", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), MOVED)
    chain.load(entry(amount="10000", subscription=OTHER_SUBSCRIPTION, **changes))
    spend(chain, OTHER_SUBSCRIPTION, "400", date(2026, 11, 26))


def asked(chain: Chain) -> set[str]:
    """The subscriptions that a night asks for."""
    chain.costs.queries.clear()
    chain.night()
    return {query.sub_account_id for query in chain.costs.queries}


def test_a_subscription_that_changes_takes_none_of_the_past_spending_away(chain: Chain) -> None:
    moved(chain)
    nights(chain, date(2026, 11, 26), date(2026, 11, 27))
    assert chain.spent() == 1332
    # What goes on in the old one is nobody's.
    spend(chain, SUBSCRIPTION, "50", date(2026, 11, 27))
    nights(chain, date(2026, 11, 28), date(2026, 11, 28))
    assert chain.spent() == 1332


@pytest.mark.slow
def test_late_costs_in_the_old_subscription_are_read_and_told_as_long_as_nights_read_its_days(chain: Chain) -> None:
    moved(chain, rule=APRIL)
    on(chain, date(2026, 11, 26))
    assert asked(chain) == {SUBSCRIPTION, OTHER_SUBSCRIPTION}
    spend(chain, SUBSCRIPTION, "8600", MOVED)
    nights(chain, date(2026, 11, 27), date(2026, 12, 29))
    assert chain.spent() == 932 + 400 + 8600
    assert told(chain)[0] == "80"
    on(chain, date(2026, 12, 30))
    assert asked(chain) == {SUBSCRIPTION, OTHER_SUBSCRIPTION}
    on(chain, date(2026, 12, 31) + timedelta(days=1))
    chain.night()
    on(chain, date(2027, 1, 2))
    assert asked(chain) == {OTHER_SUBSCRIPTION}
    assert chain.spent() == 932 + 400 + 8600


def test_what_was_carried_is_final_although_an_old_subscription_is_read_no_more(chain: Chain) -> None:
    chain.load(carrying())
    spend(chain, SUBSCRIPTION, "100", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), MOVED)
    chain.load(carrying(subscription=OTHER_SUBSCRIPTION))
    nights(chain, date(2026, 11, 26), date(2027, 1, 6))
    assert settled(chain)[:2] == [True, True]


def test_a_group_that_moves_is_summed_once_for_each_of_its_days(chain: Chain) -> None:
    chain.load(entry(groups=("rg-11", "moving")), entry(12))
    for day in range(1, 29):
        spend(chain, SUBSCRIPTION, "1", date(2026, 11, day), "moving")
    nights(chain, date(2026, 11, 20), date(2026, 11, 20))
    chain.load(entry(), entry(12, groups=("rg-12", "moving")))
    nights(chain, date(2026, 11, 21), date(2026, 11, 29))
    assert (chain.spent(11), chain.spent(12)) == (20, 8)


def test_what_azures_budget_counts_of_a_group_before_it_came_locks_nobody(chain: Chain) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    for group in ("rg-11", "rg-12", "moving"):
        chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, group))
    chain.load(entry(amount="5000", groups=("rg-11", "moving")), entry(12))
    spend(chain, SUBSCRIPTION, "1200", date(2026, 11, 10), "moving")
    nights(chain, date(2026, 11, 20), date(2026, 11, 20))
    chain.load(entry(amount="5000"), entry(12, groups=("rg-12", "moving")))
    nights(chain, date(2026, 11, 21), date(2026, 11, 21))
    name, first, last = azure_name("P12"), date(2026, 11, 1), date(2036, 10, 31)
    shown = AzureBudget(
        name,
        Decimal(1000),
        "Monthly",
        first,
        last,
        ("rg-12", "moving"),
        {},
        current_spend=Decimal(1200),
        currency="CAD",
    )
    chain.azure_budgets.budgets[SUBSCRIPTION, name] = shown
    chain.work(Queue.LOCK, to_json(alert_of(12)))
    chain.drain()
    assert not chain.azure_locks.groups[SUBSCRIPTION, "rg-12"]


@pytest.mark.slow
def test_what_a_project_has_left_and_nobody_could_read_is_missing_until_its_period_ends(chain: Chain) -> None:
    chain.load(entry(11, rule=APRIL), entry(12, subscription=OTHER_SUBSCRIPTION))
    for month in range(4, 12):
        spend(chain, SUBSCRIPTION, "10", date(2026, month, 1))
    chain.night()
    chain.costs.fails = lambda query: (
        NeverError("Azure refuses it (403)") if query.sub_account_id == SUBSCRIPTION else None
    )
    nights(chain, date(2026, 11, 21), date(2026, 11, 21))
    chain.load(entry(11, rule=APRIL, subscription=OTHER_SUBSCRIPTION))
    nights(chain, date(2026, 11, 22), date(2027, 1, 10))
    assert SUBSCRIPTION not in asked(chain)
    (view,) = (each for each in chain.projects.list_projects(date(2027, 1, 10)) if each.project.id == 11)
    assert [str(gap) for gap in view.gaps if gap.sub_account_id == SUBSCRIPTION] == [
        f"October to November 2026 of {SUBSCRIPTION} could not be read: Azure refuses it (403)"
    ]
