"""How the program was called: as a module, or, where it is installed, as a command of its own."""

from __future__ import annotations

import sys
from pathlib import Path

AS_MODULE = "python -m shared.cli"
AS_COMMAND = "budget-warden"
INSTALLED = Path(sys.argv[0]).stem == AS_COMMAND
PROGRAM = AS_COMMAND if INSTALLED else AS_MODULE


def as_called(text: str) -> str:
    """The text, with the commands in it as this person has to type them."""
    return text.replace(AS_MODULE, PROGRAM)
