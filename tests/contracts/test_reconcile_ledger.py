"""What is compared of a month that exports say: on every database."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.reconcile import SqlReconcile
from shared.domain.exports.feeding import Fed
from shared.domain.exports.runs import Width
from tests.contracts.export_world import SUB, World, days, each_day, export, on, row

DAILY, MONTHLY, RG = export("daily"), export("monthly"), export("rg", Width.GROUP)
AUGUST = on(8, 1)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_whose_a_month_is_that_has_been_handed_over_in_part_since(world: World) -> None:
    """August stays the monthly export's, that of the group, too; the daily one has a correction of it."""
    its = [*each_day(8, 1, 2, "4"), *each_day(8, 1, 1, "2", group="rg-1"), row(7, 30, "0.5")]
    world.deliver(MONTHLY, days(8, 1, 31), its, at=on(9, 6))
    world.deliver(RG, days(9, 1, 20), each_day(9, 1, 20, group="rg-1"))
    world.deliver(DAILY, days(9, 1, 20), [*each_day(9, 1, 20), row(8, 1, "8")])
    world.use(RG, on(9, 21), SUB)
    world.use(DAILY, on(9, 22), SUB)
    world.use(RG, on(9, 23), SUB)
    assert world.feeding() == {"": ["daily"], "rg-1": ["rg"]}
    found = SqlReconcile(world.database).exported("azure", SUB, AUGUST)
    whole, group = Fed("azure", SUB), Fed("azure", SUB, "rg-1")
    assert set(found.exports) == {MONTHLY.key}
    assert found.stored == found.delivered
    assert found.delivered == {
        (whole, on(8, 1), "CAD"): Decimal(4),
        (whole, on(8, 2), "CAD"): Decimal(4),
        (group, on(8, 1), "CAD"): Decimal(2),
    }
    assert found.of_period == {"CAD": Decimal("10.5")}
    assert SqlReconcile(world.database).delivered("azure", SUB, AUGUST) == {MONTHLY.key: {"CAD": Decimal("10.5")}}


def test_the_runs_that_alone_say_a_month(world: World) -> None:
    world.deliver(MONTHLY, days(9, 1, 30), each_day(9, 1, 3), at=on(9, 30))
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 2, "2"))
    world.deliver(DAILY, days(9, 10, 12), each_day(9, 10, 10, "3"), at=on(9, 25))
    [whole] = SqlReconcile(world.database).whole_runs(on(9, 1), [("azure", SUB)])
    assert (whole.record.run.export, whole.stored) == (MONTHLY, {"CAD": (Decimal(3), 3)})
    assert SqlReconcile(world.database).whole_runs(on(9, 1), [("azure", "9a1b")]) == []
