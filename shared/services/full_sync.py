"""Reading all costs now: new cost exports, and a run of all that is asked for; and how far that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shared.domain.exports.runs import RunState
from shared.ports.clock import Clock
from shared.ports.runs import RunState as NightState
from shared.ports.runs import RunTrigger, RunView
from shared.services.errors import RequestError
from shared.services.export_scan import ExportScan, Imports, Scanned
from shared.services.runs import RunService

# A message is in nobody's sight while it is worked on, and its run is not there before: so many looks in a row have to
# find nothing going on.
QUIET_LOOKS = 10
# What is put off is tried again after half a minute, then after twice as long, and so on: a few times are waited for.
PUT_OFF_LOOKS = 600
LOOK_EVERY = timedelta(seconds=0.5)
# What runs for longer than that has got stuck, and another sync begins a run of its own.
JOINED_FOR = timedelta(hours=24)
MOST_RUNS = 20


@dataclass(slots=True)
class Quiet:
    """Looks at imports: whether they are through, or nothing of them has gone on for some looks in a row."""

    looks: int = 0

    def is_enough(self, imports: Imports) -> bool:
        """Whether this look, `LOOK_EVERY` after the last, is the last one that is needed."""
        self.looks = self.looks + 1 if imports.is_quiet else 0
        return imports.are_through or self.looks >= (PUT_OFF_LOOKS if imports.unheard else QUIET_LOOKS)


@dataclass(frozen=True, slots=True)
class Begun:
    """A sync that goes on. scanned: None where there is no storage of exports. run: a key. queued: how many messages
    read for it; 0 where there is nothing to read. joined: whether the run was under way already.
    """

    scanned: Scanned | None
    run: str
    queued: int
    joined: bool = False


@dataclass(slots=True)
class Progress:
    """How far a sync is. is_through: whether all that it has found and asked for has ended."""

    begun: Begun
    view: RunView | None = None
    imports: Imports | None = None
    is_through: bool = False
    quiet: Quiet = field(default_factory=Quiet)

    @property
    def faults(self) -> list[str]:
        """What could not be read, in words."""
        refused = self.begun.scanned.refused if self.begun.scanned else ()
        reasons = [f"{scope}: {reason}" for scope, reason in self.view.errors] if self.view else []
        failed = failed_run(self.view)
        return [*refused, *failed_imports(self.imports), *failed, *(reasons if failed else ())]


@dataclass(frozen=True, slots=True)
class SyncService:
    """scan: None where it is not set where exports lie. Raises LaterError where the database or the queues are away."""

    runs: RunService
    scan: Callable[[], ExportScan] | None
    clock: Clock

    def begin(self) -> Begun:
        """Looks for new runs of exports, and starts a run of the rest; one that goes on already is joined."""
        scanned = self.scan().look() if self.scan else None
        going_on = self._going_on()
        if going_on is not None:
            return Begun(scanned, going_on.key, sum(going_on.scopes.values()), joined=True)
        return Begun(scanned, *self.runs.start())

    def _going_on(self) -> RunView | None:
        """A run of everything, by hand, that has not ended."""
        since, all_of_it = self.clock() - JOINED_FOR, self.runs.everything()
        for view in self.runs.runs.recent_runs(MOST_RUNS):
            is_by_hand = view.trigger is RunTrigger.MANUAL and view.started_at >= since
            if is_by_hand and view.state is NightState.RUNNING and sum(view.scopes.values()) >= all_of_it > 0:
                return view
        return None

    def look(self, progress: Progress) -> Progress:
        """How far it is now."""
        begun, imports = progress.begun, progress.imports
        view = self.runs.get(begun.run) if begun.queued else None
        are_imported = begun.scanned is None or self.scan is None
        if not are_imported and begun.scanned is not None and self.scan is not None:
            imports = self.scan().imports(begun.scanned)
            are_imported = progress.quiet.is_enough(imports)
        is_run = not begun.queued or (view is not None and view.state is not NightState.RUNNING)
        if begun.queued and view is None:
            raise RequestError(f"run {begun.run} is gone from the database")
        return replace(progress, view=view, imports=imports, is_through=is_run and are_imported)


def failed_imports(imports: Imports | None) -> list[str]:
    """What of exports could not be read, in words."""
    if imports is None:
        return []
    bad = (RunState.FAILED, RunState.WAITING)
    ended = [f"{record.run.place}: {record.reason}" for record in imports.ended if record.state in bad]
    return [*ended, *imports.failed, *(f"{each}: it is put off, and tried again" for each in imports.unheard)]


def failed_run(view: RunView | None) -> list[str]:
    """That a run has failed, in words."""
    return [f"run {view.key} has failed"] if view and view.state is NightState.FAILED else []


def in_words(progress: Progress) -> Sequence[str]:
    """What a sync has come to so far, line by line."""
    begun, lines = progress.begun, list[str]()
    if begun.scanned is not None:
        found = len(begun.scanned.manifests)
        lines.append(f"Exports: {_count(found, 'new run')} found." if found else "Exports: nothing new.")
    if progress.imports is not None:
        lines += [
            f"{record.run.place}: {record.state}, {_count(record.rows or 0, 'row')}"
            for record in progress.imports.ended
        ]
    goes_on = ", which went on already" if begun.joined else ""
    lines.append(f"Run {begun.run}{goes_on}: {_count(begun.queued, 'cloud account')} to read.")
    if progress.view is not None and progress.view.state is not NightState.RUNNING:
        done = progress.view.scopes.get("done", 0)
        lines.append(f"Run {begun.run} has ended: {done:,} of {begun.queued:,} read.")
    return lines


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
