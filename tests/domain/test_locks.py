from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.locks import (
    INACTIVE,
    NEVER,
    NO_BUDGET,
    ORDERED,
    RELEASED,
    Figure,
    HeldLock,
    Known,
    LockOrder,
    LockWhy,
    Wanted,
    WhenUnsure,
    goes_by_figures,
    held_on,
    should_be,
)
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project

THOUSAND = Decimal(1000)
BELOW, FULL, OVER = (Figure(Decimal(spent), THOUSAND, "CAD") for spent in ("999.9999999999", "1000", "1500"))
LACKING, FULL_LACKING = (replace(each, lacks="June") for each in (BELOW, FULL))
FIGURES = (None, BELOW, FULL, OVER, LACKING, FULL_LACKING)

RULE = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))
THIS_YEAR, NEXT_YEAR = Period(date(2026, 4, 1), date(2027, 4, 1)), Period(date(2027, 4, 1), date(2028, 4, 1))
TODAY, NOON = date(2026, 11, 20), datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OURS = frozenset({"sub/rg-11"})


def project(lock: LockPolicy = LockPolicy.AUTO, active: bool = True) -> Project:
    return Project(11, "DIE1", "Die", "en", (), active, lock)


def budget(amount: str | None = "1000", number: int = 1, carried: str = "0", currency: str = "CAD") -> Budget:
    terms = BudgetTerms(None if amount is None else Decimal(amount), currency, RULE)
    return Budget(number, number, terms, Decimal(carried))


def known(
    database: Figure | None = None,
    azure: Figure | None = None,
    held: HeldLock | None = None,
    order: LockOrder | None = None,
    hinted: bool = False,
    **others: object,
) -> Known:
    usual = Known(project(), OURS, budget(), THIS_YEAR, TODAY, database, azure, None, order, held, hinted)
    return replace(usual, **others)


def held(why: LockWhy = LockWhy.OVER, **others: object) -> HeldLock:
    usual = HeldLock(why, 1, THIS_YEAR.start, "CAD", THOUSAND, None, TODAY - DAY, OURS)
    return replace(usual, **others)


def wanted(of: Known, when_unsure: WhenUnsure = WhenUnsure.LOCK) -> Wanted:
    return should_be(of, when_unsure)


LOCK = LockOrder(True, NOON, 1, THIS_YEAR.start)
UNLOCK = LockOrder(False, NOON, 1, THIS_YEAR.start)

# --- any of all there is -------------------------------------------------------------------------------------

helds = st.none() | st.builds(
    HeldLock,
    why=st.sampled_from(LockWhy),
    budget_number=st.sampled_from([1, 2]),
    period_start=st.sampled_from([THIS_YEAR.start, NEXT_YEAR.start, None]),
    currency=st.sampled_from(["CAD", "USD", None]),
    amount=st.sampled_from([None, Decimal(-200), Decimal(900), THOUSAND, Decimal(1200)]),
    spent=st.sampled_from([None, Decimal(800), Decimal(1100)]),
    seen_on=st.sampled_from([None, TODAY, TODAY - 2 * DAY, TODAY - 3 * DAY]),
    counted=st.sampled_from([None, OURS, frozenset({"sub/other"})]),
)
orders = st.none() | st.builds(
    LockOrder, st.booleans(), st.just(NOON), st.sampled_from([1, 2]), st.sampled_from([THIS_YEAR.start, None])
)
worlds = st.builds(
    Known,
    project=st.builds(project, st.sampled_from(LockPolicy), st.booleans()),
    counted=st.just(OURS),
    budget=st.builds(budget, st.sampled_from([None, "1000"]), st.sampled_from([1, 2])),
    period=st.sampled_from([THIS_YEAR, None]),
    today=st.just(TODAY),
    database=st.sampled_from(FIGURES),
    azure=st.sampled_from(FIGURES[:4]),
    azure_unknown=st.none(),
    order=orders,
    held=helds,
    hinted=st.booleans(),
)
unsures = st.sampled_from(WhenUnsure)


def full(figure: Figure | None) -> bool:
    return figure is not None and figure.is_full


@given(worlds, unsures)
def test_what_is_decided_has_a_reason_and_each_time_the_same(of: Known, unsure: WhenUnsure) -> None:
    decided = should_be(of, unsure)
    assert decided.reason
    assert decided == should_be(of, unsure)


@given(worlds, unsures)
def test_an_order_counts_before_every_figure(of: Known, unsure: WhenUnsure) -> None:
    decided = should_be(of, unsure)
    if of.project.lock is LockPolicy.NEVER:
        assert decided == Wanted(None, NEVER)
    elif of.order and of.order.locks:
        assert decided == Wanted(LockWhy.ORDER, ORDERED)
    elif of.is_released:
        assert decided == Wanted(None, RELEASED)
    else:
        assert decided.why is not LockWhy.ORDER


@given(worlds, unsures, st.sampled_from(FIGURES), st.sampled_from(FIGURES[:4]))
def test_where_figures_do_not_matter_no_figure_changes_anything(
    of: Known, unsure: WhenUnsure, database: Figure | None, azure: Figure | None
) -> None:
    if not goes_by_figures(of):
        assert should_be(replace(of, database=database, azure=azure), unsure) == should_be(of, unsure)


@given(worlds, unsures)
def test_nobody_is_locked_by_figures_who_is_inactive_or_has_no_budget(of: Known, unsure: WhenUnsure) -> None:
    if not (of.project.active and of.has_budget) and not (of.order and of.order.locks):
        assert should_be(of, unsure).why is None


@given(worlds, unsures)
def test_100_percent_of_any_figure_locks(of: Known, unsure: WhenUnsure) -> None:
    if goes_by_figures(of) and (full(of.azure) or full(of.database)):
        decided = should_be(of, unsure)
        assert decided.why in (LockWhy.OVER, LockWhy.AZURE, LockWhy.INCOMPLETE)
        assert not decided.stays


@given(worlds, unsures)
def test_whoever_was_not_locked_is_left_open_below_100_percent_and_after_three_days_whoever_was(
    of: Known, unsure: WhenUnsure
) -> None:
    if goes_by_figures(of) and of.database == BELOW and not full(of.azure):
        assert should_be(replace(of, held=None), unsure).why is None
        later = replace(of, today=of.today + timedelta(days=3))
        assert should_be(later, unsure).why is None


@given(worlds, unsures)
def test_while_nobody_knows_a_lock_stays_and_none_comes_without_a_hint(of: Known, unsure: WhenUnsure) -> None:
    if goes_by_figures(of) and of.database in (None, LACKING) and not full(of.azure):
        decided = should_be(of, unsure)
        by_figures = of.held is not None and of.held.why is not LockWhy.ORDER
        if by_figures:
            assert decided.why is not None
        elif decided.why is not None:
            assert (decided.why, of.hinted, unsure, of.azure) == (LockWhy.UNSURE, True, WhenUnsure.LOCK, None)


@given(worlds, unsures, helds)
def test_a_lock_of_another_period_currency_or_groups_counts_no_more(
    of: Known, unsure: WhenUnsure, other: HeldLock | None
) -> None:
    is_like = other is not None and (
        (other.period_start, other.currency or "CAD") == (of.start, "CAD") and other.counted in (None, of.counted)
    )
    if goes_by_figures(of) and of.database == BELOW and not full(of.azure) and not is_like:
        assert should_be(replace(of, held=other), unsure).why is None


@given(worlds, unsures)
def test_what_is_remembered_of_a_lock_is_what_counted_now_or_what_counted_then(of: Known, unsure: WhenUnsure) -> None:
    decided = should_be(of, unsure)
    if decided.why is None:
        return
    remembered = held_on(decided, of, None)
    if decided.stays:
        assert remembered == of.held
        return
    assert (remembered.period_start, remembered.counted) == (of.start, of.counted)
    if full(of.azure) or full(of.database):
        assert remembered.seen_on == of.today
    # Once it was sure, in this period and currency, an incomplete figure makes it no less so.
    assert remembered.why in (decided.why, of.held.why if of.held else None)


# --- one by one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "why", "reason"),
    [
        (known(project=project(active=False), database=FULL), None, INACTIVE),
        (known(budget=budget(None), database=None), None, NO_BUDGET),
        (known(period=None, azure=FULL), None, NO_BUDGET),
        (known(database=FULL, order=UNLOCK), None, RELEASED),
        (known(database=FULL, order=UNLOCK, budget=budget(number=2)), LockWhy.OVER, "1,000.00 of 1,000.00"),
        (known(database=BELOW, order=LOCK, budget=budget(None, 2), period=None), LockWhy.ORDER, ORDERED),
        (
            known(database=OVER, azure=FULL),
            LockWhy.OVER,
            "Azure's budget shows 1,000.00 of 1,000.00 CAD and the costs that",
        ),
        (known(database=BELOW, azure=FULL), LockWhy.AZURE, "Azure's budget shows 1,000.00 of 1,000.00 CAD"),
        (known(database=FULL_LACKING), LockWhy.INCOMPLETE, "1,000.00 of 1,000.00 CAD, incomplete: June"),
        (known(database=FULL_LACKING, azure=FULL), LockWhy.AZURE, "incomplete: June"),
        (known(database=BELOW, azure=BELOW), None, "999.99 of 1,000.00 CAD: that is below 100 %"),
        (known(database=LACKING, hinted=True), LockWhy.UNSURE, "nobody knows what was spent (the costs that were read"),
        (known(database=LACKING, azure=BELOW, hinted=True), None, "Azure's budget shows 999.99 of 1,000.00 CAD"),
    ],
)
def test_without_a_lock(of: Known, why: LockWhy | None, reason: str) -> None:
    decided = wanted(of)
    assert decided.why is why
    assert reason in decided.reason


RAISED = replace(BELOW, amount=Decimal(1200), spent=THOUSAND)


@pytest.mark.parametrize(
    ("lock", "now", "others", "reason"),
    [
        (held(), RAISED, {}, "the budget was raised: 1,000.00 of 1,200.00 CAD is used"),
        (held(), BELOW, {"period": NEXT_YEAR}, "a new period began on 2027-04-01"),
        (held(), replace(BELOW, currency="USD"), {"budget": budget(currency="USD")}, "its budget is in USD now"),
        (held(LockWhy.UNSURE), BELOW, {}, "costs that were missing when it was locked have been read"),
        (held(LockWhy.INCOMPLETE), BELOW, {}, "costs that were missing when it was locked have been read"),
        (held(), BELOW, {"today": TODAY + 2 * DAY}, "it has not been at 100 % for three days"),
        (held(), BELOW, {"counted": frozenset({"sub/rg-9"})}, "it has other resource groups now"),
        (held(LockWhy.AZURE, spent=Decimal(1100)), replace(RAISED, spent=Decimal(5)), {}, "the budget was raised"),
    ],
)
def test_why_a_lock_comes_off(lock: HeldLock, now: Figure, others: dict[str, object], reason: str) -> None:
    decided = wanted(known(now, held=lock, **others))
    assert decided.why is None
    assert decided.reason.startswith(reason)


@pytest.mark.parametrize(
    ("lock", "now", "reason"),
    [
        (held(), BELOW, "it was at 100 % on 2026-11-19, which counts for three days, and its budget was not raised"),
        (held(amount=Decimal(1200)), BELOW, "it was at 100 % on"),
        (held(spent=Decimal(1300)), RAISED, "Azure's budget showed 1,300.00 of 1,200.00 CAD on 2026-11-19"),
        (held(LockWhy.INCOMPLETE, spent=Decimal(1300)), RAISED, "Azure's budget showed 1,300.00 of 1,200.00 CAD"),
        (held(), LACKING, "nobody knows what was spent"),
        (held(), None, "nobody knows what was spent"),
        (held(LockWhy.UNSURE), None, "nobody knows what was spent"),
    ],
)
def test_why_a_lock_stays(lock: HeldLock, now: Figure | None, reason: str) -> None:
    decided = wanted(known(now, held=lock))
    assert (decided.why, decided.stays) == (lock.why, True)
    assert decided.reason.startswith(reason)


def test_a_lock_that_was_ordered_and_is_not_any_more_is_none() -> None:
    assert wanted(known(held=held(LockWhy.ORDER))).why is None
    assert wanted(known(BELOW, held=held(LockWhy.ORDER))).reason.endswith("that is below 100 %")


def test_a_sure_lock_stays_sure_though_the_next_figure_is_incomplete() -> None:
    of = known(FULL_LACKING, held=held())
    assert held_on(wanted(of), of, None).why is LockWhy.OVER
    anew = replace(of, held=held(currency="USD"))
    assert held_on(wanted(anew), anew, None).why is LockWhy.INCOMPLETE


@pytest.mark.parametrize(("spent", "is_full"), [("0", True), ("-0.01", True), ("-200", True), ("-200.01", False)])
def test_what_was_spent_too_much_before_has_to_be_made_up_for_first(spent: str, is_full: bool) -> None:
    figure = Figure(Decimal(spent), Decimal(-200), "CAD")
    assert figure.is_full is is_full
    assert str(figure) == f"{Decimal(spent):,.2f} of 0.00 CAD (200.00 CAD too much was spent before)"
