"""ProjectUsageUpdater: reads costs, stores them, asks for the check."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from shared.domain import windows
from shared.domain.charges import ChargeSet, key_of_group
from shared.domain.coverage import Reading, ReadPart
from shared.domain.periods import Period
from shared.messages import Envelope, MessageError, ScopeTarget, UpdateMessage, notifications
from shared.pipeline.asking import Asking, Work
from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.ending import Ending
from shared.pipeline.events import event
from shared.pipeline.pace import Pace
from shared.pipeline.stage import WORK_LIMIT, Outgoing, Retry, given_up, outgoing
from shared.ports.charges import Account, ChargeLedger, Stored
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccountLedger
from shared.ports.costs import CostQuery, CostSource
from shared.ports.errors import LaterError, NeverError
from shared.ports.runs import RunLedger, RunScope, RunTrigger, ScopeState

# An empty answer is asked for again so often in one night, an hour apart, before the scope stays suspect.
SUSPECT_REREADS = 3
SUSPECT_WAIT = timedelta(hours=1)
# No provider says how long its links from page to page hold, and costs are refreshed every few hours.
PROGRESS_LASTS = timedelta(hours=2)
# What became of one of a message's sub-accounts is kept as the answer for these days, which nobody asks for.
NO_DAYS = Period(date(1970, 1, 1), date(1970, 1, 2))
EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a message's works: what was read, why some were refused, and what one said that can't be read now.

    The reading of the one that said "later" is among them only where the message has no other.
    """

    readings: list[tuple[Work, Reading]]
    refused: dict[Account, str]
    broken_off: LaterError | None = None


@dataclass(frozen=True, slots=True)
class Updater:
    """asking: what a message asks for. pace: when."""

    asking: Asking
    pace: Pace
    charges: ChargeLedger
    cloud_accounts: CloudAccountLedger
    runs: RunLedger
    dead_letters: DeadLetters
    ending: Ending
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
            works, message = self.asking.works(message)
            scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, ScopeTarget.of(message), self.clock())
            instead = self._instead(message, scope)
            if instead is not None:
                return instead
            answers = self._read_all(message, scope, works)
            if answers.broken_off is not None and len(works) == 1:
                message = self._store_some(message, scope, *answers.readings[0])
                return self._later(message, scope, works, answers.broken_off)
            return self._store_all(message, scope, works, answers)
        except MessageError as error:
            if not known_run:
                raise
            return self._changed_since(message, str(error), origin)
        except LaterError as error:
            return self._later(message, scope, works, error)
        except NeverError as error:
            return self._failed(scope, works, error.reason)

    def _instead(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing] | None:
        """What follows where nothing is left to be read, or not by this message now; None where it is to be read."""
        if _is_over(scope, message):
            return self._checks_of(message, scope)
        now = self.clock()
        turn = self.pace.turn(scope, message.envelope, now)
        return None if turn == now else [Outgoing(message, turn - now)]

    def _changed_since(self, message: UpdateMessage, reason: str, origin: str) -> list[Outgoing]:
        """The run planned it, and things have changed since: it must not wait for this scope for ever."""
        try:
            self.dead_letters.give_up(message, reason, origin)
            return self.ending.fail(str(message.envelope.run_id), ScopeTarget.of(message), reason)
        except LaterError as error:
            return self._later(message, None, [], error)

    # --- reading and storing ---

    def _read_all(self, message: UpdateMessage, scope: RunScope, works: list[Work]) -> Answers:
        """Everything that the message asks for, before anything is stored: no transaction is open meanwhile.

        One that is refused, or says "later" for 24 hours, keeps none of the others from being read.
        """
        started_at, read_until = self.clock(), self._read_until(message, scope)
        is_over = len(works) > 1 and self.retry.is_over(message.envelope.first_queued_at, WORK_LIMIT)
        refused, wanted = self._wanted(message, scope, works)
        readings = []
        for work in wanted:
            try:
                parts, broken_off = self._parts(scope, work)
            except NeverError as error:
                refused[work.account] = self._refused(scope, works, work, error.reason)
                continue
            if broken_off is not None and is_over:
                refused[work.account] = self._refused(scope, works, work, given_up(broken_off))
                continue
            if broken_off is None or len(works) == 1:
                readings.append((work, _reading(work, parts, started_at, read_until)))
            if broken_off is not None:
                return Answers(readings, refused, broken_off)
        return Answers(readings, refused)

    def _wanted(
        self, message: UpdateMessage, scope: RunScope, works: list[Work]
    ) -> tuple[dict[Account, str], list[Work]]:
        """Why some works were refused before, and those that are still to be read, each of them first in its turn."""
        if len(works) == 1:
            return {}, works
        kept = {work.account: self._kept(scope, work) for work in works}
        refused = {account: reason for account, (became, reason) in kept.items() if became == "refused"}
        left = [work for work in works if work.account not in refused]
        wanted = [work for work in left if kept[work.account] != ("read", str(message.left))] or left
        turn = message.envelope.attempt % max(len(wanted), 1)
        return refused, [*wanted[turn:], *wanted[:turn]]

    def _refused(self, scope: RunScope, works: list[Work], work: Work, reason: str) -> str:
        """Keeps that one of several works is not to be asked again for this scope; returns why."""
        if len(works) > 1:
            ids = {"provider": work.account.provider, "account": work.account.sub_account_id}
            event("account_refused", level=logging.WARNING, run=scope.run_key, **ids, reason=reason)
            self._keep(scope, work, "refused", reason)
        return reason

    def _keep(self, scope: RunScope, work: Work, became: str, of_what: str) -> None:
        answer = f"{became} {of_what}".encode(errors="replace")
        self.charges.keep_answer(scope.id, _no_query(work), answer, self.clock())

    def _kept(self, scope: RunScope, work: Work) -> tuple[str, str]:
        became, _, of_what = (self.charges.kept_answer(scope.id, _no_query(work), EVER) or b"").decode().partition(" ")
        return became, of_what

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

    def _store_some(self, message: UpdateMessage, scope: RunScope, work: Work, reading: Reading) -> UpdateMessage:
        """Stores the months that were read before the provider said "later", and leaves the message the others."""
        if not reading.parts or self._store(scope, replace(reading, read_until=None)).suspect:
            return message
        since = work.plan.left.start if work.plan.left else work.plan.parts[0].start
        return replace(message, left=Period(since, reading.parts[0].window.start))

    def _store_all(
        self, message: UpdateMessage, scope: RunScope, works: list[Work], answers: Answers
    ) -> list[Outgoing]:
        left = _together(work.plan.left for work in works if work.account not in answers.refused)
        suspect, refused = self._store_each(message, scope, works, answers, left)
        if answers.broken_off is not None:
            return [*self._due(message, scope), *self._later(message, scope, works, answers.broken_off)]
        if suspect and not refused:
            return self._suspect(message, scope, works)
        if left is not None and not suspect:
            return self._read_on(message, scope, works, left)
        if refused:
            due = self._due(message, scope) if len(works) > 1 else []
            return [*due, *self._failed(scope, works, "; ".join(dict.fromkeys(refused.values())))]
        return self._checks_of(message, scope)

    def _store_each(
        self, message: UpdateMessage, scope: RunScope, works: list[Work], answers: Answers, left: Period | None
    ) -> tuple[list[Period], dict[Account, str]]:
        """Stores what was read: the windows that are not believed, and why works were refused by now.

        Only the last of a scope of which all was read ends it.
        """
        suspect, refused = list[Period](), dict(answers.refused)
        for number, (work, reading) in enumerate(answers.readings, start=1):
            whole = left is None and answers.broken_off is None and not (suspect or refused)
            last = whole and number == len(answers.readings)
            try:
                doubtful = self._store(scope, replace(reading, complete=left is None, last=last)).suspect
            except NeverError as error:
                refused[work.account] = self._refused(scope, works, work, error.reason)
                continue
            suspect += doubtful
            if answers.broken_off is not None and not doubtful:
                self._keep(scope, work, "read", str(message.left))
        return suspect, refused

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

    def _due(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing]:
        return outgoing(notifications(self.charges.due_projects_of(scope.target), message.envelope))

    def _checks_of(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing]:
        return [*self._due(message, scope), *self.ending.told(scope.run_key)]

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
        self._not_synced(scope, works, reason)
        return self.ending.fail(scope.run_key, scope.target, reason)

    def _not_synced(self, scope: RunScope, works: list[Work], reason: str) -> None:
        """Notes it of the cloud account; what became of one project's share says nothing of all of it."""
        if scope.target.project_id is None:
            for cloud_account_id in {work.account.cloud_account_id for work in works} - {None}:
                self.cloud_accounts.mark_failed(cloud_account_id or 0, reason)


def _no_query(work: Work) -> CostQuery:
    return CostQuery(work.account.provider, work.account.sub_account_id, NO_DAYS)


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
