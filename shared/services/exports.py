"""Cost exports that lie in files: what each says, before anybody switches to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from shared.domain.charges import CostMetric
from shared.domain.exports.runs import SERVED_BY, Blob, Dataset, why_waiting
from shared.domain.exports.sums import SUMMING, Row
from shared.domain.texts import readable
from shared.ports.clock import Clock
from shared.ports.errors import NeverError
from shared.ports.exports import ExportFile, ExportReader, Manifest
from shared.services.errors import RequestError
from shared.services.export_folders import ENDINGS, found_in, parts_of


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a file, or of a manifest.

    metric: which costs were counted, and how that is known. fault: why it can't be used, in a sentence; else None.
    """

    name: str
    file: ExportFile | None = None
    manifest: Manifest | None = None
    metric: str = ""
    fault: str | None = None

    @property
    def rows(self) -> list[Row]:
        """What the file comes to, of all its providers."""
        return [row for rows in self.file.rows.values() for row in rows] if self.file else []

    @property
    def days(self) -> tuple[date, date] | None:
        """The first and the last day; None without charges."""
        days = {row.day for row in self.rows}
        return (min(days), max(days)) if days else None

    @property
    def totals(self) -> dict[str, Decimal]:
        """What it comes to by currency, exactly."""
        return totals(self.rows)

    @property
    def without_group(self) -> dict[str, Decimal]:
        """What of it is in no resource group, by currency."""
        return totals(row for row in self.rows if not row.group)

    @property
    def sub_accounts(self) -> list[tuple[str, str]]:
        """Providers and sub-accounts; empty where rows name none."""
        by_provider = self.file.rows.items() if self.file else ()
        return sorted({(provider, row.sub_account_id) for provider, rows in by_provider for row in rows})


def totals(rows: Iterable[Row]) -> dict[str, Decimal]:
    """The exact sums of rows by currency, which are never added."""
    found: dict[str, Decimal] = {}
    for row in rows:
        found[row.currency] = SUMMING.add(found.get(row.currency, Decimal(0)), row.cost)
    return dict(sorted(found.items()))


class ExportService:
    """Cost exports, for people. metric: which cost counts, where a file has both."""

    def __init__(self, reader: ExportReader, metric: CostMetric, clock: Clock) -> None:
        self._reader = reader
        self._metric = metric
        self._clock = clock

    def read(self, paths: Sequence[Path]) -> Iterator[Checked]:
        """What these files, and those in these folders, come to, one after the other; a manifest comes after its parts.

        Raises RequestError where there is nothing to read.
        """
        for path in paths:
            if not path.exists():
                raise RequestError(f"there is no {readable(str(path), 200)}")
            if path.is_dir():
                yield from self._folder(path)
            elif self._reader.is_manifest(path.name):
                yield from self._run(path, self._manifest(path), found_in(path.parent, self._reader))
            else:
                yield self._file(path)

    def _folder(self, folder: Path) -> Iterator[Checked]:
        found = found_in(folder, self._reader)
        if not found:
            raise RequestError(f"{readable(str(folder), 200)} holds no export ({', '.join(ENDINGS)} or a manifest)")
        manifests = {path: self._manifest(path) for path in found if self._reader.is_manifest(path.name)}
        listed = {part for path, each in manifests.items() for part in _parts(each, path, found).values()}
        for path, said in manifests.items():
            yield from self._run(path, said, found)
        for path in found:
            if path not in manifests and path not in listed:
                yield self._file(path)

    # --- a run -----------------------------------------------------------------------------------------------------

    def _manifest(self, path: Path) -> Manifest | NeverError:
        try:
            return self._reader.manifest(path.read_bytes())
        except NeverError as error:
            return error
        except OSError as error:
            return NeverError(f"The file can't be read: {error.strerror}.")

    def _run(self, path: Path, said: Manifest | NeverError, found: Sequence[Path]) -> Iterator[Checked]:
        """Its parts, and then its manifest, which may disagree with them."""
        if isinstance(said, NeverError):
            yield Checked(str(path), fault=said.reason)
            return
        parts, count = parts_of(said, path, found), 0
        sizes = {part.name: part.size for part in said.parts}
        waiting = why_waiting(sizes, {name: Blob(part.stat().st_size, "") for name, part in parts.items()})
        fault = f"It can't be imported yet: {waiting}." if waiting else None
        for part in said.parts if said.export.dataset is not Dataset.OTHER else ():
            if part.name in parts:
                checked = _counted(self._file(parts[part.name], said.export.dataset), part.rows)
                count += checked.file.count if checked.file else 0
                fault = fault or (checked.fault and "It can't be imported: one of its files can't be.")
                yield checked
        if fault is None and said.rows is not None and said.export.dataset is not Dataset.OTHER and count != said.rows:
            fault = f"Its files have {count:,} rows, and {said.rows:,} by what it says."
        yield Checked(str(path), manifest=said, fault=fault)

    # --- a file ----------------------------------------------------------------------------------------------------

    def _file(self, path: Path, dataset: Dataset | None = None) -> Checked:
        try:
            file = self._reader.read(path, self._metric, self._clock().date())
        except NeverError as error:
            return Checked(str(path), fault=error.reason)
        return Checked(str(path), file, metric=self._named(file, dataset))

    def _named(self, file: ExportFile, dataset: Dataset | None) -> str:
        if file.is_focus:
            return f"{self._metric}, as COST_METRIC says"
        said = next((metric for metric, served in SERVED_BY.items() if served is dataset), None)
        if said:
            return f"{said}, as its manifest says"
        return f"{self._metric}, as COST_METRIC says; the file says nothing of it"


def _parts(said: Manifest | NeverError, manifest: Path, found: Sequence[Path]) -> dict[str, Path]:
    return {} if isinstance(said, NeverError) else parts_of(said, manifest, found)


def _counted(checked: Checked, rows: int | None) -> Checked:
    """A part, at fault where it has not as many rows as its manifest says."""
    if checked.file is None or rows is None or checked.file.count == rows:
        return checked
    return Checked(checked.name, fault=f"It has {checked.file.count:,} rows, and {rows:,} by its manifest.")
