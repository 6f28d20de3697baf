"""What a RateLedger does: it keeps what was set for each day, and what was fixed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.rates import SqlRates
from shared.domain.currencies import FixedRate
from shared.domain.periods import Period
from shared.ports.errors import NeverError

NOW = datetime(2026, 11, 30, 2, tzinfo=UTC)
DAY = date(2026, 11, 27)
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
YEAR = Period(date(2026, 4, 1), date(2027, 4, 1))


@pytest.fixture
def ledger(database: Database) -> SqlRates:
    return SqlRates(database)


def worth(ledger: SqlRates, currency: str, day: date, days: Period = NOVEMBER) -> Decimal | None:
    rate = ledger.rates(["USD", "CAD"], days).rate("EUR", currency, day)
    return rate.multiplier if rate else None


def test_rates_are_kept_and_replaced_and_only_what_differs_is_counted(ledger: SqlRates) -> None:
    assert ledger.newest() is None
    assert ledger.keep([]) == 0
    rows = [(DAY, "USD", Decimal("1.1172")), (DAY, "CAD", Decimal("1.5606"))]
    assert ledger.keep(rows) == 2
    assert ledger.keep(rows) == 0
    assert ledger.keep([(DAY, "USD", Decimal("1.12")), (DAY - timedelta(days=1), "USD", Decimal("1.1"))]) == 2
    assert ledger.newest() == DAY
    assert [worth(ledger, "USD", DAY - timedelta(days=back)) for back in (0, 1)] == [Decimal("1.12"), Decimal("1.1")]
    assert worth(ledger, "CAD", DAY) == Decimal("1.5606")


def test_a_rate_of_the_week_before_the_days_is_among_them(ledger: SqlRates) -> None:
    ledger.keep([(date(2026, 10, 30), "USD", Decimal("1.1"))])
    assert worth(ledger, "USD", date(2026, 11, 6)) == Decimal("1.1")
    assert worth(ledger, "USD", date(2026, 11, 7)) is None
    # Nothing that is set later.
    ledger.keep([(date(2026, 12, 1), "USD", Decimal("1.2"))])
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
    assert ledger.last_days() == {}
    ended = date(2025, 12, 31)
    ledger.keep([(DAY, "USD", Decimal("1.1")), (ended, "USD", Decimal("1.2")), (ended, "BGN", Decimal("1.9558"))])
    assert ledger.last_days() == {"USD": DAY, "BGN": ended}
