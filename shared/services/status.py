"""How the app stands, on one page: last night, what needs a hand, what is locked, what is nearly used up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from shared.domain.coverage import CoverageState, Incomplete
from shared.domain.locks import Outcome
from shared.domain.schedules import Schedule
from shared.domain.texts import named
from shared.ports.charges import ChargeLedger
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccountLedger
from shared.ports.dead_letters import DeadLetter, DeadLetterLedger
from shared.ports.locks import LockLedger
from shared.ports.mails import MailLedger, MailState, MailView
from shared.ports.projects import ProjectLedger, ProjectView
from shared.ports.runs import RunLedger, RunState, RunView
from shared.services.aws_check import unread_accounts, unread_in_words
from shared.services.runs import RunService
from shared.services.totals import Totals, TotalService

HIGH, FULL = Decimal(80), Decimal(100)
# A paced run has its own plan; one without is done long before.
LATE_AFTER = timedelta(hours=4)
# What was not delivered longer ago has been seen, or will not be mended any more.
DELIVERED_WITHIN = timedelta(days=7)
UNSENT_AFTER = timedelta(hours=1)
# So many of each are looked at; there is a command for all of them.
MOST = 1000


@dataclass(frozen=True, slots=True)
class Status:
    """night: the last one. missed: when one should have begun since. failures: what it could not read, and whose.

    mails: of the last week, which somebody lacks. locked, high: active projects, by how much they have used; high ones
    are at 80 % or more; totals: of all active ones. unread: their AWS accounts that nobody reads, each with the acronym
    of its project. decisions: about locks in the last day, by what became of them.
    """

    now: datetime
    night: RunView | None
    missed: datetime | None
    failures: Sequence[str]
    runs: Sequence[RunView]
    letters: Sequence[DeadLetter]
    mails: Sequence[MailView]
    incomplete: Incomplete
    locked: Sequence[ProjectView]
    high: Sequence[ProjectView]
    totals: Totals
    unread: Mapping[str, str]
    decisions: Mapping[Outcome, int]

    @property
    def hands(self) -> list[str]:
        """What needs somebody's hand, each a sentence without its end; nothing where all is well."""
        return [*self._of_the_night(), *self._of_messages(), *self._of_figures()]

    def _of_the_night(self) -> list[str]:
        found = [f"no night has begun since {self.missed:%Y-%m-%d %H:%M} UTC"] if self.missed else []
        if self.night is None:
            return found
        if self.night.state is RunState.FAILED:
            found.append(f"{self.night.key} has failed in part")
        elif self.night.state is RunState.RUNNING and self.now >= self.night.due_at + LATE_AFTER:
            found.append(f"{self.night.key} is not finished, and should be")
        return found + [f"{each}" for each in self.failures]

    def _of_messages(self) -> list[str]:
        found = []
        if self.letters:
            oldest = min(letter.at for letter in self.letters)
            wait = "waits" if len(self.letters) == 1 else "wait"
            letters = _count(self.letters, "dead letter")
            found.append(f"{letters} {wait}, the oldest since {oldest:%Y-%m-%d} (`dead-letters list`)")
        if self.mails:
            concerned = sorted({view.acronym for view in self.mails if view.acronym})
            whose = f" ({named(concerned)})" if concerned else ""
            found.append(f"{_count(self.mails, 'mail')} not delivered to all{whose} (`mails list --unsent`)")
        return found

    def _of_figures(self) -> list[str]:
        # What has never been read is read tonight, and what came blank is asked for again by itself.
        doubtful = [
            f"{named(acronyms)}: {gap}"
            for gap, acronyms in self.incomplete.gaps
            if gap.state is CoverageState.FAILED or (gap.state is None and gap.since) or gap.too_old
        ]
        if self.unread:
            doubtful.append(f"{unread_in_words(self.unread)} (`cloud-accounts add aws`)")
        if self.decisions.get(Outcome.FAILED):
            failed = self.decisions[Outcome.FAILED]
            doubtful.append(f"{failed:,} decision{'s' if failed > 1 else ''} about locks failed (`audit`)")
        return doubtful


@dataclass(frozen=True, slots=True)
class StatusService:
    """Raises LaterError where the database is away. schedule: of the nights."""

    run_service: RunService
    runs: RunLedger
    projects: ProjectLedger
    charges: ChargeLedger
    letters: DeadLetterLedger
    mails: MailLedger
    locks: LockLedger
    totals: TotalService
    cloud_accounts: CloudAccountLedger
    schedule: Schedule
    clock: Clock

    def status(self, limit: int) -> Status:
        """How all stands. limit: how many of the last runs are listed, besides those by a message."""
        now = self.clock()
        incomplete = self.run_service.incomplete()
        last, night = self.runs.last_night(), self.runs.night()
        views = [view for view in self.projects.list_projects(now.date()) if view.project.active]
        by_use = sorted(views, key=lambda view: -(view.percent or 0))
        since = now - timedelta(days=1)
        return Status(
            now=now,
            night=replace(night, incomplete=incomplete) if night else None,
            missed=self.schedule.missed(last, last, now) if last else None,
            failures=self._failures(night),
            runs=self.run_service.recent(limit),
            letters=self.letters.letters(),
            mails=[view for view in self.mails.listed(None, MOST, unsent=True) if _is_undelivered(view, now)],
            incomplete=incomplete,
            locked=[view for view in by_use if view.locked_since],
            high=[view for view in by_use if view.percent is not None and view.percent >= HIGH],
            totals=self.totals.of(views),
            unread=unread_accounts(self.cloud_accounts, ((view.project.acronym, view.scopes) for view in views)),
            decisions=Counter(view.entry.outcome for view in self.locks.decisions(None, MOST) if view.at >= since),
        )

    def _failures(self, night: RunView | None) -> list[str]:
        found = self.runs.failures(night.key) if night else []
        return [f"{_of(target.subject, self.charges.acronyms_of(target))}: {reason}" for target, reason in found]


def _is_undelivered(view: MailView, now: datetime) -> bool:
    if view.made_at < now - DELIVERED_WITHIN:
        return False
    return view.stored.state in (MailState.SENT, MailState.FAILED) or view.made_at < now - UNSENT_AFTER


def _of(subject: str, acronyms: Sequence[str]) -> str:
    return f"{subject} ({named(acronyms)})" if acronyms else subject


def _count(things: Sequence[object], thing: str) -> str:
    return f"1 {thing}" if len(things) == 1 else f"{len(things):,} {thing}s"
