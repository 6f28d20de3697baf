"""Reads a file of an export by Polars: lazily, in batches, and of its columns only those that are needed."""

from __future__ import annotations

import atexit
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import polars as pl
from typing_extensions import override

from shared.adapters.exports import csv_files
from shared.adapters.exports.apart import ReadingProcess
from shared.adapters.exports.columns import Layout, layout_of
from shared.adapters.exports.manifests import Manifests
from shared.adapters.exports.parquet_files import MAGIC
from shared.adapters.exports.polars_words import explained
from shared.adapters.exports.summing import Summing, columns_of, summing_of
from shared.domain.charges import CostMetric
from shared.ports.exports import ExportFile, ExportReader

BATCH_ROWS = 200_000
LAST = "last"
APART = ReadingProcess()
atexit.register(APART.close)


class PolarsExports(Manifests, ExportReader):
    """Manifests and files, as they lie on a disk."""

    @override
    def read(self, path: Path, metric: CostMetric, today: date) -> ExportFile:
        reads = APART.read if _is_parquet(path) else _read_csv
        layout, summing = reads(path, metric, today)
        with explained():
            return ExportFile(layout.dataset, layout.cost_column, summing.rows(), summing.count, summing.odd)


def _is_parquet(path: Path) -> bool:
    with explained(), path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC or path.suffix.lower() == ".parquet"


def _read_csv(path: Path, metric: CostMetric, today: date) -> tuple[Layout, Summing]:
    with explained(), csv_files.checked(path) as checked:
        layout = layout_of(checked.header, metric)
        names = [str(place) for place in range(len(checked.header))]
        rows = pl.scan_csv(checked.path, infer_schema=False, new_columns=names, glob=False, low_memory=True)
        columns = columns_of(layout, lambda _, at: pl.col(names[at]))
        # Where the last column is not read, the parser jumps over what lies behind the others, quotes and all.
        columns.append(pl.col(names[-1]).alias(LAST))
        summing = summing_of(layout, today)
        with ThreadPoolExecutor(1) as beside:
            lines = beside.submit(checked.count_lines)
            for batch in rows.select(columns).collect_batches(chunk_size=BATCH_ROWS, lazy=True, engine="streaming"):
                summing.add(batch.drop(LAST))
        checked.check(summing.read, lines.result())
        return layout, summing
