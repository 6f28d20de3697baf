"""What a cause explains of a difference, and what is left."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from shared.domain.periods import Period
from shared.domain.reconcile import Cause, Difference, Explained, come_later, overlap, rounding_in


def cad(amount: str) -> dict[str, Decimal]:
    return {"CAD": Decimal(amount)}


def test_a_cause_explains_as_much_as_it_comes_to_and_what_is_left_is_unexplained() -> None:
    found = Explained(cad("5"))
    found.explain(cad("3"), Cause.UNREAD, "why")
    assert found.left == cad("2")
    assert found.in_all("nothing") == [
        Difference(cad("3"), Cause.UNREAD, "why"),
        Difference(cad("2"), Cause.UNEXPLAINED, "nothing"),
    ]


def test_a_cause_of_more_than_the_difference_leaves_the_opposite_unexplained() -> None:
    found = Explained(cad("1"))
    found.explain(cad("3"), Cause.UNREAD, "why")
    assert found.in_all("nothing")[1] == Difference(cad("-2"), Cause.UNEXPLAINED, "nothing")


@pytest.mark.parametrize("amounts", [{}, cad("0"), {"USD": Decimal(3)}])
def test_nothing_is_explained_where_nothing_is_left(amounts: dict[str, Decimal]) -> None:
    found = Explained(cad("5"))
    found.explain(amounts, Cause.UNREAD, "why")
    assert (found.left, found.found) == (cad("5"), [])
    assert Explained({}).in_all("nothing") == []


@pytest.mark.parametrize(
    ("more", "stored", "explained"),
    [("2", "1", "2"), ("-2", "3", None), ("-2", "0", "-2"), ("2", "0", "2")],
)
def test_what_comes_later_is_more_than_is_stored_or_of_what_nothing_is(
    more: str, stored: str, explained: str | None
) -> None:
    assert come_later(cad(more), cad(stored)) == (cad(explained) if explained else {})


def test_rounding_explains_half_of_the_last_place_for_each_charge_in_its_currency() -> None:
    more = {"CAD": Decimal("1e-10"), "USD": Decimal("-1.1e-10"), "EUR": Decimal("1e-30")}
    stored = {"CAD": (Decimal(1), 2), "USD": (Decimal(1), 2)}
    assert rounding_in(more, stored) == {"CAD": Decimal("1e-10")}


def test_days_of_two_periods() -> None:
    first = Period(date(2026, 9, 1), date(2026, 9, 10))
    assert overlap(first, Period(date(2026, 9, 5), date(2026, 9, 20))) == Period(date(2026, 9, 5), date(2026, 9, 10))
    assert overlap(first, Period(date(2026, 9, 10), date(2026, 9, 20))) is None
