"""What counts of a sub-account once something was delivered, or others feed it: charges, coverage, projects due."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, or_, true

from shared.adapters.database.chunks import kept_or, update_in
from shared.adapters.database.export_charges import (
    added_up,
    count,
    forget_meters,
    is_something_read,
    months_delivered_in,
    scope_ids_of,
    scopes_in,
)
from shared.adapters.database.export_delivering import Delivering
from shared.adapters.database.export_state import (
    State,
    forget_group,
    forget_known,
    read_anew,
    write_feeds,
    write_held,
    write_known,
)
from shared.adapters.database.owners import owners_of, owners_within
from shared.adapters.database.scope_rows import Scopes
from shared.adapters.database.tables import projects
from shared.domain.charges import CostMetric
from shared.domain.coverage import Coverage
from shared.domain.exports.counting import Sources, is_of_exports
from shared.domain.exports.feeding import QUERY, Fed, moved
from shared.domain.exports.runs import ExportRun
from shared.domain.periods import Period
from shared.ports.cloud_accounts import ConnectionType
from shared.ports.export_runs import Changes


@dataclass(frozen=True)
class Counting:
    """Works out what counts of a sub-account, which is locked, from what was known of it before and is now.

    metric: whose deliveries count; None for any.
    """

    connection: Connection
    scopes: Scopes
    before: State
    after: State
    metric: CostMetric | None = None

    def count(self, its: Delivering | None = None) -> tuple[Changes, list[int]]:
        """Makes charges and coverage what they are now; what changed, and the scopes of what did, or was read.

        its: what a run has delivered meanwhile.
        """
        write_feeds(self.connection, self.before, self.after)
        for fed in self.before.feeds.keys() - self.after.feeds.keys():
            if fed.group_key is not None:
                forget_group(self.connection, fed)
        found = [self._count(fed, its) for fed in self.after.feeds]
        return added_up(changes for changes, _ in found), [each for _, ids in found for each in ids]

    def _count(self, fed: Fed, its: Delivering | None) -> tuple[Changes, list[int]]:
        sources, changes = self.after.sources(self.metric), []
        its_scopes = scopes_in(fed, self.after.feeds)
        held: dict[date, Collection[str]] = {}
        known = {} if its is None else {month: each for (of, month), each in its.read.items() if of == fed}
        touched = set[date]() if its is None else its.touched
        is_other = fed in moved(self.before.feeds, self.after.feeds)
        if self._is_fed_otherwise:
            touched = {*touched, *sources.months, *months_delivered_in(self.connection, its_scopes)}
        for month in sorted(touched):
            of_month = sources.of(fed, month)
            if self._stays_read(fed, month, sources):
                known[month] = self.before.known[fed.whole][month]
            is_known = any(each in of_month for each in sources.delivered(fed, month))
            # While the query feeds, of what nobody delivers nothing is worked out.
            is_new = self._is_new(fed, month, of_month) or (is_other and not is_known)
            is_delivered = its is not None and its.run.export.key in of_month and month in its.touched
            if not is_of_exports(of_month) or not (is_new or is_delivered):
                continue
            if not (is_known or self._is_held(fed, month)) and is_something_read(self.connection, its_scopes, month):
                continue
            changes.append(count(self.connection, self.after, its_scopes, month, of_month))
            if is_new:
                held[month] = of_month
                forget_meters(self.connection, its_scopes, month)
            if is_known and (after := self._known(fed, month, of_month, its, known.get(month), is_new)):
                known[month] = after
        forget_known(self.connection, fed, self._known_of_whole(fed))
        read_anew(self.connection, fed, self._left_to_query(fed))
        write_held(self.connection, self.after, fed, held)
        write_known(self.connection, fed, {month: self._of_source(each, held) for month, each in known.items()})
        return added_up(changes), scope_ids_of(self.scopes, fed, self.after.feeds) if changes or known else []

    def _is_new(self, fed: Fed, month: date, sources: Collection[str]) -> bool:
        """Whether the month's charges were others', or those of a group were that is no longer fed by itself."""
        of_parts = any((each, month) in self.before.held for each in self._parts(fed))
        return of_parts or set(sources) != set(self.before.held.get((fed, month), ()))

    def _is_held(self, fed: Fed, month: date) -> bool:
        """Whether the charges of a month were some source's: its own, its sub-account's, or that of groups of it."""
        return any((each, month) in self.before.held for each in (fed, fed.whole, *self._parts(fed)))

    def _parts(self, fed: Fed) -> list[Fed]:
        """The groups of a sub-account that are no longer fed by themselves."""
        return [each for each in self.before.feeds.keys() - self.after.feeds.keys() if each.whole == fed]

    def _known(
        self, fed: Fed, month: date, sources: Sequence[str], its: Delivering | None, read: Coverage | None, is_new: bool
    ) -> Coverage | None:
        """What is known of a month once these say it; None where that is what it was. read: by a run that said it."""
        is_read = is_new or (its is not None and month in its.believed and read is None)
        if is_read and self._is_own(fed, month, sources):
            read = self.after.sources(self.metric).known(fed, month, sources)
        return its.in_doubt(fed, read, sources) if its is not None and read is not None else read

    def _stays_read(self, fed: Fed, month: date, sources: Sources) -> bool:
        """Whether a group keeps what the query has read of all its sub-account, the rest of which is exports' now."""
        was_read = (fed, month) not in self.before.held and QUERY in self.before.held.get((fed.whole, month), ())
        return was_read and QUERY in sources.of(fed, month) and is_of_exports(sources.of(fed.whole, month))

    def _known_of_whole(self, fed: Fed) -> list[date]:
        """The months of a group, of which others feed it or the rest, that are known as its sub-account is."""
        if fed.group_key is None or not any(map(fed.overlaps, moved(self.before.feeds, self.after.feeds))):
            return []
        sources, known = self.after.sources(self.metric), self.before.known.get(fed, {})
        exported = {month: of_month for month in known if is_of_exports(of_month := sources.of(fed, month))}
        return [month for month, of_month in exported.items() if not self._is_own(fed, month, of_month)]

    def _left_to_query(self, fed: Fed) -> list[date]:
        """The months that others have delivered of a group, which the query reads with the rest until its own do."""
        feeding = _sources(self.after)
        if fed not in moved(self.before.feeds, self.after.feeds) or QUERY not in feeding.get(fed.whole, ()):
            return []
        sources = self.after.sources(self.metric)
        held = (month for of, month in self.before.held if of == fed)
        return [month for month in held if not set(feeding[fed]).intersection(sources.of(fed, month))]

    def _is_own(self, fed: Fed, month: date, sources: Collection[str]) -> bool:
        """Whether exports of a group itself say a month of it: else it is known as its sub-account is."""
        delivered = (each for each in self.after.deliveries if each.fed == fed and each.spoken.period == month)
        return fed.group_key is None or any(each.run.export.key in sources for each in delivered)

    @property
    def _is_fed_otherwise(self) -> bool:
        """Whether another source feeds something, and not only other days."""
        return _sources(self.before) != _sources(self.after)

    def _of_source(self, known: Coverage, held: Collection[date]) -> Coverage:
        is_of_export = known.month in held or not known.source
        return replace(known, source=ConnectionType.COST_EXPORT) if is_of_export else known


def _sources(state: State) -> dict[Fed, tuple[str, ...]]:
    return {fed: tuple(each.source for each in feeds) for fed, feeds in state.feeds.items()}


def mark_due(
    connection: Connection, scope_ids: Collection[int], changed: Period | None, now: datetime, read_by: ExportRun | None
) -> list[int]:
    """The projects of these scopes are due for a check; read_by: what has read their costs of its day.

    changed: the days of charges that changed: an export may bring some of long ago, of whoever had the scopes then.
    """
    owners = sorted(set(owners_of(connection, scope_ids)))
    due_too = owners_within(connection, scope_ids, changed) if changed else ()
    due: dict[str, Any] = {"check_due_since": kept_or(projects.c.check_due_since, now)}
    every = sorted({*owners, *due_too})
    update_in(connection, projects, every, projects.c.active == true(), **due)
    if read_by is not None:
        read_at = projects.c.costs_read_at
        is_newer = or_(read_at.is_(None), read_at < read_by.at)
        update_in(connection, projects, owners, projects.c.active == true(), is_newer, costs_read_at=read_by.at)
    return every
