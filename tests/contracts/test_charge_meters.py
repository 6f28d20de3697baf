"""What charges are made of by meter: stored once by the whole key, and never more or less than the charges."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from shared.adapters.database.engine import Database
from shared.adapters.database.focus import SqlChargeStore
from shared.adapters.database.tables import charge_meters, charges
from shared.domain.charges import LONGEST_METER, ChargeSet, meter_name, metered_columns
from shared.domain.coverage import ReadPart
from shared.domain.periods import Period
from shared.ports.spending import By, Selection
from tests.contracts.export_world import SUB as EXPORTED
from tests.contracts.export_world import World, days, each_day, export, on
from tests.contracts.ledger_data import NOVEMBER, NOW, Ledgers, november, reading

ACCOUNT = "200000000002"
ALL_OF_IT = Selection(NOVEMBER)
MeterRow = tuple[int, str, str, str]
"""Day of November, service, meter, cost"""
TWO_METERS = ((2, "S3", "EU-Out", "1.5"), (2, "S3", "EU-Requests", "0.25"))


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def metered(*rows: MeterRow, currency: str = "USD") -> ChargeSet:
    days, services, meters, costs = zip(*rows, strict=True)
    return metered_columns(map(november, days), services, meters, map(Decimal, costs), currency)


def read(ledgers: Ledgers, *sets: ChargeSet, at: datetime = NOW, odd: dict[str, str] | None = None) -> None:
    part = ReadPart(NOVEMBER, sets, at, odd or {})
    what = reading(provider="aws", sub_account_id=ACCOUNT, parts=(part,), night=at.date(), source="COST_EXPLORER")
    ledgers.store(what, at, run_key=at.isoformat())


def stored(ledgers: Ledgers) -> dict[tuple[object, ...], Decimal]:
    day = charge_meters.c.charge_period_start
    wanted = select(day, charge_meters.c.service_name, charge_meters.c.sku_meter, charge_meters.c.billed_cost)
    with ledgers.database.engine.connect() as connection:
        rows = [((row[0].day, *row[1:3]), row[3]) for row in connection.execute(wanted)]
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def focus(ledgers: Ledgers) -> list[tuple[object, ...]]:
    with SqlChargeStore(ledgers.database).charges([ALL_OF_IT]) as found:
        rows = [row for batch in found.batches for row in batch]
    # A charge's row is what the database gives: its meter is the last part of it.
    return sorted((row[1].day, row[2], row[-1] or "", f"{row[4].normalize():f}") for row in rows)


def by_meter(ledgers: Ledgers) -> dict[tuple[str, ...], str]:
    found = ledgers.spending.sums(ALL_OF_IT, By.METER)
    return {(*each.key, each.currency): f"{each.cost.normalize():f}" for each in found}


def later(hours: int) -> datetime:
    return NOW + timedelta(hours=hours)


def test_a_charge_is_what_its_meters_come_to_and_reading_again_changes_nothing(ledgers: Ledgers) -> None:
    for hours in range(2):
        read(ledgers, metered(*TWO_METERS), at=later(hours))
        assert stored(ledgers) == {
            (2, "S3", "EU-Out"): Decimal("1.5"),
            (2, "S3", "EU-Requests"): Decimal("0.25"),
        }
        assert ledgers.stored_charges(ACCOUNT) == {("", november(2), "S3", "USD"): Decimal("1.75")}


def test_meters_that_change_come_or_go_are_written_and_no_others(ledgers: Ledgers) -> None:
    read(ledgers, metered(*TWO_METERS, (3, "EC2", "BoxUsage", "8")))
    read(
        ledgers,
        metered((2, "S3", "EU-Out", "1.75"), (2, "S3", "EU-Storage", "4"), (3, "EC2", "BoxUsage", "8")),
        at=later(1),
    )
    assert stored(ledgers) == {
        (2, "S3", "EU-Out"): Decimal("1.75"),
        (2, "S3", "EU-Storage"): Decimal(4),
        (3, "EC2", "BoxUsage"): Decimal(8),
    }
    assert ledgers.stored_charges(ACCOUNT)["", november(2), "S3", "USD"] == Decimal("5.75")


def test_meters_of_one_spelling_in_two_cases_are_two_and_rounding_is_each_meters_own(ledgers: Ledgers) -> None:
    read(ledgers, metered((2, "S3", "a", "0.00000000005"), (2, "S3", "A", "0.00000000015"), (2, "S3", "A", "0")))
    assert stored(ledgers) == {(2, "S3", "a"): 0, (2, "S3", "A"): Decimal("2E-10")}
    assert ledgers.stored_charges(ACCOUNT)["", november(2), "S3", "USD"] == Decimal("2E-10")


def test_a_meter_of_any_length_can_be_stored_and_its_cost_is_not_lost(ledgers: Ledgers) -> None:
    long = "EU-" + "x" * LONGEST_METER
    assert len(meter_name(f" {long} ")) == LONGEST_METER
    read(ledgers, metered(*((2, "S3", meter_name(f"{long}{end}"), "1") for end in "ab")))
    assert list(stored(ledgers).values()) == [Decimal(2)]


def test_in_two_currencies_a_meter_is_told_in_each(ledgers: Ledgers) -> None:
    read(ledgers, metered((2, "S3", "EU-Out", "1")), metered((2, "S3", "EU-Out", "2"), currency="EUR"))
    assert by_meter(ledgers) == {("S3", "EU-Out", "USD"): "1", ("S3", "EU-Out", "EUR"): "2"}


def test_an_account_that_is_read_by_service_again_has_no_meters_left(ledgers: Ledgers) -> None:
    read(ledgers, metered(*TWO_METERS))
    read(ledgers, replace(metered(*TWO_METERS), meters={}), at=later(1))
    assert stored(ledgers) == {}
    assert by_meter(ledgers) == {("S3", "", "USD"): "1.75"}


def test_what_is_not_believed_or_was_set_aside_takes_no_meter_away(ledgers: Ledgers) -> None:
    read(ledgers, metered(*TWO_METERS))
    read(ledgers, at=later(24))
    assert len(stored(ledgers)) == 2
    read(ledgers, metered(TWO_METERS[0]), at=later(48), odd={"": "A row is no charge."})
    assert len(stored(ledgers)) == 2


def test_what_is_too_large_to_be_stored_is_no_meter(ledgers: Ledgers) -> None:
    # The largest amount of PostgreSQL and SQL Server has 18 digits, and is larger than SQLite's.
    read(ledgers, metered((2, "S3", "EU-Out", "1e18"), (3, "S3", "EU-Out", "1")))
    assert stored(ledgers) == {(3, "S3", "EU-Out"): Decimal(1)}
    assert set(ledgers.stored_charges(ACCOUNT)) == {("", november(3), "S3", "USD")}


def test_each_meter_is_given_out_and_their_sum_is_the_charges(ledgers: Ledgers) -> None:
    read(ledgers, metered(*TWO_METERS, (3, "S3", "EU-Out", "3")))
    ledgers.spend(("rg", november(2), "VM", "16"))
    assert focus(ledgers) == [
        (2, "S3", "EU-Out", "1.5"),
        (2, "S3", "EU-Requests", "0.25"),
        (2, "VM", "", "16"),
        (3, "S3", "EU-Out", "3"),
    ]
    assert by_meter(ledgers) == {
        ("S3", "EU-Out", "USD"): "4.5",
        ("S3", "EU-Requests", "USD"): "0.25",
        ("VM", "", "CAD"): "16",
    }


def test_where_the_version_before_has_changed_charges_the_rest_is_given_out_without_a_meter(ledgers: Ledgers) -> None:
    read(ledgers, metered(*TWO_METERS))
    ledgers.database.run(lambda connection: connection.execute(charges.update().values(billed_cost=Decimal(2))))
    assert focus(ledgers)[0] == (2, "S3", "", "0.25")
    assert by_meter(ledgers)["S3", "", "USD"] == "0.25"
    ledgers.database.run(lambda connection: connection.execute(charges.delete()))
    assert (focus(ledgers), by_meter(ledgers)) == ([], {})
    read(ledgers, metered(*TWO_METERS), at=datetime(2026, 11, 22, tzinfo=UTC))
    assert len(stored(ledgers)) == 2
    assert sum(map(Decimal, by_meter(ledgers).values())) == Decimal("1.75")


def test_a_month_that_an_export_takes_over_has_no_meters_left_and_others_keep_theirs(ledgers: Ledgers) -> None:
    world = World(ledgers.database)
    world.asked()
    for month in (9, 10):
        window = Period(on(month, 1), on(month, 3))
        sets = (metered_columns([on(month, month - 8)], ["Storage"], ["Hot"], [Decimal(4)], "CAD"),)
        what = reading(sub_account_id=EXPORTED, parts=(ReadPart(window, sets, later(0)),), night=on(10, 20))
        ledgers.store(what, run_key=f"in {month}")
    world.deliver(export(), days(9, 1, 30), each_day(9, 1, 3))
    assert len(stored(ledgers)) == 2
    world.use(export(), on(10, 21), EXPORTED)
    assert (world.total(9), stored(ledgers)) == (3, {(2, "Storage", "Hot"): Decimal(4)})


def test_the_database_refuses_a_second_row_of_one_key(ledgers: Ledgers) -> None:
    read(ledgers, metered(*TWO_METERS))
    with ledgers.database.engine.connect() as connection:
        row = connection.execute(select(charge_meters).limit(1)).mappings().one()
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            connection.execute(charge_meters.insert(), [dict(row)])
        connection.rollback()
        assert connection.scalar(select(func.count()).select_from(charge_meters)) == 2
