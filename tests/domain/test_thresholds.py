"""Who is told what: every row of the table in the design, and any story at all against a plain model of it."""

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.thresholds import Checked, Decision, decide, reached, still_told

LIST = (25, 50, 80, 100)
HUNDRED = Decimal(100)


def check(
    usage: str | int,
    told: set[int] | frozenset[int] = frozenset(),
    last: tuple[str | int, tuple[int, ...]] | None = None,
    thresholds: tuple[int, ...] = LIST,
    amount: Decimal = HUNDRED,
) -> Decision:
    checked = None if last is None else Checked(Decimal(last[0]), frozenset(last[1]))
    return decide(thresholds, frozenset(told), Decimal(usage), amount, checked)


# --- the table -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", LIST)
def test_usage_that_reaches_a_threshold_makes_one_alert(threshold: int) -> None:
    lower = {t for t in LIST if t < threshold}
    assert check(threshold, told=lower, last=(threshold - 1, LIST)) == Decision(alert=threshold)


@pytest.mark.parametrize("usage", ["24.9999999999", "49.9999999999", "79.9999999999", "99.9999999999", "99.995"])
def test_just_below_a_threshold_is_below_it(usage: str) -> None:
    lower = {t for t in LIST if t < Decimal(usage)}
    assert check(usage, told=lower, last=(0, LIST)) == Decision()


def test_usage_that_passes_several_at_once_makes_one_alert_for_the_highest_and_the_lower_ones_count_as_told() -> None:
    assert check(85, last=(10, LIST)) == Decision(alert=80, passed_over=(25, 50))
    assert check(1000) == Decision(alert=100, passed_over=(25, 50, 80))


def test_usage_that_falls_below_and_comes_back_makes_nothing_more() -> None:
    assert check(40, told={25, 50}, last=(55, LIST)) == Decision()
    assert check(55, told={25, 50}, last=(40, LIST)) == Decision()


def test_the_same_check_again_makes_nothing_more() -> None:
    assert check(85, told={25, 50, 80}, last=(85, LIST)) == Decision()


def test_a_raised_budget_arms_the_thresholds_above_the_new_percent_again() -> None:
    raised = Decimal("202.38")
    assert still_told({25, 50, 80}, Decimal(85), raised) == (25,)
    assert check(85, told={25}, last=(85, LIST), amount=raised) == Decision()
    assert check(102, told={25}, last=(85, LIST), amount=raised) == Decision(alert=50)


def test_a_lowered_budget_makes_one_alert_for_the_highest_that_was_not_told_yet() -> None:
    lowered = Decimal("49.41")
    assert still_told({25}, Decimal(42), lowered) == (25,)
    assert check(42, told={25}, last=(42, LIST), amount=lowered) == Decision(alert=80, passed_over=(50,))


def test_a_new_period_arms_all() -> None:
    assert check(30, told=set(), last=None) == Decision(alert=25)
    assert check(0, told=set(), last=None) == Decision()


@pytest.mark.parametrize("usage", ["-0.0000000001", "-5", "-1000000", "0"])
def test_credits_that_make_usage_negative_make_nothing(usage: str) -> None:
    assert check(usage) == Decision()
    assert check(usage, told={25}, last=(30, LIST)) == Decision()


def test_a_newly_listed_threshold_below_the_present_percent_is_not_mailed() -> None:
    assert check(55, told={25, 50}, last=(55, LIST), thresholds=(25, 40, 50, 80)) == Decision(not_mailed=(40,))
    assert check(70, told={25}, last=(70, (25, 100)), thresholds=(25, 60, 100)) == Decision(not_mailed=(60,))


# --- and what follows from it --------------------------------------------------------------------------------


def test_a_newly_listed_threshold_that_usage_has_yet_to_reach_is_mailed_like_any_other() -> None:
    assert check(55, told={25, 50}, last=(55, LIST), thresholds=(25, 50, 60)) == Decision()
    assert check(65, told={25, 50}, last=(55, (25, 50, 60)), thresholds=(25, 50, 60)) == Decision(alert=60)


def test_a_newly_listed_threshold_that_is_reached_that_very_night_is_mailed() -> None:
    assert check(65, told={25, 50}, last=(55, LIST), thresholds=(25, 50, 60)) == Decision(alert=60)


def test_at_the_first_check_of_a_period_every_threshold_of_the_list_counts_and_none_is_newly_listed() -> None:
    assert check(85, last=None, thresholds=(10, 20)) == Decision(alert=20, passed_over=(10,))


def test_a_lower_threshold_is_never_mailed_after_a_higher_one() -> None:
    restated_then_back = check(30, told={80}, last=(10, (80,)), thresholds=(25, 80))
    assert restated_then_back == Decision(passed_over=(25,))


def test_a_threshold_that_left_the_list_makes_nothing() -> None:
    assert check(55, last=(10, LIST), thresholds=(80,)) == Decision()


def test_a_threshold_that_was_told_left_the_list_and_is_listed_again_stays_told() -> None:
    assert check(55, told={25, 50}, last=(55, (25,)), thresholds=(25, 50)) == Decision()
    assert check(45, told={25, 50}, last=(55, (25,)), thresholds=(25, 50)) == Decision()


def test_thresholds_past_100_percent_are_thresholds_like_others() -> None:
    assert check("149.99", told={100}, last=(100, (100, 150)), thresholds=(100, 150)) == Decision()
    assert check("150", told={100}, last=(100, (100, 150)), thresholds=(100, 150)) == Decision(alert=150)


def test_without_an_amount_nothing_stays_told() -> None:
    assert still_told({25, 50}, Decimal(60), None) == ()


def test_a_budget_of_which_nothing_is_left_is_at_100_percent_and_not_above() -> None:
    nothing = Decimal(0)
    assert [threshold for threshold in (25, 100, 101, 200) if reached(threshold, nothing, nothing)] == [25, 100]
    assert [threshold for threshold in (25, 100, 101, 200) if reached(threshold, Decimal(5), nothing)] == [25, 100]
    assert not reached(25, Decimal(-1), nothing)
    assert still_told({50, 100}, Decimal(5), nothing) == (50, 100)


def test_how_each_threshold_came_to_count_as_told_is_written_down() -> None:
    decision = Decision(alert=80, passed_over=(25, 50), not_mailed=(40,))
    assert decision.outcomes == {80: "mailed", 25: "passed over", 50: "passed over", 40: "not mailed"}


def test_what_stays_told_is_decided_by_usage_at_the_moment_of_the_revision() -> None:
    assert still_told({25, 50, 80}, Decimal(50), HUNDRED) == (25, 50)
    assert still_told({25, 50, 80}, Decimal("49.9999999999"), HUNDRED) == (25,)
    assert still_told({25, 50, 80}, Decimal(-3), HUNDRED) == ()


UNITS = st.integers(-(10**32), 10**32)


def of(units: int) -> Decimal:
    """So many of the smallest amount that is stored. (Arithmetic would round past 28 digits.)"""
    return Decimal(f"{units}E-10")


@given(threshold=st.integers(1, 1000), usage=UNITS, amount=st.integers(1, 10**32))
def test_a_threshold_is_compared_exactly(threshold: int, usage: int, amount: int) -> None:
    assert reached(threshold, of(usage), of(amount)) == (Fraction(usage, amount) >= Fraction(threshold, 100))


@given(threshold=st.integers(1, 1000), percent=st.integers(1, 10**30))
def test_a_threshold_is_reached_by_its_own_share_and_not_by_the_smallest_bit_less(threshold: int, percent: int) -> None:
    assert reached(threshold, of(threshold * percent), of(100 * percent))
    assert not reached(threshold, of(threshold * percent - 1), of(100 * percent))


# --- any story -----------------------------------------------------------------------------------------------


@dataclass
class Project:
    """What the database keeps between checks, in the simplest form: this is the part under test at work."""

    amount: int
    listed: frozenset[int]
    usage: int = 0
    told: frozenset[int] = frozenset()
    last: Checked | None = None

    def check(self) -> int | None:
        decision = decide(self.listed, self.told, Decimal(self.usage), Decimal(self.amount), self.last)
        mailed = set() if decision.alert is None else {decision.alert}
        now_told = [*mailed, *decision.passed_over, *decision.not_mailed]
        assert list(decision.outcomes) == now_told
        assert len(set(now_told)) == len(now_told)
        assert not self.told & set(now_told)
        self.told |= frozenset(now_told)
        self.last = Checked(Decimal(self.usage), self.listed)
        return decision.alert

    def revise(self, amount: int) -> None:
        self.told = frozenset(still_told(self.told, Decimal(self.usage), Decimal(amount)))
        self.amount = amount

    def begin_period(self) -> None:
        self.usage, self.told, self.last = 0, frozenset(), None


@dataclass
class Person:
    """Somebody who follows one project with the table in hand, one threshold at a time, and mails by hand.

    crossed_off: thresholds that need no mail any more, since they were mailed or the table says so.
    """

    amount: int
    usage: int = 0
    crossed_off: set[int] = field(default_factory=set)
    knew: set[int] | None = None
    """the list as it was at the check before in this period"""
    was_at: int = 0
    """the usage at that check"""
    settled: set[int] = field(default_factory=set)
    """what was crossed off when that check was over"""

    def check(self, listed: frozenset[int]) -> int | None:
        if self.knew is not None:
            for threshold in listed:
                if threshold not in self.knew and self._is_past(threshold, self.was_at):
                    self.crossed_off.add(threshold)
        past_and_open = [t for t in range(1, 1001) if t in listed and self._is_past(t, self.usage)]
        past_and_open = [t for t in past_and_open if t not in self.crossed_off]
        highest_before = max(self.settled, default=0)
        self.crossed_off.update(past_and_open)
        self.knew, self.was_at = set(listed), self.usage
        self.settled = set(self.crossed_off)
        if past_and_open and past_and_open[-1] > highest_before:
            return past_and_open[-1]
        return None

    def revise(self, amount: int) -> None:
        self.amount = amount
        self.crossed_off = {t for t in self.crossed_off if self._is_past(t, self.usage)}
        self.settled = set(self.crossed_off)

    def begin_period(self) -> None:
        self.usage, self.was_at, self.knew = 0, 0, None
        self.crossed_off, self.settled = set(), set()

    def _is_past(self, threshold: int, usage: int) -> bool:
        return Fraction(usage, self.amount) >= Fraction(threshold, 100)


STEPS = st.one_of(
    st.tuples(st.just("spend"), st.integers(-60, 120)),
    st.tuples(st.just("check"), st.integers(1, 3)),
    st.tuples(st.just("revise"), st.integers(20, 400)),
    st.tuples(st.just("list"), st.frozensets(st.sampled_from([10, 25, 40, 50, 60, 80, 100, 150]), min_size=1)),
    st.tuples(st.just("period"), st.none()),
)


def follow(story: list[tuple[str, object]]) -> tuple[list[int | None], list[int | None], list[list[int]]]:
    """The story as decided, as the person decides it, and the mails for each revision and period by themselves."""
    project, person = Project(100, frozenset(LIST)), Person(100)
    decided, by_hand = [], []
    mails: list[list[int]] = [[]]
    for step, value in story:
        if step == "spend":
            project.usage += value
            person.usage += value
        elif step == "check":
            for _ in range(value):
                decided.append(project.check())
                by_hand.append(person.check(project.listed))
                mails[-1] += [decided[-1]] if decided[-1] is not None else []
        elif step == "revise":
            project.revise(value)
            person.revise(value)
            mails.append([])
        elif step == "list":
            project.listed = value
        else:
            project.begin_period()
            person.begin_period()
            mails.append([])
    return decided, by_hand, mails


@given(st.lists(STEPS, max_size=40))
def test_any_story_makes_the_mails_that_the_table_makes_by_hand(story: list[tuple[str, object]]) -> None:
    decided, by_hand, _ = follow(story)
    assert decided == by_hand


@given(st.lists(STEPS, max_size=60))
def test_no_threshold_is_mailed_twice_and_no_lower_after_a_higher_in_one_revision_and_period(
    story: list[tuple[str, object]],
) -> None:
    for mails in follow(story)[2]:
        assert mails == sorted(set(mails))


@given(st.lists(st.tuples(st.integers(-60, 120), st.integers(1, 4)), max_size=30))
def test_with_one_budget_and_one_list_exactly_the_peaks_are_mailed(nights: list[tuple[int, int]]) -> None:
    """Without revisions and new lists it is simple: whenever usage is past more than ever before, the highest."""
    project = Project(100, frozenset(LIST))
    peak = 0
    for spent, repeats in nights:
        project.usage += spent
        expected = max((t for t in LIST if peak < t <= project.usage), default=None)
        peak = max(peak, project.usage)
        assert [project.check() for _ in range(repeats)] == [expected, *[None] * (repeats - 1)]
