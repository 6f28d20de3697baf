"""Where a person has cost exports: on this machine's disk, or in export storage; the same way to both."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from typing_extensions import override

from shared.domain.exports.runs import Blob
from shared.domain.texts import readable
from shared.ports.blobs import BlobStore, ListedBlob
from shared.ports.errors import NeverError
from shared.ports.exports import ExportReader, Manifest
from shared.services.errors import RequestError
from shared.services.export_folders import ENDINGS, found_in, parts_of

# More than any manifest has.
MOST_OF_MANIFEST = 2**25


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of an export, or a manifest. place: where it lies. blob: its ETag; on a disk, a hash of its content."""

    place: str
    blob: Blob
    modified_at: datetime


class ExportSource(Protocol):
    """Files of exports in one place. container: that of export storage; empty for a disk.

    Every method raises RequestError, LaterError and NeverError.
    """

    container: str

    def manifests(self) -> Iterator[tuple[SourceFile, bytes]]:
        """The manifests, with what they hold."""

    def parts(self, manifest: SourceFile, said: Manifest) -> dict[str, SourceFile]:
        """Those of a manifest's parts that are there, by the names that it has for them."""

    def others(self, listed: Collection[str]) -> list[SourceFile]:
        """The files that are none of these, by their places, and no manifests."""

    def opened(self, file: SourceFile) -> AbstractContextManager[Path]:
        """The file on this machine's disk, as long as it is needed."""


class Disk(ExportSource):
    """Files, manifests, and folders of them."""

    def __init__(self, path: Path, reader: ExportReader) -> None:
        self.container = ""
        self._path, self._reader = path, reader

    @cached_property
    def _found(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path]
        found = found_in(self._path, self._reader)
        if not found:
            shown = readable(str(self._path), 200)
            raise RequestError(f"{shown} holds no export ({', '.join(ENDINGS)} or a manifest)")
        return found

    @override
    def manifests(self) -> Iterator[tuple[SourceFile, bytes]]:
        for path in self._found:
            if self._reader.is_manifest(path.name):
                yield _on_disk(path), path.read_bytes()

    @override
    def parts(self, manifest: SourceFile, said: Manifest) -> dict[str, SourceFile]:
        path = Path(manifest.place)
        beside = self._found if self._path.is_dir() else found_in(path.parent, self._reader)
        return {name: _on_disk(part) for name, part in parts_of(said, path, beside).items()}

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


class Storage(ExportSource):
    """A blob, or a folder of blobs, in export storage."""

    def __init__(self, blobs: BlobStore, container: str, path: str, reader: ExportReader) -> None:
        self.container = container
        self._blobs, self._path, self._reader = blobs, path.strip("/"), reader

    @cached_property
    def _found(self) -> dict[str, ListedBlob]:
        alone = self._blobs.found(self.container, [self._path]) if self._path else {}
        listed = alone or {each.name: each for each in self._blobs.listed(self.container, self._path)}
        found = {name: each for name, each in sorted(listed.items()) if self._is_of_export(name)}
        if not found:
            raise RequestError(f"{self._place(self._path)} holds no export ({', '.join(ENDINGS)} or a manifest)")
        return found

    def _is_of_export(self, name: str) -> bool:
        return name.lower().endswith(ENDINGS) or self._reader.is_manifest(name)

    @override
    def manifests(self) -> Iterator[tuple[SourceFile, bytes]]:
        for name in filter(self._reader.is_manifest, self._found):
            read = self._blobs.read(self.container, name, MOST_OF_MANIFEST)
            if read is not None:
                yield self._file(read[1]), read[0]

    @override
    def parts(self, manifest: SourceFile, said: Manifest) -> dict[str, SourceFile]:
        there = self._blobs.found(self.container, [part.name for part in said.parts])
        return {name: self._file(each) for name, each in there.items()}

    @override
    def others(self, listed: Collection[str]) -> list[SourceFile]:
        left = [each for name, each in self._found.items() if not self._reader.is_manifest(name)]
        return [file for file in map(self._file, left) if file.place not in listed]

    @override
    @contextmanager
    def opened(self, file: SourceFile) -> Iterator[Path]:
        name = file.place.removeprefix(f"{self.container}/")
        with TemporaryDirectory(prefix="warden-export-") as folder:
            path = Path(folder, name.rpartition("/")[2])
            if not self._blobs.download(self.container, ListedBlob(name, file.blob, file.modified_at), path):
                raise NeverError(f"{file.place} has changed meanwhile, or is gone.")
            yield path

    def _file(self, each: ListedBlob) -> SourceFile:
        return SourceFile(self._place(each.name), each.blob, each.modified_at)

    def _place(self, name: str) -> str:
        return f"{self.container}/{name}".rstrip("/")


def sources_of(paths: Sequence[str], reader: ExportReader, blobs: BlobStore | None) -> list[ExportSource]:
    """Where these are: on this machine's disk, else, as CONTAINER/PATH, in export storage. Raises RequestError."""
    return [_source(path, reader, blobs) for path in paths]


def _source(path: str, reader: ExportReader, blobs: BlobStore | None) -> ExportSource:
    on_disk = Path(path)
    if on_disk.exists():
        return Disk(on_disk, reader)
    container, slash, inside = path.partition("/")
    if blobs is not None and slash and container and not path.startswith(("./", "../", "~")):
        return Storage(blobs, container, inside, reader)
    raise RequestError(f"there is no {readable(path, 200)}")
