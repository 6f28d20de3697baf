"""What a budget lets be spent, and a budget's percent."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.budgets import Budget, BudgetTerms, Rollover, undone
from shared.domain.periods import PeriodKind, PeriodRule

RULE = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))


def budget(amount: str | None) -> Budget:
    return Budget(1, 1, BudgetTerms(None if amount is None else Decimal(amount), "CAD", RULE))


@pytest.mark.parametrize("amount", [None, "0", "0.00", "0E-10"])
def test_a_budget_of_nothing_has_no_percent(amount: str | None) -> None:
    assert budget(amount).percent(Decimal(5)) is None
    assert budget(amount).percent(Decimal(0)) is None


@pytest.mark.parametrize(
    ("usage", "percent"),
    [("0", "0"), ("-5", "0"), ("50", "25"), ("199.99999999", "99.999999"), ("200", "100"), ("500", "250")],
)
def test_a_percent_is_of_the_revisions_amount_and_cut_off_never_rounded_up(usage: str, percent: str) -> None:
    assert budget("200").percent(Decimal(usage)) == Decimal(percent)


def carrying(carried: str, amount: str | None = "200", stopped: bool = False) -> Budget:
    terms = budget(amount).terms
    return Budget(1, 1, terms, Decimal(carried), stopped)


@pytest.mark.parametrize(
    ("carried", "amount"), [("0", "200"), ("50.5", "250.5"), ("-150", "50"), ("-200", "0"), ("-700", "0")]
)
def test_what_was_carried_adds_to_the_amount_which_is_never_below_nothing(carried: str, amount: str) -> None:
    assert carrying(carried).amount == Decimal(amount)


def test_a_stopped_budget_is_none_whatever_was_carried() -> None:
    assert carrying("50", stopped=True).amount is None
    assert carrying("50", stopped=True).percent(Decimal(5)) is None


@pytest.mark.parametrize("amount", [None, "0"])
def test_what_was_carried_makes_no_budget_where_there_is_none(amount: str | None) -> None:
    assert carrying("50", amount).amount is None


@pytest.mark.parametrize(
    ("carried", "usage", "percent"),
    [("-200", "0", 100), ("-200", "5", 100), ("-200", "-0.01", 0), ("-250", "-50", 100), ("-250", "-50.01", 0)],
)
def test_a_total_that_is_used_up_is_at_100_percent_until_credits_have_made_up_for_it(
    carried: str, usage: str, percent: int
) -> None:
    assert carrying(carried).percent(Decimal(usage)) == percent


def test_a_percent_is_of_all_that_may_be_spent() -> None:
    assert carrying("200").percent(Decimal(100)) == 25


# --- what new terms take back of revisions by hand ---

LOADED = budget("1000").terms
RAISED = replace(LOADED, amount=Decimal(3000))
CARRYING = replace(RAISED, rollover=Rollover.CARRY_OVER)
LOWERED = replace(CARRYING, amount=Decimal(2000))


@pytest.mark.parametrize(
    ("history", "terms", "places"),
    [
        ([LOADED], RAISED, []),
        ([LOADED, RAISED], LOADED, [1]),
        ([LOADED, RAISED], RAISED, []),
        # Another amount than both: whoever wrote it may not know of the one by hand.
        ([LOADED, RAISED], replace(LOADED, amount=Decimal(1500)), [1]),
        ([LOADED, RAISED], replace(RAISED, thresholds=(60,)), []),
        ([LOADED, RAISED, CARRYING], LOADED, [1, 2]),
        ([LOADED, RAISED, CARRYING], RAISED, [2]),
        ([LOADED, RAISED, CARRYING], replace(LOADED, rollover=Rollover.CARRY_OVER), [1]),
        # An amount that was changed by hand itself since is not taken back any more.
        ([LOADED, RAISED, CARRYING, LOWERED], LOADED, [2, 3]),
        ([LOADED, RAISED, LOADED], LOADED, []),
    ],
)
def test_new_terms_undo_the_last_revisions_of_what_they_change(
    history: list[BudgetTerms], terms: BudgetTerms, places: list[int]
) -> None:
    assert undone(history, terms) == places


FIELDS = {"amount": [Decimal(1), Decimal(2), None], "rollover": list(Rollover), "thresholds": [None, (50,), (60,)]}
CHANGES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in FIELDS.items()})


@given(st.lists(CHANGES, max_size=6), CHANGES)
def test_nothing_that_was_set_since_is_changed_without_an_undone_revision(
    by_hand: list[dict[str, Any]], change: dict[str, Any]
) -> None:
    history = [LOADED]
    for each in by_hand:
        history.append(replace(history[-1], **each))
    terms = replace(history[-1], **change)
    set_since = {
        name for before, after in pairwise(history) for name in FIELDS if getattr(before, name) != getattr(after, name)
    }
    changed = {name for name in FIELDS if getattr(history[-1], name) != getattr(terms, name)}
    assert bool(undone(history, terms)) == bool(set_since & changed)
