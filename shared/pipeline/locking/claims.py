"""The claim in the database, by which one message at a time works on a project's lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.pipeline.locking.limits import BUSY_WAIT, CLAIM
from shared.ports.errors import LaterError
from shared.ports.locks import LockLedger


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims on projects' locks. What is written down about a lock ends the claim, so that it is taken again after."""

    ledger: LockLedger

    def take(self, project_id: int, origin: str, now: datetime) -> None:
        """Takes the claim for this message, or takes it again. Raises LaterError while another message has it."""
        if not self.ledger.claim(project_id, origin, now + CLAIM, now):
            raise LaterError("another message is working on this project's lock", BUSY_WAIT)

    def release(self, project_id: int, origin: str) -> None:
        """Ends the claim, if it is this message's."""
        self.ledger.release(project_id, origin)
