"""Runs of the chain: started by hand, looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.aws import ACCOUNT
from shared.domain.coverage import Incomplete
from shared.messages import GUID, Queue, ScopeTarget
from shared.pipeline.chain import Chain
from shared.pipeline.schedule import Scheduler
from shared.ports.changes import Action, Change, noted
from shared.ports.charges import ChargeLedger
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.projects import ProjectLedger
from shared.ports.queues import MessageSender
from shared.ports.runs import RunLedger, RunTrigger, RunView
from shared.services.errors import RequestError
from shared.services.projects import id_of
from shared.services.terms import parse_day


@dataclass(frozen=True, slots=True)
class RunService:
    """Every method raises LaterError where the database is away."""

    runs: RunLedger
    projects: ProjectLedger
    charges: ChargeLedger
    scheduler: Scheduler
    chain: Chain
    queues: MessageSender
    clock: Clock

    def start(self, subscription: str = "", project: str = "", since: str = "") -> tuple[str, int]:
        """Starts a run besides the night's: its key, and how many messages read for it.

        subscription, project (acronym or id): what is to be read, as a person wrote it; all, if empty. since: from that
        day on, whatever is known. Raises RequestError; LaterError and NeverError where the queues don't take a message;
        what was sent before is read.
        """
        targets = self._targets(subscription.strip(), project.strip())
        try:
            day = parse_day(since.strip())
            left = self.scheduler.asking.days_since(day, targets=targets) if day else None
            key, messages = self.scheduler.now(targets, left)
        except ValueError as error:
            # A MessageError among them.
            raise RequestError(str(error)) from None
        which = project.strip() or subscription.strip() or "all costs"
        with noted(Change(Action.SYNC_ORDERED, which, self.clock(), details={"run": key})):
            return key, self.chain.send(messages)

    def _targets(self, subscription: str, project: str) -> list[ScopeTarget]:
        if subscription and project:
            raise RequestError("name a subscription or a project, not both")
        if project:
            return [ScopeTarget(project_id=id_of(self.projects, project))]
        if ACCOUNT.fullmatch(subscription):
            raise RequestError(f"{subscription} is an AWS account's id: `cloud-accounts sync` reads those")
        if subscription and not GUID.fullmatch(subscription):
            raise RequestError(f"'{subscription}' is no subscription's id; `projects show` tells those of a project")
        return [ScopeTarget(subscription_id=subscription.lower())] if subscription else []

    def everything(self) -> int:
        """How many cloud accounts a run of all reads."""
        return len(self.scheduler.asking.targets())

    def get(self, key: str) -> RunView | None:
        """One run as it stands."""
        return self.runs.get(key)

    def next_message(self) -> str | None:
        """What tells the next message that asks for costs from others; None where none waits, or that can't be seen."""
        try:
            return self.queues.next_in(Queue.UPDATE)
        except (LaterError, NeverError):
            return None

    def incomplete(self) -> Incomplete:
        """What figures lack today."""
        return self.charges.incomplete(self.clock().date())

    def recent(self, limit: int) -> list[RunView]:
        """The last runs, newest first. What figures lack is held against the last night and what came after it."""
        views = self.runs.recent_runs(limit)
        night = next((at for at, view in enumerate(views) if view.trigger is RunTrigger.TIMER), len(views))
        incomplete = self.incomplete()
        return [*(replace(view, incomplete=incomplete) for view in views[: night + 1]), *views[night + 1 :]]
