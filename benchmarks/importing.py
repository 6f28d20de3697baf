"""The import of a cost export into the database: from files on a disk to charges that count, restated, and again.

It is the app's own reader and ledger, without the queue and the copy of each part from its container. The files are
those of benchmarks.exports. The floor: Polars groups the same columns in floats, and nothing else; and a plain
`executemany` of the rows that are written, into the same tables. Each runs in a new process, on a fresh database.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import exports
from benchmarks.exports import AIM, MOST_MEMORY_MB, ROWS, TODAY, Read
from benchmarks.figure import Figure
from benchmarks.fleet import ROOT
from benchmarks.fresh import in_fresh_process, peak_memory_mb

NOW = datetime(2026, 10, 2, 4, tzinfo=UTC)
SEPTEMBER_ENDS = date(2026, 10, 1)
# Rows of about 1 GB.
PART_ROWS = 935_000
PARTS, INSTANCES, STAGED = 500, 20, 5
# Of one row in a hundred the cost is another in the restated month.
RESTATED = 100
OTHERS = ("pandas==2.3.3", "duckdb==1.4.2")
OTHERS_VENV = ROOT / ".venv-bench"


@dataclass(frozen=True)
class Took:
    """Seconds of each step: reading, adding up and staging, making charges. cpu: seconds of processors, in all.
    memory in MB. written: rows of charges that were added, changed or removed.
    """

    read: float
    stage: float
    make: float
    cpu: float
    memory: float
    rows: int
    written: int

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.read + self.stage + self.make


def measure(rows: int = ROWS) -> Iterator[Figure]:
    """Each form into each database there is; restated, and again; large parts; what others do with the CSV."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as name:
        folder = Path(name)
        plain = folder / "export.csv"
        in_fresh_process(exports.write_csv, plain, rows)
        files = {"CSV": plain, "gzip": plain.with_suffix(".csv.gz"), "Parquet": plain.with_suffix(".parquet")}
        in_fresh_process(exports.pack, plain, files["gzip"])
        in_fresh_process(exports.write_parquet, plain, files["Parquet"])
        for kind, databases in (("SQLite", _sqlite), ("PostgreSQL without fsync", _postgres)):
            yield from _into(kind, databases, files, folder)
        for each in ("gzip", "Parquet"):
            files[each].unlink()
        yield from _others(plain)
        yield from _large(plain, rows, folder)


NewDatabase = Callable[[], str]
"""Gives the URL of a fresh, empty database."""
Databases = Callable[[Path], AbstractContextManager[NewDatabase | None]]


@contextmanager
def _sqlite(folder: Path) -> Iterator[NewDatabase]:
    numbers = count()
    yield lambda: in_fresh_process(migrated, f"sqlite:///{folder / f'warden-{next(numbers)}.db'}")


@contextmanager
def _postgres(_folder: Path) -> Iterator[NewDatabase | None]:
    """The tests' own server, which has fsync off, for both sides. None where its programs are not on this machine."""
    from tests.postgres import Postgres, programs

    if programs() is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="warden-pg-", ignore_cleanup_errors=True) as name:
        server, numbers = Postgres(Path(name)), count()
        server.start()

        def new_database() -> str:
            database = f"warden_{next(numbers)}"
            server.execute(f"CREATE DATABASE {database}")
            return in_fresh_process(migrated, server.url(database))

        try:
            yield new_database
        finally:
            server.stop()


def _into(kind: str, databases: Databases, files: dict[str, Path], folder: Path) -> Iterator[Figure]:
    with databases(folder) as new_database:
        if new_database is None:
            return
        inserts = in_fresh_process(plain_inserts, new_database(), files["Parquet"])
        # Forms differ in how they are read: one of them is enough for another database.
        forms = files if kind == "SQLite" else {"Parquet": files["Parquet"]}
        for form, path in forms.items():
            url = new_database()
            floor = in_fresh_process(exports.by_polars_alone, path)
            took = in_fresh_process(imported, url, [path], 1)
            yield _whole(form, kind, took, floor, inserts)
            if form == "CSV":
                yield Figure(f"Import: CSV into {kind}, memory", took.memory, "MB", floor.memory, "Polars alone", 1536)
        yield from _again(kind, url, path, folder)


def _whole(form: str, kind: str, took: Took, floor: Read, inserts: Read) -> Figure:
    return Figure(
        f"Import: {form} into {kind}",
        took.seconds,
        "s",
        floor.seconds + inserts.seconds,
        "Polars, the same columns grouped, in floats + plain inserts",
        AIM * floor.seconds + inserts.seconds,
        f"{took.rows:,} rows, {took.rows / took.seconds:,.0f} rows/s: reading {took.read:.2f} s, adding up and staging "
        f"{took.stage:.2f} s, making {took.written:,} charges {took.make:.2f} s; the floor {floor.seconds:.2f} s and "
        f"{inserts.seconds:.2f} s; of processors {took.cpu:.2f} s, the floor {floor.cpu:.2f} s and "
        f"{inserts.cpu:.2f} s",
    )


def _again(kind: str, url: str, path: Path, folder: Path) -> Iterator[Figure]:
    again = in_fresh_process(same_again, url, path)
    yield Figure(f"Import: the same content again, {kind}", 1000 * again, "ms", None, "", 1000, "no part is read")
    restated = folder / "restated.parquet"
    differing = in_fresh_process(restate, path, restated)
    took = in_fresh_process(imported, url, [restated], 2)
    yield Figure(
        f"Import: rows written of a restated month, {kind}",
        took.written,
        "rows",
        differing,
        "charges that differ",
        differing,
        f"making them took {took.make:.2f} s",
    )


def _large(plain: Path, rows: int, folder: Path) -> Iterator[Figure]:
    url = f"sqlite:///{folder / 'large.db'}"
    once = in_fresh_process(imported, in_fresh_process(migrated, url), [plain], 1)
    in_fresh_process(exports.write_csv, plain, 2 * rows)
    url = f"sqlite:///{folder / 'twice.db'}"
    twice = in_fresh_process(imported, in_fresh_process(migrated, url), [plain], 1)
    as_many = f"for {once.rows:,} rows"
    yield Figure(
        f"Import: memory for {twice.rows:,} rows of CSV", twice.memory, "MB", once.memory, as_many, MOST_MEMORY_MB
    )
    in_fresh_process(exports.write_csv, plain, PART_ROWS)
    size = plain.stat().st_size / 2**20
    url = f"sqlite:///{folder / 'part.db'}"
    took = in_fresh_process(imported, in_fresh_process(migrated, url), [plain] * STAGED, 1)
    part = (took.read + took.stage) / STAGED
    note = f"CSV of {size:,.0f} MB, {PART_ROWS:,} rows; {STAGED} of them, one after the other, as parts of one run"
    yield Figure("Import: one part, read and staged", part, "s", None, "", None, note)
    yield Figure("Import: one part, memory", took.memory, "MB", None, "", MOST_MEMORY_MB, "with the making of its run")
    making = took.make * PARTS / STAGED
    for instances in (1, INSTANCES):
        yield Figure(
            f"Import: {PARTS} such parts on {instances} instance{'s' if instances > 1 else ''}, RECKONED",
            (part * PARTS / instances + making) / 60,
            "min",
            None,
            "",
            None,
            f"{PARTS} times one part, shared by {instances}, and making {making:,.0f} s by one ({took.make:.2f} s for "
            f"{STAGED} parts, in proportion); without the time that blobs take to come",
        )


# --- what is timed -------------------------------------------------------------------------------------------


def imported(url: str, paths: list[Path], run: int) -> Took:
    """The app's own import of a run with these parts. run: its number, later than that of those before."""
    from shared.adapters.database.engine import Database
    from shared.adapters.database.exports import SqlExports
    from shared.adapters.exports.reader import PolarsExports
    from shared.domain.charges import CostMetric
    from shared.domain.exports.sums import sums_of
    from shared.ports.export_runs import CLOSED_ON

    cpu = time.process_time()
    ledger = SqlExports(Database(url))
    found = _run(paths, run)
    now = NOW + timedelta(days=run)
    _, record = ledger.register(found, now)
    reading = staging = 0.0
    rows = 0
    for number, path in enumerate(paths):
        begun = time.perf_counter()
        file = PolarsExports().read(path, CostMetric.ACTUAL, TODAY)
        read = time.perf_counter()
        sums = sums_of(file.rows["azure"], found.run.export)
        ledger.stage(record.run, number, sums, file.count, file.odd, now)
        reading, staging = reading + read - begun, staging + time.perf_counter() - read
        rows += file.count
    begun = time.perf_counter()
    changes = ledger.make(record.id, CostMetric.ACTUAL, CLOSED_ON, now).record.changes
    making = time.perf_counter() - begun
    written = changes.added + changes.changed + changes.removed
    return Took(reading, staging, making, time.process_time() - cpu, peak_memory_mb(), rows, written)


def same_again(url: str, path: Path) -> float:
    """What the same content costs, found again: seconds."""
    from shared.adapters.database.engine import Database
    from shared.adapters.database.exports import SqlExports
    from shared.domain.exports.runs import Found

    ledger = SqlExports(Database(url))
    ledger.exports()  # the connection is there
    begun = time.perf_counter()
    verdict, _ = ledger.register(_run([path], 1), NOW + timedelta(days=1))
    if verdict is not Found.KNOWN:
        raise RuntimeError(f"the same content is {verdict}")
    return time.perf_counter() - begun


def _run(paths: list[Path], run: int) -> Any:
    from shared.domain.exports.runs import Blob, Dataset, Export, ExportRun, Width, content_of
    from shared.domain.periods import Period
    from shared.ports.export_runs import NewRun, RunPart

    export = Export("azure", "/billingAccounts/42/exports/daily", "daily", Dataset.ACTUAL, Width.BILLING_ACCOUNT, "42")
    blobs = [Blob(path.stat().st_size, f"{run} {number}") for number, path in enumerate(paths)]
    parts = tuple(RunPart(number, f"{number}-{paths[number].name}", blob) for number, blob in enumerate(blobs))
    at = NOW + timedelta(days=run)
    days = Period(SEPTEMBER_ENDS - timedelta(days=exports.DAYS), SEPTEMBER_ENDS)
    content = content_of(str(run), [blob.etag for blob in blobs])
    this = ExportRun(export, f"run {run}", f"costs/{run}/manifest.json", at, at, 0, days, content)
    return NewRun(this, None, "msexports", parts)


def plain_inserts(url: str, parquet: Path) -> Read:
    """The floor of writing: as many rows into `charges` and `export_charges`, by SQLAlchemy's own executemany."""
    from sqlalchemy import insert

    from shared.adapters.database.engine import Database
    from shared.adapters.database.tables import charges, export_charges, scopes
    from shared.adapters.exports.reader import PolarsExports
    from shared.domain.charges import CostMetric
    from shared.domain.money import stored

    found = PolarsExports().read(parquet, CostMetric.ACTUAL, TODAY).rows["azure"]
    places = {key: number for number, key in enumerate(dict.fromkeys((row.sub_account_id, row.group) for row in found))}
    names = ("scope_id", "charge_period_start", "service_name", "billing_currency", "billed_cost")
    rows = [
        (places[row.sub_account_id, row.group], row.day, row.service, row.currency, stored(row.cost)) for row in found
    ]
    begun, cpu = time.perf_counter(), time.process_time()
    with Database(url).engine.begin() as connection:
        columns = ("provider", "sub_account_id", "x_resource_group_name", "group_key")
        of_scopes = [dict(zip(columns, ("azure", *place, place[1].lower()), strict=True)) for place in places]
        connection.execute(insert(scopes), [row | {"id": number} for number, row in enumerate(of_scopes)])
        counted = [dict(zip(names, row, strict=True)) for row in rows]
        connection.execute(insert(charges), counted)
        delivered = {"export_id": 1, "billing_period": SEPTEMBER_ENDS.replace(month=9)}
        connection.execute(insert(export_charges), [row | delivered for row in counted])
    seconds = time.perf_counter() - begun
    return Read(seconds, peak_memory_mb(), 2 * len(rows), len(rows), time.process_time() - cpu)


def migrated(url: str) -> str:
    """A fresh database."""
    from shared.adapters.database import migrate
    from shared.adapters.database.engine import Database

    migrate.upgrade(Database(url))
    return url


def restate(path: Path, restated: Path) -> int:
    """The same month in which the costs of one service and day in a hundred are others; how many charges that are."""
    import polars as pl

    keys = [name for name in exports.KEYS if name != "BillingPeriodStartDate"]
    rows = pl.read_parquet(path, columns=[*exports.KEYS, "Cost"]).with_columns(
        (pl.struct(keys).hash(1) % RESTATED == 0).alias("other")
    )
    cost = pl.when("other").then(pl.col("Cost") + pl.lit("0.01").str.to_decimal(scale=18)).otherwise(pl.col("Cost"))
    rows.with_columns(cost.alias("Cost")).drop("other").write_parquet(restated)
    return rows.filter("other").select(keys).unique().height


# --- others --------------------------------------------------------------------------------------------------

PANDAS = """
import sys, time, pandas
keys = sys.argv[2].split(",")
begun, sums, count = time.perf_counter(), None, 0
texts = dict.fromkeys(keys, str)
for some in pandas.read_csv(sys.argv[1], usecols=[*keys, "Cost"], dtype=texts, chunksize=200_000):
    some = some.groupby(keys, dropna=False)["Cost"].sum()
    sums = some if sums is None else sums.add(some, fill_value=0)
print(time.perf_counter() - begun, len(sums))
"""
DUCKDB = """
import sys, time, duckdb
keys = ", ".join(f'"{name}"' for name in sys.argv[2].split(","))
begun = time.perf_counter()
found = duckdb.sql(f'''SELECT {keys}, sum(CAST("Cost" AS DECIMAL(38, 16))), count(*)
    FROM read_csv('{sys.argv[1]}', all_varchar = true) GROUP BY ALL''').fetchall()
print(time.perf_counter() - begun, len(found))
"""


def _others(plain: Path) -> Iterator[Figure]:
    """What others do with the same CSV, in an environment of their own."""
    own = in_fresh_process(exports.ours, plain)
    python = OTHERS_VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", OTHERS_VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *OTHERS], check=True)
    for name, script in (("pandas in chunks, in floats", PANDAS), ("DuckDB, in DECIMAL(38, 16)", DUCKDB)):
        command = [str(python), "-c", script, str(plain), ",".join(exports.KEYS)]
        # DuckDB draws how far it is before that.
        *_, seconds, sums = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        if int(sums) != own.sums:
            raise RuntimeError(f"{name} finds {sums} sums, and we {own.sums}")
        yield Figure(
            f"Exports: {name}, of the CSV", float(seconds), "s", own.seconds, "our reading of it, to exact sums"
        )
