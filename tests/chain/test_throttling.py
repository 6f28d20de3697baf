"""Azure's quota: a paced run stays inside it, and where Azure says wait, the message waits and nothing sleeps."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from itertools import pairwise
from time import monotonic

from localdev.azure_sim import PUBLISHED_LIMITS, AzureSimulator, Guardrail, Quota, group_names, made_up
from shared.ports.runs import RunView
from tests.chain.conftest import Install
from tests.chain.installation import Installation, book_of, durations, entry, until

SUBSCRIPTIONS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(8)]
BOOK = [(subscription, "rg", f"{number}.5") for number, subscription in enumerate(SUBSCRIPTIONS, 1)]


def load_all(app: Installation) -> None:
    app.load(*(entry(n, "1000", subscription=s, groups=("rg",)) for n, s in enumerate(SUBSCRIPTIONS, 1)))


def test_a_paced_run_is_never_refused_and_stays_inside_every_window_of_the_quota(install: Install) -> None:
    # Two months each: 16 units, of which 10 go at once and the rest at 50 a minute. Azure's time and the app's go by
    # four times as fast as ours.
    with AzureSimulator(book_of(*BOOK), quota=Quota(clock=lambda: 4 * monotonic())) as azure:
        app = install(azure, LOCAL_CLOCK_SPEED="4")
        load_all(app)
        app.night()
        stats = azure.stats()
    assert dict(app.runs()["night-2026-11-20"].scopes) == {"done": 8}
    assert stats["qpu"] == 16
    assert stats["throttled"] == 0
    for limit in PUBLISHED_LIMITS:
        assert stats["largest_qpu"][limit.name] <= limit.units


def test_a_page_that_the_guardrail_refuses_is_waited_for_and_no_page_is_read_twice(install: Install) -> None:
    # Two pages of October and three of November; the fifth call of a minute is refused. A minute takes three seconds.
    book = made_up(1, SUBSCRIPTIONS[:2], 50, 12, 35, date(2026, 11, 20), "CAD")
    with AzureSimulator(book, guardrail=Guardrail(lambda: 20 * monotonic())) as azure:
        app = install(azure, LOCAL_CLOCK_SPEED="20")
        app.load(
            *(entry(n, "1", subscription=SUBSCRIPTIONS[n - 1], groups=(group_names(n - 1, 50)[0],)) for n in (1, 2))
        )
        log = app.night()
        stats = azure.stats()
    assert dict(app.runs()["night-2026-11-20"].scopes) == {"done": 2}
    assert stats["pages"] == 10
    assert 2 <= stats["throttled"] <= 4
    assert stats["largest_calls"]["CallsOfScopePerMin"] == 4
    assert stats["rows"] >= 2 * 50 * 12 * 35
    assert len(durations(log, "ProjectUsageUpdater")) == 2 + stats["throttled"], "each refusal is one more message"
    assert app.dead_letters() == []


def test_a_storm_of_refusals_delays_messages_for_as_long_as_the_longest_header_says_and_nothing_sleeps(
    install: Install,
) -> None:
    seconds = 2
    with AzureSimulator(book_of(*BOOK)) as azure:
        # Every subscription is refused on its first call, and some again; the headers ask for 1, 2 and 1 seconds.
        azure.fault("throttled_many", times=10, seconds=seconds)
        app = install(azure, COST_QPU_PER_MINUTE="1000", COST_QPU_PER_HOUR="10000")
        load_all(app)
        log = app.night()
        asked = defaultdict(list)
        for request in azure.record.requests():
            asked[request.subscription].append((request.seconds, request.status))
    assert dict(app.runs()["night-2026-11-20"].scopes) == {"done": 8}
    assert azure.stats()["throttled"] == 10
    assert max(durations(log, "ProjectUsageUpdater")) < seconds, (
        "a function slept while it should have put its message back"
    )
    for calls in asked.values():
        for (at, status), (then, _) in pairwise(calls):
            assert status == 200 or then - at >= seconds - 0.1
    assert app.dead_letters() == []


def test_while_azure_refuses_everything_the_run_says_so_and_it_completes_when_azure_is_well_again(
    install: Install,
) -> None:
    with AzureSimulator(book_of(*BOOK)) as azure:
        azure.fault("unavailable", times=None, seconds=1)
        app = install(azure, COST_QPU_PER_MINUTE="1000", COST_QPU_PER_HOUR="10000")
        load_all(app)
        host = app.host("--once", "ProjectUsageScheduler")
        until(lambda: dict(_run(app).scopes) == {"deferred": 8} if app.runs() else False)
        assert all("503" in reason for _, reason in _run(app).errors)
        azure.faults.clear()
        assert host.wait(30) == 0, host.output
    assert _run(app).state == "done"
    assert dict(_run(app).scopes) == {"done": 8}


def _run(app: Installation) -> RunView:
    return app.runs()["night-2026-11-20"]
