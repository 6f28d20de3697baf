"""Reads the answer to an Azure cost query: pages of rows, checked cell by cell, and made into charges.

What is wrong with a page is said with its page and row, counted from 1, in a NeverError; a row whose currency, day,
service or amount can't be right is set aside, for it is a fault of its group's alone. Columns are worked through
as a whole, and each name or day is checked once however many rows it stands in: a night brings millions of rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from typing import Any, Generic, TypeVar

from shared.domain.charges import ChargeSet, group_name, key_of_group, rounded_columns, service_name
from shared.domain.money import MoneyError, add, parse_currency
from shared.domain.periods import Period
from shared.domain.texts import shortened, storable
from shared.ports.costs import CostQuery
from shared.ports.errors import LaterError, NeverError

# By what we call the cell: Azure's names for its column, without regard to case; the first that is there counts.
COLUMNS = {
    "cost": ("cost", "pretaxcost"),
    "group": ("resourcegroupname", "resourcegroup"),
    "day": ("usagedate",),
    "service": ("servicename",),
    "currency": ("currency",),
}
# More than any database here holds.
PAST_ALL_BOUNDS = Decimal("1e18")

Value = TypeVar("Value")


class CellError(ValueError):
    """A cell that can't be right; the text says why."""


Columns = tuple[list[Any], list[Any], list[Any], list[Any]]
"""Groups, days, services and amounts, of as many rows each"""


class Answer:
    """Collects the pages of one query's answer. bodies: those that were taken, as they came.

    begun_anew: how often it was, since a page was refused. odd: what is wrong with rows that were set aside, by the key
    of their group; of each group the first.
    """

    def __init__(self, query: CostQuery, begun_at: datetime, pages: Iterable[bytes] = (), begun_anew: int = 0) -> None:
        self.query = query
        self.begun_at = begun_at
        self.begun_anew = begun_anew
        self.bodies: list[bytes] = []
        self.odd: dict[str, str] = {}
        self._groups = KnownCells(group_reader(query.resource_groups))
        self._days = KnownCells(day_reader(query.window))
        self._services, self._currencies = KnownCells(_service), KnownCells(_currency)
        self._columns: dict[str, Columns] = {}
        for page in pages:
            self.add(page)

    @property
    def pages(self) -> int:
        """How many were taken."""
        return len(self.bodies)

    def add(self, body: bytes) -> str | None:
        """Takes the next page's JSON; returns the link to the page after it, if there is one.

        Raises LaterError where the body is not JSON (cut off on its way, or a proxy's page), NeverError where it
        is not the answer that was asked for.
        """
        properties = self._properties(body)
        rows = properties.get("rows")
        if not isinstance(rows, list):
            raise self._wrong("it has no list of rows")
        if rows:
            self._add_rows(rows, properties.get("columns"))
        link = properties.get("nextLink") or None
        if link is not None and not isinstance(link, str):
            raise self._wrong("its nextLink is no link")
        self.bodies.append(body)
        return link

    def charges(self) -> tuple[ChargeSet, ...]:
        """All the rows so far as charges, rounded for storing: of one currency each."""
        return tuple(self._rounded(currency, columns) for currency, columns in sorted(self._columns.items()))

    def _rounded(self, currency: str, columns: Columns) -> ChargeSet:
        try:
            return rounded_columns(*columns, currency)
        except ArithmeticError:
            return rounded_columns(*self._without_too_large(columns), currency)

    def _without_too_large(self, columns: Columns) -> Columns:
        """The columns without amounts that no database holds; notes what is wrong with those."""
        groups, days, services, costs = columns
        right = [row for row, cost in enumerate(costs) if cost.copy_abs() < PAST_ALL_BOUNDS]
        for row in set(range(len(costs))).difference(right):
            reason = f"Azure's answer holds an amount that is too large to be kept: {costs[row]:.3E}."
            self.odd.setdefault(key_of_group(groups[row]), reason)
        kept = [[column[row] for row in right] for column in (groups, days, services, costs)]
        return kept[0], kept[1], kept[2], kept[3]

    def _properties(self, body: bytes) -> dict[str, Any]:
        try:
            # NaN and Infinity become text, which is refused as an amount where its row is known.
            answer = json.loads(body, parse_float=Decimal, parse_constant=str)
        except InvalidOperation:
            raise self._wrong("it holds a number past all bounds") from None
        except (ValueError, RecursionError):
            raise LaterError(
                f"Page {self.pages + 1} of Azure's answer is not whole: it can't be read as JSON."
            ) from None
        properties = answer.get("properties") if isinstance(answer, dict) else None
        if not isinstance(properties, dict):
            raise self._wrong("it has no properties")
        return properties

    def _add_rows(self, rows: list[Any], columns: Any) -> None:
        places, width = self._places(columns, COLUMNS)
        cells = _without_nothing(self._transposed(rows, width), places)
        groups = self._looked_up("group", cells[places["group"]], self._groups)
        try:
            currencies, days, services, costs = self._read(cells, places)
        except (CellError, TypeError):  # TypeError: a list or an object, which no dictionary takes
            right = self._set_aside(cells, places, groups)
            groups = [groups[row] for row in right]
            currencies, days, services, costs = self._read([[column[row] for row in right] for column in cells], places)
        read: list[list[Any]] = [groups, days, services, costs]
        for currency in dict.fromkeys(currencies):
            is_one = currencies.count(currency) == len(currencies)
            chosen = read if is_one else [_chosen(column, currencies, currency) for column in read]
            known: Columns = self._columns.setdefault(currency, ([], [], [], []))
            for cells_before, new in zip(known, chosen, strict=True):
                cells_before.extend(new)

    def _read(
        self, cells: Sequence[Sequence[Any]], places: dict[str, int]
    ) -> tuple[list[str], list[date], list[str], list[Any]]:
        """What can make its row an odd one. Raises CellError, TypeError."""
        costs = cells[places["cost"]]
        return (
            list(map(self._currencies.__getitem__, cells[places["currency"]])),
            list(map(self._days.__getitem__, cells[places["day"]])),
            list(map(self._services.__getitem__, cells[places["service"]])),
            list(costs) if set(map(type, costs)) == {Decimal} else list(map(_cost, costs)),
        )

    def _set_aside(self, cells: Sequence[Sequence[Any]], places: dict[str, int], groups: Sequence[str]) -> list[int]:
        """Notes what is wrong with the odd rows, and gives the numbers of the others."""
        readers: dict[str, Callable[[Any], Any]] = {
            "currency": self._currencies.read,
            "day": self._days.read,
            "service": self._services.read,
            "cost": _cost,
        }
        right = []
        for row, group in enumerate(groups):
            try:
                for name, read in readers.items():
                    read(cells[places[name]][row])
            except CellError as error:
                self.odd.setdefault(key_of_group(group), self._wrong(f"the {name} {error}", row + 1).reason)
            else:
                right.append(row)
        return right

    def _places(self, columns: Any, wanted: Iterable[str]) -> tuple[dict[str, int], int]:
        """Where each cell of ours stands in a row, and how many cells a row has."""
        if not isinstance(columns, list):
            raise self._wrong("it has rows, and no list of columns")
        names = [str(column.get("name")).lower() if isinstance(column, dict) else "" for column in columns]
        places = {}
        for meaning in wanted:
            accepted = COLUMNS[meaning]
            place = next((names.index(name) for name in accepted if name in names), None)
            if place is None:
                listed = ", ".join(name or "?" for name in names)
                raise self._wrong(f"it has no column {' or '.join(accepted)} (for the {meaning}), only {listed}"[:300])
            places[meaning] = place
        return places, len(names)

    def _transposed(self, rows: list[Any], width: int) -> list[list[Any]]:
        if set(map(type, rows)) == {list} and set(map(len, rows)) == {width}:
            return [list(map(itemgetter(place), rows)) for place in range(width)]
        number, row = next(
            (number, row) for number, row in enumerate(rows, 1) if not isinstance(row, list) or len(row) != width
        )
        count = f"{len(row)} cells" if isinstance(row, list) else "none"
        raise self._wrong(f"it has {count}, and the page has {width} columns", number)

    def _looked_up(self, name: str, cells: Sequence[Any], known: KnownCells[Value]) -> list[Value]:
        try:
            return list(map(known.__getitem__, cells))
        except (CellError, TypeError):  # TypeError: a list or an object, which no dictionary takes
            return self._each(name, cells, known.read)

    def _each(self, name: str, cells: Sequence[Any], read: Callable[[Any], Value]) -> list[Value]:
        """The cells one by one, so that the first one that can't be right is named with its row."""
        values = []
        for number, cell in enumerate(cells, 1):
            try:
                values.append(read(cell))
            except CellError as error:
                raise self._wrong(f"the {name} {error}", number) from None
        return values

    def _wrong(self, what: str, row: int | None = None) -> NeverError:
        page = f"page {self.pages + 1}"
        where = page if row is None else f"{page}, row {row}"
        return NeverError(f"Azure's answer is not what was asked for: {where}: {what}.")


class Totals(Answer):
    """Collects the pages of an answer without days, groups and services. sums: by currency, not rounded."""

    def __init__(self, query: CostQuery, begun_at: datetime) -> None:
        super().__init__(query, begun_at)
        self.sums: dict[str, Decimal] = {}

    def _add_rows(self, rows: list[Any], columns: Any) -> None:
        places, width = self._places(columns, ("cost", "currency"))
        cells = self._transposed(rows, width)
        currencies = self._looked_up("currency", cells[places["currency"]], self._currencies)
        for currency, cost in zip(currencies, self._each("cost", cells[places["cost"]], _cost), strict=True):
            self.sums[currency] = add(self.sums.get(currency, Decimal(0)), cost)


def _without_nothing(cells: list[list[Any]], places: dict[str, int]) -> Sequence[Sequence[Any]]:
    """The columns without the rows of exactly 0 that name no currency: such an amount has none."""
    currencies, costs = cells[places["currency"]], cells[places["cost"]]
    if all(currencies):
        return cells
    kept = [number for number, (name, cost) in enumerate(zip(currencies, costs, strict=True)) if name or cost != 0]
    return [[column[number] for number in kept] for column in cells]


def _chosen(column: Sequence[Any], currencies: Sequence[str], currency: str) -> list[Any]:
    """The cells of the rows in this currency."""
    return [cell for cell, of_row in zip(column, currencies, strict=True) if of_row == currency]


class KnownCells(dict[Any, Value], Generic[Value]):
    """Cells and what they mean; each is read once, when it is first met. Raises CellError."""

    def __init__(self, read: Callable[[Any], Value]) -> None:
        super().__init__()
        self.read = read

    def __missing__(self, cell: Any) -> Value:
        value = self[cell] = self.read(cell)
        return value


def group_reader(asked: Sequence[str]) -> Callable[[Any], str]:
    """Reads a group's name as spelled; empty for what belongs to no group. `asked`: take these only, if any."""
    keys = frozenset(key_of_group(name) for name in asked)

    def read(cell: Any) -> str:
        name = group_name(_text(cell))
        if keys and key_of_group(name) not in keys:
            raise CellError(f"is {_shown(cell)}, which was not asked for")
        return name

    return read


def day_reader(window: Period) -> Callable[[Any], date]:
    """Reads a day written as the number yyyymmdd, inside the window."""

    def read(cell: Any) -> date:
        if type(cell) is not int:
            raise CellError(f"is {_shown(cell)}; it has to be a number like {window.start:%Y%m%d}")
        try:
            day = date(cell // 10_000, cell // 100 % 100, cell % 100)
        except (ValueError, OverflowError):
            raise CellError(f"is {_shown(cell)}, and there is no such day") from None
        if day not in window:
            raise CellError(f"is {day}, outside of what was asked for ({window.start} to {window.last_day})")
        return day

    return read


def _service(cell: Any) -> str:
    return service_name(_text(cell))


def _currency(cell: Any) -> str:
    try:
        return parse_currency(_text(cell))
    except MoneyError as error:
        raise CellError(f"is wrong: {error}") from None


def _cost(cell: Any) -> Decimal:
    """An amount: JSON's whole numbers come as int, and true and false are no numbers."""
    if type(cell) is Decimal:
        return cell
    if type(cell) is int:
        return Decimal(cell)
    raise CellError(f"is {_shown(cell)}, which is no number")


def _text(cell: Any) -> str:
    """A name; null counts as empty."""
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise CellError(f"is {_shown(cell)}, which is no text")
    return storable(cell)


def _shown(cell: Any) -> str:
    return shortened(f"'{cell}'" if isinstance(cell, str) else str(cell))
