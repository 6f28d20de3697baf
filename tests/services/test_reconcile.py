"""`reconcile`: each cause of a difference, made with Azure's API as the simulator plays it, and a real database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import ColumnElement, delete, update

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from shared.adapters.azure.arm import ArmClient
from shared.adapters.costs.azure import AzureCosts
from shared.adapters.database.exports import SqlExports
from shared.adapters.database.reconcile import SqlReconcile
from shared.adapters.database.tables import charges, coverage, export_charges, export_runs
from shared.domain.charges import CostMetric
from shared.domain.coverage import ReadPart
from shared.domain.exports.runs import RunState, Width
from shared.domain.exports.sums import Row
from shared.domain.money import plain
from shared.domain.periods import Period
from shared.domain.reconcile import Cause, Difference
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery
from shared.services.errors import RequestError
from shared.services.reconcile import Compared, Reconciled, ReconcileService
from tests.conftest import emptied
from tests.contracts.export_world import World as Exports
from tests.contracts.export_world import export, row
from tests.contracts.ledger_data import LOOKBACK_DAYS, SUB, Ledgers, entry

AUGUST = Period(date(2026, 8, 1), date(2026, 9, 1))
SEPTEMBER = Period(date(2026, 9, 1), date(2026, 10, 1))
CLOSED = datetime(2026, 11, 20, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def on(day: int) -> date:
    return date(2026, 9, day)


@dataclass
class World:
    """What Azure says, and what was stored of it. exports: what brings those in. now: of the comparison."""

    azure: AzureSimulator
    ledgers: Ledgers
    exports: Exports
    now: datetime = CLOSED
    waits: list[float] = field(default_factory=list)

    @property
    def service(self) -> ReconcileService:
        database, arm = self.ledgers.database, ArmClient(self.azure.url)
        return ReconcileService(
            *(self.ledgers.charges, SqlExports(database), SqlReconcile(database)),
            {metric: AzureCosts(arm, metric.value) for metric in CostMetric},
            *(CostMetric.ACTUAL, LOOKBACK_DAYS, lambda: self.now, self.waits.append),
        )

    def spend(self, day: int, amount: str, currency: str = "CAD", group: str = "rg-1", month: int = 9) -> None:
        self.azure.book.add([Charge(SUB, group, "VM", date(2026, month, day), currency, Decimal(amount))])

    def night(self, at: datetime = CLOSED, days: Period = SEPTEMBER, metric: CostMetric = CostMetric.ACTUAL) -> None:
        """Reads the days by the API, and stores them."""
        days = Period(days.start, min(days.end, at.date() + DAY))
        answer = AzureCosts(ArmClient(self.azure.url), metric.value).read(CostQuery(AZURE, SUB, days))
        part = ReadPart(days, answer.charges, at)
        self.ledgers.spend(
            now=at, parts=(part,), night=at.date(), provider=AZURE, sub_account_id=SUB, source="COST_MANAGEMENT"
        )

    def reconciled(self, month: str = "2026-09", subscription: str = "") -> Reconciled:
        return self.service.reconcile(month, subscription)

    def account(self) -> Compared:
        [compared] = self.reconciled().accounts
        return compared

    def differences(self, against: str = "API") -> Sequence[Difference]:
        return self.account().differences.get(against, [])

    def difference(self, against: str = "API") -> Difference | None:
        """The only one; None where there is none."""
        found = self.differences(against)
        assert len(found) <= 1, found
        return found[0] if found else None

    def changed(self, amount: str, *which: ColumnElement[bool]) -> None:
        """Somebody has changed stored charges, behind our backs."""
        with self.ledgers.database.engine.begin() as connection:
            connection.execute(update(charges).where(*which).values(billed_cost=Decimal(amount)))


def causes(found: Iterable[Difference]) -> list[tuple[Cause, dict[str, str]]]:
    """Each cause with what it comes to."""
    return [(each.cause, {currency: plain(amount) for currency, amount in each.amounts.items()}) for each in found]


DAILY, MONTHLY = export(), export("monthly")


def cost(day: int, amount: str, period: date | None = None, **changes: str) -> Row:
    return row(9, day, amount, sub=SUB, period=period, **changes)


@pytest.fixture
def fed(request: pytest.FixtureRequest) -> Iterator[World]:
    """A subscription that no project names, so that the first export feeds it."""
    with AzureSimulator(ChargeBook(), amortized=ChargeBook()) as azure:
        database = emptied(request)
        yield World(azure, Ledgers(database), Exports(database))


@pytest.fixture
def world(fed: World) -> World:
    """A subscription that is read by its API."""
    fed.ledgers.load(entry(1, "rg-1"))
    return fed


def test_what_is_stored_and_what_the_api_says_agree(world: World) -> None:
    world.spend(3, "1.25")
    world.spend(30, "2.5", "USD")
    world.night()
    compared = world.account()
    assert compared.stored == compared.api == {"CAD": Decimal("1.25"), "USD": Decimal("2.5")}
    assert (compared.differences, compared.exports, compared.not_asked) == ({}, {}, "")
    assert world.reconciled().is_explained


def test_rounding_explains_what_charges_of_more_than_10_places_differ_by(world: World) -> None:
    world.spend(3, "1.00000000004")
    world.spend(4, "1.00000000004")
    world.night()
    difference = world.difference()
    assert difference is not None
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal("8E-11")}, Cause.ROUNDING)


def test_more_than_rounding_can_be_is_unexplained(world: World) -> None:
    world.spend(3, "1")
    world.night()
    world.spend(3, "0.0000000001")
    difference = world.difference()
    assert difference is not None
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal("1E-10")}, Cause.UNEXPLAINED)
    assert not world.reconciled().is_explained


def test_two_currencies_are_not_compared(fed: World) -> None:
    """An export that bills in another currency than the API answers in."""
    fed.spend(3, "1.25", "USD")
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "1.7")], at=on(30))
    difference = fed.difference()
    assert difference is not None
    assert difference.cause is Cause.CURRENCY
    assert difference.amounts == {"CAD": Decimal("-1.7"), "USD": Decimal("1.25")}
    assert difference.why == "what is stored and what the API says are not comparable: CAD and USD"


def test_costs_of_the_other_metric_are_told_as_such(world: World) -> None:
    world.spend(3, "365")
    world.azure.amortized.add([Charge(SUB, "rg-1", "VM", on(day), "CAD", Decimal(1)) for day in range(1, 31)])
    world.night(metric=CostMetric.AMORTIZED)
    difference = world.difference()
    assert difference is not None
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal(335)}, Cause.METRIC)
    assert difference.why == "what is stored is AmortizedCost, and COST_METRIC is ActualCost"


def test_days_that_no_night_has_read_are_not_read_yet(world: World) -> None:
    world.spend(3, "1")
    world.spend(20, "2")
    world.night(datetime(2026, 9, 19, 2, tzinfo=UTC))
    difference = world.difference()
    assert difference is not None
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal(2)}, Cause.UNREAD)
    assert difference.why == "it was read through 19 September 2026"


def test_a_month_that_was_never_read_is_not_read_yet(world: World) -> None:
    world.spend(3, "1")
    difference = world.difference()
    assert difference is not None
    assert difference.cause is Cause.UNREAD
    assert difference.why == f"costs of {SUB} not read for September 2026"


def test_a_month_that_still_moves_may_be_older_than_what_the_api_says(world: World) -> None:
    world.now = datetime(2026, 10, 3, 8, tzinfo=UTC)
    world.spend(3, "1")
    world.night(datetime(2026, 10, 3, 2, tzinfo=UTC))
    world.spend(30, "2")
    difference = world.difference()
    assert difference is not None
    assert difference.cause is Cause.NEWER
    assert difference.why == "the API is newer: the month still moves, and was read on 3 October 2026"
    # Of one that is final, nothing is newer.
    world.now = CLOSED
    world.night(CLOSED)
    assert world.difference() is None
    world.spend(30, "3")
    difference = world.difference()
    assert difference is not None
    assert difference.cause is Cause.UNEXPLAINED


def test_what_is_stored_too_much_is_nothing_that_the_api_has_got_since(world: World) -> None:
    world.now = datetime(2026, 9, 20, 3, tzinfo=UTC)
    world.spend(3, "1")
    world.night(datetime(2026, 9, 20, 2, tzinfo=UTC))
    world.changed("7")
    assert causes(world.differences()) == [(Cause.UNEXPLAINED, {"CAD": "-6"})]


def test_days_that_were_not_read_explain_nothing_of_those_that_were(world: World) -> None:
    world.spend(3, "1")
    world.spend(25, "2")
    world.night(datetime(2026, 9, 20, 2, tzinfo=UTC))
    world.changed("7")
    found = world.differences()
    assert causes(found) == [(Cause.UNREAD, {"CAD": "2"}), (Cause.UNEXPLAINED, {"CAD": "-6"})]
    assert not world.reconciled().is_explained


def test_what_came_late_to_a_month_that_was_not_read_again_is_not_read_yet(world: World) -> None:
    world.spend(3, "1")
    world.spend(25, "2")
    world.night(datetime(2026, 9, 20, 2, tzinfo=UTC))
    world.spend(4, "0.5")
    found = world.differences()
    assert causes(found) == [(Cause.UNREAD, {"CAD": "2"}), (Cause.UNREAD, {"CAD": "0.5"})]
    assert found[1].why == f"costs of {SUB} not read since 20 September 2026"


def test_charges_of_a_month_that_nobody_has_read_are_unexplained(world: World) -> None:
    world.spend(3, "1")
    world.night()
    with world.ledgers.database.engine.begin() as connection:
        connection.execute(delete(coverage))
    world.changed("7")
    assert causes(world.differences()) == [(Cause.UNEXPLAINED, {"CAD": "-6"})]


def test_an_answer_that_is_not_believed_explains_that_charges_are_gone_and_no_other_difference(world: World) -> None:
    world.spend(3, "4")
    world.night(datetime(2026, 10, 1, 2, tzinfo=UTC))
    world.now = datetime(2026, 10, 2, 8, tzinfo=UTC)
    world.spend(3, "-4")
    world.night(datetime(2026, 10, 2, 2, tzinfo=UTC))
    found = world.differences()
    assert causes(found) == [(Cause.UNREAD, {"CAD": "-4"})]
    assert found[0].why == f"September 2026 of {SUB} came without most of its charges, which is not believed yet"
    world.spend(3, "3")
    assert causes(world.differences()) == [(Cause.UNEXPLAINED, {"CAD": "-1"})]


def test_who_is_not_asked_is_told_with_the_reason(world: World) -> None:
    world.spend(3, "1")
    world.night()
    world.azure.fault("forbidden", times=None)
    compared = world.account()
    assert compared.api is None
    assert "Cost Management Reader" in compared.not_asked
    assert compared.differences == {}
    world.now = CLOSED.replace(year=2027)
    assert world.account().not_asked == "it is longer ago than the API answers for"


def test_an_api_that_says_how_long_to_wait_is_asked_again(world: World) -> None:
    world.spend(3, "1")
    world.night()
    world.azure.fault("throttled_many", seconds=20)
    assert world.account().api == {"CAD": Decimal(1)}
    assert world.waits == [20.0]
    world.azure.fault("throttled_many", seconds=600)
    assert world.account().api is None
    assert world.waits == [20.0]


@pytest.mark.parametrize(
    ("month", "said"),
    [
        ("2026-13", "'2026-13' is no month; write year-month, such as 2026-09"),
        ("September", "'September' is no month; write year-month, such as 2026-09"),
        ("2026-12", "2026-12 has not begun yet"),
    ],
)
def test_what_is_no_month_is_refused(world: World, month: str, said: str) -> None:
    with pytest.raises(RequestError, match=f"^{said}$"):
        world.reconciled(month)


def test_one_sub_account_is_compared_in_any_spelling_and_an_unknown_one_refused(world: World) -> None:
    world.ledgers.load(entry(2, "rg-2", subscription_id="ed570627-0265-4620-bb42-bae06bcfa914"))
    world.spend(3, "1")
    assert [each.sub_account_id for each in world.reconciled(subscription=SUB.upper()).accounts] == [SUB]
    assert len(world.reconciled().accounts) == 1
    with pytest.raises(RequestError, match=r"^nothing is known of 7f0c; "):
        world.reconciled(subscription="7f0c")


# --- exports ---------------------------------------------------------------------------------------------------


def test_what_an_export_has_delivered_is_what_is_stored_and_what_the_api_says(fed: World) -> None:
    fed.spend(3, "1.25")
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "0.75"), cost(3, "0.5")], at=on(30))
    found = fed.reconciled()
    [compared], [run] = found.accounts, found.runs
    assert compared.stored == compared.api == compared.exports["daily"] == {"CAD": Decimal("1.25")}
    assert (run.export, run.exact, run.stored, run.differences) == ("daily", compared.stored, compared.stored, [])
    assert found.differences == []


def test_what_rounding_takes_from_an_exports_exact_sum_is_told(fed: World) -> None:
    rows = [cost(day, "0.00000000004") for day in range(1, 31)]
    fed.exports.deliver(DAILY, SEPTEMBER, [*rows, cost(3, "1")], at=on(30))
    [run] = fed.reconciled().runs
    assert (run.exact, run.stored) == ({"CAD": Decimal("1.0000000012")}, {"CAD": Decimal(1)})
    [difference] = run.differences
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal("1.2E-9")}, Cause.ROUNDING)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_newer_run_that_is_not_imported_explains_what_the_api_has_more(fed: World, parts: int) -> None:
    fed.now = datetime(2026, 9, 23, 2, tzinfo=UTC)
    fed.spend(3, "1")
    fed.spend(21, "2")
    to_20 = Period(on(1), on(21))
    fed.exports.deliver(DAILY, to_20, [cost(3, "1")], at=on(20))
    fed.exports.stage(DAILY, Period(on(1), on(23)), [cost(3, "1"), cost(21, "2")], at=on(22), parts=parts)
    difference = fed.difference()
    assert difference is not None
    # Of the days that were exported the API says the same: those after them are not read yet.
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal(2)}, Cause.UNREAD)
    fed.spend(3, "0.5")
    found = fed.differences()
    assert causes(found) == [(Cause.UNREAD, {"CAD": "2"}), (Cause.NEWER, {"CAD": "0.5"})]
    assert found[1].why == "the run of daily of 22 September 2026 is importing"


def test_a_newer_run_of_some_days_explains_these_alone(fed: World) -> None:
    fed.spend(3, "2")
    fed.spend(12, "4")
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "1"), cost(12, "1")], at=date(2026, 10, 6))
    fed.exports.stage(DAILY, Period(on(10), on(16)), [cost(12, "4")], at=date(2026, 10, 8))
    found = fed.differences()
    assert causes(found) == [(Cause.NEWER, {"CAD": "3"}), (Cause.UNEXPLAINED, {"CAD": "1"})]


def test_a_run_of_an_export_that_does_not_say_the_month_explains_nothing_of_it(world: World) -> None:
    world.spend(3, "1")
    world.night()
    world.spend(3, "1")
    world.exports.deliver(DAILY, SEPTEMBER, [cost(3, "2")], at=on(30))
    world.exports.stage(DAILY, SEPTEMBER, [cost(3, "2")], at=CLOSED.date() + DAY)
    assert causes(world.differences()) == [(Cause.UNEXPLAINED, {"CAD": "1"})]


def test_corrections_of_other_months_are_told_apart_from_what_an_export_says_of_its_billing_period(
    fed: World,
) -> None:
    september = [cost(3, "1"), row(8, 15, "0.25", sub=SUB)]
    fed.exports.deliver(DAILY, AUGUST, [row(8, 1, "4", sub=SUB)], at=on(5))
    fed.exports.deliver(DAILY, SEPTEMBER, september, at=on(30))
    difference = fed.difference("exports")
    assert difference is not None
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal("0.25")}, Cause.PERIOD)
    assert fed.account().exports == {"daily": {"CAD": Decimal("1.25")}}
    assert fed.reconciled().runs[0].differences == []


def test_charges_that_no_export_has_delivered_are_unexplained(fed: World) -> None:
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "1")], at=on(30))
    fed.changed("7")
    difference = fed.difference("exports")
    assert difference is not None
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal(-6)}, Cause.UNEXPLAINED)
    assert difference.why == "3 September 2026 is not stored as its exports have delivered it"
    assert not fed.reconciled().is_explained


def test_what_is_stored_too_much_is_no_correction_of_another_month_of_the_same_amount(fed: World) -> None:
    fed.exports.deliver(DAILY, AUGUST, [row(8, 1, "4", sub=SUB)], at=on(5))
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "1"), row(8, 15, "0.25", sub=SUB)], at=on(30))
    fed.changed("1.25", charges.c.charge_period_start == on(3))
    assert fed.account().exports == {"daily": fed.account().stored}
    found = fed.differences("exports")
    assert causes(found) == [(Cause.PERIOD, {"CAD": "0.25"}), (Cause.UNEXPLAINED, {"CAD": "-0.25"})]


def test_what_is_stored_too_much_of_one_day_and_too_little_of_another_is_unexplained(fed: World) -> None:
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "1"), cost(4, "1"), cost(5, "1")], at=on(30))
    fed.changed("1.5", charges.c.charge_period_start == on(4))
    fed.changed("0.5", charges.c.charge_period_start == on(5))
    difference = fed.difference("exports")
    assert difference is not None
    assert (difference.amounts, difference.cause) == ({"CAD": Decimal(0)}, Cause.UNEXPLAINED)
    assert difference.why == "4 September 2026 is not stored as its exports have delivered it"


def test_of_two_currencies_the_one_that_is_lost_is_told(fed: World) -> None:
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "1"), cost(3, "2", currency="USD")], at=on(30))
    fed.changed("0", charges.c.billing_currency == "USD")
    assert causes(fed.differences("exports")) == [(Cause.UNEXPLAINED, {"USD": "2"})]


# --- whose the month is, not who feeds now ---


def test_a_month_that_stays_that_of_the_export_before_an_order_is_compared_with_that(fed: World) -> None:
    fed.exports.deliver(MONTHLY, AUGUST, [row(8, 1, "4", sub=SUB)], at=on(6))
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "1")], at=on(30))
    fed.exports.use(DAILY, date(2026, 10, 1), SUB)
    for month in ("2026-08", "2026-09"):
        assert fed.reconciled(month).differences == []
    fed.changed("5", charges.c.charge_period_start == date(2026, 8, 1))
    assert causes(fed.reconciled("2026-08").differences) == [(Cause.UNEXPLAINED, {"CAD": "-1"})]


def test_a_month_that_is_taken_from_an_export_that_is_not_used_is_compared_with_that(fed: World) -> None:
    fed.exports.deliver(MONTHLY, SEPTEMBER, [cost(3, "1")], at=on(30))
    fed.exports.deliver(DAILY, AUGUST, [row(8, 1, "4", sub=SUB)], at=date(2026, 10, 2))
    [compared] = fed.reconciled("2026-08").accounts
    assert (compared.stored, compared.differences) == ({"CAD": Decimal(4)}, {})
    fed.changed("5", charges.c.charge_period_start == date(2026, 8, 1))
    assert causes(fed.reconciled("2026-08").differences) == [(Cause.UNEXPLAINED, {"CAD": "-1"})]


def test_what_another_that_feeds_has_of_a_month_that_it_has_not_delivered_does_not_count(fed: World) -> None:
    """The agreement changed: the new export's September has a correction of August, which is the old one's."""
    old, new = (export(name, Width.BILLING_ACCOUNT, account) for name, account in (("old", "42"), ("new", "43")))
    fed.exports.deliver(old, AUGUST, [row(8, 1, "4", sub=SUB), row(7, 30, "1", sub=SUB)], at=on(6))
    september = [cost(day, "1") for day in (1, 3)]
    fed.exports.deliver(new, SEPTEMBER, [*september, row(8, 15, "0.25", sub=SUB)], at=on(30))
    assert fed.exports.feeding(SUB) == {"": ["old", "new"]}
    [compared] = fed.reconciled("2026-08").accounts
    assert compared.stored == {"CAD": Decimal(4)}
    assert causes(compared.differences["exports"]) == [(Cause.PERIOD, {"CAD": "1"})]


def test_a_group_of_which_its_own_export_has_not_delivered_the_month_is_the_others(fed: World) -> None:
    fed.exports.deliver(MONTHLY, AUGUST, [row(8, 1, "4", group="rg-1", sub=SUB), row(8, 1, "2", sub=SUB)], at=on(6))
    groups = export("rg-1", Width.GROUP)
    fed.exports.deliver(groups, SEPTEMBER, [cost(3, "1", group="rg-1")], at=on(30))
    fed.exports.use(groups, date(2026, 10, 1), SUB)
    assert fed.exports.feeding(SUB) == {"": ["monthly"], "rg-1": ["rg-1"]}
    for month in ("2026-08", "2026-09"):
        assert fed.reconciled(month).differences == []
    fed.changed("5", charges.c.billed_cost == Decimal(4))
    assert causes(fed.reconciled("2026-08").differences) == [(Cause.UNEXPLAINED, {"CAD": "-1"})]


def test_a_month_that_the_query_has_read_since_is_not_compared_with_exports(world: World) -> None:
    world.spend(3, "5")
    world.exports.deliver(DAILY, SEPTEMBER, [cost(3, "9")], at=on(30))
    assert world.differences("exports") == []
    world.exports.use(DAILY, date(2026, 10, 1), SUB)
    world.exports.use("query", date(2026, 10, 2), SUB)
    assert (world.account().stored, world.differences("exports")) == ({"CAD": Decimal(9)}, [])
    world.night()
    compared = world.account()
    assert (compared.stored, compared.differences) == ({"CAD": Decimal(5)}, {})


# --- the exact sum of a run ---


def test_a_reason_of_who_feeds_explains_nothing_of_a_runs_sum(world: World) -> None:
    world.spend(3, "1")
    world.night()
    record = world.exports.deliver(DAILY, SEPTEMBER, [cost(3, "9")], at=on(30)).record
    assert "is fed by the query" in str(record.reason)
    with world.ledgers.database.engine.begin() as connection:
        connection.execute(update(export_charges).values(billed_cost=Decimal(7)))
    [run] = world.reconciled().runs
    assert causes(run.differences) == [(Cause.UNEXPLAINED, {"CAD": "2"})]


def test_rows_that_a_run_leaves_to_others_explain_what_they_come_to(fed: World) -> None:
    days = [cost(12, "1"), cost(20, "3"), row(8, 15, "0.5", sub=SUB)]
    fed.exports.deliver(DAILY, Period(on(10), on(16)), days, at=on(30))
    [run] = fed.reconciled().runs
    assert (run.exact, run.stored) == ({"CAD": Decimal("4.5")}, {"CAD": Decimal(1)})
    assert causes(run.differences) == [(Cause.PERIOD, {"CAD": "3.5"})]
    with fed.ledgers.database.engine.begin() as connection:
        connection.execute(update(export_charges).values(billed_cost=Decimal(2)))
    [run] = fed.reconciled().runs
    assert causes(run.differences) == [(Cause.PERIOD, {"CAD": "3.5"}), (Cause.UNEXPLAINED, {"CAD": "-1"})]


def test_a_run_of_two_months_is_not_compared_with_one_of_them_once_a_newer_one_says_the_other(fed: World) -> None:
    """docs/exports.md, "Whose day": 20 August to 19 September, and then September up to the 25th."""
    both = [row(8, 20, "4", sub=SUB), cost(3, "1")]
    fed.exports.deliver(DAILY, Period(date(2026, 8, 20), on(20)), both, at=on(20))
    fed.exports.deliver(DAILY, Period(on(1), on(26)), [cost(3, "2")], at=on(25))
    found = fed.reconciled("2026-08")
    assert (found.accounts[0].stored, found.differences, found.runs) == ({"CAD": Decimal(4)}, [], [])
    [run] = fed.reconciled("2026-09").runs
    assert (run.exact, run.differences) == ({"CAD": Decimal(2)}, [])


def test_a_run_that_is_half_made_has_no_whole_sum_yet(fed: World) -> None:
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "1")], at=on(30))
    assert len(fed.reconciled().runs) == 1
    with fed.ledgers.database.engine.begin() as connection:
        connection.execute(update(export_runs).values(state=RunState.IMPORTING, totals={}, periods=None))
    assert fed.reconciled().runs == []


def test_of_groups_that_exports_feed_their_charges_alone_are_compared_with_them(world: World) -> None:
    world.spend(3, "1", group="rg-1")
    world.spend(4, "2", group="rg-2")
    groups = export("rg-1", Width.GROUP)
    world.exports.deliver(groups, SEPTEMBER, [cost(3, "1", group="rg-1")], at=on(30))
    world.night()
    compared = world.account()
    assert compared.stored == compared.api == {"CAD": Decimal(3)}
    assert (compared.exports, compared.differences) == ({"rg-1": {"CAD": Decimal(1)}}, {})


def test_an_export_that_is_not_used_is_shown_and_not_compared(world: World) -> None:
    world.spend(3, "1")
    world.night()
    world.exports.deliver(DAILY, SEPTEMBER, [cost(3, "9")], at=on(30))
    compared = world.account()
    assert compared.stored == {"CAD": Decimal(1)}
    assert (compared.exports, compared.differences) == ({"daily": {"CAD": Decimal(9)}}, {})


def test_what_a_run_has_left_out_and_what_is_stored_too_much_do_not_cancel(fed: World) -> None:
    fed.exports.deliver(DAILY, Period(on(10), on(16)), [cost(12, "1"), cost(20, "5")], at=on(16))
    [run] = fed.reconciled().runs
    assert causes(run.differences) == [(Cause.PERIOD, {"CAD": "5"})]
    fed.changed("6", charges.c.charge_period_start == on(12))
    with fed.ledgers.database.engine.begin() as connection:
        connection.execute(update(export_charges).values(billed_cost=Decimal(6)))
    [run] = fed.reconciled().runs
    assert run.exact == run.stored == {"CAD": Decimal(6)}
    assert causes(run.differences) == [(Cause.PERIOD, {"CAD": "5"}), (Cause.UNEXPLAINED, {"CAD": "-5"})]


def test_exports_of_one_name_are_told_apart(fed: World) -> None:
    one = export("daily", Width.BILLING_ACCOUNT, "42")
    fed.exports.deliver(one, SEPTEMBER, [cost(3, "10")], at=on(30))
    fed.exports.deliver(DAILY, SEPTEMBER, [cost(3, "6")], at=on(30))
    found = fed.reconciled()
    [compared] = found.accounts
    assert compared.exports == {one.key: {"CAD": Decimal(10)}, DAILY.key: {"CAD": Decimal(6)}}
    assert {(run.export, run.exact["CAD"]) for run in found.runs} == {(one.key, 10), (DAILY.key, 6)}
