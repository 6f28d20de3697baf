"""Locks of projects: ordered by a person, and what was decided about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.domain.locks import LockMode
from shared.domain.projects import LockPolicy
from shared.domain.texts import fitting
from shared.messages import LockAction, LockMessage, LockTrigger, Queue
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.locks import AuditView, LockFacts, LockLedger
from shared.ports.projects import ProjectLedger
from shared.ports.queues import MessageSender
from shared.services.errors import RequestError, UnknownProjectError
from shared.services.projects import id_of
from shared.services.reasons import given_reason

# A message takes so much of a person's name.
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Ordered:
    """What was asked for of which project. held_since: since when it was locked before, as far as is known.

    mode: what becomes of locks; a lock comes off in every mode.
    """

    acronym: str
    held_since: datetime | None
    mode: LockMode


@dataclass(frozen=True, slots=True)
class LockService:
    """Every method raises LaterError where the database or the queues are away. mode: what is done at 100 %."""

    ledger: LockLedger
    projects: ProjectLedger
    sender: MessageSender
    mode: LockMode
    clock: Clock

    def order(self, project: str, action: LockAction, reason: str, by: str) -> Ordered:
        """Asks for a project's lock, whatever it has spent, or for that to come off. `decisions` say what became of it.

        project: its acronym, in any case, or its id. by: who orders it. Raises UnknownProjectError, and RequestError
        where the reason can't be kept, or the project can't be locked; NeverError where the queue refuses the message.
        """
        why, facts = given_reason(reason), self._facts(project)
        if action is LockAction.LOCK:
            _check_lockable(facts)
        project_id, now, name = facts.project.id, self.clock(), fitting(by, LONGEST_NAME, "")
        # Whatever becomes of the message, and whatever else is on its way, the order counts from now on.
        ordered = Action.LOCK_ORDERED if action is LockAction.LOCK else Action.UNLOCK_ORDERED
        with noted(Change(ordered, facts.project.acronym, now, project_id, why, by=name)):
            self.ledger.order(project_id, action is LockAction.LOCK, now, name, now)
        message = LockMessage(action, project_id, reason=why, trigger=LockTrigger.OPERATOR, by=name, ordered_at=now)
        try:
            self.sender.send(Queue.LOCK, message)
        except (LaterError, NeverError) as error:
            counts = "the order is written down, and carried out within eight hours"
            raise type(error)(f"{counts}, but not now: {error.reason}") from error
        return Ordered(facts.project.acronym, facts.held_since, self.mode)

    def decisions(self, project: str | None = None, limit: int | None = None) -> list[AuditView]:
        """The last `limit` decisions, oldest first, on one project or all. Raises UnknownProjectError."""
        return self.ledger.decisions(None if project is None else id_of(self.projects, project), limit)

    def _facts(self, project: str) -> LockFacts:
        facts = self.ledger.facts(id_of(self.projects, project), self.clock())
        if facts is None:
            raise UnknownProjectError(project)
        return facts


def _check_lockable(facts: LockFacts) -> None:
    name = facts.project.acronym
    if facts.project.lock is LockPolicy.NEVER:
        raise RequestError(f"{name} is marked as never to be locked; to lock it, load it with auto in the column lock")
    if not facts.groups:
        raise RequestError(f"{name} has no resource group in Azure, and nothing else can be locked")
