"""What is measured: every metric comes of events that are logged, so that both say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shared.domain.locks import Outcome
from shared.ports.telemetry import GAUGES, HISTOGRAMS, Metric, Telemetry

# Of others, nothing is nothing to count.
WITH_ZERO = GAUGES | HISTOGRAMS


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of an event. amount: the field that has it; 1 without. by: the fields that are its attributes.

    fixed: attributes that are always so. only: a field, and what it has to be.
    """

    metric: Metric
    amount: str | None = None
    by: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, str] | None = None

    def of(self, fields: Mapping[str, object]) -> float | None:
        """The amount; None where there is none."""
        if self.only is not None and fields.get(self.only[0]) != self.only[1]:
            return None
        amount = 1 if self.amount is None else fields.get(self.amount)
        return amount if isinstance(amount, int | float) and (amount or self.metric in WITH_ZERO) else None


MEASURES: Mapping[str, tuple[Measure, ...]] = {
    "round": (Measure(Metric.NIGHT_AGE, "night_age_hours"),),
    "watched": (Measure(Metric.COVERAGE_GAPS, "gaps"),),
    "dead_letter": (Measure(Metric.DEAD_LETTERS, by=("queue",)),),
    "mail_handed_over": tuple(
        Measure(Metric.DELIVERIES, outcome, fixed={"outcome": outcome})
        for outcome in ("taken", "refused_for_now", "refused")
    ),
    "mail_sent": (Measure(Metric.MAIL_LATENCY, "seconds"),),
    "scope_deferred": (
        Measure(Metric.PARTS_DEFERRED, fixed={"part": "scope"}),
        Measure(Metric.THROTTLE_WAIT, "asked_to_wait_seconds"),
    ),
    "scope_failed": (Measure(Metric.PARTS_FAILED, fixed={"part": "scope"}),),
    "costs_refused": (Measure(Metric.PARTS_FAILED, fixed={"part": "month"}),),
    "costs_asked": (Measure(Metric.COST_QUERIES, "queries"), Measure(Metric.COST_UNITS, "units")),
    "charges_stored": (
        *(Measure(Metric.CHARGES_WRITTEN, what, fixed={"what": what}) for what in ("added", "changed", "removed")),
        Measure(Metric.COVERAGE_SUSPECT, "not_believed"),
    ),
    "export_imported": tuple(
        Measure(Metric.CHARGES_WRITTEN, what, fixed={"what": what}) for what in ("added", "changed", "removed")
    ),
    "export_failed": (Measure(Metric.PARTS_FAILED, fixed={"part": "export"}),),
    "export_part_deferred": (
        Measure(Metric.PARTS_DEFERRED, fixed={"part": "export"}),
        Measure(Metric.THROTTLE_WAIT, "asked_to_wait_seconds"),
    ),
    "checked": (Measure(Metric.PROJECTS_UPDATED, "projects"),),
    "alert_made": (Measure(Metric.ALERTS, by=("threshold",)),),
    "lock_deferred": (Measure(Metric.LOCK_ERRORS, fixed={"outcome": "put_back"}),),
    "lock_decided": (Measure(Metric.LOCK_ERRORS, fixed={"outcome": "failed"}, only=("outcome", Outcome.FAILED)),),
}


def measured(name: str, fields: Mapping[str, object]) -> Iterator[tuple[Metric, float, dict[str, str]]]:
    """What an event says of the metrics."""
    for each in MEASURES.get(name, ()):
        amount = each.of(fields)
        if amount is not None:
            yield each.metric, amount, {by: str(fields.get(by)) for by in each.by} | dict(each.fixed)


def measure(telemetry: Telemetry, name: str, fields: Mapping[str, object]) -> None:
    """Tells telemetry what an event says of the metrics."""
    for metric, amount, attributes in measured(name, fields):
        telemetry.measured(metric, amount, attributes)
