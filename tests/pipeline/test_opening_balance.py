"""What was spent before the costs that can be read is entered by hand, and counts wherever spending is compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from shared.adapters.database.locks import SqlLocks
from shared.domain.locks import LockMode
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Scope
from shared.ports.azure import AZURE, ResourceGroup
from shared.ports.errors import NeverError
from shared.services.budgets import Wish
from tests.pipeline.conftest import OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry
from tests.pipeline.test_year import amount, carrying, nights, told

TODAY = date(2026, 11, 20)
OLD = PeriodRule(PeriodKind.FIXED, date(2025, 1, 1), date(2027, 1, 1))


def old_budget(chain: Chain) -> None:
    """10,000 since January 2025, of which 13 months can be read: 3,960 of 6,880."""
    chain.load(entry(amount="10000", rule=OLD))
    # A month without any charge would not be believed in the first night.
    for day in (date(2025, 10, 25), date(2026, 11, 5)):
        chain.spend("1", day, "rg-nobody")
    for month in range(11, 13):
        chain.spend("330", date(2025, month, 5))
    for month in range(1, 11):
        chain.spend("330", date(2026, month, 5))
    nights(chain, TODAY, TODAY)
    assert (chain.spent(), told(chain)) == (3960, ["25"])


def give(chain: Chain, balance: str, **wish: str) -> None:
    chain.budget_service.revise("P11", Wish(opening_balance=balance, **wish), "from the invoices", "ann")
    chain.drain()


def test_an_opening_balance_counts_for_what_is_spent_told_and_expected(chain: Chain) -> None:
    old_budget(chain)
    (before,) = chain.projects.list_projects(TODAY)
    assert [str(gap) for gap in before.gaps] == [
        f"January to October 2025 of {SUBSCRIPTION} can't be read any more; "
        "`budgets set --opening-balance` takes what was spent then"
    ]
    give(chain, "2920")
    assert (chain.spent(), told(chain)) == (6880, ["25", "50"])
    (view,) = chain.projects.list_projects(TODAY)
    assert (view.percent, view.opening, view.gaps) == (Decimal("68.8"), 2920, ())
    assert (view.forecast.total, view.forecast.low) == (before.forecast.total + 2920, before.forecast.low + 2920)
    assert [period.spent for period in chain.projects.periods(11)] == [6880]
    facts = SqlLocks(chain.database, "example.com", 35).facts(11, chain.clock())
    assert facts is not None
    assert facts.usage == 6880


@pytest.mark.parametrize(("language", "label"), [("en", "of which opening balance"), ("fr", "dont solde d’ouverture")])
def test_the_mail_says_what_of_the_spending_was_entered_by_hand(chain: Chain, language: str, label: str) -> None:
    chain.load(entry(language=language))
    chain.spend("100", date(2026, 11, 10))
    nights(chain, TODAY, TODAY)
    assert chain.mailer.sent == []
    give(chain, "200")
    (mail,) = chain.mailer.sent
    for part in (mail.text, mail.html):
        assert label in part
        assert "200" in part.partition(label)[2][:200]


@pytest.mark.parametrize(("language", "label"), [("en", "of which opening balance"), ("fr", "dont solde d’ouverture")])
def test_so_does_the_mail_on_the_lock(chain: Chain, language: str, label: str) -> None:
    # Without an alert at 100 %, which would say it.
    chain.configure(lock_mode=LockMode.ENFORCE, thresholds=(1000,))
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    chain.load(entry(language=language))
    chain.spend("100", date(2026, 11, 10))
    nights(chain, TODAY, TODAY)
    give(chain, "950")
    (mail,) = [mail for mail in chain.mailer.sent if mail.message_id.startswith("<lock.")]
    for part in (mail.text, mail.html):
        assert "950" in part.partition(label)[2][:200]


def test_no_mail_speaks_of_an_opening_balance_that_there_is_not(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("300", date(2026, 11, 10))
    nights(chain, TODAY, TODAY)
    (mail,) = chain.mailer.sent
    assert "of which opening balance" not in mail.text + mail.html


def test_an_opening_balance_is_for_its_own_period_only(chain: Chain) -> None:
    chain.load(carrying())
    chain.spend("100", date(2026, 11, 10))
    nights(chain, TODAY, TODAY)
    give(chain, "250")
    assert chain.spent() == 350
    nights(chain, date(2026, 12, 1), date(2026, 12, 1))
    assert chain.spent() == 0
    assert amount(chain) == 1000 + 650, "what was not used of November's, the balance too"
    give(chain, "0")
    assert amount(chain) == 1000 + 650, "November's stays as it was told"


def test_an_opening_balance_that_is_all_of_the_budget_uses_it_up_on_the_first_day(chain: Chain) -> None:
    chain.load(entry())
    nights(chain, TODAY, TODAY)
    give(chain, "1000")
    (view,) = chain.projects.list_projects(TODAY)
    assert (told(chain)[0], view.used_up_on) == ("100", date(2026, 11, 1))


def test_a_load_keeps_an_opening_balance_and_what_was_told_with_it(chain: Chain) -> None:
    old_budget(chain)
    give(chain, "2920")
    chain.project_service.load(f"{','.join(LINE)}\n{','.join(LINE.values())}\n".encode(), "ann")
    nights(chain, date(2026, 11, 21), date(2026, 11, 21))
    assert (chain.spent(), told(chain)) == (6880, ["25", "50"])


LINE = {
    "id": "11",
    "acronym": "P11",
    "name": "Project 11",
    "subscription_id": SUBSCRIPTION,
    "resource_groups": "rg-11",
    "budget": "11000",
    "currency": "CAD",
    "period": "fixed",
    "period_start": "2025-01-01",
    "period_end": "2026-12-31",
    "contacts": "anna@example.com",
    "language": "en",
    "active": "true",
}


@pytest.mark.parametrize("refused", [SUBSCRIPTION, OTHER_SUBSCRIPTION])
def test_an_opening_balance_does_not_stand_for_an_account_that_could_never_be_read(chain: Chain, refused: str) -> None:
    both = tuple(Scope(AZURE, account, "rg-11") for account in (SUBSCRIPTION, OTHER_SUBSCRIPTION))
    chain.load(replace(entry(), scopes=both))
    chain.spend("500", date(2026, 11, 5))
    no = NeverError("Azure refuses it (403)")
    chain.costs.fails = lambda query: no if query.sub_account_id == refused else None
    nights(chain, TODAY, TODAY)
    give(chain, "100")
    nights(chain, date(2026, 11, 21), date(2026, 11, 23))
    (view,) = chain.projects.list_projects(date(2026, 11, 23))
    assert f"November 2026 of {refused} could not be read: {no.reason}" in map(str, view.gaps)
