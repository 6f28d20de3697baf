"""LOCK_MODE dry-run: what would be done at 100 % is looked up, written down and told, and nothing is done."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.locks import Outcome
from shared.pipeline.locking.case import Case
from shared.pipeline.locking.groups import GroupLocks
from shared.pipeline.locking.limits import STOPPED_WITHIN, SURVEYED_WITHIN
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.records import Records
from shared.pipeline.locking.refuse import NOTHING_TO_LOCK, Refusals
from shared.pipeline.locking.report import GroupReport
from shared.pipeline.stage import Outgoing
from shared.ports.azure import Machine, ResourceGroup


@dataclass(frozen=True, slots=True)
class DryRun:
    """Says what would be done. stop_compute: whether machines would be deallocated before the lock."""

    groups: GroupLocks
    mails: LockMails
    records: Records
    refusals: Refusals
    stop_compute: bool

    def would_lock(self, case: Case, reason: str) -> list[Outgoing]:
        """Writes down once, for this budget and period, what would be done. Raises LaterError."""
        survey = self.groups.survey(case.facts, case.in_time(SURVEYED_WITHIN))
        if survey.has_nothing_to_lock:
            return self.refusals.refuse(case, NOTHING_TO_LOCK)
        in_time = case.in_time(STOPPED_WITHIN)
        machines = self.groups.machines_in(survey, in_time) if self.stop_compute else []
        survey.raise_later()
        lines = self._lines(survey, machines)
        survey.groups += [(group, "would be locked") for group in survey.lacking]
        survey.machines += [(group, machine, "would be stopped") for group, machine in machines]
        key = case.key("would-lock")
        mail = self.mails.would_lock(case.facts, key, reason, lines or ["nothing: the lock is there already"])
        self.records.write_down(case, key, Outcome.WOULD_LOCK, reason, survey, mails=[mail])
        return []

    def _lines(self, survey: GroupReport, machines: list[tuple[ResourceGroup, Machine]]) -> list[str]:
        lines = [f"a {self.groups.level} lock on the resource group {group.name}" for group in survey.lacking]
        lines += [f"the {machine.kind} {machine.name} in {group.name} deallocated" for group, machine in machines]
        lines += [f"{what} could not be looked at: {why}" for what, why in survey.failed]
        return lines
