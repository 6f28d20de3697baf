"""The history of cost exports, and what of them counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, case, delete, func, insert, or_, select, update
from typing_extensions import override

from shared.adapters.database.chunks import insert_rows
from shared.adapters.database.export_feeds import feedings
from shared.adapters.database.export_making import Making
from shared.adapters.database.export_orders import carry_out
from shared.adapters.database.export_rows import (
    OF_EXPORT,
    RECORDS,
    export_of,
    export_row,
    known_run,
    matching,
    part_rows,
    parts_of,
    record_of,
    refuse_what_does_not_fit,
    run_of,
    run_row,
    runs_like,
    the_run,
)
from shared.adapters.database.export_sums import StrangeSumsError, forget_sums, keep_sums, packed, refuse_unstorable
from shared.adapters.database.ledger import Ledger, reads, writes
from shared.adapters.database.tables import (
    cloud_accounts,
    export_charges,
    export_feeds,
    export_parts,
    export_runs,
    export_spoken,
    exports,
)
from shared.domain.charges import CostMetric
from shared.domain.exports.days import billing_period
from shared.domain.exports.feeding import Order
from shared.domain.exports.files import last_of
from shared.domain.exports.runs import Export, ExportRun, Found, RunState, what_is
from shared.domain.exports.sums import Sums
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.errors import LaterError
from shared.ports.export_runs import ExportLedger, Feeding, Imported, NewRun, Ordered, RunPart, RunRecord

run, part = export_runs.c, export_parts.c
NOT_STARTED = {
    "started_at": None,
    "finished_at": None,
    "totals": None,
    "reason": None,
    "added": None,
    "changed": None,
    "removed": None,
    "changed_from": None,
    "changed_until": None,
    "made": None,
    "verdicts": None,
    "periods": None,
}


class _RehearsedError(Exception):
    """Ends the transaction of an order that is only rehearsed."""

    def __init__(self, ordered: Ordered) -> None:
        super().__init__()
        self.ordered = ordered


class SqlExports(Ledger, ExportLedger):
    """ExportLedger on a SQL database."""

    @override
    def register(self, found: NewRun, now: datetime, *, again: bool = False) -> tuple[Found, RunRecord]:
        refuse_what_does_not_fit(found)
        return self.database.run(lambda connection: _register(connection, found, now, again))

    @override
    @reads
    def get(self, connection: Connection, run_id: int) -> RunRecord | None:
        return known_run(connection, run_id)

    @override
    @reads
    def runs(
        self,
        connection: Connection,
        export: str | None = None,
        states: Collection[RunState] = (),
        limit: int | None = None,
        place: str | None = None,
    ) -> list[RunRecord]:
        found = RECORDS.order_by(run.id.desc()).limit(limit)
        if place is not None:
            found = found.where(run.place == place)
        if export is not None:
            found = found.where(run.export_id.in_(matching(connection, export)))
        if states:
            found = found.where(run.state.in_(list(states)))
        return [record_of(row) for row in connection.execute(found)]

    @override
    @reads
    def counted(self, connection: Connection) -> dict[RunState, int]:
        counts = select(run.state, func.count().label("runs")).group_by(run.state)
        return {row.state: row.runs for row in connection.execute(counts)}

    @override
    @reads
    def contents(self, connection: Connection, states: Collection[RunState] = ()) -> set[str]:
        found = select(run.content)
        return set(connection.scalars(found.where(run.state.in_(list(states))) if states else found))

    @override
    @reads
    def exports(self, connection: Connection) -> list[Export]:
        rows = connection.execute(select(*OF_EXPORT).order_by(exports.c.name, exports.c.key))
        return [export_of(row) for row in rows]

    @override
    @reads
    def parts(self, connection: Connection, run_id: int) -> list[RunPart]:
        return parts_of(connection, run_id)

    @override
    @writes
    def wait(self, connection: Connection, this: ExportRun, reason: str) -> None:
        # Of a run whose parts are all read, none is needed any more.
        if _is_importing(connection, this) and _missing(connection, this.found):
            _forget_staged(connection, this.found)
            waiting = NOT_STARTED | {"state": RunState.WAITING, "reason": reason}
            connection.execute(update(export_runs).where(_is(this)).values(waiting))

    @override
    @writes
    def fail(self, connection: Connection, this: ExportRun, reason: str, now: datetime) -> None:
        open_states = (RunState.IMPORTING, RunState.WAITING)
        failed = {"state": RunState.FAILED, "reason": reason, "finished_at": now}
        open_run = update(export_runs).where(_is(this), run.state.in_(open_states))
        if connection.execute(open_run.values(failed)).rowcount:
            _forget_staged(connection, this.found)

    @override
    def stage(self, this: ExportRun, number: int, sums: Sums, rows: int, odd: Sequence[str], now: datetime) -> int:
        refuse_unstorable(sums, self.database.engine.dialect)
        staged = {"staged_at": now, "rows": rows, "odd": list(odd)}
        of_part = (packed(sums), {(key.day, key.billing_period) for key in sums.charges}, staged)
        return self.database.run(lambda connection: _stage(connection, this, number, *of_part))

    @override
    def make(self, run_id: int, metric: CostMetric, closed_on: Mapping[str, int], now: datetime) -> Imported:
        record = self.database.read(lambda connection: the_run(connection, run_id))
        try:
            return Making(self.database, record, metric, closed_on, now).make()
        except StrangeSumsError as error:
            self.database.run(lambda connection: _read_anew(connection, record.run))
            raise LaterError("its parts were read by another version, and are read anew") from error

    @override
    @contextmanager
    def rehearsing(self) -> Iterator[ExportLedger]:
        with self.database.rehearsing() as database:
            yield SqlExports(database)

    @override
    @reads
    def feeds(self, connection: Connection) -> list[Feeding]:
        return feedings(connection)

    @override
    @reads
    def delivering(self, connection: Connection, sub_accounts: Collection[str]) -> Collection[str]:
        its = select(exports.c.key).join(export_spoken, export_spoken.c.export_id == exports.c.id).distinct()
        return connection.scalars(its.where(export_spoken.c.sub_account_id.in_(sub_accounts))).all()

    @override
    def use(self, order: Order, by: str, *, rehearse: bool = False) -> Ordered:
        def work(connection: Connection) -> Ordered:
            ordered = carry_out(connection, order, by)
            if rehearse:
                raise _RehearsedError(ordered)
            return ordered

        try:
            return self.database.run(work)
        except _RehearsedError as rehearsed:
            return rehearsed.ordered

    @override
    @reads
    def last_days(self, connection: Connection, keys: Collection[str]) -> Mapping[tuple[str, date], date]:
        charge = export_charges.c
        days = select(exports.c.key, charge.billing_period, charge.charge_period_start).distinct()
        days = days.join_from(exports, export_charges, charge.export_id == exports.c.id)
        found: dict[tuple[str, date], list[date]] = {}
        for key, period, day in connection.execute(days.where(exports.c.key.in_(keys))):
            found.setdefault((key, period), []).append(day)
        return {key: last_of(key[1], each) for key, each in found.items()}

    @override
    @reads
    def silent_exports(self, connection: Connection, since: datetime) -> list[tuple[Export, datetime]]:
        # What was imported by hand, of files or where no cloud account looks (any more), nobody expects to come again.
        disabled = select(cloud_accounts.c.id).where(func.lower(cloud_accounts.c.status) == AccountStatus.DISABLED)
        in_container = (run.container != "") & run.cloud_account_id.is_not(None) & run.cloud_account_id.not_in(disabled)
        # One that waited for its parts was there when they were.
        was_there = case((run.state != RunState.WAITING, func.coalesce(run.started_at, run.found_at)))
        last, first = func.max(was_there), func.min(run.found_at)
        of_each = select(run.export_id, last.label("last"), func.coalesce(last, first).label("at"))
        each = of_each.where(in_container).group_by(run.export_id).subquery()
        feeds = exports.c.id.in_(select(export_feeds.c.export_id))
        these = or_(feeds, each.c.last.is_(None)) & (each.c.at < since)
        found = select(*OF_EXPORT, each.c.at).join(each, each.c.export_id == exports.c.id)
        return [(export_of(row), row.at) for row in connection.execute(found.where(these).order_by(exports.c.name))]


# --- what is found -------------------------------------------------------------------------------------------


def _register(connection: Connection, found: NewRun, now: datetime, again: bool) -> tuple[Found, RunRecord]:
    export_id = _locked_export(connection, found.run.export, now)
    like = {row.id: run_of(row) for row in runs_like(connection, export_id, found.run)}
    verdict = what_is(found.run, like.values())
    waiting = connection.scalar(
        select(run.id).where(
            *(run.export_id == export_id, run.state == RunState.WAITING, run.place == found.run.place),
        )
    )
    if verdict is Found.NEW:
        run_id = _noted(connection, export_id, waiting, found, now)
    else:
        run_id = next(each for each, known in like.items() if verdict is what_is(found.run, [known]))
        if waiting is not None:
            _remove(connection, waiting)
        if again and verdict is Found.KNOWN and found.waiting is None:
            _noted(connection, export_id, run_id, found, now)
    return verdict, the_run(connection, run_id)


def _locked_export(connection: Connection, export: Export, now: datetime) -> int:
    """Locks an export's row until the transaction ends, and makes it where it is missing; its id."""
    this, row = exports.c.key == export.key, export_row(export)
    if not connection.execute(update(exports).where(this).values(row)).rowcount:
        connection.execute(insert(exports).values(row | {"found_at": now}))
    export_id: int = connection.execute(select(exports.c.id).where(this)).scalar_one()
    return export_id


def _noted(connection: Connection, export_id: int, run_id: int | None, found: NewRun, now: datetime) -> int:
    """Notes a new run, or this one as it was found now; its number."""
    row = NOT_STARTED | run_row(found) | _begun(found, now)
    if run_id is None:
        row |= {"export_id": export_id, "found_at": now}
        run_id = connection.execute(insert(export_runs).values(row).returning(run.id)).scalar_one()
    else:
        _forget_staged(connection, run_id)
        connection.execute(delete(export_parts).where(part.run_id == run_id))
        connection.execute(update(export_runs).where(run.id == run_id).values(row))
    if found.unread is None:
        insert_rows(connection, export_parts, part_rows(run_id, found.parts))
    return run_id


def _begun(found: NewRun, now: datetime) -> dict[str, object]:
    if found.unread is not None:
        state, reason = found.unread
        return {"state": state, "reason": reason, "finished_at": now}
    if found.waiting is not None:
        return {"state": RunState.WAITING, "reason": found.waiting}
    return {"state": RunState.IMPORTING, "started_at": now}


def _remove(connection: Connection, run_id: int) -> None:
    """What waited there is one that is known, after all."""
    _forget_staged(connection, run_id)
    connection.execute(delete(export_parts).where(part.run_id == run_id))
    connection.execute(delete(export_runs).where(run.id == run_id))


# --- its parts -----------------------------------------------------------------------------------------------


def _is(this: ExportRun) -> ColumnElement[bool]:
    """What selects a run that was read, unless it was found anew since then, with other content."""
    return (run.id == this.found) & (run.content == this.content)


def _is_importing(connection: Connection, this: ExportRun) -> bool:
    """Locks the run until the transaction ends, if it is being imported."""
    importing = update(export_runs).where(_is(this), run.state == RunState.IMPORTING)
    return bool(connection.execute(importing.values(state=run.state)).rowcount)


def _missing(connection: Connection, run_id: int) -> int:
    missing = select(func.count()).select_from(export_parts).where(part.run_id == run_id, part.staged_at.is_(None))
    return connection.scalar(missing) or 0


def _forget_staged(connection: Connection, run_id: int) -> None:
    forget_sums(connection, run_id)
    connection.execute(update(export_parts).where(part.run_id == run_id).values(staged_at=None))


def _read_anew(connection: Connection, this: ExportRun) -> None:
    """From its first part, as if none had been read."""
    if _is_importing(connection, this):
        _forget_staged(connection, this.found)
        begun = {name: value for name, value in NOT_STARTED.items() if name != "started_at"}
        connection.execute(update(export_runs).where(_is(this)).values(begun))


def _stage(
    connection: Connection,
    this: ExportRun,
    number: int,
    by_bucket: Mapping[int, bytes],
    days: Collection[tuple[date, date | None]],
    staged: dict[str, object],
) -> int:
    if not _is_importing(connection, this):
        return -1
    periods = {billing_period(this, *each).isoformat() for each in days}
    missing = (part.run_id == this.found, part.number == number, part.staged_at.is_(None))
    of_part = staged | {"periods": sorted(periods)}
    if connection.execute(update(export_parts).where(*missing).values(of_part)).rowcount:
        keep_sums(connection, this.found, number, by_bucket)
    return _missing(connection, this.found)
