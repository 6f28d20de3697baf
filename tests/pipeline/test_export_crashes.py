"""Whoever is killed while a run is imported, or meets a database, queue or storage that is away, at whichever step:
what comes of it is the same.

EXPORT_STEPS=1 tries each step (`make crash-test`), without it some.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, cloud_accounts, export_charges, export_sums
from shared.domain.exports.runs import RunState
from shared.messages import Queue
from shared.ports.errors import LaterError
from tests.pipeline.conftest import OTHER_SUBSCRIPTION, Chain, entry
from tests.pipeline.export_files import Exported, ea, with_exports
from tests.pipeline.mortal import AtStep, Killed, MortalDatabase, MortalQueues

SUBSCRIPTIONS = (OTHER_SUBSCRIPTION, "5b6c1f2e-0000-4000-8000-000000000001", "5b6c1f2e-0000-4000-8000-000000000002")
Waiting = tuple[datetime, int, Queue, str]
"""A message: when it can be seen, its number, its queue and its text"""
LOOKS = 4
EACH = int(os.environ.get("EXPORT_STEPS", "71"))


def world(database: Database, fate: AtStep) -> Chain:
    """Three subscriptions of which an export has a run of three parts, and a newer one of some days."""
    chain = Chain(database)
    chain.load(*(entry(12 + number, subscription=each) for number, each in enumerate(SUBSCRIPTIONS)))
    database.run(lambda connection: connection.execute(cloud_accounts.delete()))
    blobs = with_exports(chain)
    export = Exported(blobs)
    rows = [
        ea(f"{day + number}.5", date(2026, 11, day), f"rg-{12 + number}", each)
        for number, each in enumerate(SUBSCRIPTIONS)
        for day in range(1, 13)
    ]
    export.run(rows[::3], rows[1::3], rows[2::3])
    later = chain.clock.now - timedelta(minutes=1)
    newer = [row | {"Cost": "400"} for row in rows if row["Date"] == "11/12/2026"]
    export.run(newer, first=date(2026, 11, 12), last=date(2026, 11, 12), at=later)
    blobs.fails = lambda _what: fate.step()  # type: ignore[func-returns-value]  # it returns None, or raises
    chain.queues = chain.parts["queues"] = MortalQueues(fate=fate)
    chain.parts["database"] = MortalDatabase(database, fate)
    chain.configure()
    return chain


def play(chain: Chain) -> None:
    """The scanner, the watchdog, and the host: a message is gone once its function returned, else it comes again."""
    waiting: list[Waiting] = []
    looks, ids = LOOKS, count(1)
    for _ in range(500):
        if not waiting and not looks:
            return
        due = min(waiting, default=None)
        if due is None or looks == LOOKS:
            looks -= 1
            chain.clock.forward(hours=1)
            survives(chain, lambda: chain.app.chain.send(chain.app.scan_exports()))
            survives(chain, lambda: chain.app.chain.send(chain.app.watchdog.look()))
        else:
            waiting.remove(due)
            waiting += works_on(chain, *due)
        waiting += [(chain.clock.now + delay, next(ids), queue, text) for queue, text, delay in chain.queues.take()]
    raise AssertionError("it never came to an end")


def works_on(chain: Chain, due_at: datetime, number: int, queue: Queue, text: str) -> list[Waiting]:
    """The message again, where its function did not return."""
    chain.clock.now = max(chain.clock.now, due_at)
    if survives(chain, lambda: chain.app.chain.take(queue, text, f"m-{number}")):
        return []
    return [(chain.clock.now + timedelta(minutes=10), number, queue, text)]


def survives(chain: Chain, work: Callable[[], object]) -> bool:
    try:
        work()
    except (Killed, LaterError):
        chain.configure()
        return False
    return True


def outcome(chain: Chain, database: Database) -> dict[str, Any]:
    """What is stored, what became of the runs, and whom was told what."""

    def rows(connection: Any) -> list[list[Any]]:
        kept = (charges, export_charges, export_sums)
        return [sorted(map(tuple, connection.execute(select(each)).all()), key=str) for each in kept]

    runs = [(each.state, each.rows, str(each.totals), each.reason) for each in chain.export_runs.runs()]
    accounts = [(each.connection_type, each.status) for each in chain.cloud_accounts.accounts()]
    return {
        "rows": database.read(rows),
        "runs": sorted(runs, key=str),
        "accounts": accounts,
        # One that was taken and not marked goes out twice: nobody can know what became of it.
        "mails": sorted(set(chain.subjects())),
        "letters": len(chain.letters.letters()),
    }


def test_whatever_is_killed_or_away_at_whichever_step_the_outcome_is_the_same(
    fresh_database: Callable[[], Database],
) -> None:
    fate = AtStep()
    chain = world(database := fresh_database(), fate)
    fate.count = 0
    play(chain)
    steps, expected = fate.count, outcome(chain, database)
    assert [state for state, *_ in expected["runs"]] == [RunState.IMPORTED] * 2
    assert expected["rows"][2] == [], "no sums are left"
    assert len(expected["mails"]) == 3, "the newest run brings each project past a threshold, the other none"
    assert steps > 100
    offset = Random().randrange(EACH)
    for at in range(1 + offset, steps + 1, EACH):
        for what in (Killed, lambda: LaterError("away")):
            fate = AtStep(what=what)
            chain = world(database := fresh_database(), fate)
            fate.count, fate.at = 0, at
            play(chain)
            fate.at = 0
            assert outcome(chain, database) == expected, f"{what} at step {at} of {steps}"
