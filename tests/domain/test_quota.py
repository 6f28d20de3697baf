"""Paced messages never ask for more than their share, in any stretch of time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.quota import Quota, delays

# What Azure lets through, by length of the stretch in seconds.
AZURE = {10: 12, 60: 60, 3600: 600}
# Waits are sums of floats; a hair more or less is not what is tried here.
HAIR = 1e-6

# The part of it that goes in one moment.
AT_ONCE = 10

UNITS = st.lists(st.integers(1, 20), max_size=120)
SMALL = st.lists(st.integers(1, 3), max_size=400)
SHARES = st.tuples(st.integers(1, 60), st.integers(1, 600))


def share(per_minute: int, per_hour: int) -> Quota:
    """A share of Azure's quota, as its source says it."""
    return Quota(per_minute, per_hour, 10.0, max(AZURE[10], per_minute // 5), min(AT_ONCE, per_minute, per_hour))


def most_in(seconds: float, begun: list[float], units: list[int]) -> int:
    """The most units begun in any stretch of so many seconds: each stretch that a message opens is counted."""
    return max(
        (
            sum(wanted for at, wanted in zip(begun, units, strict=True) if first <= at < first + seconds - HAIR)
            for first in begun
        ),
        default=0,
    )


@given(units=UNITS, shares=SHARES)
def test_no_stretch_gets_more_than_its_share_but_for_a_message_that_is_larger_by_itself(
    units: list[int], shares: tuple[int, int]
) -> None:
    per_minute, per_hour = shares
    waits = delays(units, share(per_minute, per_hour))
    largest = max(units, default=0)
    assert most_in(10, waits, units) <= max(AZURE[10], largest)
    assert most_in(60, waits, units) <= max(per_minute, largest)
    assert most_in(3600, waits, units) <= max(per_hour, largest)


@given(units=UNITS, shares=st.tuples(st.integers(1, 1000), st.integers(1, 10_000)))
def test_a_larger_quota_is_kept_in_the_minute_and_the_hour(units: list[int], shares: tuple[int, int]) -> None:
    waits = delays(units, share(*shares))
    largest = max(units, default=0)
    assert most_in(60, waits, units) <= max(shares[0], largest)
    assert most_in(3600, waits, units) <= max(shares[1], largest)


@given(units=UNITS, shares=SHARES)
def test_messages_keep_their_order_and_each_has_its_wait(units: list[int], shares: tuple[int, int]) -> None:
    waits = delays(units, share(*shares))
    assert len(waits) == len(units)
    assert all(earlier <= later for earlier, later in pairwise(waits))
    assert all(wait >= 0 for wait in waits)


@given(units=UNITS, shares=SHARES)
def test_what_fits_into_the_shortest_window_goes_at_once(units: list[int], shares: tuple[int, int]) -> None:
    waits = delays(units, share(*shares))
    used = 0
    for wait, wanted in zip(waits, units, strict=True):
        used += wanted
        if used > min(AT_ONCE, *shares):
            break
        assert wait == 0
    assert not waits or waits[0] == 0


@given(units=UNITS, shares=SHARES)
def test_no_message_waits_without_need(units: list[int], shares: tuple[int, int]) -> None:
    """A moment earlier, each would be ahead of the even pace, or some stretch would get more than its share."""
    per_minute, per_hour = shares
    waits = delays(units, share(per_minute, per_hour))
    for index, (wait, wanted) in enumerate(zip(waits, units, strict=True)):
        at_once = sum(units[:index]) * 60 / per_minute if wait and not waits[index - 1] else 0
        even = max(at_once, waits[index - 1] + units[index - 1] * 60 / per_minute) if index else 0
        moment = wait - 0.001
        fits = all(
            wanted + sum(units[i] for i in range(index) if waits[i] > moment - seconds) <= most
            for seconds, most in ((10, AZURE[10]), (60, per_minute), (3600, per_hour))
        )
        after_a_large_one = any(units[i] > min(AZURE[10], *shares) for i in range(index + 1))
        assert wait <= even + HAIR or not fits or after_a_large_one


@given(
    units=SMALL,
    late=st.lists(st.floats(0, 1.5), min_size=400, max_size=400),
)
def test_messages_that_begin_up_to_a_second_and_a_half_late_still_keep_azures_quota(
    units: list[int], late: list[float]
) -> None:
    waits = delays(units, share(50, 500))
    begun = [wait + delay for wait, delay in zip(waits, late, strict=False)]
    for seconds, most in AZURE.items():
        assert most_in(seconds, begun, units) <= most


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("slow_ones", ["first", "every other", "last"])
def test_azures_quota_is_kept_for_a_thousand_units_with_the_worst_kinds_of_lateness(size: int, slow_ones: str) -> None:
    units = [size] * (1000 // size)
    is_late = {
        "first": lambda index: index < 10,
        "every other": lambda index: index % 2 == 0,
        "last": lambda index: index > len(units) - 10,
    }[slow_ones]
    begun = [wait + 1.5 * is_late(index) for index, wait in enumerate(delays(units, share(50, 500)))]
    for seconds, most in AZURE.items():
        assert most_in(seconds, begun, units) <= most


def test_a_night_of_twenty_subscriptions_is_asked_for_within_about_a_minute() -> None:
    waits = delays([2] * 20, share(50, 500))
    assert waits[:5] == [0.0] * 5
    assert waits[5:] == pytest.approx([12 + 2.4 * index for index in range(15)])


def test_past_the_hours_share_the_rest_waits_for_the_next_hour() -> None:
    waits = delays([1] * 1001, share(50, 500))
    assert waits[499] == pytest.approx(499 * 1.2)
    assert waits[500] == pytest.approx(3600)
    assert 7200 - HAIR <= waits[1000] <= 7200 + 12


# --- when something is on its way already --------------------------------------------------------------------


@given(
    before=UNITS,
    gone=st.floats(0, 4000),
    done=st.sets(st.integers(0, 119)),
    units=UNITS,
    shares=SHARES,
)
def test_a_plan_made_while_another_is_on_its_way_keeps_every_share_together_with_it(
    before: list[int], gone: float, done: set[int], units: list[int], shares: tuple[int, int]
) -> None:
    per_minute, per_hour = shares
    quota = share(per_minute, per_hour)
    # Some of the first plan is over, or was never sent, when the second is made.
    first = [(at - gone, wanted) for at, wanted in zip(delays(before, quota), before, strict=True)]
    taken = [each for index, each in enumerate(first) if index not in done and each[0] > -3600]
    waits = delays(units, quota, taken)
    begun = [*(at for at, _ in taken), *waits]
    both = [*(wanted for _, wanted in taken), *units]
    largest = max(both, default=0)
    assert all(earlier <= later for earlier, later in pairwise(waits))
    assert most_in(10, begun, both) <= max(AZURE[10], largest)
    assert most_in(60, begun, both) <= max(per_minute, largest)
    assert most_in(3600, begun, both) <= max(per_hour, largest)


def test_what_was_left_unsent_of_a_plan_goes_on_where_it_was() -> None:
    quota = share(50, 500)
    whole = delays([2] * 100, quota)
    sent = [(at - 7.0, 2) for at in whole[:60]]
    assert delays([2] * 40, quota, sent) == pytest.approx([at - 7.0 for at in whole[60:]])


def test_a_plan_during_another_follows_it_and_the_hour_s_share_is_kept() -> None:
    quota = share(50, 500)
    waits = delays([2] * 250, quota, [(at, 2) for at in delays([2] * 250, quota)])
    assert waits[0] == pytest.approx(3600)
    assert waits[-1] <= 3600 + 250 * 2.4


def test_one_that_waits_long_for_its_turn_keeps_nobody_waiting() -> None:
    assert delays([2] * 20, share(50, 500), [(1800.0, 2), (7200.0, 2)]) == delays([2] * 20, share(50, 500))


def test_what_was_asked_for_a_moment_ago_counts() -> None:
    (wait,) = delays([2], share(50, 500), [(-5.0, 12)])
    assert wait == pytest.approx(5)
    assert delays([2], share(50, 500), [(-3600.0, 500)]) == [0.0]


def test_no_messages_have_no_waits() -> None:
    assert delays([], share(50, 500)) == []


def test_a_message_that_is_larger_than_any_share_still_goes() -> None:
    assert delays([14], share(10, 10)) == [0.0]
    assert delays([1, 14, 1], share(10, 10)) == pytest.approx([0, 3600, 7200])
