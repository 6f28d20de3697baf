"""What is allocated to a project is told to its people, and locks nothing."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from shared.domain.allocation import Method, Pool, Rule, Share
from shared.domain.locks import LockMode
from shared.ports.azure import AZURE, ResourceGroup
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry
from tests.pipeline.test_notify import check, next_night, read_costs, use

GROUP = ResourceGroup(SUBSCRIPTION, "rg-11")
ALLOCATED_ONLY = "Allocated costs lock nothing. Only once its own costs reach the budget is the project locked"


@pytest.fixture
def shared_costs(chain: Chain) -> Chain:
    """A project (budget 1000), of which 100 % is enforced, and 800 of nobody, all of it allocated to the project."""
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.azure_locks.add_group(GROUP)
    chain.load(entry())
    chain.spend("800", date(2026, 11, 3), "hub", "Firewall")
    allocate(chain)
    return chain


def is_locked(chain: Chain) -> bool:
    return bool(chain.azure_locks.locks_on(GROUP))


def allocate(chain: Chain) -> None:
    shares = (Share(11, Decimal(100)),)
    rule = Rule("Hub", Pool(AZURE, SUBSCRIPTION), Method.FIXED, date(2026, 11, 1), None, shares)
    chain.allocations.load([rule], "ann", "agreed", chain.clock(), lambda _changes: True)


def test_a_project_that_is_full_by_what_is_allocated_is_told_and_not_locked(shared_costs: Chain) -> None:
    use(shared_costs, "30")
    shared_costs.night()
    (mail,) = shared_costs.mailer.sent
    assert "100 % of the budget reached (110.0 % used)" in mail.subject
    for content in (mail.text, mail.html):
        assert "of which allocated" in content
        assert "800.00" in content
        assert ALLOCATED_ONLY in content
        assert "being locked" not in content
    assert not is_locked(shared_costs)
    read_costs(shared_costs)
    assert check(shared_costs) == []


def test_once_its_own_charges_reach_the_budget_it_is_locked_and_that_is_told(shared_costs: Chain) -> None:
    use(shared_costs, "30")
    shared_costs.night()
    use(shared_costs, "100")
    (subject,) = next_night(shared_costs)
    assert "locked" in subject
    assert is_locked(shared_costs)


def test_own_charges_at_100_percent_are_locked_whatever_is_allocated(shared_costs: Chain) -> None:
    use(shared_costs, "100")
    shared_costs.night()
    (mail,) = shared_costs.mailer.sent
    assert "being locked" in mail.subject
    assert ALLOCATED_ONLY not in mail.text


def test_credits_that_are_allocated_keep_no_lock_off(shared_costs: Chain) -> None:
    shared_costs.spend("-800", date(2026, 11, 3), "hub", "Firewall")
    use(shared_costs, "100")
    shared_costs.night()
    assert is_locked(shared_costs)


def test_a_lock_comes_off_by_own_charges_though_all_of_it_is_used_with_what_is_allocated(shared_costs: Chain) -> None:
    use(shared_costs, "100")
    shared_costs.night()
    use(shared_costs, "40")
    for _ in range(4):
        next_night(shared_costs)
    assert not is_locked(shared_costs)


def test_without_anything_allocated_mails_are_as_ever(chain: Chain) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.load(entry())
    use(chain, "80")
    chain.night()
    (mail,) = chain.mailer.sent
    assert "allocated" not in mail.text.lower()
    assert "allocated" not in mail.html.lower()


def test_what_is_allocated_is_expected_to_go_on(chain: Chain) -> None:
    chain.load(entry())
    for day in range(1, 20):
        chain.spend("10", date(2026, 11, day))
        chain.spend("30", date(2026, 11, day), "hub", "Firewall")
    chain.night()
    (alone,) = chain.projects.list_projects(chain.clock().date())
    allocate(chain)
    chain.clock.forward(hours=1)
    chain.look()
    chain.night()
    check(chain)
    (view,) = chain.projects.list_projects(chain.clock().date())
    assert alone.forecast is not None
    assert view.forecast is not None
    assert alone.used_up_on is None
    assert view.forecast.total == 4 * alone.forecast.total
    assert view.used_up_on is not None
