"""Makes charges of a run whose parts are all staged: bucket by bucket, in a transaction for each sub-account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, exists, or_, select, true, update

from shared.adapters.database.allocated import may_get
from shared.adapters.database.cloud_accounts import export_account, feeding_account, lock_accounts
from shared.adapters.database.engine import Database
from shared.adapters.database.export_charges import TooLargeError, days_delivered
from shared.adapters.database.export_counting import Counting, mark_due
from shared.adapters.database.export_delivering import Delivering
from shared.adapters.database.export_outcomes import REASONS, Said, as_text, kept, tell_anew
from shared.adapters.database.export_rows import RUNS, lock_export, run_of, the_run
from shared.adapters.database.export_state import State, of_account, state_of, write_feeding_account, write_known
from shared.adapters.database.export_sums import (
    BUCKETS,
    bucket_of,
    forget_sums,
    kept_buckets,
    kept_sums,
    refuse_unstorable_together,
)
from shared.adapters.database.scope_rows import with_scopes
from shared.adapters.database.tables import (
    allocation_rules,
    cloud_accounts,
    export_feeds,
    export_parts,
    export_runs,
    export_spoken,
    projects,
    scope_owners,
    scopes,
)
from shared.domain.charges import CostMetric
from shared.domain.coverage import BY_EXPORT, Coverage, lookback_of, utc_day
from shared.domain.exports.days import billing_period, left_out_in_words, placed
from shared.domain.exports.feeding import Fed, Offer, goes_first, moved, offers_of, outcome, who_feeds
from shared.domain.exports.reading import is_of_its_day
from shared.domain.exports.runs import ExportRun, RunState
from shared.domain.exports.sums import Sums, totals_of
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.errors import LaterError
from shared.ports.export_runs import Changes, Imported, RunRecord

run = export_runs.c
COUNTED = ("added", "changed", "removed")
# What one look of the scanner finds is registered within so long: each has a message of its own.
TOGETHER = timedelta(minutes=10)
# A run with the better turn is waited for so long, and looked at again so often.
WAITED_FOR, LOOKED_AGAIN = timedelta(hours=6), timedelta(minutes=1)


class _MovedError(Exception):
    """Another is making the same run, and further on."""


@dataclass(frozen=True)
class _Bucket:
    """A bucket of a run, the next after so many made ones in which there is anything.

    sums: by sub-account, of those that its export feeds too. periods: of all of the run.
    """

    made: int
    number: int
    sums: Mapping[Fed, Sums]
    periods: frozenset[date]


@dataclass(frozen=True)
class Making:
    """Makes charges of one run. closed_on: by provider, when it calls a month closed; "" for others."""

    database: Database
    record: RunRecord
    metric: CostMetric
    closed_on: Mapping[str, int]
    now: datetime

    @property
    def run(self) -> ExportRun:
        """The run."""
        return self.record.run

    def make(self) -> Imported:
        """Goes on where it broke off, to the end. Raises NeverError, before any charge is made, for what can't be."""
        self.database.read(self._refuse_unstorable)
        while (bucket := self.database.read(self._next_bucket)) is not None:
            with suppress(_MovedError):
                self._make_bucket(bucket)
        return self.database.run(self._end)

    def _make_bucket(self, bucket: _Bucket) -> None:
        left_out = [self._make_account(bucket, account, sums) for account, sums in bucket.sums.items()]
        self.database.run(partial(self._end_bucket, bucket=bucket, left_out=left_out))

    def _refuse_unstorable(self, connection: Connection) -> None:
        """Each part was looked at as it came, and what they come to together is, in all buckets, before the first."""
        if self._made(connection) == 0:
            refuse_unstorable_together(connection, self.record.id, partial(billing_period, self.run))

    def _next_bucket(self, connection: Connection) -> _Bucket | None:
        made = self._made(connection)
        if made is None or made == BUCKETS:
            return None
        feed = export_feeds.c
        fed = select(feed.provider, feed.sub_account_id).where(feed.export_id == self._export_id(connection)).distinct()
        buckets = {Fed(*row): bucket_of(*row) for row in connection.execute(fed)}
        filled = {*kept_buckets(connection, self.record.id), *buckets.values()}
        number = min((each for each in filled if each >= made), default=BUCKETS - 1)
        sums = {Fed(*account): its for account, its in kept_sums(connection, self.record.id, number).items()}
        # Sums go as the next bucket begins: what was read is whole where it has not begun even now.
        if self._made(connection) != made:
            return self._next_bucket(connection)
        said = connection.scalars(select(export_parts.c.periods).where(export_parts.c.run_id == self.record.id))
        periods = frozenset(date.fromisoformat(each) for of_part in said for each in of_part or ())
        its = sums.keys() | {each for each, bucket in buckets.items() if bucket == number}
        return _Bucket(made, number, {each: sums.get(each, Sums()) for each in sorted(its, key=str)}, periods)

    def _made(self, connection: Connection) -> int | None:
        """How many buckets are made; None of a run that is not to be made (any more)."""
        row = connection.execute(select(run.state, run.made).where(run.id == self.record.id)).one()
        unread = select(export_parts.c.number).where(export_parts.c.run_id == self.record.id)
        is_unread = connection.execute(unread.where(export_parts.c.staged_at.is_(None)).limit(1)).first() is not None
        return None if row.state is not RunState.IMPORTING or is_unread else row.made or 0

    def _export_id(self, connection: Connection) -> int:
        export_id: int = connection.execute(select(run.export_id).where(run.id == self.record.id)).scalar_one()
        return export_id

    # --- one sub-account ---

    def _make_account(self, bucket: _Bucket, account: Fed, sums: Sums) -> Sums:
        """Makes it charges; where they come to more than can be stored, that says the run, and the others are made."""
        try:
            return self.database.run(partial(self._make, bucket=bucket, account=account, sums=sums))
        except TooLargeError as error:
            self.database.run(partial(self._refuse, bucket=bucket, account=account, sums=sums, reason=str(error)))
            return Sums()

    def _make(self, connection: Connection, bucket: _Bucket, account: Fed, sums: Sums) -> Sums:
        """Makes what a run has of a sub-account its charges; what of it is left out."""
        self._lock(connection, account)
        if self._made(connection) != bucket.made:
            raise _MovedError
        before, found = state_of(connection, account), placed(self.run, sums, bucket.periods)
        offers = [self._of_all(connection, before, each) for each in offers_of(self.run, found.charges)]
        self._wait_for_better(connection, before, offers)
        feeds, verdicts = who_feeds(offers, before.feeds, self.metric, before.orders)
        names = {key[2]: name for key, name in found.charges.group_names.items()}
        scopes = with_scopes(connection, account.provider, {account.sub_account: names})[account.sub_account]
        its = Delivering(connection, self.run, before.with_feeds(feeds), scopes, found, self._closed_on(account))
        its.deliver()
        counting = Counting(connection, scopes, before, its.state, self.metric)
        changes, scope_ids = counting.count(its)
        believed = [spoken for period, spoken in found.spoken.items() if period in its.believed]
        read_by = self.run if is_of_its_day(self.run, believed) else None
        mark_due(connection, scope_ids, changes.days, self.now, read_by)
        taken = self._feed(connection, before, its.state)
        said = {each.fed for each in before.deliveries}
        changed = [each for each in moved(before.feeds, its.state.feeds) if any(map(each.overlaps, said))]
        tell_anew(connection, changed)
        # Of what its export feeds, a run is used by what it leaves out, too.
        read = [(True, None)] if its.is_read else []
        self._note(connection, changes, [*read, *taken, *((each.used, each.reason) for each in verdicts)])
        return found.left_out

    def _of_all(self, connection: Connection, before: State, offer: Offer) -> Offer:
        """What another feeds, the export would feed with all that it has delivered, and not with one run."""
        feeding = {each.source for each in before.feeds.get(offer.fed, ())}
        its = (each.fed for each in before.deliveries if each.run.export.key == self.run.export.key)
        if not before.feeds or self.run.export.key in feeding or offer.fed not in its:
            return offer
        return offer.beside(days_delivered(connection, self._export_id(connection), offer.fed))

    def _refuse(self, connection: Connection, bucket: _Bucket, account: Fed, sums: Sums, reason: str) -> None:
        """Nothing of it changes, and its months could not be read."""
        self._lock(connection, account)
        if self._made(connection) != bucket.made:
            raise _MovedError
        state, night, lookback = (
            state_of(connection, account),
            utc_day(self.run.at),
            lookback_of(self._closed_on(account)),
        )
        for fed, feeds in state.feeds.items():
            if self.run.export.key in {each.source for each in feeds}:
                months = placed(self.run, sums, bucket.periods).spoken
                known = (state.known.get(fed, {}).get(month) or Coverage(month, BY_EXPORT) for month in months)
                write_known(connection, fed, {each.month: each.failed(reason, night, lookback) for each in known})
        self._note(connection, Changes(), [(False, reason)])

    def _lock(self, connection: Connection, account: Fed) -> None:
        """Locks a sub-account; before it the export that never has delivered it: an order may be for all of its own."""
        export_id = self._export_id(connection)
        said = select(export_spoken.c.run_id).where(export_spoken.c.export_id == export_id)
        if connection.execute(said.where(of_account(export_spoken, account)).limit(1)).first() is None:
            lock_export(connection, export_id)
        lock_accounts(connection, account.provider, [account.sub_account])

    def _closed_on(self, account: Fed) -> int:
        return self.closed_on[account.provider if account.provider in self.closed_on else ""]

    def _wait_for_better(self, connection: Connection, before: State, offers: Iterable[Offer]) -> None:
        """Raises LaterError where another run, found before this or soon after, is to feed what nothing feeds yet."""
        unfed = [each for each in offers if not any(fed.overlaps(each.fed) for fed in before.feeds)]
        if not unfed:
            return
        others = RUNS.where(
            *(run.state == RunState.IMPORTING, run.id != self.record.id),
            *(
                run.found_at <= self.record.found_at + TOGETHER,
                run.started_at >= self.now - WAITED_FOR,
                run.export_id != self._export_id(connection),
            ),
        )
        for other in map(run_of, connection.execute(others)):
            serves = other.export.dataset.serves(self.metric)
            if serves and any(goes_first(other, each, before.orders) for each in unfed):
                name = unfed[0].fed.sub_account
                reason = f"The export {other.export.name} is imported first, which may feed {name}."
                raise LaterError(reason, LOOKED_AGAIN)

    def _feed(self, connection: Connection, before: State, after: State) -> list[Said]:
        """An export that feeds a whole sub-account is its cloud account from then on, so that no night asks for it.

        What of that is to be told.
        """
        if self.run.export.key not in {each.source for each in after.feeds.get(after.account, ())}:
            return []
        is_new = self.run.export.key not in {each.source for each in before.feeds.get(after.account, ())}
        former = feeding_account(connection, *after.account[:2])
        if not is_new and former is not None:
            return []
        feeding = self.record.cloud_account_id or export_account(connection, after.account.provider)
        write_feeding_account(connection, after.account, feeding)
        return [(True, said)] if (said := _taken_over(connection, former, after.account)) else []

    def _note(self, connection: Connection, changes: Changes, verdicts: Iterable[Said]) -> None:
        """Adds to what this run has changed, and what was said of it."""
        row, said = self._locked(connection)
        said["verdicts"] = kept([*map(tuple, said["verdicts"]), *sorted(verdicts, key=str)])
        values: dict[str, Any] = {name: (getattr(row, name) or 0) + getattr(changes, name) for name in COUNTED}
        if changes.days:
            values["changed_from"] = min(row.changed_from or changes.days.start, changes.days.start)
            values["changed_until"] = max(row.changed_until or changes.days.end, changes.days.end)
        self._write(connection, verdicts=said, **values)

    # --- the run ---

    def _locked(self, connection: Connection) -> tuple[Any, dict[str, Any]]:
        """The run's row, locked until the transaction ends, and what was said of it so far."""
        self._write(connection, state=run.state)
        row = connection.execute(select(export_runs).where(run.id == self.record.id)).one()
        return row, row.verdicts or {"verdicts": [], "left_out": None, "told": [], "metric": self.metric}

    def _write(self, connection: Connection, **values: object) -> None:
        connection.execute(update(export_runs).where(run.id == self.record.id).values(values))

    def _end_bucket(self, connection: Connection, bucket: _Bucket, left_out: Sequence[Sums]) -> None:
        row, said = self._locked(connection)
        if self._made(connection) != bucket.made:
            raise _MovedError
        totals = _added_to(row.totals, bucket.sums.values())
        days = [key.day.isoformat() for sums in left_out for key in sums.charges]
        if days:
            rows, *span = said["left_out"] or (0, days[0])
            rows += sum(sums.rows for sums in left_out)
            said["left_out"] = [rows, min(*span, *days), max(*span, *days)]
            said["without"] = _added_to(said.get("without"), left_out)
        self._write(connection, made=bucket.number + 1, totals=totals, verdicts=said)
        forget_sums(connection, self.record.id, bucket.number)

    def _end(self, connection: Connection) -> Imported:
        row, said = self._locked(connection)
        if self._made(connection) == BUCKETS:
            said_of_parts = (export_parts.c.rows, export_parts.c.odd, export_parts.c.periods)
            parts = select(*said_of_parts).where(export_parts.c.run_id == self.record.id)
            read = connection.execute(parts.order_by(export_parts.c.number)).all()
            state, reasons = outcome((used, reason) for used, reason in said["verdicts"])
            said["told"] = self._untold(connection, row.export_id, said["verdicts"])
            odd = dict.fromkeys(each for part in read for each in part.odd or ())
            reason = as_text([*reasons, *_left_out(said["left_out"]), *odd])
            rows = sum(each.rows or 0 for each in read)
            periods = sorted({period for each in read for period in each.periods or ()})
            ended = {"state": state, "reason": reason, "rows": rows, "periods": periods, "finished_at": self.now}
            self._write(connection, verdicts=said, **ended)
            connection.execute(delete(export_parts).where(export_parts.c.run_id == self.record.id))
        record = the_run(connection, self.record.id)
        return Imported(record, self._due(connection, row.export_id), tuple(said["told"]))

    def _untold(self, connection: Connection, export_id: int, verdicts: list[tuple[bool, str | None]]) -> list[str]:
        """What was said of this run and of none before it."""
        earlier = select(run.reason).where(run.export_id == export_id, run.id < self.record.id, run.reason.is_not(None))
        texts = connection.scalars(earlier.order_by(run.id.desc()).limit(REASONS)).all()
        reasons = dict.fromkeys(reason for _, reason in verdicts if reason)
        return [each for each in reasons if not any(each in text for text in texts)]

    def _due(self, connection: Connection, export_id: int) -> tuple[int, ...]:
        """The projects of what the export has delivered that are to be checked."""
        said = select(export_spoken.c.provider, export_spoken.c.sub_account_id).distinct()
        its = said.where(export_spoken.c.export_id == export_id).subquery()
        is_its = (scopes.c.provider == its.c.provider) & (scopes.c.sub_account_id == its.c.sub_account_id)
        owners = (
            select(scope_owners.c.project_id).join(scopes, scopes.c.id == scope_owners.c.scope_id).join(its, is_its)
        )
        rules = allocation_rules.c
        of_rules = exists().where(rules.provider == its.c.provider, rules.sub_account_id == its.c.sub_account_id)
        due = select(projects.c.id).where(or_(projects.c.id.in_(owners), may_get(of_rules)))
        due = due.where(projects.c.active == true(), projects.c.check_due_since.is_not(None))
        return tuple(connection.scalars(due.order_by(projects.c.id)))


def _taken_over(connection: Connection, former: int | None, account: Fed) -> str | None:
    """That an export now feeds what a disabled cloud account was asked for, in a sentence; None of any other."""
    cloud = cloud_accounts.c
    is_disabled = (cloud.status == AccountStatus.DISABLED) & (cloud.connection_type != ConnectionType.COST_EXPORT)
    row = connection.execute(select(cloud.id, cloud.name).where(cloud.id == former, is_disabled)).one_or_none()
    return row and (
        f"{account.sub_account} was fed by cloud account {row.id} ({row.name}), which is disabled: from now on this "
        f"export feeds it (`exports use query --for {account.sub_account}` goes back, and enables that one)"
    )


def _added_to(totals: Mapping[str, str] | None, more: Iterable[Sums]) -> dict[str, str]:
    """Sums by currency as they are kept, with others."""
    before = {currency: Decimal(total) for currency, total in (totals or {}).items()}
    found = totals_of([before, *(each.totals for each in more)])
    return {currency: str(total) for currency, total in found.items()}


def _left_out(left_out: tuple[int, str, str] | None) -> list[str]:
    if left_out is None:
        return []
    rows, first, last = left_out
    return [left_out_in_words(rows, date.fromisoformat(first), date.fromisoformat(last))]
