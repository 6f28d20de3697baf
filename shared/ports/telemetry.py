"""What is told of the app's work while it goes on: traces, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Protocol


class Metric(StrEnum):
    """What is measured, by the names that infra/queries/ asks for; docs/operations.md says what each is."""

    NIGHT_AGE = "warden.night.age_hours"
    DEAD_LETTERS = "warden.dead_letters"
    DELIVERIES = "warden.deliveries"
    MAIL_LATENCY = "warden.mail.latency_seconds"
    THROTTLE_WAIT = "warden.throttle.wait_seconds"
    PARTS_FAILED = "warden.parts.failed"
    PARTS_DEFERRED = "warden.parts.deferred"
    PROJECTS_UPDATED = "warden.projects.updated"
    ALERTS = "warden.alerts"
    LOCK_ERRORS = "warden.lock.errors"
    CHARGES_WRITTEN = "warden.charges.written"
    COST_QUERIES = "warden.cost.queries"
    COST_UNITS = "warden.cost.query_units"
    COVERAGE_SUSPECT = "warden.coverage.suspect"
    COVERAGE_GAPS = "warden.coverage.gaps"


# How things are: the last value counts. Then what is spread over values; all else is counted.
GAUGES = frozenset({Metric.NIGHT_AGE, Metric.COVERAGE_GAPS})
HISTOGRAMS = frozenset({Metric.THROTTLE_WAIT, Metric.MAIL_LATENCY})


class Telemetry(Protocol):
    """Never raises, and never waits for anybody."""

    def working(
        self, name: str, invocation: str | None, message: str | None = None, *, on_many: bool = False
    ) -> AbstractContextManager[object]:
        """The time in which a function works. Trace parents (W3C `traceparent`) that can't be right count as none.

        invocation: of the host's call. message: of the message's sender, whose trace goes on; without it, the host's.
        on_many: whether the message is a batch.
        """
        ...

    def trace_parent(self) -> str | None:
        """Of the work that goes on, for the messages that come of it."""
        ...

    def measured(self, metric: Metric, amount: float, attributes: Mapping[str, str]) -> None:
        """A value of a metric."""
        ...


class NoTelemetry(Telemetry):
    """Tells nobody."""

    def working(self, *_call: object, **_more: object) -> AbstractContextManager[object]:
        """Nothing."""
        return nullcontext()

    def trace_parent(self) -> str | None:
        """None."""
        return None

    def measured(self, *_value: object) -> None:
        """Nothing."""
