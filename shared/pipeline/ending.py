"""How a run's scope ends that has failed, and what the operators are told once its run is finished."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shared.messages import Envelope, ScopeTarget, notifications
from shared.pipeline.events import event
from shared.pipeline.operators import Operators
from shared.pipeline.stage import Outgoing, mails_out, outgoing
from shared.ports.charges import ChargeLedger
from shared.ports.clock import Clock
from shared.ports.mails import MailLedger
from shared.ports.runs import RunLedger, RunTrigger


@dataclass(frozen=True, slots=True)
class Ending:
    """The last scope to end tells of all that failed in its run, however it ends itself."""

    runs: RunLedger
    charges: ChargeLedger
    mails: MailLedger
    operators: Operators
    clock: Clock

    def fail(self, run_key: str, target: ScopeTarget, reason: str) -> list[Outgoing]:
        """The run's scope for this target has failed, unless it is done."""
        now = self.clock()
        scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, target, now)
        event("scope_failed", level=logging.ERROR, run=run_key, scope=target.subject, reason=reason)
        self.runs.mark_failed(scope.id, reason, now)
        # A period begins on its day, whether or not its costs can be read: with it a stop, an unlock, an empty total.
        turning = self.charges.turning_projects_of(target, now.date())
        return [*outgoing(notifications(turning, Envelope(run_id=run_key))), *self.told(run_key)]

    def told(self, run_key: str) -> list[Outgoing]:
        """The mail to the operators on all that failed, if the run is finished."""
        failures = self.runs.failures(run_key)
        if not failures:
            return []
        now = self.clock()
        mail = self.operators.costs_failed(failures, now.date(), run_key)
        return mails_out([self.mails.add(mail, now)])
