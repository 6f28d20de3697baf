"""The host is killed at random moments, again and again, until the night is through: nothing is lost or doubled.

`make crash-test RUNS=1000` runs so many nights. `CRASH_SEED=12 make crash-test RUNS=1` repeats the kills of seed 12,
which is printed and stands in the test's name; what a kill hits still depends on how busy the machine is.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import func, select

from localdev.azure_sim import AzureSimulator
from localdev.processes import Program, ProgramError
from shared.adapters.database.tables import projects
from shared.domain.periods import PeriodKind, PeriodRule
from shared.messages import Queue
from tests.chain.conftest import Install
from tests.chain.installation import (
    NORTH,
    QUARTERLY,
    ROOT,
    SOUTH,
    Installation,
    Outcome,
    book_of,
    entry,
    logged_as_sent,
)
from tests.postgres import programs

RUNS = int(os.environ.get("CRASH_RUNS", "3"))
FIRST_SEED = int(os.environ.get("CRASH_SEED", "1"))
# A killed host's messages come back after this many seconds.
LEASE = 1
MOST_KILLS = 5
FROM_AUGUST = PeriodRule(PeriodKind.FIXED, date(2026, 8, 1), date(2027, 1, 1))
WHOLE_MAIL = {"To": ["anna@example.com"], "Subject": "By hand", "Body": "<p>Once, please.</p>"}
# All is queued at once: the pace is another test's business.
UNPACED = {"COST_QPU_PER_MINUTE": "1000", "COST_QPU_PER_HOUR": "10000"}


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureSimulator]:
    north = (("Rg-11", "10.5"), ("rg-12", "30"), ("rg-13", "41.25"), ("rg-14", "0.75"), ("shared-rg", "7.125"))
    south = (("rg-21", "77.7"), ("RG-22", "12.3"), ("rg-23", "9"))
    book = book_of(*((NORTH, *part) for part in north), *((SOUTH, *part) for part in south))
    with AzureSimulator(book) as simulator:
        yield simulator


def prepare(app: Installation) -> None:
    """Alerts of several kinds, a project without a budget and one without contacts, reading back, a mail by hand."""
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


def kinds() -> list[str]:
    return ["sqlite", "postgresql"] if programs() else ["sqlite"]


@dataclass(frozen=True)
class Moment:
    """When a host is killed: so many functions have ended in it, and then so many seconds have gone by."""

    ended: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.ended} functions + {self.seconds:.3f} s"

    @classmethod
    def at_random(cls, chance: Random) -> Moment:
        # Some twenty functions end in a night, a few hundredths of a second after each other.
        return cls(chance.randint(0, 6), chance.uniform(0, 0.25))


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Outcome]:
    """The outcome of a night that nothing disturbed, by kind of database; filled by the first that needs it."""
    return {}


@pytest.fixture(scope="module")
def patient_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app with a host.json that lets messages be taken more often.

    With the app's own a message that was being worked on at each of five kills would rightly be a dead letter.
    """
    folder = tmp_path_factory.mktemp("program")
    (folder / "function_app.py").symlink_to(ROOT / "function_app.py")
    settings = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    settings["extensions"]["queues"]["maxDequeueCount"] = 100
    (folder / "host.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RUNS))
def test_a_night_in_which_the_host_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    install: Install, azure: AzureSimulator, undisturbed: dict[str, Outcome], patient_program: Path, seed: int
) -> None:
    kind = kinds()[seed % len(kinds())]
    if kind not in undisturbed:
        undisturbed[kind] = _undisturbed_night(install(azure, kind, **UNPACED))
    app = install(azure, kind, **UNPACED)
    app.program = patient_program
    prepare(app)
    chance = Random(seed)
    moments = [Moment.at_random(chance) for _ in range(chance.randint(2, MOST_KILLS))]
    killed = _kill_at(app, moments)
    print(f"seed {seed} on {kind}: killed after {', '.join(map(str, killed))}")
    _let_finish(app)
    # A mail that went out twice is one file in the outbox: the log must not have it twice either.
    assert [key for key, times in Counter(logged_as_sent(app)).items() if times > 1] == []
    assert app.outcome() == undisturbed[kind]
    assert [(run.key, run.state) for run in app.runs().values()] == [("night-2026-11-20", "done")]


def _undisturbed_night(app: Installation) -> Outcome:
    prepare(app)
    app.night()
    outcome = app.outcome()
    assert len(outcome.mails) == len(outcome.outbox) == len(logged_as_sent(app)) == 7
    assert outcome.dead_letters == []
    return outcome


def _start(app: Installation) -> Program:
    """The timer's tick that a killed host missed fires when the next one starts."""
    return app.host("--once", "ProjectUsageScheduler", "--lease", str(LEASE))


def _kill_at(app: Installation, moments: list[Moment]) -> list[Moment]:
    """Kills one host after the other, until the night is through; gives the moments at which one was at work."""
    killed = []
    for moment in moments:
        host = _start(app)
        _wait_for(host, moment)
        if host.running:
            killed.append(moment)
        host.kill()
        if _is_through(app):
            break
    return killed


def _wait_for(host: Program, moment: Moment) -> None:
    """Waits for the moment, or for as long as anything is likely to end in this host."""
    if moment.ended:
        with suppress(ProgramError):
            host.wait_for(" ms", timeout=5, times=moment.ended)
    time.sleep(moment.seconds)


def _let_finish(app: Installation) -> None:
    """Runs the host until the night is through, and until what a killed one still held has come back, too.

    A second message for a mail that another one holds waits for five minutes; it is not waited for.
    """
    host = _start(app)
    deadline = time.monotonic() + 60
    seen, changed = "", time.monotonic()
    while host.running:
        if host.output != seen:
            seen, changed = host.output, time.monotonic()
        if time.monotonic() - changed > LEASE + 1.5 and _is_through(app):
            host.kill()
            return
        assert time.monotonic() < deadline, f"the night does not end; the host's output:\n{seen}"
        time.sleep(0.05)
    assert host.wait() == 0, host.output


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
