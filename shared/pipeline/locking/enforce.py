"""LOCK_MODE enforce: puts the lock on whatever lacks it, takes it off what left the project, and writes that down.

A project that is locked already goes the same way every night: then only what is missing is done.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.locks import Outcome
from shared.pipeline.locking.case import Case
from shared.pipeline.locking.claims import Claims
from shared.pipeline.locking.figures import held_lock
from shared.pipeline.locking.groups import GroupLocks
from shared.pipeline.locking.limits import LOCKED_WITHIN, SURVEYED_WITHIN
from shared.pipeline.locking.machines import MachineStops
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.records import Records
from shared.pipeline.locking.refuse import NOTHING_TO_LOCK, Refusals
from shared.pipeline.locking.report import ALREADY, LOCKED, GroupReport, done_again, gone_from, still_held
from shared.pipeline.stage import Outgoing
from shared.ports.locks import Freed, Hold, LockLedger


@dataclass(frozen=True, slots=True)
class Enforcement:
    """Locks. machines: how they are stopped before the lock; None where they are left running."""

    ledger: LockLedger
    claims: Claims
    groups: GroupLocks
    machines: MachineStops | None
    mails: LockMails
    records: Records
    refusals: Refusals

    def lock(self, case: Case, reason: str) -> list[Outgoing]:
        """Survey, stop, intend, put, leave, write down. Raises LaterError where something has to wait."""
        report = self.groups.survey(case.facts, case.in_time(SURVEYED_WITHIN))
        if report.has_nothing_to_lock:
            return self._let_go(case, report)
        if report.lacking:
            if self.machines:
                self.machines.stop(case, report)
            self._intend(case, report)
            self._put(case, reason, report)
        self.groups.leave(case.facts, report, case.in_time(LOCKED_WITHIN))
        wanted = self._write_down(case, reason, report)
        report.raise_later()
        return wanted

    def _let_go(self, case: Case, report: GroupReport) -> list[Outgoing]:
        """Nothing may be locked any more: the lock comes off what has it, and the request is refused."""
        facts = case.facts
        self.groups.leave(facts, report, case.in_time(LOCKED_WITHIN))
        report.raise_later()
        if report.failed:
            self.records.write_down_failure(case, report, None)
            return []
        freed = Freed(facts.released, facts.budget.number, case.period_start) if facts.held else None
        return self.refusals.refuse(case, NOTHING_TO_LOCK, report, freed)

    def _intend(self, case: Case, report: GroupReport) -> None:
        """Writes down on which groups the lock is about to be: should it end here, the lock is known, and comes off."""
        facts = case.facts
        if facts.held_since is None:
            groups = dict.fromkeys((*facts.held_groups, *report.lacking))
            self._keep(case, Hold(held_lock(facts, case.figures, case.ordered), tuple(groups)))
            self.claims.take(facts.project.id, case.origin, case.now)

    def _keep(self, case: Case, hold: Hold) -> None:
        self.ledger.keep(case.facts.project.id, case.origin, hold)

    def _put(self, case: Case, reason: str, report: GroupReport) -> None:
        asked = f": {case.message.reason}" if case.ordered and case.message.reason else ""
        notes = self.mails.note(case.facts, reason + asked, case.now)
        self.groups.put(case.facts, notes, report, case.in_time(LOCKED_WITHIN))

    # --- what is written down ---

    def _write_down(self, case: Case, reason: str, report: GroupReport) -> list[Outgoing]:
        facts = case.facts
        hold = Hold(held_lock(facts, case.figures, case.ordered), still_held(facts, report))
        is_locked = bool(report.with_word(LOCKED, ALREADY))
        if report.failed:
            change = hold if is_locked or facts.held_since else _taken_back(case, report, hold)
            self.records.write_down_failure(case, report, change)
        elif not is_locked:
            if not report.later:
                return self.refusals.refuse(case, NOTHING_TO_LOCK)
        elif facts.held_since is None:
            key, mail = f"locked/{case.this_budget}/{case.origin}", self.records.mail_to_contacts(case)
            self.records.write_down(case, key, Outcome.LOCKED, reason, report, hold, [mail])
        else:
            self._write_down_again(case, reason, report, hold)
        return []

    def _write_down_again(self, case: Case, reason: str, report: GroupReport, hold: Hold) -> None:
        """What was done about a lock that was there before; nothing where nothing was."""
        facts, lock = case.facts, hold.lock
        held = facts.held or lock
        done, gone = done_again(facts, report), gone_from(facts, report)
        is_order = case.ordered and not report.later
        is_new = (lock.budget_number, lock.period_start) != (held.budget_number, held.period_start)
        if done:
            key = f"again/{case.this_budget}/{case.origin}"
            mails = [self.mails.locked_again(facts, key, [group.name for group in gone])] if gone else []
            reason = f"{'; '.join(done)}; {reason}"
            self.records.write_down(case, key, Outcome.LOCKED, reason, report, hold, mails)
        elif is_order or is_new:
            reason = f"it stays locked: {reason}"
            self.records.write_down(case, case.key("locked"), Outcome.LOCKED, reason, report, hold)
        elif lock != held or set(hold.groups) != set(facts.held_groups):
            self._keep(case, hold)


def _taken_back(case: Case, report: GroupReport, hold: Hold) -> Freed | None:
    """What was intended comes to nothing, where every group has refused the lock."""
    if report.later or hold.groups:
        return None
    return Freed(case.facts.released, case.facts.budget.number, case.period_start)
