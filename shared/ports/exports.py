"""Cost exports: what a manifest says, and what a file comes to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from shared.domain.charges import CostMetric
from shared.domain.exports.runs import Export
from shared.domain.exports.sums import Row
from shared.domain.periods import Period


@dataclass(frozen=True, slots=True)
class ManifestPart:
    """A file that a manifest lists. name: within its container. size (bytes), rows: None where it does not say."""

    name: str
    size: int | None
    rows: int | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says of one run of an export.

    version: of the dataset, as the provider names it (`2024-08-01`, `1.0r2`); empty where it does not. container: where
    its files lie, empty where it does not say. submitted_at, days: None where it names none. rows: of all its parts.
    """

    export: Export
    version: str
    run_id: str
    submitted_at: datetime | None
    days: Period | None
    container: str
    parts: tuple[ManifestPart, ...]
    rows: int | None


@dataclass(frozen=True, slots=True)
class ExportFile:
    """What a file of an export comes to.

    dataset: as its columns show (`EA`, `FOCUS 1.2`). cost_column: which one was summed. rows: those of the file, summed
    exactly, by provider; two of them may still be one charge. count: how many rows the file has. odd: what a person
    should know of it, in sentences.
    """

    dataset: str
    cost_column: str
    rows: Mapping[str, Collection[Row]]
    count: int
    odd: tuple[str, ...] = ()

    @property
    def is_focus(self) -> bool:
        """Whether it holds both metrics, and says of which provider it is."""
        return self.dataset.startswith("FOCUS")


class ManifestReader(Protocol):
    """Reads what manifests say."""

    def is_manifest(self, name: str) -> bool:
        """Whether a file of this name (or path) says what a run consists of, in any case."""

    def manifest(self, content: bytes, container: str = "") -> Manifest:
        """What a manifest says. container: in which it lies; empty where that is not known.

        Raises NeverError with what is wrong with it.
        """


class ExportReader(ManifestReader, Protocol):
    """Reads what providers export."""

    def read(self, path: Path, metric: CostMetric, today: date) -> ExportFile:
        """What a file comes to: CSV (plain, gzip) or Parquet, whatever its name; with bounded memory.

        metric: which cost to count, where a file has both. Raises NeverError with why it can't be read.
        """
