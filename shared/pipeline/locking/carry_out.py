"""Decides what becomes of a request, and does it: puts locks on, takes them off, or writes down why not.

A project that is locked already goes the same way every night: then only what is missing is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from shared.domain.locks import LockMode, LockRules, Outcome, decide_lock, decide_unlock
from shared.domain.projects import LockPolicy
from shared.domain.texts import digest
from shared.messages import Envelope, LockTrigger
from shared.pipeline.locking.groups import (
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
from shared.pipeline.stage import Outgoing, Retry
from shared.ports.azure import ResourceGroup
from shared.ports.clock import Clock
from shared.ports.errors import PauseError
from shared.ports.locks import Hold

# A function that runs for ten minutes is killed, and a call takes Azure at most 40 seconds. What there was no time for
# is done by the copy of the message that is put back; each begins with what is not known to be locked.
SURVEYED_WITHIN, STOPPED_WITHIN, LOCKED_WITHIN = timedelta(minutes=2), timedelta(minutes=4), timedelta(minutes=6)
# Nothing comes before that, and it has to be done in one go.
TAKEN_OFF_WITHIN = timedelta(minutes=8)
# Machines are given this long to stop; what still runs then is locked all the same.
STOPPING_WAIT, STOPPING_LIMIT = timedelta(seconds=10), timedelta(minutes=10)
# So long is Azure asked again for its figure, or for what runs, where that could change what is done.
AZURE_LIMIT = timedelta(minutes=30)

NOTHING_TO_LOCK = "none of its resource groups is there, or may be locked"
NO_GROUPS = "it has no resource group in Azure, and nothing else can be locked"
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

    def lock(self, request: Request) -> list[Outgoing]:
        """Decides, and locks, says what would be done, or refuses."""
        facts, figure = request.facts, request.azure.figure
        decision = decide_lock(
            self.rules, facts.project, figure, request.database, request.has_budget, request.ordered, facts.released
        )
        if decision.outcome is Outcome.REFUSED:
            return self._refuse(request, decision.reason)
        seen = self.groups.survey(facts, self._in_time(request, SURVEYED_WITHIN))
        carry_out = self._lock if decision.outcome is Outcome.LOCKED else self._would_lock
        return carry_out(request, decision.reason, seen)

    def _in_time(self, request: Request, limit: timedelta) -> InTime:
        """Says whether less than `limit` has passed since the work on it began."""
        return lambda: self.clock() - request.now < limit

    # --- refusing, or only saying what would be --------------------------------------------------------------

    def _refuse(self, request: Request, reason: str, report: Report = NOTHING, let_go: bool = False) -> list[Outgoing]:
        """Told once a day for the same reason, or once for the budget and period where it stays the same.

        With LOCK_MODE off, only those who ordered a lock are told. let_go: the project has no lock any more.
        """
        lasting = self._lasting(request, reason)
        key = request.key("refused", lasting or f"{request.now.date()}/{digest(reason)}")
        is_told = self.rules.mode is not LockMode.OFF or request.ordered
        mails = [self.mails.refused(request, key, reason)] if is_told else []
        change = request.freed(request.facts.released) if let_go else None
        self.records.write_down(request, key, Outcome.REFUSED, reason, report, change, mails)
        again_from = request.azure.doubtful_until
        return [] if again_from is None or lasting else [_look_again_on(again_from, request)]

    def _lasting(self, request: Request, reason: str) -> str | None:
        """A word for a reason that is the same tomorrow."""
        if self.rules.mode is LockMode.OFF:
            return "off"
        if request.project.lock is LockPolicy.NEVER:
            return "never"
        if request.facts.released and not request.ordered:
            return "released"
        return {NOTHING_TO_LOCK: "nothing", NO_GROUPS: "no-groups"}.get(reason)

    def _would_lock(self, request: Request, reason: str, seen: Report) -> list[Outgoing]:
        """Writes down once, for this budget and period, what would be done."""
        if seen.has_nothing_to_lock:
            return self._refuse(request, _nothing_to_lock(request))
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
        key = request.key("would-lock")
        mail = self.mails.would_lock(request, key, reason, lines or ["nothing: the lock is there already"])
        self.records.write_down(request, key, Outcome.WOULD_LOCK, reason, plan, mails=[mail])
        return []

    # --- locking ---------------------------------------------------------------------------------------------

    def _lock(self, request: Request, reason: str, seen: Report) -> list[Outgoing]:
        """Stop, intend, put, leave, write down."""
        if seen.has_nothing_to_lock:
            return self._let_go(request, seen)
        facts, in_time = request.facts, self._in_time(request, LOCKED_WITHIN)
        stopped = NOTHING
        if seen.lacking:
            if self.rules.stop_compute:
                stopped = self._stop_machines(request, seen.lacking)
            self._intend(request, seen.lacking)
        put = self.groups.put(seen.lacking, facts.project.id, self.mails.note(request, reason), in_time)
        report = seen + stopped + put + self.groups.leave(facts, in_time)
        wanted = self._write_down(request, reason, report)
        report.raise_later()
        return wanted

    def _let_go(self, request: Request, seen: Report) -> list[Outgoing]:
        """Nothing may be locked any more: the lock comes off what has it, and the request is refused."""
        report = seen + self.groups.leave(request.facts, self._in_time(request, LOCKED_WITHIN))
        report.raise_later()
        if report.failed:
            self.records.write_down_failure(request, report)
            return []
        return self._refuse(request, _nothing_to_lock(request), report, let_go=request.facts.held is not None)

    def _intend(self, request: Request, lacking: Iterable[ResourceGroup]) -> None:
        """Writes down on which groups the lock is about to be: should it end here, the lock is known, and comes off."""
        if request.facts.held_since is None:
            self.records.keep(request, dict.fromkeys((*request.facts.held_groups, *lacking)))
            self.records.claim(request.project.id, request.origin, request.now)

    def _write_down(self, request: Request, reason: str, report: Report) -> list[Outgoing]:
        facts, hold = request.facts, request.hold(report.still_held(request.facts))
        if report.failed:
            # What was intended comes to nothing where every group has refused the lock.
            taken_back = None if report.later or hold.groups else request.freed(facts.released)
            change = hold if report.is_locked or facts.held_since else taken_back
            self.records.write_down_failure(request, report, change)
        elif not report.is_locked:
            return [] if report.later else self._refuse(request, NOTHING_TO_LOCK)
        elif facts.held_since is None:
            key, mail = request.key_of_message("locked"), self.records.mail_to_contacts(request)
            self.records.write_down(request, key, Outcome.LOCKED, reason, report, hold, [mail])
        else:
            self._write_down_again(request, reason, report, hold)
        return []

    def _write_down_again(self, request: Request, reason: str, report: Report, hold: Hold) -> None:
        """What was done about a lock that was there before; nothing where nothing was."""
        facts, lock = request.facts, hold.lock
        held = facts.held or lock
        done, gone = report.done_again(facts), report.gone_from(facts)
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
            self.records.keep(request, hold.groups)

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
        new = [(group, each, "is being stopped") for group, each in running if (group.name, each.name) not in named]
        if new:
            reason = f"{_machines(len(new))} deallocated before the lock"
            key = request.key_of_message("stopping")
            self.records.write_down(request, key, Outcome.STOPPING, reason, Report(machines=tuple(new)))
            self.records.claim(request.project.id, request.origin, request.now)
        return stops[0].at if stops else (request.now if new else None)

    # --- unlocking -------------------------------------------------------------------------------------------

    def unlock(self, request: Request) -> None:
        """Decides, and takes the lock off, says that it would come off, or leaves it on."""
        facts = request.facts
        decision = decide_unlock(
            self.rules.mode, facts.held, facts.budget, facts.period, facts.usage, facts.unknown, request.ordered
        )
        if decision.outcome is Outcome.REFUSED:
            self._leave_on(request, decision.reason)
        elif decision.outcome is Outcome.WOULD_UNLOCK:
            key = request.key("would-unlock")
            mail = self.mails.would_unlock(request, key, decision.reason)
            self.records.write_down(request, key, Outcome.WOULD_UNLOCK, decision.reason, mails=[mail])
        else:
            self._take_off(request, decision.reason)

    def _leave_on(self, request: Request, reason: str) -> None:
        if request.facts.held is None and request.message.trigger is LockTrigger.CHECK:
            return  # a check asks only where there was a lock: this is its message once more
        key = f"stays/{request.this_budget}/{request.now.date()}/{digest(reason)}"
        self.records.write_down(request, key, Outcome.REFUSED, reason)

    def _take_off(self, request: Request, reason: str) -> None:
        facts, freed = request.facts, request.freed(request.ordered)
        report = self.groups.take_off(facts, self._in_time(request, TAKEN_OFF_WITHIN))
        report.raise_later()
        if report.failed:
            self.records.write_down_failure(request, report)
        elif facts.held_since is None and not report.with_word(TAKEN_OFF):
            key, why = request.key_of_message("not-locked"), "it was not locked by this app"
            self.records.write_down(request, key, Outcome.REFUSED, why, report, freed if facts.held else None)
        else:
            key, mail = request.key_of_message("unlocked"), self.records.mail_to_contacts(request)
            self.records.write_down(request, key, Outcome.UNLOCKED, reason, report, freed, [mail])


def _nothing_to_lock(request: Request) -> str:
    return NOTHING_TO_LOCK if request.facts.groups else NO_GROUPS


def _machines(number: int) -> str:
    return "one machine is" if number == 1 else f"{number} machines are"


def _look_again_on(day: date, request: Request) -> Outgoing:
    """Azure calls but once: an alert in a period's first days is looked into again once its figure counts."""
    envelope = Envelope(run_id=request.message.envelope.run_id)
    by_id = replace(request.message, project_id=request.project.id, budget_name=None, subscription_id=None)
    due_at = datetime.combine(day, time(), UTC)
    return Outgoing(replace(by_id, envelope=envelope), max(due_at - request.now, timedelta(0)))
