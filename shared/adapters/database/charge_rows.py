"""The rows of the charges table: what differs from a reading, and writing just that, fast.

A window of one sub-account has 140,000 rows. Each costs Python a microsecond here, and no object beyond its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, bindparam, select

from shared.adapters.database.tables import charges
from shared.adapters.database.types import Money
from shared.domain.charges import ChargeSet
from shared.domain.periods import Period
from shared.ports.errors import NeverError

# Rows that are fetched at once (few enough to stay in the processor's cache), and handed to the driver at once.
FETCHED = 1_000
BATCH = 10_000

Key = tuple[int, date, str, str]
Row = tuple[int, date, str, str, Decimal]
"""scope id, day, service, currency (the table's key), billed cost"""


@dataclass(slots=True)
class RowChanges:
    """What has to be written so that the table says what was read."""

    added: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    removed: list[Key] = field(default_factory=list)


def within(window: Period) -> ColumnElement[bool]:
    """The charges of the window's days."""
    return (charges.c.charge_period_start >= window.start) & (charges.c.charge_period_start < window.end)


def note_changes(
    connection: Connection,
    changes: RowChanges,
    wanted: ChargeSet,
    scope_ids: Mapping[str, int],
    stored: Iterable[ColumnElement[bool]],
) -> None:
    """Adds to `changes` what makes the rows that `stored` selects equal to `wanted`.

    scope_ids: by group key, of every group that is wanted or stored. stored: conditions on the charges table.
    """
    group_keys = {scope_id: group_key for group_key, scope_id in scope_ids.items()}
    currency = wanted.billing_currency
    missing = dict(wanted.amounts)
    for scope_id, day, service, stored_currency, stored_cost in _stored_rows(connection, stored):
        key = (group_keys[scope_id], day, service)
        cost = missing.pop(key, None) if stored_currency == currency else None
        if cost is None:
            changes.removed.append((scope_id, day, service, stored_currency))
        elif cost != stored_cost:
            changes.changed.append((scope_id, day, service, stored_currency, cost))
    if currency is not None:
        changes.added.extend((scope_ids[key[0]], key[1], key[2], currency, cost) for key, cost in missing.items())


def _stored_rows(connection: Connection, stored: Iterable[ColumnElement[bool]]) -> Iterator[Any]:
    for which in stored:
        yield from connection.execute(select(*charges.c).where(which), execution_options={"yield_per": FETCHED})


def write(connection: Connection, changes: RowChanges) -> None:
    """Writes the changes, in the order of the table's key; what vanished first, since it may have come back anew."""
    for batch in _batches(changes.removed):
        connection.execute(_DELETE, [_named_key(key) for key in batch])
    for batch in _batches(changes.changed):
        connection.execute(_UPDATE, [_named_key(row[:4]) | {"cost": row[4]} for row in batch])
    for batch in _batches(changes.added):
        _insert(connection, batch)


_IS_ROW = (
    (charges.c.scope_id == bindparam("scope"))
    & (charges.c.charge_period_start == bindparam("day"))
    & (charges.c.service_name == bindparam("service"))
    & (charges.c.billing_currency == bindparam("currency"))
)
_DELETE = charges.delete().where(_IS_ROW)
_UPDATE = charges.update().where(_IS_ROW).values(billed_cost=bindparam("cost"))
_NAMES = tuple(column.name for column in charges.c)
_SQLITE_INSERT = f"INSERT INTO charges ({', '.join(_NAMES)}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - our own names


def _named_key(key: Key) -> dict[str, Any]:
    return {"scope": key[0], "day": key[1], "service": key[2], "currency": key[3]}


def _batches(rows: list[Any]) -> Iterator[list[Any]]:
    rows.sort()
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _insert(connection: Connection, rows: list[Row]) -> None:
    if connection.dialect.name == "sqlite":
        # Handing the driver what it takes is twice as fast as SQLAlchemy's way of one dict a row.
        connection.exec_driver_sql(_SQLITE_INSERT, list(_as_sqlite_keeps(rows, connection.dialect)))
    else:
        connection.execute(charges.insert(), [dict(zip(_NAMES, row, strict=True)) for row in rows])


def _as_sqlite_keeps(rows: Iterable[Row], dialect: Dialect) -> Iterator[tuple[int, str, str, str, int]]:
    kept = Money().process_bind_param
    try:
        for scope_id, day, service, currency, cost in rows:
            yield scope_id, day.isoformat(), service, currency, kept(cost, dialect)
    except ValueError as error:
        raise NeverError(str(error)) from error
