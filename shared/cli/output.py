"""What is written: tables and sentences for people, JSON for programs, warnings and progress on stderr."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import zip_longest
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from shared.cli.files import somebody_types
from shared.cli.program import as_called
from shared.domain import texts
from shared.domain.money import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

    from shared.domain.budgets import BudgetTerms
    from shared.domain.currencies import Conversion
    from shared.services.totals import Totals

T = TypeVar("T")
# Where the output is no terminal, nothing is to be wrapped or cut: `grep` and `awk` need whole lines.
UNLIMITED_WIDTH = 100_000
# A column of words may be wrapped down to this width; below it, each row is written as a block of its own.
NARROWEST_WORDS = 16
GAP = 2
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column. right: for numbers. words: may be wrapped where the terminal is narrow.

    spare: may be left out there; the one with the highest number goes first.
    """

    title: str
    right: bool = False
    words: bool = False
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text, and how it stands out (a Rich style)."""

    text: str
    style: str = ""


Row = Sequence[Cell | str]
Table = Mapping[Column, Callable[[T], Cell | str]]
"""A table's columns, each with what it says of a record"""


def write_json(value: Any) -> None:
    """Writes nothing but JSON, in UTF-8 whatever the machine's encoding is, as programs expect it."""
    in_utf8().write(json.dumps(value, indent=2, ensure_ascii=False, default=_for_programs) + "\n")


def in_utf8() -> TextIO:
    """stdout, for what programs read."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


def write_text(text: str) -> None:
    """Writes a file's text as it is, in UTF-8 whatever the terminal's encoding is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())


def chosen(record: object, *names: str) -> dict[str, Any]:
    """These fields of a record, for programs."""
    return {name: getattr(record, name) for name in names}


def converted(found: Conversion) -> dict[str, Any]:
    """What was converted, by whose rates: nothing where nothing was."""
    if not found.sources:
        return {}
    by = {"sources": sorted(found.sources), "last_rate_day": found.last_rate_day}
    return {"converted": {"amount": found.total, **by}}


def in_all(found: Totals) -> str:
    """Totals over projects, for people: `275.00 CAD and 20.00 EUR; together 305.00 CAD, by the ECB's rates`."""
    by_currency = " and ".join(money(total, currency) for currency, total in found.by_currency.items()) or "nothing"
    if found.currency is None or found.in_one is None:
        return by_currency
    together = money(found.in_one.total, found.currency)
    if not found.in_one.sources and not found.gaps:
        return by_currency if by_currency == together else f"{by_currency}; together {together}"
    by = f", by {found.in_one}" if found.in_one.sources else ""
    lacks = f" (incomplete: {'; '.join(map(str, found.gaps))})" if found.gaps else ""
    return f"{by_currency}; together {together}{by}{lacks}"


def totals(found: Totals) -> dict[str, Any]:
    """The same, for programs; without a reporting currency, currencies alone."""
    by_currency = {"by_currency": dict(found.by_currency)}
    if found.currency is None or found.in_one is None:
        return by_currency
    in_one = in_reporting_currency(found.in_one.total, found.currency, found.in_one)
    return by_currency | in_one | {"missing": list(map(str, found.gaps))}


def in_reporting_currency(total: Decimal, currency: str, found: Conversion) -> dict[str, Any]:
    """A total over projects, for programs: by whose rates, where something was converted."""
    return {"in_reporting_currency": total, "reporting_currency": currency, **converted(found)}


def say(text: str = "", style: str = "") -> None:
    """A line on stdout."""
    _write(_console(), text, style)


def warn(text: str) -> None:
    """A warning on stderr."""
    _write(_console(stderr=True), f"warning: {text}", "yellow")


def complain(text: str) -> None:
    """An error on stderr."""
    _write(_console(stderr=True), f"error: {text}", "red")


def write_table(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """A table that fits the terminal, page by page where it is longer; whole lines where there is none.

    Nothing is ever cut off. On a terminal, a column that is empty in every row is left out, and so are those that can
    be spared where there is no room, which is said; elsewhere, columns always have their places.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    console = _console()
    if not console.is_terminal:
        _write_lines(console, columns, cells)
        return
    kept, cells = _filled(columns, cells)
    spared = []
    while _narrowest(kept, cells) > console.width and (spare := max(kept, key=attrgetter("spare"))).spare:
        spared.append(spare.title)
        kept, cells = _without(spare, kept, cells)
    with _paged(console, len(cells)):
        if _narrowest(kept, cells) > console.width:
            _write_blocks(console, kept, cells)
        else:
            _write_fitted(console, kept, cells)
    if spared:
        say(f"Left out, since the terminal is narrow: {', '.join(reversed(spared))}.", "dim")


def write_records(table: Table[T], records: Iterable[T]) -> None:
    """A row for each record, as `write_table` writes them."""
    write_table(list(table), [[says(record) for says in table.values()] for record in records])


def write_facts(facts: Iterable[tuple[str, Cell | str]]) -> None:
    """Names and values below each other; names without a value are left out."""
    named = [(name, _cell(value)) for name, value in facts]
    width = max(len(name) for name, _ in named)
    console = _console()
    for name, cell in named:
        if cell.text:
            _write_pair(console, f"{name.ljust(width)}  ", cell)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal that something is going on."""
    console = _console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def tracked(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, with a bar on a terminal that shows how many are done."""
    console = _console(stderr=True)
    if not console.is_terminal or len(items) < 2:
        yield from items
        return
    from rich.progress import track

    yield from track(items, what, console=console, transient=True)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal: is told how many are done, of how many, and what to add to the words."""
    from rich.progress import MofNCompleteColumn

    with _bar(MofNCompleteColumn(), what) as update:
        yield lambda done, total, more: update(completed=done, total=total, description=what + more)


@contextmanager
def reading(what: str, size: int) -> Iterator[Callable[[str, int], None]]:
    """A bar on a terminal: is told on what somebody was at work, and how many bytes of it are done."""
    from rich.progress import DownloadColumn

    with _bar(DownloadColumn(), what, size) as update:
        yield lambda on, done: update(advance=done, description=printable(f"{what} {on}"))


@contextmanager
def _bar(counts: ProgressColumn, what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = _console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), counts, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield partial(bar.update, bar.add_task(what, total=total))


def printable(text: str) -> str:
    """The text with control characters made visible: a message's body must not steer the terminal."""
    text = as_called(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)


def named(names: Sequence[str]) -> str:
    """Some names for people: `A, B and 20 more`."""
    return texts.named(names, MOST_NAMED)


def count(number: int, thing: str) -> str:
    """So many of them: `1 project`, `1,200 projects`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def say_checked(acronyms: Iterable[str], unasked: str | None, *, is_for_programs: bool) -> None:
    """Which projects are compared with their budgets anew; unasked: why that could not be asked for, a warning."""
    checked = sorted(acronyms)
    if unasked:
        warn(f"{unasked}; the watchdog has these projects checked")
    elif checked and not is_for_programs:
        say(f"{count(len(checked), 'project')} checked anew: {texts.named(checked)}.")


def amount(value: Decimal) -> str:
    """An amount for people: `12,500.00`; decimals past the cents only in JSON."""
    return f"{value:,.2f}"


def money(value: Decimal, currency: str | None) -> str:
    """An amount with its currency for people: `12,500.00 CAD`; `-300.00` without one."""
    return f"{amount(value)} {currency or ''}".rstrip()


def exact(totals: Mapping[str, Decimal]) -> str:
    """Sums by currency, to the last digit: they are compared with other exact sums."""
    return " and ".join(f"{plain(total)} {currency}" for currency, total in totals.items()) or "nothing"


def short(value: Decimal) -> str:
    """An amount for tables that are wide: `12,500`, with cents only where there are some."""
    return f"{value:,.0f}" if value == value.to_integral_value() else amount(value)


def budget(terms: BudgetTerms | None) -> str:
    """A budget for people: `12,500.00 CAD`, or `none`."""
    return money(terms.amount, terms.currency) if terms and terms.amount else "none"


def thresholds(percents: Iterable[int]) -> str:
    """Thresholds for people: `50, 90, 100 %`; empty for none."""
    listed = ", ".join(map(str, percents))
    return f"{listed} %" if listed else ""


def percent(value: Decimal | None) -> str:
    """A percentage for people, rounded down, so that 99.99 does not read as 100."""
    return "" if value is None else f"{value // Decimal('0.1') / 10:.1f} %"


def minute(at: datetime | None) -> str:
    """A time for people, in UTC, to the minute."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _for_programs(value: Any) -> str:
    """Amounts in full, days and times as ISO 8601 has them."""
    return plain(value) if isinstance(value, Decimal) else str(value.isoformat())


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNLIMITED_WIDTH
    return console


def _write(console: Console, text: str, style: str) -> None:
    console.print(printable(text), style=style or None, soft_wrap=True)


def _cell(value: Cell | str) -> Cell:
    if isinstance(value, str):
        return Cell(printable(value))
    return value if value.text.isprintable() else Cell(printable(value.text), value.style)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii") if not character.isspace() else " "


def _write_pair(console: Console, name: str, cell: Cell) -> None:
    from rich.text import Text

    indented = cell.text.replace("\n", "\n" + " " * len(name))
    console.print(Text.assemble((name, "bold"), (indented, cell.style)), soft_wrap=True)


def _filled(columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> tuple[list[Column], list[list[Cell]]]:
    kept = [index for index in range(len(columns)) if not cells or any(row[index].text for row in cells)]
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in cells]


def _without(
    column: Column, columns: Sequence[Column], cells: Sequence[Sequence[Cell]]
) -> tuple[list[Column], list[list[Cell]]]:
    place = columns.index(column)
    return [each for each in columns if each is not column], [[*row[:place], *row[place + 1 :]] for row in cells]


@contextmanager
def _paged(console: Console, lines: int) -> Iterator[None]:
    """Hands what is written to the pager that PAGER names (`less`, by default), where it is longer than the screen."""
    pager = os.environ.get("PAGER", "less")
    if lines < console.height or not somebody_types() or not shutil.which(pager.split()[0] if pager.strip() else ""):
        yield
        return
    with console.capture() as captured:
        yield
    # As git calls it: colours are shown, and what fits the screen after all ends at once.
    environment = os.environ | {"LESS": os.environ.get("LESS", "FRX")}
    # Whoever has seen enough ends the pager; that is no fault.
    subprocess.run(pager, shell=True, input=captured.get().encode(), env=environment, check=False)  # noqa: S602


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> list[int]:
    from rich.cells import cell_len

    return [
        max(cell_len(column.title), *(cell_len(row[index].text) for row in cells), 0)
        for index, column in enumerate(columns)
    ]


def _narrowest(columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> int:
    widths = zip(columns, _widths(columns, cells), strict=True)
    return sum(min(width, NARROWEST_WORDS) if column.words else width for column, width in widths) + GAP * (
        len(columns) - 1
    )


def _write_lines(console: Console, columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> None:
    """Rich has nothing to do here, and would take its time for each line."""
    widths = _widths(columns, cells)
    for row in [[Cell(column.title.upper()) for column in columns], *cells]:
        texts = [cell.text.replace("\n", " ") for cell in row]
        padded = [
            text.rjust(width) if column.right else text.ljust(width)
            for column, text, width in zip(columns, texts, widths, strict=True)
        ]
        console.file.write((" " * GAP).join(padded).rstrip() + "\n")


def _write_blocks(console: Console, columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> None:
    width = max(len(column.title) for column in columns) + GAP
    for row in cells:
        for column, cell in zip(columns, row, strict=True):
            if cell.text:
                _write_pair(console, column.title.ljust(width), cell)
        console.print()


def _write_fitted(console: Console, columns: Sequence[Column], cells: Sequence[Sequence[Cell]]) -> None:
    """In the terminal's width, with columns of words wrapped. Rich's own tables take seconds for thousands of rows."""
    from rich.segment import Segment, Segments
    from rich.style import Style

    widths = _fitted_widths(columns, cells, console.width)
    rule = "─" * (sum(widths) + GAP * (len(widths) - 1))
    segments: list[Segment] = []
    for row in [[Cell(column.title, "bold") for column in columns], None, *cells]:
        for line in _wrapped(row, widths) if row else []:
            for column, cell, text, width in zip(columns, row or (), line, widths, strict=True):
                segments += Segment(_padded(text, width, column.right), Style.parse(cell.style)), Segment(" " * GAP)
            segments[-1] = Segment.line()
        if row is None:
            segments += Segment(rule), Segment.line()
    console.print(Segments(segments), end="", crop=False)


def _fitted_widths(columns: Sequence[Column], cells: Sequence[Sequence[Cell]], most: int) -> list[int]:
    """As wide as their texts; where that is too much, the widest columns of words give way."""
    lines = [
        [Cell(max(cell.text.split("\n"), key=len)) if "\n" in cell.text else cell for cell in row] for row in cells
    ]
    widths = _widths(columns, lines)
    words = [index for index, column in enumerate(columns) if column.words]
    while sum(widths) + GAP * (len(widths) - 1) > most:
        widths[max(words, key=lambda index: widths[index])] -= 1
    return widths


def _wrapped(row: Sequence[Cell], widths: Sequence[int]) -> Iterable[Sequence[str]]:
    """The lines of a row, each with a text for every column."""
    from rich.cells import cell_len

    if all(cell_len(cell.text) <= width and "\n" not in cell.text for cell, width in zip(row, widths, strict=True)):
        return [[cell.text for cell in row]]
    from rich.text import Text

    console = _console()
    wrapped = [
        [line.plain for line in Text(cell.text).wrap(console, width, overflow="fold")]
        for cell, width in zip(row, widths, strict=True)
    ]
    return zip_longest(*wrapped, fillvalue="")


def _padded(text: str, width: int, right: bool) -> str:
    from rich.cells import cell_len

    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank
