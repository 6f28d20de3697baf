"""What a lock is decided by is known before any check has begun the period."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from shared.domain.budgets import Rollover
from tests.pipeline.conftest import Chain, entry
from tests.pipeline.test_year import DECEMBER, on, with_terms


@pytest.mark.parametrize(
    ("rollover", "amount"),
    [(Rollover.CARRY_OVER, Decimal(1700)), (Rollover.DRAW_DOWN, Decimal(700)), (Rollover.STOP, None)],
)
def test_a_lock_is_decided_by_what_may_be_spent_now_before_any_check_too(
    chain: Chain, rollover: Rollover, amount: Decimal | None
) -> None:
    chain.load(with_terms(entry(), rollover=rollover))
    chain.spend("300", date(2026, 11, 10))
    chain.night()
    on(chain, DECEMBER)
    facts = chain.lock_ledger.facts(11, chain.clock())
    assert facts is not None
    assert (facts.budget.amount, facts.budget.stopped) == (amount, rollover is Rollover.STOP)
    on(chain, DECEMBER + timedelta(days=1))
    chain.night()
    facts = chain.lock_ledger.facts(11, chain.clock())
    assert facts is not None
    assert facts.budget.amount == amount
