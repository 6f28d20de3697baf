"""ProjectUsageUpdater: reads costs, stores them, asks for the check."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from shared.domain import windows
from shared.domain.charges import ChargeSet, key_of_group
from shared.domain.coverage import Reading, ReadPart
from shared.domain.periods import Period
from shared.messages import Envelope, MessageError, ScopeTarget, UpdateMessage, notifications
from shared.pipeline.asking import Asking, Work
from shared.pipeline.events import event
from shared.pipeline.operators import Operators
from shared.pipeline.stage import Outgoing, Retry, mails_out, outgoing
from shared.ports.charges import ChargeLedger, Stored
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccountLedger
from shared.ports.costs import CostQuery, CostSource
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailLedger
from shared.ports.runs import RunLedger, RunScope, RunTrigger, ScopeState

# An empty answer is asked for again so often in one night, an hour apart, before the scope stays suspect.
SUSPECT_REREADS = 3
SUSPECT_WAIT = timedelta(hours=1)
# No provider says how long its links from page to page hold, and costs are refreshed every few hours.
PROGRESS_LASTS = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Updater:
    """asking: what a message asks for."""

    asking: Asking
    charges: ChargeLedger
    cloud_accounts: CloudAccountLedger
    runs: RunLedger
    mails: MailLedger
    operators: Operators
    retry: Retry
    clock: Clock

    def update(self, message: UpdateMessage, origin: str) -> list[Outgoing]:
        """One update message. origin: the queue message's id, which names the run of a message by hand.

        Raises MessageError where the message can't be right, and LaterError only where nothing could be put back.
        """
        run_key = message.envelope.run_id or f"message-{origin}"
        known_run = message.envelope.run_id is not None
        message = replace(message, envelope=replace(message.envelope, run_id=run_key))
        if message.left is not None and not known_run:
            # Nobody has read the days after them: they would count as read all the same.
            raise MessageError("Since and Before are for messages of a run; leave them out to read what has to be read")
        scope, works = None, list[Work]()
        try:
            works, message = self._works(message, known_run)
            scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, ScopeTarget.of(message), self.clock())
            if _is_over(scope, message):
                return self._checks_of(message, scope)
            readings, broken_off = self._read_all(message, scope, works)
            if broken_off is None:
                return self._store_all(message, scope, works, readings)
            return self._later(self._store_some(message, scope, works, readings), scope, works, broken_off)
        except LaterError as error:
            return self._later(message, scope, works, error)
        except NeverError as error:
            return self._failed(scope, works, error.reason)

    def _works(self, message: UpdateMessage, known_run: bool) -> tuple[list[Work], UpdateMessage]:
        try:
            return self.asking.works(message)
        except MessageError as error:
            if known_run:
                # The run planned it, and things have changed since: it must not wait for this scope for ever.
                run_key = str(message.envelope.run_id)
                scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, ScopeTarget.of(message), self.clock())
                self.runs.mark_failed(scope.id, str(error), self.clock())
            raise

    # --- reading and storing ---

    def _read_all(
        self, message: UpdateMessage, scope: RunScope, works: list[Work]
    ) -> tuple[list[Reading], LaterError | None]:
        """Everything that the message asks for, before anything is stored: no transaction is open meanwhile.

        Where the provider says "later", what had been read by then, and what it said.
        """
        started_at, read_until = self.clock(), self._read_until(message, scope)
        readings = []
        for work in works:
            parts, broken_off = self._parts(scope, work)
            readings.append(_reading(work, parts, started_at, read_until))
            if broken_off is not None:
                return readings, broken_off
        return readings, None

    def _parts(self, scope: RunScope, work: Work) -> tuple[tuple[ReadPart, ...], LaterError | None]:
        """The latest part first: the days from the earliest one that was read are then all read."""
        parts: list[ReadPart] = []
        for window in reversed(work.plan.parts):
            query = CostQuery(work.account.provider, work.account.sub_account_id, window, work.groups)
            try:
                parts.insert(0, ReadPart(window, self._answer(scope, work.source, query)))
            except LaterError as error:
                self.charges.keep_answer(scope.id, query, error.progress, self.clock())
                return tuple(parts), error
        return tuple(parts), None

    def _answer(self, scope: RunScope, source: CostSource, query: CostQuery) -> ChargeSet:
        """The answer to one query; one that broke off a while ago goes on where it did."""
        return source.read(query, self.charges.kept_answer(scope.id, query, self.clock() - PROGRESS_LASTS))

    def _store_some(
        self, message: UpdateMessage, scope: RunScope, works: list[Work], readings: list[Reading]
    ) -> UpdateMessage:
        """Stores the months that were read before the provider said "later", and leaves the message the others."""
        reading, (work, *others) = readings[0], works
        if others or not reading.parts:
            return message
        if self._store(scope, replace(reading, read_until=None)).suspect:
            return message
        since = work.plan.left.start if work.plan.left else work.plan.parts[0].start
        return replace(message, left=Period(since, reading.parts[0].window.start))

    def _store_all(
        self, message: UpdateMessage, scope: RunScope, works: list[Work], readings: list[Reading]
    ) -> list[Outgoing]:
        left = _together(work.plan.left for work in works)
        suspect: list[Period] = []
        for index, reading in enumerate(readings):
            last = left is None and not suspect and index == len(readings) - 1
            suspect += self._store(scope, replace(reading, complete=left is None, last=last)).suspect
        if suspect:
            return self._suspect(message, scope, works)
        if left is not None:
            return self._read_on(message, scope, works, left)
        return self._checks_of(message, scope)

    def _store(self, scope: RunScope, reading: Reading) -> Stored:
        stored = self.charges.store(scope.id, reading, self.clock())
        event(
            "charges_stored",
            run=scope.run_key,
            scope=scope.target.subject,
            added=stored.added,
            changed=stored.changed,
            removed=stored.removed,
            not_believed=len(stored.suspect),
        )
        return stored

    def _read_until(self, message: UpdateMessage, scope: RunScope) -> date:
        """The day whose night this is; of messages that read on, the day of the first, or one before it."""
        begun = scope.first_queued_at if message.left is not None else None
        return (begun or self.clock()).date()

    def _read_on(self, message: UpdateMessage, scope: RunScope, works: list[Work], left: Period) -> list[Outgoing]:
        """Puts the message back to read the days that are left; its time starts anew, for it is getting on."""
        quotas = [work.source.quota for work in works]
        pause = timedelta(seconds=max(each.seconds(windows.PARTS_AT_ONCE * each.units_per_query) for each in quotas))
        due_at = self.clock() + pause
        self.runs.mark_deferred(scope.id, f"reads back from {left.end} to {left.start}", due_at)
        replayed = message.envelope.replayed
        envelope = Envelope(run_id=scope.run_key, first_queued_at=due_at, replayed=replayed)
        onward = replace(message, left=left, envelope=envelope)
        return [Outgoing(onward, pause)]

    def _checks_of(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing]:
        due = self.charges.due_projects_of(scope.target)
        return [*outgoing(notifications(due, message.envelope)), *self._told_of_failures(scope)]

    def _suspect(self, message: UpdateMessage, scope: RunScope, works: list[Work]) -> list[Outgoing]:
        reason = "the provider answered without any charge for days that had some; what is stored was kept"
        checks = self._checks_of(message, scope)
        if message.envelope.attempt < SUSPECT_REREADS:
            due_at = self.clock() + SUSPECT_WAIT
            self.runs.mark_deferred(scope.id, reason, due_at)
            return [*checks, *self.retry.put_back(message, due_at)]
        self._not_synced(scope, works, reason)
        return checks

    def _later(
        self, message: UpdateMessage, scope: RunScope | None, works: list[Work], error: LaterError
    ) -> list[Outgoing]:
        """Puts the message back, or gives the scope up after 24 hours."""
        if scope is None:
            return self.retry.later(message, error, "scope", run=message.envelope.run_id)
        return self.retry.later(
            message,
            error,
            "scope",
            give_up=lambda reason: self._failed(scope, works, reason),
            note=lambda reason, due_at: self.runs.mark_deferred(scope.id, reason, due_at),
            run=scope.run_key,
            scope=scope.target.subject,
        )

    def _failed(self, scope: RunScope | None, works: list[Work], reason: str) -> list[Outgoing]:
        if scope is None:
            raise MessageError(reason)
        now = self.clock()
        self._not_synced(scope, works, reason)
        event("scope_failed", level=logging.ERROR, run=scope.run_key, scope=scope.target.subject, reason=reason)
        self.runs.mark_failed(scope.id, reason, now)
        # A period begins on its day, whether or not its costs can be read: with it a stop, an unlock, an empty total.
        turning = self.charges.turning_projects_of(scope.target, now.date())
        checks = notifications(turning, Envelope(run_id=scope.run_key))
        return [*outgoing(checks), *self._told_of_failures(scope)]

    def _not_synced(self, scope: RunScope, works: list[Work], reason: str) -> None:
        """Notes it of the cloud account; what became of one project's share says nothing of all of it."""
        if scope.target.project_id is None:
            for cloud_account_id in {work.account.cloud_account_id for work in works} - {None}:
                self.cloud_accounts.mark_failed(cloud_account_id or 0, reason)

    def _told_of_failures(self, scope: RunScope) -> list[Outgoing]:
        """The mail to the operators on all that failed, by the message that finishes the run."""
        failures = self.runs.failures(scope.run_key)
        if not failures:
            return []
        now = self.clock()
        mail = self.operators.costs_failed(failures, now.date(), scope.run_key)
        return mails_out([self.mails.add(mail, now)])


def _reading(work: Work, parts: tuple[ReadPart, ...], started_at: datetime, read_until: date) -> Reading:
    account = work.account
    since = [day for day in (account.read_from, *(part.window.start for part in parts)) if day]
    return Reading(
        provider=account.provider,
        sub_account_id=account.sub_account_id,
        group_keys=frozenset(key_of_group(group) for group in work.groups),
        parts=parts,
        started_at=started_at,
        read_from=min(since, default=None),
        read_until=None if work.plan.left else read_until,
        complete=False,
    )


def _together(left: Iterable[Period | None]) -> Period | None:
    """All the days that are left, as one period."""
    periods = [period for period in left if period is not None]
    if not periods:
        return None
    return Period(min(period.start for period in periods), max(period.end for period in periods))


def _is_over(scope: RunScope, message: UpdateMessage) -> bool:
    """Whether nothing is left to be read: a scope that has failed is read again if a person replays its message."""
    return scope.state is ScopeState.DONE or (scope.state is ScopeState.FAILED and not message.envelope.replayed)
