"""One trace from the timer to the mail, as Application Insights gets it from the app on the local host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from localdev.azure_sim import AzureSimulator
from tests.chain.conftest import Install
from tests.chain.ingestion import Ingestion, Span
from tests.chain.installation import NORTH, book_of, entry


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    running = Ingestion()
    yield running
    running.stop()


def test_a_night_is_one_trace_from_the_timer_to_the_mails(install: Install, ingestion: Ingestion) -> None:
    """With a deferral in it, since Azure says wait once, and batches: of the projects, and of their mails."""
    with AzureSimulator(book_of((NORTH, "rg-1", "45"), (NORTH, "rg-2", "46"))) as azure:
        azure.fault("throttled", times=1, seconds=1)
        app = install(azure, **ingestion.environment)
        app.load(entry(1, "1000"), entry(2, "1000"))
        app.night()
    assert len(app.mail_states()) == 2
    spans = {each.id: each for each in ingestion.spans()}
    assert len({each.trace for each in spans.values()}) == 1
    (timer,) = [each for each in spans.values() if each.name == "ProjectUsageScheduler"]
    (mail,) = [each for each in spans.values() if each.name == "EmailNotificationHandler"]
    assert [each.name for each in way_to(mail, spans)] == [
        "ProjectUsageScheduler",
        "ProjectUsageUpdater",  # it is put back
        "ProjectUsageUpdater",
        "ProjectUsageNotifier",
        "EmailNotificationHandler",
    ]
    assert all(each.ok for each in spans.values())
    check = spans[str(mail.parent)]
    for batch in (check, mail):
        sender = spans[str(batch.parent)]
        assert (sender.trace, sender.id) in batch.links, "a batch is linked to who sent it"
    for single in (each for each in spans.values() if each.name == "ProjectUsageUpdater"):
        assert len(single.links) == 1, "to the host's own call alone"
        assert single.links[0][0] != single.trace
    assert timer.links == []
    the_logs_tell_the_same(ingestion, spans)
    the_metrics_tell_the_same(ingestion)


def way_to(span: Span, spans: dict[str, Span]) -> list[Span]:
    """From the trace's beginning to a span."""
    parent = spans.get(str(span.parent))
    return [*(way_to(parent, spans) if parent else []), span]


def the_logs_tell_the_same(ingestion: Ingestion, spans: dict[str, Span]) -> None:
    """Constant names with ids as fields, each within the span of its work."""
    logs = {each["data"]["baseData"]["message"].split()[0]: each for each in ingestion.of("MessageData")}
    for name, function in (("scope_deferred", "ProjectUsageUpdater"), ("mail_sent", "EmailNotificationHandler")):
        tags, data = logs[name]["tags"], logs[name]["data"]["baseData"]
        assert spans[tags["ai.operation.parentId"]].name == function
        assert data["properties"]["warden_run" if name == "scope_deferred" else "warden_mail"]


def the_metrics_tell_the_same(ingestion: Ingestion) -> None:
    def total(metric: str) -> Counter[str]:
        counted = Counter[str]()
        for value, by in ingestion.measured(metric):
            counted[",".join(by.values())] += value
        return counted

    assert total("warden.deliveries") == {"taken": 4}, "two contacts, and as many blind copies"
    assert total("warden.alerts") == {"80": 2}
    assert total("warden.parts.deferred") == {"scope": 1}
    assert sum(total("warden.projects.updated").values()) == 2
    assert ingestion.measured("warden.throttle.wait_seconds")[0][0] == 1
    assert ingestion.measured("warden.mail.latency_seconds")


def test_where_telemetry_is_taken_by_nobody_nothing_is_slower_or_fails(install: Install) -> None:
    nowhere = {
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={NORTH};IngestionEndpoint=http://127.0.0.1:9/"
    }
    with AzureSimulator(book_of((NORTH, "rg-1", "45"))) as azure:
        app = install(azure, **nowhere)
        app.load(entry(1, "1000"))
        log = app.night()
    assert set(app.mail_states().values()) == {"sent"}
    assert "failed" not in log
