"""What people are told about locks: the project's contacts, and the operators. Each mail once, by its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.domain.money import plain
from shared.domain.projects import LockPolicy
from shared.messages import LockAction
from shared.pipeline.operators import Operators, at_most
from shared.ports.azure import LockLevel
from shared.ports.locks import LockFacts
from shared.ports.mails import NewMail, Topic

LOCK_TEMPLATE = "lock"
# Azure's limit for a lock's note.
LONGEST_NOTE = 512


@dataclass(frozen=True, slots=True)
class LockNews:
    """by_hand: an operator ordered it. stopped: machines were deallocated for this lock. run_key: of the check.

    spent: the highest spending that anyone knows of, in the budget's currency; None where nobody knows any.
    """

    by_hand: bool
    stopped: bool
    spent: Decimal | None
    run_key: str | None = None


@dataclass(frozen=True, slots=True)
class LockMails:
    """bcc: who gets a blind copy of what contacts get. portal_url: a link with {acronym}, or empty."""

    operators: Operators
    bcc: tuple[str, ...]
    portal_url: str
    level: LockLevel

    @property
    def ask(self) -> str:
        """Whom to ask about a lock: the first operator."""
        return self.operators.addresses[0] if self.operators.addresses else "your platform team"

    def note(self, facts: LockFacts, reason: str, now: datetime) -> str:
        """What the lock in Azure says of itself: why, when and whom to ask, within Azure's 512 characters."""
        link = self.portal_url.replace("{acronym}", facts.project.acronym)
        ending = f". Ask {self.ask}{f' or see {link}' if link else ''} to have it taken off."
        beginning = f"Budget Warden locked project {facts.project.acronym} on {now:%Y-%m-%d at %H:%M} UTC: {reason}"
        return beginning[: LONGEST_NOTE - len(ending[:LONGEST_NOTE])] + ending[:LONGEST_NOTE]

    def to_contacts(self, facts: LockFacts, what: LockAction, key: str, news: LockNews) -> NewMail:
        """To the contacts: their project is locked now, or open again."""
        amount = facts.budget.amount
        context: dict[str, Any] = {
            "what": f"{what}ed",
            "acronym": facts.project.acronym,
            "name": facts.project.name,
            "by_hand": news.by_hand,
            "level": self.level.value,
            "stopped": news.stopped,
            "spent": None if news.spent is None else plain(news.spent),
            "amount": None if amount is None else plain(amount),
            "currency": facts.budget.terms.currency or None,
            "period_start": facts.period.start.isoformat() if facts.period else None,
            "period_end": facts.period.end.isoformat() if facts.period else None,
            "ask": self.operators.addresses[0] if self.operators.addresses else None,
            "portal_link": self.portal_url.replace("{acronym}", facts.project.acronym) or None,
        }
        return NewMail(
            key=f"lock/{what}ed/{key}",
            template=LOCK_TEMPLATE,
            to=facts.project.contacts,
            bcc=self.bcc,
            context=context,
            topic=Topic.LOCK,
            language=facts.project.language,
            project_id=facts.project.id,
            run_key=news.run_key,
        )

    # --- to the operators ---

    def refused(self, facts: LockFacts, key: str, reason: str, asked: str) -> NewMail:
        """A lock was asked for, and not put on."""
        project = facts.project
        advice = f'To lock it anyway: `python -m shared.cli project lock {project.acronym} --reason "…"`.'
        if project.lock is LockPolicy.NEVER:
            advice = (
                "If it is to be locked: write auto into the column lock of its line in the projects file, and load it."
            )
        return self._notice(
            facts,
            key,
            f"{project.acronym} was not locked",
            f"A lock was asked for project {project.acronym} ({project.name}), and it was not locked: {reason}.",
            [f"It was asked for because: {asked}"] if asked else [],
            advice,
        )

    def would_lock(self, facts: LockFacts, key: str, reason: str, lines: Sequence[str]) -> NewMail:
        """What would have been done, were it not for LOCK_MODE dry-run."""
        project = facts.project
        return self._notice(
            facts,
            key,
            f"{project.acronym} would be locked now",
            f"Project {project.acronym} ({project.name}) would be locked now: {reason}. LOCK_MODE is dry-run, so that "
            "nothing was done. What would be:",
            lines,
            "Set LOCK_MODE to enforce to have this done.",
        )

    def would_unlock(self, facts: LockFacts, key: str, reason: str) -> NewMail:
        """A lock would come off, were it not for LOCK_MODE dry-run."""
        project = facts.project
        return self._notice(
            facts,
            key,
            f"{project.acronym} would be unlocked now",
            f"The lock on project {project.acronym} ({project.name}) would be taken off now: {reason}. LOCK_MODE is "
            "dry-run, so that it was left on.",
            [],
            f'To take it off: `python -m shared.cli project unlock {project.acronym} --reason "…"`.',
        )

    def failed(self, facts: LockFacts, key: str, action: LockAction, lines: Sequence[str], ordered: bool) -> NewMail:
        """Not all could be locked (or unlocked)."""
        project = facts.project
        # The nights don't know of orders: they lock what is at 100 %, and unlock what has money again.
        nights = "Until then, the nights go by what was spent" if ordered else "The next night tries again"
        return self._notice(
            facts,
            key,
            f"{project.acronym} could not be {action}ed",
            f"Project {project.acronym} ({project.name}) could not be {action}ed, or not all of it:",
            lines,
            f"See `python -m shared.cli audit {project.acronym}`. {nights}; once the cause is mended, "
            f'`python -m shared.cli project {action} {project.acronym} --reason "…"` does it now.',
        )

    def locked_again(self, facts: LockFacts, key: str, groups: Sequence[str]) -> NewMail:
        """Someone had taken the lock off in Azure."""
        project = facts.project
        return self._notice(
            facts,
            key,
            f"{project.acronym} was locked again",
            f"The lock of project {project.acronym} ({project.name}) was gone from these resource groups, and is back:",
            groups,
            f'To take it off for good: `python -m shared.cli project unlock {project.acronym} --reason "…"`.',
        )

    def _notice(
        self, facts: LockFacts, key: str, subject: str, intro: str, lines: Sequence[str], advice: str
    ) -> NewMail:
        notice = self.operators.notice(Topic.LOCK, f"lock/{key}", subject, intro, at_most(list(lines)), advice)
        return replace(notice, project_id=facts.project.id)
