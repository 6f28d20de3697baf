"""What every BlobStore does: on containers of a storage account (Azurite), and on the fake of the pipeline's tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient

from localdev.azurite import Azurite
from shared.adapters import blobs as adapter
from shared.adapters.blobs import StorageBlobs, by_connection_string
from shared.domain.exports.runs import Blob
from shared.ports.blobs import BlobStore, ListedBlob
from shared.ports.errors import GoneError, LaterError, NeverError
from tests.adapters.mail.servers import Answer, SendGridServer
from tests.fakes import FakeBlobs


@dataclass
class Rig:
    """A store with one empty container, and what somebody else does there."""

    store: BlobStore
    container: str
    put: Callable[[str, bytes], object]
    delete: Callable[[str], object]

    def names(self, folder: str = "") -> list[str]:
        return sorted(each.name for each in self.store.listed(self.container, folder))

    def one(self, name: str) -> ListedBlob:
        return self.store.found(self.container, [name])[name]


@pytest.fixture(params=["azurite", "fake"])
def rig(request: pytest.FixtureRequest) -> Rig:
    container = f"exports-{uuid.uuid4().hex}"
    if request.param == "fake":
        fake = FakeBlobs(containers={container: {}})
        return Rig(fake, container, lambda *blob: fake.put(container, *blob), lambda name: fake.delete(container, name))
    return storage_rig(request.getfixturevalue("azurite_blobs").connection_string, container)


def storage_rig(connection: str, container: str) -> Rig:
    client = BlobServiceClient.from_connection_string(connection).get_container_client(container)
    client.create_container()
    store = StorageBlobs(by_connection_string(connection))
    return Rig(store, container, lambda *blob: client.upload_blob(*blob, overwrite=True), client.delete_blob)


@pytest.fixture
def azurite_rig(azurite_blobs: Azurite) -> Rig:
    return storage_rig(azurite_blobs.connection_string, f"exports-{uuid.uuid4().hex}")


def test_a_folder_is_listed_with_what_is_in_its_folders_and_no_other(rig: Rig) -> None:
    for name in ("daily/1/manifest.json", "daily/part 1.csv", "daily2/part.csv", "part.csv"):
        rig.put(name, b"x")
    assert rig.names() == ["daily/1/manifest.json", "daily/part 1.csv", "daily2/part.csv", "part.csv"]
    assert rig.names("daily") == rig.names("/daily/") == ["daily/1/manifest.json", "daily/part 1.csv"]
    assert rig.names("nothing") == []


def test_a_blob_is_listed_found_and_read_as_the_same(rig: Rig) -> None:
    rig.put("a/ü %20é.csv", b"four")
    (listed,) = rig.store.listed(rig.container)
    assert (listed.name, listed.blob.size) == ("a/ü %20é.csv", 4)
    assert '"' not in listed.blob.etag
    assert abs(listed.modified_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert rig.store.read(rig.container, listed.name, 10) == (b"four", rig.one(listed.name)) == (b"four", listed)


def test_of_many_blobs_those_are_found_that_are_there(rig: Rig) -> None:
    for number in range(8):
        rig.put(f"run/part_{number}.csv", b"x")
    rig.put("run/part_1.csv.bak", b"x")
    few, many = ["run/part_1.csv", "run/none.csv"], [f"run/part_{number}.csv" for number in range(3, 11)]
    assert list(rig.store.found(rig.container, few)) == ["run/part_1.csv"]
    assert sorted(rig.store.found(rig.container, many)) == [f"run/part_{number}.csv" for number in range(3, 8)]
    assert rig.store.found(rig.container, []) == {}


def test_the_same_content_written_again_has_another_etag(rig: Rig) -> None:
    rig.put("part.csv", b"same")
    before = rig.one("part.csv")
    rig.put("part.csv", b"same")
    after = rig.one("part.csv")
    assert (after.blob.size, after.blob.etag != before.blob.etag) == (4, True)


@pytest.mark.parametrize(("most", "expected"), [(2, b"012"), (9, b"0123456789"), (100, b"0123456789")])
def test_one_byte_more_than_wanted_is_read_of_a_small_blob(rig: Rig, most: int, expected: bytes) -> None:
    rig.put("manifest.json", b"0123456789")
    found = rig.store.read(rig.container, "manifest.json", most)
    assert found is not None
    assert (found[0], found[1].blob.size) == (expected, 10)


def test_an_empty_blob_is_read_and_downloaded_as_such(rig: Rig, tmp_path: Path) -> None:
    rig.put("empty", b"")
    found = rig.store.read(rig.container, "empty", 10)
    assert found is not None and found[0] == b""
    assert rig.store.download(rig.container, rig.one("empty"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b""


def test_a_blob_that_is_not_there_is_none(rig: Rig, tmp_path: Path) -> None:
    assert rig.store.read(rig.container, "gone", 10) is None
    was = ListedBlob("gone", Blob(1, "0x1"), datetime.now(UTC))
    assert not rig.store.download(rig.container, was, tmp_path / "file")


def test_a_blob_is_downloaded_as_it_was_listed_or_not_at_all(rig: Rig, tmp_path: Path) -> None:
    rig.put("part.csv", b"first")
    listed = rig.one("part.csv")
    assert rig.store.download(rig.container, listed, tmp_path / "one")
    rig.put("part.csv", b"other")
    assert not rig.store.download(rig.container, listed, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == b"first"
    rig.delete("part.csv")
    assert not rig.store.download(rig.container, listed, tmp_path / "three")


def test_what_is_written_is_read_and_its_container_made(rig: Rig) -> None:
    container = f"new-{uuid.uuid4().hex}"
    for content in (b"first", b"second"):
        rig.store.write(container, "state", content)
    found = rig.store.read(container, "state", 100)
    assert found is not None and found[0] == b"second"


def test_a_container_that_is_not_there_is_said(rig: Rig, tmp_path: Path) -> None:
    was = ListedBlob("a", Blob(1, "0x1"), datetime.now(UTC))
    for ask in (
        lambda: list(rig.store.listed("none-at-all")),
        lambda: rig.store.found("none-at-all", ["a"]),
        lambda: rig.store.found("none-at-all", list("abcdefgh")),
        lambda: rig.store.read("none-at-all", "a", 10),
        lambda: rig.store.download("none-at-all", was, tmp_path / "file"),
    ):
        with pytest.raises(GoneError, match="there is no container none-at-all"):
            ask()


# --- of a storage account alone ---


def test_a_download_comes_in_pieces_of_one_version(
    azurite_rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "PIECE", 1000)
    azurite_rig.put("part.csv", bytes(range(250)) * 20)
    assert azurite_rig.store.download(azurite_rig.container, azurite_rig.one("part.csv"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == bytes(range(250)) * 20


def test_a_full_disk_is_for_later(azurite_rig: Rig) -> None:
    azurite_rig.put("part.csv", b"x" * 100_000)
    with pytest.raises(LaterError, match="the disk takes no more"):
        azurite_rig.store.download(azurite_rig.container, azurite_rig.one("part.csv"), Path("/dev/full"))


@contextmanager
def answering(answer: Answer) -> Iterator[StorageBlobs]:
    """An account that answers every call so."""
    server = SendGridServer()
    server.answer = answer
    connection = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm8ga2V5;"
        f"BlobEndpoint={server.endpoint}/devstoreaccount1;"
    )
    try:
        yield StorageBlobs(by_connection_string(connection))
    finally:
        server.stop()


@pytest.mark.parametrize(("status", "asked"), [(429, "7"), (503, None), (500, None), (307, None)])
def test_an_account_that_is_unwell_is_for_later(status: int, asked: str | None) -> None:
    headers = {"Retry-After": asked} if asked else {"Location": "http://127.0.0.1:9/"}
    with answering(Answer(status, headers)) as store, pytest.raises(LaterError, match=f"answered {status}") as caught:
        list(store.listed("msexports"))
    assert caught.value.wait == (timedelta(seconds=7) if asked else None)


def test_a_role_that_is_missing_is_named_with_the_container() -> None:
    refused = Answer(403, {"x-ms-error-code": "AuthorizationPermissionMismatch"})
    with answering(refused) as store, pytest.raises(NeverError, match="Storage Blob Data Reader on the container a"):
        store.read("a", "manifest.json", 10)


def test_an_account_out_of_reach_is_for_later() -> None:
    nowhere = "AccountName=a;AccountKey=bm8ga2V5;BlobEndpoint=http://127.0.0.1:9/a;"
    with pytest.raises(LaterError, match="the blobs can't be reached"):
        list(StorageBlobs(by_connection_string(nowhere)).listed("msexports"))


def test_an_identity_that_gets_no_token_is_said_in_words() -> None:
    def fail() -> BlobServiceClient:
        raise ClientAuthenticationError("Please run 'az login' to set up an account.")

    with pytest.raises(NeverError, match="There is no token for Azure: Please run"):
        list(StorageBlobs(fail).listed("msexports"))
