"""Whatever happens to a budget, what may be spent in its period is what a slow walk through all the days comes to.

Its project is charged in two currencies, in Azure or at AWS too; in some lives one is converted into the other.

`make test` plays 25 lives, `make crash-test` 400.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from shared.adapters.database.checks import SqlChecks
from shared.adapters.database.engine import Database
from shared.adapters.database.projects import SqlProjects
from shared.adapters.database.rates import SqlRates
from shared.adapters.database.standings import SqlStandings
from shared.adapters.database.tables import budget_periods, charges, coverage, metadata, scopes
from shared.domain.aws import AWS
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.coverage import Coverage
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Scope
from shared.domain.thresholds import Decision
from shared.ports.azure import AZURE
from shared.ports.checks import Judgement, ProjectUsage
from tests.cases import ALL
from tests.conftest import EMPTIED
from tests.contracts.ledger_data import SUB, Judges, entry
from tests.contracts.standing_views import assert_as_listed
from tests.postgres import Postgres

DAY = timedelta(days=1)
STEPS = {PeriodKind.ANNUAL: 12, PeriodKind.QUARTERLY: 3, PeriodKind.MONTHLY: 1}
NOTHING = Decimal(0)

Charge = tuple[date, str, Decimal]
BOTH = (AZURE, AWS)
ACCOUNT = "111111111111"


# --- the slow walk -------------------------------------------------------------------------------------------


def begins(rule: PeriodRule, day: date) -> bool:
    months = (day.year - rule.start.year) * 12 + day.month - rule.start.month
    last = calendar.monthrange(day.year, day.month)[1]
    return months % STEPS[rule.kind] == 0 and day.day == min(rule.start.day, last)


def days_of(rule: PeriodRule, day: date) -> tuple[date, date] | None:
    """The first day of the period that holds `day`, and the day after its last."""
    if rule.end is not None:
        return (rule.start, rule.end) if rule.start <= day < rule.end else None
    start, end = day, day + DAY
    while not begins(rule, start):
        start -= DAY
    while not begins(rule, end):
        end += DAY
    return start, end


def rate_days() -> Iterator[date]:
    """The days on which rates are set, each of which counts for a week; in August there are none."""
    return (day for day in map(FIRST_RATE.__add__, (DAY * each for each in range(0, 2000, 5))) if day.month != 8)


FIRST_RATE = date(2023, 6, 1)


def per_euro(day: date) -> dict[str, Decimal]:
    return {"USD": Decimal(10_000 + day.toordinal() % 997).scaleb(-4), "CAD": Decimal(14_000 + day.day).scaleb(-4)}


def converted(cost: Decimal, money: str, to: str, day: date) -> Decimal | None:
    """None where no rate is known for the day."""
    set_on = max((each for each in rate_days() if each <= day), default=None)
    if set_on is None or (day - set_on).days > 7:
        return None
    rates = per_euro(set_on)
    return Decimal(round(Fraction(cost) * Fraction(rates[to]) / Fraction(rates[money]) * 10**10)).scaleb(-10)


@dataclass
class Walk:
    """A budget's life from the day on which it was loaded, day by day."""

    terms: BudgetTerms
    converts: bool = False
    period: tuple[date, date] | None = None
    carried: dict[date, tuple[Decimal, str]] = field(default_factory=dict)
    stopped: bool = False

    def begin(self, day: date) -> None:
        self.period = days_of(self.terms.rule, day)
        if self.period is not None:
            self.carried.setdefault(self.period[0], (NOTHING, self.terms.currency))

    def brought(self) -> Decimal:
        assert self.period is not None
        amount, currency = self.carried[self.period[0]]
        return amount if currency == self.terms.currency else NOTHING

    def end(self, spent: list[Charge]) -> None:
        """The period is over."""
        assert self.period is not None
        start, end = self.period
        used = self.used([each for each in spent if start <= each[0] < end])
        left = NOTHING
        if self.terms.amount and not self.stopped and self.terms.rule.end is None:
            match self.terms.rollover:
                case Rollover.CARRY_OVER:
                    had = max(self.terms.amount + self.brought(), NOTHING)
                    left = min(max(had - used, NOTHING), had)
                case Rollover.DRAW_DOWN:
                    left = self.brought() - used
        self.carried.setdefault(end, (left, self.terms.currency))
        if self.terms.rollover is Rollover.STOP and self.terms.rule.end is None:
            self.stopped = True

    def used(self, spent: list[Charge]) -> Decimal:
        """In the budget's currency: that of the others' days one by one, as far as there are rates."""
        total, others = NOTHING, dict[tuple[date, str], Decimal]()
        for day, money, cost in spent:
            if money == self.terms.currency:
                total += cost
            else:
                others[day, money] = others.get((day, money), NOTHING) + cost
        if self.converts:
            for (day, money), cost in others.items():
                total += converted(cost, money, self.terms.currency, day) or NOTHING
        return total

    def may_spend(self) -> Decimal | None:
        if self.period is None:
            return None if self.stopped else self.terms.amount or None
        if self.stopped or not self.terms.amount:
            return None
        return max(self.terms.amount + self.brought(), NOTHING)


def walk(revisions: list[tuple[date, BudgetTerms]], spent: list[Charge], today: date, converts: bool) -> Walk:
    day, terms = revisions[0]
    life = Walk(terms, converts)
    life.begin(day)
    while day <= today:
        if life.period is None:
            life.begin(day)
        elif day == life.period[1]:
            if life.terms.rule.end is None:
                life.end(spent)
            life.begin(day)
        for _, terms in [each for each in revisions[1:] if each[0] == day]:
            life.terms, life.stopped = terms, False
            life.begin(day)
        day += DAY
    return life


# --- what happens --------------------------------------------------------------------------------------------

firsts = st.sampled_from(
    [date(2023, 12, 31), date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2025, 2, 28)]
)
month_starts = st.integers(1, 12).map(lambda month: date(2000, month, 1)) | st.just(date(2000, 4, 1))
any_starts = month_starts | st.sampled_from([date(2000, 1, 31), date(2000, 2, 29), date(2000, 6, 15)])
recurring = st.builds(PeriodRule, st.sampled_from(list(STEPS)), any_starts)
fixed = st.tuples(firsts, st.integers(1, 500)).map(lambda it: PeriodRule(PeriodKind.FIXED, it[0], it[0] + it[1] * DAY))
rules = st.one_of(recurring, recurring, recurring, fixed)
amounts = st.integers(0, 1000).map(Decimal)
currencies = st.sampled_from(["CAD", "CAD", "CAD", "USD"])
all_terms = st.builds(BudgetTerms, amounts, currencies, rules, st.sampled_from(list(Rollover)))
carrying = st.builds(
    BudgetTerms,
    st.integers(100, 1000).map(Decimal),
    st.just("CAD"),
    recurring,
    st.sampled_from([Rollover.CARRY_OVER, Rollover.DRAW_DOWN]),
)
changes = st.one_of(
    st.fixed_dictionaries({"amount": amounts}),
    st.fixed_dictionaries({"currency": currencies}),
    st.fixed_dictionaries({"rollover": st.sampled_from(list(Rollover))}),
    st.fixed_dictionaries({"rule": rules}),
)
costs = st.integers(-100, 600).map(Decimal) | st.decimals("-1", "500", places=10)
events = st.one_of(
    st.tuples(st.just("charge"), st.integers(0, 60), currencies, costs),
    st.tuples(st.just("charge"), st.integers(0, 60), st.just("CAD"), costs),
    st.tuples(st.just("revise"), changes),
    st.just(("night",)),
    st.just(("night",)),
    st.just(("check",)),
    st.just(("crash",)),
)
gaps = st.one_of(st.integers(0, 3), st.integers(0, 40), st.sampled_from([89, 200, 366]))
histories = st.lists(st.tuples(gaps, events), min_size=3, max_size=25)


class CrashError(Exception):
    """The process is killed in the middle of a check."""


@dataclass
class Life:
    """One project on a real database, and its history."""

    database: Database
    lookback_days: int
    today: date
    revisions: list[tuple[date, BudgetTerms]]
    converts: bool = False
    clouds: tuple[str, ...] = (AZURE,)
    provider: list[Charge] = field(default_factory=list)
    stored: list[Charge] = field(default_factory=list)
    final: dict[date, tuple[Decimal, str]] = field(default_factory=dict)
    read_until: date = date(2000, 1, 1)

    @property
    def read_again(self) -> int:
        """How many days nights read again: no fewer than the month before has until Azure closes it, on the 5th; AWS
        does on the 10th.
        """
        return max(self.lookback_days, 31 + (10 if AWS in self.clouds else 5) - 1)

    @property
    def ledger(self) -> SqlProjects:
        return SqlProjects(self.database, self.lookback_days, self.converts)

    @property
    def now(self) -> datetime:
        return datetime.combine(self.today, time(2), UTC)

    def load(self) -> None:
        known = entry(1, terms=self.revisions[0][1])
        if AWS in self.clouds:
            known = replace(known, scopes=(*known.scopes, Scope(AWS, ACCOUNT)))
        self.ledger.load([known], "tester", self.now)
        if self.converts:
            rates = [(day, *rate) for day in rate_days() for rate in per_euro(day).items()]
            SqlRates(self.database).keep(rates, self.now)

    def play(self, event: tuple[object, ...]) -> None:
        match event:
            case ("charge", int(days), str(currency), Decimal() as cost):
                # A day's charges change as long as nights read it, in whichever cloud.
                day = self.today - min(days, 34) * DAY
                self.provider.append((day, currency, cost))
            case ("revise", dict(change)):
                terms = replace(self.revisions[-1][1], **change)
                self.revisions.append((self.today, terms))
                self.ledger.revise_budget(1, terms, "tester", "test", self.now)
                self.stands()
            case ("night",):
                self.read()
                self.check()
            case ("check",):
                self.check()
            case ("crash",):
                self.read()
                with pytest.raises(CrashError):
                    self.judged(self.crash)

    def read(self) -> None:
        new = self.provider[len(self.stored) :]
        rows = [
            {
                "charge_period_start": day,
                "service_name": f"S{number}",
                "billing_currency": currency,
                "billed_cost": cost,
            }
            for number, (day, currency, cost) in enumerate(new, start=len(self.stored))
        ]
        with self.database.engine.begin() as connection:
            ids = [*connection.scalars(select(scopes.c.id).order_by(scopes.c.provider.desc()))]
            if rows:
                connection.execute(
                    charges.insert(), [row | {"scope_id": ids[int(row["service_name"][1:]) % len(ids)]} for row in rows]
                )
            connection.execute(delete(coverage))
            read = Coverage(self.today.replace(day=1), "", self.today, self.today, self.now, self.today)
            for cloud, account in zip(self.clouds, (SUB, ACCOUNT), strict=False):
                connection.execute(coverage.insert(), {"provider": cloud, "sub_account_id": account} | asdict(read))
        self.stored = list(self.provider)
        self.read_until = self.today

    def crash(self, usage: ProjectUsage) -> Judgement:
        raise CrashError

    def judged(self, judge: Callable[[ProjectUsage], Judgement]) -> None:
        SqlChecks(self.database, "example.org", self.lookback_days, self.converts).check([1], Judges(judge), self.now)

    def check(self) -> None:
        seen: list[ProjectUsage] = []

        def note(usage: ProjectUsage) -> Judgement:
            seen.append(usage)
            return Judgement(Decision(), ())

        self.judged(note)
        *over, usage = seen
        self.compare(usage, self.today)
        for each in over:
            assert each.over
            assert each.period is not None
            self.compare(each, each.period.end - DAY)
        self.settle()
        self.stands()

    def stands(self) -> None:
        """How it stands is what the listing says, and its present period is as that says."""
        assert_as_listed(self.ledger, SqlStandings(self.database, self.lookback_days), self.today)
        assert self.ledger.periods(1, self.ledger.get(1, self.today)) == self.ledger.periods(1)

    def compare(self, usage: ProjectUsage, day: date) -> None:
        expected = walk(self.revisions, self.stored, day, self.converts)
        period = (usage.period.start, usage.period.end) if usage.period else None
        assert (period, usage.budget.amount) == (expected.period, expected.may_spend())
        if period is not None and not usage.over and usage.budget.amount is not None:
            self.compare_usage(usage, expected, [each for each in self.stored if period[0] <= each[0] < period[1]])

    def compare_usage(self, usage: ProjectUsage, expected: Walk, spent: list[Charge]) -> None:
        """What is spent, and whether it is said where some of it has no rate."""
        assert usage.usage == expected.used(spent)
        currency = expected.terms.currency
        unrated = [each for each in spent if each[1] != currency and not converted(*_by_day(each, currency))]
        if self.converts and unrated:
            assert any(gap.currency for gap in usage.gaps)

    def settle(self) -> None:
        """What was once final never changes, and nothing that no night reads any more is left open."""
        with self.database.engine.connect() as connection:
            rows = connection.execute(select(budget_periods).where(budget_periods.c.settled)).all()
            late = budget_periods.c.period_start <= self.read_until - self.read_again * DAY
            assert connection.execute(select(budget_periods).where(~budget_periods.c.settled, late)).all() == []
        final = {row.period_start: (row.carried, row.currency) for row in rows}
        assert self.final.items() <= final.items()
        self.final = final


def _by_day(charge: Charge, currency: str) -> tuple[Decimal, str, str, date]:
    return Decimal(1), charge[1], currency, charge[0]


def live(
    database: Database,
    lookback_days: int,
    first: date,
    terms: BudgetTerms,
    happened: list[object],
    *how: Any,
) -> None:
    """how: whether charges are converted, and in which clouds they are."""
    life = Life(database, lookback_days, first, [(first, terms)], *how)
    life.load()
    for gap, event in [*happened, (1, ("night",)), (40, ("night",))]:
        life.today += gap * DAY
        life.play(event)


@given(
    lookback_days=st.sampled_from([5, 35]),
    first=firsts,
    terms=st.one_of(all_terms, carrying),
    happened=histories,
    converts=st.booleans(),
    clouds=st.sampled_from([BOTH[:1], BOTH]),
)
@settings(max_examples=400 if ALL else 25)
def test_any_life_of_a_budget_is_what_the_walk_says(
    fresh_database: Callable[[], Database],
    lookback_days: int,
    first: date,
    terms: BudgetTerms,
    happened: list[object],
    converts: bool,
    clouds: tuple[str, ...],
) -> None:
    live(fresh_database(), lookback_days, first, terms, happened, converts, clouds)


@pytest.mark.postgres
@given(first=firsts, terms=carrying, happened=histories)
@settings(max_examples=20 if ALL else 4)
def test_so_it_is_on_a_server(postgres: Postgres, first: date, terms: BudgetTerms, happened: list[object]) -> None:
    postgres.empty(EMPTIED, list(metadata.tables))
    database = Database(postgres.url(EMPTIED))
    live(database, 35, first, terms, happened, True, BOTH)
    database.close()
