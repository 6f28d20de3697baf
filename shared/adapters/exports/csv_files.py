"""CSV files before they are parsed: their header, and what would fill the memory or break the parser is refused."""

from __future__ import annotations

import csv
import gzip
import io
import mmap
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.adapters.exports.columns import BOM
from shared.ports.errors import NeverError

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
BOM_BYTES = BOM.encode()
# What is decoded in place of bytes that are no UTF-8.
REPLACED = "\N{REPLACEMENT CHARACTER}"
PIECE = 2**20
# A line as long as this has to be held whole; the longest that providers write have some 100 kB, of tags.
LONGEST_LINE = 16 * 2**20
# Exports shrink to a tenth or less, bombs to a thousandth. What is small does no harm.
MOST_TIMES, HARMLESS = 200, 64 * 2**20


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that can be parsed in pieces. lines: how many it has after its header; None where nobody counted them."""

    path: Path
    header: list[str]
    header_lines: int
    lines: int | None

    def count_lines(self) -> int:
        """How many lines it has, whatever its quotes, in memory that does not grow with it."""
        if self.lines is not None:
            return self.lines
        lines, last = 0, b""
        with self.path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE // 4):
                lines, last = lines + piece.count(b"\n"), piece
        return lines + (not last.endswith(b"\n"))

    def check(self, rows: int, lines: int) -> None:
        """Refuses a file of which a parser has found these rows, where rows were lost between quotes.

        lines: of the file. A row is a line, or several where a cell has more than one, which costs have not: then all
        of it is read again, slowly.
        """
        if rows != lines - self.header_lines and rows != self._records():
            raise NeverError(
                f"The file's quotes are broken: {rows:,} rows were found in {lines - self.header_lines:,} lines."
            )

    def _records(self) -> int | None:
        """How many rows it has by the letter; None where one has more or fewer cells than the header."""
        with opened(self.path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            try:
                rows = csv.reader(text, strict=True)
                return sum(1 for row in rows if _is_row(row, self.header)) - 1
            except (csv.Error, UnicodeDecodeError, _OddError):
                return None


class _OddError(Exception):
    """A row that is none."""


def _is_row(row: list[str], header: list[str]) -> bool:
    if row and len(row) != len(header):
        raise _OddError
    return True


@contextmanager
def checked(path: Path) -> Iterator[CheckedFile]:
    """A file that can be parsed in pieces, the same or a copy for as long as this lasts.

    A gzip file is unpacked once for this, and thrown away: it can't be known otherwise how long its lines are.
    Raises NeverError.
    """
    start, lines = _start(path)
    header, end = _header(start)
    _check_separator(header)
    _check_cells(start[end:], header)
    whole = CheckedFile(path, header, start.count(b"\n", 0, end) or 1, lines)
    if not start.startswith(BOM_BYTES, end):
        yield whole
        return
    # Some of Azure's files have one before their first row, too, where the parser would take it for a part of that.
    with TemporaryDirectory(prefix="budget-warden-") as folder:
        copy = Path(folder, "export.csv")
        with opened(path) as file, copy.open("wb") as other:
            other.write(file.read(end))
            file.read(len(BOM_BYTES))
            shutil.copyfileobj(file, other, PIECE)
        yield replace(whole, path=copy)


def opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """A file's content, unpacked."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return gzip.open(path) if packed else path.open("rb")


def _start(path: Path) -> tuple[bytes, int | None]:
    """The first piece, of a file in which no line is too long; and how many lines it has, where they were counted."""
    size, lines = path.stat().st_size, None
    with opened(path) as file:
        if isinstance(file, gzip.GzipFile):
            start, lines = _check_packed(file, size)
        else:
            start = file.read(PIECE)
            if size > LONGEST_LINE:
                _check_plain(file)
    if not start:
        raise NeverError("The file is empty; an export without charges has a header.")
    if start.startswith((ZIP, *UTF_16)):
        raise NeverError("The file is a ZIP or in UTF-16; CSV in UTF-8 (plain or gzip) and Parquet are read.")
    if start.removeprefix(BOM_BYTES).lstrip().startswith((b"{", b"[")):
        raise NeverError("The file is JSON, and no manifest of an export.")
    # The last character may be cut.
    return (start if len(start) < PIECE else start[: start.rfind(b"\n") + 1]), lines


def _check_plain(file: io.BufferedIOBase) -> None:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = 0
        while len(content) - at > LONGEST_LINE:
            at = content.rfind(b"\n", at, at + LONGEST_LINE) + 1
            if not at:
                raise _too_long()
        last = content.rfind(b'"')
        if 0 <= last < len(content) - LONGEST_LINE:
            _check_closed(content[last : last + 2])


def _check_closed(last: bytes) -> None:
    """Refuses a file whose last quote, far from its end, opens a cell: the parser would hold all that follows.

    last: that quote, and what comes after it.
    """
    if last[1:] not in b",\r\n":
        raise NeverError("The file's quotes are broken: one is opened that nobody closes.")


def _check_packed(file: gzip.GzipFile, size: int) -> tuple[bytes, int]:
    """Unpacks all of it; returns the first piece, and how many lines there are."""
    start, unpacked, line, last, quoted, lines = b"", 0, 0, b"", 0, 0
    try:
        while piece := file.read(PIECE):
            start = start or piece
            last += piece[: last.endswith(b'"')]
            if (quote := piece.rfind(b'"')) >= 0:
                last, quoted = piece[quote : quote + 2], unpacked + quote
            unpacked += len(piece)
            lines += piece.count(b"\n")
            end = piece.rfind(b"\n")
            line = line + len(piece) if end < 0 else len(piece) - end - 1
            if unpacked > max(HARMLESS, MOST_TIMES * size):
                raise NeverError(f"The file unpacks to more than {MOST_TIMES} times its size, as no export does.")
            if line > LONGEST_LINE:
                raise _too_long()
    except (EOFError, OSError, zlib.error):
        raise NeverError("The file is cut off or damaged: its gzip can't be unpacked to its end.") from None
    if last and unpacked - quoted > LONGEST_LINE:
        _check_closed(last)
    return start, lines + bool(line)


def _header(start: bytes) -> tuple[list[str], int]:
    """The first record, and where it ends."""
    # Before a quote, it would be a part of the first name, with the quotes.
    text = start.removeprefix(BOM_BYTES).decode(errors="replace")
    lines = io.StringIO(text, newline="")
    try:
        header = next(csv.reader(lines), [])
    except csv.Error:
        raise NeverError("The file is no CSV: its first line can't be read.") from None
    # The reader takes a line after the other, and no more than the record needs.
    record = text[: lines.tell()]
    if REPLACED in record:
        raise NeverError("The file is no CSV in UTF-8: its first line can't be read.")
    return header, len(record.encode()) + (len(BOM_BYTES) if start.startswith(BOM_BYTES) else 0)


def _check_separator(header: list[str]) -> None:
    used = next((word for separator, word in OTHER_SEPARATORS.items() if separator in header[0]), None)
    if len(header) == 1 and used:
        raise NeverError(f"The file's cells are separated by {used}; commas are read.")


def _check_cells(rows: bytes, header: list[str]) -> None:
    """Refuses a file whose first rows have more or fewer cells than its header: such as an amount with a comma.

    What a maker of files does wrong, it does in all of them. rows: whole lines, or all there are.
    """
    if b"\r" in rows.replace(b"\r\n", b""):
        raise NeverError("The file has lines that end in a carriage return alone, which is read as no end of a line.")
    text = rows.decode(errors="replace").removeprefix(BOM)
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True)):
            if row and len(row) != len(header):
                said = f"{len(row):,} cells, and the header {len(header):,}"
                raise NeverError(f"Row {number + 1:,} after the header has {said}.")
    except csv.Error as error:
        # Of a piece of a file, the last cell may be cut.
        if len(rows) < PIECE // 2 or "unexpected end" not in str(error):
            raise NeverError(f"The file's quotes are broken ({error}).") from None


def _too_long() -> NeverError:
    return NeverError(f"The file has a line of more than {LONGEST_LINE // 2**20} MB, as no export does.")
