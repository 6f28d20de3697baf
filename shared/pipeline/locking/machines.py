"""Stopping a project's machines before its lock, which would keep them running, and waiting until they stand still."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.domain.locks import Outcome
from shared.pipeline.locking.case import Case
from shared.pipeline.locking.claims import Claims
from shared.pipeline.locking.groups import GroupLocks
from shared.pipeline.locking.limits import AZURE_PATIENCE, STOPPED_WITHIN, STOPPING_PATIENCE, STOPPING_WAIT
from shared.pipeline.locking.records import Records
from shared.pipeline.locking.report import GroupReport
from shared.pipeline.stage import Retry
from shared.ports.azure import Machine, ResourceGroup
from shared.ports.errors import LaterError


@dataclass(frozen=True, slots=True)
class MachineStops:
    """Stops machines. Nobody sleeps: the message comes back until they stand still, or have had their time."""

    groups: GroupLocks
    records: Records
    claims: Claims
    retry: Retry

    def stop(self, case: Case, report: GroupReport) -> None:
        """Sees to it that nothing runs in the groups that lack the lock, or has had its time to stop.

        Raises LaterError as long as it is worth waiting; what can't be stopped is reported, and is locked running.
        """
        in_time = case.in_time(STOPPED_WITHIN)
        # A report of its own: what is put off with machines is waited for here, and puts no lock back that is on.
        unseen = GroupReport(lacking=report.lacking)
        machines = self.groups.machines_in(unseen, in_time)
        running = [(group, machine) for group, machine in machines if not machine.stopping]
        began = self._write_down_stop(case, running)
        refused = self.groups.stop(running, unseen, in_time)
        report.machines += unseen.machines
        report.failed += unseen.failed
        if unseen.later:
            self._wait_for_azure(case, unseen.later[-1])
            report.failed += [("the machines", f"they could not all be stopped: {unseen.later[-1].reason}")]
        self._wait_for_machines(case, [each for each in machines if each not in refused], began, report)

    def _write_down_stop(self, case: Case, running: list[tuple[ResourceGroup, Machine]]) -> datetime | None:
        """Before it is done: once it is, nobody could tell any more what had been running. Returns since when.

        Each machine is written down once, however often its deallocation has to be asked for.
        """
        stops = self.records.stops(case)
        named = {(group, name) for view in stops for group, name, _word in view.entry.details["machines"]}
        new = [(group, machine) for group, machine in running if (group.name, machine.name) not in named]
        if new:
            report = GroupReport(machines=[(group, machine, "is being stopped") for group, machine in new])
            reason = f"{_machines(len(new))} deallocated before the lock"
            key = f"stopping/{case.this_budget}/{case.origin}"
            self.records.write_down(case, key, Outcome.STOPPING, reason, report)
            self.claims.take(case.facts.project.id, case.origin, case.now)
        return stops[0].at if stops else (case.now if new else None)

    def _wait_for_azure(self, case: Case, error: LaterError) -> None:
        """Waits for half an hour at most: a lock that never comes is worse than machines that go on running."""
        first = case.message.envelope.first_queued_at
        if not self.retry.is_over(first, AZURE_PATIENCE):
            raise error

    def _wait_for_machines(
        self, case: Case, waiting: list[tuple[ResourceGroup, Machine]], began: datetime | None, report: GroupReport
    ) -> None:
        since = began or case.message.envelope.first_queued_at
        if waiting and not self.retry.is_over(since, STOPPING_PATIENCE):
            raise LaterError(f"{_machines(len(waiting))} being stopped before the lock", STOPPING_WAIT)
        for group, machine in waiting:
            if machine.stopping:
                report.machines.append((group, machine, "was still being stopped"))
            else:
                report.machines.append((group, machine, "still runs"))
                name = f"{machine.kind} {machine.name} in {group.name}"
                report.failed.append((name, "it still ran ten minutes after it was to stop, and goes on costing money"))


def _machines(number: int) -> str:
    return "one machine is" if number == 1 else f"{number} machines are"
