"""What was exported as FOCUS, imported into another database, gives the same charges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.focus import SqlChargeStore
from shared.adapters.exports.focus import PolarsFocus
from shared.domain.charges import CostMetric
from shared.domain.exports.runs import Dataset, Export
from shared.domain.exports.sums import Row
from shared.domain.periods import Period
from shared.ports.focus import FocusFormat
from shared.ports.spending import Selection
from tests.adapters.exports.files import read
from tests.contracts.export_world import World

AUGUST, SEPTEMBER = date(2026, 8, 1), date(2026, 9, 1)
AZURE = [
    Row("7f0c", 'RG, "a"; l\'eau', date(2026, 9, 1), "Storage", "CAD", SEPTEMBER, Decimal("1.00000000005")),
    Row("7f0c", "", date(2026, 9, 1), 'Odd, "service"', "CAD", SEPTEMBER, Decimal("-0.0000000001")),
    Row("7f0c", "Forêt", date(2026, 9, 30), "Éditions 😀", "USD", SEPTEMBER, Decimal("899999.9999999999")),
    Row("7f0c", "Forêt", date(2026, 8, 2), "Storage", "CAD", AUGUST, Decimal(12)),
    # A correction of that month, in the file of the next.
    Row("7f0c", "Forêt", date(2026, 8, 31), "Storage", "CAD", SEPTEMBER, Decimal("-12")),
    Row("8a1d", "rg", date(2026, 9, 2), "Storage", "EUR", SEPTEMBER, Decimal(0)),
]
AWS = [Row("000123456789", "", date(2026, 9, 2), "Amazon S3", "USD", SEPTEMBER, Decimal("3.5"))]


@pytest.mark.parametrize("form", FocusFormat)
def test_the_charges_of_a_fresh_database_are_the_same(
    database: Database, fresh_database: Callable[[], Database], tmp_path: Path, form: FocusFormat
) -> None:
    world = World(database)
    world.deliver(Export("azure", "/exports/daily", "daily", Dataset.ACTUAL), None, AZURE)
    world.deliver(Export("aws", "arn:daily", "daily", Dataset.FOCUS), None, AWS)
    before, path = world.rows(), tmp_path / "f"
    with SqlChargeStore(database).charges([Selection(Period(AUGUST, date(2026, 12, 1)))]) as charges:
        given = PolarsFocus().write(charges, CostMetric.ACTUAL, path, form)
    assert len(before) == given.rows == 7
    fresh = World(fresh_database())
    for provider, rows in read(path).rows.items():
        fresh.deliver(Export(provider, "file", "file", Dataset.FOCUS), None, rows)
    assert fresh.rows() == before
