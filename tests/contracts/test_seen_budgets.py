"""What is known of Azure's budgets that Azure does not say, on every database and in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from shared.adapters.database.azure_budgets import SqlSeenBudgets
from shared.ports.azure_budgets import SeenBudget, SeenBudgets
from tests.conftest import KINDS, emptied
from tests.fake_budgets import FakeSeenBudgets

NOW = datetime(2026, 11, 20, 2, 0, 0, 1, tzinfo=UTC)
HERE, THERE = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d", "2ddddddd-2b66-438e-8ab4-bce37d518c5d"
ONE = SeenBudget("warden-one", 11, "0123456789ab", NOW, Decimal("12.0000000001"), True, "CAD")
TWO = SeenBudget("warden-two", None, "ba9876543210", NOW)


@pytest.fixture(params=["memory", *KINDS])
def seen(request: pytest.FixtureRequest) -> SeenBudgets:
    return FakeSeenBudgets() if request.param == "memory" else SqlSeenBudgets(emptied(request, request.param))


def test_nothing_is_known_at_first(seen: SeenBudgets) -> None:
    assert (seen.seen_in(HERE), seen.subscriptions()) == ({}, [])


def test_what_is_noted_is_known_of_its_subscription_in_any_case(seen: SeenBudgets) -> None:
    seen.note(HERE.upper(), [ONE, TWO])
    assert seen.seen_in(HERE) == seen.seen_in(HERE.upper()) == {"warden-one": ONE, "warden-two": TWO}
    assert seen.seen_in(THERE) == {}


def test_what_is_noted_anew_takes_the_place_of_what_was_known(seen: SeenBudgets) -> None:
    seen.note(HERE, [ONE, TWO])
    seen.note(HERE, [replace(ONE, is_evaluated=False)])
    assert seen.seen_in(HERE) == {"warden-one": replace(ONE, is_evaluated=False), "warden-two": TWO}


def test_a_subscription_counts_as_long_as_one_of_its_budgets_is_there(seen: SeenBudgets) -> None:
    seen.note(THERE, [ONE])
    seen.note(HERE, [ONE, TWO])
    assert seen.subscriptions() == [HERE, THERE]
    seen.note(HERE, [replace(ONE, is_there=False), replace(TWO, is_there=False)])
    assert (seen.subscriptions(), len(seen.seen_in(HERE))) == ([THERE], 2)
