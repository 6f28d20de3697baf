"""Reads a file of an export by Polars: lazily, in batches, and of its columns only those that are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError
from typing_extensions import override

from shared.adapters.exports import csv_files
from shared.adapters.exports.cells import ABSENT
from shared.adapters.exports.columns import COST, PROVIDER, Layout, layout_of
from shared.adapters.exports.manifests import Manifests
from shared.adapters.exports.summing import Summing
from shared.domain.charges import CostMetric
from shared.domain.texts import readable
from shared.ports.azure import AZURE
from shared.ports.errors import NeverError
from shared.ports.exports import ExportFile, ExportReader

PARQUET = b"PAR1"
BATCH_ROWS = 200_000
LAST = "last"
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
        with _explained(), csv_files.checked(path) as checked:
            layout = layout_of(checked.header, metric)
            names = [str(place) for place in range(len(checked.header))]
            rows = pl.scan_csv(checked.path, infer_schema=False, new_columns=names, glob=False, low_memory=True)
            columns = _columns(layout, lambda _, at: pl.col(names[at]))
            # Where the last column is not read, the parser jumps over what lies behind the others, quotes and all.
            with ThreadPoolExecutor(1) as beside:
                lines = beside.submit(checked.count_lines)
                summing = _summed(rows.select(*columns, pl.col(names[-1]).alias(LAST)), layout, today)
            checked.check(summing.read, lines.result())
            return _file(summing, layout)


def _read_parquet(path: Path, metric: CostMetric, today: date) -> ExportFile:
    with _explained():
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = rows.collect_schema()
        layout = layout_of(schema.names(), metric)
        count = rows.select(pl.len()).collect().item()
        if count > MOST_ROWS_A_BYTE * path.stat().st_size:
            raise NeverError("The file has more rows than bytes, as no export does.")
        names = schema.names()
        columns = _columns(layout, lambda cell, at: _as_text(cell, names[at], schema[names[at]]))
        summing = _summed(rows.select(columns), layout, today)
        # A thread of the parser that breaks ends the rows, and that is all.
        if summing.read != count:
            raise NeverError(f"The file is broken: of its {count:,} rows, {summing.read:,} can be read.")
        return _file(summing, layout)


def _columns(layout: Layout, column: Callable[[str, int], pl.Expr]) -> list[pl.Expr]:
    """What is read, by what we call it. column: that at a place."""
    found = {cell: column(cell, at) for cell, at in layout.places.items()}
    if layout.older_provider is not None:
        newer, older = found[PROVIDER], column(PROVIDER, layout.older_provider)
        found[PROVIDER] = pl.when(newer.is_null() | newer.is_in(ABSENT)).then(older).otherwise(newer)
    return [each.alias(cell) for cell, each in found.items()]


def _as_text(cell: str, name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as it would stand in a CSV; a DOUBLE by the shortest text that means it. A DECIMAL stays one."""
    if dtype.is_nested():
        raise NeverError(f"The file's column {readable(name)} has lists or structures, and no plain values.")
    if dtype.is_float() and cell != COST:
        raise NeverError(f"The file's column {readable(name)} has numbers with a point, where the {cell} is a text.")
    column = pl.col(name)
    if dtype.is_decimal():
        return column
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(pl.String)


def _summed(rows: pl.LazyFrame, layout: Layout, today: date) -> Summing:
    summing = Summing(today, "" if _is_focus(layout) else AZURE)
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, lazy=True, engine="streaming"):
        summing.add(batch.drop(LAST, strict=False))
    return summing


def _file(summing: Summing, layout: Layout) -> ExportFile:
    return ExportFile(layout.dataset, layout.cost_column, summing.rows(), summing.count, summing.odd)


def _is_focus(layout: Layout) -> bool:
    return layout.dataset.startswith("FOCUS")


@contextmanager
def _explained() -> Iterator[None]:
    """What Polars, or the file system, says of a file that can't be read, as a sentence."""
    try:
        yield
    except (PolarsError, PanicException) as error:
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
