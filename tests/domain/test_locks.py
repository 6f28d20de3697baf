from datetime import date
from decimal import Decimal
from itertools import product

import pytest

from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.locks import (
    Figure,
    HeldLock,
    LockMode,
    LockRules,
    Outcome,
    WhenUnsure,
    decide_lock,
    decide_unlock,
)
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project

THOUSAND = Decimal(1000)
BELOW, FULL, OVER = (Figure(Decimal(spent), THOUSAND, "CAD") for spent in ("999.9999999999", "1000", "1500"))
FIGURES = {"unknown": None, "below": BELOW, "full": FULL, "over": OVER}

RULE = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))
THIS_YEAR, NEXT_YEAR = Period(date(2026, 4, 1), date(2027, 4, 1)), Period(date(2027, 4, 1), date(2028, 4, 1))

ENFORCE = LockRules(LockMode.ENFORCE, WhenUnsure.LOCK)


def project(lock: LockPolicy = LockPolicy.AUTO, active: bool = True) -> Project:
    return Project(11, "DIE1", "Die", "en", (), active, lock)


def expected(
    mode: LockMode, policy: LockPolicy, azure: str, database: str, unsure: WhenUnsure, ordered: bool, released: bool
) -> Outcome:
    """The issue's sentences, one after the other."""
    if policy is LockPolicy.NEVER or mode is LockMode.OFF:
        return Outcome.REFUSED
    acts = Outcome.LOCKED if mode is LockMode.ENFORCE else Outcome.WOULD_LOCK
    if ordered:
        return acts
    if released:
        return Outcome.REFUSED
    if {azure, database} & {"full", "over"}:
        return acts
    if "below" in {azure, database}:
        return Outcome.REFUSED
    return acts if unsure is WhenUnsure.LOCK else Outcome.REFUSED


EVERY = list(product(LockMode, LockPolicy, FIGURES, FIGURES, WhenUnsure, (False, True), (False, True)))


def test_every_combination_of_mode_figures_exemption_order_and_release_is_decided_as_the_rules_say() -> None:
    assert len(EVERY) == 3 * 2 * 4 * 4 * 2 * 2 * 2
    for mode, policy, azure, database, unsure, ordered, released in EVERY:
        rules, figures = LockRules(mode, unsure), (FIGURES[azure], FIGURES[database])
        decided = decide_lock(rules, project(lock=policy), *figures, ordered=ordered, released=released)
        said = (mode, policy, azure, database, unsure, ordered, released, decided)
        assert decided.outcome is expected(mode, policy, azure, database, unsure, ordered, released), said
        assert decided.reason, said


@pytest.mark.parametrize(
    ("active", "has_budget", "reason"),
    [
        (False, True, "the project is not active"),
        (True, False, "it has no budget now"),
        (False, False, "the project is not active"),
    ],
)
@pytest.mark.parametrize("figure", [FULL, None])
def test_without_an_order_nobody_locks_an_inactive_project_or_one_without_a_budget(
    active: bool, has_budget: bool, reason: str, figure: Figure | None
) -> None:
    decided = decide_lock(ENFORCE, project(active=active), figure, figure, has_budget)
    assert (decided.outcome, decided.reason) == (Outcome.REFUSED, reason)
    assert decide_lock(ENFORCE, project(active=active), figure, figure, has_budget, ordered=True).outcome is (
        Outcome.LOCKED
    )


def test_an_inactive_project_below_100_percent_is_refused_for_what_it_spent() -> None:
    assert "below 100 %" in decide_lock(ENFORCE, project(active=False), BELOW, BELOW).reason


@pytest.mark.parametrize("spent", ["999.99", "999.9999999999"])
def test_a_hair_below_100_percent_is_not_100_percent(spent: str) -> None:
    almost = Figure(Decimal(spent), THOUSAND, "CAD")
    decided = decide_lock(ENFORCE, project(), almost, almost)
    assert decided.outcome is Outcome.REFUSED
    assert spent in decided.reason


def test_the_reason_says_who_shows_how_much() -> None:
    decided = decide_lock(ENFORCE, project(), OVER, FULL)
    assert decided.reason == "Azure's budget shows 1500 of 1000 CAD and the costs that were read show 1000 of 1000 CAD"


def test_a_budget_with_nothing_left_is_full_from_its_first_day() -> None:
    nothing_left = Figure(Decimal(0), Decimal(0), "CAD")
    assert nothing_left.is_full


# --- unlocking -----------------------------------------------------------------------------------------------


def budget(amount: str | None, number: int = 1, carried: str = "0", stopped: bool = False) -> Budget:
    terms = BudgetTerms(None if amount is None else Decimal(amount), "CAD", RULE)
    return Budget(number, number, terms, Decimal(carried), stopped)


def held(amount: str = "1000", spent: str = "1000", by_hand: bool = False) -> HeldLock:
    return HeldLock(by_hand, 1, THIS_YEAR.start, Decimal(amount), Decimal(spent))


@pytest.mark.parametrize(
    ("now", "period", "usage", "outcome"),
    [
        (budget("1000"), THIS_YEAR, "1000", Outcome.REFUSED),
        (budget("1000"), THIS_YEAR, "900", Outcome.REFUSED),  # restated costs are no reason
        (budget("1200", 2), THIS_YEAR, "1000", Outcome.UNLOCKED),
        (budget("1200", 2), THIS_YEAR, "1200", Outcome.REFUSED),
        (budget("1200", 2), THIS_YEAR, "1300", Outcome.REFUSED),
        (budget("800", 2), THIS_YEAR, "700", Outcome.REFUSED),  # lowered
        (budget("1000"), NEXT_YEAR, "0", Outcome.UNLOCKED),
        (budget("1000"), NEXT_YEAR, "1000", Outcome.REFUSED),
        (budget("1000", carried="-1000"), NEXT_YEAR, "0", Outcome.REFUSED),  # drawn down to nothing
        (budget("1000", carried="300"), THIS_YEAR, "1000", Outcome.UNLOCKED),  # more was carried than it seemed
        (budget("1000", stopped=True), NEXT_YEAR, "0", Outcome.REFUSED),
        (budget(None, 2), THIS_YEAR, "1000", Outcome.REFUSED),
        (budget("1200", 2), None, "1000", Outcome.REFUSED),
    ],
)
def test_a_lock_comes_off_by_itself_only_with_money_to_spend_again(
    now: Budget, period: Period | None, usage: str, outcome: Outcome
) -> None:
    decided = decide_unlock(LockMode.ENFORCE, held(), now, period, Decimal(usage))
    assert decided.outcome is outcome, decided
    assert decided.reason


@pytest.mark.parametrize("mode", LockMode)
def test_while_nobody_knows_all_that_was_spent_a_lock_comes_off_by_order_only(mode: LockMode) -> None:
    raised = budget("1200", 2)
    unknown = decide_unlock(mode, held(), raised, THIS_YEAR, Decimal(5), unknown="no costs were read")
    assert unknown.outcome is Outcome.REFUSED
    assert ("nobody knows what it has spent" in unknown.reason) is (mode is not LockMode.OFF)
    ordered = decide_unlock(mode, held(), raised, THIS_YEAR, Decimal(5), unknown="no costs were read", ordered=True)
    assert ordered.outcome is Outcome.UNLOCKED


def test_what_azure_showed_when_it_was_locked_counts_for_the_rest_of_the_period() -> None:
    locked_at_1100 = held(spent="1100")
    assert decide_unlock(LockMode.ENFORCE, locked_at_1100, budget("1050", 2), THIS_YEAR, Decimal(980)).outcome is (
        Outcome.REFUSED
    )
    assert decide_unlock(LockMode.ENFORCE, locked_at_1100, budget("1050", 2), NEXT_YEAR, Decimal(0)).outcome is (
        Outcome.UNLOCKED
    )


def test_a_lock_by_hand_comes_off_by_hand_only() -> None:
    raised = budget("5000", 2)
    assert decide_unlock(LockMode.ENFORCE, held(by_hand=True), raised, NEXT_YEAR, Decimal(0)).outcome is Outcome.REFUSED
    assert decide_unlock(LockMode.ENFORCE, held(by_hand=True), raised, NEXT_YEAR, Decimal(0), ordered=True).outcome is (
        Outcome.UNLOCKED
    )


@pytest.mark.parametrize("mode", LockMode)
def test_an_order_to_unlock_counts_in_every_mode(mode: LockMode) -> None:
    assert decide_unlock(mode, held(), budget("1000"), THIS_YEAR, Decimal(2000), ordered=True).outcome is (
        Outcome.UNLOCKED
    )


def test_by_itself_a_lock_comes_off_in_enforce_only() -> None:
    outcomes = {
        mode: decide_unlock(mode, held(), budget("2000", 2), THIS_YEAR, Decimal(1)).outcome for mode in LockMode
    }
    assert outcomes == {
        LockMode.OFF: Outcome.REFUSED,
        LockMode.DRY_RUN: Outcome.WOULD_UNLOCK,
        LockMode.ENFORCE: Outcome.UNLOCKED,
    }


def test_a_project_that_is_not_locked_has_nothing_to_be_taken_off() -> None:
    decided = decide_unlock(LockMode.ENFORCE, None, budget("2000"), THIS_YEAR, Decimal(1))
    assert decided.outcome is Outcome.REFUSED
    assert decided.reason == "the project is not locked"


def test_a_lock_that_was_put_on_without_a_budget_comes_off_with_one() -> None:
    unsure = HeldLock(by_hand=False, budget_number=1, period_start=THIS_YEAR.start)
    assert decide_unlock(LockMode.ENFORCE, unsure, budget("100", 2), THIS_YEAR, Decimal(5)).outcome is Outcome.UNLOCKED
