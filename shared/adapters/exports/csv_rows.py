"""CSV files, parsed by Polars piece by piece: no row and no cell of them is lost without a word."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from shared.adapters.exports import csv_files
from shared.adapters.exports.columns import Layout, layout_of
from shared.adapters.exports.csv_files import CsvFile
from shared.adapters.exports.polars_words import explained
from shared.adapters.exports.summing import Summing, columns_of, summing_of
from shared.domain.charges import CostMetric

# It goes on with what it makes of such rows, and they are found by their marks.
warnings.filterwarnings("ignore", "CSV malformed", UserWarning)
BATCH_ROWS = 500_000
# Pieces that are unpacked and parsed ahead, and how many of them side by side. No more on a machine of more processors:
# each takes its memory.
AHEAD, AT_ONCE = 4, min(os.cpu_count() or 1, 4)
# A cell that is put at the end of each line: a row with as many cells as the header has it in the column after these.
MARK = b"\x1e"
LINE_END = b",%b\n" % MARK
# For each piece glibc has pages cleared that it had just given back, unless something as large as this was once given
# back before.
LARGEST_KEPT = 31 * 2**20


def read_csv(path: Path, metric: CostMetric, today: date) -> tuple[Layout, Summing]:
    """What a file is, and what it comes to; in memory that does not grow with it. Raises NeverError."""
    bytes(LARGEST_KEPT)
    with explained(), csv_files.opened(path) as file:
        layout = layout_of(file.header, metric)
        summing = summing_of(layout, today)
        parsing = _Parsing(file.header, layout)
        for batch in _ahead(_batches(parsing.frames(file))):
            summing.add(batch)
        if parsing.last_cell and not parsing.ends_with_line:
            summing.notes.append(
                f"The file does not end with a line break: were it cut off, its last cell, the {parsing.last_cell}, "
                "might lack its end."
            )
        return layout, summing


def _batches(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows, many at once: sums of few say little."""
    held: list[pl.DataFrame] = []
    for frame in frames:
        held.append(frame)
        if sum(each.height for each in held) >= BATCH_ROWS:
            yield pl.concat(held)
            held = []
    if held:
        yield pl.concat(held)


def _ahead(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same, of which the next is made while one is summed."""
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = beside.submit(next, batches, None)
            yield batch


class _Parsing:
    """Of the columns that are needed. A row is a line, or several where a cell has more than one."""

    def __init__(self, header: list[str], layout: Layout) -> None:
        self._header = header
        names = [str(place) for place in range(len(header))]
        self._columns = columns_of(layout, lambda _, at: pl.col(names[at]))
        # Where this is read, nothing shows that it was cut off; where not, nothing is lost by that.
        at_end = len(header) - 1
        cells = ((cell, (at, *layout.others.get(cell, ()))) for cell, at in layout.places.items())
        self.last_cell = next((cell for cell, places in cells if at_end in places), None)
        self.ends_with_line = True
        used = {name for column in self._columns for name in column.meta.root_names()}
        self._needed = [(place, name) for place, name in enumerate(names) if name in used]
        self._mark = str(len(header))
        self._schema = dict.fromkeys([*names, self._mark], pl.String)

    def frames(self, file: CsvFile) -> Iterator[pl.DataFrame]:
        """The rows of each piece of it."""
        count, cut = 0, b""
        for piece, parsed in self._ahead(file.pieces()):
            whole, cut = cut + piece, b""
            frame = parsed.result() if whole is piece else self._quickly(whole)
            if frame is None or not count:
                frame, cut = self._by_the_letter(whole, count)
            count += frame.height
            self.ends_with_line = whole.endswith(b"\n")
            yield frame
        if cut:
            raise csv_files.not_closed()

    def _ahead(self, pieces: Iterator[bytes]) -> Iterator[tuple[bytes, Future[pl.DataFrame | None]]]:
        """The pieces in their order, each with what comes of it by itself. Some are unpacked and parsed beside."""
        with ThreadPoolExecutor(1) as unpacking, ThreadPoolExecutor(AT_ONCE) as parsing:

            def unpacked() -> tuple[bytes, Future[pl.DataFrame | None]] | None:
                piece = next(pieces, None)
                return (piece, parsing.submit(self._quickly, piece)) if piece else None

            coming = deque(unpacking.submit(unpacked) for _ in range(AHEAD))
            while found := coming.popleft().result():
                yield found
                coming.append(unpacking.submit(unpacked))

    def _quickly(self, whole: bytes) -> pl.DataFrame | None:
        """The rows of a piece; None where they may not be right: the next may have the rest of a cell, too."""
        if MARK in whole:
            return None
        lines = whole if whole.endswith(b"\n") else whole + b"\n"
        # The parser drops a carriage return at the end of any cell.
        marked = lines.replace(b"\n", LINE_END)
        try:
            rows = pl.scan_csv(marked, has_header=False, schema=self._schema, truncate_ragged_lines=True)
            frame = rows.select(*self._columns, self._mark).collect()
        except PolarsError:
            return None
        # Where there are as many rows as marks, and each row has one, each is a line; and where all are in that column,
        # each has as many cells as the header. What quotes hide from the parser, a mark among it, none has.
        are_lines = frame.height == (len(marked) - len(lines)) // (len(LINE_END) - 1)
        is_whole = frame[self._mark].eq_missing(pl.Series([MARK.decode()])).all()
        return frame.drop(self._mark) if are_lines and is_whole else None

    def _by_the_letter(self, whole: bytes, before: int) -> tuple[pl.DataFrame, bytes]:
        """The rows of a piece, and what is left of it: the start of a row."""
        rows, end = csv_files.by_the_letter(whole, self._header, before)
        if len(whole) - end > csv_files.LONGEST_LINE:
            raise csv_files.not_closed()
        cells = {name: [row[place] or None if row else None for row in rows] for place, name in self._needed}
        return pl.DataFrame(cells, dict.fromkeys(cells, pl.String)).select(self._columns), whole[end:]
