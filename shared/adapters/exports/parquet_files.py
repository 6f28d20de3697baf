"""Parquet files. One that is damaged or hostile can break the process that reads it: see apart.py."""

from __future__ import annotations

import mmap
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException

from shared.adapters.exports.columns import COST, Layout, layout_of
from shared.adapters.exports.polars_words import explained
from shared.adapters.exports.summing import Summing, columns_of, summing_of
from shared.domain.charges import CostMetric
from shared.domain.texts import readable
from shared.ports.errors import NeverError

MAGIC = b"PAR1"
BATCH_ROWS = 500_000
# Parquet packs rows that are alike into next to nothing; no two costs are alike for long.
MOST_ROWS_A_BYTE = 20
MOST_DIGITS = 38
# What Arrow's writers add about types, and a name of as many letters that nobody looks for.
ARROWS_TYPES, NO_TYPES = b"ARROW:schema", b"ARROW:no one"


def read_parquet(path: Path, metric: CostMetric, today: date) -> tuple[Layout, Summing]:
    """What a file is, and what it comes to. Raises NeverError."""
    with explained():
        rows = _scanned(path)
        schema = rows.collect_schema()
        layout = layout_of(schema.names(), metric)
        count = rows.select(pl.len()).collect().item()
        if count > MOST_ROWS_A_BYTE * path.stat().st_size:
            raise NeverError("The file has more rows than bytes, as no export does.")
        summing = summing_of(layout, today)
        columns = columns_of(layout, partial(_as_text, schema))
        for batch in rows.select(columns).collect_batches(chunk_size=BATCH_ROWS, lazy=True, engine="streaming"):
            summing.add(batch)
        # A thread of the parser that breaks ends the rows, and that is all.
        if summing.read != count:
            raise NeverError(f"The file is broken: of its {count:,} rows, {summing.read:,} can be read.")
        return layout, summing.added_up()


def _scanned(path: Path) -> pl.LazyFrame:
    rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    try:
        rows.collect_schema()
    except PanicException as error:
        if "time zone" not in str(error):
            raise
        # Of a zone such as -07:30 Polars knows nothing. Times are in UTC all the same, as Parquet's own types say.
        return pl.scan_parquet(_without_arrows_types(path), hive_partitioning=False)
    return rows


def _without_arrows_types(path: Path) -> bytes:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as content:
        if (at := content.rfind(ARROWS_TYPES)) >= 0:
            content[at : at + len(NO_TYPES)] = NO_TYPES
        return content[:]


def _as_text(schema: pl.Schema, cell: str, place: int) -> pl.Expr:
    """A column as it would stand in a CSV; a DOUBLE by the shortest text that means it. A DECIMAL stays one."""
    name, dtype = list(schema.items())[place]
    if dtype.is_nested():
        raise NeverError(f"The file's column {readable(name)} has lists or structures, and no plain values.")
    if dtype.is_float() and cell != COST:
        raise NeverError(f"The file's column {readable(name)} has numbers with a point, where the {cell} is a text.")
    column = pl.col(name)
    if isinstance(dtype, pl.Decimal):
        if dtype.precision > MOST_DIGITS:
            raise NeverError(
                f"The file's column {readable(name)} has decimals of {dtype.precision} digits; {MOST_DIGITS} are read."
            )
        return column
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(pl.String)
