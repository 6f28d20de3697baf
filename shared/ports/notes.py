"""Small notes beside the queues, which wake no database."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Note(StrEnum):
    """Until when somebody may be writing (a moment); what the watchdog knows (`domain.rounds`)."""

    WRITING = "writing"
    ROUND = "round"


class Notes(Protocol):
    """One text of ASCII letters, of 2,000 at most, for each note. Each write replaces the one before."""

    def noted(self, note: Note) -> str | None:
        """The text; None where there is none. Raises LaterError, NeverError, within some seconds."""
        ...

    def write(self, note: Note, text: str) -> None:
        """Keeps the text. Raises as `noted`."""
        ...
