"""Parts of statements: long lists of values and of rows, times that stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, bindparam, func, literal

from shared.adapters.database.types import UtcDateTime

T = TypeVar("T")

# SQL Server takes 2,100 parameters a statement; this leaves room for the others of the statement.
CHUNK = 1000
# The parameter that holds the values.
AMONG = "among"


def in_chunks(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in order, in parts short enough for one `IN (…)`; nothing for an empty list."""
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))


def among(statement: Select[*tuple[Any, ...]], column: ColumnElement[T]) -> Select[*tuple[Any, ...]]:
    """The select, for `select_among`, of the rows in which the column is one of some values.

    Put together once for all calls, it takes a quarter of the time of `select_in`.
    """
    return statement.where(column.in_(bindparam(AMONG, expanding=True)))


def select_among(
    connection: Connection, statement: Select[*tuple[Any, ...]], values: Sequence[object], **parameters: object
) -> Iterator[Row[*tuple[Any, ...]]]:
    """The rows of what `among` has put together, for these values; parameters: of the statement's own."""
    for some in in_chunks(values):
        # One by one, rows take longer to come.
        for rows in connection.execute(statement, {**parameters, AMONG: some}).partitions(CHUNK):
            yield from rows


def select_in(
    connection: Connection,
    statement: Select[*tuple[Any, ...]],
    column: ColumnElement[T],
    values: Sequence[T],
    **parameters: object,
) -> Iterator[Row[*tuple[Any, ...]]]:
    """The rows of a select in which the column is one of these values; parameters: of the statement's own."""
    return select_among(connection, among(statement, column), values, **parameters)


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts these rows, if there are any, in one statement; all name the same columns."""
    if rows:
        connection.execute(table.insert(), rows)


def update_in(
    connection: Connection, table: Table, ids: Sequence[int], *which: ColumnElement[bool], **values: object
) -> int:
    """Writes the same into each of the rows with these ids, or into some of them; returns into how many."""
    updates = (table.update().where(table.c.id.in_(some), *which).values(values) for some in in_chunks(ids))
    return sum(connection.execute(each).rowcount for each in updates)


def update_rows(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *key: str, **for_all: ColumnElement[Any]
) -> None:
    """Writes these rows, if there are any, in one statement; all name the same columns, among them the key's.

    for_all: expressions that all of them get.
    """
    if rows:
        update = table.update().where(*(table.c[name] == bindparam(f"its_{name}") for name in key))
        # What is compared may not be named as a column: those are what is set.
        connection.execute(update.values(for_all), [_keyed(row, key) for row in rows])


def _keyed(row: dict[str, Any], key: Sequence[str]) -> dict[str, Any]:
    rest = dict(row)
    its = {f"its_{name}": rest.pop(name) for name in key}
    return rest | its


def kept_or(time: ColumnElement[Any], now: datetime) -> ColumnElement[Any]:
    """The time that a column holds, or `now` where it holds none."""
    # An expression does not hand the column's type to a bare value.
    return func.coalesce(time, literal(now, UtcDateTime()))
