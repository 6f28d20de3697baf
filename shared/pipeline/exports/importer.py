"""CostExportImporter: registers runs of cost exports, reads their parts, and has their charges made."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from threading import Lock

from shared.domain.charges import CostMetric
from shared.domain.exports.runs import Blob, Export, ExportRun, Found, RunState
from shared.domain.exports.sums import Sums, added, sums_of
from shared.domain.money import MoneyError
from shared.messages import (
    BlobsMessage,
    Envelope,
    ManifestMessage,
    MessageError,
    PartMessage,
    notifications,
)
from shared.pipeline.dead_letters import POISONED, DeadLetters
from shared.pipeline.events import event
from shared.pipeline.exports.places import Finder, Place, export_accounts, place_holding, place_of, places, unreadable
from shared.pipeline.exports.scanner import ENDED, part_messages
from shared.pipeline.exports.telling import Telling
from shared.pipeline.stage import Outgoing, Retry, growing_wait, outgoing
from shared.ports.blobs import BlobStore, ListedBlob
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import AccountStatus, CloudAccountLedger
from shared.ports.errors import LaterError, NeverError, PauseError, UntilMendedError
from shared.ports.export_runs import ExportLedger, Imported, NewRun, RunPart, RunRecord
from shared.ports.exports import ExportFile, ExportReader

CLOUD_ACCOUNTS = "`python -m shared.cli cloud-accounts list` shows them all"
# A run whose parts are not there is looked at again for so long; after that the scanner does it.
WAITS_FOR = timedelta(hours=2)
# What becomes of it after that is another run, by its ETags.
WAITS_IN_ALL = timedelta(days=3)
# Some time for whoever writes parts anew to write the manifest, too.
CHANGED_AGAIN_IN = timedelta(seconds=30)
# Parts take a gigabyte of memory and disk each: an instance reads one at a time, and the others' messages wait so long
# in it, then on the queue.
TURN_WITHIN = 120.0
NEXT_TURN_IN = timedelta(seconds=30)
TEMPORARY = "budget-warden-part-"
MADE = (RunState.IMPORTED, RunState.NOT_USED)
# Nothing runs for longer than ten minutes.
LONGEST_SECONDS = 1800


class RefusedError(UntilMendedError):
    """The storage account refuses us."""


class AwayError(LaterError):
    """The storage account can't be reached."""


def not_set_up(message: object, _origin: str) -> list[Outgoing]:
    """Where it is not said in which storage account exports lie, nothing is opened for a message."""
    event("exports_not_set_up", level=logging.WARNING, message=type(message).__name__)
    return []


@dataclass(frozen=True, slots=True)
class Importer:
    """reader: is loaded with the first part. closed_on: as of `ExportLedger.make`."""

    ledger: ExportLedger
    cloud_accounts: CloudAccountLedger
    blobs: BlobStore
    finder: Finder
    reader: Callable[[], ExportReader]
    metric: CostMetric
    closed_on: Mapping[str, int]
    telling: Telling
    dead_letters: DeadLetters
    retry: Retry
    clock: Clock
    turn: Lock = field(default_factory=Lock)

    # --- events ---

    def take_blobs(self, message: BlobsMessage, _origin: str) -> list[Outgoing]:
        """Events: of the manifests among them, those are imported that lie where exports do."""
        manifests = [each for each in dict.fromkeys(message.blobs) if self.finder.reader.is_manifest(each)]
        if not manifests:
            return []
        try:
            known = places(self.cloud_accounts.accounts())
        except LaterError as error:
            return self.retry.later(message, error, "export_events", blobs=len(manifests))
        held = ((each, _holding(known, each)) for each in manifests)
        return outgoing(
            ManifestMessage(each, place.cloud_account_id) for each, place in held if place and place.is_asked
        )

    # --- manifests ---

    def take_manifest(self, message: ManifestMessage, _origin: str) -> list[Outgoing]:
        """A manifest: its run is registered, and its parts are asked for. Raises MessageError."""
        try:
            place = self._place(message)
            with _refusals_pass():
                found = self.finder.run_at(place, _name(message.manifest))
            if found is None:
                return self._gone(message)
            return self._registered(message, place, found)
        except LaterError as error:
            container = message.manifest.partition("/")[0]
            told = self.telling.refused(container, error.reason) if isinstance(error, RefusedError) else []
            return [*told, *self._manifest_later(message, error)]

    def _place(self, message: ManifestMessage) -> Place:
        if not self.finder.reader.is_manifest(message.manifest):
            raise MessageError(f"{message.manifest} is no manifest: its name has to end with manifest.json")
        container, name = message.manifest.partition("/")[0], _name(message.manifest)
        accounts = export_accounts(self.cloud_accounts.accounts())
        if message.cloud_account_id is not None:
            accounts = [each for each in accounts if each.id == message.cloud_account_id]
            if not accounts:
                raise MessageError(f"there is no cloud account {message.cloud_account_id} of exports; {CLOUD_ACCOUNTS}")
        holding = place_holding(map(place_of, accounts), container, name)
        if holding is None:
            raise MessageError(f"no cloud account of exports has {message.manifest}; {CLOUD_ACCOUNTS}")
        account = next(each for each in accounts if each.id == holding.cloud_account_id)
        if account.status is AccountStatus.DISABLED:
            raise MessageError(f"cloud account {account.id} ({account.name}) is disabled; {CLOUD_ACCOUNTS}")
        return holding

    def _gone(self, message: ManifestMessage) -> list[Outgoing]:
        """An overwriting export takes its manifest away for a moment."""
        if self.retry.is_over(message.envelope.first_queued_at, WAITS_FOR):
            raise MessageError(f"there is no blob {message.manifest}")
        return self._again(message)

    def _registered(self, message: ManifestMessage, place: Place, found: NewRun) -> list[Outgoing]:
        again = message.envelope.replayed
        if not again:
            found = self._as_it_ended(found)
        try:
            verdict, record = self._noted(place, found, again)
        except NeverError as error:
            raise MessageError(error.reason) from error
        event("export_found", run=record.id, export=record.run.export.name, found=verdict, state=record.state)
        if record.state is RunState.IMPORTING and record.container:
            return outgoing(part_messages(self.ledger, record))
        if record.state is RunState.WAITING:
            if found.waiting and self.retry.is_over(record.found_at, WAITS_IN_ALL):
                return self._failed(record, f"For {WAITS_IN_ALL.days} days it could not be read: {found.waiting}.")
            if self.retry.is_over(message.envelope.first_queued_at, WAITS_FOR):
                return []
            return self._again(message)
        if record.state is RunState.FAILED and verdict is Found.NEW:
            return self._told_failed(record)
        return self._ended(record, found)

    def _noted(self, place: Place, found: NewRun, again: bool) -> tuple[Found, RunRecord]:
        """In the history, as a manifest that nobody can read where that has no room for what it says."""
        try:
            return self.ledger.register(found, self.clock(), again=again)
        except NeverError as error:
            manifest = ListedBlob(_name(found.run.place), Blob(0, ""), found.run.modified_at)
            refused = unreadable(place, manifest, error.reason)
            run = replace(refused.run, content=found.run.content)
            return self.ledger.register(replace(refused, run=run), self.clock())

    def _as_it_ended(self, found: NewRun) -> NewRun:
        """With the content of the same run when it ended, where it needs no part, or some were cleared away since."""
        if not (found.parts and (found.waiting or found.unread)):
            return found
        # There are as many runs of an export as it has written: here only those of one manifest are of interest.
        there = self.ledger.runs(found.run.export.key, ENDED, place=found.run.place)
        before = (each for each in there if _said(each.run) == _said(found.run))
        # One that waited when it failed never had all of its parts.
        same = (each.run for each in before if found.unread or each.started_at or each.state is not RunState.FAILED)
        return next((replace(found, run=replace(found.run, content=each.content)) for each in same), found)

    def _ended(self, record: RunRecord, found: NewRun) -> list[Outgoing]:
        """What follows a run of which nothing is read. What is to be known of one that was read its making has told."""
        if record.state is RunState.FAILED:
            return self._told_again(record)
        if record.cloud_account_id is not None:
            self.cloud_accounts.mark_synced(record.cloud_account_id, self.clock())
        is_told = record.state is RunState.NOT_USED and found.unread
        return self.telling.known(record.run.export, [found.unread[1]]) if is_told and found.unread else []

    def _manifest_later(self, message: ManifestMessage, error: LaterError) -> list[Outgoing]:
        return self.retry.later(
            message, error, "export_manifest", give_up=self._manifest_given_up, manifest=message.manifest
        )

    def _manifest_given_up(self, reason: str) -> list[Outgoing]:
        """Nothing is known of its run; the scanner sees the manifest again once it changes, or a person does."""
        raise MessageError(reason)

    # --- parts ---

    def take_part(self, message: PartMessage, origin: str) -> list[Outgoing]:
        """A part: its sums are kept, and the last one in has the run's charges made. Raises MessageError."""
        try:
            record = self._run(message)
        except LaterError as error:
            return self._part_later(message, error)
        return self._of_another(message) if record is None else self._take(message, record, origin)

    def _take(self, message: PartMessage, record: RunRecord, origin: str) -> list[Outgoing]:
        try:
            if record.state is not RunState.IMPORTING:
                return self._ended_before(message, record)
            return self._work_on(message, record)
        except NeverError as error:
            return self._failed(record, error.reason)
        except PauseError as pause:
            # Its time to be read begins with its turn.
            fresh = replace(message, envelope=replace(message.envelope, first_queued_at=None))
            return self._part_later(fresh, pause)
        except LaterError as error:
            if isinstance(error, (RefusedError, AwayError)):
                told = self.telling.refused(record.container, error.reason) if isinstance(error, RefusedError) else []
                return [*told, *self._part_later(message, error, lambda reason: self._left(record, reason))]
            return self._part_later(message, error, lambda reason: self._given_up(message, record, reason, origin))

    def _part_later(
        self, message: PartMessage, error: LaterError, give_up: Callable[[str], list[Outgoing]] | None = None
    ) -> list[Outgoing]:
        run_id, part = message.export_run_id, message.part
        return self.retry.later(message, error, "export_part", give_up=give_up, run=run_id, part=part)

    def _given_up(self, message: PartMessage, record: RunRecord, reason: str, origin: str) -> list[Outgoing]:
        """Replayed, the message has the run read from its manifest."""
        self.dead_letters.give_up(message, reason, origin)
        return self._failed(record, reason)

    def _left(self, record: RunRecord, reason: str) -> list[Outgoing]:
        """Where storage refuses us or is away, the run waits until that is mended: the scanner sees it.

        That may well reach what this did not, and tells nobody then.
        """
        self.ledger.wait(record.run, reason)
        return self.telling.refused(record.container, reason)

    def _ended_before(self, message: PartMessage, record: RunRecord) -> list[Outgoing]:
        """A person sent the message again: the run is read anew. Else somebody may have died before this was told."""
        if message.envelope.replayed and record.container:
            return outgoing([ManifestMessage(record.run.place, record.cloud_account_id, Envelope(replayed=True))])
        if record.state is RunState.FAILED:
            return self._told_again(record)
        return self._follow(self._make(record)) if record.state in MADE else []

    def _run(self, message: PartMessage) -> RunRecord | None:
        """None of one that was taken out of the history, or was found anew with other content."""
        record = self.ledger.get(message.export_run_id)
        if record is None and message.content is None:
            raise MessageError(f"there is no run {message.export_run_id} of an export; `exports list` shows them")
        # Sent again by a person, it is about whatever lies there now.
        return record if message.envelope.replayed else _as_meant(message, record)

    def _of_another(self, message: PartMessage) -> list[Outgoing]:
        """A message of a run as it was: since then it was found anew, and the messages of that were sent."""
        event("export_part_gone", run=message.export_run_id, part=message.part)
        return []

    def _work_on(self, message: PartMessage, record: RunRecord) -> list[Outgoing]:
        parts = self.ledger.parts(record.id)
        if parts and message.part >= len(parts):
            raise MessageError(f"run {record.id} has {len(parts):,} parts, counted from 0: there is no {message.part}")
        missing: int | None = sum(not each.is_staged for each in parts)
        if parts and not parts[message.part].is_staged:
            with self._our_turn():
                missing = self._read(record, parts[message.part])
            if missing is None:
                return self._changed(record, parts[message.part])
        return self._made(record) if missing == 0 else []

    @contextmanager
    def _our_turn(self) -> Iterator[None]:
        if not self.turn.acquire(timeout=TURN_WITHIN):
            raise PauseError("other parts are being read", NEXT_TURN_IN)
        try:
            yield
        finally:
            self.turn.release()

    def _read(self, record: RunRecord, part: RunPart) -> int | None:
        """Reads a part and keeps its sums; how many are missing still. None where it is another than it was."""
        if is_of_nothing(part):
            return self.ledger.stage(record.run, part.number, Sums(), 0, (), self.clock())
        with _temporary_folder() as folder:
            # The name's end says what it means to be, where nothing in the file does.
            path = folder / f"part{Path(part.name.lower()).suffix}"
            with _refusals_pass(), _storage_comes_back():
                is_there = self.blobs.download(record.container, _as_found(part, record), path)
            if not is_there:
                return None
            file = self._file(part, path)
        sums = sums_of_part(part, file, record.run.export)
        event("export_part_read", run=record.id, part=part.number, rows=file.count, sums=len(sums.charges))
        odd = [f"{part.name}: {each}" for each in file.odd]
        return self.ledger.stage(record.run, part.number, sums, file.count, odd, self.clock())

    def _file(self, part: RunPart, path: Path) -> ExportFile:
        size = path.stat().st_size
        if size != part.blob.size:
            raise LaterError(f"{part.name} came with {size:,} bytes of {part.blob.size:,}")
        return read_part(self.reader(), part, path, self.metric, self.clock().date())

    def _changed(self, record: RunRecord, part: RunPart) -> list[Outgoing]:
        self.ledger.wait(record.run, f"{part.name} was written anew, or is gone, while the run was read")
        event("export_changed", level=logging.WARNING, run=record.id, part=part.number)
        return [Outgoing(ManifestMessage(record.run.place, record.cloud_account_id), CHANGED_AGAIN_IN)]

    # --- charges ---

    def _made(self, record: RunRecord) -> list[Outgoing]:
        imported = self._make(record)
        after, changes = imported.record, imported.record.changes
        counted = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
        event("export_imported", run=after.id, export=after.run.export.name, state=after.state, **counted)
        if after.cloud_account_id is not None:
            self.cloud_accounts.mark_synced(after.cloud_account_id, self.clock())
        return self._follow(imported)

    def _make(self, record: RunRecord) -> Imported:
        return self.ledger.make(record.id, self.metric, self.closed_on, self.clock())

    def _follow(self, imported: Imported) -> list[Outgoing]:
        """The checks, and what is told: of a run that is made already, what nobody has seen to yet."""
        checks = notifications(imported.due_projects, Envelope(f"export-{imported.record.id}"))
        return [*outgoing(checks), *self.telling.known(imported.record.run.export, imported.told)]

    # --- the end of those that can't be ---

    def poisoned(self, message: object, _origin: str) -> list[Outgoing]:
        """The host gave up on a message: its run has failed for good. Raises LaterError."""
        if not isinstance(message, PartMessage):
            return []
        record = _as_meant(message, self.ledger.get(message.export_run_id))
        return [] if record is None else self._failed(record, POISONED)

    def _failed(self, record: RunRecord, reason: str) -> list[Outgoing]:
        """Tells what became of it: another may have ended it, or found it anew."""
        self.ledger.fail(record.run, reason, self.clock())
        after = self.ledger.get(record.id)
        return self._told_failed(after) if after and after.state is RunState.FAILED else []

    def _told_again(self, record: RunRecord) -> list[Outgoing]:
        """Somebody may have died before it was told."""
        return [] if self.telling.has_told(record) else self._told_failed(record)

    def _told_failed(self, record: RunRecord) -> list[Outgoing]:
        reason = record.reason or ""
        event("export_failed", level=logging.ERROR, run=record.id, export=record.run.export.name, reason=reason)
        if record.cloud_account_id is not None:
            self.cloud_accounts.mark_failed(record.cloud_account_id, reason)
        return self.telling.failed(record)

    def _again(self, message: ManifestMessage) -> list[Outgoing]:
        return self.retry.put_back(message, self.clock() + growing_wait(message.envelope.attempt))


def _as_meant(message: PartMessage, record: RunRecord | None) -> RunRecord | None:
    """The run that a message is about; None where that was found anew since, with other content."""
    return record if record and message.content in (None, record.run.content) else None


@contextmanager
def _refusals_pass() -> Iterator[None]:
    """A role that is missing is no fault of a run: it works once somebody has given it."""
    try:
        yield
    except NeverError as error:
        raise RefusedError(error.reason) from error


@contextmanager
def _storage_comes_back() -> Iterator[None]:
    """Nor is it one that storage is away."""
    try:
        yield
    except LaterError as error:
        raise AwayError(error.reason, error.wait) from error


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for a download; those of processes that were killed are gone by then."""
    for left in Path(gettempdir()).glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LONGEST_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(mkdtemp(prefix=TEMPORARY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_of_nothing(part: RunPart) -> bool:
    """Whether there is nothing to read in it, by its manifest either."""
    return part.rows == 0 and not part.blob.size


def read_part(reader: ExportReader, part: RunPart, path: Path, metric: CostMetric, today: date) -> ExportFile:
    """What a part comes to. Raises NeverError, with its name, where it can't be read, or lacks rows."""
    try:
        file = reader.read(path, metric, today)
    except NeverError as error:
        raise NeverError(f"{part.name}: {error.reason}") from error
    if part.rows is not None and file.count != part.rows:
        raise NeverError(f"{part.name}: It has {file.count:,} rows, and {part.rows:,} by its manifest.")
    return file


def sums_of_part(part: RunPart, file: ExportFile, export: Export) -> Sums:
    """What a part comes to. Rows that name no provider are of the export's."""
    try:
        return added(
            sums_of(rows, replace(export, provider=name or export.provider)) for name, rows in file.rows.items()
        )
    except MoneyError as error:
        raise NeverError(f"{part.name}: {error}.") from error


def _as_found(part: RunPart, record: RunRecord) -> ListedBlob:
    return ListedBlob(part.name, part.blob, record.run.modified_at)


def _said(run: ExportRun) -> tuple[object, ...]:
    """What its manifest says of a run, and when it was written."""
    return run.place, run.run_id, run.submitted_at, run.modified_at


def _name(manifest: str) -> str:
    return manifest.partition("/")[2]


def _holding(known: list[Place], manifest: str) -> Place | None:
    return place_holding(known, manifest.partition("/")[0], _name(manifest))
