"""PipelineWatchdog: picks up what got stuck, reports a night that did not finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.schedules import Schedule
from shared.domain.texts import named
from shared.messages import (
    PARSERS,
    EmailMessage,
    Envelope,
    MessageError,
    Queue,
    UpdateMessage,
    look,
    notifications,
)
from shared.pipeline.events import event
from shared.pipeline.naming import acronyms_in
from shared.pipeline.operators import Operators, at_most, concerning
from shared.pipeline.pace import Pace
from shared.pipeline.stage import MARK_COMES_FIRST, Outgoing, mails_out, outgoing
from shared.ports.charges import ChargeLedger
from shared.ports.checks import CheckLedger
from shared.ports.clock import Clock
from shared.ports.dead_letters import DeadLetter, DeadLetterLedger
from shared.ports.locks import LockLedger
from shared.ports.mails import MailLedger, NewMail, Topic
from shared.ports.runs import LateRun, RunLedger, RunScope

# Longer than a message is worked on, its ten-minute lease included, and than the longest growing wait.
STUCK_AFTER = timedelta(minutes=45)
# So long after the last of its messages is to be taken.
LATE_AFTER = timedelta(hours=4)
# As far as the clocks of two instances may be apart.
A_MOMENT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Whatever a crash between commit and enqueue left behind is queued again; doing it twice is harmless.

    schedule: of the nights.
    """

    runs: RunLedger
    schedule: Schedule
    pace: Pace
    checks: CheckLedger
    charges: ChargeLedger
    mails: MailLedger
    letters: DeadLetterLedger
    locks: LockLedger
    operators: Operators
    clock: Clock

    def look(self) -> list[Outgoing]:
        """One round. Raises LaterError where the database is away: the next round comes in minutes."""
        now = self.clock()
        before = now - STUCK_AFTER
        scopes = self.pace.due(self.runs.stuck_scopes(before), now)
        projects = self.checks.stuck_projects(before)
        mails, abandoned = self.mails.stuck(before), self.mails.abandoned(before)
        # Nothing is written where there is nothing: whoever writes has the next round look again (`rounds.py`).
        if projects:
            self.checks.mark_requeued(projects, now)
        if mails or abandoned:
            self.mails.mark_requeued([*mails, *abandoned], now)
        locks = self._locks_due(now)
        for scope, due_at in scopes:
            self.runs.mark_queued(scope.id, due_at, now)
        late = [self._report(run, now) for run in self.runs.late_runs(now - LATE_AFTER)]
        late += self._missed_night(now) + self._new_dead_letters(now)
        event(
            "watched",
            scopes=len(scopes),
            projects=len(projects),
            mails=len(mails) + len(abandoned),
            locks=len(locks),
            late_runs=len(late),
            gaps=len(self.charges.incomplete(now.date()).lines),
        )
        return [
            *(Outgoing(_again(scope), due_at - now) for scope, due_at in scopes),
            *outgoing(notifications(projects, Envelope())),
            # Alone: one that breaks its message takes no other with it.
            *outgoing(map(EmailMessage, mails)),
            *(Outgoing(EmailMessage(mail_id), MARK_COMES_FIRST + A_MOMENT) for mail_id in abandoned),
            *outgoing(map(look, locks)),
            *mails_out(late),
        ]

    def left_over(self, queues: Sequence[Queue]) -> list[Outgoing]:
        """What tells the operators, once a day, of messages that nobody gets hold of. Raises LaterError."""
        if not queues:
            return []
        now = self.clock()
        told = self.operators.left_over([str(queue) for queue in queues], now.date())
        return [] if self.mails.find(told.key) is not None else mails_out([self.mails.add(told, now)])

    def _locks_due(self, now: datetime) -> list[int]:
        """The projects whose lock is to be looked at; whoever does says when it is next, else it is soon."""
        due = self.locks.looks_due(now)
        for project_id in due:
            self.locks.look_at(project_id, now + STUCK_AFTER)
        return due

    def _missed_night(self, now: datetime) -> list[int]:
        """The mail on a night that never began, until someone has begun to send it."""
        since = self.runs.schedule_since(f"{self.schedule.text} {self.schedule.zone}", now)
        last = self.runs.last_night()
        missed = self.schedule.missed(last, since, now)
        if missed is None:
            return []
        notice = self.operators.no_night(missed, last)
        mail_id = self.mails.find(notice.key) or self.mails.add(notice, now)
        stored = self.mails.get(mail_id)
        return [mail_id] if stored is not None and stored.attempts == 0 else []

    def _new_dead_letters(self, now: datetime) -> list[int]:
        """The day's mail on messages that have failed for good; what fails after it is told on the next day."""
        letters = self.letters.untold()
        if not letters:
            return []
        new = self.operators.new_dead_letters([(each, self._acronyms_in(each)) for each in letters], now.date())
        if self.mails.find(new.key) is not None:
            return []
        mail_id = self.mails.add(new, now)
        self.letters.mark_told([letter.id for letter in letters], now)
        return [mail_id]

    def _acronyms_in(self, letter: DeadLetter) -> list[str]:
        try:
            message = PARSERS[Queue(letter.queue)](letter.body)
        except MessageError:
            return []
        return acronyms_in(message, self.checks, self.mails)

    def _report(self, run: LateRun, now: datetime) -> int:
        mail_id = self.mails.add(self._late_notice(run), now)
        self.runs.mark_reported(run.key, now)
        return mail_id

    def _late_notice(self, run: LateRun) -> NewMail:
        lines = [
            f"{concerning(target.subject, self.charges.acronyms_of(target))}: {state}{f' ({reason})' if reason else ''}"
            for target, state, reason in run.scopes
        ]
        if not run.planned:
            # Nothing waits, so nothing would go on by itself.
            lines.append("every subscription: none was planned; `python -m shared.cli run` reads them now")
        lines = at_most(lines)
        if run.unchecked:
            lines.append(f"{named(run.unchecked)}: new costs were not compared with the budget yet")
        lines += [f"{count} mail(s) not sent{f': {reason}' if reason else ' yet'}" for reason, count in run.unsent]
        lines += at_most([f"figures of {each}" for each in self.charges.incomplete(self.clock().date()).lines])
        return self.operators.notice(
            Topic.LATE_RUN,
            f"late/{run.key}",
            f"{run.key} is not complete",
            f"The run {run.key}, begun on {run.started_at:%Y-%m-%d at %H:%M} UTC and planned until "
            f"{run.planned_until:%Y-%m-%d at %H:%M}, is not complete 4 hours later. Missing:",
            lines,
            "What waits goes on by itself. `python -m shared.cli status` shows how far it is.",
            run.key,
        )


def _again(scope: RunScope) -> UpdateMessage:
    return scope.target.message(Envelope(run_id=scope.run_key, first_queued_at=scope.first_queued_at))
