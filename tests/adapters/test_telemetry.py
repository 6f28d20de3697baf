"""Traces and metrics by OpenTelemetry, with exporters in memory."""

from __future__ import annotations

import threading
import time

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import settings
from shared.adapters.telemetry import OpenTelemetry, ending
from shared.composition import Composition
from shared.ports.telemetry import GAUGES, HISTOGRAMS, Metric, NoTelemetry

HOST = "00-11111111111111111111111111111111-1111111111111111-01"
SENDER = "00-22222222222222222222222222222222-2222222222222222-03"
BROKEN = [
    "",
    "none",
    "00-22222222222222222222222222222222-2222222222222222",
    "00-2222222222222222222222222222222-2222222222222222-01",
    "00-00000000000000000000000000000000-2222222222222222-01",
    "00-22222222222222222222222222222222-0000000000000000-01",
    "00-2222222222222222222222222222222G-2222222222222222-01",
    "\0" * 55,
    "x" * 10_000,
]


class Told:
    """Telemetry, and what came of it."""

    def __init__(self) -> None:
        self._spans, self._reader, provider = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.telemetry = OpenTelemetry(provider.get_tracer("t"), MeterProvider([self._reader]).get_meter("t"))

    def span(self) -> ReadableSpan:
        (span,) = self._spans.get_finished_spans()
        return span

    def points(self) -> dict[str, list[object]]:
        data = self._reader.get_metrics_data()
        assert data is not None
        (metrics,) = [scope.metrics for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {each.name: list(each.data.data_points) for each in metrics}


@pytest.fixture
def told() -> Told:
    return Told()


def ids(span: ReadableSpan) -> tuple[int, int | None, list[int]]:
    """Trace, parent, and the traces that it is linked to, by their first digit."""
    return (
        span.context.trace_id >> 124,
        span.parent and span.parent.span_id >> 60,
        [link.context.trace_id >> 124 for link in span.links],
    )


def test_a_message_s_trace_goes_on_with_a_link_to_the_host_s_call(told: Told) -> None:
    with told.telemetry.working("f", HOST, SENDER):
        assert str(told.telemetry.trace_parent()).startswith("00-22222222222222222222222222222222-")
    assert ids(told.span()) == (2, 2, [1])


def test_a_batch_is_linked_to_its_sender_too(told: Told) -> None:
    with told.telemetry.working("f", HOST, SENDER, on_many=True):
        pass
    assert ids(told.span()) == (2, 2, [1, 2])


@pytest.mark.parametrize("broken", [None, *BROKEN])
def test_without_a_sender_s_trace_that_can_be_right_the_host_s_goes_on(told: Told, broken: str | None) -> None:
    with told.telemetry.working("f", HOST, broken, on_many=True):
        pass
    assert ids(told.span()) == (1, 1, [])


@pytest.mark.parametrize("broken", [None, *BROKEN])
def test_without_any_a_trace_begins(told: Told, broken: str | None) -> None:
    with told.telemetry.working("f", broken, broken):
        assert told.telemetry.trace_parent()
    assert (told.span().parent, list(told.span().links)) == (None, [])


def test_work_that_fails_is_told_as_failed_and_the_error_goes_on(told: Told) -> None:
    with pytest.raises(RuntimeError), told.telemetry.working("f", HOST):
        raise RuntimeError("nobody foresaw it")
    span = told.span()
    assert not span.status.is_ok
    (error,) = span.events
    assert error.attributes is not None
    assert error.attributes["exception.type"] == "RuntimeError", "nobody else tells of it"
    assert "test_telemetry.py" in str(error.attributes["exception.stacktrace"])


def test_outside_of_work_there_is_no_trace(told: Told) -> None:
    assert told.telemetry.trace_parent() is None


@pytest.mark.parametrize("metric", list(Metric))
def test_every_metric_takes_values(told: Told, metric: Metric) -> None:
    for amount in (2, 5):
        told.telemetry.measured(metric, amount, {"a": "b"})
    ((name, (point,)),) = told.points().items()
    assert name == metric
    if metric in HISTOGRAMS:
        assert (point.count, point.sum) == (2, 7)  # type: ignore[attr-defined]
    else:
        assert point.value == (5 if metric in GAUGES else 7)  # type: ignore[attr-defined]
    assert point.attributes == {"a": "b"}  # type: ignore[attr-defined]


def test_where_nobody_takes_what_is_left_a_process_ends_all_the_same() -> None:
    """However many of traces, metrics and logs hang, and whatever fails."""
    never, ended = threading.Event(), list[str]()

    def fails() -> None:
        ended.append("failed")
        raise RuntimeError("nobody takes it")

    end_all = ending([never.wait, never.wait, fails, lambda: ended.append("ended")], 0.1)
    begun, there = time.monotonic(), threading.active_count()
    assert ended == []
    end_all()
    assert time.monotonic() - begun < 5
    assert threading.active_count() <= there, "Python 3.12 starts no thread while it ends"
    assert sorted(ended) == ["ended", "failed"]
    never.set()


def test_commands_load_no_telemetry() -> None:
    """Only who calls `tell` does, as function_app.py."""
    somewhere = {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=11111111-2222-4333-8444-555555555555"}
    app = Composition(settings.load({"DatahubStorageConnectionString": "UseDevelopmentStorage=true"} | somewhere))
    assert isinstance(app.chain.telemetry, NoTelemetry)
