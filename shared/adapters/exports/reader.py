"""Reads a file of an export by Polars: lazily, in batches, and of its columns only those that are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import polars as pl
from polars.exceptions import ComputeError, InvalidOperationError, NoDataError, PanicException
from typing_extensions import override

from shared.adapters.exports import csv_files
from shared.adapters.exports.columns import Layout, layout_of
from shared.adapters.exports.manifests import Manifests
from shared.adapters.exports.summing import Summing
from shared.domain.charges import CostMetric
from shared.domain.texts import readable
from shared.ports.azure import AZURE
from shared.ports.errors import NeverError
from shared.ports.exports import ExportFile, ExportReader

PARQUET = b"PAR1"
BATCH_ROWS = 200_000
# Parquet packs rows that are alike into next to nothing; no two costs are alike for long.
MOST_ROWS_A_BYTE = 20


class PolarsExports(Manifests, ExportReader):
    """Manifests and files, as they lie on a disk."""

    @override
    def read(self, path: Path, metric: CostMetric, today: date) -> ExportFile:
        with _explained(), path.open("rb") as file:
            is_parquet = file.read(len(PARQUET)) == PARQUET
        if is_parquet or path.suffix.lower() == ".parquet":
            return _read_parquet(path, metric, today)
        with _explained(), csv_files.checked(path) as (checked, header):
            layout = layout_of(header, metric)
            names = [str(place) for place in range(len(header))]
            rows = pl.scan_csv(checked, infer_schema=False, new_columns=names, glob=False, low_memory=True)
            return _summed(
                rows.select(pl.col(str(at)).alias(cell) for cell, at in layout.places.items()), layout, today
            )


def _read_parquet(path: Path, metric: CostMetric, today: date) -> ExportFile:
    with _explained():
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = rows.collect_schema()
        layout = layout_of(schema.names(), metric)
        if rows.select(pl.len()).collect().item() > MOST_ROWS_A_BYTE * path.stat().st_size:
            raise NeverError("The file has more rows than bytes, as no export does.")
        names = {cell: schema.names()[place] for cell, place in layout.places.items()}
        columns = (_as_text(name, schema[name]).alias(cell) for cell, name in names.items())
        return _summed(rows.select(columns), layout, today)


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as it would stand in a CSV; a DOUBLE by the shortest text that means it. A DECIMAL stays one."""
    if dtype.is_nested():
        raise NeverError(f"The file's column {readable(name)} has lists or structures, and no plain values.")
    column = pl.col(name)
    if dtype.is_decimal():
        return column
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(pl.String)


def _summed(rows: pl.LazyFrame, layout: Layout, today: date) -> ExportFile:
    is_focus = layout.dataset.startswith("FOCUS")
    summing = Summing(today, "" if is_focus else AZURE)
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, lazy=True, engine="streaming"):
        summing.add(batch)
    found = summing.rows()
    return ExportFile(layout.dataset, layout.cost_column, found, summing.count, summing.odd)


@contextmanager
def _explained() -> Iterator[None]:
    """What Polars, or the file system, says of a file that can't be read, as a sentence."""
    try:
        yield
    except (ComputeError, InvalidOperationError, NoDataError, PanicException) as error:
        raise NeverError(f"The file is broken: {_reason(str(error))}.") from error
    except OSError as error:
        raise NeverError(f"The file can't be read: {readable(error.strerror or str(error), 200)}.") from error


def _reason(said: str) -> str:
    first = next(iter(said.splitlines()), "")
    if "parquet" in first.lower():
        return f"it is no Parquet file, or not all of one ({readable(first, 100)})"
    if "more fields" in first:
        return "a row has more fields than the header"
    if "utf-8" in first.lower():
        return "it is not in UTF-8"
    if "malformed" in first or "could not parse" in first:
        return f"its quotes are ({readable(first, 100)})"
    return readable(first, 200)
