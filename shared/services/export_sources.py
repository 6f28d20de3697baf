"""Where a person has cost exports: on this machine's disk, or in export storage; the same way to both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

from typing_extensions import override

from shared.domain.charges import CostMetric
from shared.domain.exports.runs import Blob, RunState
from shared.domain.texts import readable
from shared.pipeline.exports.places import Finder, Place, new_run, place_holding
from shared.ports.azure import AZURE
from shared.ports.blobs import ListedBlob
from shared.ports.errors import NeverError
from shared.ports.export_runs import NewRun
from shared.ports.exports import ExportReader
from shared.services.errors import RequestError
from shared.services.export_folders import ENDINGS, found_in, is_of_export, parts_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of an export, or a manifest. place: where it lies. blob: its ETag; on a disk, a hash of its content."""

    place: str
    blob: Blob
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class FoundRun:
    """What a manifest lists. place: where that lies. files: the parts, in order, those that are there.

    fault: why it can't be imported, in a sentence; else None.
    """

    place: str
    new: NewRun | None
    files: tuple[SourceFile, ...] = ()
    fault: str | None = None


class ExportSource(Protocol):
    """Files of exports in one place. Every method raises RequestError, LaterError and NeverError."""

    def runs(self) -> Iterator[FoundRun]:
        """What the manifests there list."""

    def others(self, listed: Collection[str]) -> list[SourceFile]:
        """The files that are none of these, by their places, and no manifests."""

    def opened(self, file: SourceFile) -> AbstractContextManager[Path]:
        """The file on this machine's disk, as long as it is needed."""


class Disk(ExportSource):
    """Files, manifests, and folders of them. metric: which costs count."""

    def __init__(self, path: Path, reader: ExportReader, metric: CostMetric) -> None:
        self._path, self._reader, self._metric = path, reader, metric

    @cached_property
    def _found(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path]
        return _not_none(found_in(self._path, self._reader), str(self._path))

    @override
    def runs(self) -> Iterator[FoundRun]:
        for path in self._found:
            if self._reader.is_manifest(path.name):
                yield self._run(path)

    def _run(self, path: Path) -> FoundRun:
        try:
            said = self._reader.manifest(path.read_bytes())
        except NeverError as error:
            return FoundRun(str(path), None, fault=error.reason)
        beside = self._found if self._path.is_dir() else found_in(path.parent, self._reader)
        files = {name: _on_disk(part) for name, part in parts_of(said, path, beside).items()}
        new = new_run(
            said,
            str(path),
            _listed(_on_disk(path)),
            {name: _listed(each) for name, each in files.items()},
            self._metric,
        )
        return _checked(new, files)

    @override
    def others(self, listed: Collection[str]) -> list[SourceFile]:
        left = [path for path in self._found if str(path) not in listed and not self._reader.is_manifest(path.name)]
        return [_on_disk(path) for path in left]

    @override
    def opened(self, file: SourceFile) -> AbstractContextManager[Path]:
        return nullcontext(Path(file.place))


def _on_disk(path: Path) -> SourceFile:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    known = path.stat()
    return SourceFile(str(path), Blob(known.st_size, digest), datetime.fromtimestamp(known.st_mtime, UTC))


def _listed(file: SourceFile) -> ListedBlob:
    return ListedBlob(file.place, file.blob, file.modified_at)


@dataclass(frozen=True, slots=True)
class ExportStorage:
    """Export storage. places: where cloud accounts have their exports."""

    finder: Finder
    places: Sequence[Place]


class Container(ExportSource):
    """A blob, or a folder of blobs, in a container of export storage."""

    def __init__(self, storage: ExportStorage, container: str, path: str) -> None:
        self._storage, self._container, self._path = storage, container, path.strip("/")
        self._as_written = path
        self._reader, self._blobs = storage.finder.reader, storage.finder.blobs

    @cached_property
    def _found(self) -> dict[str, ListedBlob]:
        # A name may begin with a slash.
        alone = self._blobs.found(self._container, [self._as_written, self._path]) if self._path else {}
        listed = alone or {each.name: each for each in self._blobs.listed(self._container, self._path)}
        names = _not_none([name for name in sorted(listed) if is_of_export(name, self._reader)], self._at(self._path))
        return {name: listed[name] for name in names}

    @override
    def runs(self) -> Iterator[FoundRun]:
        for name in filter(self._reader.is_manifest, self._found):
            held = place_holding(self._storage.places, self._container, name)
            new = self._storage.finder.run_at(held or Place(0, AZURE, self._container, ""), name)
            if new is not None:
                files = {
                    part.name: SourceFile(self._at(part.name), part.blob, new.run.modified_at) for part in new.parts
                }
                yield _checked(new, files)

    @override
    def others(self, listed: Collection[str]) -> list[SourceFile]:
        left = [each for name, each in self._found.items() if not self._reader.is_manifest(name)]
        files = [SourceFile(self._at(each.name), each.blob, each.modified_at) for each in left]
        return [file for file in files if file.place not in listed]

    @override
    @contextmanager
    def opened(self, file: SourceFile) -> Iterator[Path]:
        name = file.place.removeprefix(f"{self._container}/")
        with TemporaryDirectory(prefix="warden-export-") as folder:
            path = Path(folder, name.rpartition("/")[2])
            if not self._blobs.download(self._container, ListedBlob(name, file.blob, file.modified_at), path):
                raise NeverError(f"{file.place} has changed meanwhile, or is gone.")
            yield path

    def _at(self, name: str) -> str:
        return f"{self._container}/{name}".rstrip("/")


def _not_none(found: list[T], where: str) -> list[T]:
    if not found:
        raise RequestError(f"{readable(where, 200)} holds no export ({', '.join(ENDINGS)} or a manifest)")
    return found


def _checked(new: NewRun, files: Mapping[str, SourceFile]) -> FoundRun:
    """What is found: nothing is noted of what can't be imported, since nobody looks at it again."""
    there = tuple(files[part.name] for part in new.parts if part.name in files)
    is_broken = new.unread is not None and new.unread[0] is RunState.FAILED
    fault = new.unread[1] if new.unread and is_broken else new.waiting and f"It can't be imported yet: {new.waiting}."
    return FoundRun(new.run.place, new, there, fault)


def source_at(
    path: str, reader: ExportReader, metric: CostMetric, storage: Callable[[], ExportStorage | None]
) -> ExportSource:
    """On this machine's disk, else, as CONTAINER/PATH, in export storage. Raises RequestError for what is nowhere."""
    on_disk = Path(path)
    if on_disk.exists():
        return Disk(on_disk, reader, metric)
    container, slash, inside = path.partition("/")
    is_place = slash and container and not path.startswith(("./", "../", "~"))
    there = storage() if is_place else None
    if there is None:
        raise RequestError(f"there is no {readable(path, 200)}")
    return Container(there, container, inside)
