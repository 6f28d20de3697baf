"""The rows of what exports deliver, and the charges that they come to; only rows that differ are written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.charge_rows import CHARGES, FETCHED, WrittenTable, within, write_rows
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.export_state import State
from shared.adapters.database.scope_rows import Scopes
from shared.adapters.database.tables import charges, export_charges
from shared.domain.coverage import StoredCharge
from shared.domain.exports.days import Spoken
from shared.domain.exports.feeding import Fed
from shared.domain.exports.sums import Sums
from shared.domain.periods import DAY, Period, month_of
from shared.ports.export_runs import Changes

EXPORT_CHARGES = WrittenTable(export_charges)
delivered = export_charges.c
_CHUNK = 300


def scope_ids_of(scopes: Scopes, fed: Fed, feeds: Collection[Fed]) -> list[int]:
    """The scopes of what is fed: of a sub-account, without the groups that are fed by themselves."""
    if fed.group_key is not None:
        return [scopes[fed.group_key].id] if fed.group_key in scopes else []
    others = {each.group_key for each in feeds if each.whole == fed}
    return [row.id for key, row in scopes.items() if key not in others]


def deliver(connection: Connection, export_id: int, left: Spoken, its: Sums, scopes: Scopes, of: Fed) -> set[date]:
    """Puts charges in the place of all that an export delivered where a run still speaks; the months of what changed.

    its: of that billing period, and of what the export can feed.
    """
    ids = scope_ids_of(scopes, of, ())
    id_of = {key: row.id for key, row in scopes.items()}
    missing = {
        (id_of[key.group_key], export_id, left.period, key.day, key.service, key.currency): cost
        for key, cost in its.rounded().items()
    }
    its_own = (delivered.export_id == export_id) & (delivered.billing_period == left.period)
    which = [delivered.scope_id.in_(some) & its_own for some in in_chunks(sorted(ids))]
    rows = (row for row in _rows(connection, export_charges, which) if row[3] in left)
    new, changed, removed = _put(connection, EXPORT_CHARGES, rows, missing)
    return {row[3].replace(day=1) for rows in (new, changed, removed) for row in rows}


def _rows(connection: Connection, table: Table, which: Iterable[ColumnElement[bool]]) -> Iterator[AnyRow]:
    for some in which:
        yield from connection.execute(select(table).where(some), execution_options={"yield_per": FETCHED})


def _put(
    connection: Connection, table: WrittenTable, stored: Iterable[AnyRow], missing: dict[Any, Any]
) -> tuple[list[Any], list[Any], list[Any]]:
    """Makes stored rows what is missing, costs by key, which is used up; what was new, changed and removed."""
    changed, removed = list[Any](), list[Any]()
    for row in stored:
        *key, stored_cost = row
        cost = missing.pop(tuple(key), None)
        if cost is None:
            removed.append(tuple(key))
        elif cost != stored_cost:
            changed.append((*key, cost))
    new = [(*key, cost) for key, cost in missing.items()]
    write_rows(connection, table, new, changed, removed)
    return new, changed, removed


def is_something_stored(
    connection: Connection, scope_ids: Sequence[int], left: Spoken, export_id: int | None = None
) -> Iterable[StoredCharge]:
    """One of the charges that are stored on the days for which a run still speaks; nothing where there are none.

    export_id: only of those that this export has delivered.
    """
    table = charges if export_id is None else export_charges
    day = table.c.charge_period_start
    for days in left.windows:
        for some in in_chunks(sorted(scope_ids)):
            which = table.c.scope_id.in_(some) & (day >= days.start) & (day < days.end)
            if export_id is not None:
                which &= (delivered.export_id == export_id) & (delivered.billing_period == left.period)
            row = connection.execute(select(table).where(which).limit(1)).first()
            if row is not None:
                return [(row.billing_currency, ("", row.charge_period_start, row.service_name), row.billed_cost)]
    return ()


def months_delivered_in(connection: Connection, scope_ids: Sequence[int]) -> set[date]:
    """The months on whose days exports have delivered charges of these scopes, whatever their billing period."""
    days = select(delivered.charge_period_start).distinct()
    found = (
        connection.scalars(days.where(delivered.scope_id.in_(some))).all() for some in in_chunks(sorted(scope_ids))
    )
    return {day.replace(day=1) for some in found for day in some}


def count(
    connection: Connection, state: State, scope_ids: Sequence[int], month: date, sources: Sequence[str]
) -> Changes:
    """Makes the charges of a month, in these scopes, what these exports have delivered of its days."""
    window = month_of(month)
    missing = _delivered(connection, state, scope_ids, window, sources)
    stored = _rows(connection, charges, within(window, scope_ids))
    new, changed, removed = _put(connection, CHARGES, stored, missing)
    days = [row[1] for rows in (new, changed, removed) for row in rows]
    span = Period(min(days), max(days) + DAY) if days else None
    return Changes(len(new), len(changed), len(removed), span)


def _delivered(
    connection: Connection, state: State, scope_ids: Sequence[int], window: Period, sources: Sequence[str]
) -> dict[Any, Any]:
    """What these exports have delivered of these days, whatever its billing period."""
    ids = [state.exports[each] for each in sources]
    # Named, they are looked up in the key; else all that was ever delivered would be read.
    periods = sorted({each.spoken.period for each in state.deliveries if each.run.export.key in sources})
    day = delivered.charge_period_start
    key = (delivered.scope_id, day, delivered.service_name, delivered.billing_currency)
    summed = select(*key, func.sum(delivered.billed_cost)).group_by(*key)
    found: dict[Any, Any] = {}
    for start in range(0, len(scope_ids), _CHUNK):
        these = delivered.scope_id.in_(scope_ids[start : start + _CHUNK]) & delivered.export_id.in_(ids)
        these &= delivered.billing_period.in_(periods) & (day >= window.start) & (day < window.end)
        rows = connection.execute(summed.where(these), execution_options={"yield_per": FETCHED})
        found.update((tuple(row[:4]), row[4]) for row in rows)
    return found


def added_up(changes: Iterable[Changes]) -> Changes:
    """Several changes as one."""
    every = list(changes)
    counts = ((0, 0, 0), *((each.added, each.changed, each.removed) for each in every))
    added, changed, removed = map(sum, zip(*counts, strict=True))
    days = [each.days for each in every if each.days]
    span = Period(min(each.start for each in days), max(each.end for each in days)) if days else None
    return Changes(added, changed, removed, span)
