"""Sub-accounts, and groups of them, that cost exports feed: nights, totals, mails, messages by hand."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from shared.domain.periods import Period
from shared.messages import NotificationMessage
from tests.contracts.exported import exported, feed, know
from tests.fakes import FakeCostsWithTotals
from tests.pipeline.conftest import APRIL, SUBSCRIPTION, Chain, entry
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
    known = chain.charges.account("azure", SUBSCRIPTION).known
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
