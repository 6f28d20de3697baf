"""Sub-accounts, and groups of them, that cost exports feed: nights, totals, mails, messages by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import update

from shared.adapters.database.tables import accounts
from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.messages import Message, NotificationMessage, Queue
from shared.ports.azure import AZURE
from shared.ports.cloud_accounts import ConnectionType
from shared.services.errors import RequestError
from tests.contracts.exported import exported, feed, know
from tests.fakes import FakeCostsWithTotals
from tests.pipeline.conftest import APRIL, NOVEMBER, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry
from tests.pipeline.test_totals import compared, nights
from tests.subjects import short

TODAY = date(2026, 11, 20)
YESTERDAY = TODAY - timedelta(days=1)


def in_groups(chain: Chain) -> None:
    """Exports feed the group of project 11."""
    feed(chain.database, "rg-11")
    know(chain.database, exported(YESTERDAY), group="rg-11")


def test_the_totals_of_a_sub_account_of_which_exports_feed_a_part_are_not_compared(chain: Chain) -> None:
    chain.costs = FakeCostsWithTotals(clock=chain.clock)
    chain.parts["costs"] = chain.costs
    chain.configure()
    chain.load(entry(11, "100", rule=APRIL), entry(12, "100", rule=APRIL))
    for month in range(4, 12):
        chain.spend("10", date(2026, month, 1))
    in_groups(chain)
    nights(chain, 8)
    assert compared(chain) == []
    assert chain.costs.queries


def test_a_month_that_an_export_has_delivered_is_read_whole_once_the_query_feeds_again(chain: Chain) -> None:
    chain.load(entry(11))
    chain.spend("10", date(2026, 11, 1))
    know(chain.database, exported(date(2026, 10, 31), date(2026, 11, 19)), exported(YESTERDAY))
    chain.night()
    whole = {Period(date(2026, 10, 1), date(2026, 11, 1)), Period(date(2026, 11, 1), date(2026, 11, 21))}
    assert {each.window for each in chain.costs.queries} == whole
    known = chain.charges.account(AZURE, SUBSCRIPTION).known
    assert {each.source for each in known.values()} == {"COST_MANAGEMENT"}


@pytest.mark.parametrize(("through", "told"), [(YESTERDAY, False), (TODAY, True)])
def test_an_alert_says_what_was_spent_yesterday_only_where_exports_hold_all_of_that(
    chain: Chain, through: date, told: bool
) -> None:
    chain.load(entry(11, "100"))
    chain.spend("85", date(2026, 11, 3))
    chain.tonight()
    [update] = chain.queues.take()
    checks = chain.work(*update[:2])
    feed(chain.database)
    know(chain.database, exported(through))
    assert checks == [NotificationMessage((11,), checks[0].envelope)]
    chain.drain()
    [mail] = chain.mailer.sent
    assert short(mail.subject) == "[P11] 80 % of the budget reached"
    assert ("Yesterday" in mail.text) == told


# --- by hand ---------------------------------------------------------------------------------------------------

SCAN = "come by cost exports, which can't be asked for; `python -m shared.cli exports scan` looks for what was exported"


@pytest.fixture
def exports(chain: Chain) -> Chain:
    """A chain with project 12 in a subscription that an export feeds, and 11 in one that is asked."""
    chain.cloud_accounts.register(AZURE, ConnectionType.COST_EXPORT, [OTHER_SUBSCRIPTION])
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION))
    return chain


def by_hand(chain: Chain, **fields: object) -> list[Message]:
    return chain.work(Queue.UPDATE, json.dumps(fields))


@pytest.mark.parametrize("fields", [{"ProjectId": 12}, {"SubscriptionId": OTHER_SUBSCRIPTION}])
def test_a_message_about_what_exports_feed_says_so_and_what_to_do(exports: Chain, fields: dict[str, object]) -> None:
    assert by_hand(exports, **fields) == []
    [letter] = exports.letters.letters()
    assert letter.reason.startswith(f"the costs of {OTHER_SUBSCRIPTION} {SCAN}")
    assert exports.costs.queries == []


@pytest.mark.parametrize("since", ["", "2026-11-01"])
@pytest.mark.parametrize("which", [{"project": "P12"}, {"subscription": OTHER_SUBSCRIPTION}])
def test_a_run_of_what_exports_feed_is_refused_in_the_same_words(
    exports: Chain, which: dict[str, str], since: str
) -> None:
    with pytest.raises(RequestError, match=f"^the costs of {OTHER_SUBSCRIPTION} {re.escape(SCAN)}"):
        exports.run_now(**which, since=since)
    assert exports.runs.recent_runs(10) == []


def test_a_run_of_all_since_a_day_asks_for_the_rest(exports: Chain) -> None:
    assert exports.run_now(since="2026-11-01")[1] == 1
    exports.drain()
    assert {each.sub_account_id for each in exports.costs.queries} == {SUBSCRIPTION}


def test_of_a_project_in_both_what_can_be_asked_is_read(exports: Chain) -> None:
    both = entry(13, groups=("rg-13",))
    exports.load(replace(both, scopes=(*both.scopes, Scope(AZURE, OTHER_SUBSCRIPTION, "rg-13"))))
    exports.spend("10", YESTERDAY, "rg-13")
    by_hand(exports, ProjectId=13)
    assert {each.sub_account_id for each in exports.costs.queries} == {SUBSCRIPTION}
    assert exports.spent(13) == 10
    assert exports.letters.letters() == []


def test_of_a_project_with_groups_that_exports_feed_the_others_are_read(chain: Chain) -> None:
    chain.load(entry(11, groups=("rg-11", "Rg-Too")))
    in_groups(chain)
    chain.spend("10", YESTERDAY, "Rg-Too")
    by_hand(chain, ProjectId=11)
    assert {each.resource_groups for each in chain.costs.queries} == {("Rg-Too",)}
    assert chain.spent() == 10
    by_hand(chain, ProjectId=11, ResourceGroup="RG-11")
    [letter] = chain.letters.letters()
    assert letter.reason.startswith(f"the costs of group rg-11 of {SUBSCRIPTION} {SCAN}")


# --- by night --------------------------------------------------------------------------------------------------


def test_a_night_asks_nothing_of_what_exports_feed_and_is_complete(exports: Chain) -> None:
    exports.night()
    assert {each.sub_account_id for each in exports.costs.queries} == {SUBSCRIPTION}
    [run] = exports.runs.recent_runs(10)
    assert (run.state, sum(run.scopes.values())) == ("done", 1)
    assert exports.letters.letters() == []


def test_a_period_of_what_exports_feed_turns_by_night(exports: Chain) -> None:
    exports.night()
    exports.clock.now = exports.clock.now.replace(month=12, day=1)
    exports.night()
    assert [each.period.start for each in exports.projects.periods(12)] == [NOVEMBER.start, date(2026, 12, 1)]


def test_what_an_export_takes_over_while_a_night_waits_is_left_to_it(exports: Chain) -> None:
    exports.tonight()
    fed = exports.charges.account(AZURE, OTHER_SUBSCRIPTION).cloud_account_id
    with exports.database.engine.begin() as connection:
        connection.execute(update(accounts).values(cloud_account_id=fed))
    exports.drain()
    [run] = exports.runs.recent_runs(10)
    assert run.state == "done"
    assert (exports.costs.queries, exports.letters.letters()) == ([], [])
