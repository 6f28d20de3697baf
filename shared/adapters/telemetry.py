"""Telemetry by OpenTelemetry, to Azure's Application Insights. Loaded only where there is a connection string.

What is exported goes out in threads of their own, and is dropped where nobody takes it: no function waits for it.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, Tracer
from typing_extensions import override

from shared.messages import TRACE_PARENT
from shared.ports.telemetry import GAUGES, HISTOGRAMS, Metric, Telemetry

NAME = "warden"
# Nothing is traced but our own functions: what they call is in the log.
INSTRUMENTATIONS = (
    "azure_sdk",
    "django",
    "fastapi",
    "flask",
    "httpx",
    "psycopg2",
    "requests",
    "urllib",
    "urllib3",
)
# An instance may end after half a minute of rest, and what it has measured since the last export ends with it.
METRICS_EVERY_MILLISECONDS = "10000"
# The packages wait for 30 seconds each for traces, metrics and logs, where nobody takes them.
ENDS_WITHIN_SECONDS = 5.0


class OpenTelemetry(Telemetry):
    """Telemetry by a tracer and a meter."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._take = {each: _taking(meter, each) for each in Metric}

    @override
    def working(
        self, name: str, invocation: str | None, message: str | None = None, *, on_many: bool = False
    ) -> AbstractContextManager[object]:
        host, sender = _context(invocation), _context(message)
        parent = sender or host
        # A batch is linked to its sender as well, as the conventions for messaging have it.
        links = [Link(each) for each, is_one in ((host, sender is not None), (sender, on_many)) if each and is_one]
        return self._tracer.start_as_current_span(
            name,
            context=trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None,
            links=links,
        )

    @override
    def trace_parent(self) -> str | None:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    @override
    def measured(self, metric: Metric, amount: float, attributes: Mapping[str, str]) -> None:
        self._take[metric](amount, attributes)


def _taking(meter: Meter, metric: Metric) -> Callable[[float, Mapping[str, str]], None]:
    """What takes the metric's values."""
    if metric in GAUGES:
        return meter.create_gauge(metric).set
    return meter.create_histogram(metric).record if metric in HISTOGRAMS else meter.create_counter(metric).add


def _context(trace_parent: str | None) -> SpanContext | None:
    """What a trace parent says; None where it can't be right."""
    if trace_parent is None or not TRACE_PARENT.fullmatch(trace_parent):
        return None
    _version, trace_id, span_id, flags = (int(part, 16) for part in trace_parent.split("-"))
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None


def application_insights(connection_string: str, client_id: str | None) -> OpenTelemetry:
    """Sends what is told to Application Insights, with the app's managed identity where it has one."""
    # Microsoft's own statistics and remote settings: calls that nobody here asked for.
    os.environ.setdefault("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
    os.environ.setdefault("APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED", "true")
    os.environ.setdefault("OTEL_METRIC_EXPORT_INTERVAL", METRICS_EVERY_MILLISECONDS)
    # Its packages read it there too, and can't if it is written in another way.
    os.environ["APPLICATIONINSIGHTS_CONNECTION_STRING"] = connection_string
    from azure.monitor.opentelemetry import configure_azure_monitor

    configure_azure_monitor(
        connection_string=connection_string,
        credential=_credential(client_id),
        # The disk of an instance goes away with it.
        disable_offline_storage=True,
        enable_live_metrics=False,
        enable_performance_counters=False,
        # Else most of a night's traces are left out.
        sampling_ratio=1.0,
        instrumentation_options={name: {"enabled": False} for name in INSTRUMENTATIONS},
    )
    # Where the endpoint is away, it says so each few seconds.
    logging.getLogger("azure.monitor.opentelemetry").setLevel(logging.CRITICAL)
    providers: list[Any] = [trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()]
    ends = [each.shutdown for each in providers]
    for end in ends:
        atexit.unregister(end)
    atexit.register(ending(ends, ENDS_WITHIN_SECONDS))
    return OpenTelemetry(trace.get_tracer(NAME), metrics.get_meter(NAME))


def ending(ends: Sequence[Callable[[], object]], seconds: float) -> Callable[[], None]:
    """What has all of them send what they have and end, side by side, and waits for so long.

    Their threads are there from now on: Python 3.12 starts none while it ends.
    """
    begun = threading.Event()

    def wait_for(end: Callable[[], object]) -> None:
        begun.wait()
        with suppress(Exception):
            end()

    threads = [threading.Thread(target=wait_for, args=(end,), daemon=True) for end in ends]
    for thread in threads:
        thread.start()

    def end_all() -> None:
        begun.set()
        until = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0, until - time.monotonic()))

    return end_all


def _credential(client_id: str | None) -> Any:
    if client_id is None:
        return None
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=client_id)
