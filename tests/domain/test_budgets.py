"""A budget's percent."""

from datetime import date
from decimal import Decimal

import pytest

from shared.domain.budgets import Budget, BudgetTerms
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
