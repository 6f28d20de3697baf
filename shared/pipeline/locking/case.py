"""One message on one project: what it asks for, what is known of the project, and how its decisions are told apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from shared.messages import LockMessage, LockTrigger
from shared.pipeline.locking.figures import Figures
from shared.pipeline.locking.groups import InTime
from shared.ports.clock import Clock
from shared.ports.locks import LockFacts


@dataclass(frozen=True, slots=True)
class Case:
    """One message on one project. origin: the queue message's id. now: when the work on it began."""

    message: LockMessage
    origin: str
    facts: LockFacts
    figures: Figures
    now: datetime
    clock: Clock

    @property
    def ordered(self) -> bool:
        """Whether an operator says so."""
        return self.message.trigger is LockTrigger.OPERATOR

    @property
    def period_start(self) -> date | None:
        """The first day of the budget's period; None where there is none today."""
        return self.facts.period.start if self.facts.period else None

    @property
    def has_budget(self) -> bool:
        """Whether there is a budget for today."""
        return self.facts.budget.amount is not None and self.facts.period is not None

    @property
    def this_budget(self) -> str:
        """The project, the revision of its budget and the period: for what is decided once for each."""
        return f"{self.facts.project.id}/{self.facts.budget.number}/{self.period_start or 'no-period'}"

    def key(self, what: str, *parts: object) -> str:
        """The audit's key of what is decided once for this budget, and these parts; by order, once for the order."""
        ordered = (self.origin,) if self.ordered else ()
        return "/".join(map(str, (what, self.this_budget, *parts, *ordered)))

    def in_time(self, limit: timedelta) -> InTime:
        """Says whether less than `limit` has passed since the work on it began."""
        return lambda: self.clock() - self.now < limit


def digest(*texts: str) -> str:
    """Tells reasons apart in a key."""
    return hashlib.sha256("\n".join(texts).encode("utf-8", "replace")).hexdigest()[:12]
