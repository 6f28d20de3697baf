"""PostgreSQL is stopped in the middle of a night and started again: the night waits for it, and so does an alert."""

from __future__ import annotations

import pytest

from localdev.azure_sim import AzureSimulator
from shared.domain.locks import Outcome
from tests.chain.conftest import Install
from tests.chain.installation import NORTH, SOUTH, Installation, book_of, durations, entry, post, subjects, until
from tests.postgres import Postgres

# Half a minute of the app's goes by in three seconds.
SPEED = "10"
ALERT = {
    "schemaId": "AIP Budget Notification",
    "data": {"SubscriptionId": SOUTH, "BudgetName": "warden-p21", "BudgetType": "Cost"},
}


def _at_100_percent_and_not_locked(install: Install, azure: AzureSimulator) -> Installation:
    app = install(azure, "postgresql", LOCAL_CLOCK_SPEED=SPEED)
    app.load(entry(21, "1400", subscription=SOUTH))
    app.night()
    app.more["LOCK_MODE"] = "enforce"
    return app


@pytest.mark.postgres
@pytest.mark.xdist_group("database outage")
def test_a_night_whose_database_goes_away_and_an_alert_that_comes_meanwhile_are_worked_off_when_it_is_back(
    install: Install, postgres: Postgres
) -> None:
    book = book_of((NORTH, "RG-11", "10.5"), (NORTH, "rg-12", "30"), (SOUTH, "rg-21", "77.7"))
    projects = (entry(11, "400"), entry(12, "1000"), entry(21, "1400", subscription=SOUTH))
    with AzureSimulator(book) as azure:
        undisturbed = install(azure, "postgresql")
        undisturbed.load(*projects)
        undisturbed.night()
        alerted = _at_100_percent_and_not_locked(install, azure)
        listener, url = alerted.listening()
        app = install(azure, "postgresql", LOCAL_CLOCK_SPEED=SPEED)
        app.load(*projects)
        azure.reset()
        # One subscription's answer comes when the database is gone.
        azure.fault("slow", subscription=SOUTH, delay=3)
        host = app.host("--once", "ProjectUsageScheduler")
        until(lambda: azure.record.of(SOUTH).calls and azure.record.of(NORTH).pages == 2)
        postgres.stop()
        try:
            replies = [post(url, ALERT) for _ in range(2)]
            assert [reply.status for reply in replies] == [202, 202]
            assert replies[1].seconds < 1
            # Whoever asks how the app is needs no database, and is told in time: its watchdog has not come by yet.
            health = post(url.replace("budget-alert", "health"), b"", method="GET")
            assert (health.status, health.text) == (503, "")
            assert health.seconds < 2
            # A message waits for half a minute and up to a fifth more, which is the shortest of the growing waits, by
            # the app's clock.
            host.wait_for("scope_deferred")
            listener.wait_for("lock_deferred", times=2)
        finally:
            postgres.start()
        assert host.wait(90) == 0, host.output
        until(lambda: alerted.held() == ["P21"])
        until(lambda: set(alerted.mail_states().values()) == {"sent"})
        assert [lock.group for lock in azure.locks.of()] == ["rg-21"]
        assert [decision.outcome for decision in alerted.audit()] == [Outcome.LOCKED]
    assert app.runs()["night-2026-11-20"].state == "done"
    assert app.outcome() == undisturbed.outcome()
    assert subjects(app.outbox()) == [
        ("p11@example.com", "[P11] 25 % of the budget reached"),
        ("p12@example.com", "[P12] 50 % of the budget reached"),
        ("p21@example.com", "[P21] 100 % of the budget reached"),
    ]
    assert max(durations(host.output, "ProjectUsageUpdater")) < 15
