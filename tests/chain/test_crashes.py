"""The host is killed at random moments, again and again, until the night is through: nothing is lost or doubled.

`make crash-test RUNS=1000` runs so many nights. `CRASH_SEED=12 make crash-test RUNS=1` repeats the kills of seed 12,
which is printed and stands in the test's name; what a kill hits still depends on how busy the machine is.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from datetime import date
from random import Random

import pytest
from sqlalchemy import func, select

from localdev.azure_sim import AzureSimulator
from localdev.processes import Program
from shared.adapters.database.tables import projects
from shared.domain.periods import PeriodKind, PeriodRule
from shared.messages import Queue
from tests.chain.conftest import Install
from tests.chain.installation import (
    NORTH,
    QUARTERLY,
    SOUTH,
    Installation,
    Outcome,
    book_of,
    entry,
    logged_as_sent,
)
from tests.chain.kills import IN_A_HURRY, LEASE, OFTEN_TAKEN, UNPACED, kill_at, kinds, let_finish, moments, seeds

FROM_AUGUST = PeriodRule(PeriodKind.FIXED, date(2026, 8, 1), date(2027, 1, 1))
WHOLE_MAIL = {"To": ["anna@example.com"], "Subject": "By hand", "Body": "<p>Once, please.</p>"}


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureSimulator]:
    north = (("Rg-11", "10.5"), ("rg-12", "30"), ("rg-13", "41.25"), ("rg-14", "0.75"), ("shared-rg", "7.125"))
    south = (("rg-21", "77.7"), ("RG-22", "12.3"), ("rg-23", "9"))
    book = book_of(*((NORTH, *part) for part in north), *((SOUTH, *part) for part in south))
    with AzureSimulator(book) as simulator:
        yield simulator


def prepare(app: Installation) -> None:
    """Alerts of several kinds, an early warning, reading back, a mail by hand.

    One project has no budget, and one no contacts.
    """
    app.load(
        entry(11, "400"),
        entry(12, "1000", rule=FROM_AUGUST),
        entry(13, "900"),
        entry(14, "5000"),
        entry(21, "1400", subscription=SOUTH),
        entry(22, None, subscription=SOUTH),
        entry(23, "250", subscription=SOUTH, contacts=(), rule=QUARTERLY),
    )
    app.queue(Queue.EMAIL).send_message(json.dumps(WHOLE_MAIL))


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Outcome]:
    """The outcome of a night that nothing disturbed, by kind of database; filled by the first that needs it."""
    return {}


@pytest.mark.skipif("CRASH_RUNS" not in os.environ, reason="make crash-test plays it: it takes long")
@pytest.mark.parametrize("seed", seeds(1))
def test_a_night_in_which_the_host_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    install: Install, azure: AzureSimulator, undisturbed: dict[str, Outcome], seed: int
) -> None:
    kind = kinds()[seed % len(kinds())]
    if kind not in undisturbed:
        undisturbed[kind] = _undisturbed_night(install(azure, kind, **UNPACED))
    app = install(azure, kind, **UNPACED, **OFTEN_TAKEN, **IN_A_HURRY)
    prepare(app)
    killed = kill_at(lambda: _start(app), moments(Random(seed)), lambda: _is_through(app))
    print(f"seed {seed} on {kind}: killed after {', '.join(map(str, killed))}")
    let_finish(lambda: _start(app), lambda: _is_through(app))
    # A mail that went out twice is one file in the outbox: the log must not have it twice either.
    assert [key for key, times in Counter(logged_as_sent(app)).items() if times > 1] == []
    assert app.outcome() == undisturbed[kind]
    assert [(run.key, run.state) for run in app.runs().values()] == [("night-2026-11-20", "done")]


def _undisturbed_night(app: Installation) -> Outcome:
    prepare(app)
    app.night()
    outcome = app.outcome()
    assert len(outcome.mails) == len(outcome.outbox) == len(logged_as_sent(app)) == 7, logged_as_sent(app)
    assert outcome.dead_letters == []
    return outcome


def _start(app: Installation) -> Program:
    """The timer's tick that a killed host missed fires when the next one starts."""
    return app.host("--once", "ProjectUsageScheduler", "--lease", str(LEASE))


def _is_through(app: Installation) -> bool:
    """The run is done, no project waits for its check, and every mail is sent, the one by hand too."""
    runs = app.runs().values()
    due = select(func.count()).where(projects.c.check_due_since.is_not(None))
    states = app.mail_states()
    return (
        [run.state for run in runs] == ["done"]
        and app.rows(due) == [(0,)]
        and set(states.values()) == {"sent"}
        and any(key.startswith("message/") for key in states)
    )
