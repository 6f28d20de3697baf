"""The history of cost exports: which runs were found, and what became of them and of their costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from shared.domain.charges import CostMetric
from shared.domain.exports.feeding import Fed, Order
from shared.domain.exports.runs import Blob, Dataset, Export, ExportRun, Found, RunState
from shared.domain.exports.sums import Sums
from shared.domain.periods import Period
from shared.ports.azure import AZURE

CLOSED_ON: Mapping[str, int] = {AZURE: 5, "": 10}
"""By provider, the day of the next month on which it calls a month closed; "" for the others."""


def closed_on(provider: str) -> int:
    """The day of the next month on which a provider calls a month closed."""
    return CLOSED_ON.get(provider, CLOSED_ON[""])


@dataclass(frozen=True, slots=True)
class RunPart:
    """A part of a run. number: from 0. blob: as it was when the run was found. rows: by the manifest, None where it
    does not say. is_staged: whether its sums wait to be made charges.
    """

    number: int
    name: str
    blob: Blob
    rows: int | None = None
    is_staged: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What importing changed: rows of charges, and the days that hold them (None where none changed)."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    days: Period | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run in the history.

    run: `found` is its id. container: where its parts lie; empty for files. parts, rows, size (bytes): None where they
    are not known (yet). totals: its exact sum by currency; left_out: that of its charges for which another run has to
    speak; periods: the billing periods in its rows, oldest first. All three are known once its charges are made.
    reason: why it waits, has failed or is not used, or what a person should know; a sentence. staged: how many parts
    are read. metric: which cost its rows were read as; None where that is not known, or newer runs have said all anew.
    """

    run: ExportRun
    cloud_account_id: int | None
    container: str
    state: RunState
    found_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    parts: int | None = None
    staged: int = 0
    rows: int | None = None
    size: int | None = None
    totals: Mapping[str, Decimal] = field(default_factory=dict)
    left_out: Mapping[str, Decimal] = field(default_factory=dict)
    periods: tuple[date, ...] = ()
    reason: str | None = None
    changes: Changes = Changes()
    metric: CostMetric | None = None

    def is_read_otherwise(self, metric: CostMetric) -> bool:
        """Whether its files hold the cost that is asked for, and it was read as the other one."""
        return self.run.export.dataset is Dataset.FOCUS and self.metric not in (None, metric)

    @property
    def id(self) -> int:
        """Its number in the history, which grows with each run that is found."""
        return self.run.found


@dataclass(frozen=True, slots=True)
class NewRun:
    """What was found: a run, and what it consists of. Its `found` is not known yet (0).

    waiting: why it can't be read yet; None where all parts are there. unread: what becomes of one that needs not be
    read, and why (`feeding.unread`); None where it has to be.
    """

    run: ExportRun
    cloud_account_id: int | None
    container: str
    parts: tuple[RunPart, ...]
    waiting: str | None = None
    unread: tuple[RunState, str] | None = None


@dataclass(frozen=True, slots=True)
class Feeding:
    """Who feeds something, for people. name: of an export, or `query`. days: of its charges so far."""

    fed: Fed
    source: str
    name: str
    days: Period | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What making a run's charges came to. due_projects: those that are to be checked; told: what operators are told
    once, in sentences.
    """

    record: RunRecord
    due_projects: tuple[int, ...] = ()
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ordered:
    """What an order came to. fed: what is fed otherwise now. due_projects: those that are to be checked."""

    fed: tuple[Fed, ...] = ()
    changes: Changes = Changes()
    due_projects: tuple[int, ...] = ()


class ExportLedger(Protocol):
    """Raises LaterError where the database is away, and NeverError with a sentence for what can't be stored."""

    # --- the history ---

    def register(self, found: NewRun, now: datetime, *, again: bool = False) -> tuple[Found, RunRecord]:
        """What a run that was found is (`runs.what_is`), and the run; one transaction.

        A new one is importing, or as `waiting` and `unread` say; one that waited at the same place becomes it. Known:
        the run as it is, which may be importing still. A copy: the run of which it is. again: a known one whose parts
        are all there is read again from its first part, whatever became of it.
        """
        ...

    def get(self, run_id: int) -> RunRecord | None:
        """A run by its number."""
        ...

    def runs(
        self,
        export: str | None = None,
        states: Collection[RunState] = (),
        limit: int | None = None,
        place: str | None = None,
    ) -> list[RunRecord]:
        """Runs, the latest found first; of an export (by key, or by name in any case), in these states.

        place: only those of this manifest.
        """
        ...

    def counted(self) -> Mapping[RunState, int]:
        """How many runs are in each state; of those without any nothing is said."""
        ...

    def contents(self, states: Collection[RunState] = ()) -> set[str]:
        """What tells the contents of runs apart (`runs.content_of`), of those in these states, or of all."""
        ...

    def exports(self) -> list[Export]:
        """Every export that was found, by name."""
        ...

    def parts(self, run_id: int) -> list[RunPart]:
        """The parts of a run, in order."""
        ...

    # These three change a run as it was read. One that was found anew since then (`register`), with other content
    # under its number, is another: nothing becomes of it.

    def wait(self, this: ExportRun, reason: str) -> None:
        """A part has changed or vanished meanwhile: the run waits, what is staged of it is forgotten."""
        ...

    def fail(self, this: ExportRun, reason: str, now: datetime) -> None:
        """It can't be imported; what is staged of it is forgotten, and what it has changed stays."""
        ...

    def stage(self, this: ExportRun, number: int, sums: Sums, rows: int, odd: Sequence[str], now: datetime) -> int:
        """Keeps what a part comes to; how many parts are still missing. Again for a part: nothing more.

        Of a run that is no longer importing nothing is kept, and -1 is returned.
        """
        ...

    # --- what the parts make ---

    def make(self, run_id: int, metric: CostMetric, closed_on: Mapping[str, int], now: datetime) -> Imported:
        """Makes charges of a run whose parts are all staged, in a transaction for each sub-account.

        closed_on: CLOSED_ON. The costs of the active projects that own some of what it feeds were read at the run's
        time (costs_read_at, which never goes back); those of which something changed are due for a check. Raises
        LaterError where a run has to be made first that was found with this, the first of its export, and feeds what
        both hold (`feeding.who_feeds`). Whoever breaks off goes on at the next call; two at once change nothing twice.
        """
        ...

    def rehearsing(self) -> AbstractContextManager[ExportLedger]:
        """The same ledger as long as it lasts: nothing of what is done there is kept, and others wait for its end."""
        ...

    # --- who feeds ---

    def feeds(self) -> list[Feeding]:
        """Who feeds what, of all that exports feed or have delivered, by sub-account."""
        ...

    def delivering(self, sub_accounts: Collection[str]) -> Collection[str]:
        """The keys of the exports that have delivered one of these, by their ids, whether it counts or not."""
        ...

    def use(self, order: Order, by: str, *, rehearse: bool = False) -> Ordered:
        """Carries an order out in one transaction: what is fed otherwise now, and the projects that are to be checked.

        What the query feeds from now on is due to be read as if it never had been. rehearse: only says what would
        change; the transaction is rolled back.
        """
        ...

    # --- files ---

    def last_days(self, exports: Collection[str]) -> Mapping[tuple[str, date], date]:
        """The last day of what exports (by key) have delivered, by key and billing period, as `files.last_days`."""
        ...

    # --- what stands still ---

    def silent_exports(self, since: datetime) -> list[tuple[Export, datetime]]:
        """The exports of which no run was found since then that has all its parts, and when the last one was.

        Of those that feed something, where a cloud account looks for more; and those of which all runs wait for parts,
        with when the first of these was found.
        """
        ...
