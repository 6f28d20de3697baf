"""What a person can ask for about a budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from shared.adapters.database.engine import Database
from shared.domain.budgets import BudgetTerms, OpeningBalance, Rollover
from shared.domain.periods import PeriodKind, PeriodRule, make_rule
from shared.messages import Queue
from shared.ports.errors import LaterError
from shared.services.budgets import NoCurrencyError, Wish, wished
from shared.services.errors import RequestError, UnknownProjectError
from tests.pipeline.conftest import NOVEMBER, Chain, entry

TODAY = date(2026, 11, 20)
PRESENT = BudgetTerms(Decimal(1000), "CAD", NOVEMBER)


@pytest.fixture
def chain(sqlite_url: str) -> Iterator[Chain]:
    database = Database(sqlite_url)
    chain = Chain(database)
    chain.load(entry())
    yield chain
    database.close()


def asked(chain: Chain) -> list[Any]:
    return [json.loads(text) for queue, text, _delay in chain.queues.take() if queue is Queue.NOTIFICATION]


def test_a_wish_is_a_revision_that_is_checked(chain: Chain) -> None:
    revised = chain.budget_service.revise("p11", Wish(amount="1500.50"), " more students ", "ann")
    assert (revised.number, revised.before, revised.unasked) == (2, PRESENT, None)
    assert revised.project.amount == Decimal("1500.5")
    last = chain.projects.revisions(11)[-1]
    assert (last.terms.amount, last.made_by, last.reason) == (Decimal("1500.5"), "ann", "more students")
    assert asked(chain) == [{"ProjectId": 11}]


def test_a_wish_for_what_is_so_already_changes_nothing(chain: Chain) -> None:
    revised = chain.budget_service.revise("11", Wish(amount="1000.0", thresholds="default"), "again", "ann")
    assert (revised.number, revised.project.terms) == (None, PRESENT)
    assert asked(chain) == []


def test_the_same_budget_again_is_one_where_it_had_stopped(chain: Chain) -> None:
    chain.load(replace(entry(), terms=replace(PRESENT, rollover=Rollover.STOP)))
    chain.clock.now = chain.clock.now.replace(month=12)
    revised = chain.budget_service.revise("11", Wish(amount="1000"), "it goes on", "ann")
    assert (revised.number, revised.project.amount) == (3, 1000)


def test_a_budget_is_saved_though_its_check_can_not_be_asked_for(chain: Chain) -> None:
    chain.queues.fails = lambda: LaterError("the queues are away")
    revised = chain.budget_service.revise("11", Wish(amount="0"), "it is over", "ann")
    assert (revised.number, revised.unasked, revised.project.amount) == (2, "the queues are away", None)


@pytest.mark.parametrize("reason", ["", " \n", "x" * 1001, "\U0001f600" * 501, "a\0b"])
def test_a_revision_needs_a_reason_that_can_be_kept(chain: Chain, reason: str) -> None:
    with pytest.raises(RequestError, match="the reason"):
        chain.budget_service.revise("11", Wish(amount="5"), reason, "ann")
    assert len(chain.projects.revisions(11)) == 1


def test_the_budget_of_nobody_can_not_be_revised(chain: Chain) -> None:
    with pytest.raises(UnknownProjectError):
        chain.budget_service.revise("P12", Wish(amount="5"), "why", "ann")


def test_an_amount_needs_a_currency() -> None:
    none = BudgetTerms(None, "", NOVEMBER)
    with pytest.raises(NoCurrencyError):
        wished(none, Wish(amount="5"), TODAY)
    assert wished(none, Wish(amount="5", currency="cad"), TODAY) == BudgetTerms(Decimal(5), "CAD", NOVEMBER)
    assert wished(none, Wish(rollover="stop"), TODAY) == replace(none, rollover=Rollover.STOP)


@pytest.mark.parametrize(
    ("wish", "rule"),
    [
        (Wish(period="Quarterly"), make_rule(PeriodKind.QUARTERLY, None, None)),
        (Wish(period_start="2026-01-15"), PeriodRule(PeriodKind.MONTHLY, NOVEMBER.start.replace(month=1, day=15))),
        (Wish(period="monthly"), NOVEMBER),
    ],
    ids=str,
)
def test_the_days_of_a_period_stay_where_its_kind_does(wish: Wish, rule: PeriodRule) -> None:
    assert wished(PRESENT, wish, TODAY).rule == rule


def test_an_opening_balance_is_of_the_period_that_holds_today_or_of_the_fixed_one() -> None:
    assert wished(PRESENT, Wish(opening_balance="2920.5"), TODAY).opening == OpeningBalance(
        Decimal("2920.5"), date(2026, 11, 1)
    )
    fixed = Wish(opening_balance="7", period="fixed", period_start="2025-01-01", period_end="2025-12-31")
    assert wished(PRESENT, fixed, TODAY).opening == OpeningBalance(Decimal(7), date(2025, 1, 1))


def test_an_opening_balance_stays_until_it_is_taken_away_or_the_currency_is_another() -> None:
    with_balance = wished(PRESENT, Wish(opening_balance="7"), TODAY)
    assert wished(with_balance, Wish(amount="2000"), TODAY).opening == with_balance.opening
    assert wished(with_balance, Wish(opening_balance="0"), TODAY) == PRESENT
    assert wished(with_balance, Wish(currency="USD"), TODAY).opening is None
    assert wished(with_balance, Wish(currency="USD", opening_balance="5"), TODAY).opening == OpeningBalance(
        Decimal(5), date(2026, 11, 1)
    )
    with pytest.raises(NoCurrencyError):
        wished(BudgetTerms(None, "", NOVEMBER), Wish(opening_balance="5"), TODAY)


@pytest.mark.parametrize("balance", ["x", "-5", "1e3", "1,000", "900000001", "0.00000000001"])
def test_what_is_no_opening_balance_is_refused_by_that_name(balance: str) -> None:
    with pytest.raises(RequestError, match=r"^the opening balance can't be right: '.*(write|has|largest)"):
        wished(PRESENT, Wish(opening_balance=balance), TODAY)


@pytest.mark.parametrize(
    "wish", [Wish(amount="x"), Wish(currency="$"), Wish(period="daily"), Wish(rollover="x"), Wish(thresholds="0")]
)
def test_what_makes_no_sense_is_refused(wish: Wish) -> None:
    with pytest.raises(RequestError, match=r"write|currency"):
        wished(PRESENT, wish, TODAY)
    assert not wish.is_empty
