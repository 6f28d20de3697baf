"""Rows and pages of a cost query: filtered, summed, spelled as Azure spells them, and cut to size."""

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from operator import itemgetter
from threading import Lock
from zlib import crc32

from localdev.azure_sim.charges import EXACT, ChargeBook, Row, days_between, exact_sum, plain
from localdev.azure_sim.query import GROUP, SERVICE, CostQuery

CACHED_ROWS = 400_000  # some 70 MB

Cells = tuple[str, ...]
"""One row of an answer, each cell as JSON text."""


@dataclass(frozen=True)
class Column:
    """A column of an answer: its name and type, and where its cell stands among `_cells`."""

    name: str
    type: str
    source: int


@dataclass
class Table:
    """A page's columns and rows; rows have a cell per column, as JSON text."""

    columns: list[Column]
    rows: list[Cells]


@dataclass(frozen=True)
class Position:
    """Where a page begins: the day, and how many of that day's rows come before it."""

    day: date
    index: int


class Quoted(dict[str, str]):
    """Texts as JSON strings; each is made once, since few names stand in millions of rows."""

    def __missing__(self, text: str) -> str:
        self[text] = json.dumps(text)
        return self[text]


class Pages:
    """Cuts the answers to cost queries out of a book; with `vary`, as irregular as Azure's are."""

    def __init__(self, book: ChargeBook, vary: bool) -> None:
        self._book, self._vary = book, vary
        self._quoted = Quoted()
        self._cache = DayCache(CACHED_ROWS)

    def cut(
        self, subscription: str, query: CostQuery, start: Position, size: int, number: int
    ) -> tuple[Table, Position | None]:
        """The page that begins at `start`, and where the next one begins (None: this is the last).

        `number` counts requests: with `vary`, it decides about the columns' order and names.
        """
        if not query.by_day:
            return self._totals(subscription, query, number if self._vary else 0), None
        columns = list(_columns(query, number if self._vary else 0))
        choose = itemgetter(*(column.source for column in columns))
        rows: list[Cells] = []
        for position, day_rows in self._from(subscription, query, start):
            if len(rows) == size:
                return Table(columns, rows), position
            part = day_rows[position.index : position.index + size - len(rows)]
            rows += map(choose, self._cells(position.day, part))
            if position.index + len(part) < len(day_rows):
                return Table(columns, rows), Position(position.day, position.index + len(part))
        return Table(columns, rows), None

    def _totals(self, subscription: str, query: CostQuery, number: int) -> Table:
        """One row a currency, on one page."""
        sums: dict[str, list[Decimal]] = {}
        for _position, rows in self._from(subscription, query, Position(query.first, 0)):
            for _group, _service, currency, amount in rows:
                sums.setdefault(currency, []).append(Decimal(amount))
        columns = [column for column in _columns(query, number) if column.name != "UsageDate"]
        rows_of = [{0: plain(exact_sum(sums[currency])), 4: self._quoted[currency]} for currency in sorted(sums)]
        return Table(columns, [tuple(row[column.source] for column in columns) for row in rows_of])

    def _from(self, subscription: str, query: CostQuery, start: Position) -> Iterator[tuple[Position, list[Row]]]:
        """The days that have rows, from the start on, with what they hold."""
        for day in days_between(start.day, query.last):
            rows = self._matching(subscription, query, day)
            index = start.index if day == start.day else 0
            if len(rows) > index:
                yield Position(day, index), rows

    def _matching(self, subscription: str, query: CostQuery, day: date) -> list[Row]:
        rows = self._day(subscription, day)
        matches = query.matches
        if matches is None:
            return rows
        return [row for row in rows if matches((row[0].lower(), row[1].lower()))]

    def _day(self, subscription: str, day: date) -> list[Row]:
        version = self._book.version(subscription, day)
        rows = self._cache.get((subscription, day, version))
        if rows is None:
            rows = self._book.rows(subscription, day)
            rows = list(_as_azure_spells(rows, day)) if self._vary else rows
            self._cache.put((subscription, day, version), rows)
        return rows

    def _cells(self, day: date, rows: list[Row]) -> list[Cells]:
        """The rows' cells in the order amount, group, day, service, currency."""
        text, quoted = day.strftime("%Y%m%d"), self._quoted
        return [
            (amount, quoted[group], text, quoted[service], quoted[currency])
            for group, service, currency, amount in rows
        ]


class DayCache:
    """The rows of the days that were asked for last, up to a number of rows in all."""

    def __init__(self, most_rows: int) -> None:
        self._most = most_rows
        self._held = 0
        self._days: OrderedDict[tuple[str, date, int], list[Row]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, date, int]) -> list[Row] | None:
        """The day's rows, if they are still there."""
        with self._lock:
            if key in self._days:
                self._days.move_to_end(key)
            return self._days.get(key)

    def put(self, key: tuple[str, date, int], rows: list[Row]) -> None:
        """Keeps the day's rows, and lets the days go that were not asked for longest."""
        with self._lock:
            self._held += len(rows) - len(self._days.pop(key, ()))
            self._days[key] = rows
            while self._held > self._most and len(self._days) > 1:
                self._held -= len(self._days.popitem(last=False)[1])


def _columns(query: CostQuery, number: int) -> list[Column]:
    """The answer's columns: names and order differ from request to request, and repeat after twenty."""
    names = {
        GROUP: Column(("ResourceGroupName", "ResourceGroup")[number // 2 % 2], "String", 1),
        SERVICE: Column("ServiceName", "String", 3),
    }
    columns = [Column(("Cost", "PreTaxCost")[number % 2], "Number", 0)]
    columns.append(Column("UsageDate", "Number", 2))
    columns += [names[dimension] for dimension in query.grouping]
    columns.append(Column("Currency", "String", 4))
    turn = number % len(columns)
    return columns[turn:] + columns[:turn]


def _as_azure_spells(rows: list[Row], day: date) -> Iterator[Row]:
    """The rows with the group names of the real world.

    Some groups are spelled in another case every other day; some come under two spellings every fifth day, with
    what they cost split between the two.
    """
    for row in rows:
        habit = crc32(row[0].lower().encode()) % 8
        if habit == 0 and day.toordinal() % 5 == 0:
            yield from _split(row)
        elif habit in (1, 2) and (day.toordinal() + habit) % 2:
            yield (row[0].upper() if habit == 1 else row[0].lower(), *row[1:])
        else:
            yield row


def _split(row: Row) -> Iterator[Row]:
    """The row as two, under two spellings, that add up to exactly what it was."""
    group, service, currency, text = row
    amount = Decimal(text)
    part = (amount / 3).quantize(amount, context=EXACT)
    if group.upper() == group.lower() or part == 0:
        yield row
        return
    yield group.lower(), service, currency, plain(EXACT.subtract(amount, part))
    yield group.upper(), service, currency, plain(part)
