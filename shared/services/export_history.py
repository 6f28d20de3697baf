"""The history of cost exports, for people: what was imported, who feeds what, and changing that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.charges import CostMetric
from shared.domain.exports.feeding import QUERY, Fed, Order
from shared.domain.exports.runs import Export, RunState, told_apart
from shared.domain.periods import Period, month_of
from shared.domain.projects import sub_account_key
from shared.domain.texts import in_shell, named, readable
from shared.messages import GUID
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccountLedger
from shared.ports.export_runs import Changes, ExportLedger, Feeding, RunPart, RunRecord
from shared.ports.projects import ProjectLedger
from shared.ports.queues import MessageSender
from shared.services.checking import ask_for_checks
from shared.services.errors import RequestError, UnknownError

GOES_ON = (RunState.WAITING, RunState.IMPORTING)


@dataclass(frozen=True, slots=True)
class Handover:
    """What is fed by another source now, or would be. fed_by: by whose name now, and from then on."""

    fed: Fed
    fed_by: str
    then_by: str


@dataclass(frozen=True, slots=True)
class Switch:
    """What an order changes. source: its name. projects: the acronyms of those that are checked.

    unasked: why their check could not be asked for now; the watchdog does it later.
    """

    order: Order
    source: str
    handovers: tuple[Handover, ...]
    changes: Changes
    projects: tuple[str, ...]
    unasked: str | None = None


@dataclass(frozen=True, slots=True)
class LatestImport:
    """The run that was imported last. name: of its cloud account, or of its export, never an id. rows: in its files."""

    name: str
    days: Period
    rows: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """The history in a few numbers: runs of exports. completed: those of which nothing is left to do."""

    completed: int
    failed: int
    processing: int
    latest: LatestImport | None

    @property
    def total(self) -> int:
        """All of them."""
        return self.completed + self.failed + self.processing


@dataclass(frozen=True, slots=True)
class ExportHistory:
    """Every method raises LaterError where the database is away."""

    ledger: ExportLedger
    projects: ProjectLedger
    cloud_accounts: CloudAccountLedger
    queues: MessageSender
    clock: Clock
    metric: CostMetric

    def listed(self, export: str = "", states: Collection[RunState] = (), limit: int | None = None) -> list[RunRecord]:
        """Runs, the latest found first; of an export, by its name or key. Raises RequestError for one unknown."""
        if export:
            self._named(export)
        return [self._as_read(each) for each in self.ledger.runs(export or None, states, limit)]

    def shown(self, run_id: int) -> tuple[RunRecord, list[RunPart]]:
        """A run, with its parts. Raises RequestError where there is none of this number."""
        record = self.ledger.get(run_id)
        if record is None:
            raise UnknownError(f"there is no run {run_id}; `exports list` shows those that there are")
        return self._as_read(record), self.ledger.parts(run_id)

    def summary(self) -> Summary:
        """What became of all runs, and the last one that was imported."""
        counts = self.ledger.counted()
        failed, goes_on = (sum(counts.get(each, 0) for each in states) for states in ((RunState.FAILED,), GOES_ON))
        return Summary(sum(counts.values()) - failed - goes_on, failed, goes_on, self._latest())

    def _latest(self) -> LatestImport | None:
        for record in self.ledger.runs(states=[RunState.IMPORTED], limit=1):
            run, months = record.run, record.periods
            days = run.days or Period(months[0], month_of(months[-1]).end) if months else run.days
            account = self.cloud_accounts.get(record.cloud_account_id) if record.cloud_account_id else None
            name = account.name if account and not GUID.search(account.name) else run.export.name
            at = record.finished_at or record.found_at
            return LatestImport(name, days or month_of(at.date().replace(day=1)), record.rows or 0, at)
        return None

    def _as_read(self, record: RunRecord) -> RunRecord:
        """A run that was read before COST_METRIC was changed says so: its rows are as they were."""
        if not record.is_read_otherwise(self.metric):
            return record
        again = f"`exports import {in_shell(record.run.place)}` reads it again, where its files are there still"
        said = f"read as {record.metric}, and COST_METRIC is {self.metric}: {again}"
        return replace(record, reason=". ".join(filter(None, [said, record.reason])))

    def acronyms(self, project_ids: Iterable[int]) -> tuple[str, ...]:
        """What people call these projects."""
        known = {entry.project.id: entry.project.acronym for entry in self.projects.entries()}
        return tuple(known.get(each, str(each)) for each in project_ids)

    def called(self) -> Mapping[str, str]:
        """What to call each export, by its key, so that it is told from the others (`runs.told_apart`)."""
        return told_apart(self.ledger.exports())

    def feeds(self) -> list[Feeding]:
        """Who feeds what, by sub-account."""
        return self.ledger.feeds()

    def order(self, source: str, sub_account: str = "") -> Order:
        """The order to have an export (by name or key), or the query, feed a sub-account, or all that it covers.

        Raises RequestError where the name is that of none or of several, or the sub-account is unknown.
        """
        export = None if source.strip().lower() == QUERY else self._one(source, sub_account)
        fed = self._fed(sub_account, export) if sub_account else None
        return Order(export.key if export else QUERY, self.clock(), fed)

    def look(self, order: Order) -> Switch:
        """What an order would change; nothing is changed."""
        return self._carried_out(order, "", rehearse=True)

    def use(self, order: Order, by: str) -> Switch:
        """Carries an order out, and asks for the check of the projects whose figures change.

        It is of now, however long somebody has thought about it: of two the one that was carried out later counts.
        """
        order = replace(order, at=self.clock())
        of = f" for {order.sub_account.sub_account}" if order.sub_account else ""
        source = self.called().get(order.source, QUERY)
        with noted(Change(Action.EXPORT_USED, f"{source}{of}", order.at, by=by)):
            return self._carried_out(order, by)

    def _carried_out(self, order: Order, by: str, *, rehearse: bool = False) -> Switch:
        called = self.called()
        before = {each.fed: called.get(each.source, each.name) for each in self.ledger.feeds()}
        ordered = self.ledger.use(order, by, rehearse=rehearse)
        source = called.get(order.source, QUERY)
        handovers = tuple(Handover(fed, before.get(fed, ""), source) for fed in ordered.fed)
        unasked = None if rehearse else ask_for_checks(self.queues, ordered.due_projects)
        return Switch(order, source, handovers, ordered.changes, self.acronyms(ordered.due_projects), unasked)

    # --- names -------------------------------------------------------------------------------------------------------

    def _one(self, text: str, sub_account: str) -> Export:
        """The one that has this key or name; of several the only one that has delivered the sub-account."""
        found = self._named(text)
        if len(found) > 1 and sub_account:
            ids = {sub_account_key(export.provider, sub_account.strip()) for export in found}
            keys = self.ledger.delivering(ids)
            found = [export for export in found if export.key in keys] or found
        if len(found) > 1:
            keys = "\n  ".join(export.key for export in found)
            raise RequestError(f"{len(found)} exports are called {readable(text)}; say which, by its key:\n  {keys}")
        return found[0]

    def _named(self, text: str) -> Sequence[Export]:
        """Those of this key, else of this name, in any case. Raises RequestError where there is none."""
        wanted, every = text.strip().casefold(), self.ledger.exports()
        found = [each for each in every if each.key.casefold() == wanted] or [
            each for each in every if each.name.casefold() == wanted
        ]
        if not found:
            known = named(sorted({each.name for each in every}, key=str.casefold))
            raise RequestError(f"there is no export {readable(text)}" + (f"; there are {known}" if known else ""))
        return found

    def _fed(self, text: str, export: Export | None) -> Fed:
        """A sub-account that something feeds, or that an export has delivered."""
        known = {each.fed.whole for each in self.ledger.feeds()}
        found = [
            fed
            for fed in sorted(known, key=lambda each: each[:2])
            if fed.sub_account == sub_account_key(fed.provider, text.strip())
        ]
        if export is not None and len(found) > 1:
            found = [fed for fed in found if fed.provider == export.provider] or found
        if not found:
            raise RequestError(f"no export has delivered {readable(text)}; `exports feeds` shows what they have")
        if len(found) > 1:
            providers = named([fed.provider for fed in found])
            raise RequestError(f"{readable(text)} is a sub-account of {providers}; name the export instead")
        return found[0]
