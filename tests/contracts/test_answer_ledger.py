"""Answers that broke off are kept, for the very same query, until their scope is final."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from shared.adapters.database.charges import SqlCharges
from shared.adapters.database.engine import Database
from shared.adapters.database.runs import SqlRuns
from shared.domain.periods import Period
from shared.messages import ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
QUERY = CostQuery(AZURE, SUBSCRIPTION, Period(date(2026, 11, 1), date(2026, 11, 21)))
PROGRESS = bytes(range(256)) * 5000


@pytest.fixture
def charges(database: Database) -> SqlCharges:
    return SqlCharges(database, 35)


@pytest.fixture
def scope(database: Database) -> int:
    return SqlRuns(database).scope_of("night-1", "timer", ScopeTarget(subscription_id=SUBSCRIPTION), NOW).id


def test_what_was_kept_comes_back_byte_by_byte(charges: SqlCharges, scope: int) -> None:
    charges.keep_answer(scope, QUERY, PROGRESS, NOW)
    assert charges.kept_answer(scope, QUERY, LONG_AGO) == PROGRESS


def test_nothing_was_kept_of_another_query_or_scope(charges: SqlCharges, scope: int, database: Database) -> None:
    charges.keep_answer(scope, QUERY, PROGRESS, NOW)
    a_day_longer = replace(QUERY, window=Period(QUERY.window.start, date(2026, 11, 22)))
    other_scope = SqlRuns(database).scope_of("night-2", "timer", ScopeTarget(subscription_id=SUBSCRIPTION), NOW).id
    assert charges.kept_answer(scope, a_day_longer, LONG_AGO) is None
    assert charges.kept_answer(scope, replace(QUERY, sub_account_id="other"), LONG_AGO) is None
    assert charges.kept_answer(other_scope, QUERY, LONG_AGO) is None


def test_the_same_sub_account_id_of_two_providers_is_two_answers(charges: SqlCharges, scope: int) -> None:
    other = replace(QUERY, provider="hetzner")
    charges.keep_answer(scope, QUERY, b"of azure", NOW)
    charges.keep_answer(scope, other, b"of hetzner", NOW)
    assert charges.kept_answer(scope, QUERY, LONG_AGO) == b"of azure"
    charges.keep_answer(scope, QUERY, None, NOW)
    assert charges.kept_answer(scope, other, LONG_AGO) == b"of hetzner"


def test_what_is_older_than_asked_for_does_not_count(charges: SqlCharges, scope: int) -> None:
    charges.keep_answer(scope, QUERY, PROGRESS, NOW)
    assert charges.kept_answer(scope, QUERY, NOW) == PROGRESS
    assert charges.kept_answer(scope, QUERY, NOW + timedelta(microseconds=1)) is None


def test_the_latest_counts_and_none_forgets(charges: SqlCharges, scope: int) -> None:
    charges.keep_answer(scope, QUERY, b"four pages", NOW)
    charges.keep_answer(scope, QUERY, b"nine pages", NOW)
    assert charges.kept_answer(scope, QUERY, LONG_AGO) == b"nine pages"
    charges.keep_answer(scope, QUERY, None, NOW)
    assert charges.kept_answer(scope, QUERY, LONG_AGO) is None


def test_it_goes_with_its_scope(charges: SqlCharges, scope: int, database: Database) -> None:
    charges.keep_answer(scope, QUERY, PROGRESS, NOW)
    SqlRuns(database).mark_failed(scope, "no", NOW)
    assert charges.kept_answer(scope, QUERY, LONG_AGO) is None
