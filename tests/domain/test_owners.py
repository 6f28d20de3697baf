"""Whose a scope's charges are, day by day."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.owners import Ownership, handed_over

DAY = timedelta(days=1)
FIRST = date(2026, 11, 1)


def after(*changes: tuple[int, int | None]) -> list[Ownership]:
    """The ownerships after these changes, each a day of November and the new owner."""
    owned: list[Ownership] = []
    for day, owner in changes:
        owned = handed_over(owned, owner, date(2026, 11, day))
    return owned


def test_the_first_owner_has_all_days():
    assert after((5, 1)) == [Ownership(1)]


def test_the_day_of_the_change_is_still_the_former_owners():
    sixth = date(2026, 11, 6)
    assert after((1, 1), (5, 2)) == [Ownership(1, None, sixth), Ownership(2, sixth)]


def test_days_that_nobody_had_go_to_whoever_takes_it_next():
    sixth = date(2026, 11, 6)
    assert after((1, 1), (5, None), (9, 2)) == [Ownership(1, None, sixth), Ownership(2, sixth)]
    assert after((1, 1), (5, None), (9, 1)) == [Ownership(1)]


def test_what_is_given_and_taken_on_a_day_was_never_had():
    assert after((1, 1), (5, 2), (5, 1)) == [Ownership(1)]
    assert after((1, 1), (5, 2), (5, 3)) == [Ownership(1, None, date(2026, 11, 6)), Ownership(3, date(2026, 11, 6))]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 1, 2, 3])), max_size=12))
def test_every_day_is_one_projects_at_most_and_a_day_that_is_over_stays_whose_it_was(
    changes: list[tuple[int, int | None]],
):
    today, owned, owner, at_midnight = FIRST, list[Ownership](), None, None
    ended: dict[date, int] = {}
    for gap, new_owner in changes:
        for _ in range(gap):
            if at_midnight is not None:
                ended[today] = at_midnight
            today, at_midnight = today + DAY, owner
        owned = handed_over(owned, new_owner, today) if new_owner != owner else owned
        owner = new_owner
        for day, whose in ended.items():
            assert [each.project_id for each in owned if holds(each, day)] == [whose]
        assert [each.project_id for each in owned if each.owned_until is None] == ([owner] if owner else [])


def holds(each: Ownership, day: date) -> bool:
    return (each.owned_from or date.min) <= day < (each.owned_until or date.max)
