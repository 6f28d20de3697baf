"""What rules give of charges that no project owns, to the last digit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.allocation import (
    Method,
    Pool,
    Rule,
    Share,
    Split,
    allocated_by_day,
    allocated_in,
    allocating,
    clash,
    in_force,
    split,
    summed,
    total,
    with_days,
)
from shared.domain.money import STORED_PLACES
from shared.domain.periods import Period

SUB = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))


def november(day: int) -> date:
    return date(2026, 11, day)


def fixed(*percents: str, first: date = NOVEMBER.start, last: date | None = None, **changes: object) -> Rule:
    shares = tuple(Share(number, Decimal(percent)) for number, percent in enumerate(percents, start=1))
    return replace(Rule("hub", Pool("azure", SUB), Method.FIXED, first, last, shares), **changes)


def proportional(*project_ids: int) -> Rule:
    return replace(fixed(), method=Method.PROPORTIONAL, shares=tuple(map(Share, project_ids)))


def given_by(rule: Rule, amount: str, **own: str) -> dict[int, str]:
    found = split(rule, Decimal(amount), {int(name[1:]): Decimal(cost) for name, cost in own.items()})
    return {project_id: f"{part.normalize():f}" for project_id, part in found.items()}


# --- shares ---


def test_fixed_shares_are_percents_and_the_rest_stays():
    assert given_by(fixed("50", "30"), "100") == {1: "50", 2: "30"}


def test_the_last_share_takes_what_rounding_leaves():
    assert given_by(fixed("33.3333333333", "33.3333333333", "33.3333333334"), "0.0000000001") == {3: "0.0000000001"}
    assert given_by(fixed("50", "50"), "0.0000000003") == {1: "0.0000000002", 2: "0.0000000001"}


def test_proportional_shares_go_by_the_projects_own_charges():
    assert given_by(proportional(1, 2), "100", p1="10", p2="30") == {1: "25", 2: "75"}
    # Whoever is not named has no share, and does not lessen those of others; none named: all have one.
    assert given_by(proportional(1, 2), "100", p1="10", p2="30", p3="60") == {1: "25", 2: "75"}
    assert given_by(proportional(), "100", p1="10", p2="30", p3="60") == {1: "10", 2: "30", 3: "60"}


def test_without_charges_to_be_proportional_to_nothing_is_given():
    assert given_by(proportional(1, 2), "100") == {}
    assert given_by(proportional(1, 2), "100", p1="0", p2="-5", p3="7") == {}


def test_who_has_got_back_more_than_they_spent_has_no_share():
    assert given_by(proportional(), "100", p1="-50", p2="1") == {2: "100"}


def test_credits_are_given_by_the_same_shares():
    assert given_by(fixed("50", "30"), "-100") == {1: "-50", 2: "-30"}
    assert given_by(proportional(), "-100", p1="1", p2="3") == {1: "-25", 2: "-75"}


def test_of_proportional_shares_the_largest_is_the_last():
    assert given_by(proportional(), "1", p1="2", p2="1", p3="3.6") == {
        1: "0.303030303",
        2: "0.1515151515",
        3: "0.5454545455",
    }


AMOUNTS = st.integers(-(10**19), 10**19).map(lambda units: units * STORED_PLACES)
PERCENTS = st.lists(st.integers(1, 10**12), min_size=1, max_size=30)


@given(AMOUNTS, PERCENTS, st.booleans())
def test_fixed_shares_and_the_rest_are_what_was_split(amount: Decimal, parts: list[int], whole: bool):
    units = [part * 10**12 // sum(parts) or 1 for part in parts]
    if whole:
        units[-1] += 10**12 - sum(units)
    percents = [Decimal(each).scaleb(-10) for each in units if each > 0]
    rule = fixed(*map(str, percents))
    made = Split(rule, NOVEMBER.start, "CAD", amount, split(rule, amount, {}))
    assert total([*made.given.values(), made.rest]) == amount
    for project_id, percent in enumerate(percents[:-1], start=1):
        exact = amount * percent / 100
        assert abs(made.given.get(project_id, Decimal(0)) - exact) <= STORED_PLACES / 2
    together = amount * sum(percents) / 100
    assert abs(total(made.given.values()) - together) <= STORED_PLACES / 2
    if sum(percents) == 100:
        assert made.rest == 0


@given(AMOUNTS, st.dictionaries(st.integers(1, 40), AMOUNTS, max_size=40))
def test_proportional_shares_are_all_of_it_or_nothing(amount: Decimal, own: dict[int, Decimal]):
    made = Split(proportional(), NOVEMBER.start, "CAD", amount, split(proportional(), amount, own))
    assert total([*made.given.values(), made.rest]) == amount
    spent = {project_id: cost for project_id, cost in own.items() if cost > 0}
    assert made.rest == (0 if spent else amount)
    assert made.given.keys() <= spent.keys()
    for project_id, part in made.given.items():
        assert abs(part - amount * spent[project_id] / sum(spent.values())) <= STORED_PLACES * len(spent)


# --- versions ---


def days_of(*versions: Rule) -> list[tuple[date, date | None, str]]:
    return [(each.first, each.until, str(each.rule.shares[0].percent)) for each in in_force(versions)]


def test_a_new_version_counts_from_its_first_day_on_and_no_day_before():
    old, new = fixed("10"), fixed("20", first=november(11))
    assert days_of(old, new) == [(november(1), november(11), "10"), (november(11), None, "20")]
    assert days_of(old, new, fixed("30", first=november(1))) == [(november(1), None, "30")]


def test_what_a_newer_version_has_decided_an_older_one_does_not():
    ended = fixed("20", first=november(11), last=november(15))
    assert days_of(fixed("10"), ended) == [
        (november(1), november(11), "10"),
        (november(11), november(16), "20"),
    ]


def test_an_end_keeps_the_days_up_to_it():
    rule = fixed("10")
    assert days_of(rule, rule.ended(november(9))) == [(november(1), november(10), "10")]
    assert rule.ended(november(9)).is_end
    assert not rule.is_end
    assert days_of(rule, rule.ended(date(2026, 10, 31))) == []


@given(st.lists(st.tuples(st.integers(1, 28), st.one_of(st.none(), st.integers(1, 28))), max_size=6))
def test_each_day_has_the_newest_version_that_begins_by_then(spans: list[tuple[int, int | None]]):
    versions = [
        fixed(str(number), first=november(first), last=last and november(last))
        for number, (first, last) in enumerate(spans, start=1)
    ]
    for day in range(1, 29):
        begun = [each for each in versions if each.first_day <= november(day)]
        latest = begun[-1] if begun else None
        expected = latest if latest and (latest.last_day is None or november(day) <= latest.last_day) else None
        counting = [each.rule for each in in_force(versions) if november(day) in each]
        assert counting == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("other", "day"),
    [
        (fixed("10", name="other"), november(5)),
        (fixed("10", name="other", first=november(20)), november(20)),
        (fixed("10", name="other", pool=Pool("azure", SUB.upper()), last=november(5)), november(5)),
        (fixed("10", name="other", last=november(4)), None),
        (fixed("10", name="other", pool=Pool("azure", SUB, "net")), None),
        (fixed("10", name="other", pool=Pool("aws", SUB)), None),
    ],
)
def test_two_rules_never_split_the_same_on_a_day(other: Rule, day: date | None):
    found = clash([[fixed("50", first=november(5))], [other]])
    assert (found and found[2]) == day


def test_rules_of_a_group_clash_however_it_is_spelled():
    one, other = (fixed("10", name=name, pool=Pool("azure", SUB, name)) for name in ("NET", "net "))
    assert clash([[one], [replace(other, name="other")]]) is not None
    assert clash([[one, replace(one, first_day=november(9))]]) is None


def test_a_groups_rule_goes_before_that_of_its_sub_account():
    wide = fixed("10")
    narrow = fixed("20", name="net", pool=Pool("azure", SUB, "Net"), first=november(5))
    rules = [*in_force([wide]), *in_force([narrow])]
    assert [allocating(rules, group, november(day)) for group, day in (("net", 4), ("net", 5), (None, 5))] == [0, 1, 0]
    assert allocating(rules[1:], None, november(5)) is None


# --- sums ---


def test_what_a_project_got_is_counted_by_period_and_currency():
    rule = fixed("50")
    made = [
        Split(rule, november(1), "CAD", Decimal(10), {1: Decimal(5)}),
        Split(rule, november(2), "CAD", Decimal(20), {1: Decimal(10), 2: Decimal(1)}),
        Split(rule, november(2), "USD", Decimal(40), {1: Decimal(20)}),
    ]
    second = Period(november(2), november(3))
    wanted = [(1, NOVEMBER, "CAD"), (2, NOVEMBER, "USD"), (1, second, "USD"), (3, second, "CAD")]
    within = {(1, NOVEMBER, "CAD"): 15, (1, second, "USD"): 20}
    assert allocated_in(made, wanted, others=True) == (
        within,
        {
            (1, NOVEMBER, "USD"): {november(2): 20},
            (2, NOVEMBER, "CAD"): {november(2): 1},
            (1, second, "CAD"): {november(2): 10},
        },
    )
    assert allocated_in(made, wanted, others=False) == (within, {})
    assert allocated_by_day(made, [(1, NOVEMBER)]) == {
        (1, NOVEMBER, "CAD"): {november(1): 5, november(2): 10},
        (1, NOVEMBER, "USD"): {november(2): 20},
    }
    assert [(each.project_id, each.currency, each.amount) for each in summed(made)] == [
        (1, "CAD", 15),
        (2, "CAD", 1),
        (None, "CAD", 14),
        (1, "USD", 20),
        (None, "USD", 20),
    ]


def test_days_without_costs_of_their_own_count_what_is_allocated():
    own = {november(1): Decimal(1), november(2): Decimal(2)}
    more = {november(2): Decimal(3), november(2) + timedelta(days=1): Decimal(4)}
    assert with_days(own, {}) is own
    assert with_days(own, more) == {november(1): 1, november(2): 5, november(3): 4}
