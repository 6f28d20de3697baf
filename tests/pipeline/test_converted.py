"""Charges in another currency than their project's budget's: converted, wherever a figure is shown."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from sqlalchemy import Connection, select

from shared.adapters.database.tables import charges, mails, scopes
from shared.domain.allocation import Method, Pool, Rule, Share
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.currencies import Converting, FixedRate
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.messages import NotificationMessage
from shared.ports.azure import AZURE
from shared.ports.errors import LaterError
from shared.ports.projects import ProjectChange
from shared.services.budgets import Wish
from tests.adapters.rates.test_ecb import serving
from tests.conftest import emptied
from tests.pipeline.conftest import NOVEMBER, SUBSCRIPTION, Chain, entry

# Of a Friday: it counts until Friday 20, the day of the fake clock.
FRIDAY = date(2026, 11, 13)
YEAR = Period(date(2026, 4, 1), date(2027, 4, 1))
NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)


@pytest.fixture
def dollars(chain: Chain) -> Chain:
    """A budget of 1,000 CAD, and charges in USD, of which one is worth 1.5 CAD."""
    chain.parts["rate_feed"] = chain.app.rate_feed = Nobody()
    chain.configure(converting=Converting.ECB)
    chain.app.rates.keep(
        (
            (date(2026, 11, 1) + timedelta(days=day), currency, worth)
            for day in range(13)
            for currency, worth in (("USD", Decimal(1)), ("CAD", Decimal("1.5")))
        ),
        chain.clock(),
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


def test_a_fixed_rate_that_is_set_is_followed_by_a_check_at_once(dollars: Chain) -> None:
    dollars.spend("500", FRIDAY)
    dollars.night()
    assert dollars.subjects() == ["[P11] 50 % of the budget reached"]
    year = ("2026-04-01", "2027-03-31")
    _, checks = dollars.rate_service.fix("USD", "CAD", "1.7", year, "fiscal year", "ann")
    assert (checks.checked, checks.unasked) == (["P11"], None)
    dollars.drain()
    assert dollars.subjects()[1:] == ["[P11] 80 % of the budget reached"]
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert (view.spent, view.alerts) == (Decimal(850), (50, 80))


def test_a_rate_that_is_mended_by_a_file_is_followed_by_a_check_at_once(dollars: Chain) -> None:
    dollars.spend("500", FRIDAY)
    dollars.night()
    found = dollars.rate_service.update(f"Date,USD,CAD,\n{FRIDAY},1,1.6,\n".encode())
    assert (found.changed, found.checks.checked) == (1, ["P11"])
    dollars.drain()
    assert dollars.subjects()[1:] == ["[P11] 80 % of the budget reached"]
    # The same once more is no news.
    found = dollars.rate_service.update(f"Date,USD,CAD,\n{FRIDAY},1,1.6,\n".encode())
    assert (found.changed, found.checks.checked) == (0, [])
    assert dollars.queues.sent == []


def test_where_a_check_cant_be_asked_for_the_rate_is_kept_and_the_watchdog_has_it_done(dollars: Chain) -> None:
    dollars.spend("500", FRIDAY)
    dollars.night()
    dollars.queues.fails = lambda: LaterError("the queues are away")
    _, checks = dollars.rate_service.fix("USD", "CAD", "1.7", ("2026-11-01", "2026-11-30"), "month", "ann")
    assert checks.unasked == "the queues are away"
    dollars.queues.fails = lambda: None
    dollars.clock.forward(hours=2)
    dollars.look()
    dollars.drain()
    assert dollars.subjects()[1:] == ["[P11] 80 % of the budget reached"]


def test_rates_that_come_in_the_night_are_followed_by_a_check_though_no_costs_are_read(dollars: Chain) -> None:
    dollars.spend("500", FRIDAY + timedelta(days=1))
    dollars.night()
    dollars.costs.fails = lambda _query: LaterError("busy")
    dollars.clock.forward(days=1)
    with serving(f"Date,USD,CAD,\n{FRIDAY + timedelta(days=1)},1,1.6,\n".encode()) as feed:
        dollars.parts["rate_feed"] = dollars.app.rate_feed = feed
        dollars.configure()
        dollars.tonight()
    dollars.work_off(hours=0.1)
    assert dollars.subjects()[1:] == ["[P11] 80 % of the budget reached"]


def test_a_fixed_rate_that_begins_in_mid_period_counts_from_its_first_day_on(dollars: Chain) -> None:
    dollars.spend("100", FRIDAY - timedelta(days=1))
    dollars.spend("100", FRIDAY)
    dollars.spend("100", FRIDAY + timedelta(days=1))
    dollars.night()
    fixed = FixedRate("USD", "CAD", Period(FRIDAY, FRIDAY + timedelta(days=1)), Decimal("1.25"))
    dollars.app.rates.fix(fixed, "ann", "year", dollars.clock())
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert view.spent == Decimal(150) + Decimal(125) + Decimal(150)
    assert str(view.converted) == f"the ECB's rates (the newest of {FRIDAY}) and fixed rates"


def test_easter_goes_by_the_rates_of_the_thursday_before(dollars: Chain) -> None:
    """No rate is set from Good Friday to Easter Monday: five days on Thursday's, six with the Tuesday before 16:00."""
    thursday = date(2027, 3, 25)
    dollars.app.rates.keep([(thursday, "USD", Decimal(1)), (thursday, "CAD", Decimal(2))], NOW)
    dollars.load(entry(rule=PeriodRule(PeriodKind.ANNUAL, date(2027, 1, 1))))
    dollars.clock.now = datetime(2027, 3, 30, 2, tzinfo=UTC)
    for back in range(6):
        dollars.spend("1", date(2027, 3, 30) - timedelta(days=back))
    dollars.night()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert (view.spent, view.converted.missing, view.converted.last_rate_day) == (Decimal(12), {}, thursday)


def test_charges_in_what_became_the_euro_count_at_its_rate_for_good(dollars: Chain) -> None:
    dollars.costs.currency_of = lambda day: "BGN" if day == FRIDAY else "EUR"
    dollars.load(entry(currency="EUR"))
    dollars.spend("195.583", FRIDAY)
    dollars.spend("50", FRIDAY - timedelta(days=1))
    dollars.night()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert (view.spent, view.gaps, str(view.converted)) == (
        Decimal(150),
        (),
        f"the ECB's rates (the newest of {FRIDAY})",
    )
    # A budget that is still in it, and bills that are in euros now.
    dollars.load(entry(currency="BGN"))
    assert dollars.spent() == Decimal("195.583") + Decimal("97.7915")


@pytest.mark.parametrize(("currency", "spent"), [("USD", "400"), ("EUR", "500"), ("CAD", "600")])
def test_a_budget_whose_currency_changes_within_its_period_is_compared_in_the_new_one(
    dollars: Chain, currency: str, spent: str
) -> None:
    dollars.app.rates.keep([(FRIDAY, "USD", Decimal("0.8")), (FRIDAY, "CAD", Decimal("1.2"))], dollars.clock())
    dollars.spend("400", FRIDAY)
    dollars.night()
    dollars.budget_service.revise("P11", Wish(amount="1000", currency=currency), "other", "ann")
    dollars.drain()
    (view,) = dollars.projects.list_projects(dollars.clock().date())
    assert (view.spent, view.currency, view.percent) == (Decimal(spent), currency, Decimal(spent) / 10)
    assert bool(view.converted.sources) is (currency != "USD")
    assert view.problem is None


def test_what_is_charged_in_two_currencies_on_a_day_is_added_in_the_budgets(dollars: Chain) -> None:
    """A bill that changes its currency in mid-month: what was read before stays as it was billed."""
    dollars.spend("100", FRIDAY)
    dollars.night()
    dollars.costs.currency_of = lambda day: "USD" if day <= FRIDAY else "CAD"
    dollars.spend("30", FRIDAY + timedelta(days=1))
    dollars.clock.forward(days=1)
    dollars.night()
    assert dollars.spent() == Decimal(180)


# --- any history, against plain fractions ---

FIRST = date(2026, 10, 20)
BASES = ("USD", "CAD", "EUR", "BGN", "AED")
# Nothing is set for ten days in a row, as where the ECB is away.
SET_ON = [day for day in (FIRST + timedelta(days=each) for each in range(30)) if not 3 <= day.day < 13]
Worth = dict[tuple[date, str], Fraction]


class Oracle:
    """What is spent in a budget's currency, by the rules in words, on fractions."""

    def __init__(self) -> None:
        self.worth: Worth = {}
        self.fixed: list[FixedRate] = []
        self.spent: dict[tuple[date, str, str], Decimal] = {}

    def rate(self, day: date, base: str, to: str) -> Fraction | None:
        """What one `base` of a day is worth in `to`, by what is known."""
        if base == to:
            return Fraction(1)
        for each in reversed(self.fixed):
            if (each.base, each.to) == (base, to) and each.days.start <= day < each.days.end:
                return Fraction(each.rate)
        for back in range(8):
            on = day - timedelta(days=back)
            both = [self._euro(currency, on) for currency in (base, to)]
            if both[0] is not None and both[1] is not None:
                return both[1] / both[0]
        return None

    def _euro(self, currency: str, day: date) -> Fraction | None:
        for_good = {"EUR": Fraction(1), "BGN": Fraction("1.95583")}
        return for_good.get(currency) or self.worth.get((day, currency))

    def total(self, to: str) -> tuple[Fraction, set[str]]:
        """All of it, rounded once a day and currency; of which currencies some days have no rate."""
        sums: dict[tuple[date, str], Fraction] = {}
        for (day, _, currency), amount in self.spent.items():
            sums[day, currency] = sums.get((day, currency), Fraction(0)) + Fraction(amount)
        total, lacking = Fraction(0), set()
        for (day, currency), amount in sums.items():
            rate = self.rate(day, currency, to)
            if rate is not None:
                total += Fraction(round(amount * rate * 10**10), 10**10)
            elif amount:
                lacking.add(currency)
        return total, lacking


def any_rate(dice: random.Random) -> Decimal:
    return Decimal(dice.randint(1, 2 * 10**6)) / 10 ** dice.choice([4, 5, 6])


def step(chain: Chain, oracle: Oracle, dice: random.Random) -> None:
    """Rates that come late or are mended, in any order; a fixed rate; charges that come, or are restated."""
    what = dice.choice(["rates", "rates", "fixed", "charges", "charges", "charges"])
    if what == "rates":
        days = dice.sample(SET_ON, dice.randint(1, len(SET_ON)))
        given = {(day, each): any_rate(dice) for day in days for each in ("USD", "CAD")}
        oracle.worth |= {key: Fraction(worth) for key, worth in given.items()}
        chain.app.rates.keep([(*key, worth) for key, worth in dice.sample(list(given.items()), len(given))], NOW)
    elif what == "fixed":
        first = FIRST + timedelta(days=dice.randint(0, 25))
        days = Period(first, first + timedelta(days=dice.randint(1, 20)))
        fixed = FixedRate(*dice.sample(BASES, 2), days, any_rate(dice))
        oracle.fixed.append(fixed)
        chain.app.rates.fix(fixed, "ann", "any", NOW)
    else:
        for _ in range(dice.randint(1, 6)):
            day = date(2026, 11, dice.randint(1, 20))
            key = (day, dice.choice("ab"), dice.choice(BASES))
            oracle.spent[key] = Decimal(dice.randint(-(10**6), 10**9)) / 10 ** dice.choice([2, 4, 10])
        store(chain, oracle)


def store(chain: Chain, oracle: Oracle) -> None:
    def write(connection: Connection) -> None:
        scope = connection.scalar(select(scopes.c.id).where(scopes.c.group_key == "rg-11"))
        connection.execute(charges.delete())
        names = ("charge_period_start", "service_name", "billing_currency")
        rows = [dict(zip(names, key, strict=True)) | {"billed_cost": cost} for key, cost in oracle.spent.items()]
        connection.execute(charges.insert(), [row | {"scope_id": scope} for row in rows])

    chain.database.run(write)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_any_history_comes_to_what_fractions_say(request: pytest.FixtureRequest, kind: str, seed: int) -> None:
    dice, oracle = random.Random(seed), Oracle()
    chain = Chain(emptied(request, kind))
    chain.parts["rate_feed"] = Nobody()
    to = dice.choice(["CAD", "EUR", "USD", "BGN"])
    reporting = dice.choice(["CAD", "EUR", "USD", "BGN"])
    chain.configure(converting=Converting.ECB, reporting_currency=reporting)
    chain.load(entry(amount="100000000", currency=to))
    for _ in range(8):
        step(chain, oracle, dice)
        expected, lacking = oracle.total(to)
        (view,) = chain.projects.list_projects(chain.clock().date())
        assert Fraction(view.spent) == expected
        assert {gap.currency for gap in view.gaps if gap.currency} == lacking
        # A check, a lock, a listing and once more: all are of one figure.
        chain.app.notifier.notify(NotificationMessage((11,)), f"check-{len(oracle.spent)}")
        facts = chain.app.lock_ledger.facts(11, chain.clock())
        assert facts is not None
        assert (Fraction(facts.usage), facts.converted.missing.keys()) == (expected, lacking)
        assert chain.projects.list_projects(chain.clock().date())[0].spent == view.spent
        totals = chain.total_service.of([view])
        assert totals.in_one is not None
        in_one, without = oracle.total(reporting)
        assert (Fraction(totals.in_one.total), totals.in_one.missing.keys()) == (in_one, without)


def test_the_order_in_which_rates_and_charges_come_changes_nothing(request: pytest.FixtureRequest) -> None:
    dice, oracle, found = random.Random(7), Oracle(), set[str]()
    rates = [(day, each, any_rate(dice)) for day in SET_ON for each in ("USD", "CAD")]
    fixed = FixedRate("AED", "CAD", YEAR, Decimal("0.37"))
    spent = {
        (date(2026, 11, day), "a", dice.choice(BASES)): Decimal(dice.randint(1, 10**12)) / 10**7 for day in range(1, 21)
    }
    for _ in range(4):
        chain = Chain(emptied(request))
        chain.parts["rate_feed"] = Nobody()
        chain.configure(converting=Converting.ECB)
        chain.load(entry(amount="100000000"))
        oracle.spent = dict(dice.sample(list(spent.items()), len(spent)))
        later = dice.randint(0, len(rates))
        given = dice.sample(rates, len(rates))
        chain.app.rates.keep(given[:later], NOW)
        steps = [
            lambda chain=chain: store(chain, oracle),
            lambda chain=chain, rest=given[later:]: chain.app.rates.keep(rest, NOW),
            lambda chain=chain: chain.app.rates.fix(fixed, "ann", "any", NOW),
        ]
        for each in dice.sample(steps, len(steps)):
            each()
        found.add(str(chain.spent()))
    assert len(found) == 1
