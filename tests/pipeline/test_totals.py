"""What is restated after no night reads it any more is found within a week: totals are compared."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from shared.domain.periods import Period
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery
from shared.ports.errors import LaterError, NeverError
from tests.fakes import FakeCostsWithTotals
from tests.pipeline.conftest import APRIL, NOVEMBER, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry

TODAY = date(2026, 11, 20)
LONG_AGO = TODAY - timedelta(days=100)
# What a night of 20 to 26 November reads is from the middle of October on.
FINAL = [Period(date(2026, month, 1), date(2026, month + 1, 1)) for month in range(4, 10)]


@pytest.fixture
def known(chain: Chain) -> Chain:
    """A chain that has read a project from April on: 10 a month, 80 in all; its provider tells totals."""
    chain.costs = FakeCostsWithTotals(clock=chain.clock)
    chain.parts["costs"] = chain.costs
    chain.configure()
    chain.load(entry(11, "100", rule=APRIL))
    for month in range(4, 12):
        chain.spend("4" if month == LONG_AGO.month else "10", date(2026, month, 1))
    chain.spend("6", LONG_AGO)
    night(chain)
    return chain


def night(chain: Chain) -> None:
    chain.tonight()
    chain.work_off(hours=20)


def nights(chain: Chain, count: int = 7) -> None:
    for _ in range(count):
        chain.clock.forward(hours=4)
        night(chain)


def compared(chain: Chain, account: str = SUBSCRIPTION) -> list[Period]:
    return [each.window for each in chain.costs.totals_asked if each.sub_account_id == account]


def read_again(chain: Chain) -> list[Period]:
    return [each.window for each in chain.costs.queries if each.window.start < date(2026, 10, 1)]


def test_a_charge_of_100_days_ago_that_is_restated_is_right_within_a_week_by_itself(known: Chain) -> None:
    known.spend("36", LONG_AGO)
    known.costs.queries.clear()
    nights(known)
    assert known.spent() == Decimal(110)
    assert "[P11] 100 % of the budget reached" in known.subjects()
    assert read_again(known) == [Period(date(2026, 8, 1), date(2026, 9, 1))]
    assert known.projects.get(11, known.clock().date()).gaps == ()
    assert {run.state for run in known.runs.recent_runs(10)} == {"done"}


def test_a_total_that_agrees_asks_nothing_more_and_is_asked_for_once_a_week(known: Chain) -> None:
    known.costs.queries.clear()
    nights(known)
    assert sorted(compared(known), key=lambda days: days.start) == FINAL
    assert read_again(known) == []
    asked = len(known.costs.totals_asked)
    nights(known)
    # September and October's nights have come to an end meanwhile: what has become final is compared too.
    assert len(known.costs.totals_asked) == 2 * asked


def test_all_of_one_week_s_totals_are_asked_for_in_one_night_and_counted_in_its_plan(known: Chain) -> None:
    units = []
    for _ in range(7):
        known.clock.forward(hours=4)
        units.append(sum(each.units for each in known.asking.targets().values()))
        night(known)
    assert sorted(units) == [2] * 6 + [2 + len(FINAL)]


def test_sub_accounts_share_the_week_s_nights(known: Chain) -> None:
    known.load(entry(21, rule=APRIL, subscription=OTHER_SUBSCRIPTION))
    known.costs.charges[OTHER_SUBSCRIPTION, "rg-21", date(2026, 4, 1), "Storage"] = Decimal(1)
    days: dict[str, date] = {}
    for _ in range(8):
        nights(known, 1)
        for each in known.costs.totals_asked:
            days.setdefault(each.sub_account_id, (known.clock() - timedelta(hours=20)).date())
    assert len(set(days.values())) == len(days) == 2


def test_months_that_nobody_counts_on_any_more_are_not_compared(chain: Chain) -> None:
    chain.costs = FakeCostsWithTotals(clock=chain.clock)
    chain.parts["costs"] = chain.costs
    chain.configure()
    chain.load(entry(11, rule=NOVEMBER))
    chain.run_now(since="2026-04-01")
    chain.work_off(hours=4)
    nights(chain, 8)
    assert chain.costs.totals_asked == []


def test_a_total_that_can_not_be_had_is_no_fault_of_the_night(known: Chain) -> None:
    for error in (NeverError("Azure says no (400)"), LaterError("throttled", timedelta(seconds=60))):
        known.costs.fails = lambda query, error=error: error if query.window in FINAL else None
        nights(known)
        assert {run.state for run in known.runs.recent_runs(7)} == {"done"}
        assert known.projects.get(11, known.clock().date()).gaps == ()
    known.costs.fails = lambda _query: None
    known.spend("36", LONG_AGO)
    nights(known)
    assert known.spent() == Decimal(110)


def test_a_total_that_differs_of_a_month_that_can_not_be_read_is_said(known: Chain) -> None:
    known.spend("36", LONG_AGO)
    read, known.costs.fails = type(known.costs).read, lambda _query: None
    refused = NeverError("Azure says no (400)")

    def only_totals(source: FakeCostsWithTotals, query: CostQuery, *rest: object) -> object:
        if query.window in FINAL:
            raise refused
        return read(source, query, *rest)

    known.costs.read = only_totals.__get__(known.costs)
    nights(known)
    (gap,) = known.projects.get(11, known.clock().date()).gaps
    assert str(gap) == f"August 2026 of {SUBSCRIPTION} could not be read: Azure says no (400)"
    del known.costs.read
    nights(known, 1)
    assert (known.spent(), known.projects.get(11, known.clock().date()).gaps) == (Decimal(110), ())


def test_months_that_the_provider_has_forgotten_keep_what_is_stored_and_the_operators_are_told_once(
    known: Chain,
) -> None:
    known.costs.charges = {key: cost for key, cost in known.costs.charges.items() if key[2] >= date(2026, 9, 1)}
    nights(known, 21)
    assert known.spent() == Decimal(80)
    assert known.projects.get(11, known.clock().date()).gaps == ()
    told = [mail.text.replace("\n", " ") for mail in known.mailer.sent if "no longer has costs" in mail.subject]
    assert len(told) == 2, "one in November, one in December"
    assert "(P11) of April 2026, and perhaps of other months" in told[0]
    known.run_now(since="2026-08-01")
    known.work_off(hours=8)
    nights(known, 3)
    assert known.spent() == Decimal(70), "three nights in a row, as somebody has ordered"
    assert known.subjects()[-1] == f"Costs that were there are gone: subscription {SUBSCRIPTION} (P11)"


@pytest.mark.parametrize("refund", ["-300", "-550", "-600", "-610"])
def test_a_refund_that_leaves_next_to_nothing_of_a_final_month_is_not_forgetting(known: Chain, refund: str) -> None:
    known.spend("600", LONG_AGO, service="Reservations")
    nights(known)
    before = known.spent()
    known.spend(refund, LONG_AGO, service="Reservations refund")
    nights(known)
    assert known.spent() == before + Decimal(refund)
    assert not [mail.subject for mail in known.mailer.sent if "no longer has costs" in mail.subject]


def test_a_source_that_tells_no_totals_is_not_asked(chain: Chain) -> None:
    chain.load(entry(11, rule=APRIL))
    for month in range(4, 12):
        chain.spend("10", date(2026, month, 1))
    night(chain)
    chain.costs.queries.clear()
    nights(chain)
    assert read_again(chain) == []
    assert {run.state for run in chain.runs.recent_runs(8)} == {"done"}


def test_a_message_that_names_what_it_reads_compares_nothing(known: Chain) -> None:
    known.clock.forward(days=7)
    for wish in ({"project": "P11"}, {"since": "2026-11-01"}):
        known.clock.forward(seconds=1)
        known.run_now(**wish)
        known.drain()
    assert known.costs.totals_asked == []


def test_a_month_with_rows_that_were_set_aside_is_read_again_only_every_few_weeks(known: Chain) -> None:
    """Its total has those rows, so that it never agrees."""
    ids = (AZURE, SUBSCRIPTION, date(2026, 8, 1))
    known.charges.note_compared(*ids, known.clock().date(), False)
    known.costs.odd = {"rg-nobody": "It has no amount."}
    nights(known, 1)
    assert known.charges.account(*ids[:2]).known[ids[2]].odd
    known.costs.totals = lambda _query: {"CAD": Decimal("99.5")}
    known.costs.queries.clear()
    nights(known, 21)
    assert Period(date(2026, 8, 1), date(2026, 9, 1)) not in read_again(known)
    nights(known, 14)
    assert read_again(known).count(Period(date(2026, 8, 1), date(2026, 9, 1))) == 1
