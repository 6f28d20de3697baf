"""A look for new runs of cost exports, by hand, and what becomes of those that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.domain.exports.runs import Found, RunState, what_is
from shared.messages import ManifestMessage, MessageError, Queue, parse_export
from shared.pipeline.chain import Chain
from shared.pipeline.exports.places import Finder, Place, place_holding, why_unread
from shared.pipeline.stage import Outgoing
from shared.ports.dead_letters import DeadLetterLedger
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import ExportLedger, RunRecord
from shared.ports.queues import MessageSender

# Runs that wait for their parts may wait for long: somebody else writes those.
ENDED = frozenset(RunState) - {RunState.IMPORTING}


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a look found: manifests, each by its container and name. last: the number of the last run before it.

    waiting: the numbers of those that waited for parts then; they keep them. letters: the dead letters of then.
    refused: the places that can't be read, and why.
    """

    manifests: tuple[str, ...]
    last: int
    waiting: frozenset[int] = frozenset()
    letters: frozenset[int] = frozenset()
    refused: tuple[str, ...] = ()

    def has(self, record: RunRecord) -> bool:
        """Whether a run is of what was found, as it is now."""
        is_new = record.id > self.last or (record.id in self.waiting and record.state is not RunState.WAITING)
        return is_new and record.run.place in self.manifests


@dataclass(frozen=True, slots=True)
class Imports:
    """How far what was found is. ended: by manifest, its run; of the others nothing is known yet, or they are read.

    is_quiet: no run is being imported, and no message about one waits: what has not ended is known, or put off.
    failed: manifests of which no run can be made, and why. unheard: once it is quiet, those that are put off.
    """

    ended: tuple[RunRecord, ...]
    total: int
    is_quiet: bool
    failed: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()

    @property
    def are_through(self) -> bool:
        """Whether each has ended."""
        return len(self.ended) + len(self.failed) >= self.total


@dataclass(frozen=True, slots=True)
class ExportScan:
    """scan: what CostExportScanner does. places: where cloud accounts have their exports.

    Every method raises LaterError where the database or the queues are away.
    """

    scan: Callable[[], Iterable[Outgoing]]
    chain: Chain
    queues: MessageSender
    ledger: ExportLedger
    letters: DeadLetterLedger
    finder: Finder
    places: Callable[[], Iterable[Place]]

    def look(self) -> Scanned:
        """Looks for runs that are new, and asks for their import."""
        before = self.ledger.runs(limit=1)
        waiting = frozenset(each.id for each in self.ledger.runs(states=[RunState.WAITING]))
        letters = frozenset(each.id for each in self.letters.letters())
        found: list[str] = []
        self.chain.send(self._noting(found))
        last = before[0].id if before else 0
        return Scanned(tuple(dict.fromkeys(found)), last, waiting, letters, tuple(self._refused()))

    def _refused(self) -> Iterator[str]:
        """The places that can't be read now. The hourly look tells each once a day."""
        for place in self.places():
            if place.is_asked and (reason := why_unread(self.finder.blobs, place)):
                yield f"{place.at}: {reason}"

    def _noting(self, found: list[str]) -> Iterator[Outgoing]:
        for each in self.scan():
            if isinstance(each.message, ManifestMessage):
                found.append(each.message.manifest)
            yield each

    def imports(self, scanned: Scanned) -> Imports:
        """How far what was found is."""
        since: dict[str, RunRecord] = {}
        for record in self.ledger.runs(limit=len(scanned.manifests) + 100):
            if scanned.has(record):
                since.setdefault(record.run.place, record)
        ended = tuple(record for record in since.values() if record.state in ENDED)
        is_quiet = len(ended) == len(since) and self.next_message() is None
        failed = self._failed(scanned)
        left = [each for each in scanned.manifests if each not in since and each not in failed] if is_quiet else []
        reasons = tuple(f"{manifest}: {reason}" for manifest, reason in failed.items())
        return Imports(ended, len(scanned.manifests), is_quiet, reasons, self._unheard(left))

    def _failed(self, scanned: Scanned) -> dict[str, str]:
        """The manifests whose messages are dead letters now, and why."""
        new = [each for each in self.letters.letters() if each.queue == Queue.EXPORT and each.id not in scanned.letters]
        return {at: each.reason for each in new if (at := _manifest_in(each.body)) in scanned.manifests}

    def _unheard(self, manifests: Sequence[str]) -> tuple[str, ...]:
        """Those of which the history has nothing yet, and of which nothing is known either: no copies."""
        try:
            return tuple(each for each in manifests if not self._is_known(each))
        except (LaterError, NeverError):
            return tuple(manifests)

    def _is_known(self, manifest: str) -> bool:
        container, _, name = manifest.partition("/")
        place = place_holding(self.places(), container, name)
        found = self.finder.run_at(place, name) if place else None
        if found is None:
            return True
        known = self.ledger.runs(found.run.export.key)
        return what_is(found.run, [each.run for each in known]) is not Found.NEW

    def next_message(self) -> str | None:
        """What tells the next message about exports from others; None where none waits, or that can't be seen."""
        try:
            return self.queues.next_in(Queue.EXPORT)
        except (LaterError, NeverError):
            return None


def _manifest_in(body: str) -> str:
    """The manifest that a message is about; empty where it is about something else."""
    with suppress(MessageError):
        message = parse_export(body)
        return message.manifest if isinstance(message, ManifestMessage) else ""
    return ""
