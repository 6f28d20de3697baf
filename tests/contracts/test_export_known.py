"""What is known of months that exports feed, in whatever order their runs are found, and who says it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from shared.adapters.database.engine import Database
from shared.domain.coverage import gaps
from shared.domain.exports.runs import Width
from shared.domain.periods import Period, PeriodKind, PeriodRule, month_of
from tests.contracts.export_world import SUB, World, days, each_day, export, on, row
from tests.contracts.ledger_data import MONTHLY, Ledgers, entry, terms

DAILY, WIDE = export("daily"), export("all", Width.BILLING_ACCOUNT)
ONE = export("one", Width.GROUP)
OLD, NEW = (export(name, Width.BILLING_ACCOUNT, account=account) for name, account in (("old", "42"), ("new", "43")))


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def others(month: int, first: int, last: int):
    return each_day(month, first, last, sub="9a1b")


def at(month: int, day: int, hour: int) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def test_after_an_agreement_changed_the_old_exports_new_month_is_not_suspect(world: World) -> None:
    world.deliver(OLD, days(9, 1, 15), each_day(9, 1, 15) + others(9, 1, 15))
    world.deliver(NEW, days(9, 1, 30), each_day(9, 15, 30, "3"))
    assert world.feeding() == {"": ["old", "new"]}
    states = []
    for day in range(1, 8):  # a week of October, each day: the new one has the sub-account, the old one only others
        world.deliver(NEW, days(10, 1, day), each_day(10, 1, day, "3"), at=at(10, day, 20))
        world.deliver(OLD, days(10, 1, day), others(10, 1, day), at=at(10, day, 21))
        known = world.coverage(10)
        states.append((str(known.state), known.reason))
    assert states == [("good", None)] * 7


def test_an_agreement_that_changed_and_the_new_exports_backfill_of_an_earlier_month(world: World) -> None:
    world.deliver(OLD, days(8, 1, 31), each_day(8, 1, 31) + others(8, 1, 31), at=on(9, 6))
    world.deliver(OLD, days(9, 1, 15), each_day(9, 1, 15) + others(9, 1, 15))
    world.deliver(NEW, days(9, 1, 20), each_day(9, 15, 20, "3"))
    # Run once, "for the months before": of the sub-account it rightly has none, since it was the old account's.
    world.deliver(NEW, days(8, 1, 31), [row(8, 3, sub="c0c0")], at=on(9, 21))
    assert str(world.coverage(8).state) == "good"


@pytest.mark.parametrize("newer_first", [False, True])
def test_an_older_run_that_is_found_after_a_newer_one_is_no_newer_for_that(world: World, newer_first: bool) -> None:
    """In order: not read since 30 September, since no run of 5 October or later has read all of it."""
    Ledgers(world.database).load(entry(1, "rg", subscription_id=SUB, terms=terms(rule=MONTHLY)))
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31), at=on(9, 6))
    world.use(DAILY, on(9, 7), SUB)
    runs = [(days(9, 1, 30), each_day(9, 1, 30), on(9, 30)), (days(9, 10, 15), each_day(9, 10, 15, "5"), on(10, 6))]
    for period, rows, submitted in reversed(runs) if newer_first else runs:
        world.deliver(DAILY, period, rows, at=submitted)
    known = world.coverage(9)
    assert world.total(9) == 24 + 30
    said = [str(gap) for gap in gaps(SUB, {on(9, 1): known}, month_of(on(9, 1)), on(10, 20), 35, 5)]
    assert said == ["costs of 7f0c not read since 30 September 2026"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_month_in_three_pieces_is_known_whole_in_whatever_order_they_come(world: World, order) -> None:
    pieces = [(1, 10), (11, 20), (21, 30)]
    for number in order:
        first, last = pieces[number]
        world.deliver(DAILY, days(9, first, last), each_day(9, first, last), at=on(10, 6 + number))
    known = world.coverage(9)
    assert world.total(9) == 30
    assert (known.read_from, known.read_through) == (on(9, 1), on(9, 30))
    assert known.begun_at == at(10, 6, 20)


def test_what_the_old_exports_runs_no_longer_hold_is_taken_on_the_third_in_a_row_whatever_the_new_ones_say(
    world: World,
) -> None:
    """The new one comes each day between them: it neither ends the old one's row of blank runs, nor hides the doubt."""
    world.deliver(OLD, days(9, 1, 15), each_day(9, 1, 15) + others(9, 1, 15))
    world.deliver(NEW, days(9, 1, 20), each_day(9, 15, 20, "3"))
    found = []
    for day in range(21, 25):
        world.deliver(OLD, days(9, 1, day), others(9, 1, day), at=at(9, day, 8))
        world.deliver(NEW, days(9, 1, day), each_day(9, 15, day, "3"), at=at(9, day, 20))
        found.append((world.total(9) - 3 * (day - 14), str(world.coverage(9).state)))
    assert found == [(15, "suspect"), (15, "suspect"), (0, "good"), (0, "good")]
    assert (world.coverage(9).read_through, world.total(9, "9a1b")) == (on(9, 24), 24)


def test_what_the_new_exports_runs_no_longer_hold_is_in_doubt_whatever_the_old_ones_say(world: World) -> None:
    world.deliver(OLD, days(9, 1, 15), each_day(9, 1, 15) + others(9, 1, 15))
    world.deliver(NEW, days(9, 1, 20), each_day(9, 15, 20, "3"))
    found = []
    for day in range(21, 24):
        world.deliver(NEW, days(9, 1, day), others(9, 1, day), at=at(9, day, 8))
        world.deliver(OLD, days(9, 1, day), each_day(9, 1, 15) + others(9, 1, day), at=at(9, day, 20))
        found.append((world.total(9), str(world.coverage(9).state)))
    assert found == [(33, "suspect"), (33, "suspect"), (15, "good")]


def test_a_doubt_ends_as_soon_as_the_old_export_holds_the_charges_again(world: World) -> None:
    world.deliver(OLD, days(9, 1, 15), each_day(9, 1, 15) + others(9, 1, 15))
    world.deliver(NEW, days(9, 1, 20), each_day(9, 15, 20, "3"))
    found = []
    for day, has in ((21, False), (22, False), (23, True), (24, False), (25, False)):
        world.deliver(OLD, days(9, 1, day), (each_day(9, 1, 15) if has else []) + others(9, 1, day), at=at(9, day, 8))
        world.deliver(NEW, days(9, 1, day), each_day(9, 15, 20, "3"), at=at(9, day, 20))
        found.append((world.total(9), str(world.coverage(9).state)))
    assert found == [(33, each) for each in ("suspect", "suspect", "good", "suspect", "suspect")]


def test_operators_are_told_once_where_both_agreements_exports_come_to_hold_the_same_days(world: World) -> None:
    world.deliver(OLD, days(9, 1, 15), each_day(9, 1, 15))
    world.deliver(NEW, days(9, 1, 20), each_day(9, 15, 20, "3"))
    told = [
        world.deliver(OLD, days(9, 1, day), each_day(9, 1, last), at=at(9, day, 8)).told
        for day, last in ((21, 15), (22, 18), (23, 19))
    ]
    both = (
        "old and new both have charges of 7f0c of 15 September 2026 to 18 September 2026, and all of them count; "
        "`exports use old --for 7f0c` or `exports use new --for 7f0c` lets those of one count alone"
    )
    assert told == [(), (both,), ()]
    assert world.total(9) == 19 + 18
    world.use(NEW, on(9, 24), SUB)
    assert (world.feeding(), world.total(9)) == ({"": ["new"]}, 18)


def test_operators_are_told_of_each_with_which_one_comes_to_hold_the_same_days(world: World) -> None:
    third = export("third", Width.BILLING_ACCOUNT, account="44")
    world.deliver(OLD, days(8, 1, 31), each_day(8, 1, 31), at=on(9, 1))
    world.deliver(NEW, days(9, 1, 30), each_day(9, 1, 30), at=on(10, 1))
    world.deliver(third, days(10, 1, 20), each_day(10, 1, 20), at=on(10, 20))
    longer = each_day(8, 28, 31) + each_day(9, 1, 30) + each_day(10, 1, 4)
    told = [world.deliver(NEW, Period(on(8, 25), on(10, 6)), longer, at=on(10, day)).told for day in (21, 22)]
    why = (
        "new and {0} both have charges of 7f0c of {1}, and all of them count; `exports use new --for 7f0c` or "
        "`exports use {0} --for 7f0c` lets those of one count alone"
    )
    both = [
        why.format("old", "28 August 2026 to 31 August 2026"),
        why.format("third", "1 October 2026 to 4 October 2026"),
    ]
    assert told == [(". ".join(both),), ()]
    assert (world.total(8), world.total(10)) == (35, 24)


def test_where_both_count_a_month_is_as_new_as_the_older_of_both(world: World) -> None:
    world.deliver(OLD, days(9, 1, 15), each_day(9, 1, 15) + others(9, 1, 15))
    world.deliver(NEW, days(9, 1, 20), each_day(9, 15, 20, "3"))
    # The new account's export stands still. The old one's next runs still hold the first half of September.
    world.deliver(OLD, days(9, 1, 26), each_day(9, 1, 15) + others(9, 1, 26))
    known = world.coverage(9)
    # Nobody has said anything of the 21st to the 26th, of the account to which the sub-account belongs now.
    assert (known.read_through, known.begun_at) == (on(9, 20), at(9, 20, 20))


def test_an_order_leaves_a_month_of_which_the_export_has_no_row_as_it_is_without_dates(world: World) -> None:
    """A file of a billing account: of the sub-account it has September, of another one August, too."""
    world.asked()
    world.query(each_day(8, 1, 31, "4"), days(8, 1, 31), at=on(9, 6))
    rows = [*each_day(9, 1, 19, "3"), row(8, 25, "9", sub="9a1b")]
    world.deliver(WIDE, None, rows, at=on(9, 19))
    world.use(WIDE, on(9, 20), "7f0c")
    assert (world.total(8), world.total(9)) == (124, 57)
    assert world.coverage(8).source == "COST_MANAGEMENT"


def test_an_order_leaves_a_month_of_which_a_run_of_two_months_has_no_row_as_it_is(world: World) -> None:
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31), at=on(9, 6))
    world.deliver(
        WIDE, Period(on(8, 20), on(9, 20)), [*each_day(9, 1, 19, "3"), row(8, 25, "9", sub="9a1b")], at=on(9, 19)
    )
    world.use(WIDE, on(9, 20), "7f0c")
    assert (world.total(8), world.total(9)) == (31, 57)


def test_an_idle_sub_account_is_read_by_a_run_that_has_none_of_it(world: World) -> None:
    """Once a month, and on the first days of one: nothing was ever stored of these days, so nothing is gone."""
    world.deliver(WIDE, days(8, 1, 31), each_day(8, 1, 31) + others(8, 1, 31), at=on(9, 6))
    world.deliver(WIDE, days(9, 1, 30), others(9, 1, 30), at=on(10, 6))
    world.deliver(WIDE, days(10, 1, 2), others(10, 1, 2), at=on(10, 7))
    known = [world.coverage(9), world.coverage(10)]
    assert [(str(each.state), each.read_through) for each in known] == [("good", on(9, 30)), ("good", on(10, 2))]


@pytest.mark.parametrize("rest", ["query", "daily"])
def test_a_month_that_a_groups_export_has_not_delivered_goes_by_the_sub_accounts_own(world: World, rest: str) -> None:
    ledgers, quarter = Ledgers(world.database), PeriodRule(PeriodKind.QUARTERLY, on(10, 1))
    ledgers.load(entry(1, "rg-one", subscription_id=SUB, terms=terms(rule=quarter)))

    def read(through: int) -> None:
        for window in (days(10, 1, 31), days(11, 1, through)):
            month, last = window.start.month, window.last_day.day
            rows = each_day(month, 1, last) + each_day(month, 1, last, group="rg-one")
            if rest == "query":
                world.query(rows, window, at=on(11, through + 1))
            else:
                world.deliver(DAILY, window, rows, at=on(11, through + 1))

    read(1)
    if rest == "daily":
        world.use(DAILY, at(11, 3, 1), SUB)
    world.deliver(ONE, days(11, 1, 2), each_day(11, 1, 2, group="rg-one"), at=on(11, 2))
    world.use(ONE, on(11, 3), SUB)
    assert world.feeding() == {"": [rest], "rg-one": ["one"]}
    # What feeds the rest reads October on until that is final, and the group's export November alone.
    for day in range(3, 28, 3 if rest == "daily" else 1):
        read(day)
    world.deliver(ONE, days(11, 1, 28), each_day(11, 1, 28, group="rg-one"), at=on(11, 28))
    assert [str(gap) for gap, _ in ledgers.charges.incomplete(on(11, 28)).gaps] == []
    assert world.group_coverage() == [("rg-one", on(11, 1), "good")]


ANEW = export("one anew", Width.GROUP)


def test_months_of_a_group_that_its_new_export_has_not_delivered_are_the_querys_again(world: World) -> None:
    ledgers, quarter = Ledgers(world.database), PeriodRule(PeriodKind.QUARTERLY, on(10, 1))
    ledgers.load(entry(1, "rg-one", subscription_id=SUB, terms=terms(rule=quarter)))
    world.asked()

    def night(day: int) -> None:
        for window in (days(10, 1, 31), days(11, 1, day - 1)):
            rows = each_day(window.start.month, 1, window.last_day.day, "7", group="rg-one")
            world.query(rows, window, at=on(11, day))

    night(3)
    for window, rows in ((days(10, 1, 31), (10, 1, 31)), (days(11, 1, 2), (11, 1, 2))):
        world.deliver(ONE, window, each_day(*rows, group="rg-one"), at=on(11, 2))
    world.use(ONE, on(11, 3), SUB)
    assert (world.total(10), world.total(11)) == (31, 2)
    night(4)
    assert (world.total(10), world.total(11)) == (31, 2)
    world.deliver(ANEW, days(11, 1, 4), each_day(11, 1, 4, "3", group="rg-one"), at=on(11, 4))
    world.use(ANEW, on(11, 5), SUB)
    assert world.feeding() == {"": ["query"], "rg-one": ["one anew"]}
    # October is due as if nobody had read it: what is stored of it is the old export's until then.
    assert (world.total(10), world.total(11), world.coverage(10).good_on) == (31, 12, None)
    for day in range(6, 28):
        night(day)
    world.deliver(ANEW, days(11, 1, 27), each_day(11, 1, 27, "3", group="rg-one"), at=on(11, 27))
    assert (world.total(10), world.total(11)) == (31 * 7, 27 * 3)
    assert world.group_coverage() == [("rg-one", on(11, 1), "good")]
    assert [str(gap) for gap, _ in ledgers.charges.incomplete(on(11, 28)).gaps] == []


def test_months_of_a_group_that_its_new_export_has_not_delivered_are_known_as_the_old_one_goes_on(world: World) -> None:
    ledgers, quarter = Ledgers(world.database), PeriodRule(PeriodKind.QUARTERLY, on(10, 1))
    ledgers.load(entry(1, "rg-one", subscription_id=SUB, terms=terms(rule=quarter)))
    world.deliver(ONE, days(10, 1, 30), each_day(10, 1, 30, group="rg-one"), at=on(10, 30))
    world.deliver(ANEW, days(11, 1, 4), each_day(11, 1, 4, "3", group="rg-one"), at=on(11, 4))
    world.use(ANEW, on(11, 5), SUB)
    assert (world.total(10), world.total(11)) == (30, 12)
    lacks = [str(gap) for gap, _ in ledgers.charges.incomplete(on(11, 6)).gaps]
    assert lacks == ["costs of group rg-one of 7f0c not read since 30 October 2026"]
    # The old export delivers October to its end, and what counts of it is known as of then.
    world.deliver(ONE, days(10, 1, 31), each_day(10, 1, 31, "2", group="rg-one"), at=on(11, 6))
    assert (world.total(10), world.total(11)) == (62, 12)
    assert [str(gap) for gap, _ in ledgers.charges.incomplete(on(11, 7)).gaps] == []


def test_what_a_group_keeps_of_the_query_is_known_as_of_then_until_its_own_export_delivers_it(world: World) -> None:
    ledgers, quarter = Ledgers(world.database), PeriodRule(PeriodKind.QUARTERLY, on(10, 1))
    ledgers.load(entry(1, "rg-one", subscription_id=SUB, terms=terms(rule=quarter)))
    world.asked()
    rows = each_day(10, 1, 19, "7") + each_day(10, 1, 19, "7", group="rg-one")
    world.query(rows, days(10, 1, 19), at=on(10, 20))
    world.deliver(ONE, days(11, 1, 7), each_day(11, 1, 7, "5", group="rg-one"))
    world.deliver(DAILY, days(11, 1, 7), each_day(11, 1, 7))
    world.use(DAILY, on(11, 8), SUB)
    world.use(ONE, at(11, 8, 13), SUB)

    def october() -> tuple[object, object, list[str]]:
        gaps = [str(gap) for gap, _ in ledgers.charges.incomplete(on(11, 8)).gaps]
        return world.total(10, group="rg"), world.total(10, group="rg-one"), gaps

    world.deliver(DAILY, days(10, 1, 31), each_day(10, 1, 31), at=on(11, 7))
    assert october() == (31, 7 * 19, ["costs of group rg-one of 7f0c not read since 19 October 2026"])
    world.deliver(ONE, days(10, 1, 31), each_day(10, 1, 31, "5", group="rg-one"), at=on(11, 7))
    assert october() == (31, 5 * 31, [])


def test_a_projects_costs_are_read_by_runs_of_these_days_that_are_believed(world: World) -> None:
    ledgers, read = Ledgers(world.database), list[datetime | None]()
    ledgers.load(entry(1, "rg", subscription_id=SUB))
    world.deliver(WIDE, days(10, 1, 10), each_day(10, 1, 10))
    world.use(WIDE, on(10, 11))
    for period, rows, submitted in (
        (days(10, 1, 12), each_day(10, 1, 12), on(10, 12)),
        (days(8, 1, 31), each_day(8, 1, 31), on(10, 20)),
        (days(10, 1, 21), others(10, 1, 21), on(10, 21)),
        (days(10, 1, 21), each_day(10, 1, 21), on(10, 22)),
    ):
        world.deliver(WIDE, period, rows, at=submitted)
        (project,) = ledgers.projects.list_projects(on(10, 22))
        read.append(project.updated_at)
    # Neither a run of August nor one that is not believed has read October's costs.
    assert read == [at(10, 12, 20)] * 3 + [at(10, 22, 20)]
