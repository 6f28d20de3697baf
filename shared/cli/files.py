"""Files that commands read and write, and the standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from shared.cli.failures import WrongUsageError

# As a path: what is read from the standard input, or written to the standard output.
HERE = Path("-")


def path_in(text: str | Path) -> Path:
    """The file that a person names. Raises WrongUsageError where a script's variable was not set: as a path, that would
    be the present folder."""
    if not str(text).strip():
        raise WrongUsageError("FILE is empty; say what it is, or leave it out")
    return Path(text)


def content_of(file: Path) -> bytes:
    """What a file, or the standard input, holds. Raises WrongUsageError."""
    try:
        return _handed_in() if file == HERE else file.read_bytes()
    except IsADirectoryError:
        raise WrongUsageError(f"{file} is a folder; name a file") from None
    except OSError as error:
        raise WrongUsageError(f"{file} can't be read: {error.strerror}") from None


def _handed_in() -> bytes:
    if sys.stdin is None:
        raise WrongUsageError("the standard input is closed: nothing can come in there")
    return sys.stdin.buffer.read()


def somebody_types() -> bool:
    """Whether there is a person who can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()
