"""A period begins on its day, although the costs can't be read."""

from __future__ import annotations

from datetime import date

from shared.domain.budgets import Rollover
from shared.ports.errors import LaterError
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry
from tests.pipeline.test_year import DECEMBER, carrying, nights, on, refuse, with_terms


def test_where_costs_can_not_be_read_for_weeks_the_next_period_begins_all_the_same_and_once(chain: Chain) -> None:
    chain.load(with_terms(entry(), rollover=Rollover.STOP))
    chain.spend("300", date(2026, 11, 10))
    chain.night()
    refuse(chain, SUBSCRIPTION)
    nights(chain, DECEMBER, date(2026, 12, 20))
    assert [period.period.start for period in chain.projects.periods(11)] == [date(2026, 11, 1), DECEMBER]
    assert chain.subjects().count("P11 has no budget") == 1


def test_costs_that_are_put_off_until_they_are_given_up_do_not_keep_the_next_period_from_beginning(
    chain: Chain,
) -> None:
    chain.load(carrying())
    chain.night()
    chain.costs.fails = lambda _query: LaterError("busy")
    on(chain, DECEMBER)
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    assert len(chain.projects.periods(11)) == 1
    chain.clock.forward(days=1, hours=1)
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    chain.drain()
    assert len(chain.projects.periods(11)) == 2


def test_an_inactive_project_whose_period_is_over_is_not_checked(chain: Chain) -> None:
    chain.load(with_terms(entry(), rollover=Rollover.STOP), entry(12))
    chain.night()
    chain.load(with_terms(entry(active=False), rollover=Rollover.STOP))
    refuse(chain, SUBSCRIPTION)
    nights(chain, DECEMBER, DECEMBER)
    assert len(chain.projects.periods(11)) == 1
