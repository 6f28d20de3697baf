"""What a RateLedger does: it keeps what was set for each day, and what was fixed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.rates import SqlRates
from shared.adapters.database.tables import projects
from shared.domain.allocation import Method, Pool, Rule, Share
from shared.domain.currencies import FixedRate
from shared.domain.periods import Period
from shared.ports.errors import NeverError
from shared.ports.rates import RateChange
from tests.contracts.ledger_data import MONTHLY, Ledgers, entry, november, terms

NOW = datetime(2026, 11, 30, 2, tzinfo=UTC)
DAY = date(2026, 11, 27)
HUB = "3caaa5a3-2b66-438e-8ab4-bce37d518c5d"
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
YEAR = Period(date(2026, 4, 1), date(2027, 4, 1))


@pytest.fixture
def ledger(database: Database) -> SqlRates:
    return SqlRates(database)


def worth(ledger: SqlRates, currency: str, day: date, days: Period = NOVEMBER) -> Decimal | None:
    rate = ledger.rates(["USD", "CAD"], days).rate("EUR", currency, day)
    return rate.multiplier if rate else None


def test_rates_are_kept_and_replaced_and_only_what_differs_is_counted(ledger: SqlRates) -> None:
    assert ledger.days(DAY) is None
    assert ledger.keep([], NOW).changed == 0
    rows = [(DAY, "USD", Decimal("1.1172")), (DAY, "CAD", Decimal("1.5606"))]
    assert ledger.keep(rows, NOW).changed == 2
    assert ledger.keep(rows, NOW).changed == 0
    assert (
        ledger.keep([(DAY, "USD", Decimal("1.12")), (DAY - timedelta(days=1), "USD", Decimal("1.1"))], NOW).changed == 2
    )
    assert ledger.days(DAY) == (DAY - timedelta(days=1), DAY)
    assert [worth(ledger, "USD", DAY - timedelta(days=back)) for back in (0, 1)] == [Decimal("1.12"), Decimal("1.1")]
    assert worth(ledger, "CAD", DAY) == Decimal("1.5606")


def test_a_rate_of_the_week_before_the_days_is_among_them(ledger: SqlRates) -> None:
    ledger.keep([(date(2026, 10, 30), "USD", Decimal("1.1"))], NOW)
    assert worth(ledger, "USD", date(2026, 11, 6)) == Decimal("1.1")
    assert worth(ledger, "USD", date(2026, 11, 7)) is None
    # Nothing that is set later.
    ledger.keep([(date(2026, 12, 1), "USD", Decimal("1.2"))], NOW)
    assert worth(ledger, "USD", date(2026, 12, 1)) is None


def test_fixed_rates_are_kept_with_who_set_them_and_the_later_counts(ledger: SqlRates) -> None:
    first = FixedRate("USD", "CAD", YEAR, Decimal("1.35"))
    second = FixedRate("USD", "CAD", NOVEMBER, Decimal("1.4000000001"))
    ledger.fix(first, "ann", "budget 2026-27", NOW)
    ledger.fix(second, "eve", "revised", NOW)
    kept = ledger.fixed()
    assert [(each.fixed, each.made_by, each.reason, each.made_at) for each in kept] == [
        (first, "ann", "budget 2026-27", NOW),
        (second, "eve", "revised", NOW),
    ]
    rates = ledger.rates([], NOVEMBER)
    found = [rates.rate("USD", "CAD", day) for day in (DAY, date(2026, 10, 31))]
    assert [rate and rate.multiplier for rate in found] == [Decimal("1.4000000001"), Decimal("1.35")]


def test_a_rate_that_is_too_fine_is_refused(ledger: SqlRates) -> None:
    with pytest.raises(NeverError, match="at most 10 decimal places"):
        ledger.fix(FixedRate("USD", "CAD", YEAR, Decimal("1.00000000001")), "ann", "why", NOW)
    assert ledger.fixed() == []


def test_the_last_day_of_each_currency_is_known(ledger: SqlRates) -> None:
    assert ledger.last_days(DAY) == {}
    ended = date(2025, 12, 31)
    ledger.keep([(DAY, "USD", Decimal("1.1")), (ended, "USD", Decimal("1.2")), (ended, "BGN", Decimal("1.9558"))], NOW)
    assert ledger.last_days(DAY) == {"USD": DAY, "BGN": ended}
    assert ledger.days(DAY) == (ended, DAY)
    # What an earlier version has kept of a day that is to come hides nothing.
    ledger.keep([(date(2062, 11, 27), "USD", Decimal("1.1"))], NOW)
    assert (ledger.days(DAY), ledger.last_days(DAY)["USD"]) == ((ended, DAY), DAY)


# --- whose figures it changes ---


@pytest.fixture
def converting(database: Database) -> Ledgers:
    """Nobody is due. 1 has a budget in CAD and charges in USD; 2 in EUR both; 3 as 1, and is not active; 4 gets a share
    of USD that nobody owns, and has a budget in CAD."""
    ledgers = Ledgers(database, converts=True)
    monthly = terms(rule=MONTHLY)
    ledgers.load(
        entry(1, terms=monthly),
        entry(2, terms=terms(currency="EUR", rule=MONTHLY)),
        entry(3, terms=monthly, active=False),
        entry(4, terms=monthly),
    )
    for number, currency in ((1, "USD"), (2, "EUR"), (3, "USD")):
        charge = (f"rg-{number}", november(20), "VM", "100")
        ledgers.spend(charge, currency=currency, group_keys=frozenset({f"rg-{number}"}))
    ledgers.spend(("fire", november(20), "Firewall", "60"), currency="USD", sub_account_id=HUB)
    rule = Rule("hub", Pool("azure", HUB), Method.FIXED, date(2026, 11, 1), None, (Share(4, Decimal(50)),))
    ledgers.allocations.load([rule], "ann", "agreed", NOW, lambda _changes: True)
    ledgers.check(1, 2, 4)
    assert is_due(ledgers) == []
    return ledgers


def is_due(ledgers: Ledgers) -> list[int]:
    # A project that is not active never is, whatever its row says.
    due = (projects.c.check_due_since.is_not(None)) & projects.c.checked_at.is_not(None)
    with ledgers.database.engine.connect() as connection:
        return sorted(connection.scalars(select(projects.c.id).where(due)))


@pytest.mark.parametrize(
    ("day", "currency", "due"),
    [
        (november(20), "USD", [1, 4]),
        (november(20), "CAD", [1, 4]),
        # It counts for a week where none was set since.
        (november(13), "USD", [1, 4]),
        (november(12), "USD", []),
        (november(21), "USD", []),
        (november(20), "GBP", []),
    ],
)
def test_whose_charges_a_rate_may_convert_is_due_for_a_check(
    converting: Ledgers, day: date, currency: str, due: list[int]
) -> None:
    ledger = SqlRates(converting.database, converts=True)
    assert ledger.keep([(day, currency, Decimal("1.5"))], NOW).due == due
    assert is_due(converting) == due
    converting.check(1, 2, 4)
    assert ledger.keep([(day, currency, Decimal("1.5"))], NOW) == RateChange(0, [])
    assert is_due(converting) == []


@pytest.mark.parametrize(
    ("base", "to", "days", "due"),
    [
        ("USD", "CAD", NOVEMBER, [1, 4]),
        ("CAD", "USD", NOVEMBER, []),
        ("USD", "EUR", NOVEMBER, []),
        ("USD", "CAD", Period(november(20), november(21)), [1, 4]),
        ("USD", "CAD", Period(november(21), november(30)), []),
        ("USD", "CAD", Period(november(1), november(20)), []),
    ],
)
def test_whose_charges_a_fixed_rate_converts_is_due_for_a_check(
    converting: Ledgers, base: str, to: str, days: Period, due: list[int]
) -> None:
    ledger = SqlRates(converting.database, converts=True)
    assert ledger.fix(FixedRate(base, to, days, Decimal("1.4")), "ann", "year", NOW).due == due
    assert is_due(converting) == due


def test_where_nothing_is_converted_nobody_is_due(converting: Ledgers) -> None:
    ledger = SqlRates(converting.database)
    assert ledger.keep([(november(20), "USD", Decimal("1.5"))], NOW) == RateChange(1, ())
    assert ledger.fix(FixedRate("USD", "CAD", NOVEMBER, Decimal("1.4")), "ann", "year", NOW) == RateChange(1, ())
    assert is_due(converting) == []
