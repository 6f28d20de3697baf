"""IdempotencyLedger, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.idempotency import SqlIdempotency
from shared.ports.idempotency import CLAIMED_FOR, KEPT_FOR, IdempotencyLedger, KeptAnswer
from tests.contracts.rows import MINUTE, NIGHT


@pytest.fixture
def ledger(database: Database) -> IdempotencyLedger:
    return SqlIdempotency(database)


def test_a_key_is_had_once_and_its_answer_by_whoever_asks_again(ledger: IdempotencyLedger) -> None:
    assert ledger.claim("ann", "k1", "d", NIGHT) is None
    assert ledger.claim("ann", "k1", "d", NIGHT) == KeptAnswer("d", None, None)
    ledger.keep("ann", "k1", 200, '{"é": 1}')
    assert ledger.claim("ann", "k1", "other", NIGHT + MINUTE) == KeptAnswer("d", 200, '{"é": 1}')


def test_a_key_is_of_whoever_used_it(ledger: IdempotencyLedger) -> None:
    assert ledger.claim("ann", "k1", "d", NIGHT) is None
    assert ledger.claim("bob", "k1", "d", NIGHT) is None
    assert ledger.claim("ann", "K1", "d", NIGHT) is None


def test_what_was_not_done_may_be_asked_again(ledger: IdempotencyLedger) -> None:
    ledger.claim("ann", "k1", "d", NIGHT)
    ledger.forget("ann", "k1")
    assert ledger.claim("ann", "k1", "d", NIGHT) is None


@pytest.mark.parametrize(("is_answered", "lasts"), [(True, KEPT_FOR), (False, CLAIMED_FOR)])
def test_a_key_is_free_again_after_a_day_or_once_whoever_had_it_is_dead(
    ledger: IdempotencyLedger, is_answered: bool, lasts: timedelta
) -> None:
    ledger.claim("ann", "k1", "d", NIGHT)
    if is_answered:
        ledger.keep("ann", "k1", 200, "{}")
    assert ledger.claim("ann", "k1", "d", NIGHT + lasts) is not None
    assert ledger.claim("ann", "k1", "d", NIGHT + lasts + MINUTE) is None


def test_of_many_at_once_one_has_the_key(ledger: IdempotencyLedger) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ledger.claim("ann", "k1", "d", NIGHT), range(8)))
    assert found.count(None) == 1
