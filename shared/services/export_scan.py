"""A look for new runs of cost exports, by hand, and what becomes of those that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from shared.domain.exports.runs import RunState
from shared.messages import ManifestMessage, Queue
from shared.pipeline.chain import Chain
from shared.pipeline.exports.places import Place, why_unread
from shared.pipeline.stage import Outgoing
from shared.ports.blobs import BlobStore
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import ExportLedger, RunRecord
from shared.ports.queues import MessageSender

# Runs that wait for their parts may wait for long: somebody else writes those.
ENDED = frozenset(RunState) - {RunState.IMPORTING}


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a look found: manifests, each by its container and name. last: the number of the last run before it.

    waiting: the numbers of those that waited for parts then; they keep them. refused: the places that can't be read,
    and why.
    """

    manifests: tuple[str, ...]
    last: int
    waiting: frozenset[int] = frozenset()
    refused: tuple[str, ...] = ()

    def has(self, record: RunRecord) -> bool:
        """Whether a run is of what was found, as it is now."""
        is_new = record.id > self.last or (record.id in self.waiting and record.state is not RunState.WAITING)
        return is_new and record.run.place in self.manifests


@dataclass(frozen=True, slots=True)
class Imports:
    """How far what was found is. ended: by manifest, its run; of the others nothing is known yet, or they are read.

    is_quiet: no run is being imported, and no message about one waits: what has not ended is known, or put off.
    """

    ended: tuple[RunRecord, ...]
    total: int
    is_quiet: bool


@dataclass(frozen=True, slots=True)
class ExportScan:
    """scan: what CostExportScanner does. places: where cloud accounts have their exports.

    Every method raises LaterError where the database or the queues are away.
    """

    scan: Callable[[], Iterable[Outgoing]]
    chain: Chain
    queues: MessageSender
    ledger: ExportLedger
    blobs: BlobStore
    places: Callable[[], Iterable[Place]]

    def look(self) -> Scanned:
        """Looks for runs that are new, and asks for their import."""
        before = self.ledger.runs(limit=1)
        waiting = frozenset(each.id for each in self.ledger.runs(states=[RunState.WAITING]))
        found: list[str] = []
        self.chain.send(self._noting(found))
        last = before[0].id if before else 0
        return Scanned(tuple(dict.fromkeys(found)), last, waiting, tuple(self._refused()))

    def _refused(self) -> Iterator[str]:
        """The places that can't be read now. The hourly look tells each once a day."""
        for place in self.places():
            if place.is_asked and (reason := why_unread(self.blobs, place)):
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
        return Imports(ended, len(scanned.manifests), is_quiet)

    def next_message(self) -> str | None:
        """What tells the next message about exports from others; None where none waits, or that can't be seen."""
        try:
            return self.queues.next_in(Queue.EXPORT)
        except (LaterError, NeverError):
            return None
