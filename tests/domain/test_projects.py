"""Who is never locked."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from shared.domain.budgets import BudgetTerms
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, ProjectEntry


def test_a_project_is_locked_at_100_percent_unless_it_says_never() -> None:
    terms = BudgetTerms(Decimal(1000), "CAD", PeriodRule(PeriodKind.MONTHLY, date(2026, 11, 1)))
    entry = ProjectEntry(11, "DIE1", "Project", "sub", ("rg",), terms, ("anna@example.com",), "en", active=True)
    assert entry.lock is LockPolicy.AUTO
    assert [LockPolicy(word) for word in ("auto", "never")] == [LockPolicy.AUTO, LockPolicy.NEVER]
    with pytest.raises(ValueError, match="sometimes"):
        LockPolicy("sometimes")
