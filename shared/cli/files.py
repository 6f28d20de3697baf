"""Files that commands read and write."""

from __future__ import annotations

import sys
from pathlib import Path

from shared.cli.failures import WrongUsageError

# As a path: what is read from the standard input, or written to the standard output.
HERE = Path("-")


def content_of(file: Path) -> bytes:
    """What a file, or the standard input, holds. Raises WrongUsageError."""
    try:
        return sys.stdin.buffer.read() if file == HERE else file.read_bytes()
    except OSError as error:
        raise WrongUsageError(f"{file} can't be read: {error.strerror}") from None
