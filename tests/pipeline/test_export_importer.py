"""CostExportImporter: runs are registered, read part by part, and end as charges, or with a sentence and no change."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.adapters.database.engine import Database
from shared.adapters.database.export_sums import FORMAT
from shared.adapters.database.tables import charges, cloud_accounts, export_runs, export_sums
from shared.domain.exports.runs import RunState
from shared.domain.periods import Period
from shared.messages import BlobsMessage, Envelope, ManifestMessage, PartMessage, Queue, to_json
from shared.pipeline.exports import importer
from shared.ports.blobs import ListedBlob
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import Changes, RunRecord
from tests.adapters.exports.files import EA, FOCUS, csv_of
from tests.fakes import FakeBlobs
from tests.pipeline.conftest import OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry, only
from tests.pipeline.export_files import CONTAINER, Exported, ea, with_exports
from tests.pipeline.mortal import AtStep, Killed, MortalDatabase
from tests.pipeline.test_export_scanner import notices, set_status, the_account, told

DAY = date(2026, 11, 12)


@pytest.fixture
def blobs(chain: Chain) -> FakeBlobs:
    found = with_exports(chain)
    chain.cloud_accounts.add_exports("azure", CONTAINER)
    return found


def take(chain: Chain, message: ManifestMessage | PartMessage | BlobsMessage | str, **more: Any) -> list[Any]:
    return chain.work(Queue.EXPORT, message if isinstance(message, str) else to_json(message), **more)


def register(chain: Chain, place: str) -> RunRecord:
    """Takes a manifest; its run."""
    take(chain, ManifestMessage(place))
    return latest(chain)


def of_part(record: RunRecord, number: int = 0) -> PartMessage:
    """The message of a part, as the app sends it."""
    return PartMessage(record.id, number, record.run.content)


def latest(chain: Chain) -> RunRecord:
    return chain.export_runs.runs(limit=1)[0]


def letters(chain: Chain) -> list[str]:
    return [letter.reason for letter in chain.letters.letters()]


def staged(chain: Chain) -> int:
    return len(chain.database.read(lambda connection: connection.execute(select(export_sums.c.bucket)).all()))


# --- events ---


def test_an_event_of_a_manifest_has_it_imported(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    event = {
        "eventType": "Microsoft.Storage.BlobCreated",
        "subject": f"/blobServices/default/containers/{place.replace('/', '/blobs/', 1)}",
        "id": "1",
    }
    assert take(chain, json.dumps(event)) == [ManifestMessage(place, the_account(chain).id)]


def test_events_of_other_blobs_and_places_are_quietly_nothing_and_open_nothing(chain: Chain, blobs: FakeBlobs) -> None:
    assert take(chain, BlobsMessage(("$web/manifest.json", "elsewhere/a/manifest.json"))) == []
    set_status(chain, AccountStatus.DISABLED)
    assert take(chain, BlobsMessage((f"{CONTAINER}/a/manifest.json",))) == []
    chain.parts["database"] = None
    chain.configure()
    assert take(chain, BlobsMessage((f"{CONTAINER}/a/part_0.csv", f"{CONTAINER}/app.json"))) == []
    assert blobs.asked == []


def test_the_same_event_twice_is_one_run(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    for _ in range(2):
        for message in take(chain, BlobsMessage((place, place))):
            take(chain, message)
    assert len(chain.export_runs.runs()) == 1


def test_an_event_that_comes_before_the_content_waits_for_it(chain: Chain, blobs: FakeBlobs) -> None:
    """On Data Lake, the file is made first, with 0 bytes."""
    place = f"{CONTAINER}/a/manifest.json"
    blobs.put(CONTAINER, "a/manifest.json", b"")
    (again,) = only(ManifestMessage, take(chain, ManifestMessage(place)))
    assert (again.manifest, again.envelope.attempt) == (place, 1)
    assert (chain.export_runs.runs(), letters(chain)) == ([], [])


# --- manifests ---


def test_a_run_that_is_there_is_registered_and_each_part_is_a_message(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("1", DAY)], [ea("2", DAY)])
    messages = take(chain, ManifestMessage(place, the_account(chain).id))
    record = latest(chain)
    assert messages == [of_part(record), of_part(record, 1)]
    assert (record.state, record.parts, record.cloud_account_id) == (RunState.IMPORTING, 2, the_account(chain).id)
    assert (record.run.place, record.run.run_id, record.container) == (place, "run-1", CONTAINER)
    assert take(chain, ManifestMessage(place)) == messages, "whoever broke off before they were sent sends them again"


def test_a_run_waits_for_its_parts_for_a_while_and_then_for_the_scanner(chain: Chain, blobs: FakeBlobs) -> None:
    export = Exported(blobs)
    place = export.run([ea("1", DAY)], [ea("2", DAY)], missing=1)
    record = register(chain, place)
    assert (record.state, record.reason) == (
        RunState.WAITING,
        "1 of its 2 parts not there yet: costs/daily/20261101-20261119/run-1/part_1.csv",
    )
    delays = []
    while waiting := chain.queues.take():
        ((queue, text, delay),) = waiting
        delays.append(delay)
        chain.clock.now += delay
        chain.work(queue, text)
    assert delays[:3] == [timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=2)]
    assert timedelta(hours=2) <= sum(delays, timedelta()) < timedelta(hours=3)
    export.catch_up()
    assert len(only(PartMessage, take(chain, ManifestMessage(place)))) == 2
    assert latest(chain).state is RunState.IMPORTING


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            {"Manifest": "msexports/part.csv"},
            "msexports/part.csv is no manifest: its name has to end",
        ),
        ({"Manifest": "other/manifest.json"}, "no cloud account of exports has other/manifest.json; `python -m"),
        ({"Manifest": "msexports/manifest.json", "CloudAccountId": 99}, "there is no cloud account 99 of exports; `py"),
        ({"ExportRunId": 99, "Part": 0}, "there is no run 99 of an export; `exports list` shows them"),
    ],
)
def test_a_message_that_can_not_be_right_is_a_dead_letter(
    chain: Chain, blobs: FakeBlobs, message: dict[str, Any], reason: str
) -> None:
    assert take(chain, json.dumps(message)) == []
    (found,) = letters(chain)
    assert found.startswith(reason)


def test_a_manifest_of_a_disabled_account_is_a_dead_letter(chain: Chain, blobs: FakeBlobs) -> None:
    set_status(chain, AccountStatus.DISABLED)
    take(chain, ManifestMessage(Exported(blobs).run([ea("1", DAY)])))
    assert letters(chain)[0].startswith(f"cloud account 1 ({CONTAINER}) is disabled")


def test_a_manifest_that_is_not_there_is_waited_for_and_then_a_dead_letter(chain: Chain, blobs: FakeBlobs) -> None:
    take(chain, ManifestMessage(f"{CONTAINER}/gone/manifest.json"))
    chain.work_off(hours=4)
    assert letters(chain) == [f"there is no blob {CONTAINER}/gone/manifest.json"]


def test_a_part_of_a_run_that_has_fewer_is_a_dead_letter(chain: Chain, blobs: FakeBlobs) -> None:
    record = register(chain, Exported(blobs).run([ea("1", DAY)]))
    take(chain, PartMessage(record.id, 1))
    assert letters(chain) == [f"run {record.id} has 1 parts, counted from 0: there is no 1"]


def test_prices_are_noted_as_no_costs_and_nobody_is_told(chain: Chain, blobs: FakeBlobs) -> None:
    record = register(chain, Exported(blobs, name="prices", kind="PriceSheet").run([ea("1", DAY)]))
    assert (record.state, record.reason) == (RunState.NO_COSTS, "prices holds no costs")
    assert (told(chain), chain.queues.take(), the_account(chain).status) == ([], [], AccountStatus.ACTIVE)


def test_costs_of_the_other_metric_are_not_used_and_that_is_told_once(chain: Chain, blobs: FakeBlobs) -> None:
    export = Exported(blobs, name="amortized", kind="AmortizedCost")
    for _ in range(2):
        record = register(chain, export.run([ea("1", DAY)]))
        assert record.state is RunState.NOT_USED
    assert notices(chain) == ["About the cost export amortized"]
    assert told(chain)[0]["lines"] == ["amortized holds amortized costs, and COST_METRIC is ActualCost"]


def test_aws_parts_lie_in_the_folder_that_mirrors_their_bucket(chain: Chain, blobs: FakeBlobs) -> None:
    set_place(chain, f"{CONTAINER}/aws")
    arn = "arn:aws:bcm-data-exports:us-east-1:111122223333:export/focus-1234"
    key = "exports/focus/data/BILLING_PERIOD=2026-11/part-0.csv"
    manifest = {"exportArn": arn, "executionId": "e", "dataFiles": [f"s3://the-bucket/{key}"]}
    at = "aws/exports/focus/metadata/BILLING_PERIOD=2026-11/focus-Manifest.json"
    blobs.put(CONTAINER, at, json.dumps(manifest).encode())
    assert register(chain, f"{CONTAINER}/{at}").state is RunState.WAITING
    assert f"not there yet: aws/{key}" in (latest(chain).reason or "")
    blobs.put(CONTAINER, f"aws/{key}", b"x")
    record = register(chain, f"{CONTAINER}/{at}")
    (part,) = chain.export_runs.parts(record.id)
    assert (record.state, part.name) == (RunState.IMPORTING, f"aws/{key}")


def set_place(chain: Chain, place: str) -> None:
    this = update(cloud_accounts).values(external_account_id=place)
    chain.database.run(lambda connection: connection.execute(this))


# --- parts ---


def test_a_part_is_read_once_however_often_its_message_comes(chain: Chain, blobs: FakeBlobs) -> None:
    record = register(chain, Exported(blobs).run([ea("1", DAY)], [ea("2", DAY)]))
    for _ in range(3):
        assert take(chain, PartMessage(record.id, 0)) == []
    assert [each.is_staged for each in chain.export_runs.parts(record.id)] == [True, False]
    assert (staged(chain), blobs.asked.count("download")) == (1, 1)


def test_nothing_is_left_on_the_disk_whatever_becomes_of_a_part(
    chain: Chain, blobs: FakeBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"{importer.TEMPORARY}of-one-that-was-killed"
    left.mkdir()
    old = chain.clock.now.timestamp() - 10**8
    os.utime(left, (old, old))
    record = register(chain, Exported(blobs).run([ea("1", DAY)], files={"broken.csv": b"a,b\n1"}))
    for number in (0, 1):
        take(chain, PartMessage(record.id, number))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", ["written anew", "gone"])
def test_a_part_that_is_another_than_it_was_makes_the_run_wait_and_its_manifest_is_read_again(
    chain: Chain, blobs: FakeBlobs, change: str
) -> None:
    place = Exported(blobs).run([ea("1", DAY)], [ea("2", DAY)])
    record = register(chain, place)
    take(chain, PartMessage(record.id, 1))
    name = chain.export_runs.parts(record.id)[0].name
    if change == "gone":
        blobs.delete(CONTAINER, name)
    else:
        blobs.put(CONTAINER, name, csv_of([ea("7", DAY)]).encode())
    assert take(chain, PartMessage(record.id, 0)) == [ManifestMessage(place, the_account(chain).id)]
    after = latest(chain)
    assert (after.id, after.state, after.staged, staged(chain)) == (record.id, RunState.WAITING, 0, 0)
    assert after.reason == f"{name} was written anew, or is gone, while the run was read"
    assert take(chain, PartMessage(record.id, 1)) == [], "what the queue still has of it changes nothing"
    take(chain, ManifestMessage(place))
    assert latest(chain).state is (RunState.WAITING if change == "gone" else RunState.IMPORTING)


class ReaderWithMeanwhile:
    """Reads as the app does, and something happens before what it read is kept."""

    def __init__(self, chain: Chain, meanwhile: Callable[[], None]) -> None:
        self.reader, self.meanwhile = chain.app.export_reader, meanwhile
        chain.app.__dict__["export_reader"] = self

    def read(self, *what: Any) -> Any:
        try:
            return self.reader.read(*what)
        finally:
            self.meanwhile()


@pytest.mark.parametrize("old", ["right", "broken"])
def test_a_part_that_was_read_before_its_run_was_found_anew_is_none_of_it(
    chain: Chain, blobs: FakeBlobs, old: str
) -> None:
    """An export that overwrites its files does so while one instance reads a part, and another sees it first."""
    export = Exported(blobs)
    of_old = {"part_9.csv": csv_of([ea("1", DAY)], EA).encode() if old == "right" else b"a,b\n1"}
    place = export.run(files=of_old, run_id="r")
    record = register(chain, place)

    def found_anew() -> None:
        export.run([ea("10", DAY)], [ea("20", DAY)], run_id="r")
        chain.export_runs.wait(record.run, "part_9.csv was written anew")
        take(chain, ManifestMessage(place))

    ReaderWithMeanwhile(chain, found_anew)
    take(chain, PartMessage(record.id, 0))
    assert (latest(chain).id, latest(chain).state, latest(chain).staged) == (record.id, RunState.IMPORTING, 0)
    assert (staged(chain), notices(chain)) == (0, [])


def test_messages_of_a_run_as_it_was_before_it_was_found_anew_are_no_dead_letters(
    chain: Chain, blobs: FakeBlobs
) -> None:
    export = Exported(blobs)
    place = export.run([ea("1", DAY)], [ea("2", DAY)], run_id="r")
    gone = register(chain, place)
    export.run([ea("10", DAY)], [ea("20", DAY)], [ea("30", DAY)], run_id="r")
    kept = register(chain, place)
    chain.export_runs.wait(gone.run, "part_0.csv was written anew")
    take(chain, ManifestMessage(place))
    assert chain.export_runs.runs() == [kept]
    assert take(chain, of_part(gone, 1)) == []
    chain.clock.forward(minutes=1)
    export.run([ea("7", DAY)], run_id="r")
    chain.export_runs.wait(kept.run, "part_0.csv was written anew")
    assert register(chain, place).id == kept.id
    assert take(chain, of_part(kept, 2)) == []
    assert letters(chain) == []


def test_a_message_of_the_newest_run_that_was_taken_out_again_is_no_dead_letter(chain: Chain, blobs: FakeBlobs) -> None:
    """An export overwrote its files twice while they were read."""
    export, runs = Exported(blobs), []
    for amount in ("1", "2", "3"):
        place = export.run([ea(amount, DAY)], run_id="r")
        if amount < "3":
            runs.append(register(chain, place))
    for record in runs:
        chain.export_runs.wait(record.run, "part_0.csv was written anew")
    for _ in range(2):
        take(chain, ManifestMessage(place))
    assert [each.id for each in chain.export_runs.runs()] == [runs[0].id]
    assert (take(chain, of_part(runs[1])), letters(chain)) == ([], [])


def test_a_message_that_the_host_gave_up_on_fails_nothing_that_was_found_anew_since(
    chain: Chain, blobs: FakeBlobs
) -> None:
    export = Exported(blobs)
    old = register(chain, export.run([ea("1", DAY)], run_id="r"))
    chain.export_runs.wait(old.run, "part_0.csv was written anew")
    new = register(chain, export.run([ea("10", DAY)], run_id="r"))
    chain.bury(Queue.EXPORT, to_json(of_part(old)), "one")
    assert (latest(chain).id, latest(chain).state, new.id) == (old.id, RunState.IMPORTING, old.id)
    take(chain, of_part(new))
    assert latest(chain).state is RunState.IMPORTED


def test_a_message_of_old_content_that_a_person_sends_again_has_the_run_read_as_it_lies_there(
    chain: Chain, blobs: FakeBlobs
) -> None:
    export = Exported(blobs)
    old = register(chain, export.run([ea("1", DAY)], run_id="r"))
    chain.export_runs.wait(old.run, "part_0.csv was written anew")
    new = register(chain, export.run([ea("10", DAY)], run_id="r"))
    chain.export_runs.fail(new.run, "no", chain.clock())
    (manifest,) = take(chain, replace(of_part(old), envelope=Envelope(replayed=True)))
    assert take(chain, manifest) == [of_part(new)]


# --- later ---


def test_what_comes_otherwise_than_it_is_listed_is_tried_again_for_a_day_and_then_the_run_has_failed(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = register(chain, Exported(blobs).run([ea("1", DAY)]))

    def download(_container: str, _listed: ListedBlob, path: Path) -> bool:
        return path.write_bytes(b"Cost") > 0

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(blobs, "download", download)
        chain.work_off(hours=23)
        assert latest(chain).state is RunState.IMPORTING
        chain.work_off(hours=2)
    failed = latest(chain)
    assert (failed.state, str(failed.reason).partition("part_0.csv")[2]) == (
        RunState.FAILED, f" came with 4 bytes of {len(csv_of([ROW])):,}"
    )  # fmt: skip
    assert notices(chain) == ["A cost export can't be imported: daily"]
    (letter,) = chain.letters.letters()
    chain.dead_letter_service.replay(letter.id)
    chain.clock.forward(minutes=1)
    ((queue, text, _),) = chain.queues.take()
    (again,) = only(ManifestMessage, chain.work(queue, text))
    assert take(chain, again) == [of_part(record)]
    assert latest(chain).state is RunState.IMPORTING


@pytest.mark.parametrize("away", [("download", "listed", "read"), ("download",)])
def test_a_run_whose_storage_is_away_for_days_waits_and_is_imported_once_that_is_back(
    chain: Chain, blobs: FakeBlobs, away: tuple[str, ...]
) -> None:
    take(chain, ManifestMessage(Exported(blobs).run([ROW], [ROW])))
    blobs.fails = lambda what: LaterError("the blobs answered 503") if what in away else None

    def hours(count: int) -> None:
        for _ in range(count):
            chain.send(chain.export_scanner.scan())
            chain.work_off(hours=1)

    hours(26)
    assert (latest(chain).state, latest(chain).reason) == (
        RunState.WAITING, "given up after 24 hours: the blobs answered 503"
    )  # fmt: skip
    assert (set(notices(chain)), letters(chain)) == ({f"Cost exports can't be read: {CONTAINER}"}, [])
    hours(30)
    blobs.fails = lambda _what: None
    hours(22)
    assert (latest(chain).state, latest(chain).totals, letters(chain)) == (RunState.IMPORTED, {"CAD": Decimal(2)}, [])


def test_a_role_that_is_missing_is_told_once_a_day_and_the_run_goes_on_once_it_is_there(
    chain: Chain, blobs: FakeBlobs
) -> None:
    record = register(chain, Exported(blobs).run([ea("1", DAY)], [ea("2", DAY)]))
    blobs.fails = lambda what: NeverError("it needs the role") if what in ("download", "read") else None
    chain.work_off(hours=5)
    assert notices(chain) == [f"Cost exports can't be read: {CONTAINER}"]
    blobs.fails = lambda _what: None
    take(chain, PartMessage(record.id, 0))
    assert latest(chain).staged == 1


def test_a_part_waits_its_turn_while_another_is_read(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "TURN_WITHIN", 0.01)
    record = register(chain, Exported(blobs).run([ea("1", DAY)], [ea("2", DAY)]))
    chain.queues.take()
    long_ago = chain.clock.now - timedelta(days=2)
    with chain.export_importer.turn:
        (again,) = take(chain, PartMessage(record.id, 0, envelope=Envelope(first_queued_at=long_ago)))
    ((_queue, _text, delay),) = chain.queues.take()
    assert (delay, latest(chain).state, latest(chain).staged) == (timedelta(seconds=30), RunState.IMPORTING, 0)
    assert again.envelope.first_queued_at == chain.clock.now, "it is given up a day after its turn, and no sooner"


def test_without_storage_a_message_opens_nothing(chain: Chain) -> None:
    chain.parts["database"] = None
    chain.configure()
    for message in (ManifestMessage("a/manifest.json"), PartMessage(1, 0), BlobsMessage(("a/manifest.json",))):
        assert take(chain, message) == []


# --- bad input, each of it through the whole way ---


ROW = ea("1", DAY)
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "no cost": (
        csv_of([ROW], [name for name in EA if name != "Cost"]).encode(),
        "has none for the cost (Cost",
    ),
    "no costs at all": (b"a,b\n1,2", "its first line, which should name its columns, is a, b."),
    "text in a number": (
        csv_of([ROW | {"Cost": "many"}]).encode(),
        "Row 1 after the header is wrong: the cost is",
    ),
    "a decimal comma": (csv_of([ROW | {"Cost": "1,5"}]).encode(), "a decimal comma is not taken"),
    "NaN": (csv_of([ROW | {"Cost": "NaN"}]).encode(), "which is no number"),
    "1e30": (csv_of([ROW | {"Cost": "1e30"}]).encode(), "which nothing costs"),
    "a day long ago": (csv_of([ROW | {"Date": "01/01/1999"}]).encode(), "which is before 2000"),
    "a day far ahead": (csv_of([ROW | {"Date": "01/01/2030"}]).encode(), "which is more than a year ahead"),
    "broken quotes": (csv_of([ROW]).encode() + b'"a,b\n' * 3, "quotes"),
    "truncated gzip": (gzip.compress(csv_of([ROW] * 99).encode())[:-20], "cut off or damaged"),
    "no Parquet": (b"PAR1 and no more", "no Parquet file"),
    "an empty file": (b"", "The file is empty"),
    "a bomb": (gzip.compress(csv_of([ROW]).encode() + b"0" * (80 * 2**20)), "The file"),
    "a line without an end": (csv_of([ROW | {"Tags": "x" * (17 * 2**20)}]).encode(), "a line of more than 16 MB"),
    "no currency": (csv_of([ROW | {"BillingCurrency": ""}]).encode(), "has a cost, and no currency"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_can_not_be_read_fails_its_run_with_one_sentence(chain: Chain, blobs: FakeBlobs, kind: str) -> None:
    content, sentence = BAD_FILES[kind]
    record = register(chain, Exported(blobs).run([ROW], files={"part_9.csv": content}))
    if not content:
        # By its manifest it has none either.
        assert record.state is RunState.IMPORTING
    for number in (1, 0):
        take(chain, PartMessage(record.id, number))
    failed = latest(chain)
    assert failed.state is RunState.FAILED
    assert failed.reason is not None and failed.reason.endswith(".") and "\n" not in failed.reason
    assert failed.reason.startswith("costs/daily/20261101-20261119/run-1/part_9.csv: ")
    assert sentence in failed.reason
    assert (staged(chain), letters(chain)) == (0, [])
    account = the_account(chain)
    assert (account.status, account.last_sync_error) == (AccountStatus.ERROR, failed.reason)
    assert told(chain)[0]["lines"] == [failed.reason]


def test_a_file_has_as_many_rows_as_its_manifest_says(chain: Chain, blobs: FakeBlobs) -> None:
    export = Exported(blobs)
    place = export.run([ROW], [ROW])
    name = place.removeprefix(f"{CONTAINER}/").replace("manifest.json", "part_1.csv")
    size = len(blobs.containers[CONTAINER][name][0])
    manifest = json.loads(blobs.containers[CONTAINER][place.removeprefix(f"{CONTAINER}/")][0])
    manifest["blobs"][1] = {"blobName": name, "byteCount": size, "dataRowCount": 5}
    blobs.put(CONTAINER, place.removeprefix(f"{CONTAINER}/"), json.dumps(manifest).encode())
    record = register(chain, place)
    take(chain, PartMessage(record.id, 1))
    assert latest(chain).reason == f"{name}: It has 1 rows, and 5 by its manifest."


BAD_MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no JSON": (lambda _it: b"no JSON", "it is no JSON"),
    "of no export": (lambda _it: {}, "it names no export"),
    "a part outside": (lambda it: it | {"blobs": [{"blobName": "../other/part.csv", "byteCount": 1}]}, ".."),
    "another container": (
        lambda it: it | {"deliveryConfig": {"containerUri": "https://x.blob.core.windows.net/other"}},
        "its files are in the container other",
    ),
    "100,000 parts": (
        lambda it: it | {"blobs": [{"blobName": f"p{number}"} for number in range(100_000)], "blobCount": None},
        "100,000",
    ),
    "a part twice": (lambda it: it | {"blobs": [*it["blobs"], *it["blobs"]], "blobCount": 2}, "twice"),
    "a wrong count of parts": (lambda it: it | {"blobCount": 7}, "it counts 7 blobs, and lists 1"),
    "a wrong count of rows": (lambda it: it | {"dataRowCount": 7}, "Its manifest counts 7 rows, and 1 in its parts."),
    "too long": (lambda _it: b" " * (17 * 2**20), "at most are read"),
}


TOO_LONG: list[dict[str, Any]] = [
    {"runInfo": {"runId": "r" * 201}},
    {"exportConfig": {"exportName": "n" * 201}},
    {"exportConfig": {"resourceId": "/subscriptions/" + "x" * 400}},
    {"blobs": [{"blobName": "p" * 1101, "byteCount": 1}]},
]


@pytest.mark.parametrize("change", TOO_LONG, ids=["run", "name", "id", "part"])
def test_what_the_history_has_no_room_for_is_a_failed_run_and_looked_at_once(
    chain: Chain, blobs: FakeBlobs, change: dict[str, Any]
) -> None:
    """Though what was seen is lost; and of a manifest whose name is all signs of two units, too."""
    place = Exported(blobs, folder="🚀" * 300).run([ROW])
    name = place.removeprefix(f"{CONTAINER}/")
    manifest = json.loads(blobs.containers[CONTAINER][name][0])
    more = {key: manifest[key] | each if isinstance(each, dict) else each for key, each in change.items()}
    blobs.put(CONTAINER, name, json.dumps(manifest | more).encode())
    for forgets in (False, True, False):
        chain.configure()
        if forgets:
            blobs.delete("budget-warden", chain.export_seen.name)
        chain.send(chain.export_scanner.scan())
        chain.drain()
        chain.clock.forward(hours=3)
    (record,) = chain.export_runs.runs()
    assert (record.state, record.run.place) == (RunState.FAILED, place)
    assert record.reason is not None and "can be stored" in record.reason
    assert (letters(chain), len(told(chain))) == ([], 1)


@pytest.mark.parametrize("kind", BAD_MANIFESTS)
def test_a_manifest_that_can_not_be_right_is_a_failed_run_with_one_sentence(
    chain: Chain, blobs: FakeBlobs, kind: str
) -> None:
    change, sentence = BAD_MANIFESTS[kind]
    place = Exported(blobs).run([ROW])
    name = place.removeprefix(f"{CONTAINER}/")
    changed = change(json.loads(blobs.containers[CONTAINER][name][0]))
    blobs.put(CONTAINER, name, changed if isinstance(changed, bytes) else json.dumps(changed).encode())
    for _ in range(2):
        record = register(chain, place)
    assert (record.state, len(chain.export_runs.runs())) == (RunState.FAILED, 1)
    assert record.reason is not None and sentence in record.reason and "\n" not in record.reason
    assert chain.queues.take() == [] or len(told(chain)) == 1
    assert letters(chain) == []
    assert the_account(chain).status is AccountStatus.ERROR


# --- poison ---


def test_who_dies_between_a_failure_and_its_mail_leaves_nobody_untold(chain: Chain, blobs: FakeBlobs) -> None:
    record = register(chain, Exported(blobs).run([ea("x", DAY)]))
    chain.export_runs.fail(record.run, "It can't be read.", chain.clock())
    for _ in range(2):
        take(chain, PartMessage(record.id, 0))
    (mail,) = told(chain)
    assert (mail["subject"], mail["lines"]) == ("A cost export can't be imported: daily", ["It can't be read."])
    assert the_account(chain).status is AccountStatus.ERROR


def test_a_failure_is_no_news_once_a_later_run_was_imported(chain: Chain, blobs: FakeBlobs) -> None:
    export = Exported(blobs)
    place = export.run([ea("x", DAY)])
    failed = register(chain, place)
    take(chain, PartMessage(failed.id, 0))
    take(chain, PartMessage(register(chain, export.run([ea("1", DAY)])).id, 0))
    chain.clock.forward(days=1)
    for message in (ManifestMessage(place), PartMessage(failed.id, 0)):
        take(chain, message)
    assert (len(notices(chain)), the_account(chain).status) == (1, AccountStatus.ACTIVE)


def test_a_message_that_the_host_gave_up_on_once_its_run_was_imported_tells_of_no_failure(
    chain: Chain, blobs: FakeBlobs
) -> None:
    record = register(chain, Exported(blobs).run([ea("1", DAY)]))
    take(chain, PartMessage(record.id, 0))
    chain.bury(Queue.EXPORT, to_json(PartMessage(record.id, 0)), "a part")
    assert (latest(chain).state, notices(chain)) == (RunState.IMPORTED, ["A message failed for good"])


def test_a_message_that_the_host_gave_up_on_fails_its_run_for_good(chain: Chain, blobs: FakeBlobs) -> None:
    record = register(chain, Exported(blobs).run([ROW]))
    chain.bury(Queue.EXPORT, to_json(PartMessage(record.id, 0)), "one")
    failed = latest(chain)
    assert failed.state is RunState.FAILED
    (letter,) = chain.letters.letters()
    assert letter.queue == Queue.EXPORT
    chain.queues.take()
    chain.dead_letter_service.replay(letter.id)
    ((queue, text, _),) = chain.queues.take()
    (again,) = chain.work(queue, text)
    assert take(chain, again) == [of_part(record)]


def test_a_run_that_dies_half_made_says_what_it_has_changed_and_read_again_it_is_made_whole(
    chain: Chain, blobs: FakeBlobs
) -> None:
    rows = [ea("1", DAY, subscription=f"5b6c1f2e-0000-4000-8000-00000000000{number}") for number in range(3)]
    place = Exported(blobs).run(rows)
    record = register(chain, place)
    # Whoever takes it is killed a step further each time, until the first of three sub-accounts is made.
    for step in count(1):
        with_database(chain, MortalDatabase(chain.database, AtStep(at=step)))
        with pytest.raises(Killed):
            take(chain, PartMessage(record.id, 0))
        if totals(chain):
            break
    with_database(chain, chain.database)
    chain.bury(Queue.EXPORT, to_json(PartMessage(record.id, 0)), "one")
    failed = latest(chain)
    assert (failed.state, failed.changes) == (RunState.FAILED, Changes(1, 0, 0, Period(DAY, DAY + timedelta(days=1))))
    (mail,) = [each for each in told(chain) if each["subject"] == "A cost export can't be imported: daily"]
    assert "Some of its charges were stored before that, and count (November 2026)." in mail["intro"]
    assert f"`python -m shared.cli exports import {place}`" in mail["advice"]
    for part in take(chain, ManifestMessage(place, envelope=Envelope(replayed=True))):
        take(chain, part)
    assert (latest(chain).state, len(totals(chain))) == (RunState.IMPORTED, 3)


def with_database(chain: Chain, database: Database) -> None:
    chain.parts["database"] = database
    chain.configure()


def totals(chain: Chain) -> list[Decimal]:
    return chain.database.read(lambda connection: list(connection.scalars(select(charges.c.billed_cost))))


def test_of_two_exports_of_one_name_that_fail_on_one_day_both_are_told(chain: Chain, blobs: FakeBlobs) -> None:
    for subscription in (SUBSCRIPTION, OTHER_SUBSCRIPTION):
        export = Exported(blobs, subscription=subscription, folder=subscription)
        take(chain, PartMessage(register(chain, export.run([ea("x", DAY)])).id, 0))
    assert notices(chain) == ["A cost export can't be imported: daily"] * 2


# --- charges ---


def deliver(chain: Chain, place: str) -> RunRecord:
    """Has a run imported, with all that follows; the run as it is then."""
    take(chain, ManifestMessage(place))
    chain.drain()
    (found,) = [each for each in chain.export_runs.runs() if each.run.place == place][:1]
    return found


def load(chain: Chain, subscription: str = OTHER_SUBSCRIPTION) -> None:
    """A project whose subscription nobody is asked for, so that exports may feed it."""
    chain.load(entry(12, subscription=subscription))
    this = update(cloud_accounts).where(cloud_accounts.c.connection_type == "COST_MANAGEMENT")
    chain.database.run(lambda connection: connection.execute(this.values(status=AccountStatus.DISABLED)))


def mine(amount: str, day: date = DAY) -> dict[str, str]:
    return ea(amount, day, "rg-12", OTHER_SUBSCRIPTION)


def test_a_run_of_several_parts_is_summed_over_them_and_its_projects_are_checked(
    chain: Chain, blobs: FakeBlobs
) -> None:
    load(chain)
    record = deliver(chain, Exported(blobs).run([mine("900.25"), mine("0.5")], [mine("0.25")], [mine("-1")]))
    assert (record.state, record.rows, record.totals) == (RunState.IMPORTED, 4, {"CAD": Decimal(900)})
    assert record.changes.added == 1
    assert chain.spent(12) == Decimal(900)
    # The query read it, until it was disabled.
    assert chain.subjects() == ["About the cost export daily", "[P12] 80 % of the budget reached"]
    account = the_account(chain)
    assert (account.status, account.last_sync_error) == (AccountStatus.ACTIVE, None)


def test_a_newer_run_says_all_of_its_days_anew_and_a_failed_one_says_nothing(chain: Chain, blobs: FakeBlobs) -> None:
    load(chain)
    export = Exported(blobs)
    deliver(chain, export.run([mine("10"), mine("5", date(2026, 11, 13))]))
    chain.clock.forward(days=1)
    deliver(chain, export.run([mine("20")], at=chain.clock.now))
    assert chain.spent(12) == Decimal(20)
    for content, _sentence in BAD_FILES.values():
        chain.clock.forward(hours=1)
        place = export.run([mine("500")], files={"part_9.csv": content}, at=chain.clock.now)
        assert deliver(chain, place).state is RunState.FAILED
        assert chain.spent(12) == Decimal(20)


@pytest.mark.parametrize("changes", [{"blobs": [], "blobCount": 0}, {"blobs": None, "blobCount": None}])
def test_a_run_without_blobs_is_a_run_of_no_charges(chain: Chain, blobs: FakeBlobs, changes: dict[str, Any]) -> None:
    load(chain)
    record = deliver(chain, Exported(blobs).run(changes=changes))
    assert (record.state, record.rows, record.changes.added) == (RunState.IMPORTED, 0, 0)


def test_a_file_of_a_header_alone_is_a_run_of_no_charges(chain: Chain, blobs: FakeBlobs) -> None:
    load(chain)
    record = deliver(chain, Exported(blobs).run([]))
    assert (record.state, record.rows, record.totals) == (RunState.IMPORTED, 0, {})


def test_300_columns_and_a_field_of_a_megabyte_are_read(chain: Chain, blobs: FakeBlobs) -> None:
    load(chain)
    row = mine("10") | {f"More{number}": "x" for number in range(300)} | {"Tags": "x" * 2**20}
    record = deliver(chain, Exported(blobs).run(files={"wide.csv": csv_of([row]).encode()}))
    assert (record.state, record.totals) == (RunState.IMPORTED, {"CAD": Decimal(10)})


def test_a_part_of_nothing_at_all_is_no_charges_where_its_manifest_says_so(chain: Chain, blobs: FakeBlobs) -> None:
    load(chain)
    blobs.put(CONTAINER, "empty.csv", b"")
    changes = {"blobs": [{"blobName": " empty.csv ", "byteCount": 0, "dataRowCount": 0}]}
    record = deliver(chain, Exported(blobs).run(changes=changes | {"blobCount": 1}))
    assert (record.state, record.rows) == (RunState.IMPORTED, 0)


def test_what_the_query_feeds_stays_so_and_that_is_told_once(chain: Chain, blobs: FakeBlobs) -> None:
    chain.load(entry())
    chain.spend("7", DAY)
    chain.night()
    export = Exported(blobs)
    for _ in range(2):
        chain.clock.forward(days=1)
        record = deliver(chain, export.run([ea("100", DAY)], at=chain.clock.now))
        assert record.state is RunState.NOT_USED
    assert chain.spent() == Decimal(7)
    assert [subject for subject in notices(chain) if "About" in subject] == ["About the cost export daily"]


def test_rows_of_other_providers_are_theirs_and_those_that_name_none_are_the_export_s(
    chain: Chain, blobs: FakeBlobs
) -> None:
    rows = [
        FOCUS | {"ProviderName": name, "SubAccountId": account} for name, account in (("Oracle", "o-1"), ("", "n-1"))
    ]
    rows = [row | {"ChargePeriodStart": "2026-11-12T00:00Z", "BillingPeriodStart": "2026-11-01T00:00Z"} for row in rows]
    record = deliver(chain, Exported(blobs, kind="FocusCost").run(files={"focus.csv": csv_of(rows, FOCUS).encode()}))
    assert (record.state, record.totals) == (RunState.IMPORTED, {"CAD": Decimal(3)})
    fed = {(each.fed.provider, each.fed.sub_account) for each in chain.export_runs.feeds()}
    assert fed == {("Oracle", "o-1"), ("azure", "n-1")}


def test_an_export_that_feeds_and_is_silent_for_three_days_is_told_once(chain: Chain, blobs: FakeBlobs) -> None:
    load(chain)
    deliver(chain, Exported(blobs).run([mine("1")]))
    for _ in range(5):
        chain.clock.forward(days=1)
        chain.send(chain.export_scanner.scan())
    assert [subject for subject in notices(chain) if "No new run" in subject] == ["No new run of the cost export daily"]


def test_the_same_content_again_changes_nothing(chain: Chain, blobs: FakeBlobs) -> None:
    load(chain)
    place = Exported(blobs).run([mine("10")])
    deliver(chain, place)
    blobs.asked.clear()
    assert take(chain, ManifestMessage(place)) == []
    assert blobs.asked == ["read", "found"]
    assert len(chain.export_runs.runs()) == 1


# --- what is told, and asked for again ---


def other_metric(chain: Chain, blobs: FakeBlobs) -> str:
    return Exported(blobs, name="amortized", kind="AmortizedCost").run([ROW])


def test_a_run_that_is_not_used_is_told_once_though_event_and_scanner_bring_it(chain: Chain, blobs: FakeBlobs) -> None:
    """Its file has something odd, which is another text each night."""
    chain.load(entry())
    export = Exported(blobs)
    for _ in range(3):
        place = export.run([ea("1", DAY), ea("", DAY)], at=chain.clock.now)
        for _ in range(2):
            take(chain, ManifestMessage(place))
            chain.drain()
        assert latest(chain).state is RunState.NOT_USED
        assert len(notices(chain)) == 1
        chain.clock.forward(days=1)
    place = other_metric(chain, blobs)
    for _ in range(2):
        take(chain, ManifestMessage(place))
    assert len(notices(chain)) == 2, "what is not read at all is told by its manifest"


def test_a_failure_of_a_month_is_told_though_another_month_s_run_was_imported_since(
    chain: Chain, blobs: FakeBlobs
) -> None:
    export = Exported(blobs)
    october = {"first": date(2026, 10, 1), "last": date(2026, 10, 31), "run_id": "october"}
    place = export.run([ea("1", date(2026, 10, 12))], missing=1, **october)
    assert register(chain, place).state is RunState.WAITING
    take(chain, PartMessage(register(chain, export.run([ROW])).id, 0))
    place = export.run([ea("1", date(2026, 10, 12))], changes={"dataRowCount": 7}, **october)
    take(chain, ManifestMessage(place))
    assert notices(chain) == ["A cost export can't be imported: daily"]
    assert the_account(chain).status is AccountStatus.ERROR


def test_a_failure_is_told_once_whenever_its_message_comes_again(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("x", DAY)])
    record = register(chain, place)
    for _ in range(2):
        for message in (PartMessage(record.id, 0), ManifestMessage(place)):
            take(chain, message)
        chain.clock.forward(days=1)
    assert notices(chain) == ["A cost export can't be imported: daily"]


def test_what_we_are_refused_for_days_is_imported_once_that_is_mended(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one run a manifest was queued, of the other its parts."""
    export = Exported(blobs)
    take(chain, ManifestMessage(export.run([ROW])))
    export.run([ea("2", DAY)])
    chain.send(chain.export_scanner.scan())
    within = blobs._in

    def refuse(container: str, what: str) -> Any:
        if container == CONTAINER:
            raise NeverError("it needs the role Storage Blob Data Reader")
        return within(container, what)

    def hours(count: int) -> None:
        for _ in range(count):
            chain.send(chain.export_scanner.scan())
            chain.work_off(hours=1)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(blobs, "_in", refuse)
        hours(48)
    assert {each.state for each in chain.export_runs.runs()} == {RunState.WAITING}
    hours(2)
    assert [each.state for each in chain.export_runs.runs()] == [RunState.IMPORTED] * 2


@pytest.mark.slow
def test_messages_of_parts_that_can_not_be_read_now_are_not_sent_each_hour(chain: Chain, blobs: FakeBlobs) -> None:
    take(chain, ManifestMessage(Exported(blobs).run(*[[ROW]] * 10)))
    blobs.fails = lambda what: LaterError("503") if what == "download" else None
    for _ in range(20):
        chain.send(chain.export_scanner.scan())
        chain.work_off(hours=1)
    assert len(chain.queues.sent) <= 30


@pytest.mark.parametrize("made", [None, 1])
def test_a_run_of_which_another_version_read_some_parts_is_read_anew(
    chain: Chain, blobs: FakeBlobs, made: int | None
) -> None:
    record = register(chain, Exported(blobs).run([ea("1.5", DAY)], [ea("2.25", DAY)]))
    chain.queues.take()
    take(chain, PartMessage(record.id, 0))
    with chain.database.engine.begin() as connection:
        (kept,) = connection.scalars(select(export_sums.c.sums)).all()
        connection.execute(update(export_sums).values(sums=bytes(kept).removeprefix(FORMAT)))
        connection.execute(update(export_runs).values(made=made))
    take(chain, PartMessage(record.id, 1))
    assert (latest(chain).state, latest(chain).staged) == (RunState.IMPORTING, 0)
    for _ in range(2):
        chain.send(chain.export_scanner.scan())
        chain.drain()
        chain.clock.forward(hours=1)
    assert (latest(chain).state, latest(chain).totals) == (RunState.IMPORTED, {"CAD": Decimal("3.75")})
    assert (letters(chain), told(chain)) == ([], [])
