"""What Polars, or the file system, says of a file that can't be read, in plain words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from polars.exceptions import PanicException, PolarsError

from shared.domain.texts import readable
from shared.ports.errors import LaterError, NeverError

# What is said of where a file is. All else (open files, memory, the disk) is no fault of the file.
OF_THE_PATH = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
TOO_LONG = (errno.ENAMETOOLONG, errno.ELOOP)


@contextmanager
def explained() -> Iterator[None]:
    """Makes a NeverError with a sentence of them; a LaterError of what this machine lacks just now."""
    try:
        yield
    except PolarsError as error:
        raise NeverError(f"The file is broken: {_reason(str(error))}.") from error
    except PanicException as error:
        # Words of its programmers, to each other.
        raise NeverError("The file is broken, or of a kind that is not read.") from error
    except OSError as error:
        reason = f"The file can't be read: {readable(error.strerror or str(error), 200)}."
        # By its kind: Polars gives its errors no number.
        is_of_the_path = isinstance(error, OF_THE_PATH) or error.errno in TOO_LONG
        raise (NeverError if is_of_the_path else LaterError)(reason) from error


def _reason(said: str) -> str:
    first = next(iter(said.splitlines()), "")
    if "parquet" in first.lower():
        return f"it is no Parquet file, or not all of one ({readable(first, 100)})"
    if "more fields" in first:
        return "a row has more fields than the header"
    if "utf-8" in first.lower():
        return "it is not in UTF-8"
    if "malformed" in first or "could not parse" in first:
        return f"its quotes are ({readable(first, 100)})"
    return readable(first, 200)
