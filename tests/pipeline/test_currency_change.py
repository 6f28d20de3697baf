"""A currency that changes within a period: what the operators are told to do makes the project comparable at once."""

from __future__ import annotations

import re
import shlex
from datetime import date
from decimal import Decimal

import pytest

from shared.services.budgets import Wish
from tests.pipeline.conftest import Chain, entry
from tests.pipeline.test_year import check, nights, told

OPERATORS = ("ops@example.com",)


def advice(chain: Chain) -> str:
    """The command of the one notice that came since the last time, as it is written in it."""
    (mail,) = [mail for mail in chain.mailer.sent if mail.to == OPERATORS]
    chain.mailer.sent.clear()
    return re.sub(r"\s+", " ", mail.text)


def follow(chain: Chain, text: str, amount: str, spent_before: str) -> None:
    """Does what the notice says, with the operator's own figures."""
    (command,) = re.findall(r"`python -m shared\.cli budgets set (.*?)`", text)
    project, _, *options = shlex.split(command)
    given = {
        option.removeprefix("--").replace("-", "_"): value for option, value in zip(*[iter(options)] * 2, strict=True)
    }
    reason = given.pop("reason")
    if "opening_balance" in given:
        given["opening_balance"] = spent_before
    chain.budget_service.revise(project, Wish(amount=amount, **given), reason, "ann")
    chain.drain()


def test_a_budget_in_the_other_currency_is_advised_where_all_charges_are_in_it(chain: Chain) -> None:
    chain.costs.currency_of = lambda _day: "USD"
    chain.load(entry())
    chain.spend("300", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), date(2026, 11, 20))
    follow(chain, advice(chain), "1000", "0")
    nights(chain, date(2026, 11, 21), date(2026, 11, 21))
    assert told(chain) == ["25"]


@pytest.mark.parametrize("budget_currency", ["CAD", "USD"])
def test_where_a_period_has_charges_in_two_currencies_the_first_advice_ends_it(
    chain: Chain, budget_currency: str
) -> None:
    chain.load(entry(currency=budget_currency))
    change_currency(chain)
    text = advice(chain)
    assert "--period-start 2026-11-11 --period-end 2026-11-30" in text
    assert "--currency USD" in text
    assert "Write the same into the projects file" in text
    (mixed,) = chain.projects.list_projects(date(2026, 11, 20))
    assert (mixed.percent, mixed.forecast, mixed.used_up_on) == (None, None, None)
    follow(chain, text, "1000", "150")
    check(chain)
    assert (told(chain), chain.spent()) == (["25"], Decimal(250))
    (view,) = chain.projects.list_projects(date(2026, 11, 20))
    assert view.problem is None


def test_a_period_that_was_given_up_keeps_its_currency_and_its_sum(chain: Chain) -> None:
    chain.load(entry())
    change_currency(chain)
    before = chain.projects.periods(11)
    follow(chain, advice(chain), "1000", "150")
    given_up, present = chain.projects.periods(11)
    assert [given_up] == before
    assert (given_up.currency, given_up.spent) == ("CAD", 200)
    assert (present.currency, present.spent) == ("USD", 250)


def change_currency(chain: Chain) -> None:
    """Up to 10 November 200 CAD, since then 100 USD."""
    from shared.adapters.database.tables import charges

    chain.spend("200", date(2026, 11, 10))
    chain.spend("100", date(2026, 11, 15))
    nights(chain, date(2026, 11, 20), date(2026, 11, 20))
    chain.mailer.sent.clear()
    later = charges.c.charge_period_start > date(2026, 11, 10)
    changed = charges.update().where(later).values(billing_currency="USD")
    chain.database.run(lambda connection: connection.execute(changed))
    check(chain)
