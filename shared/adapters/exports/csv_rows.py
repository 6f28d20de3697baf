"""CSV files, parsed by Polars piece by piece: no row and no cell of them is lost without a word."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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

# It goes on with what it makes of such rows, and they are found by their number.
warnings.filterwarnings("ignore", "CSV malformed", UserWarning)
BATCH_ROWS = 500_000
LAST = "last"
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
        for batch in _batches(parsing.frames(file)):
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


def _ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, of which the next is unpacked while one is parsed."""
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(next, pieces, None)
        while piece := coming.result():
            coming = beside.submit(next, pieces, None)
            yield piece


class _Parsing:
    """Of the columns that are needed. A row is a line, or several where a cell has more than one."""

    def __init__(self, header: list[str], layout: Layout) -> None:
        self._header = header
        names = [str(place) for place in range(len(header))]
        # Where the last column is not read, the parser jumps over what lies behind the others, quotes and all.
        self._columns = [*columns_of(layout, lambda _, at: pl.col(names[at])), pl.col(names[-1]).alias(LAST)]
        # Where this is read, nothing shows that it was cut off; where not, nothing is lost by that.
        at_end = len(header) - 1
        cells = ((cell, (at, *layout.others.get(cell, ()))) for cell, at in layout.places.items())
        self.last_cell = next((cell for cell, places in cells if at_end in places), None)
        self.ends_with_line = True
        used = {name for column in self._columns for name in column.meta.root_names()}
        self._needed = [(place, name) for place, name in enumerate(names) if name in used]
        # A row with more cells is refused where all columns are read, and only there. What is not needed is read as
        # what takes next to nothing, whatever it holds.
        self._schema = {name: pl.String if name in used else pl.Boolean for name in names}

    def frames(self, file: CsvFile) -> Iterator[pl.DataFrame]:
        """The rows of each piece of it."""
        count, cut = 0, b""
        for piece in _ahead(file.pieces()):
            whole, cut = cut + piece, b""
            frame = self._quickly(whole) if count else None
            if frame is None:
                frame, cut = self._by_the_letter(whole, count)
            count += frame.height
            self.ends_with_line = whole.endswith(b"\n")
            yield frame.drop(LAST)
        if cut:
            raise csv_files.not_closed()

    def _quickly(self, whole: bytes) -> pl.DataFrame | None:
        """The rows of a piece; None where they may not be right: the next may have the rest of a cell, too."""
        try:
            rows = pl.scan_csv(whole, has_header=False, schema=self._schema, ignore_errors=True).collect()
            frame = rows.lazy().select(self._columns).collect()
        except PolarsError:
            return None
        # None has more cells than the header: where all have as many together, each has.
        commas = _count(whole, ",") - (not whole.endswith(b","))
        has_its_cells = commas == frame.height * (len(self._header) - 1)
        ends = whole.count(b'"', whole.rfind(b"\n", 0, -1) + 1) % 2 == 0
        return frame if frame.height == _count(whole, "\n", quote_char=None) and has_its_cells and ends else None

    def _by_the_letter(self, whole: bytes, before: int) -> tuple[pl.DataFrame, bytes]:
        """The rows of a piece, and what is left of it: the start of a row."""
        rows, end = csv_files.by_the_letter(whole, self._header, before)
        if len(whole) - end > csv_files.LONGEST_LINE:
            raise csv_files.not_closed()
        cells = {name: [row[place] or None if row else None for row in rows] for place, name in self._needed}
        return pl.DataFrame(cells, dict.fromkeys(cells, pl.String)).select(self._columns), whole[end:]


def _count(text: bytes, ending: str, quote_char: str | None = '"') -> int:
    """How many parts with this end a text has, the last without one too; outside of quotes only, if there are quotes.

    That is the quickest way to count.
    """
    parts = pl.scan_csv(
        text, has_header=False, schema={"0": pl.String}, separator="\x01", eol_char=ending, quote_char=quote_char
    )
    return int(parts.select(pl.len()).collect(engine="streaming").item())
