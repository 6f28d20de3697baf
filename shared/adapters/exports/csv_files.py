"""CSV files before they are parsed: unpacked, in pieces of whole lines, and what would fill the memory is refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import cast

from isal import isal_zlib
from isal.igzip_lib import IsalError

from shared.adapters.exports.columns import BOM
from shared.ports.errors import NeverError

GZIP = b"\x1f\x8b"
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
BOM_BYTES = BOM.encode()
# What is decoded in place of bytes that are no UTF-8.
REPLACED = "\N{REPLACEMENT CHARACTER}"
# What a maker of files does wrong, it does in all of them: the first piece is read by the letter.
FIRST_PIECE, PIECE = 2**20, 8 * 2**20
NEAR = 2**16
# A line as long as this has to be held whole; the longest that providers write have some 100 kB, of tags.
LONGEST_LINE = 16 * 2**20
# Exports shrink to a tenth or less, bombs to a thousandth. What is small does no harm.
MOST_TIMES, HARMLESS = 200, 64 * 2**20
# Its types say that it is an error, not a kind of them.
DAMAGED = cast("type[Exception]", IsalError)
# By itself, the module refuses a cell of more than 128 kB. Pieces are not longer than we say.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file of which the header is read, and what follows is still to come."""

    header: list[str]
    content: Iterator[bytes]

    def pieces(self) -> Iterator[bytes]:
        """What follows, in whole lines of some MB; the last may lack its end."""
        held: list[bytes | memoryview] = []
        size, enough = 0, FIRST_PIECE // 2
        for chunk in self.content:
            size += len(chunk)
            end = chunk.rfind(b"\n") + 1 if size >= enough else 0
            if end:
                # One that is whole by itself is not copied.
                yield b"".join((*held, chunk if end == len(chunk) else memoryview(chunk)[:end]))
                held, size, enough = [], len(chunk) - end, PIECE
            if end < len(chunk):
                held.append(chunk[end:])
            if size > LONGEST_LINE:
                raise NeverError(f"The file has a line of more than {LONGEST_LINE // 2**20} MB, as no export does.")
        if held:
            yield b"".join(held)


@contextmanager
def opened(path: Path) -> Iterator[CsvFile]:
    """A file, for as long as this lasts. Raises NeverError, as the pieces do."""
    with path.open("rb", buffering=0) as file:
        content = _content(file, path.stat().st_size)
        start = b""
        while len(start) < FIRST_PIECE and (chunk := next(content, b"")):
            start += chunk
        _check_kind(start)
        header, end = _header(start)
        _check_separator(header)
        # Some of Azure's files have one before their first row, too.
        rows = start[end:].removeprefix(BOM_BYTES)
        yield CsvFile(header, chain((rows[:FIRST_PIECE], rows[FIRST_PIECE:]), content))


def _content(file: FileIO, size: int) -> Iterator[bytes]:
    packed = file.read(len(GZIP)) == GZIP
    file.seek(0)
    if packed:
        yield from _unpacked(file, size)
        return
    yield file.read(FIRST_PIECE)
    while chunk := file.read(_to_a_line_end(file)):
        yield chunk


def _to_a_line_end(file: FileIO) -> int:
    """How many bytes to read for a piece, that a line may end with them."""
    at = file.tell()
    file.seek(at + PIECE - NEAR)
    near = file.read(NEAR)
    file.seek(at)
    return PIECE - NEAR + (near.rfind(b"\n") + 1 or NEAR)


def _unpacked(file: FileIO, size: int) -> Iterator[bytes]:
    """What a gzip file's members hold, each of them checked by its sum."""
    left, packed = max(HARMLESS, MOST_TIMES * size), file.read(FIRST_PIECE)
    while packed:
        member = isal_zlib.decompressobj(wbits=31)
        while not member.eof:
            packed = packed or file.read(FIRST_PIECE)
            try:
                chunk = member.decompress(packed, PIECE)
            except DAMAGED:
                raise _cut_off() from None
            if not packed and not chunk and not member.eof:
                raise _cut_off()
            packed = member.unconsumed_tail
            left -= len(chunk)
            if left < 0:
                raise NeverError(f"The file unpacks to more than {MOST_TIMES} times its size, as no export does.")
            if chunk:
                yield chunk
        packed = _next_member(member.unused_data, file)


def _next_member(packed: bytes, file: FileIO) -> bytes:
    """What is left of a file; zeros after the last member only fill a block of some store."""
    while not (packed := packed.lstrip(b"\0")):
        if not (packed := file.read(FIRST_PIECE)):
            break
    return packed


def by_the_letter(piece: bytes, header: list[str], before: int) -> tuple[list[list[str]], int]:
    """The rows of a piece, each with as many cells as the header or none, and where the last whole one of them ends.

    Slow. before: how many rows come before it. Raises NeverError.
    """
    rows: list[list[str]] = []
    read = end = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for line in io.BytesIO(piece):
            read += len(line)
            yield line.decode()

    try:
        for row in csv.reader(lines(), strict=True):
            rows.append(row)
            end = read
            if row and len(row) != len(header):
                said = f"{len(row):,} cell{'' if len(row) == 1 else 's'}, and the header {len(header):,}"
                raise NeverError(f"Row {before + len(rows):,} after the header has {said}.")
    except UnicodeDecodeError:
        raise NeverError("The file is broken: it is not in UTF-8.") from None
    except csv.Error as error:
        # The next piece may have the rest of a cell with several lines.
        if "unexpected end" not in str(error):
            raise _broken(str(error)) from None
    return rows, end


def _broken(said: str) -> NeverError:
    if "new-line character" in said:
        return NeverError("The file has lines that end in a carriage return alone, which is read as no end of a line.")
    return NeverError(f"The file's quotes are broken ({said}).")


def not_closed() -> NeverError:
    """What is to be said of a cell that does not end."""
    return NeverError("The file's quotes are broken: one is opened that nobody closes.")


def _check_kind(start: bytes) -> None:
    if not start:
        raise NeverError("The file is empty; an export without charges has a header.")
    if start.removeprefix(BOM_BYTES).lstrip().startswith((b"{", b"[")):
        raise NeverError("The file is JSON, and no manifest of an export.")


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
    used = [word for separator, word in OTHER_SEPARATORS.items() if len(header) == 1 and separator in header[0]]
    if used:
        raise NeverError(f"The file's cells are separated by {used[0]}; commas are read.")


def _cut_off() -> NeverError:
    return NeverError("The file is cut off or damaged: its gzip can't be unpacked to its end.")
