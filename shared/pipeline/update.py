"""ProjectUsageUpdater: reads costs, stores them, asks for the check."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from shared.domain import windows
from shared.domain.charges import ChargeSet, key_of_group
from shared.domain.periods import Period
from shared.domain.windows import ReadingPlan
from shared.messages import Envelope, MessageError, UpdateMessage, notifications
from shared.pipeline.events import event
from shared.pipeline.operators import Operators
from shared.pipeline.stage import Outgoing, Retry, mails_out, outgoing
from shared.ports.azure import AZURE
from shared.ports.charges import Account, AnswerLedger, ChargeLedger, Reading, ReadPart, Stored
from shared.ports.clock import Clock
from shared.ports.costs import CostQuery, CostSource
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailLedger
from shared.ports.runs import RunLedger, RunScope, RunTrigger, ScopeState, ScopeTarget

# An empty answer is asked for again so often in one night, an hour apart, before the scope stays suspect.
SUSPECT_REREADS = 3
SUSPECT_WAIT = timedelta(hours=1)
# The links from page to page are not said to hold for ever, and costs are refreshed every four hours.
PROGRESS_LASTS = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class _Work:
    """One sub-account's share of a message: which groups (all, if empty), and what is to be read of them."""

    account: Account
    groups: tuple[str, ...]
    plan: ReadingPlan


@dataclass(frozen=True, slots=True)
class Updater:
    """units_per_minute: the pace at which reading back goes on."""

    costs: CostSource
    charges: ChargeLedger
    answers: AnswerLedger
    runs: RunLedger
    mails: MailLedger
    operators: Operators
    retry: Retry
    clock: Clock
    lookback_days: int
    units_per_minute: int

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
        scope = None
        try:
            works = self._works(message, known_run)
            scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, _target(message), self.clock())
            if _is_over(scope, message):
                return self._checks_of(message, scope)
            readings, broken_off = self._read_all(message, scope, works)
            if broken_off is None:
                return self._store_all(message, scope, works, readings)
            return self._later(self._store_some(message, scope, works, readings), scope, broken_off)
        except LaterError as error:
            return self._later(message, scope, error)
        except NeverError as error:
            return self._failed(scope, error.reason)

    def _works(self, message: UpdateMessage, known_run: bool) -> list[_Work]:
        try:
            if message.subscription_id is not None:
                return [self._account_work(message.subscription_id, message.left)]
            return self._project_works(message)
        except MessageError as error:
            if known_run:
                # The run planned it, and things have changed since: it must not wait for this scope for ever.
                run_key = str(message.envelope.run_id)
                scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, _target(message), self.clock())
                self.runs.mark_failed(scope.id, str(error), self.clock())
            raise

    def _account_work(self, subscription_id: str, left: Period | None) -> _Work:
        account = self.charges.account(subscription_id)
        if not account.active_projects:
            raise MessageError(
                f"subscription {subscription_id} has no active project; `python -m shared.cli projects list` shows them"
            )
        today = self.clock().date()
        back_to = windows.left_to_read(account.rules, account.read_from, today, account.opened_from)
        return _Work(account, (), self._plan(back_to, account.read_until, left))

    def _plan(self, back_to: date | None, read_until: date | None, left: Period | None) -> ReadingPlan:
        if left is not None:
            return windows.plan_onward(left)
        return windows.plan(windows.night_window(self.clock().date(), self.lookback_days, read_until), back_to)

    def _project_works(self, message: UpdateMessage) -> list[_Work]:
        project = self.charges.scopes_of(message.project_id or 0)
        if project is None:
            raise MessageError(
                f"there is no project {message.project_id}; `python -m shared.cli projects list` shows them all"
            )
        if not project.active:
            raise MessageError(f"project {message.project_id} is not active; load it with active = true first")
        groups = _chosen_groups(message, project.groups)
        rules = [project.rule] if project.rule else []
        accounts = [self.charges.account(sub_account_id) for sub_account_id in groups]
        today = self.clock().date()
        return [
            _Work(
                account,
                groups[account.sub_account_id],
                self._plan(windows.left_to_read(rules, account.read_from, today), None, message.left),
            )
            for account in accounts
        ]

    def _read_all(
        self, message: UpdateMessage, scope: RunScope, works: list[_Work]
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

    def _parts(self, scope: RunScope, work: _Work) -> tuple[tuple[ReadPart, ...], LaterError | None]:
        """The latest part first: the days from the earliest one that was read are then all read."""
        parts: list[ReadPart] = []
        for window in reversed(work.plan.parts):
            query = CostQuery(AZURE, work.account.sub_account_id, window, work.groups)
            try:
                parts.insert(0, ReadPart(window, self._answer(scope, query)))
            except LaterError as error:
                self.answers.keep(scope.id, query, error.progress, self.clock())
                return tuple(parts), error
        return tuple(parts), None

    def _answer(self, scope: RunScope, query: CostQuery) -> ChargeSet:
        """The answer to one query; one that broke off a while ago goes on where it did."""
        return self.costs.read(query, self.answers.kept(scope.id, query, self.clock() - PROGRESS_LASTS))

    def _store_some(
        self, message: UpdateMessage, scope: RunScope, works: list[_Work], readings: list[Reading]
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
        self, message: UpdateMessage, scope: RunScope, works: list[_Work], readings: list[Reading]
    ) -> list[Outgoing]:
        left = _together(work.plan.left for work in works)
        suspect: list[Period] = []
        for index, reading in enumerate(readings):
            last = left is None and not suspect and index == len(readings) - 1
            suspect += self._store(scope, replace(reading, complete=last)).suspect
        if suspect:
            return self._suspect(message, scope)
        if left is not None:
            return self._read_on(message, scope, left)
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

    def _read_on(self, message: UpdateMessage, scope: RunScope, left: Period) -> list[Outgoing]:
        """Puts the message back to read the days that are left; its time starts anew, for it is getting on."""
        pause = timedelta(seconds=windows.PARTS_AT_ONCE * 60 / self.units_per_minute)
        due_at = self.clock() + pause
        self.runs.mark_deferred(scope.id, f"reads back from {left.end} to {left.start}", due_at)
        replayed = message.envelope.replayed
        envelope = Envelope(run_id=scope.run_key, first_queued_at=due_at, replayed=replayed)
        onward = replace(message, left=left, envelope=envelope)
        return [Outgoing(onward, pause)]

    def _checks_of(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing]:
        due = self.charges.due_projects_of(scope.target)
        return [*outgoing(notifications(due, message.envelope)), *self._told_of_failures(scope)]

    def _suspect(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing]:
        reason = "the provider answered without any charge for days that had some; what is stored was kept"
        checks = self._checks_of(message, scope)
        if message.envelope.attempt < SUSPECT_REREADS:
            due_at = self.clock() + SUSPECT_WAIT
            self.runs.mark_deferred(scope.id, reason, due_at)
            return [*checks, *self.retry.put_back(message, due_at)]
        return checks

    def _later(self, message: UpdateMessage, scope: RunScope | None, error: LaterError) -> list[Outgoing]:
        """Puts the message back, or gives the scope up after 24 hours."""
        if scope is None:
            return self.retry.later(message, error, "scope", run=message.envelope.run_id)
        return self.retry.later(
            message,
            error,
            "scope",
            since=message.envelope.first_queued_at,
            give_up=lambda reason: self._failed(scope, reason),
            note=lambda reason, due_at: self.runs.mark_deferred(scope.id, reason, due_at),
            run=scope.run_key,
            scope=scope.target.subject,
        )

    def _failed(self, scope: RunScope | None, reason: str) -> list[Outgoing]:
        if scope is None:
            raise MessageError(reason)
        now = self.clock()
        event("scope_failed", level=logging.ERROR, run=scope.run_key, scope=scope.target.subject, reason=reason)
        self.runs.mark_failed(scope.id, reason, now)
        # A period begins on its day, whether or not its costs can be read: with it a stop, an unlock, an empty total.
        turning = self.charges.turning_projects_of(scope.target, now.date())
        checks = notifications(turning, Envelope(run_id=scope.run_key))
        return [*outgoing(checks), *self._told_of_failures(scope)]

    def _told_of_failures(self, scope: RunScope) -> list[Outgoing]:
        """The mail to the operators on all that failed, by the message that finishes the run."""
        failures = self.runs.failures(scope.run_key)
        if not failures:
            return []
        now = self.clock()
        mail = self.operators.costs_failed(failures, now.date(), scope.run_key)
        return mails_out([self.mails.add(mail, now)])


def _reading(work: _Work, parts: tuple[ReadPart, ...], started_at: datetime, read_until: date) -> Reading:
    account = work.account
    since = [day for day in (account.read_from, *(part.window.start for part in parts)) if day]
    return Reading(
        sub_account_id=account.sub_account_id,
        group_keys=frozenset(key_of_group(group) for group in work.groups),
        parts=parts,
        started_at=started_at,
        read_from=min(since, default=None),
        read_until=None if work.plan.left else read_until,
        complete=False,
        provider=account.provider,
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


def _target(message: UpdateMessage) -> ScopeTarget:
    return ScopeTarget(message.subscription_id, message.project_id, message.resource_group)


def _chosen_groups(message: UpdateMessage, groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The project's groups by sub-account: all of them, or the one that the message names."""
    if message.resource_group is None:
        return dict(groups)
    wanted = key_of_group(message.resource_group)
    for sub_account_id, names in groups.items():
        for name in names:
            if key_of_group(name) == wanted:
                return {sub_account_id: (name,)}
    owned = ", ".join(name for names in groups.values() for name in names)
    raise MessageError(
        f"resource group '{message.resource_group}' is not project {message.project_id}'s; its groups are: {owned}"
    )
