"""What people see of cost exports, and who feeds by their order."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from shared.adapters.database.engine import Database
from shared.domain.exports.feeding import QUERY, Fed, Order
from shared.domain.exports.runs import RunState
from shared.domain.periods import PeriodKind, PeriodRule
from shared.messages import NotificationMessage
from shared.ports.azure import AZURE
from shared.ports.errors import LaterError
from shared.services.errors import RequestError
from shared.services.export_history import Handover
from tests.adapters.exports.files import SUB
from tests.pipeline.conftest import Chain, entry, only
from tests.services.test_export_import import imported, on, total, write
from tests.services.test_export_service import write_run

SEPTEMBER = PeriodRule(PeriodKind.ANNUAL, date(2026, 9, 1))
WHOLE = Fed(AZURE, SUB)
OTHER = "00000000-0000-4000-8000-000000000abc"
DAILY = f"azure:/subscriptions/{SUB}/providers/microsoft.costmanagement/exports/daily"


@pytest.fixture
def chain(sqlite_url: str, tmp_path: Path) -> Chain:
    """A file feeds the subscription, and its export daily, which came later, says something else of September."""
    chain = Chain(Database(sqlite_url))
    imported(chain, write(tmp_path / "file.csv", on("09/21/2026", "2"), on("11/03/2026", "7")))
    imported(chain, write_run(tmp_path / "run", 2))
    chain.load(entry(11, subscription=SUB, groups=("rg-a",), rule=SEPTEMBER))
    return chain


def test_runs_are_listed_the_latest_first_by_export_and_state(chain: Chain):
    history = chain.export_history
    daily, file = history.listed()
    assert (daily.run.export.name, daily.state, file.run.export.name) == ("daily", RunState.NOT_USED, "file")
    assert history.listed("DAILY") == history.listed(DAILY) == [daily]
    assert history.listed(states=[RunState.IMPORTED]) == [file]
    assert history.listed(limit=1) == [daily]
    with pytest.raises(RequestError, match="there is no export nightly; there are daily, file"):
        history.listed("nightly")


def test_a_run_is_shown_with_its_parts(chain: Chain):
    daily = chain.export_history.listed("daily")[0]
    record, parts = chain.export_history.shown(daily.id)
    # What was read needs its parts no longer.
    assert (record, parts, record.parts) == (daily, [], 1)
    with pytest.raises(RequestError, match="there is no run 99"):
        chain.export_history.shown(99)


def test_what_an_order_would_change_is_said_and_not_done(chain: Chain):
    history = chain.export_history
    switch = history.look(history.order("Daily"))
    assert switch.handovers == (Handover(WHOLE, "file", "daily"),)
    assert (switch.changes.changed, switch.projects) == (1, ("P11",))
    assert [each.name for each in history.feeds()] == ["file"]
    assert total(chain) == Decimal(9)


def test_an_order_is_carried_out_and_its_projects_are_checked(chain: Chain):
    history = chain.export_history
    messages = chain.sent_by(lambda: history.use(history.order("daily", SUB.upper()), "ann"))
    assert [each.project_ids for each in only(NotificationMessage, messages)] == [(11,)]
    assert [(each.fed, each.name) for each in history.feeds()] == [(WHOLE, "daily")]
    # November, which daily has not delivered, stays.
    assert total(chain) == Decimal(10)
    again = history.use(history.order("daily"), "ann")
    assert (again.handovers, again.changes.days, again.projects) == ((), None, ())


def test_after_an_order_the_list_says_of_each_run_what_counts_now(chain: Chain, tmp_path: Path):
    history = chain.export_history
    why = f"{SUB} is fed by the export {{}}; `exports use {{}} --for {SUB}` changes that"

    def said() -> list[tuple[RunState, str | None]]:
        return [(each.state, each.reason) for each in history.listed()]

    # Of a run that a newer one has replaced nothing counts, whoever feeds: it is as its export is.
    newer = write_run(tmp_path / "newer", 3)
    newer.write_text(newer.read_text().replace("7e4b", "7e4c"))
    imported(chain, newer)
    by_file = [(RunState.NOT_USED, why.format("file", "daily"))] * 2 + [(RunState.IMPORTED, None)]
    by_daily = [(RunState.IMPORTED, None)] * 2 + [(RunState.NOT_USED, why.format("daily", "file"))]
    assert said() == by_file
    history.look(history.order("daily"))
    assert said() == by_file
    history.use(history.order("daily"), "ann")
    assert said() == by_daily
    chain.clock.now += timedelta(minutes=5)
    history.use(history.order("file", SUB), "ann")
    assert said() == by_file


def test_of_two_orders_the_one_carried_out_later_counts_however_long_somebody_thought_about_it(chain: Chain):
    history = chain.export_history
    thought_about = history.order("daily")
    chain.clock.now += timedelta(minutes=5)
    history.use(history.order("file"), "ben")
    chain.clock.now += timedelta(minutes=5)
    assert history.use(thought_about, "ann").order.at == chain.clock()
    assert [each.name for each in history.feeds()] == ["daily"]


def test_where_the_queues_are_away_the_order_is_carried_out(chain: Chain):
    history = chain.export_history
    chain.queues.fails = lambda: LaterError("the queues are away")
    assert history.use(history.order("daily"), "ann").unasked == "the queues are away"
    assert [each.name for each in history.feeds()] == ["daily"]


def test_exports_of_one_name_are_told_apart_by_their_keys(chain: Chain, tmp_path: Path):
    other = write_run(tmp_path / "other", 1)
    other.write_text(other.read_text().replace(f"/subscriptions/{SUB}/providers", "/subscriptions/2/providers"))
    imported(chain, other)
    key = "azure:/subscriptions/2/providers/microsoft.costmanagement/exports/daily"
    with pytest.raises(RequestError) as refused:
        chain.export_history.order("daily")
    assert str(refused.value) == f"2 exports are called daily; say which, by its key:\n  {DAILY}\n  {key}"
    assert chain.export_history.order(key.upper()).source == key


def test_of_several_of_one_name_the_one_that_has_delivered_the_sub_account_is_meant(chain: Chain, tmp_path: Path):
    imported(chain, write(tmp_path / "other.csv", on("09/21/2026", "2", BillingAccountId="9", SubscriptionId=OTHER)))
    imported(chain, write(tmp_path / "both.csv", on("10/21/2026", "2", BillingAccountId="7")))
    history = chain.export_history
    assert history.order("file", OTHER.upper()).source == "azure:9/file"
    with pytest.raises(RequestError, match="2 exports are called file; say which, by its key:\n  azure:7/file"):
        history.order("file", SUB)
    with pytest.raises(RequestError, match="3 exports are called file"):
        history.order("file")


def test_an_order_names_what_an_export_has_delivered(chain: Chain):
    history = chain.export_history
    assert history.order("QUERY", SUB) == Order(QUERY, chain.clock(), WHOLE)
    with pytest.raises(RequestError, match="no export has delivered 7f0c"):
        history.order("daily", "7f0c")
