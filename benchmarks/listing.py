"""`projects list` of 10,000 projects with a year of days each: what the listing costs that the rows themselves don't.

The floor, in a process like it: the command line is imported, and the rows that a listing shows are read by one SELECT.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import insert, select

from benchmarks import fleet
from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process
from shared.adapters.database.tables import charges, scopes
from shared.domain.budgets import BudgetTerms
from shared.domain.money import stored
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.messages import NotificationMessage
from shared.ports.azure import AZURE

PROJECTS, DAYS = 10_000, 365
ROUNDS = 3
# In floors: 2 s, where one is 0.155 s.
AIM = 2 / 0.155
SERVICE = "Virtual Machines"
YEAR = PeriodRule(PeriodKind.ANNUAL, date(2025, 11, 21))
# Far from any threshold: nobody is mailed.
AMOUNT = Decimal(100_000_000)
AT_ONCE = 500
READING = """
import sqlite3, sys
import shared.cli.main
rows = sqlite3.connect(sys.argv[1]).execute(
    "SELECT * FROM projects JOIN budgets ON budgets.project_id = projects.id "
    "JOIN scopes ON scopes.project_id = projects.id"
).fetchall()
assert len(rows) == int(sys.argv[2])
"""


def measure() -> Iterator[Figure]:
    """The listing for people, and that for programs."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as folder:
        path = Path(folder) / "warden.db"
        in_fresh_process(make, f"sqlite:///{path}")
        listing = [sys.executable, "-m", "shared.cli", "projects", "list"]
        reading = [sys.executable, "-c", READING, str(path), str(PROJECTS)]
        runs = [
            [_seconds(command, path) for command in (reading, listing, [*listing, "--json"])] for _ in range(ROUNDS)
        ]
    floor, table, as_json = (statistics.median(taken) for taken in zip(*runs, strict=True))
    yield _figure("projects list", table, floor)
    yield _figure("projects list --json", as_json, floor)


def make(database_url: str) -> None:
    """The database: every project with its days, checked once."""
    warden = fleet.app(database_url, "http://127.0.0.1:9")
    warden.upgrade_tables()
    warden.projects.load([_entry(number) for number in range(1, PROJECTS + 1)], "benchmark", fleet.NIGHT)
    with warden.database.engine.begin() as connection:
        for project_id, scope_id in connection.execute(select(scopes.c.project_id, scopes.c.id)).tuples().all():
            connection.execute(insert(charges), _days(scope_id, project_id))
    for first in range(1, PROJECTS + 1, AT_ONCE):
        warden.notifier.notify(NotificationMessage(tuple(range(first, first + AT_ONCE))), f"benchmark-{first}")
    warden.database.close()


def _entry(number: int) -> ProjectEntry:
    project = Project(
        id=number,
        acronym=f"P{number:05d}",
        name=f"Project {number}",
        language="en",
        contacts=(f"p{number:05d}@example.com",),
        active=True,
    )
    scope = Scope(AZURE, fleet.SUBSCRIPTIONS[number % len(fleet.SUBSCRIPTIONS)], f"rg-{number:05d}")
    return ProjectEntry(project, (scope,), BudgetTerms(AMOUNT, fleet.CURRENCY, YEAR))


def _days(scope_id: int, number: int) -> Sequence[dict[str, object]]:
    """A weekday pattern around a level of the project's own."""
    yesterday = fleet.NIGHT.date() - timedelta(days=1)
    days = [yesterday - timedelta(days=back) for back in range(DAYS)]
    return [
        {
            "scope_id": scope_id,
            "charge_period_start": day,
            "service_name": SERVICE,
            "billing_currency": fleet.CURRENCY,
            "billed_cost": stored(Decimal(10 + number % 90) / (1 if day.weekday() < 5 else 3)),
        }
        for day in days
    ]


def _seconds(command: list[str], path: Path) -> float:
    """How long the program takes, from its start to its end; what it writes goes into a pipe, as into a file."""
    environment = fleet.LEAST_SETTINGS | {"DATABASE_URL": f"sqlite:///{path}", "LOCAL_CLOCK_START": str(fleet.NIGHT)}
    begun = time.perf_counter()
    subprocess.run(command, cwd=fleet.ROOT, env=os.environ | environment, capture_output=True, check=True)
    return time.perf_counter() - begun


def _figure(name: str, seconds: float, floor: float) -> Figure:
    return Figure(
        name=f"Listing: {name}, {PROJECTS:,} projects with a year of days",
        measured=seconds,
        unit="s",
        floor=floor,
        floor_is="the command line imported + one SELECT of the rows",
        most=AIM * floor,
        note=f"the median of {ROUNDS}, each a new process",
    )
