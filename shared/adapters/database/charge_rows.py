"""The rows of the charges table: what differs from a reading, and writing just that, fast.

A window of one sub-account has 140,000 rows. Each costs Python a microsecond here, and no object beyond its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, and_, bindparam, delete, insert, select, update

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import charges
from shared.adapters.database.types import Money
from shared.domain.coverage import ReadPart, StoredCharge
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

    @property
    def take_away(self) -> bool:
        """Whether a stored charge goes, or becomes 0."""
        return bool(self.removed) or any(not cost for *_, cost in self.changed)

    def set_aside(self, largest: Decimal) -> list[Row]:
        """Takes out the rows whose amounts are larger than what can be stored, and returns them."""
        large = [row for row in (*self.added, *self.changed) if row[4].copy_abs() > largest]
        if large:
            self.added = [row for row in self.added if row not in large]
            self.changed = [row for row in self.changed if row not in large]
        return large

    def add(self, others: RowChanges) -> None:
        """Takes others in."""
        self.added += others.added
        self.changed += others.changed
        self.removed += others.removed


def within(window: Period, scope_ids: Iterable[int]) -> Iterator[ColumnElement[bool]]:
    """What selects the charges of the window's days in these scopes; more than one condition only for very many."""
    for ids in in_chunks(sorted(scope_ids)):
        day = charges.c.charge_period_start
        yield charges.c.scope_id.in_(ids) & (day >= window.start) & (day < window.end)


def _stored(connection: Connection, window: Period, scope_ids: Iterable[int]) -> Iterator[AnyRow]:
    for which in within(window, scope_ids):
        yield from connection.execute(select(*charges.c).where(which), execution_options={"yield_per": FETCHED})


def note_changes(connection: Connection, changes: RowChanges, part: ReadPart, scope_ids: Mapping[str, int]) -> None:
    """Adds to `changes` what makes the rows of the part's window in these scopes equal to what it says.

    scope_ids: by group key, of every group that was asked for or answered.
    """
    group_keys = {scope_id: group_key for group_key, scope_id in scope_ids.items()}
    missing = {each.billing_currency or "": dict(each.amounts) for each in part.charges}
    for scope_id, day, service, stored_currency, stored_cost in _stored(connection, part.window, group_keys):
        key = (group_keys[scope_id], day, service)
        cost = missing[stored_currency].pop(key, None) if stored_currency in missing else None
        if cost is None:
            # Nobody knows which row it was that could not be right: none of its group has gone.
            if key[0] not in part.odd:
                changes.removed.append((scope_id, day, service, stored_currency))
        elif cost != stored_cost:
            changes.changed.append((scope_id, day, service, stored_currency, cost))
    for currency, amounts in missing.items():
        changes.added.extend((scope_ids[key[0]], key[1], key[2], currency, cost) for key, cost in amounts.items())


def stored_charges(connection: Connection, window: Period, scope_ids: Mapping[str, int]) -> Iterator[StoredCharge]:
    """The charges that are stored of the window's days in these scopes, by group key."""
    group_keys = {scope_id: group_key for group_key, scope_id in scope_ids.items()}
    for scope_id, day, service, currency, cost in _stored(connection, window, group_keys):
        yield currency, (group_keys[scope_id], day, service), cost


def write(connection: Connection, changes: RowChanges) -> None:
    """Writes the changes, in the order of the table's key; what vanished first, since it may have come back anew."""
    for statement, rows in ((_DELETE, changes.removed), (_UPDATE, changes.changed)):
        for batch in _batches(rows):
            connection.execute(statement, [dict(zip(_PARAMETERS, row, strict=False)) for row in batch])
    for batch in _batches(changes.added):
        _insert(connection, batch)


_NAMES = tuple(column.name for column in charges.c)
_PARAMETERS = tuple(f"this_{name}" for name in _NAMES)
_IS_ROW = and_(*(charges.c[name] == bindparam(f"this_{name}") for name in _NAMES[:4]))
_DELETE = delete(charges).where(_IS_ROW)
_UPDATE = update(charges).where(_IS_ROW).values(billed_cost=bindparam("this_billed_cost"))
_SQLITE_INSERT = f"INSERT INTO charges ({', '.join(_NAMES)}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - our own names


def _batches(rows: list[Any]) -> Iterator[list[Any]]:
    rows.sort()
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _insert(connection: Connection, rows: list[Row]) -> None:
    if connection.dialect.name == "sqlite":
        # Handing the driver what it takes is twice as fast as SQLAlchemy's way of one dict a row.
        connection.exec_driver_sql(_SQLITE_INSERT, list(_as_sqlite_keeps(rows, connection.dialect)))
    else:
        connection.execute(insert(charges), [dict(zip(_NAMES, row, strict=True)) for row in rows])


def _as_sqlite_keeps(rows: Iterable[Row], dialect: Dialect) -> Iterator[tuple[int, str, str, str, int]]:
    kept = Money().process_bind_param
    try:
        for scope_id, day, service, currency, cost in rows:
            yield scope_id, day.isoformat(), service, currency, kept(cost, dialect)
    except ValueError as error:
        raise NeverError(str(error)) from error
