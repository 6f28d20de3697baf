"""The projects file as CSV that a person wrote: its records by column, or all that is wrong with the file."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shared.domain.texts import is_one_line, shortened
from shared.services.errors import RequestError
from shared.services.spreadsheet import AmbiguousError

SEPARATORS = (",", ";", "\t")
# Excel's own first line; whoever saves such a file again may fill it up with separators, or quote it.
SAYS_SEPARATOR = re.compile('"?sep=([,;|\t])"?[,;|\t]*[ ]*(?=[\r\n]|$)', re.IGNORECASE)
# Thirty times what 10,000 projects take: larger is another file by mistake.
LARGEST_BYTES = 100 * 1024 * 1024
BAD_QUOTES = (
    'a cell that begins with a quote on this line does not end with one (inside it, a quote is written twice: ""); '
    "the lines after it were not read"
)
WORKBOOK = b"PK\x03\x04"
# How no first line of ours begins.
OTHER_KINDS = {
    "JSON": re.compile(r"\s*[\[{]"),
    "YAML": re.compile(r"\s*(---|- |[\w-]+:(\s|$))"),
    "XML or HTML": re.compile(r"\s*<"),
}
AS_UTF8 = "in Excel, choose Save As and 'CSV UTF-8 (Comma delimited)'"

T = TypeVar("T")


class ProjectFileError(RequestError):
    """A projects file that can't be loaded. `faults` names every faulty line, and what would be right."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Columns:
    """Those that every file has, and those that one may lack."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def known(self) -> tuple[str, ...]:
        """All of them."""
        return self.needed + self.optional


@dataclass(slots=True)
class Record:
    """One project's cells by column. line: where it begins, as an editor counts. faults: what is wrong with it.

    ambiguous: cells that may be read in two ways, by column.
    """

    line: int
    cells: Mapping[str, str]
    faults: list[str] = field(default_factory=list)
    ambiguous: dict[str, AmbiguousError] = field(default_factory=dict)

    @property
    def doubts(self) -> int:
        """How much of it is not known for certain so far."""
        return len(self.faults) + len(self.ambiguous)

    def read(self, column: str, parse: Callable[[str], T], otherwise: T) -> T:
        """The cell as `parse` takes it; what is wrong with it becomes a fault.

        otherwise: where it is faulty, or the file has no such column.
        """
        if column not in self.cells:
            return otherwise
        try:
            return parse(_one_line(self.cells[column]))
        except AmbiguousError as error:
            self.ambiguous[column] = error
        except ValueError as error:
            self.fault(column, str(error))
        return otherwise

    def fault(self, column: str, what: str) -> None:
        """Notes what is wrong in a column."""
        self.faults.append(f"line {self.line}, {column}: {what}")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file's records, in its order; the fault that ends the reading, if there is one; what separates its cells."""

    records: list[Record]
    faults: list[str]
    separator: str

    def column(self, name: str) -> list[str]:
        """All of a column's cells; none where the file has no such column."""
        return [record.cells[name] for record in self.records if name in record.cells]

    def ambiguities(self) -> Iterator[str]:
        """Of each column with cells that may be read in two ways, a sentence, once."""
        for column in dict.fromkeys(name for record in self.records for name in record.ambiguous):
            first, *others = (record for record in self.records if column in record.ambiguous)
            error, cell = first.ambiguous[column], shortened(first.cells[column].strip())
            more = f" (and {len(others):,} more in the column)" if others else ""
            yield f"line {first.line}, {column}: '{cell}'{more} may be {error}; {error.advice}"


def read_sheet(content: bytes, columns: Columns) -> Sheet:
    """A file's records.

    content: in UTF-8 or windows-1252, separated by commas, semicolons or tabs; its first line names the columns, in any
    order and case. Raises ProjectFileError where it is no such file.
    """
    text = _text(content)
    for kind in (kind for kind, begins in OTHER_KINDS.items() if begins.match(text)):
        listed = ", ".join(columns.needed)
        raise ProjectFileError([f"the file is {kind}, and CSV is taken, whose first line names the columns: {listed}"])
    separator = _separator(text, columns)
    records: list[Record] = []
    header: list[str] | None = None
    for line, cells in _rows(text, separator):
        if isinstance(cells, str):
            return Sheet(records, [f"line {line}: {cells}"], separator)
        if header is None:
            header = _header(line, cells, columns)
        else:
            records.append(_record(line, header, cells))
    if header is None:
        listed = ", ".join(columns.needed)
        raise ProjectFileError([f"the file is empty; its first line has to name the columns: {listed}"])
    return Sheet(records, [], separator)


def _text(content: bytes) -> str:
    if len(content) > LARGEST_BYTES:
        raise ProjectFileError([f"the file has {len(content):,} bytes; a projects file is smaller than 100 MB"])
    if content.startswith(WORKBOOK):
        raise ProjectFileError([f"the file is an Excel workbook; {AS_UTF8}"])
    text = _decoded(content)
    if "\0" in text:
        raise ProjectFileError([f"the file is not text in UTF-8; {AS_UTF8}"])
    return text


def _decoded(content: bytes) -> str:
    """In UTF-8, or as a spreadsheet on Windows saves what it calls only CSV."""
    if (line := first_line_not_in_utf8(content)) is None:
        return content.decode("utf-8-sig")
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        raise ProjectFileError([f"line {line}: the file is not in UTF-8; {AS_UTF8}"]) from None


def first_line_not_in_utf8(content: bytes) -> int | None:
    """The first line of a file that UTF-8 can't be; None for a file in UTF-8."""
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return None


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """Each row that is not blank, with the line on which it begins; at a row that can't be read, a sentence.

    The line with which a file says its separator to Excel is none.
    """
    lines = io.StringIO(text, newline="")
    # strict: otherwise a quote that is never closed would swallow all the lines after it, without a word.
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    line = 1
    said = SAYS_SEPARATOR.match(text)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not (line == 1 and said):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        yield line, BAD_QUOTES


def _separator(text: str, columns: Columns) -> str:
    """The one that the file says, or that splits the first line into the most columns that we know."""
    if said := SAYS_SEPARATOR.match(text):
        return said[1]
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    return max(SEPARATORS, key=lambda separator: len(set(_names(first.split(separator))) & set(columns.known)))


def _names(cells: Iterable[str]) -> list[str]:
    return [cell.strip().strip('"').strip().lower() for cell in cells]


def _header(line: int, cells: Sequence[str], columns: Columns) -> list[str]:
    names = _names(cells)
    # Spreadsheets write separators behind the last column: such ones have no name.
    unknown = [name for name in names if name and name not in columns.known]
    missing = [column for column in columns.needed if column not in names]
    faults = [f"line {line}: the column {name} is there twice" for name in columns.known if names.count(name) > 1]
    if len(missing) == len(columns.needed):
        faults = [f"line {line}: the first line has to name the columns: {', '.join(columns.needed)}"]
    else:
        faults += [
            f"line {line}: {fault}" for fault in (*_missing(missing, unknown), *_unknown(unknown, columns, names))
        ]
    if faults:
        raise ProjectFileError(faults)
    return names


def _missing(missing: Iterable[str], unknown: list[str]) -> Iterator[str]:
    """Of each column that is missing; an unknown one that is meant to be it is named here, and taken off the others."""
    for column in missing:
        similar = difflib.get_close_matches(column, unknown, n=1)
        for name in similar:
            unknown.remove(name)
        yield f"the column {column} is missing" + "".join(f"; is {_quoted(name)} meant to be it?" for name in similar)


def _unknown(unknown: Iterable[str], columns: Columns, names: Collection[str]) -> Iterator[str]:
    """Of each column that is none: passed over, a project that is never to be locked would be. names: all there are."""
    lacking = [each for each in columns.known if each not in names]
    for name in unknown:
        similar = difflib.get_close_matches(name, lacking, n=1) or difflib.get_close_matches(name, columns.known, n=1)
        yield (
            f"there is no column {_quoted(name)}; "
            + "".join(f"name it {each}, or " for each in similar)
            + "take it out"
        )


def _quoted(name: str) -> str:
    return f"'{shortened(name)}'"


def _record(line: int, header: Sequence[str], cells: list[str]) -> Record:
    record = Record(line, dict(zip(header, cells + [""] * len(header), strict=False)))
    if len(cells) < len(header):
        record.faults.append(f"line {line}: it has {len(cells)} cells, and the first line names {len(header)} columns")
    elif any(cell.strip() for cell in cells[len(header) :]):
        record.faults.append(
            f"line {line}: it has {len(cells)} cells, and the first line names {len(header)} columns; "
            "a cell that holds the separator has to stand in double quotes"
        )
    elif any(cell.strip() for name, cell in zip(header, cells, strict=False) if not name):
        record.faults.append(f"line {line}: a cell stands in a column that the first line does not name")
    return record


def _one_line(text: str) -> str:
    if not is_one_line(text):
        raise ValueError("it holds a line break or another control character; write one line of text")
    return text.strip()
