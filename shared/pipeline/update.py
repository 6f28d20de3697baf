"""ProjectUsageUpdater: reads costs, stores them, asks for the check."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from shared.domain import windows
from shared.domain.charges import key_of_group
from shared.domain.coverage import Reading, ReadPart, agrees, is_forgotten, months_in_words, spent_in
from shared.domain.periods import Period
from shared.messages import Envelope, MessageError, ScopeTarget, UpdateMessage, notifications
from shared.pipeline.asking import Asking, ExportedError, Work
from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.ending import Ending
from shared.pipeline.events import event
from shared.pipeline.pace import Pace
from shared.pipeline.payers import Payers, joined
from shared.pipeline.stage import WORK_LIMIT, Outgoing, Retry, given_up, outgoing
from shared.ports.charges import Answered, AnswerState, ChargeLedger
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccount, CloudAccountLedger
from shared.ports.costs import AccountsSource, CostQuery, TotalsSource
from shared.ports.errors import CallsUsedError, LaterError, NeverError, NoCostsError
from shared.ports.runs import RunLedger, RunScope, RunTrigger, ScopeState

# An empty answer is asked for again so often in one night, an hour apart, before the scope stays suspect.
SUSPECT_REREADS = 3
SUSPECT_WAIT = timedelta(hours=1)
# No provider says how long its links from page to page hold, and costs are refreshed every few hours.
PROGRESS_LASTS = timedelta(hours=2)
# A function that runs for ten minutes is killed, with all that it has read: no page is begun after this, so that one
# that takes long, and storing, have the rest.
READ_FOR = timedelta(minutes=4)
# A scope is of its night, past midnight too; what somebody sends again much later is of its own day.
NIGHT_LASTS = timedelta(days=2)
# Where so many queries in a row meet the same, the sub-account does: its others are not asked.
IN_A_ROW = 2
# In one transaction: a month of so many AWS accounts has some 30,000 charges.
STORED_TOGETHER = 50
# After two totals: Azure lets four calls a minute through for a subscription.
TOTALS_PAUSE = timedelta(seconds=30)

Left = list[tuple[Work, list[Period]]]
"""What is still to be asked for, by sub-account, oldest first"""


@dataclass(frozen=True, slots=True)
class Updater:
    """asking: what a message asks for. pace: when."""

    asking: Asking
    pace: Pace
    charges: ChargeLedger
    cloud_accounts: CloudAccountLedger
    payers: Payers
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
        scope, works = None, list[Work]()
        try:
            works, message = self.asking.works(message)
            scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, ScopeTarget.of(message), self.clock())
            instead = self._instead(message, scope)
            return self._go_on(message, scope, works) if instead is None else instead
        except MessageError as error:
            if not known_run:
                raise
            return self._changed_since(message, error, origin)
        except LaterError as error:
            return self._later(message, scope, works, error)
        except NeverError as error:
            if scope is not None and isinstance(error, NoCostsError):
                return self._without_costs(message, scope, works, error)
            if scope is not None:
                return self._failed(scope, works, error.reason)
            if not known_run:
                raise MessageError(error.reason) from error
            return self._changed_since(message, MessageError(error.reason), origin)

    def _without_costs(
        self, message: UpdateMessage, scope: RunScope, works: list[Work], error: NoCostsError
    ) -> list[Outgoing]:
        """The provider has none of the subscription: what its projects' figures lack is known, and that is all."""
        night = self._night(scope)
        for work, left in self._left(message, scope, works, night):
            failed = tuple((window, error.reason) for window in left)
            self._store_all(scope, [Reading(*work.key, frozenset(), (), night, work.source.connection_type, failed)])
        self._not_synced(scope, works, error.reason)
        return [*self._due(message, scope), *self.ending.without_costs(scope, error)]

    def _instead(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing] | None:
        """What follows where nothing is left to be read, or not by this message now; None where it is to be read."""
        if _is_over(scope, message):
            return self._checks_of(message, scope)
        now = self.clock()
        turn = self.pace.turn(scope, message.envelope, now)
        return None if turn == now else [Outgoing(message, turn - now)]

    def _listed(self, scope: RunScope, works: list[Work]) -> bool:
        """Whether a payer's sub-accounts were listed anew, which is done before the first of its answers."""
        payer, source = works[0].payer, works[0].source
        if payer is None or scope.target.project_id is not None or self.charges.answers(scope.id):
            return False
        return isinstance(source, AccountsSource) and self.payers.list_members(payer, source, scope, self._night(scope))

    def _changed_since(self, message: UpdateMessage, error: MessageError, origin: str) -> list[Outgoing]:
        """The run planned it, and things have changed since: it must not wait for this scope for ever."""
        run_key, target = str(message.envelope.run_id), ScopeTarget.of(message)
        try:
            if isinstance(error, ExportedError):
                # An export has taken it over, and nothing is left to be read.
                scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, target, self.clock())
                self.runs.mark_read(scope.id, None, self.clock())
                return self._checks_of(message, scope)
            self.dead_letters.give_up(message, str(error), origin)
            return self.ending.fail(run_key, target, str(error))
        except LaterError as later:
            return self._later(message, None, [], later)

    def _go_on(self, message: UpdateMessage, scope: RunScope, works: list[Work]) -> list[Outgoing]:
        """Reads some of what is left, and says what follows: the rest, what is to be read again, or the checks."""
        if self._listed(scope, works):
            works, message = self.asking.works(message)
        night = self._night(scope)
        left = self._left(message, scope, works, night)
        due = [] if left else self._uncompared(message, works, night)
        compared, told = self._compare(scope, due, night)
        if compared:
            return [*told, *self._compare_on(message, scope)]
        if not self._readable(left):
            left = [*left, *self._suspect(scope, works)]
        stored, more, later = self._read_some(message, scope, left, night)
        return [*told, *more, *self._after(message, scope, works, stored, later)]

    def _after(
        self, message: UpdateMessage, scope: RunScope, works: list[Work], stored: bool, later: LaterError | None
    ) -> list[Outgoing]:
        """What follows what was read and stored."""
        night = self._night(scope)
        is_used = isinstance(later, CallsUsedError)
        if later is not None and not is_used:
            # A throttle is over soon, and a check before the rest could make two alerts of one.
            is_soon = later.wait is not None and len(works) == 1
            due = self._due(message, scope) if stored and not is_soon else []
            return [*due, *self._later(message, scope, works, later)]
        left = self._left(message, scope, works, night)
        if readable := self._readable(left):
            return self._read_on(message, scope, readable)
        if stored and self._uncompared(message, works, night):
            return [*self._due(message, scope), *self._compare_on(message, scope)]
        if self._suspect(scope, works):
            return [*self._due(message, scope), *self._put_off(message, scope, SUSPECT_WAIT, _doubt(self._all(scope)))]
        if left and not is_used:
            # They are asked for in vain, so that it is known how many days did not fit.
            return self._read_on(message, scope, left)
        told = self._calls_used(scope, works) if is_used else []
        return [*told, *self._ended(message, scope, works)]

    # --- what is left ---

    def _night(self, scope: RunScope) -> date:
        now = self.clock()
        begun_at = scope.first_queued_at or now
        return (begun_at if now - begun_at < NIGHT_LASTS else now).date()

    def _all(self, scope: RunScope) -> list[Answered]:
        answers = self.charges.answers(scope.id)
        return [each for each in answers if each.state is not AnswerState.BEGUN]

    def _left(self, message: UpdateMessage, scope: RunScope, works: list[Work], night: date) -> Left:
        """What nobody has answered yet for this scope; each sub-account is the first in its turn."""
        answers, left = self._all(scope), []
        for work in works:
            known = [each.window for each in answers if each.account == work.key]
            wanted = self.asking.windows(work, message.left, night)
            rest = [days for window in wanted for days in windows.without(window, known)]
            left += [(work, rest)] if rest else []
        turn = message.envelope.attempt % max(len(left), 1)
        return [*left[turn:], *left[:turn]]

    def _readable(self, left: Left) -> Left:
        """What of it can be asked for today: not of payers whose paid calls are made."""
        return [each for each in left if (payer := each[0].payer) is None or self.payers.has_calls(payer)]

    def _suspect(self, scope: RunScope, works: list[Work]) -> Left:
        """What was not believed, and is to be asked for again; where that is paid for, not in the same night."""
        again = [
            each for each in self._all(scope) if each.state is AnswerState.SUSPECT and each.tries <= SUSPECT_REREADS
        ]
        asked_alone = (work for work in works if work.payer is None)
        left = [(work, [each.window for each in again if each.account == work.key]) for work in asked_alone]
        return [each for each in left if each[1]]

    # --- totals: a charge that is restated after its month was final ---

    def _uncompared(self, message: UpdateMessage, works: list[Work], night: date) -> list[tuple[Work, Period]]:
        """What of whole accounts is to be compared; where a message names what it reads, that is all."""
        if message.left is not None or message.project_id is not None:
            return []
        return [(work, days) for work in works for days in self.asking.totals(work, night)]

    def _compare(self, scope: RunScope, due: list[tuple[Work, Period]], night: date) -> tuple[bool, list[Outgoing]]:
        """Compares some of what is due; what was restated is due to be read. Whether that was anything; whom it tells.

        What the provider does not tell is no fault of the night: refused, it is asked again in a week, else tomorrow.
        """
        told = list[Outgoing]()
        for work, days in due[: windows.PARTS_AT_ONCE]:
            stored, agreed = self.charges.totals(*work.key, days), True
            try:
                total = work.source.totals(CostQuery(*work.key, days)) if isinstance(work.source, TotalsSource) else {}
                if is_forgotten(stored, total) and is_forgotten(stored, self._spent(work, days)):
                    told += self.ending.forgotten(scope, days)
                else:
                    agreed = agrees(stored, total)
            except NeverError as error:
                self._tell_refused(scope, CostQuery(*work.key, days), error.reason)
            except LaterError:
                return False, told
            if not agreed:
                ids = {"provider": work.key[0], "account": work.key[1], "month": f"{days.start:%Y-%m}"}
                event("total_differs", level=logging.WARNING, run=scope.run_key, **ids)
            self.charges.note_compared(*work.key, days.start.replace(day=1), night, agreed)
        return bool(due), told

    def _spent(self, work: Work, days: Period) -> dict[str, Decimal]:
        """What the provider still says was spent, credits apart. Raises LaterError and NeverError."""
        return spent_in(work.asked_alone.read(CostQuery(*work.key, days)).charges)

    def _compare_on(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing]:
        return self._put_off(message, scope, TOTALS_PAUSE, "compares the totals of months that are final")

    # --- reading and storing ---

    def _read_some(
        self, message: UpdateMessage, scope: RunScope, left: Left, night: date
    ) -> tuple[bool, list[Outgoing], LaterError | None]:
        """Reads and stores as much as one message may: whether that was anything, whom that tells what, and what said
        "later" the longest; that the calls of the day are made, only where that is all that said so.
        """
        until = self.clock() + READ_FOR
        is_over = self.retry.is_over(message.envelope.first_queued_at, WORK_LIMIT)
        stored, told, later = False, list[Outgoing](), list[LaterError]()
        for together in joined(left):
            readings, errors, odd = self._read_together(scope, together, night, until)
            told += self.ending.set_aside(scope, [(each, ()) for each in odd]) if odd else []
            is_used = any(isinstance(error, CallsUsedError) for error in errors.values())
            if is_over and errors and not is_used:
                readings = [(_given_up(reading, errors, rest), rest) for reading, rest in readings]
                errors = {}
            told += self._store_all(scope, [reading for reading, _ in readings])
            stored = stored or any(reading.parts for reading, _ in readings)
            later += errors.values()
            if any(error.wait is not None for error in later) or self.clock() >= until:
                break
        waits = [error for error in later if not isinstance(error, CallsUsedError)] or later
        return stored, told, max(waits, key=lambda error: error.wait or timedelta(0), default=None)

    def _read_together(
        self, scope: RunScope, together: Left, night: date, until: datetime
    ) -> tuple[list[tuple[Reading, list[Period]]], dict[Period, LaterError], list[str]]:
        """One sub-account, or all that are left of a payer; with what had been left of each; what said "later"; what
        is wrong with rows of none of them.
        """
        (work, rest), *_ = together
        if work.payer is None:
            reading, errors = self._read(scope, work, rest, night, until)
            return [(reading, rest)], errors, []
        joint = self.payers.read(scope, together, night, until)
        return joint.readings, joint.later, joint.odd

    def _read(
        self, scope: RunScope, work: Work, left: list[Period], night: date, until: datetime
    ) -> tuple[Reading, dict[Period, LaterError]]:
        """The latest windows of one sub-account that are left, with no transaction open; and what said "later"."""
        parts, failed, later = list[ReadPart](), dict[Period, str](), dict[Period, LaterError]()
        most = windows.at_once(left, night, self.asking.lookback(work.source))
        for window in reversed(left[-most:]):
            query = CostQuery(*work.key, window, work.groups)
            try:
                parts.append(self._part(scope, work, query, until))
            except NeverError as error:
                if isinstance(error, NoCostsError) and scope.target.subscription_id:
                    raise
                failed[window] = error.reason
                self._tell_refused(scope, query, error.reason)
            except LaterError as error:
                self.charges.keep_answer(scope.id, query, error.progress, self.clock())
                later[window] = error
            if self.clock() >= until or len(later) == IN_A_ROW or any(each.wait is not None for each in later.values()):
                break
            if not parts and len(failed) == IN_A_ROW and len(set(failed.values())) == 1:
                failed = dict.fromkeys(left, failed[window])
                break
        asked = len(parts) + len(failed) + len(later)
        units = asked * work.source.quota.units_per_query
        event("costs_asked", run=scope.run_key, scope=scope.target.subject, queries=asked, units=units)
        groups = frozenset(key_of_group(group) for group in work.groups)
        source = work.source.connection_type
        return Reading(*work.key, groups, tuple(parts), night, source, tuple(failed.items())), later

    def _part(self, scope: RunScope, work: Work, query: CostQuery, until: datetime) -> ReadPart:
        """The answer to one query; one that broke off a while ago goes on where it did."""
        kept = self.charges.kept_answer(scope.id, query, self.clock() - PROGRESS_LASTS)
        answer = work.asked_alone.read(query, kept, until)
        return ReadPart(query.window, answer.charges, answer.begun_at, answer.odd)

    def _store_all(self, scope: RunScope, readings: list[Reading]) -> list[Outgoing]:
        """Stores what is there to be stored, so many sub-accounts together."""
        some = [each for each in readings if each.parts or each.failed]
        starts = range(0, len(some), STORED_TOGETHER)
        return [mail for start in starts for mail in self._store(scope, some[start : start + STORED_TOGETHER])]

    def _store(self, scope: RunScope, readings: list[Reading]) -> list[Outgoing]:
        """Stores what can be stored: each alone, and month by month, where not all can; what can't has failed."""
        try:
            stored = self.charges.store(scope.id, readings, self.clock())
        except NeverError as error:
            alone = [[each] for each in readings] if len(readings) > 1 else []
            singly = alone or [[each] for each in _singly(readings[0], error.reason)]
            return [mail for each in singly for mail in self._store(scope, each)]
        event(
            "charges_stored",
            run=scope.run_key,
            scope=scope.target.subject,
            added=sum(each.added for each in stored),
            changed=sum(each.changed for each in stored),
            removed=sum(each.removed for each in stored),
            not_believed=sum(len(each.suspect) for each in stored),
        )
        odd = [told for each in stored for told in each.odd]
        return self.ending.set_aside(scope, odd) if odd else []

    def _tell_refused(self, scope: RunScope, query: CostQuery, reason: str) -> None:
        ids = {"provider": query.provider, "account": query.sub_account_id, "month": f"{query.window.start:%Y-%m}"}
        event("costs_refused", level=logging.WARNING, run=scope.run_key, **ids, reason=reason)

    # --- what follows ---

    def _read_on(self, message: UpdateMessage, scope: RunScope, left: Left) -> list[Outgoing]:
        """Puts the message back to read what is left, as fast as the quota allows."""
        quotas = [work.source.quota for work, _ in left]
        pause = timedelta(seconds=max(each.seconds(windows.PARTS_AT_ONCE * each.units_per_query) for each in quotas))
        first, last = min(rest[0].start for _, rest in left), max(rest[-1].end for _, rest in left)
        return self._put_off(message, scope, pause, f"reads back from {last} to {first}")

    def _put_off(self, message: UpdateMessage, scope: RunScope, pause: timedelta, reason: str) -> list[Outgoing]:
        """Puts the message back; its time starts anew, for it is getting on."""
        due_at = self.clock() + pause
        self.runs.mark_deferred(scope.id, reason, due_at)
        envelope = Envelope(run_id=scope.run_key, first_queued_at=due_at, replayed=message.envelope.replayed)
        return [Outgoing(replace(message, envelope=envelope), pause)]

    def _ended(self, message: UpdateMessage, scope: RunScope, works: list[Work]) -> list[Outgoing]:
        """Nothing is left for today: what failed is told, what is not believed stays suspect, and all else is done."""
        answers = self._all(scope)
        if reasons := _failures(answers):
            return [*self._due(message, scope), *self._failed(scope, works, reasons)]
        gone = self._tell_gone(scope)
        doubt = _doubt(answers)
        if doubt:
            self._not_synced(scope, works, doubt)
        else:
            for cloud_account_id in _fed_by(scope, works):
                self.cloud_accounts.mark_synced(cloud_account_id, self.clock())
        self.runs.mark_read(scope.id, doubt or None, self.clock())
        return [*gone, *self._checks_of(message, scope)]

    def _calls_used(self, scope: RunScope, works: list[Work]) -> list[Outgoing]:
        """The paid calls of the day are made: what they did not reach waits for the nights after, and is not known.

        Nobody has to do anything for a week.
        """
        behind = [payer for payer in _payers_of(works) if self.payers.falls_behind(payer)]
        return [mail for payer in behind for mail in self.ending.falls_behind(scope, payer, self.payers.calls_a_day)]

    def _tell_gone(self, scope: RunScope) -> list[Outgoing]:
        """What was taken for gone: by what is written down, so that nobody who dies takes the word with him."""
        gone = [(each.window, str(each.reason)) for each in self._all(scope) if each.is_gone]
        return self.ending.gone(scope, gone) if gone else []

    def _due(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing]:
        return outgoing(notifications(self.charges.due_projects_of(scope.target), message.envelope))

    def _checks_of(self, message: UpdateMessage, scope: RunScope) -> list[Outgoing]:
        return [*self._due(message, scope), *self.ending.told(scope.run_key)]

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

    def _failed(self, scope: RunScope, works: list[Work], reason: str) -> list[Outgoing]:
        self._not_synced(scope, works, reason)
        return [*self._tell_gone(scope), *self.ending.fail(scope.run_key, scope.target, reason)]

    def _not_synced(self, scope: RunScope, works: list[Work], reason: str) -> None:
        for cloud_account_id in _fed_by(scope, works):
            self.cloud_accounts.mark_failed(cloud_account_id, reason)
        for payer in _payers_of(works):
            self.payers.note_end(payer, scope, reason)


def _fed_by(scope: RunScope, works: list[Work]) -> set[int]:
    """The cloud accounts that the scope is about; what became of one project's share says nothing of all of one."""
    if scope.target.project_id is not None:
        return set()
    return {work.account.cloud_account_id for work in works if work.account.cloud_account_id is not None}


def _payers_of(works: list[Work]) -> Iterable[CloudAccount]:
    return {work.payer.id: work.payer for work in works if work.payer}.values()


def _given_up(reading: Reading, errors: dict[Period, LaterError], left: list[Period]) -> Reading:
    """What said "later" for a day has failed; all that is left of the sub-account, where nothing else was answered."""
    failed = {window: given_up(error) for window, error in errors.items()}
    if not reading.parts:
        failed = dict.fromkeys(left, next(iter(failed.values()))) | failed
    return replace(reading, failed=(*reading.failed, *((each, failed[each]) for each in sorted(failed, key=_start))))


def _start(window: Period) -> date:
    return window.start


def _singly(reading: Reading, reason: str) -> list[Reading]:
    """The reading in its parts, or without its only one, which can't be stored for this reason."""
    if len(reading.parts) == 1 and not reading.failed:
        return [replace(reading, parts=(), failed=((reading.parts[0].window, reason),))]
    failed = [replace(reading, parts=())] if reading.failed else []
    return [*(replace(reading, parts=(part,), failed=()) for part in reading.parts), *failed]


def _failures(answers: Sequence[Answered]) -> str:
    """Why what failed did, by month; where nothing of a sub-account was answered, its reason alone."""
    reasons = []
    for account in dict.fromkeys(each.account for each in answers):
        of_account = [each for each in answers if each.account == account]
        failed = [each for each in of_account if each.state is AnswerState.FAILED]
        for reason in dict.fromkeys(str(each.reason) for each in failed):
            these = [each.window for each in failed if each.reason == reason]
            months = f"{months_in_words(these)} could not be read: "
            reasons.append(reason if len(these) == len(of_account) else months + reason)
    return "; ".join(dict.fromkeys(reasons))


def _doubt(answers: Sequence[Answered]) -> str:
    """Why windows are not believed, in words; empty where all are."""
    suspect: dict[str | None, list[Period]] = {}
    for each in answers:
        if each.state is AnswerState.SUSPECT:
            suspect.setdefault(each.reason, []).append(each.window)
    if not suspect:
        return ""
    doubts = "; ".join(f"{months_in_words(windows)} {reason}" for reason, windows in suspect.items())
    return f"{doubts}, where some are stored: that is not believed before the third night, and they stay"


def _is_over(scope: RunScope, message: UpdateMessage) -> bool:
    """Whether nothing is left to be read: a scope that has failed is read again if a person replays its message."""
    return scope.state is ScopeState.DONE or (scope.state is ScopeState.FAILED and not message.envelope.replayed)
