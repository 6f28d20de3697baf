"""Long lists of values in statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# SQL Server takes 2,100 parameters a statement; this leaves room for the others of the statement.
CHUNK = 1000


def in_chunks(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in order, in parts short enough for one `IN (…)`; nothing for an empty list."""
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
