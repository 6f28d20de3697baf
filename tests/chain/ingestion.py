"""Application Insights as its exporter sees it: takes what is sent to it, and keeps it."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "11111111-2222-4333-8444-555555555555"


@dataclass(frozen=True)
class Span:
    """What a function did. links: the (trace, span) ids that it is linked to."""

    name: str
    trace: str
    id: str
    parent: str | None
    links: list[tuple[str, str]]
    ok: bool


@dataclass
class Ingestion:
    """A server on the loopback. envelopes: what came, as Breeze's JSON."""

    envelopes: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """The settings of an app that sends here, soon after each thing happens."""
        address = f"http://127.0.0.1:{self._server.server_port}/"
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={KEY};IngestionEndpoint={address}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
        }

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The envelopes of a kind, such as RemoteDependencyData."""
        return [each for each in self.envelopes if each["data"]["baseType"] == kind]

    def spans(self) -> list[Span]:
        return [_span(each) for each in self.of("RemoteDependencyData")]

    def measured(self, metric: str) -> list[tuple[float, dict[str, str]]]:
        """The values of a metric, with what they are by."""
        found = [each["data"]["baseData"] for each in self.of("MetricData")]
        return [
            (its["value"], data.get("properties") or {})
            for data in found
            for its in data["metrics"]
            if its["name"] == metric
        ]

    def _handler(ingestion) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the request
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                items = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                ingestion.envelopes += items
                answer = json.dumps({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_of: object) -> None:
                """Nothing."""

        return Handler


def _span(envelope: dict[str, Any]) -> Span:
    data, tags = envelope["data"]["baseData"], envelope["tags"]
    links = json.loads(data.get("properties", {}).get("_MS.links", "[]"))
    return Span(
        data["name"],
        tags["ai.operation.id"],
        data["id"],
        tags.get("ai.operation.parentId"),
        [(each["operation_Id"], each["id"]) for each in links],
        data["success"],
    )
