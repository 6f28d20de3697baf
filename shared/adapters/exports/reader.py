"""Reads a file of an export by Polars: in batches, and of its columns only those that are needed."""

from __future__ import annotations

import atexit
from datetime import date
from pathlib import Path

from typing_extensions import override

from shared.adapters.exports import kinds
from shared.adapters.exports.apart import ReadingProcess
from shared.adapters.exports.csv_rows import read_csv
from shared.adapters.exports.manifests import Manifests
from shared.adapters.exports.parquet_files import MAGIC
from shared.adapters.exports.polars_words import explained
from shared.domain.charges import CostMetric
from shared.ports.exports import ExportFile, ExportReader

APART = ReadingProcess()
atexit.register(APART.close)


class PolarsExports(Manifests, ExportReader):
    """Manifests and files, as they lie on a disk."""

    @override
    def read(self, path: Path, metric: CostMetric, today: date) -> ExportFile:
        with explained():
            kinds.refuse_others(path)
        reads = APART.read if _is_parquet(path) else read_csv
        layout, summing = reads(path, metric, today)
        with explained():
            return ExportFile(layout.dataset, layout.cost_column, summing.rows(), summing.count, summing.odd)


def _is_parquet(path: Path) -> bool:
    with explained(), path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC or path.suffix.lower() == ".parquet"
