"""The audit: what people changed, and when which operators were here."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ports.changes import Actor, ChangeLedger, ChangeView
from shared.ports.clock import Clock
from shared.ports.projects import ProjectLedger
from shared.services.projects import id_of


@dataclass(frozen=True, slots=True)
class ChangeService:
    """Raises LaterError where the database is away."""

    ledger: ChangeLedger
    projects: ProjectLedger
    clock: Clock

    def listed(self, project: str = "", limit: int = 50, after: int | None = None) -> list[ChangeView]:
        """Changes, oldest first: the last ones, or the first ones after this id.

        project: only those of this project: its acronym, in any case, or its id. Raises UnknownProjectError.
        """
        return self.ledger.changes(after, limit, id_of(self.projects, project) if project else None)

    def signed_in(self, actor: Actor) -> None:
        """Notes that an operator is here, once a day."""
        self.ledger.signed_in(actor, self.clock())
