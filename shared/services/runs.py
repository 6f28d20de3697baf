"""Runs of the chain: started by hand, looked at."""

from __future__ import annotations

from dataclasses import dataclass

from shared.pipeline.chain import Chain
from shared.pipeline.schedule import Scheduler
from shared.ports.runs import RunLedger, RunView


@dataclass(frozen=True, slots=True)
class RunService:
    """Every method raises LaterError where the database is away."""

    runs: RunLedger
    scheduler: Scheduler
    chain: Chain

    def start(self) -> tuple[str, int]:
        """Starts a run besides the night's: its key, and how many subscriptions it reads.

        Raises LaterError and NeverError where the queues don't take a message; what was sent before is read.
        """
        key, messages = self.scheduler.now()
        return key, self.chain.send(messages)

    def get(self, key: str) -> RunView | None:
        """One run as it stands."""
        return self.runs.get(key)

    def recent(self, limit: int) -> list[RunView]:
        """The last runs, newest first."""
        return self.runs.recent_runs(limit)
