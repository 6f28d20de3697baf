"""Conversion: 3 million charges in four currencies, summed in one of them, by rates of each day.

The floor, in a process like it: the same charges of the same projects, summed by currency and nothing else. And what
1,000 projects have spent each in its budget's currency; the floor of that is each one's sums by currency.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import bindparam, func, select

from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process
from shared.adapters.database import migrate
from shared.adapters.database.budget_rows import COSTS, OWNED, sums_within
from shared.adapters.database.chunks import among, select_among
from shared.adapters.database.converted import add_converted, converted_within
from shared.adapters.database.engine import Database
from shared.adapters.database.rates import SqlRates
from shared.adapters.database.spending import SqlSpending
from shared.adapters.database.tables import charges, scope_owners
from shared.domain.currencies import convert
from shared.domain.periods import Period

PROJECTS, DAYS, SERVICES = 1_000, 375, 8
ROWS = PROJECTS * DAYS * SERVICES
FIRST = date(2025, 11, 1)
PERIOD = Period(FIRST, FIRST + timedelta(days=DAYS))
# Of every fourth project the charges are in the currency of its budget, which is the reporting currency, too.
CURRENCIES, BUDGET = ("USD", "EUR", "GBP", "CAD"), "CAD"
ROUNDS = 3
AIM = 1.3
POSTGRES_FILL = """
    INSERT INTO charges SELECT s, DATE '2025-11-01' + d, 'Service ' || v,
        (ARRAY['CAD', 'USD', 'EUR', 'GBP'])[1 + s %% 4],
        (s * 7919 + d * 104729 + v * 1299709) %% 1000000007 / 10000000.0
    FROM generate_series(1, {projects}) s, generate_series(0, {days} - 1) d, generate_series(1, {services}) v
"""
# Both of a pair are read as the app reads them.
PLAIN = among(
    select(charges.c.billing_currency, func.sum(charges.c.billed_cost))
    .join_from(scope_owners, charges, OWNED)
    .where(charges.c.charge_period_start >= bindparam("start"), charges.c.charge_period_start < bindparam("end"), COSTS)
    .group_by(charges.c.billing_currency),
    scope_owners.c.project_id,
)

Timed = Callable[[Database], int]
"""Does the work, and returns how many sums came of it"""


def measure() -> Iterator[Figure]:
    """One sum, and one for each project, on each database there is."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as name:
        for kind, database in (("SQLite", _sqlite), ("PostgreSQL without fsync", _postgres)):
            with database(Path(name)) as url:
                if url is not None:
                    yield _figure(f"one sum of {ROWS:,} charges, {kind}", url, (one_sum, plain_sum), AIM)
                    yield _figure(f"{PROJECTS:,} projects' sums of them, {kind}", url, (own_sums, plain_own_sums), None)


def _figure(name: str, url: str, pair: tuple[Timed, Timed], aim: float | None) -> Figure:
    # In turns, and once before, so that none waits for the disk.
    runs = [[in_fresh_process(seconds, each, url) for each in pair] for _ in range(ROUNDS + 1)][1:]
    measured, floor = (statistics.median(taken) for taken in zip(*runs, strict=True))
    return Figure(
        name=f"Conversion: {name}",
        measured=measured,
        unit="s",
        floor=floor,
        floor_is="the same charges, summed by currency",
        most=aim and aim * floor,
        note=f"the median of {ROUNDS}, in turns, each a new process",
        detail={"runs": runs},
    )


# --- what is timed -------------------------------------------------------------------------------------------


def seconds(work: Timed, url: str) -> float:
    """What it takes, on a database that is open."""
    database = Database(url)
    database.read(lambda connection: connection.exec_driver_sql("SELECT 1").all())
    begun = time.perf_counter()
    found = work(database)
    taken = time.perf_counter() - begun
    if not found:
        raise RuntimeError("nothing came of it")
    return taken


def one_sum(database: Database) -> int:
    """What all projects have used, in the reporting currency."""
    sums = SqlSpending(database, 35).used_by_day([(each, PERIOD) for each in _ids()])
    rates = SqlRates(database).rates({BUDGET, *CURRENCIES}, PERIOD)
    found = convert(sorted(sums), BUDGET, rates)
    return 0 if found.missing else len(found.by_day)


def plain_sum(database: Database) -> int:
    """The floor of that."""
    days = {"start": PERIOD.start, "end": PERIOD.end}
    found = database.read(lambda connection: [*select_among(connection, PLAIN, _ids(), **days)])
    return len(found)


def own_sums(database: Database) -> int:
    """What each has spent, in its budget's currency, as lists and checks have it."""
    spent = database.read(lambda connection: sums_within(connection, [(each, PERIOD) for each in _ids()]))
    wanted = [(each, PERIOD, BUDGET) for each in _ids()]
    add_converted(spent, database.read(lambda connection: converted_within(connection, wanted)))
    return sum((PERIOD, BUDGET) in each for each in spent.values())


def plain_own_sums(database: Database) -> int:
    """The floor of that."""
    return len(database.read(lambda connection: sums_within(connection, [(each, PERIOD) for each in _ids()])))


def _ids() -> list[int]:
    return list(range(1, PROJECTS + 1))


# --- what is stored ------------------------------------------------------------------------------------------


@contextmanager
def _sqlite(folder: Path) -> Iterator[str | None]:
    file = folder / "warden.db"
    in_fresh_process(_make, f"sqlite:///{file}")
    with sqlite3.connect(file) as connection:
        connection.executemany("INSERT INTO charges VALUES (?, ?, ?, ?, ?)", _charges())
    yield f"sqlite:///{file}"


@contextmanager
def _postgres(_folder: Path) -> Iterator[str | None]:
    """The tests' own server, which has fsync off, for both sides. None where its programs are not on this machine."""
    from tests.postgres import Postgres, programs

    if programs() is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="warden-pg-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            server.execute("CREATE DATABASE warden")
            in_fresh_process(_make, server.url("warden"))
            in_fresh_process(_fill_postgres, server.url("warden"))
            yield server.url("warden")
        finally:
            server.stop()


def _make(url: str) -> None:
    """The projects, each with a group of its own, and the rates of working days."""
    database = Database(url)
    migrate.upgrade(database)
    with database.engine.begin() as connection:
        true = "1" if url.startswith("sqlite") else "true"
        for each in _ids():
            connection.exec_driver_sql(
                "INSERT INTO projects (id, acronym_key, acronym, name, contacts, active, budget_number, checks) "
                f"VALUES ({each}, 'p{each}', 'P{each}', 'A project', '[]', {true}, 1, 0)"
            )
            connection.exec_driver_sql(
                "INSERT INTO scopes (id, provider, sub_account_id, x_resource_group_name, group_key) "
                f"VALUES ({each}, 'azure', 'sub-{each % 20}', 'RG-{each}', 'rg-{each}')"
            )
            connection.exec_driver_sql(f"INSERT INTO scope_owners (scope_id, project_id) VALUES ({each}, {each})")
    days = (FIRST - timedelta(days=7) + timedelta(days=each) for each in range(DAYS + 7))
    rates = [
        (day, currency, Decimal(10_000 + day.toordinal() % 997 + place * 700) / 10_000)
        for day in days
        if day.weekday() < 5
        for place, currency in enumerate(("USD", "GBP", "CAD"))
    ]
    SqlRates(database).keep(rates, datetime.now(UTC))


def _fill_postgres(url: str) -> None:
    statement = POSTGRES_FILL.format(projects=PROJECTS, days=DAYS, services=SERVICES)
    with Database(url).engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(statement)
        connection.exec_driver_sql("VACUUM ANALYZE")


def _charges() -> Iterator[tuple[int, str, str, str, int]]:
    on_days = [(FIRST + timedelta(days=each)).isoformat() for each in range(DAYS)]
    for project in _ids():
        currency = ("CAD", "USD", "EUR", "GBP")[project % 4]
        for number, day in enumerate(on_days):
            for service in range(1, SERVICES + 1):
                units = (project * 7919 + number * 104729 + service * 1299709) % 1000000007 * 1000
                yield project, day, f"Service {service}", currency, units
