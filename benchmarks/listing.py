"""`projects list` of 10,000 projects with a year of days each: what the listing costs that the rows themselves don't.

The floor, in a process like it: the command line is imported, and the rows that a listing shows are read by one SELECT.
"""

from __future__ import annotations

import os
import sqlite3
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
from shared.domain.allocation import Method, Pool, Rule
from shared.domain.budgets import BudgetTerms
from shared.domain.money import stored
from shared.domain.periods import Period, PeriodKind, PeriodRule, split_at_month_ends
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
# In floors: each of 3,650,000 sums is a row, a share that is rounded, and counted.
SHARING_AIM = 4
OF_NOBODY = 1_000_000
SUMMING = """
    SELECT charge_period_start, billing_currency, project_id, sum(billed_cost)
    FROM scope_owners JOIN charges ON charges.scope_id = scope_owners.scope_id
    WHERE charge_period_start >= ? AND charge_period_start < ? GROUP BY 1, 2, 3 ORDER BY 1, 2
"""
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
        shared = in_fresh_process(share, f"sqlite:///{path}")
        summing = in_fresh_process(sum_alone, path)
    floor, table, as_json = (statistics.median(taken) for taken in zip(*runs, strict=True))
    yield _figure("projects list", table, floor)
    yield _figure("projects list --json", as_json, floor)
    yield Figure(
        f"Listing: what a rule gives by all spend, {PROJECTS:,} projects with a year of days",
        shared,
        "s",
        summing,
        "the driver alone sums what is proportional, by project and day",
        SHARING_AIM * summing,
    )


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


def share(database_url: str) -> float:
    """What it takes to share a year of what nobody owns, by a rule for all projects: seconds."""
    from shared.adapters.database.allocated import shares_in

    warden, first = fleet.app(database_url, "http://127.0.0.1:9"), YEAR.start
    group = Scope(AZURE, fleet.SUBSCRIPTIONS[0], "shared")
    with warden.database.engine.begin() as connection:
        row = {"provider": AZURE, "sub_account_id": group.sub_account_id, "group_key": "shared"}
        connection.execute(insert(scopes), row | {"id": OF_NOBODY, "x_resource_group_name": "shared"})
        connection.execute(insert(charges), _days(OF_NOBODY, 1))
    rule = Rule("all", Pool(AZURE, group.sub_account_id), Method.EVERYWHERE, first, None, ())
    warden.allocations.load([rule], "benchmark", "benchmark", fleet.NIGHT, lambda _changes: True)
    days = Period(first, fleet.NIGHT.date())
    wanted = [(number, days, fleet.CURRENCY) for number in range(1, PROJECTS + 1)]
    begun = time.perf_counter()
    got = warden.database.read(lambda connection: shares_in(connection, wanted, others=False)[0])
    seconds = time.perf_counter() - begun
    if len(got) != PROJECTS:
        raise RuntimeError(f"{len(got)} projects got something")
    return seconds


def sum_alone(path: Path) -> float:
    """The floor of that, month by month: seconds."""
    begun, connection = time.perf_counter(), sqlite3.connect(path)
    for month in split_at_month_ends(Period(YEAR.start, fleet.NIGHT.date())):
        for _ in connection.execute(SUMMING, (month.start.isoformat(), month.end.isoformat())):
            pass
    return time.perf_counter() - begun


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
