"""Money and times, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, delete, func, insert, select

from shared.adapters.database.engine import Database
from shared.adapters.database.types import Money, UtcDateTime
from shared.domain.money import LARGEST_AMOUNT
from shared.ports.errors import NeverError

things = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("amount", Money),
    Column("at", UtcDateTime),
)
TINIEST = Decimal("0.0000000001")
EACH_EXAMPLE = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
amounts = st.decimals(min_value=-100_000_000, max_value=100_000_000, places=10)
times = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - hypothesis gives the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - hypothesis gives the zone
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@pytest.fixture
def empty(database: Database) -> Iterator[Database]:
    """A database with the table of this module."""
    things.create(database.engine)
    yield database
    things.drop(database.engine)


def write(database: Database, column: str, values: list[object]) -> None:
    rows = [{"id": number, column: value} for number, value in enumerate(values)]
    database.run(lambda connection: (connection.execute(delete(things)), connection.execute(insert(things), rows)))


def read(database: Database, column: str) -> list[object]:
    ordered = select(things.c[column]).order_by(things.c.id)
    return database.read(lambda connection: list(connection.scalars(ordered)))


def total(database: Database) -> Decimal | None:
    return database.read(lambda connection: connection.scalar(select(func.sum(things.c.amount))))


@EACH_EXAMPLE
@given(written=st.lists(amounts, min_size=1, max_size=9))
def test_amounts_come_back_exactly_alone_and_summed(empty: Database, written: list[Decimal]):
    write(empty, "amount", list(written))
    assert read(empty, "amount") == written
    assert total(empty) == sum(written, Decimal(0))


def test_the_largest_and_the_tiniest_amounts_are_kept(empty: Database):
    ends = [LARGEST_AMOUNT, -LARGEST_AMOUNT, LARGEST_AMOUNT - TINIEST, TINIEST, -TINIEST, Decimal(0), None]
    write(empty, "amount", list(ends))
    assert read(empty, "amount") == ends


def test_the_sum_of_nothing_is_nothing(empty: Database):
    assert total(empty) is None


def test_a_sum_past_the_limit_is_exact_or_an_error_and_never_wrong(empty: Database):
    write(empty, "amount", [LARGEST_AMOUNT, LARGEST_AMOUNT, -TINIEST])
    if empty.engine.dialect.name == "sqlite":
        with pytest.raises(NeverError, match="too large"):
            total(empty)
    else:
        assert total(empty) == Decimal("1799999999.9999999999")


@pytest.mark.parametrize("amount", ["1E+18", "-1E+30", "NaN", "Infinity", "sNaN"])
def test_an_amount_that_no_database_holds_is_an_error(empty: Database, amount: str):
    with pytest.raises(NeverError, match="can't be stored"):
        write(empty, "amount", [Decimal(amount)])


def test_an_amount_that_would_be_rounded_is_an_error(empty: Database):
    with pytest.raises(NeverError, match="at most 10 decimal places"):
        write(empty, "amount", [Decimal("0.00000000001")])
    write(empty, "amount", [Decimal("0.50000000000000")])
    assert read(empty, "amount") == [Decimal("0.5")]


def test_amounts_can_be_compared_in_sql(empty: Database):
    write(empty, "amount", [Decimal("1.5"), Decimal("-2"), TINIEST])
    above = select(func.count()).select_from(things).where(things.c.amount > Decimal(0))
    assert empty.read(lambda connection: connection.scalar(above)) == 2


@EACH_EXAMPLE
@given(written=st.lists(times, min_size=2, max_size=5))
def test_times_come_back_as_the_same_instants_in_utc_and_in_order(empty: Database, written: list[datetime]):
    write(empty, "at", list(written))
    found = read(empty, "at")
    assert found == written
    assert {time.tzinfo for time in found if isinstance(time, datetime)} == {UTC}
    ordered = select(things.c.at).order_by(things.c.at)
    assert empty.read(lambda connection: list(connection.scalars(ordered))) == sorted(written)


def test_a_time_without_a_zone_is_an_error(empty: Database):
    with pytest.raises(NeverError, match="without a zone"):
        write(empty, "at", [datetime(2026, 11, 20)])  # noqa: DTZ001 - that is the fault
