"""Cost exports: an EA export, generated, as CSV, gzip and Parquet, from the file to its exact sums.

The floor, in a process like it: Polars reads the same columns and groups by them, with costs as floats, and nothing
else. Beside it, of the CSV: the standard library's csv.DictReader with Decimal. Each runs in a new process.
"""

from __future__ import annotations

import csv
import gzip
import os
import random
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process, peak_memory_mb
from localdev.azure_sim.export_runs import COLUMNS
from shared.ports.errors import LaterError, NeverError

ROWS = 3_000_000
# How many of them differ; the others are these again.
DIFFERENT = 100_000
AIM, MOST_MEMORY_MB = 1.5, 1536
TODAY = date(2026, 11, 30)
SUBSCRIPTIONS, GROUPS, DAYS = 20, 500, 30
SERVICES = (
    "Virtual Machines",
    "Storage",
    "SQL Database",
    "Bandwidth",
    "Azure Monitor",
    "Key Vault",
    "Azure App Service",
)
KEYS = ("SubscriptionId", "ResourceGroup", "Date", "MeterCategory", "BillingCurrency", "BillingPeriodStartDate")


@dataclass(frozen=True)
class Read:
    """Seconds, memory in MB, how many rows and sums there were, and seconds of processors."""

    seconds: float
    memory: float
    rows: int
    sums: int
    cpu: float


def measure(rows: int = ROWS) -> Iterator[Figure]:
    """Each form of the same rows, and of CSV the memory that twice as many take."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as name:
        plain = Path(name, "export.csv")
        in_fresh_process(write_csv, plain, rows)
        size = plain.stat().st_size
        once = yield from _form(plain, "CSV", f"{rows:,} rows of {len(COLUMNS)} columns, {size / 2**20:,.0f} MB")
        slow = in_fresh_process(by_dictionaries, plain)
        yield Figure(
            "Exports: csv.DictReader with Decimal, of the CSV", slow.seconds, "s", once.seconds, "our reading of it"
        )
        packed = plain.with_suffix(".csv.gz")
        in_fresh_process(pack, plain, packed)
        yield from _form(packed, "gzip", f"{packed.stat().st_size / 2**20:,.0f} MB")
        packed.unlink()
        parquet = plain.with_suffix(".parquet")
        in_fresh_process(write_parquet, plain, parquet)
        yield from _form(parquet, "Parquet", f"{parquet.stat().st_size / 2**20:,.0f} MB, snappy")
        parquet.unlink()
        in_fresh_process(write_csv, plain, 2 * rows)
        twice = in_fresh_process(ours, plain)
        yield Figure(
            "Exports: memory for CSV of twice as many rows",
            twice.memory,
            "MB",
            once.memory,
            "for as many",
            MOST_MEMORY_MB,
        )


def _form(path: Path, form: str, what: str) -> Generator[Figure, None, Read]:
    """Both read it once before, so that neither waits for the disk."""
    in_fresh_process(ours, path)
    floor, own = in_fresh_process(by_polars_alone, path), in_fresh_process(ours, path)
    if (own.rows, own.sums) != (floor.rows, floor.sums):
        raise RuntimeError(f"{own} and {floor} are not of the same rows")
    is_floor = "Polars: the same columns, grouped, in floats"
    note = f"{what}; {own.rows / own.seconds:,.0f} rows/s, {own.sums:,} sums"
    note += f"; of processors {own.cpu:.2f} s, the floor {floor.cpu:.2f} s"
    yield Figure(f"Exports: {form} to exact sums", own.seconds, "s", floor.seconds, is_floor, AIM * floor.seconds, note)
    yield Figure(f"Exports: {form}, memory", own.memory, "MB", floor.memory, is_floor, MOST_MEMORY_MB)
    return own


# --- what is timed -------------------------------------------------------------------------------------------


def ours(path: Path) -> Read:
    """The app's own reader. The process for Parquet is there, as Polars is loaded for the floor; both count."""
    from shared.adapters.exports.reader import APART, PolarsExports
    from shared.domain.charges import CostMetric

    if path.suffix == ".parquet":
        with suppress(LaterError, NeverError):
            APART.read(Path(os.devnull), CostMetric.ACTUAL, TODAY)
    begun, cpu = time.perf_counter(), _processors(APART.process_id)
    file = PolarsExports().read(path, CostMetric.ACTUAL, TODAY)
    seconds, cpu = time.perf_counter() - begun, _processors(APART.process_id) - cpu
    memory = peak_memory_mb() + (peak_memory_mb(APART.process_id) if APART.process_id else 0)
    return Read(seconds, memory, file.count, len(file.rows["azure"]), cpu)


def _processors(other: int | None) -> float:
    """What this process, and another, have taken of processors, in seconds."""
    ticks = Path(f"/proc/{other}/stat").read_text().split()[13:15] if other else []
    return time.process_time() + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def by_polars_alone(path: Path) -> Read:
    """The floor."""
    import polars as pl

    begun, cpu = time.perf_counter(), time.process_time()
    is_parquet = path.suffix == ".parquet"
    rows = pl.scan_parquet(path) if is_parquet else pl.scan_csv(path, infer_schema=False)
    grouped = rows.group_by(KEYS).agg(pl.col("Cost").cast(pl.Float64).sum(), pl.len().alias("rows"))
    found = grouped.collect(engine="streaming")
    seconds = time.perf_counter() - begun
    return Read(seconds, peak_memory_mb(), int(found["rows"].sum()), found.height, time.process_time() - cpu)


def by_dictionaries(path: Path) -> Read:
    """What the standard library does."""
    begun, cpu = time.perf_counter(), time.process_time()
    sums: dict[tuple[str, ...], Decimal] = {}
    count = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            key = tuple(row[name] for name in KEYS)
            sums[key] = sums.get(key, Decimal(0)) + Decimal(row["Cost"])
            count += 1
    return Read(time.perf_counter() - begun, peak_memory_mb(), count, len(sums), time.process_time() - cpu)


# --- files ---------------------------------------------------------------------------------------------------


def write_csv(path: Path, rows: int) -> None:
    """An export as Azure writes it, of about a kilobyte a row."""
    chance = random.Random(1)
    subscriptions = [f"{chance.getrandbits(32):08x}-0000-4000-8000-{each:012x}" for each in range(SUBSCRIPTIONS)]
    block = [_line(chance, subscriptions, number) for number in range(min(rows, DIFFERENT))]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        file.write(",".join(COLUMNS) + "\r\n")
        for begun in range(0, rows, len(block)):
            file.writelines(block[: rows - begun])


def _line(chance: random.Random, subscriptions: list[str], number: int) -> str:
    subscription, group = chance.choice(subscriptions), f"fsdh_proj_{chance.randrange(GROUPS)}_rg"
    cells = dict.fromkeys(COLUMNS, "some words here") | {
        "SubscriptionId": subscription,
        "ResourceGroup": group,
        "Date": f"09/{chance.randrange(DAYS) + 1:02}/2026",
        "MeterCategory": chance.choice(SERVICES),
        "Cost": f"{chance.random() * chance.choice([0.001, 1, 50]):.16f}",
        "BillingCurrency": "CAD",
        "BillingPeriodStartDate": "09/01/2026",
        "ResourceId": f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Sql/servers/{number}",
        "Tags": '"""env"": ""prod"",""owner"": ""someone@example.com"",""application"": ""databricks"""',
        "AdditionalInfo": '"{""UsageType"":""ComputeHR"",""ServiceType"":""Standard_D4s_v3"",""VCPUs"":4}"',
    }
    return ",".join(cells.values()) + "\r\n"


def pack(path: Path, packed: Path) -> None:
    """The same as one gzip file."""
    with path.open("rb") as file, gzip.open(packed, "wb", compresslevel=6) as other:
        shutil.copyfileobj(file, other, 2**20)


def write_parquet(path: Path, parquet: Path) -> None:
    """The same as Parquet, costs as Azure writes them there."""
    import polars as pl

    rows = pl.scan_csv(path, infer_schema=False)
    rows.with_columns(pl.col("Cost").str.to_decimal(scale=18)).sink_parquet(parquet, compression="snappy")
