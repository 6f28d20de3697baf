"""FOCUS out: stored charges as CSV and as Parquet, from a SQLite file of a year of groups and days.

The floor, in a process like it: the standard library's driver fetches the same rows, and Polars writes them as a
Parquet file of just the columns that are stored. Each runs in a new process.
"""

from __future__ import annotations

import gc
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process, peak_memory_mb

GROUPS, DAYS, SERVICES = 1_000, 365, 8
# Of so many days, for the memory that a file a third as long takes.
FEWER_DAYS = 122
FIRST = date(2025, 11, 1)
ROWS_A_SECOND, MOST_GROWTH = 300_000, 1.25
UNIT = Decimal(1).scaleb(-10)


@dataclass(frozen=True)
class Written:
    """Seconds, memory in MB, rows, what they come to, and the file's size in bytes."""

    seconds: float
    memory: float
    rows: int
    total: Decimal
    size: int


def measure(days: int = DAYS) -> Iterator[Figure]:
    """Each form, and the memory that more rows take."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as name:
        database = Path(name, "warden.db")
        in_fresh_process(fill, database, days)
        # Once before, so that none waits for the disk.
        in_fresh_process(by_driver_alone, database)
        floor = in_fresh_process(by_driver_alone, database)
        for form in ("Parquet", "CSV"):
            own = in_fresh_process(ours, database, form, days)
            if (own.rows, own.total) != (floor.rows, floor.total):
                raise RuntimeError(f"{own} and {floor} are not of the same rows")
            is_floor = "the driver's rows, in a Parquet file of 6 columns by Polars"
            note = f"{own.rows:,} charges, {own.rows / own.seconds:,.0f} rows/s, {own.size / 2**20:,.0f} MB"
            aim = own.rows / ROWS_A_SECOND
            yield Figure(f"FOCUS out: to {form}, SQLite", own.seconds, "s", floor.seconds, is_floor, aim, note)
            fewer = in_fresh_process(ours, database, form, days * FEWER_DAYS // DAYS)
            yield Figure(
                f"FOCUS out: memory of {form}",
                own.memory,
                "MB",
                fewer.memory,
                f"for {fewer.rows:,} charges",
                MOST_GROWTH * fewer.memory,
            )


# --- what is timed -------------------------------------------------------------------------------------------


def ours(database: Path, form: str, days: int) -> Written:
    """The app's own way, as `focus export` goes it."""
    from shared.adapters.database.engine import Database
    from shared.adapters.database.focus import SqlChargeStore
    from shared.adapters.exports.focus import PolarsFocus
    from shared.cli.main import OBJECTS_BEFORE_A_LOOK
    from shared.domain.charges import CostMetric
    from shared.domain.periods import Period
    from shared.ports.focus import FocusFormat
    from shared.ports.spending import Selection

    gc.set_threshold(OBJECTS_BEFORE_A_LOOK)
    file = database.with_suffix(".focus")
    begun = time.perf_counter()
    which = Selection(Period(FIRST, FIRST + timedelta(days=days)))
    with SqlChargeStore(Database(f"sqlite:///{database}")).charges([which]) as charges:
        given = PolarsFocus().write(charges, CostMetric.ACTUAL, file, FocusFormat(form.lower()))
    seconds = time.perf_counter() - begun
    return Written(seconds, peak_memory_mb(), given.rows, given.totals["CAD"], file.stat().st_size)


def by_driver_alone(database: Path) -> Written:
    """The floor."""
    import polars as pl

    file = database.with_suffix(".floor")
    begun = time.perf_counter()
    rows = sqlite3.connect(database).execute(
        "SELECT c.scope_id, c.charge_period_start, c.service_name, c.billing_currency, c.billed_cost, o.project_id "
        "FROM charges c LEFT JOIN scope_owners o ON o.scope_id = c.scope_id"
    )
    names = ("scope", "day", "service", "currency", "cost", "project")
    columns = dict(zip(names, zip(*rows.fetchall(), strict=True), strict=True))
    frame = pl.DataFrame(columns)
    frame.write_parquet(file)
    seconds = time.perf_counter() - begun
    total = Decimal(int(frame["cost"].sum())) * UNIT
    return Written(seconds, peak_memory_mb(), frame.height, total, file.stat().st_size)


# --- what is stored ------------------------------------------------------------------------------------------


def fill(database: Path, days: int) -> None:
    """A database in which every second group is a project's."""
    from shared.adapters.database import migrate
    from shared.adapters.database.engine import Database

    migrate.upgrade(Database(f"sqlite:///{database}"))
    chance = random.Random(1)
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO projects (id, acronym_key, acronym, name, contacts, active, budget_number, checks) "
            "VALUES (?, ?, ?, 'A project', '[]', 1, 1, 0)",
            ((each, f"p{each}", f"P{each}") for each in range(1, GROUPS // 2 + 1)),
        )
        connection.executemany(
            "INSERT INTO scopes (id, provider, sub_account_id, x_resource_group_name, group_key) "
            "VALUES (?, 'azure', ?, ?, ?)",
            ((each, f"sub-{each % 20:08}", f"RG-{each}", f"rg-{each}") for each in range(1, GROUPS + 1)),
        )
        connection.executemany(
            "INSERT INTO scope_owners (scope_id, project_id) VALUES (?, ?)",
            ((each, each) for each in range(1, GROUPS // 2 + 1)),
        )
        connection.executemany("INSERT INTO charges VALUES (?, ?, ?, ?, ?)", _charges(chance, days))


def _charges(chance: random.Random, days: int) -> Iterator[tuple[int, str, str, str, int]]:
    on_days = [(FIRST + timedelta(days=each)).isoformat() for each in range(days)]
    for scope in range(1, GROUPS + 1):
        for day in on_days:
            for service in range(SERVICES):
                yield scope, day, f"Service {service}", "CAD", chance.randrange(-(10**9), 10**12)
