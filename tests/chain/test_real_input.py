"""A real cost export of an Enterprise Agreement, served by the simulator and read by a night."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from localdev.azure_sim import AzureSimulator, read_ea_export
from shared.domain.periods import PeriodKind, PeriodRule
from tests.chain.conftest import Install
from tests.chain.installation import ROOT, entry
from tests.conftest import KINDS

EXPORT = ROOT.parent / "shared" / "data" / "azure" / "ea_actual_cost.csv"
FIRST, LAST = date(2023, 9, 1), date(2023, 9, 30)
AUTUMN = PeriodRule(PeriodKind.FIXED, FIRST, date(2023, 12, 1))


@pytest.mark.skipif(not EXPORT.exists(), reason="the sample export ea_actual_cost.csv is not next to this project")
@pytest.mark.parametrize("kind", KINDS)
def test_a_night_stores_the_charges_of_a_real_export_to_the_last_of_their_ten_places(
    install: Install, kind: str
) -> None:
    book = read_ea_export(EXPORT)
    with AzureSimulator(book) as azure:
        app = install(azure, kind, COST_QPU_PER_MINUTE="1000", COST_QPU_PER_HOUR="10000")
        app.set_clock(datetime(2023, 10, 1, 2, tzinfo=UTC))
        # The projects' own groups don't matter: a night reads and keeps all that a subscription was charged.
        for number, subscription in enumerate(sorted(book.subscriptions()), 1):
            groups = tuple(sorted({c.group.lower() for c in book.charges(subscription, FIRST, LAST) if c.group}))
            app.load(
                entry(number, "100", subscription=subscription, groups=groups or ("none",), rule=AUTUMN, currency="USD")
            )
        app.night()
    stored = app.outcome().charges
    assert {(row[2].year, row[2].month, row[4]) for row in stored} == {(2023, 9, "USD")}
    assert sum((row[5] for row in stored), Decimal(0)) == Decimal("8.5450077867")
    exact = sum((book.total(subscription, FIRST, LAST) for subscription in book.subscriptions()), Decimal(0))
    assert exact == Decimal("8.5450077867419368")
    assert {row[0] for row in stored} == set(book.subscriptions())
