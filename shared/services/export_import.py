"""Importing cost exports at once, in this process: the same runs, by the same rules, as what the scanner finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from shared.domain.charges import CostMetric
from shared.domain.exports.days import placed
from shared.domain.exports.files import FileRun, file_export, last_days, refusals
from shared.domain.exports.runs import Export, ExportRun, Found, RunState, content_of, what_is
from shared.domain.exports.sums import Row, Sums, added, sums_of
from shared.domain.money import MoneyError
from shared.messages import Envelope, notifications
from shared.pipeline.chain import Chain
from shared.pipeline.exports.importer import is_of_nothing, read_part, sums_of_part
from shared.pipeline.exports.telling import Telling
from shared.pipeline.stage import outgoing
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import ExportLedger, Imported, NewRun, RunPart, RunRecord
from shared.ports.exports import ExportFile, ExportReader
from shared.services.errors import RequestError
from shared.services.export_sources import ExportSource, ExportStorage, SourceFile, source_at

Shown = Callable[[str, int], None]
"""Is told what was worked on, and how many bytes of it there are"""
BROKEN_OFF = "its import was broken off; `exports import` goes on with it"


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that is to be imported.

    files: its parts, in order. whole: whether all rows in them are its own, as where a manifest lists them.
    """

    place: str
    new: NewRun
    source: ExportSource
    files: tuple[SourceFile, ...]
    whole: bool

    @property
    def size(self) -> int:
        """The bytes of its parts."""
        return sum(file.blob.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be imported. faults: what can't be, and why. without_rows: files of no charges. Both by place."""

    runs: tuple[Planned, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    without_rows: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes that are to be read."""
        return sum(run.size for run in self.runs)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a run, or would. found: whether it was new. record: as it stands; of one that was only looked at,
    what its files come to. fault: why it could not be imported. due_projects: those that are checked now; unasked:
    why that could not be asked for.
    """

    place: str
    found: Found
    record: RunRecord
    fault: str | None = None
    due_projects: tuple[int, ...] = ()
    unasked: str | None = None


@dataclass(slots=True)
class ExportImport:
    """Imports cost exports that a person names.

    closed_on: as of `ExportLedger.make`. storage: export storage; None where none is set.
    """

    ledger: ExportLedger
    reader: ExportReader
    metric: CostMetric
    closed_on: Mapping[str, int]
    storage: Callable[[], ExportStorage | None]
    telling: Telling
    chain: Chain
    clock: Clock
    _last_read: tuple[SourceFile, ExportFile] | None = field(default=None, init=False)

    def look(self, paths: Sequence[str], *, parts: bool = False, force: bool = False) -> Plan:
        """What there is at these paths, and in these folders: on this machine, or CONTAINER/PATH in export storage.

        parts: the files that no manifest names are parts of one run. force: one that ends before what it would replace
        is meant to. Raises RequestError where there is nothing, or the files can't be imported together.
        """
        plans = []
        lone: list[tuple[ExportSource, SourceFile]] = []
        for source in [source_at(path, self.reader, self.metric, self.storage) for path in paths]:
            plan, listed = self._of_manifests(source)
            plans.append(plan)
            lone += [(source, file) for file in source.others(listed)]
        plans.append(self._of_files(lone, parts, force))
        return Plan(
            tuple(run for plan in plans for run in plan.runs),
            tuple(fault for plan in plans for fault in plan.faults),
            tuple(place for plan in plans for place in plan.without_rows),
        )

    def rehearse(self, plan: Plan, show: Shown) -> Iterator[Result]:
        """What would become of each run, if it came alone. Nothing is kept."""
        for planned in plan.runs:
            with self.ledger.rehearsing() as ledger:
                found, record, _ = self._registered(ledger, planned.new)
            fault = None
            if record.state is RunState.IMPORTING and found is not Found.COPY:
                found, (record, fault) = Found.NEW, self._rehearsed(planned, show)
            else:
                show(planned.place, planned.size)
            # Its number is nobody's.
            record = replace(record, run=planned.new.run) if found is Found.NEW else record
            yield Result(planned.place, found, record, fault)

    def _rehearsed(self, planned: Planned, show: Shown) -> tuple[RunRecord, str | None]:
        """What would become of a run that is read, or why it could not be imported."""
        sums, odd = [], list[str]()
        fault = None
        try:
            for part in planned.new.parts:
                of_part, said = self._staged(planned, part, show)
                sums.append(of_part)
                odd += said
        except NeverError as error:
            fault = error.reason
        with self.ledger.rehearsing() as ledger:
            record = self._registered(ledger, planned.new)[1]
            if fault is None:
                for number, each in enumerate([added(sums), *(Sums() for _ in sums[1:])]):
                    ledger.stage(record.run, number, each, each.rows, () if number else odd, self.clock())
                try:
                    record = ledger.make(record.id, self.metric, self.closed_on, self.clock()).record
                except (LaterError, NeverError) as error:
                    fault = error.reason
        return record, fault

    def carry_out(self, plan: Plan, show: Shown) -> Iterator[Result]:
        """Imports the runs. Those that are known, and did not fail, are left as they are."""
        open_runs: dict[int, Planned] = {}
        of_functions: set[int] = set()
        try:
            for planned in plan.runs:
                found, record, is_begun = self._registered(self.ledger, planned.new)
                if record.container and not is_begun:
                    of_functions.add(record.id)
                if record.state is RunState.IMPORTING and found is not Found.COPY:
                    open_runs[record.id] = _numbered(planned, record.id)
                else:
                    show(planned.place, planned.size)
                    yield Result(planned.place, found, record)
            for run_id, planned in list(open_runs.items()):
                fault = self._stage(planned, show)
                if fault:
                    yield self._failed(run_id, open_runs.pop(run_id), fault)
            yield from self._made(open_runs)
        except BaseException:
            # Nobody would go on with them, but for those that were being imported before.
            with suppress(LaterError):
                for run_id in open_runs.keys() - of_functions:
                    self.ledger.fail(open_runs[run_id].new.run, BROKEN_OFF, self.clock())
            raise

    # --- what there is -----------------------------------------------------------------------------------------------

    def _of_manifests(self, source: ExportSource) -> tuple[Plan, set[str]]:
        """The runs that manifests tell of; and all the places of files that they list."""
        found = list(source.runs())
        faults = tuple((each.place, each.fault) for each in found if each.fault is not None)
        runs = tuple(
            Planned(each.place, each.new, source, each.files, True) for each in found if each.new and not each.fault
        )
        return Plan(runs, faults), {file.place for each in found for file in each.files}

    # --- files without a manifest ------------------------------------------------------------------------------------

    def _of_files(self, lone: Sequence[tuple[ExportSource, SourceFile]], parts: bool, force: bool) -> Plan:
        """A run for each file and billing account in it; with `parts`, one for each billing account."""
        runs: dict[tuple[str, str], Planned] = {}
        speaking, faults, without_rows = [], [], []
        for source, file in lone:
            try:
                sums = self._sums_by_export(self._read(source, file, RunPart(0, file.place, file.blob)))
            except NeverError as error:
                faults.append((file.place, error.reason.removeprefix(f"{file.place}: ")))
                continue
            if not sums:
                without_rows.append(file.place)
            for export, of_export in sums.items():
                key = (export.key, "" if parts else file.place)
                runs[key] = self._with_file(runs.get(key), export, source, file)
                speaking.append(FileRun(file.place, export, last_days(placed(runs[key].new.run, of_export).charges)))
        if parts and faults:
            raise RequestError("\n  ".join(["nothing was imported:", *(f"{place}: {why}" for place, why in faults)]))
        stored = self.ledger.last_days({each.export.key for each in speaking}) if speaking else {}
        refused = refusals(self._not_known(speaking, runs), stored, parts=parts, force=force)
        if refused:
            raise RequestError("\n  ".join(["nothing was imported:", *refused]))
        return Plan(tuple(runs.values()), tuple(faults), tuple(without_rows))

    def _not_known(self, speaking: Iterable[FileRun], runs: Mapping[tuple[str, str], Planned]) -> list[FileRun]:
        """Without files that were imported before: they change nothing, whatever has come after them."""
        places: dict[str, set[str]] = {}
        for planned in runs.values():
            export = planned.new.run.export.key
            before = (each.run for each in self.ledger.runs(export) if each.state is not RunState.WAITING)
            if what_is(planned.new.run, before) is not Found.KNOWN:
                places.setdefault(export, set()).update(file.place for file in planned.files)
        return [each for each in speaking if each.name in places.get(each.export.key, ())]

    def _with_file(self, before: Planned | None, export: Export, source: ExportSource, file: SourceFile) -> Planned:
        files = (*before.files, file) if before else (file,)
        new_parts = tuple(RunPart(number, each.place, each.blob) for number, each in enumerate(files))
        run = ExportRun(
            export=export,
            run_id="",
            place=files[0].place,
            submitted_at=self.clock(),
            modified_at=max(each.modified_at for each in files),
            found=0,
            days=None,
            content=content_of("", [each.blob.etag for each in files]),
        )
        return Planned(files[0].place, NewRun(run, None, "", new_parts), source, files, False)

    def _sums_by_export(self, file: ExportFile) -> dict[Export, Sums]:
        """What a file comes to, by its billing accounts, each with its export `file`."""
        rows: dict[str, tuple[Export, list[Row]]] = {}
        for provider, of_provider in file.rows.items():
            for row in of_provider:
                export = file_export(provider, row.billing_account_id, self.metric, file.is_focus)
                rows.setdefault(export.key, (export, []))[1].append(row)
        try:
            return {export: sums_of(of_export, export) for export, of_export in rows.values()}
        except MoneyError as error:
            raise NeverError(f"{error}.") from error

    # --- importing ---------------------------------------------------------------------------------------------------

    def _registered(self, ledger: ExportLedger, new: NewRun) -> tuple[Found, RunRecord, bool]:
        """What a run is, and whether its import begins here.

        One that failed, or was read as the other cost, is read again: whoever asks has a reason to.
        """
        found, record = ledger.register(new, self.clock())
        is_wanted = record.state is RunState.FAILED or record.is_read_otherwise(self.metric)
        if found is Found.KNOWN and is_wanted:
            return *ledger.register(new, self.clock(), again=True), True
        return found, record, found is Found.NEW

    def _stage(self, planned: Planned, show: Shown) -> str | None:
        """Has the ledger keep the sums of its parts; why that can't be."""
        for part in self.ledger.parts(planned.new.run.found):
            if part.is_staged:
                show(planned.place, part.blob.size)
                continue
            try:
                sums, odd = self._staged(planned, part, show)
                self.ledger.stage(planned.new.run, part.number, sums, sums.rows, odd, self.clock())
            except NeverError as error:
                return error.reason
        return None

    def _staged(self, planned: Planned, part: RunPart, show: Shown) -> tuple[Sums, tuple[str, ...]]:
        """What a part comes to, and what a person should know of it. Raises NeverError."""
        show(planned.place, part.blob.size)
        if is_of_nothing(part):
            return Sums(), ()
        file = self._read(planned.source, planned.files[part.number], part)
        export = planned.new.run.export
        sums = sums_of_part(part, file, export) if planned.whole else self._sums_by_export(file)[export]
        return sums, tuple(f"{part.name}: {each}" for each in file.odd)

    def _read(self, source: ExportSource, file: SourceFile, part: RunPart) -> ExportFile:
        """The last file is remembered: most imports are of one, which is looked at before."""
        if self._last_read is None or self._last_read[0] != file:
            with source.opened(file) as path:
                read = read_part(self.reader, part, path, self.metric, self.clock().date())
            self._last_read = (file, read)
        return self._last_read[1]

    def _made(self, open_runs: dict[int, Planned]) -> Iterator[Result]:
        """Makes charges of runs whose parts are all there, and takes each out. One may have to wait for another."""
        waiting: dict[int, str] = {}
        while open_runs.keys() - waiting.keys():
            for run_id, planned in list(open_runs.items()):
                try:
                    imported = self.ledger.make(run_id, self.metric, self.closed_on, self.clock())
                except LaterError as error:
                    waiting[run_id] = error.reason
                    continue
                except NeverError as error:
                    yield self._failed(run_id, open_runs.pop(run_id), error.reason)
                    continue
                del open_runs[run_id]
                waiting = {}
                unasked = self._follow_up(imported)
                yield Result(planned.place, Found.NEW, imported.record, None, imported.due_projects, unasked)
        for run_id, reason in waiting.items():
            yield Result(open_runs.pop(run_id).place, Found.NEW, self._known(run_id), reason)

    def _follow_up(self, imported: Imported) -> str | None:
        """Asks for the checks, and tells operators what they are told of any run; why that can't be."""
        checks = notifications(imported.due_projects, Envelope())
        try:
            self.chain.send([*outgoing(checks), *self.telling.known(imported.record.run.export, imported.told)])
        except (LaterError, NeverError) as error:
            return error.reason
        return None

    def _failed(self, run_id: int, planned: Planned, reason: str) -> Result:
        self.ledger.fail(planned.new.run, reason, self.clock())
        return Result(planned.place, Found.NEW, self._known(run_id), reason)

    def _known(self, run_id: int) -> RunRecord:
        record = self.ledger.get(run_id)
        if record is None:
            raise NeverError(f"run {run_id} is gone from the database")
        return record


def _numbered(planned: Planned, run_id: int) -> Planned:
    """The same with the number that its run has in the history."""
    return replace(planned, new=replace(planned.new, run=replace(planned.new.run, found=run_id)))
