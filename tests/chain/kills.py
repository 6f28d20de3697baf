"""Killing the host at random moments, again and again, until its work is through.

What a kill hits depends on how busy the machine is, too: a seed repeats the moments, and not always what they hit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from localdev.processes import Program, ProgramError
from tests.postgres import programs

FIRST_SEED = int(os.environ.get("CRASH_SEED", "1"))
# A killed host's messages come back after this many seconds.
LEASE = 1
# … and the host takes them within a third of a second more. Where so long nothing has happened, nothing will, even on a
# machine that is very busy.
REST = LEASE + 1.5
MOST_KILLS = 5
# All is queued at once: the pace is another test's business.
UNPACED = {"COST_QPU_PER_MINUTE": "1000", "COST_QPU_PER_HOUR": "10000"}
# With the app's own setting a message that was being worked on at each of five kills would rightly be a dead letter.
OFTEN_TAKEN = {"AzureFunctionsJobHost__extensions__queues__maxDequeueCount": "100"}
# A mail whose sender was killed waits for the 15 minutes of its claim: 30 s.
IN_A_HURRY = {"LOCAL_CLOCK_SPEED": "30"}

Start = Callable[[], Program]
"""Starts the next host."""


def seeds(unless_told: int) -> range:
    """As many as CRASH_RUNS says, from CRASH_SEED on."""
    return range(FIRST_SEED, FIRST_SEED + int(os.environ.get("CRASH_RUNS", unless_told)))


def kinds() -> list[str]:
    """The kinds of database that this machine has; a SQL Server that is to be tested is the only one."""
    if os.environ.get("TEST_MSSQL_URL"):
        return ["mssql"]
    return ["sqlite", "mssql", "postgresql"] if programs() else ["sqlite", "mssql"]


@dataclass(frozen=True)
class Moment:
    """When a host is killed: so many functions have ended in it, and then so many seconds have gone by."""

    ended: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.ended} functions + {self.seconds:.3f} s"

    @classmethod
    def at_random(cls, chance: Random, most_ended: int) -> Moment:
        # Functions end a few hundredths of a second after each other.
        return cls(chance.randint(0, most_ended), chance.uniform(0, 0.25))


def moments(chance: Random, most_ended: int = 6, most_kills: int = MOST_KILLS) -> list[Moment]:
    return [Moment.at_random(chance, most_ended) for _ in range(chance.randint(2, most_kills))]


def kill_at(start: Start, chosen: Sequence[Moment], is_through: Callable[[], bool], quiet: float = 5) -> list[Moment]:
    """Kills one host after the other, until all is through; gives the moments at which one was at work.

    quiet: the most seconds that are waited for as many functions as the moment asks for.
    """
    killed = []
    for moment in chosen:
        host = start()
        _wait_for(host, moment, quiet)
        if host.running:
            killed.append(moment)
        host.kill()
        if is_through():
            break
    return killed


def _wait_for(host: Program, moment: Moment, quiet: float) -> None:
    if moment.ended:
        with suppress(ProgramError):
            host.wait_for(" ms", timeout=quiet, times=moment.ended)
    time.sleep(moment.seconds)


def let_finish(start: Start, is_through: Callable[[], bool], rest: float = REST) -> None:
    """Runs the host until all is through, and until what a killed one still held has come back, too.

    rest: so many seconds nothing must have happened.
    A second message for a mail that another one holds waits for five minutes; it is not waited for.
    """
    host = start()
    deadline = time.monotonic() + 90
    seen, changed = "", time.monotonic()
    while host.running:
        if host.output != seen:
            seen, changed = host.output, time.monotonic()
        if time.monotonic() - changed > rest and is_through():
            host.kill()
            return
        assert time.monotonic() < deadline, f"it does not come to its end; the host's output:\n{seen}"
        time.sleep(0.05)
    assert host.wait() == 0, host.output
