"""Where providers put their exports: containers of blobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from shared.domain.exports.runs import Blob


@dataclass(frozen=True, slots=True)
class ListedBlob:
    """A blob that was listed. name: within its container. modified_at: its Last-Modified, UTC."""

    name: str
    blob: Blob
    modified_at: datetime


class BlobStore(Protocol):
    """What lies in containers. Every method raises LaterError, and NeverError with the role that is missing, of which a
    GoneError says that there is no such container.
    """

    def listed(self, container: str, folder: str = "") -> Iterator[ListedBlob]:
        """Every blob of a folder, and of those in it; of the whole container where its name is empty."""
        ...

    def found(self, container: str, names: Collection[str]) -> dict[str, ListedBlob]:
        """Those of these blobs that are there, by name."""
        ...

    def read(self, container: str, name: str, most: int) -> tuple[bytes, ListedBlob] | None:
        """What a small blob holds, and as what it is listed; None where it is not there.

        most: the bytes that are read at most; one more is enough to see that there are more.
        """
        ...

    def download(self, container: str, listed: ListedBlob, path: Path) -> bool:
        """Writes a blob to a file, in pieces; whether it was there still, with this ETag."""
        ...

    def write(self, container: str, name: str, content: bytes) -> None:
        """Replaces a small blob, or makes it; a container that is missing is made, too."""
        ...
