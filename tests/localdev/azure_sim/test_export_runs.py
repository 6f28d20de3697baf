"""What the simulated exports write is what the app reads, to the last digit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from localdev.azure_sim import Charge, ChargeBook, SimulatedExport, demo_charges
from shared.adapters.exports.reader import PolarsExports
from shared.domain.charges import CostMetric
from shared.domain.exports.runs import Dataset, Width
from shared.domain.exports.sums import added, sums_of
from shared.domain.periods import Period
from shared.ports.exports import Manifest

NORTH = demo_charges.NORTH
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
NIGHT = datetime(2026, 11, 20, 1, 12, 13, 456789, tzinfo=UTC)


def manifests(blobs: Mapping[str, bytes]) -> list[Manifest]:
    return [
        PolarsExports().manifest(content, "msexports")
        for name, content in blobs.items()
        if name.endswith("manifest.json")
    ]


def test_a_run_holds_the_days_of_the_month_exactly_in_parts_that_its_manifest_lists(tmp_path: Path):
    book, export = demo_charges.book(), SimulatedExport(NORTH)
    blobs = export.nightly(book, NIGHT)
    (said,) = manifests(blobs)
    assert (said.export.id, said.export.dataset, said.export.width) == (
        export.resource_id,
        Dataset.ACTUAL,
        Width.SUB_ACCOUNT,
    )
    assert said.days == Period(date(2026, 11, 1), date(2026, 11, 20))
    assert said.submitted_at == NIGHT
    assert {part.name: part.size for part in said.parts} == {
        name: len(content) for name, content in blobs.items() if name.endswith(".csv.gz")
    }
    parts = []
    for part in said.parts:
        path = tmp_path / "part.csv.gz"
        path.write_bytes(blobs[part.name])
        file = PolarsExports().read(path, CostMetric.ACTUAL, NIGHT.date())
        assert (file.dataset, file.count, file.odd) == ("EA", part.rows, ())
        parts.append(sums_of(file.rows["azure"], said.export))
    assert len(parts) == 2
    whole = added(parts)
    assert whole.totals == {"CAD": book.total(NORTH, date(2026, 11, 1), date(2026, 11, 19))}
    assert {key.billing_period for key in whole.charges} == {date(2026, 11, 1)}
    assert min(map(len, (part.charges for part in parts))) > 100


@pytest.mark.parametrize(
    ("day", "months"),
    [
        (date(2026, 12, 1), [Period(date(2026, 11, 1), date(2026, 12, 1))]),
        (
            date(2026, 12, 5),
            [Period(date(2026, 12, 1), date(2026, 12, 5)), Period(date(2026, 11, 1), date(2026, 12, 1))],
        ),
        (date(2026, 12, 6), [Period(date(2026, 12, 1), date(2026, 12, 6))]),
    ],
)
def test_until_the_fifth_a_night_writes_the_month_before_too(day, months):
    book = ChargeBook([Charge(NORTH, "", "Support", date(2026, 11, 30), "CAD", Decimal(1))])
    blobs = SimulatedExport(NORTH).nightly(book, datetime(day.year, day.month, day.day, 1, tzinfo=UTC))
    assert [each.days for each in manifests(blobs)] == months


def test_each_night_is_a_run_of_its_own_and_the_same_one_when_it_is_written_again():
    book, export = demo_charges.book(), SimulatedExport(NORTH)
    first, again = export.nightly(book, NIGHT), export.nightly(demo_charges.book(), NIGHT)
    assert first == again
    other = export.nightly(book, NIGHT.replace(day=21))
    assert not first.keys() & other.keys()
    assert {each.run_id for each in manifests(first)} != {each.run_id for each in manifests(other)}
