"""Two that work on the same exports at once: the same is stored as if one had come after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from threading import Barrier

import pytest
from sqlalchemy import Connection, text

from shared.adapters.database.cloud_accounts import lock_accounts
from shared.adapters.database.engine import Database
from shared.domain.exports.runs import RunState, Width
from shared.ports.export_runs import Changes
from tests.chain.installation import until
from tests.contracts.export_world import SUB, World, days, each_day, export, on

pytestmark = pytest.mark.postgres
WIDE = export("all", Width.BILLING_ACCOUNT)
DAILY = export("daily")
SUBS = tuple(f"sub-{number}" for number in range(6))
TIMES = 2


@pytest.fixture
def world(postgres_url: str) -> Iterator[World]:
    database = Database(postgres_url)
    yield World(database)
    database.close()


def at_once(*calls: Callable[[], object]) -> None:
    """Calls them in threads of their own, and raises what one of them raises."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for each in [pool.submit(run, call) for call in calls]:
            each.result()


def of_all(first: int, last: int, cost: str = "1"):
    return [row for sub in SUBS for row in each_day(9, first, last, cost, sub=sub)]


def test_two_that_make_one_run_change_nothing_twice(world: World) -> None:
    record = world.stage(WIDE, days(9, 1, 20), of_all(1, 20))
    made = []
    at_once(*[lambda: made.append(world.make(record))] * 3)
    assert {each.record.state for each in made} == {RunState.IMPORTED}
    known = world.ledger.get(record.id)
    assert known is not None
    assert known.changes == Changes(20 * len(SUBS), 0, 0, days(9, 1, 20))
    assert known.totals == {"CAD": Decimal(20 * len(SUBS))}
    assert [world.total(9, each) for each in SUBS] == [20] * len(SUBS)


def test_of_two_runs_of_one_export_the_newer_counts_whichever_comes_first(world: World) -> None:
    for number in range(TIMES):
        older = world.stage(WIDE, days(9, 1, 20 + number), of_all(1, 20 + number))
        newer = world.stage(WIDE, days(9, 1, 20 + number), of_all(1, 20 + number, "3"), at=on(9, 21 + number))
        at_once(partial(world.make, newer), partial(world.make, older))
        assert [world.total(9, each) for each in SUBS] == [3 * (20 + number)] * len(SUBS)


def test_who_feeds_is_one_even_where_two_exports_deliver_the_same_at_once(world: World) -> None:
    one = world.stage(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    other = world.stage(export("monthly"), days(9, 1, 20), each_day(9, 1, 20, "3"), at=on(9, 21))
    later = world.make(one, datetime(2026, 9, 25, tzinfo=UTC))
    at_once(lambda: world.make(one), lambda: world.make(other))
    assert later.record.state is RunState.IMPORTED
    assert (world.feeding(), world.total(9)) == ({"": ["daily"]}, 20)


def test_an_order_and_an_import_at_once_leave_what_the_ordered_one_has_delivered(world: World) -> None:
    for number in range(TIMES):
        last = 10 + 2 * number
        world.deliver(DAILY, days(9, 1, last), each_day(9, 1, last))
        world.deliver(WIDE, days(9, 1, last), each_day(9, 1, last, "3"))
        world.use(DAILY, on(9, last), SUB)
        record = world.stage(WIDE, days(9, 1, last + 1), each_day(9, 1, last + 1, "3"))
        order = partial(world.use, WIDE, datetime(2026, 9, last, 13, tzinfo=UTC), SUB)
        at_once(partial(world.make, record), order)
        assert (world.feeding(), world.total(9)) == ({"": ["all"]}, 3 * (last + 1))


def test_an_order_for_all_holds_for_a_sub_account_that_a_run_delivers_meanwhile(world: World) -> None:
    """A third one holds the only sub-account that the export has so far: the order has looked, and waits for it."""
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    world.deliver(WIDE, days(9, 1, 19), each_day(9, 1, 19, sub="9a1b"))
    record = world.stage(WIDE, days(9, 1, 20), each_day(9, 1, 20, "3"))
    with ThreadPoolExecutor(2) as pool, world.database.engine.connect() as third:
        lock_accounts(third, "azure", ["9a1b"])
        order = pool.submit(world.use, WIDE, on(9, 21))
        until(lambda: waiting(third) == 1)
        run = pool.submit(world.make, record)
        until(lambda: waiting(third) == 2 or run.done())
        third.commit()
        order.result(), run.result()
    assert (world.feeding(), world.total(9)) == ({"": ["all"]}, 60)


def waiting(connection: Connection) -> int:
    """How many wait for a lock."""
    return connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()


def test_a_night_that_stores_while_an_export_takes_over_changes_nothing_of_what_that_delivered(world: World) -> None:
    world.asked()
    world.query(each_day(9, 1, 20, "4"), days(9, 1, 30), at=on(9, 20))
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    at_once(
        lambda: world.query(each_day(9, 1, 21, "4"), days(9, 1, 30), at=on(9, 21)),
        lambda: world.use(DAILY, on(9, 21), SUB),
    )
    assert (world.feeding(), world.total(9)) == ({"": ["daily"]}, 20)


def test_a_night_and_an_import_at_once_leave_the_export_s(world: World) -> None:
    world.asked()
    world.query(each_day(9, 1, 20, "4"), days(9, 1, 30), at=on(9, 20))
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31))
    world.use(DAILY, on(9, 20), SUB)
    record = world.stage(DAILY, days(9, 1, 21), each_day(9, 1, 21))
    at_once(
        lambda: world.query(each_day(9, 1, 21, "4"), days(9, 1, 30), at=on(9, 21)),
        lambda: world.make(record),
    )
    assert world.total(9) == 21
