"""Cloud accounts that are asked for all of their sub-accounts at once, and pay for each page of an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from shared.domain import windows
from shared.domain.charges import ChargeSet
from shared.domain.coverage import Reading, ReadPart
from shared.domain.money import add
from shared.domain.periods import Period
from shared.pipeline.asking import Work
from shared.pipeline.events import event
from shared.ports.charges import ChargeLedger
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.costs import AccountsAnswer, AccountsQuery, AccountsSource, CostQuery
from shared.ports.errors import CallsUsedError, LaterError, NeverError, NoAnswerError
from shared.ports.payers import Change, PayerLedger, Sync
from shared.ports.runs import RunScope

# AWS Organizations' words for accounts that cost something, or may.
ACTIVE = ("ACTIVE", "PENDING_ACTIVATION", "PENDING_CLOSURE")
# Where so many syncs in a row did not reach all that was due, a day's turn has not come within a week.
A_WEEK_OF_NIGHTS, A_WEEK = 7, timedelta(days=8)
MOST_SYNCS_OF_A_WEEK = 100
# Of a day's calls a window may take a part, so that one that is larger than it seemed leaves something to others.
PART_OF_CALLS = 4
NEVER = datetime.min.replace(tzinfo=UTC)
# Syncs whose windows tell which days have waited for how long.
SYNCS_LOOKED_AT = 40
# No page token is kept over a night.
PROGRESS_LASTS = timedelta(hours=2)
Left = Sequence[tuple[Work, list[Period]]]


@dataclass(slots=True)
class Joint:
    """What reading a payer came to. readings: of each sub-account, with what of it had been left. answers, paid (the
    calls that an answer took), failed, later: by window; of the last two, why. left_out: those that it met, and that
    another cloud account feeds.
    """

    readings: list[tuple[Reading, list[Period]]] = field(default_factory=list)
    answers: dict[Period, AccountsAnswer] = field(default_factory=dict)
    paid: dict[Period, int] = field(default_factory=dict)
    failed: dict[Period, str] = field(default_factory=dict)
    later: dict[Period, LaterError] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)

    @property
    def odd(self) -> list[str]:
        """What is wrong with rows of no sub-account that can be told."""
        return [answer.odd[""] for answer in self.answers.values() if "" in answer.odd]


@dataclass(frozen=True, slots=True)
class Payers:
    """ledger: whom they read, and their paid calls. calls_a_day: how many one may make on a UTC day."""

    ledger: PayerLedger
    charges: ChargeLedger
    clock: Clock
    calls_a_day: int

    def list_members(self, payer: CloudAccount, source: AccountsSource, scope: RunScope, night: date) -> bool:
        """Takes in what the provider lists of its sub-accounts; whether it did. Where that is not allowed, or does not
        work now, what is known stays: costs are read all the same.
        """
        begun = self._begun(scope)
        try:
            listed = source.sub_accounts(payer)
        except (LaterError, NeverError) as error:
            event("members_not_listed", level=logging.WARNING, account=payer.id, reason=error.reason)
            return False
        if listed is None:
            self.ledger.forget_listed(payer.id)
            return False
        active = [each.id for each in listed.values() if each.state in ACTIVE]
        others = self.ledger.adopt(payer.id, payer.provider, listed.keys(), active)
        if others:
            event("members_fed_by_others", account=payer.id, members=len(others))
            self._change(payer, begun, lambda sync: _leaving_out(sync, others))
        self.ledger.note_listed(payer.id, payer.provider, listed.values(), ACTIVE, night)
        return True

    def read(self, scope: RunScope, left: Left, night: date, until: datetime) -> Joint:
        """What is left of a payer's sub-accounts, the newest days first, with no transaction open.

        All are asked for the same windows, each of which holds what any of them lacks of a month.
        """
        (first, _), *_ = left
        payer, source = _payer_of(first), _source_of(first)
        begun, may_call, joint = self._begun(scope), _Counted(self._may_call(payer)), Joint()
        wanted = self._in_turn(payer, scope, left)
        for window in wanted[: windows.MOST_PARTS]:
            key = CostQuery(payer.provider, payer.external_account_id, window)
            try:
                kept = self.charges.kept_answer(
                    scope.id, key, datetime.combine(night, datetime.min.time(), until.tzinfo)
                )
                before = may_call.made
                joint.answers[window] = source.read_all(AccountsQuery(payer, window), may_call, kept, until)
                joint.paid[window] = may_call.made - before
            except NoAnswerError as error:
                joint.failed[window] = error.reason
            except NeverError as error:
                # What refuses this window refuses all: it is said of the role, or of the payer.
                left_over = (each for each in wanted if each not in joint.answers)
                joint.failed = dict.fromkeys(left_over, error.reason) | joint.failed
                break
            except LaterError as error:
                self.charges.keep_answer(scope.id, key, error.progress, self.clock())
                joint.later[window] = error
                break
            if self.clock() >= until:
                break
        joint.readings = list(self._readings(scope, payer, source, left, joint, night))
        if scope.target.project_id is not None:
            # It says something of that project's accounts alone.
            joint.paid.clear()
        self._note(payer, begun, joint, may_call.made)
        return joint

    def has_calls(self, payer: CloudAccount) -> bool:
        """Whether it may make a paid call today."""
        return self.ledger.calls_on(payer.id, self.clock().date()) < self.calls_a_day

    def _may_call(self, payer: CloudAccount) -> Callable[[], bool]:
        return lambda: self.ledger.may_call(payer.id, self.clock().date(), self.calls_a_day)

    def _in_turn(self, payer: CloudAccount, scope: RunScope, left: Left) -> list[Period]:
        """The windows to ask for: the newest first, then what has waited longest; none longer than a part of the day's
        calls reaches, as far as the last sync tells.
        """
        hulls: dict[date, Period] = {}
        for _, rest in left:
            for each in rest:
                hull = hulls.get(month := each.start.replace(day=1), each)
                hulls[month] = Period(min(hull.start, each.start), max(hull.end, each.end))
        syncs = self._before(payer, scope)
        lately = self._lately(syncs)
        longest = windows.longest(max(1, self.calls_a_day // PART_OF_CALLS), _pages_a_day(lately), _longest(lately))
        parts = [part for each in hulls.values() for part in _cut(each, longest)]
        newest, *others = sorted(parts, key=lambda each: each.start, reverse=True)
        return [newest, *sorted(others, key=lambda each: _answered_on(each, syncs))]

    def _before(self, payer: CloudAccount, scope: RunScope) -> list[Sync]:
        return [each for each in self.ledger.syncs(payer.id, SYNCS_LOOKED_AT) if each.run_key != scope.run_key]

    def _lately(self, syncs: Iterable[Sync]) -> list[Sync]:
        return [each for each in syncs if each.started_at >= self.clock() - A_WEEK]

    # --- what is made of the answers ---

    def _readings(
        self,
        scope: RunScope,
        payer: CloudAccount,
        source: AccountsSource,
        left: Left,
        joint: Joint,
        night: date,
    ) -> Iterator[tuple[Reading, list[Period]]]:
        answers, failed = joint.answers, tuple(joint.failed.items())
        target, syncs = scope.target, self._lately(self._before(payer, scope))
        lately = tuple((window, sync.started_at) for sync in syncs for window, _ in sync.answered)
        kind, in_turn = source.connection_type, target.left is None
        reading = Reading(payer.provider, "", frozenset(), (), night, kind, failed, in_turn, lately)
        for work, rest in left:
            if work.key[1] == payer.external_account_id and (elsewhere := self._fed_elsewhere(payer)):
                refused = tuple((window, elsewhere) for window in answers)
                yield replace(reading, sub_account_id=work.key[1], failed=(*reading.failed, *refused)), rest
                continue
            yield replace(reading, sub_account_id=work.key[1], parts=_parts(answers, work.key[1])), rest
        if target.project_id is None:
            known = {work.key[1] for work, _ in left}
            new = sorted(_ids(answers) - known)
            others = self.ledger.adopt(payer.id, payer.provider, new) if new else {}
            joint.left_out.update(others)
            for each in new:
                if each not in others:
                    yield replace(reading, sub_account_id=each, parts=_parts(answers, each, with_empty=False)), []

    def _fed_elsewhere(self, payer: CloudAccount) -> str | None:
        """Why a payer, which is an account of its own, does not read itself; None where it does from now on."""
        itself = payer.external_account_id
        others = self.ledger.adopt(payer.id, payer.provider, [itself])
        if not others:
            return None
        if (other := others[itself]) is None:
            return f"Exports feed {itself}; `exports use query --for {itself}` has cloud account {payer.id} read it."
        return f"Cloud account {other} reads {itself} already."

    # --- the collection result ---

    def _begun(self, scope: RunScope) -> Sync:
        """One that begins now."""
        now = self.clock()
        return Sync(scope.run_key, now, now)

    def _note(self, payer: CloudAccount, begun: Sync, joint: Joint, calls: int) -> None:
        """Adds what a message came to. What went wrong before it was asked for again by this one."""
        sets = [each for reading, _ in joint.readings for part in reading.parts for each in part.charges]
        services = {key[2] for each in sets for key in each.amounts}
        unfit = next((each for each, error in joint.later.items() if isinstance(error, CallsUsedError)), None)
        errors = [*joint.failed.values(), *(error.reason for error in joint.later.values())]
        self._change(
            payer,
            begun,
            lambda sync: replace(
                _leaving_out(sync, joint.left_out),
                rows=sync.rows + sum(len(each.amounts) for each in sets),
                totals=_totals(sync.totals or {}, sets),
                services=max(sync.services, len(names := {*sync.service_names, *services})),
                service_names=tuple(sorted(names)),
                calls=sync.calls + calls,
                errors=tuple(dict.fromkeys(errors)),
                days_unfit=unfit.days if unfit else None,
                answered=(*sync.answered, *joint.paid.items()),
            ),
        )

    def _change(self, payer: CloudAccount, begun: Sync, change: Change) -> None:
        """Several messages may work on one sync at once."""
        self.ledger.change_sync(payer.id, begun, lambda sync: replace(change(sync), finished_at=self.clock()))

    def note_end(self, payer: CloudAccount, scope: RunScope, why: str) -> None:
        """A sync has ended, and not all that was due was read and believed."""
        self._change(payer, self._begun(scope), lambda sync: replace(sync, errors=(why,)))

    def falls_behind(self, payer: CloudAccount) -> bool:
        """Whether for a week of nights not all that was due was reached. What people sync besides hides none."""
        unfit: dict[date, bool] = {}
        for each in self.ledger.syncs(payer.id, MOST_SYNCS_OF_A_WEEK):
            day = each.started_at.date()
            unfit[day] = unfit.get(day, False) or each.days_unfit is not None
        last = [unfit[day] for day in sorted(unfit, reverse=True)[:A_WEEK_OF_NIGHTS]]
        return len(last) == A_WEEK_OF_NIGHTS and all(last)


@dataclass(slots=True)
class _Counted:
    """Counts the paid calls that were made."""

    may_call: Callable[[], bool]
    made: int = 0

    def __call__(self) -> bool:
        allowed = self.may_call()
        self.made += allowed
        return allowed


def joined(left: Left) -> Iterator[list[tuple[Work, list[Period]]]]:
    """What is read together: all that one payer is asked for, and each other sub-account alone."""
    payers: dict[int, list[tuple[Work, list[Period]]]] = {}
    for work, rest in left:
        if work.payer is not None:
            payers.setdefault(work.payer.id, []).append((work, rest))
    seen = set[int]()
    for work, rest in left:
        if work.payer is None:
            yield [(work, rest)]
        elif work.payer.id not in seen:
            seen.add(work.payer.id)
            yield payers[work.payer.id]


def _payer_of(work: Work) -> CloudAccount:
    if work.payer is None:
        raise TypeError(f"{work.key} is not read by a payer")
    return work.payer


def _source_of(work: Work) -> AccountsSource:
    if not isinstance(work.source, AccountsSource):
        raise TypeError(f"{work.key} is not read by a source of several sub-accounts")
    return work.source


def _ids(answers: Mapping[Period, AccountsAnswer]) -> set[str]:
    return {each for answer in answers.values() for each in (*answer.charges, *answer.odd) if each}


def _parts(
    answers: Mapping[Period, AccountsAnswer], sub_account_id: str, *, with_empty: bool = True
) -> tuple[ReadPart, ...]:
    """What the answers say of one sub-account; nothing of those in which it does not come up, unless it is known."""
    parts = []
    for window, answer in answers.items():
        charges, odd = answer.charges.get(sub_account_id, ()), answer.odd.get(sub_account_id)
        if charges or odd or with_empty:
            # An answer that has others' rows is no empty one, as a file of all is none.
            others = bool(answer.charges)
            odd_rows, estimated_from = {"": odd} if odd else {}, answer.estimated_from
            parts.append(ReadPart(window, charges, answer.begun_at, odd_rows, others, estimated_from))
    return tuple(parts)


def _pages_a_day(syncs: Iterable[Sync]) -> float:
    """How many pages a day's answer takes at most, as far as answers of several pages tell; 0 where there were none."""
    found = [0.0]
    for each in syncs:
        found += [calls / days.days for days, calls in each.answered if calls > 1]
        if each.days_unfit and (begun := each.calls - sum(calls for _, calls in each.answered)) > 0:
            found.append((begun + 1) / each.days_unfit)
    return max(found)


def _longest(syncs: Iterable[Sync]) -> int | None:
    """How many days the longest window had that was answered; None where none was."""
    return max((days.days for each in syncs for days, _ in each.answered), default=None)


def _answered_on(window: Period, syncs: Sequence[Sync]) -> datetime:
    """When the day of a window that has waited longest was answered last; the earliest time, for one that never was."""
    return min(
        next((sync.started_at for sync in syncs if any(day in each for each, _ in sync.answered)), NEVER)
        for day in (window.start + timedelta(days=number) for number in range(window.days))
    )


def _leaving_out(sync: Sync, ids: Iterable[str]) -> Sync:
    return replace(sync, left_out=tuple(sorted({*sync.left_out, *ids})))


def _totals(before: Mapping[str, Decimal], sets: Sequence[ChargeSet]) -> dict[str, Decimal]:
    totals = dict(before)
    for each in sets:
        currency = each.billing_currency or ""
        for cost in each.amounts.values():
            totals[currency] = add(totals.get(currency, Decimal(0)), cost)
    return totals


def _cut(days: Period, longest: int) -> Iterator[Period]:
    """The days in parts of at most so many, the newest whole."""
    end = days.end
    while end > days.start:
        start = max(days.start, end - timedelta(days=longest))
        yield Period(start, end)
        end = start
