"""Containers of blobs in an Azure storage account, or in Azurite: where cost exports lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from shared.adapters.storage import TIMEOUT_SECONDS, Service, client_options, code_of, identity, translated
from shared.domain.exports.runs import Blob
from shared.domain.texts import readable
from shared.ports.blobs import BlobStore, ListedBlob
from shared.ports.errors import GoneError, LaterError

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobProperties, BlobServiceClient, ContainerClient

# Opens the account.
Opener = Callable[[], "BlobServiceClient"]
BLOBS = Service(
    name="the blobs",
    refuses="the name of a container or blob",
    setting="CostExportStorage",
    uri_setting="CostExportStorage__blobServiceUri",
    role="Storage Blob Data Reader",
)
# A download holds one piece at a time.
PIECE = 8 * 2**20
# What the service gives at a time.
PAGE = 5000
# So many blobs are asked for one by one; more are listed.
ONE_BY_ONE = 4
NO_CONTAINER = "ContainerNotFound"


@dataclass
class StorageBlobs(BlobStore):
    """Blobs of one account; no SDK is loaded before the first call. open_account: opens it."""

    open_account: Opener
    _account: BlobServiceClient | None = None
    _lock: Lock = field(default_factory=Lock)

    @override
    def listed(self, container: str, folder: str = "") -> Iterator[ListedBlob]:
        start = f"{folder.strip('/')}/" if folder.strip("/") else None
        yield from self._starting(container, start)

    @override
    def found(self, container: str, names: Collection[str]) -> dict[str, ListedBlob]:
        if len(names) > ONE_BY_ONE:
            wanted = frozenset(names)
            start = os.path.commonprefix(list(names))  # noqa: RUF071 - a list takes any start of names
            listed = self._starting(container, start or None)
            return {each.name: each for each in listed if each.name in wanted}
        each_found = ((name, self._properties(container, name)) for name in names)
        return {name: _listed(properties) for name, properties in each_found if properties is not None}

    @override
    def read(self, container: str, name: str, most: int) -> tuple[bytes, ListedBlob] | None:
        with _translated(container), _gone_is_none() as answer:
            found = self._blob(container, name).download_blob(timeout=TIMEOUT_SECONDS)
            answer.append((found.read(most + 1), _listed(found.properties)))
        return answer[0] if answer else None

    @override
    def download(self, container: str, listed: ListedBlob, path: Path) -> bool:
        from azure.core import MatchConditions

        as_it_was: dict[str, Any] = {"etag": f'"{listed.blob.etag}"', "match_condition": MatchConditions.IfNotModified}
        with _translated(container), _gone_is_none() as done, _on_disk(path) as file:
            found = self._blob(container, listed.name).download_blob(timeout=TIMEOUT_SECONDS, **as_it_was)
            for piece in found.chunks():
                file.write(piece)
            done.append(True)
        return bool(done)

    @override
    def write(self, container: str, name: str, content: bytes) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        with _translated(container, BLOBS_TO_WRITE):
            blob = self._blob(container, name)
            try:
                blob.upload_blob(content, overwrite=True, timeout=TIMEOUT_SECONDS)
            except ResourceNotFoundError:
                self._container(container).create_container(timeout=TIMEOUT_SECONDS)
                blob.upload_blob(content, overwrite=True, timeout=TIMEOUT_SECONDS)

    def _starting(self, container: str, start: str | None) -> Iterator[ListedBlob]:
        with _translated(container):
            pages = self._container(container).list_blobs(
                name_starts_with=start, results_per_page=PAGE, timeout=TIMEOUT_SECONDS
            )
            yield from map(_listed, pages)

    def _properties(self, container: str, name: str) -> BlobProperties | None:
        with _translated(container), _gone_is_none() as answer:
            answer.append(self._blob(container, name).get_blob_properties(timeout=TIMEOUT_SECONDS))
        return answer[0] if answer else None

    def _blob(self, container: str, name: str) -> BlobClient:
        return self._container(container).get_blob_client(name)

    def _container(self, container: str) -> ContainerClient:
        with self._lock:
            self._account = self._account or self.open_account()
        return self._account.get_container_client(container)


BLOBS_TO_WRITE = Service(BLOBS.name, BLOBS.refuses, BLOBS.setting, BLOBS.uri_setting, "Storage Blob Data Contributor")


def by_connection_string(connection: str) -> Opener:
    """Opens an account with a connection string; `UseDevelopmentStorage=true` is Azurite."""

    def open_account() -> BlobServiceClient:
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient.from_connection_string(connection, **_options())

    return open_account


def by_identity(blob_service_uri: str, client_id: str | None) -> Opener:
    """Opens an account with the app's identity, or the developer's where there is none."""

    def open_account() -> BlobServiceClient:
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(blob_service_uri, credential=identity(client_id), **_options())

    return open_account


def _options() -> dict[str, Any]:
    return client_options() | {"max_single_get_size": PIECE, "max_chunk_get_size": PIECE}


def _listed(properties: BlobProperties) -> ListedBlob:
    # A list says ETags without the quotes that headers have.
    etag = str(properties.etag or "").strip('"')
    return ListedBlob(str(properties.name), Blob(int(properties.size or 0), etag), properties.last_modified)


@contextmanager
def _translated(container: str, service: Service = BLOBS) -> Iterator[None]:
    """Raises GoneError, a NeverError, where there is no such container."""
    from azure.core.exceptions import ResourceNotFoundError

    named = f"the container {readable(container)}"
    with translated(service, named):
        try:
            yield
        except ResourceNotFoundError as error:
            if code_of(error) != NO_CONTAINER:
                raise
            raise GoneError(f"there is no container {readable(container)} where {BLOBS.setting} points to") from error


@contextmanager
def _gone_is_none() -> Iterator[list[Any]]:
    """For an answer, which stays away where the blob is gone, or another than it was."""
    from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

    try:
        yield []
    except ResourceModifiedError:
        pass
    except ResourceNotFoundError as error:
        if code_of(error) == NO_CONTAINER:
            raise


@contextmanager
def _on_disk(path: Path) -> Iterator[Any]:
    try:
        with path.open("wb") as file:
            yield file
    except OSError as error:
        # Of azure-core's own errors none is one; those of a socket it wraps.
        raise LaterError(f"the disk takes no more ({error.strerror or type(error).__name__})") from error
