"""Charges in another currency than their project's budget's: converted, wherever a figure is shown."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from shared.adapters.database.tables import mails
from shared.domain.allocation import Method, Pool, Rule, Share
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.currencies import Converting, FixedRate
from shared.domain.periods import Period
from shared.ports.azure import AZURE
from shared.ports.projects import ProjectChange
from tests.conftest import emptied
from tests.pipeline.conftest import NOVEMBER, SUBSCRIPTION, Chain, entry

# Of a Friday: it counts until Friday 20, the day of the fake clock.
FRIDAY = date(2026, 11, 13)
YEAR = Period(date(2026, 4, 1), date(2027, 4, 1))


@pytest.fixture
def dollars(chain: Chain) -> Chain:
    """A budget of 1,000 CAD, and charges in USD, of which one is worth 1.5 CAD."""
    chain.parts["rate_feed"] = chain.app.rate_feed = Nobody()
    chain.configure(converting=Converting.ECB)
    chain.app.rates.keep(
        (date(2026, 11, 1) + timedelta(days=day), currency, worth)
        for day in range(13)
        for currency, worth in (("USD", Decimal(1)), ("CAD", Decimal("1.5")))
    )
    chain.costs.currency_of = lambda _day: "USD"
    chain.load(entry())
    return chain


class Nobody:
    """A feed that sets no rate."""

    def read(self, since: date) -> list[tuple[date, str, Decimal]]:
        return []


def test_converted_charges_reach_a_threshold_and_the_mail_names_the_source_and_the_day(dollars: Chain) -> None:
    dollars.spend("400", FRIDAY)
    dollars.night()
    assert dollars.subjects() == ["[P11] 50 % of the budget reached"]
    (mail,) = dollars.mailer.sent
    assert "at the European Central Bank’s rates, the newest of 13 November 2026." in mail.text
    assert "600.00" in mail.text
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert (view.spent, view.problem, view.gaps) == (Decimal(600), None, ())
    assert view.percent == 60


def test_the_forecast_has_them_too(dollars: Chain) -> None:
    for day in range(1, 20):
        dollars.spend("20", date(2026, 11, day))
    dollars.night()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert view.forecast is not None
    assert Decimal(850) < view.forecast.total < Decimal(950)


def test_what_has_no_rate_is_left_out_and_said(dollars: Chain) -> None:
    dollars.costs.currency_of = lambda day: "AED" if day == FRIDAY else "USD"
    dollars.spend("300", FRIDAY)
    dollars.spend("400", FRIDAY - timedelta(days=1))
    dollars.night()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert view.spent == Decimal(600)
    assert [str(gap) for gap in view.gaps] == [
        "charges in AED left out: there is no exchange rate for 2026-11-13",
    ]
    (mail,) = dollars.mailer.sent
    assert "there is no exchange rate for some charges in another currency" in mail.text


def test_after_a_week_without_rates_the_days_since_are_left_out(dollars: Chain) -> None:
    dollars.clock.forward(days=10)
    dollars.spend("100", FRIDAY + timedelta(days=7))
    dollars.spend("100", FRIDAY + timedelta(days=8))
    dollars.night()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert view.spent == Decimal(150)
    assert [gap.days.start for gap in view.gaps if gap.currency] == [FRIDAY + timedelta(days=8)]


def test_a_fixed_rate_counts_before_those_of_days(dollars: Chain) -> None:
    dollars.app.rates.fix(FixedRate("USD", "CAD", YEAR, Decimal("1.25")), "ann", "year", dollars.clock())
    dollars.spend("400", FRIDAY)
    dollars.night()
    assert dollars.spent() == Decimal(500)
    (mail,) = dollars.mailer.sent
    assert "at rates that your organization has fixed." in mail.text


def test_without_conversion_all_is_as_before(dollars: Chain) -> None:
    dollars.configure(converting=Converting.OFF)
    dollars.spend("400", FRIDAY)
    dollars.night()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert (view.spent, view.problem is not None) == (Decimal(0), True)


def test_the_lock_goes_by_converted_charges_where_all_are(dollars: Chain) -> None:
    dollars.spend("700", FRIDAY)
    dollars.night()
    facts = dollars.app.lock_ledger.facts(11, dollars.clock())
    assert facts is not None
    assert (facts.usage, facts.usage_known) == (Decimal(1050), True)
    dollars.costs.currency_of = lambda day: "AED" if day == FRIDAY else "USD"
    dollars.spend("900", FRIDAY - timedelta(days=1))
    dollars.clock.forward(days=1)
    dollars.night()
    facts = dollars.app.lock_ledger.facts(11, dollars.clock())
    assert facts is not None
    assert (facts.usage, facts.usage_known) == (Decimal(1350), False)


def test_what_a_period_carries_on_has_converted_charges_and_says_what_it_lacks(dollars: Chain) -> None:
    terms = BudgetTerms(Decimal(1000), "CAD", NOVEMBER, Rollover.CARRY_OVER)
    dollars.load(replace(entry(), terms=terms))
    dollars.spend("400", FRIDAY)
    dollars.night()
    dollars.clock.now = datetime(2026, 12, 1, 2, tzinfo=UTC)
    dollars.costs.currency_of = lambda day: "AED" if day > FRIDAY else "USD"
    dollars.spend("1", FRIDAY + timedelta(days=1))
    dollars.night()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert (view.amount, view.spent) == (Decimal(1400), 0)
    assert "charges in AED left out: there is no exchange rate for 2026-11-14" in map(str, view.gaps)
    first, _ = dollars.projects.periods(11)
    assert first.spent == Decimal(600)


def test_a_load_that_fills_a_project_up_by_converted_charges_asks_for_consent(dollars: Chain) -> None:
    dollars.spend("400", FRIDAY)
    dollars.night()
    changes: list[ProjectChange] = []
    dollars.projects.load([entry(amount="500")], "ann", dollars.clock(), consent=changes.extend)
    (change,) = changes
    assert (change.percent_before, change.percent, change.fills_up) == (60, 120, True)


def test_what_was_told_stays_told_under_a_revision_as_far_as_converted_charges_go(dollars: Chain) -> None:
    dollars.spend("400", FRIDAY)
    dollars.night()
    dollars.projects.revise_budget(11, BudgetTerms(Decimal(1100), "CAD", NOVEMBER), "ann", "more", dollars.clock())
    dollars.night()
    # 54.5 %: nobody is told of 50 % again.
    assert len(dollars.mailer.sent) == 1


def test_mails_say_it_in_french(dollars: Chain) -> None:
    dollars.load(entry(language="fr"))
    dollars.costs.currency_of = lambda day: "AED" if day == FRIDAY else "USD"
    dollars.spend("300", FRIDAY)
    dollars.spend("400", FRIDAY - timedelta(days=1))
    dollars.night()
    (mail,) = dollars.mailer.sent
    assert "aux taux de la Banque centrale européenne, dont les derniers sont du 12 novembre 2026." in mail.text
    assert "il n’y a pas de taux de change pour des coûts dans une autre devise" in mail.text
    assert "Banque centrale européenne" in mail.html


def test_the_dearest_services_are_converted(dollars: Chain) -> None:
    dollars.costs.currency_of = lambda day: "CAD" if day == FRIDAY else "USD"
    dollars.spend("100", FRIDAY, service="Storage")
    dollars.spend("100", FRIDAY - timedelta(days=1), service="Storage")
    dollars.spend("200", FRIDAY - timedelta(days=1), service="VM")
    dollars.night()
    mail_id = dollars.mails.find("alert/11/1/2026-11-01/50")
    context = dollars.app.database.run(
        lambda connection: connection.scalar(select(mails.c.context).where(mails.c.id == mail_id))
    )
    assert context["top_services"] == [["VM", "300"], ["Storage", "250"]]
    assert (context["spent"], context["converted"]) == ("550", [["ecb"], "2026-11-12"])


def test_shares_of_unowned_charges_in_another_currency_count_but_for_no_lock(dollars: Chain) -> None:
    dollars.spend("700", FRIDAY, group="hub")
    rule = Rule("hub", Pool(AZURE, SUBSCRIPTION), Method.FIXED, date(2026, 11, 1), None, (Share(11, Decimal(100)),))
    dollars.app.allocations.load([rule], "ann", "shared", dollars.clock(), lambda _changes: True)
    dollars.night()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert (view.spent, view.allocated, view.percent) == (0, Decimal(1050), 105)
    facts = dollars.app.lock_ledger.facts(11, dollars.clock())
    assert facts is not None
    assert facts.usage == 0


AMOUNTS = st.decimals("-1000", "1000", places=4)
DAYS = st.dates(date(2026, 11, 1), date(2026, 11, 20))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.tuples(DAYS, st.sampled_from(["a", "b"])), AMOUNTS, max_size=12), st.randoms())
def test_any_charges_come_to_what_fractions_say(
    request: pytest.FixtureRequest, spent: dict[tuple[date, str], Decimal], dice: random.Random
) -> None:
    chain = Chain(emptied(request))
    chain.parts["rate_feed"] = Nobody()
    chain.configure(converting=Converting.ECB)
    days = [date(2026, 10, 30) + timedelta(days=each) for each in range(0, 22, 3)]
    worth = {(day, each): Decimal(dice.randint(5000, 20000)) / 10000 for day in days for each in ("USD", "CAD")}
    chain.app.rates.keep((day, each, rate) for (day, each), rate in worth.items())
    currency = {day: dice.choice(["USD", "CAD", "EUR", "AED"]) for day, _ in spent}
    chain.costs.currency_of = lambda day: currency.get(day, "CAD")
    chain.load(entry())
    for (day, service), amount in spent.items():
        chain.spend(str(amount), day, service=service)
    chain.night()
    (view,) = chain.projects.list_projects(chain.clock().date())
    expected = Fraction(0)
    for day in {day for day, _ in spent}:
        total = sum((Fraction(amount) for (each, _), amount in spent.items() if each == day), Fraction(0))
        if currency[day] != "CAD" and currency[day] != "AED":
            set_on = max(each for each in days if each <= day)
            total *= Fraction(worth[set_on, "CAD"]) / Fraction(worth.get((set_on, currency[day]), Decimal(1)))
            total = Fraction(round(total * 10**10), 10**10)
        expected += 0 if currency[day] == "AED" else total
    assert Fraction(view.spent) == expected
    lacks_rates = [gap for gap in view.gaps if gap.currency]
    assert bool(lacks_rates) == any(currency[day] == "AED" for (day, _), amount in spent.items() if amount)
