"""Decides what becomes of a request, and does it: puts locks on, takes them off, or writes down why not.

A project that is locked already goes the same way every night: then only what is missing is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from shared.domain.locks import (
    INACTIVE,
    NEVER,
    NO_BUDGET,
    ORDERED,
    RELEASED,
    LockMode,
    LockRules,
    LockWhy,
    Outcome,
    Wanted,
    should_be,
)
from shared.domain.projects import LockPolicy
from shared.domain.texts import digest
from shared.messages import LockAction, LockTrigger
from shared.pipeline.locking.groups import (
    BEING_STOPPED,
    NOTHING,
    RUNS,
    TAKEN_OFF,
    GroupLocks,
    GroupMachine,
    InTime,
    Report,
    machine_name,
)
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.records import Records
from shared.pipeline.locking.request import Request
from shared.pipeline.stage import Retry
from shared.ports.azure import ResourceGroup
from shared.ports.clock import Clock
from shared.ports.errors import PauseError
from shared.ports.locks import Freed, Hold

# A function that runs for ten minutes is killed, and a call takes Azure at most 40 seconds. What there was no time for
# is done by the copy of the message that is put back; each begins with what is not known to be locked.
SURVEYED_WITHIN, STOPPED_WITHIN, LOCKED_WITHIN = timedelta(minutes=2), timedelta(minutes=4), timedelta(minutes=6)
# Nothing comes before that, and it has to be done in one go.
TAKEN_OFF_WITHIN = timedelta(minutes=8)
# Machines are given this long to stop; what still runs then is locked all the same.
STOPPING_WAIT, STOPPING_LIMIT = timedelta(seconds=10), timedelta(minutes=10)
# So long is Azure asked again for its figure, or for what runs, where that could change what is done.
AZURE_LIMIT = timedelta(minutes=30)
# Each night's check looks at what is locked; where none comes (costs that can't be read, a project that is inactive),
# the watchdog asks for it.
LOOKED_AT_EVERY = timedelta(hours=26)
ALERT_COUNTS_FOR = timedelta(days=7)

NOTHING_TO_LOCK = "none of its resource groups is there, or may be locked"
NO_GROUPS = "it has no resource group in Azure, and nothing else can be locked"
NOT_BY_US, STAYS_IN_OFF = "it was not locked by this app", "LOCK_MODE is off, so that locks stay as they are"
LASTING = {NEVER: "never", RELEASED: "released", NOTHING_TO_LOCK: "nothing", NO_GROUPS: "no-groups"}
# Why a lock comes off though nobody watches over the project's money from then on.
UNWATCHED = (NEVER, INACTIVE, NO_BUDGET)
STILL_RAN = "it still ran ten minutes after it was to stop, and goes on costing money"


@dataclass(frozen=True, slots=True)
class Locking:
    """Locks and unlocks. Every method raises LaterError where something has to wait."""

    groups: GroupLocks
    mails: LockMails
    records: Records
    rules: LockRules
    retry: Retry
    clock: Clock

    def settle(self, request: Request) -> None:
        """Compares what should be with what there is: does what is missing, says what would be done, or refuses."""
        wanted = should_be(request.known, self.rules.when_unsure)
        self._look_again(request, wanted)
        later = request.superseded_at
        if later is not None:
            self._answer(request, f"an order of {later:%Y-%m-%d at %H:%M:%S} UTC, which is later, counts")
        elif wanted.why is None:
            self._open(request, wanted)
        else:
            self._locked(request, wanted)

    def _look_again(self, request: Request, wanted: Wanted) -> None:
        """Whatever becomes of the message: what is locked is looked at every day, and an alert once it can be used.

        Azure calls but once: of an alert that counts for nothing now, its figure is looked at for a week.
        """
        again_on, facts, now = request.azure.again_on, request.facts, request.now
        is_alert = request.message.trigger is LockTrigger.ALERT
        alerted_at = now if is_alert and again_on is not None else facts.alerted_at
        due_at = None
        if facts.held or (wanted.why is not None and self.rules.mode is LockMode.ENFORCE):
            due_at = now + LOOKED_AT_EVERY
        elif again_on is not None and alerted_at is not None and now < alerted_at + ALERT_COUNTS_FOR:
            due_at = datetime.combine(again_on, time(), UTC)
        self.records.look_at(request, due_at, alerted_at if due_at else None)

    def _in_time(self, request: Request, limit: timedelta) -> InTime:
        """Says whether less than `limit` has passed since the work on it began."""
        return lambda: self.clock() - request.now < limit

    # --- what is to be open ----------------------------------------------------------------------------------

    def _open(self, request: Request, wanted: Wanted) -> None:
        facts, mode = request.facts, self.rules.mode
        # Whoever marks a project as never to be locked takes an order to lock it back.
        self.records.withdraw(request)
        is_order = request.ordered and request.asks(LockAction.UNLOCK)
        if is_order or (facts.held is not None and request.known.is_released):
            self._take_off(request, ORDERED)
        elif facts.held is None:
            self._answer(request, wanted.reason)
        elif mode is LockMode.ENFORCE:
            self._take_off(request, wanted.reason)
        elif mode is LockMode.DRY_RUN:
            key = request.key("would-unlock")
            mail = self.mails.would_unlock(request, key, wanted.reason)
            self.records.write_down(request, key, Outcome.WOULD_UNLOCK, wanted.reason, mails=[mail])
        elif not request.is_look:
            self._answer(request, STAYS_IN_OFF)
        if facts.held is not None and request.ordered and request.asks(LockAction.LOCK):
            self.records.claim(request.project.id, request.origin, request.now)
            self._refuse(request, wanted.reason)

    def _answer(self, request: Request, reason: str) -> None:
        """Nothing is done: whoever asked for something is told why not."""
        if request.is_look:
            self._say_what_was_in_vain(request, reason)
        elif request.asks(LockAction.LOCK):
            self._refuse(request, reason)
        else:
            key = f"stays/{request.this_budget}/{request.now.date()}/{digest(reason, request.message.by or '')}"
            said = reason if request.facts.held or request.ordered else "the project is not locked"
            self.records.write_down(request, key, Outcome.REFUSED, said)

    def _take_off(self, request: Request, reason: str) -> None:
        """Takes the lock off every group that has it; what can't be done now or at all is remembered, and is next."""
        request, facts = replace(request, action=LockAction.UNLOCK), request.facts
        report = self.groups.take_off(facts, self._in_time(request, TAKEN_OFF_WITHIN))
        left = report.left_of(facts.held_groups)
        change = Hold(facts.held, left) if facts.held is not None and left else None
        if report.failed:
            self.records.write_down_failure(request, report, change)
        elif change and report.later:
            self.records.keep(request, change)
        report.raise_later()
        if not report.failed:
            self._write_down_open(request, reason, report)

    def _write_down_open(self, request: Request, reason: str, report: Report) -> None:
        facts = request.facts
        if self.records.has_decided(request, request.key_of_message("unlocked")):
            return  # the message comes again after all was done
        if facts.held_since is None and not report.with_word(TAKEN_OFF):
            key, mails = request.key_of_message("not-locked"), self.records.mails_on_what_was_in_vain(request)
            freed = Freed() if facts.held else None
            self.records.write_down(request, key, Outcome.REFUSED, NOT_BY_US, report, freed, mails)
            return
        key, mails = request.key_of_message("unlocked"), [self.records.mail_to_contacts(request)]
        if reason in UNWATCHED:
            mails.append(self.mails.opened(request, key, reason))
        self.records.write_down(request, key, Outcome.UNLOCKED, reason, report, Freed(), mails)

    # --- refusing, or only saying what would be --------------------------------------------------------------

    def _refuse(self, request: Request, reason: str, report: Report = NOTHING, let_go: bool = False) -> None:
        """Told once a day for the same reason, or once for the budget and period where it stays the same.

        With LOCK_MODE off, only those who ordered a lock are told. let_go: the project has no lock any more.
        """
        is_off = self.rules.mode is LockMode.OFF
        if is_off and request.project.lock is not LockPolicy.NEVER:
            reason = "LOCK_MODE is off"
        lasting = "off" if is_off else LASTING.get(reason)
        key = request.key("refused", lasting or f"{request.now.date()}/{digest(reason)}")
        mails = [self.mails.refused(request, key, reason)] if request.ordered or not is_off else []
        mails += self.records.mails_on_what_was_in_vain(request)
        if self.rules.mode is LockMode.ENFORCE and reason in (NOTHING_TO_LOCK, NO_GROUPS):
            to_contacts = self.records.mails_on_no_lock(request)
            key, mails = f"{key}/told" if to_contacts else key, mails + to_contacts
        self.records.write_down(request, key, Outcome.REFUSED, reason, report, Freed() if let_go else None, mails)
        self._withdraw(request)

    def _would_lock(self, request: Request, wanted: Wanted) -> None:
        """Writes down once, for this budget and period, what would be done."""
        seen = self.groups.survey(request.facts, self._in_time(request, SURVEYED_WITHIN))
        if seen.has_nothing_to_lock:
            self._refuse(request, _nothing_to_lock(request))
            return
        if self.rules.stop_compute:
            seen += self.groups.machines_in(seen.lacking, self._in_time(request, STOPPED_WITHIN))
        seen.raise_later()
        lines = [
            *(f"a {self.groups.level} lock on the resource group {group.name}" for group in seen.lacking),
            *(f"the {each.kind} {each.name} in {group.name} deallocated" for group, each, _ in seen.machines),
            *(f"{what} could not be looked at: {why}" for what, why in seen.failed),
        ]
        plan = replace(
            seen,
            groups=(*seen.groups, *((group, "would be locked") for group in seen.lacking)),
            machines=tuple((group, each, "would be stopped") for group, each, _ in seen.machines),
        )
        key, reason = request.key("would-lock"), wanted.reason
        mails = [self.mails.would_lock(request, key, reason, lines or ["nothing: the lock is there already"])]
        mails += self.records.mails_on_what_was_in_vain(request)
        self.records.write_down(request, key, Outcome.WOULD_LOCK, reason, plan, mails=mails)
        self._withdraw(request)

    def _withdraw(self, request: Request) -> None:
        """Ends an order that came to nothing; one for a lock that an order has put on before keeps that lock."""
        held, is_never = request.facts.held, request.project.lock is LockPolicy.NEVER
        keeps = self.rules.mode is not LockMode.ENFORCE and held is not None and held.why is LockWhy.ORDER
        if is_never or not keeps:
            self.records.withdraw(request)

    def _would_leave(self, request: Request) -> None:
        """Writes down once which groups a lock of before would come off, though not the rest of the project."""
        lost = [group.name for group in self.groups.lost(request.facts)]
        if lost:
            reason = f"not to be locked with this project any more: {', '.join(lost)}"
            key = request.key("would-leave", digest(*lost))
            mail = self.mails.would_leave(request, key, lost)
            self.records.write_down(request, key, Outcome.WOULD_UNLOCK, reason, mails=[mail])
            self.records.claim(request.project.id, request.origin, request.now)

    def _say_what_was_in_vain(self, request: Request, reason: str) -> None:
        mails = self.records.mails_on_what_was_in_vain(request)
        if mails:
            self.records.write_down(request, request.key_of_message("in-vain"), Outcome.REFUSED, reason, mails=mails)

    # --- locking ---------------------------------------------------------------------------------------------

    def _locked(self, request: Request, wanted: Wanted) -> None:
        mode = self.rules.mode
        if not request.is_look and request.asks(LockAction.UNLOCK):
            self._answer(request, f"it stays locked: {wanted.reason}")
        elif mode is LockMode.ENFORCE:
            self._lock(replace(request, action=LockAction.LOCK), wanted)
        elif mode is LockMode.OFF and not request.is_look:
            self._refuse(request, wanted.reason)
        elif mode is LockMode.DRY_RUN:
            self._would_leave(request)
            if not (request.is_look or wanted.stays):
                self._would_lock(request, wanted)

    def _lock(self, request: Request, wanted: Wanted) -> None:
        """Looks, stops, intends, puts, leaves, writes down."""
        seen = self.groups.survey(request.facts, self._in_time(request, SURVEYED_WITHIN))
        if seen.has_nothing_to_lock:
            self._let_go(request, seen)
            return
        facts, in_time = request.facts, self._in_time(request, LOCKED_WITHIN)
        stopped = NOTHING
        if seen.lacking:
            if self.rules.stop_compute:
                stopped = self._stop_machines(request, seen.lacking)
            self._intend(request, wanted, seen.lacking)
        put = self.groups.put(seen.lacking, facts.project.id, self.mails.note(request, wanted.reason), in_time)
        report = seen + stopped + put + self.groups.leave(facts, in_time)
        self._write_down(request, wanted, report)
        report.raise_later()

    def _let_go(self, request: Request, seen: Report) -> None:
        """Nothing may be locked any more: the lock comes off what has it, and the request is refused."""
        report = seen + self.groups.leave(request.facts, self._in_time(request, LOCKED_WITHIN))
        report.raise_later()
        if report.failed:
            self.records.write_down_failure(request, report)
        elif request.facts.held is not None or not request.is_look:
            self._refuse(request, _nothing_to_lock(request), report, let_go=request.facts.held is not None)

    def _intend(self, request: Request, wanted: Wanted, lacking: Iterable[ResourceGroup]) -> None:
        """Writes down on which groups the lock is about to be: should it end here, the lock is known, and comes off."""
        groups = dict.fromkeys((*request.facts.held_groups, *lacking))
        if len(groups) > len(request.facts.held_groups):
            self.records.keep(request, request.hold(wanted, groups))
            self.records.claim(request.project.id, request.origin, request.now)

    def _write_down(self, request: Request, wanted: Wanted, report: Report) -> None:
        facts, hold = request.facts, request.hold(wanted, report.still_held(request.facts))
        if report.failed:
            # What was intended comes to nothing where every group has refused the lock.
            taken_back = None if report.later or hold.groups else Freed()
            change = hold if report.is_locked or facts.held_since else taken_back
            self.records.write_down_failure(request, report, change)
        elif not report.is_locked:
            if not report.later:
                self._refuse(request, NOTHING_TO_LOCK)
        elif facts.held_since is None:
            key = request.key_of_message("locked")
            mails = [] if self.mails.is_told(request) else [self.records.mail_to_contacts(request)]
            if wanted.why is LockWhy.UNSURE:
                mails.append(self.mails.locked_unsure(request, key, wanted.reason))
            self.records.write_down(request, key, Outcome.LOCKED, wanted.reason, report, hold, mails)
        else:
            self._write_down_again(request, wanted.reason, report, hold)

    def _write_down_again(self, request: Request, reason: str, report: Report, hold: Hold) -> None:
        """What was done about a lock that was there before; nothing where nothing was."""
        facts, lock = request.facts, hold.lock
        held = facts.held or lock
        gone = report.gone_from(facts, request.now)
        done = report.done_again(facts, gone)
        is_order = request.ordered and not report.later
        is_new = (lock.budget_number, lock.period_start) != (held.budget_number, held.period_start)
        if done:
            key = request.key_of_message("again")
            mails = [self.mails.locked_again(request, key, [group.name for group in gone])] if gone else []
            said = f"{'; '.join(done)}; {reason}"
            self.records.write_down(request, key, Outcome.LOCKED, said, report, hold, mails)
        elif is_order or is_new:
            said = f"it stays locked: {reason}"
            self.records.write_down(request, request.key("locked"), Outcome.LOCKED, said, report, hold)
        elif lock != held or set(hold.groups) != set(facts.held_groups):
            self.records.keep(request, hold)

    # --- stopping machines before the lock, which would keep them running ------------------------------------

    def _stop_machines(self, request: Request, groups: Iterable[ResourceGroup]) -> Report:
        """Sees to it that nothing runs in these groups, or has had its time to stop.

        Raises LaterError as long as it is worth waiting: nobody sleeps, the message comes back. What can't be stopped
        is reported, and is locked running.
        """
        in_time = self._in_time(request, STOPPED_WITHIN)
        found = self.groups.machines_in(groups, in_time)
        running = [(group, each) for group, each, word in found.machines if word == RUNS]
        began = self._write_down_stop(request, running)
        refused = self.groups.stop(running, in_time)
        failed, later = (*found.failed, *refused.failed), (*found.later, *refused.later)
        first_queued_at = request.message.envelope.first_queued_at
        if later:
            # For half an hour at most: a lock that never comes is worse than machines that go on running.
            if not self.retry.is_over(first_queued_at, AZURE_LIMIT):
                raise later[-1]
            failed = (*failed, ("the machines", f"they could not all be stopped: {later[-1].reason}"))
        gone = {(group, each) for group, each, _ in refused.machines}
        waiting = tuple(said for said in found.machines if said[:2] not in gone)
        if waiting and not self.retry.is_over(began or first_queued_at, STOPPING_LIMIT):
            raise PauseError(f"{_machines(len(waiting))} being stopped before the lock", STOPPING_WAIT)
        still_run = tuple((machine_name((group, each)), STILL_RAN) for group, each, word in waiting if word == RUNS)
        return Report(machines=(*refused.machines, *waiting), failed=(*failed, *still_run))

    def _write_down_stop(self, request: Request, running: list[GroupMachine]) -> datetime | None:
        """Before it is done: once it is, nobody could tell any more what had been running. Returns since when.

        Each machine is written down once, however often its deallocation has to be asked for.
        """
        stops = self.records.stops(request, AZURE_LIMIT + STOPPING_LIMIT)
        named = {(group, name) for view in stops for group, name, _word in view.entry.details["machines"]}
        new = [(group, each, BEING_STOPPED) for group, each in running if (group.name, each.name) not in named]
        if new:
            reason = f"{_machines(len(new))} deallocated before the lock"
            # A message may come again and find more that runs: each time has its row.
            key = request.key_of_message(f"stopping/{digest(*(machine_name(each[:2]) for each in new))}")
            self.records.write_down(request, key, Outcome.STOPPING, reason, Report(machines=tuple(new)))
            self.records.claim(request.project.id, request.origin, request.now)
        return stops[0].at if stops else (request.now if new else None)


def _nothing_to_lock(request: Request) -> str:
    return NOTHING_TO_LOCK if request.facts.groups else NO_GROUPS


def _machines(number: int) -> str:
    return "one machine is" if number == 1 else f"{number} machines are"
