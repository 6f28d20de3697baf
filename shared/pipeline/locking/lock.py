"""A message that asks for a lock: looks again at what was spent, decides, and hands on to whoever does it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.locks import LockDecision, LockMode, Outcome, WhenUnsure, decide_lock
from shared.domain.projects import LockPolicy
from shared.pipeline.locking.case import Case
from shared.pipeline.locking.dry_run import DryRun
from shared.pipeline.locking.enforce import Enforcement
from shared.pipeline.locking.figures import Figures, database_figure, look_again
from shared.pipeline.locking.limits import AZURE_PATIENCE
from shared.pipeline.locking.refuse import Refusals
from shared.pipeline.stage import Outgoing, Retry
from shared.ports.azure import AzureBudgets


@dataclass(frozen=True, slots=True)
class LockRules:
    """What is done at 100 %. stop_compute: machines are deallocated before the lock."""

    mode: LockMode
    when_unsure: WhenUnsure
    stop_compute: bool


@dataclass(frozen=True, slots=True)
class Locking:
    """Locks a project, says what would be done, or refuses."""

    budgets: AzureBudgets
    rules: LockRules
    retry: Retry
    refusals: Refusals
    dry_run: DryRun
    enforcement: Enforcement

    def lock(self, case: Case) -> list[Outgoing]:
        """Looks, decides, does. Raises LaterError where it is worth waiting, or has to be."""
        case = replace(case, figures=self._look_again(case))
        decision = self._decide(case)
        if decision.outcome is Outcome.REFUSED:
            return self.refusals.refuse(case, decision.reason)
        elif decision.outcome is Outcome.WOULD_LOCK:
            return self.dry_run.would_lock(case, decision.reason)
        else:
            return self.enforcement.lock(case, decision.reason)

    def _look_again(self, case: Case) -> Figures:
        """Both figures; a LaterError where it is worth waiting for Azure's."""
        facts = case.facts
        if self.rules.mode is LockMode.OFF or facts.project.lock is LockPolicy.NEVER:
            # Whatever was spent, nothing is going to be done.
            return Figures(database_figure(facts))
        figures = look_again(facts, self.budgets, case.now.date())
        waited = self.retry.is_over(case.message.envelope.first_queued_at, AZURE_PATIENCE)
        if figures.wait and figures.can_wait and not waited and not case.ordered:
            raise figures.wait
        return figures

    def _decide(self, case: Case) -> LockDecision:
        facts, figures, rules = case.facts, case.figures, self.rules
        decision = decide_lock(
            rules.mode,
            facts.project.lock,
            figures.azure,
            figures.database,
            rules.when_unsure,
            case.ordered,
            facts.released,
        )
        if decision.outcome is Outcome.REFUSED or case.ordered:
            return decision
        if not facts.project.active:
            return LockDecision(Outcome.REFUSED, "the project is not active")
        if not case.has_budget:
            # Nobody is unsure of that, and an alert of the budget that it had comes too late.
            return LockDecision(Outcome.REFUSED, "it has no budget now")
        return decision
