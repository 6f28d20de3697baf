"""The rows of the charges table: what differs from a reading, and writing just that, fast.

A window of one sub-account has 140,000 rows. Each costs Python a microsecond here, and no object beyond its key.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    Dialect,
    Integer,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import in_chunks, select_in
from shared.adapters.database.tables import charge_meters, charges
from shared.adapters.database.types import Money, largest_amount
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


def within(window: Period, scope_ids: Iterable[int], table: Table = charges) -> Iterator[ColumnElement[bool]]:
    """What selects the charges of the window's days in these scopes; more than one condition only for very many.

    table: `charges`, or `charge_meters`.
    """
    for ids in in_chunks(sorted(scope_ids)):
        day = table.c.charge_period_start
        yield table.c.scope_id.in_(ids) & (day >= window.start) & (day < window.end)


@dataclass
class StoredRows:
    """The charges that are stored: asked for where they are wanted, or all at once before."""

    connection: Connection
    _fetched: dict[int, list[AnyRow]] | None = None

    def fetch(self, windows: Iterable[Period], scope_ids: Sequence[int]) -> None:
        """Fetches those of these windows, which don't overlap, and scopes: of no others will be asked."""
        self._fetched = {each: [] for each in scope_ids}
        for window in windows:
            for row in self._asked(window, scope_ids):
                self._fetched[row[0]].append(row)

    def within(self, window: Period, scope_ids: Iterable[int]) -> Iterator[AnyRow]:
        """Those of the window's days in these scopes."""
        if self._fetched is None:
            yield from self._asked(window, scope_ids)
            return
        for scope_id in scope_ids:
            yield from (row for row in self._fetched[scope_id] if row[1] in window)

    def _asked(self, window: Period, scope_ids: Iterable[int]) -> Iterator[AnyRow]:
        for which in within(window, scope_ids):
            yield from self.connection.execute(
                select(*charges.c).where(which), execution_options={"yield_per": FETCHED}
            )


def note_changes(stored: StoredRows, changes: RowChanges, part: ReadPart, scope_ids: Mapping[str, int]) -> None:
    """Adds to `changes` what makes the rows of the part's window in these scopes equal to what it says.

    scope_ids: by group key, of every group that was asked for or answered.
    """
    group_keys = {scope_id: group_key for group_key, scope_id in scope_ids.items()}
    missing = {each.billing_currency or "": dict(each.amounts) for each in part.charges}
    for scope_id, day, service, stored_currency, stored_cost in stored.within(part.window, group_keys):
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


Metered = tuple[ReadPart, Mapping[str, int], Container[str]]
"""Days of an answer, the scopes that it is about, by group key, and the groups of which rows were set aside"""


def write_meters(connection: Connection, read: Sequence[Metered]) -> None:
    """Makes the meters that are stored equal to what was read; of groups with rows set aside none goes."""
    largest = largest_amount(connection.dialect)
    ids = {scope_id for _, scope_ids, _ in read for scope_id in scope_ids.values()}
    scope = charge_meters.c.scope_id
    metered = {row.scope_id for row in select_in(connection, select(scope).distinct(), scope, sorted(ids))}
    for part, scope_ids, odd in read:
        missing = _meters_in(part, scope_ids, largest)
        kept = {scope_id for group, scope_id in scope_ids.items() if group in odd}
        changed, removed = list[Any](), list[Any]()
        for which in within(part.window, metered.intersection(scope_ids.values()), charge_meters):
            for *row, stored_cost in connection.execute(select(charge_meters).where(which)):
                key = tuple(row)
                cost = missing.pop(key, None)
                if cost is None and key[0] not in kept:
                    removed.append(key)
                elif cost is not None and cost != stored_cost:
                    changed.append((*key, cost))
        write_rows(connection, METERS, [(*key, cost) for key, cost in missing.items()], changed, removed)


def _meters_in(part: ReadPart, scope_ids: Mapping[str, int], largest: Decimal) -> dict[tuple[Any, ...], Decimal]:
    """The part's meters by the table's key, but those that are too large to be stored, or whose charges are."""
    return {
        (scope_ids[group], day, service, meter, each.billing_currency or ""): cost
        for each in part.charges
        for (group, day, service, meter), cost in each.meters.items()
        if max(cost.copy_abs(), each.amounts[group, day, service].copy_abs()) <= largest
    }


def stored_charges(stored: StoredRows, window: Period, scope_ids: Mapping[str, int]) -> Iterator[StoredCharge]:
    """The charges that are stored of the window's days in these scopes, by group key."""
    group_keys = {scope_id: group_key for group_key, scope_id in scope_ids.items()}
    for scope_id, day, service, currency, cost in stored.within(window, group_keys):
        yield currency, (group_keys[scope_id], day, service), cost


def _postgresql_kind(kind: TypeEngine[Any]) -> str:
    """What an array holds of it: texts of any length, so that none is cut off without a word."""
    if isinstance(kind, Money):
        return "numeric"
    return "integer" if isinstance(kind, Integer) else "date" if isinstance(kind, Date) else "text"


class WrittenTable:
    """A table of charges whose key is the whole row but for the cost, its last column, and how rows of it are written.

    days: which of its columns hold days.
    """

    def __init__(self, table: Table) -> None:
        names = [column.name for column in table.c]
        self.names = tuple(names)
        self.parameters = tuple(f"this_{name}" for name in names)
        is_row = and_(*(table.c[name] == bindparam(f"this_{name}") for name in names[:-1]))
        self.delete = delete(table).where(is_row)
        self.update = update(table).where(is_row).values({names[-1]: bindparam(f"this_{names[-1]}")})
        self.insert = insert(table)
        into, places = f"INSERT INTO {table.name} ({', '.join(names)})", ", ".join("?" * len(names))
        self.sqlite_insert = f"{into} VALUES ({places})"
        arrays = ", ".join(f"%s::{_postgresql_kind(column.type)}[]" for column in table.c)
        self.postgresql_insert = f"{into} SELECT * FROM unnest({arrays})"  # noqa: S608 - our own names
        self.days = [number for number, column in enumerate(table.c) if isinstance(column.type, Date)]


CHARGES, METERS = WrittenTable(charges), WrittenTable(charge_meters)


def write(connection: Connection, changes: RowChanges) -> None:
    """Writes the changes, in the order of the table's key; what vanished first, since it may have come back anew."""
    write_rows(connection, CHARGES, changes.added, changes.changed, changes.removed)


def write_rows(
    connection: Connection, table: WrittenTable, added: list[Any], changed: list[Any], removed: list[Any]
) -> None:
    """The same of any table of charges: rows that are added and changed, and the keys of those that go."""
    for statement, rows in ((table.delete, removed), (table.update, changed)):
        for batch in _batches(rows):
            connection.execute(statement, [dict(zip(table.parameters, row, strict=False)) for row in batch])
    for batch in _batches(added):
        _insert(connection, table, batch)


def _batches(rows: list[Any]) -> Iterator[list[Any]]:
    rows.sort()
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _insert(connection: Connection, table: WrittenTable, rows: list[Any]) -> None:
    """Hands the driver what it takes at once: SQLAlchemy's way of one dict a row takes twice as long, or more."""
    dialect = connection.dialect
    if dialect.name not in ("sqlite", "postgresql"):
        connection.execute(table.insert, [dict(zip(table.names, row, strict=True)) for row in rows])
        return
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    columns[-1] = _kept(columns[-1], dialect)
    if dialect.name == "postgresql":
        connection.exec_driver_sql(table.postgresql_insert, tuple(map(_array, columns)))
        return
    for number in table.days:
        columns[number] = tuple(map(date.isoformat, columns[number]))
    connection.exec_driver_sql(table.sqlite_insert, list(zip(*columns, strict=True)))


def _array(values: Sequence[Any]) -> str:
    """A literal of an array, which the driver makes of a list item by item."""
    if isinstance(values[0], str):
        quoted = {text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in set(values)}
        return "{" + ",".join(map(quoted.__getitem__, values)) + "}"
    return "{" + ",".join(map(str, values)) + "}"


def _kept(costs: Iterable[Decimal], dialect: Dialect) -> list[Any]:
    """Amounts as a column of them keeps them."""
    keep = Money().process_bind_param
    try:
        return [keep(cost, dialect) for cost in costs]
    except ValueError as error:
        raise NeverError(str(error)) from error
