"""What a run delivers of one sub-account: the rows that it replaces, and for what it has spoken then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from sqlalchemy import Connection

from shared.adapters.database.export_charges import (
    days_delivered,
    deliver,
    has_delivered,
    is_something_stored,
    scopes_in,
)
from shared.adapters.database.export_rows import runs_ended
from shared.adapters.database.export_state import State, write_deliveries
from shared.adapters.database.scope_rows import Scopes
from shared.domain.coverage import Coverage, CoverageState, StoredCharge
from shared.domain.exports.counting import Delivery, runs_of
from shared.domain.exports.days import Placed, Spoken, counted, left_to
from shared.domain.exports.feeding import Fed, Feed, Feeds, by_fed, fed_by, feeds_of, told_by
from shared.domain.exports.reading import doubted, read_by, with_days, with_doubts
from shared.domain.exports.runs import ExportRun
from shared.domain.exports.sums import Sums


@dataclass
class Delivering:
    """What a run delivers of one sub-account, and is believed of it; is_read: of something that its export feeds."""

    connection: Connection
    run: ExportRun
    state: State
    scopes: Scopes
    found: Placed
    closed_on: int

    def __post_init__(self) -> None:
        self.touched: set[date] = set()
        self.believed: set[date] = set()
        self.is_read = False
        self.read: dict[tuple[Fed, date], Coverage] = {}

    def deliver(self) -> None:
        """Goes through what the export can feed, and the billing periods of which the run speaks."""
        delivered = by_fed(self.run.export, self.found.charges)
        fed = fed_by(self.state.feeds, self.run.export, delivered)
        for each in sorted(fed.keys() | delivered.keys(), key=str):
            for spoken in self.found.spoken.values():
                earlier = [(its.run, its.spoken) for its in self.state.deliveries if its.fed == each]
                left = left_to(self.run, spoken, earlier)
                if left and self._is_believed(each, left, fed.get(each), delivered.get(each, Sums())):
                    self._deliver(each, spoken, left, delivered.get(each, Sums()))
                    self.is_read |= each in fed
        self.state = self.state.with_feeds(self._with_days())

    def _with_days(self) -> Feeds:
        """Who feeds, with the days that this export has: a run may have taken back the first or last, or come late."""
        return {fed: tuple(self._with_its_days(fed, each) for each in feeds) for fed, feeds in self.state.feeds.items()}

    def _with_its_days(self, fed: Fed, feed: Feed) -> Feed:
        if feed.source != self.run.export.key or feed.days is None:
            return feed
        its = self.connection, self.state.exports[feed.source], fed
        ends = {feed.days.start, feed.days.last_day}
        return feed if all(has_delivered(*its, day) for day in ends) else replace(feed, days=days_delivered(*its))

    def _is_believed(self, each: Fed, left: Spoken, fed: Sums | None, delivered: Sums) -> bool:
        """Of what it does not feed, a run says nothing that it has no row of."""
        if fed is None:
            return bool(counted(delivered, left).charges)
        here, month, feeds = counted(fed, left), left.period, feeds_of(self.state.feeds, each)
        stored = () if here.charges else self._stored(each, left, feeds)
        known = self.state.known.get(each, {}).get(month) or Coverage(month)
        if stored and len(feeds) > 1:
            # What is in doubt is this export's, whatever the others' runs have said meanwhile.
            known = with_doubts(known, self._doubted(each, month, self.run.export.key))
        is_believed, after = read_by(self.run, left, here.some().charge_sets(), stored, known, self.closed_on)
        teller = told_by(feeds, month)
        if not is_believed or teller is None or teller.source == self.run.export.key:
            self.read[each, month] = after
        return is_believed

    def _stored(self, each: Fed, left: Spoken, feeds: Sequence[Feed]) -> Iterable[StoredCharge]:
        """What would be gone; where another feeds this, too, only what this export has delivered itself."""
        only = self.state.exports[self.run.export.key] if len(feeds) > 1 else None
        return is_something_stored(self.connection, scopes_in(each, self.state.feeds), left, only)

    def in_doubt(self, each: Fed, known: Coverage, sources: Iterable[str]) -> Coverage:
        """What is known of a month, once it is looked for runs of these exports that are still in doubt.

        It was suspect then before, too, by whichever of them.
        """
        before = self.state.known.get(each, {}).get(known.month)
        if not (known.is_good and before and before.state is CoverageState.SUSPECT):
            return known
        doubts = (self._doubted(each, known.month, source) for source in sources if source != self.run.export.key)
        return next((with_doubts(known, its) for its in doubts if its), known)

    def _doubted(self, each: Fed, month: date, source: str) -> list[ExportRun]:
        """The other runs of an export of which it was not believed that what it had delivered of a month is gone."""
        believed = runs_of(self.state.deliveries, each, month, [source])
        ended = runs_ended(self.connection, self.state.exports[source])
        spoken = ((run, by.get(month)) for run, by in ended if run.found != self.run.found)
        return doubted([(run, its) for run, its in spoken if its], believed)

    def _deliver(self, each: Fed, spoken: Spoken, left: Spoken, delivered: Sums) -> None:
        export_id = self.state.exports[self.run.export.key]
        its = counted(delivered, left)
        self.touched |= deliver(self.connection, export_id, left, its, self.scopes, each) | {left.period}
        self.believed.add(left.period)
        self.state = self.state.with_delivery(Delivery(each, self.run, spoken))
        if (known := self.read.get((each, left.period))) is not None:
            runs = runs_of(self.state.deliveries, each, left.period, [self.run.export.key])
            self.read[each, left.period] = with_days(known, runs)
        write_deliveries(self.connection, self.state, self.run.export, each, left.period)
