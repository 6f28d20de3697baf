"""What of exports is charges: of each day what the newest run says that speaks for it, whole, of whoever feeds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest

from shared.adapters.database.cloud_accounts import SqlCloudAccounts
from shared.adapters.database.engine import Database
from shared.adapters.database.export_sums import BUCKETS, bucket_of
from shared.adapters.database.types import largest_amount
from shared.domain.coverage import CoverageState
from shared.domain.exports.feeding import Fed, Order
from shared.domain.exports.runs import Dataset, RunState, Width
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import Changes
from tests.contracts.export_world import CONTAINER, SUB, World, amounts, days, each_day, export, on, row
from tests.contracts.ledger_data import Ledgers, entry

DAILY = export("daily")
MONTHLY = export("monthly")
# Of the sub-accounts here that whose charges are made last.
LAST = "c0c0"


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_a_run_s_charges_are_stored_as_they_are_and_what_it_changed_is_said(world: World) -> None:
    imported = world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20, "1.5"), parts=3)
    record = imported.record
    assert world.total(9) == 30
    assert (record.state, record.reason, record.rows, record.totals) == (
        RunState.IMPORTED,
        None,
        20,
        {"CAD": Decimal(30)},
    )
    assert (record.parts, record.staged, record.changes) == (3, 3, Changes(20, 0, 0, days(9, 1, 20)))
    assert world.feeding() == {"": ["daily"]}
    assert world.cloud_account() == CONTAINER
    known = world.coverage(9)
    assert known is not None
    assert (known.source, known.read_from, known.read_through) == ("COST_EXPORT", on(9, 1), on(9, 20))
    assert (known.begun_at, known.state) == (record.run.at, CoverageState.GOOD)


def test_sums_are_made_charges_in_whichever_bucket_they_lie(world: World) -> None:
    by_bucket = {bucket_of("azure", name): name for name in map(str, range(999))}
    subs = [by_bucket[each] for each in (0, 1, 9, BUCKETS - 1)]
    shared = export("all", Width.BILLING_ACCOUNT)
    imported = world.deliver(shared, days(9, 1, 2), [row(9, 1, sub=each) for each in subs])
    assert (imported.record.totals, sorted({key[0] for key in world.rows()})) == ({"CAD": 4}, sorted(subs))
    world.deliver(shared, days(9, 1, 3), [row(9, 3, "2", sub=subs[2])])
    assert world.rows()[subs[2], "rg", on(9, 3), "Storage", "CAD"] == 2


def test_exact_sums_of_all_parts_are_rounded_once(world: World) -> None:
    rows = [row(9, 3, "0.00000000004"), row(9, 3, "0.00000000004"), row(9, 4, "-2.5"), row(9, 4, "0", group="")]
    world.deliver(DAILY, days(9, 1, 20), rows, parts=4)
    assert world.rows() == {
        (SUB, "rg", on(9, 3), "Storage", "CAD"): Decimal("0.0000000001"),
        (SUB, "rg", on(9, 4), "Storage", "CAD"): Decimal("-2.5"),
        (SUB, "", on(9, 4), "Storage", "CAD"): Decimal(0),
    }


def test_names_are_stored_letter_by_letter(world: World) -> None:
    """Drivers are handed a great many at once: none is taken for an end, an escape, or nothing."""
    services = ['"', "\\", '\\"', "a,b", "{}", "NULL", "null", "é 漢", "'", "%s", "x\ny", "(1)"]
    world.deliver(DAILY, days(9, 1, 20), [row(9, 3, service=each, group=f"rg {each}") for each in services])
    found = {(group, service) for _, group, _, service, _ in world.rows()}
    assert found == {(f"rg {each}".lower(), each) for each in services}


def test_totals_are_exact_however_many_digits_they_have(world: World) -> None:
    """Those of sub-accounts that are made one after the other, too."""
    costs = {SUB: "123456789.12345678901234567891", "9a1b": "0.00000000000000000000001", LAST: "1"}
    wide = export("all", Width.BILLING_ACCOUNT)
    imported = world.deliver(wide, days(9, 1, 20), [row(9, 3, cost, sub=sub) for sub, cost in costs.items()])
    assert imported.record.totals == {"CAD": Decimal("123456790.12345678901234567891001")}


def test_what_is_too_large_only_with_what_earlier_runs_delivered_fails_its_sub_account_alone(world: World) -> None:
    wide, most = export("all", Width.BILLING_ACCOUNT), largest_amount(world.database.engine.dialect)
    large, others = str(most * Decimal("0.6")), each_day(9, 1, 20, sub="9a1b")
    world.deliver(wide, days(8, 1, 31), [row(8, 15, large)], at=on(9, 6))
    failed = world.deliver(wide, days(9, 1, 20), [row(8, 15, large), row(9, 3), *others])
    reason = (
        "Together with what was delivered before, Storage of 7f0c on 15 August 2026 comes to more CAD than can be "
        f"stored; the largest amount is {most:f}"
    )
    assert (failed.record.state, failed.record.reason, failed.told) == (RunState.IMPORTED, reason, (f"{reason}.",))
    assert (world.total(8), world.total(9), world.total(9, "9a1b")) == (Decimal(large), 0, 20)
    known = world.coverage(9)
    assert known is not None
    assert (known.state, known.reason) == (CoverageState.FAILED, f"{reason}.")
    # The next run has what can be stored, and an order for what can't be stored changes nothing.
    world.deliver(wide, days(9, 1, 21), [row(8, 15, "1"), row(9, 3), *others], at=on(9, 21))
    assert (world.total(8), world.total(9)) == (Decimal(large) + 1, 1)
    known = world.coverage(9)
    assert known is not None
    assert known.state is CoverageState.GOOD


def test_a_newer_run_takes_the_place_of_an_older_one_and_only_rows_that_differ_are_written(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    rows = [*each_day(9, 1, 18), row(9, 19, "5"), row(9, 21, "7")]
    newer = world.deliver(DAILY, days(9, 1, 21), rows)
    assert world.total(9) == 18 + 5 + 7
    assert newer.record.changes == Changes(1, 1, 1, days(9, 19, 21))


def test_the_same_content_twice_changes_nothing(world: World) -> None:
    first = world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20), name="same")
    again = world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20, "9"), name="same")
    assert (again.record.id, again.record.changes) == (first.record.id, first.record.changes)
    assert world.total(9) == 20


def test_the_same_run_read_again_on_purpose_changes_nothing(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20), name="same")
    again = world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20), name="same", again=True)
    assert (again.record.state, again.record.changes) == (RunState.IMPORTED, Changes())
    assert world.total(9) == 20


def test_an_older_run_that_comes_later_changes_only_days_for_which_no_newer_one_spoke(world: World) -> None:
    world.deliver(DAILY, days(9, 10, 15), each_day(9, 10, 10, "5"), at=on(9, 25))
    assert world.total(9) == 5
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    assert amounts(world.by_day()) == {**dict.fromkeys([*range(1, 10), *range(16, 21)], "1"), 10: "5"}
    world.deliver(DAILY, days(9, 1, 15), each_day(9, 1, 15, "3"))
    assert world.total(9) == 19


def test_selected_dates_replace_these_days_alone(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 20), [*each_day(9, 1, 20), row(8, 15, "0.5")])
    world.deliver(DAILY, days(9, 10, 15), [row(9, 10, "5")], at=on(9, 25))
    assert amounts(world.by_day()) == {**dict.fromkeys([*range(1, 10), *range(16, 21)], "1"), 10: "5", 15: "0.5"}
    assert (world.total(8), world.total(9)) == (Decimal("0.5"), 19)


def test_what_lies_outside_of_selected_dates_is_left_out_and_said(world: World) -> None:
    imported = world.deliver(DAILY, days(9, 10, 15), [row(9, 10), row(9, 20), row(8, 15)])
    assert imported.record.reason == (
        "2 rows of 15 August 2026 to 20 September 2026 left out, for which a run of other days speaks"
    )
    assert world.total(9) == 1


def test_corrections_in_a_later_month_s_file_count_on_their_day_beside_that_month_s_own(world: World) -> None:
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31))
    world.deliver(DAILY, days(9, 1, 20), [*each_day(9, 1, 20), row(8, 15, "-0.5")])
    assert (world.total(8), world.total(9)) == (Decimal("30.5"), 20)
    assert world.by_day()[on(8, 15)] == Decimal("0.5")
    # August once more, as it was: the correction of September's file stays beside it.
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31, "2"), at=on(9, 21))
    assert world.total(8) == Decimal("61.5")
    # September's next file has it no more.
    world.deliver(DAILY, days(9, 1, 22), each_day(9, 1, 22))
    assert (world.total(8), world.total(9)) == (62, 22)


def test_one_day_of_a_neighbour_month_is_that_day_s_and_of_the_file_that_has_it(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 30), [*each_day(9, 1, 30), row(10, 1, "0.25")])
    assert (world.total(9), world.total(10)) == (30, Decimal("0.25"))
    world.deliver(DAILY, days(10, 1, 2), each_day(10, 1, 2))
    assert (world.total(9), world.total(10)) == (30, Decimal("2.25"))


def test_daily_and_monthly_exports_of_one_scope_count_once(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    other = world.deliver(MONTHLY, days(8, 1, 31), each_day(8, 1, 31, "2"), at=on(9, 21))
    reason = "7f0c is fed by the export daily; `exports use monthly --for 7f0c` changes that"
    assert (other.record.state, other.record.reason, other.told) == (RunState.NOT_USED, reason, (reason,))
    # Nobody else has August.
    assert (world.total(8), world.total(9)) == (62, 20)
    again = world.deliver(MONTHLY, days(9, 1, 30), each_day(9, 1, 30, "2"))
    assert (again.record.state, again.told) == (RunState.NOT_USED, ())
    assert (world.total(8), world.total(9)) == (62, 20)
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31), at=on(10, 1))
    assert (world.total(8), world.total(9)) == (31, 20)


def test_scopes_that_overlap_count_once_each_sub_account_by_itself(world: World) -> None:
    wide = export("all", Width.BILLING_ACCOUNT)
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    both = world.deliver(wide, days(9, 1, 20), [*each_day(9, 1, 20, "3"), *each_day(9, 1, 20, "7", sub="9a1b")])
    assert (world.total(9), world.total(9, "9a1b")) == (20, 140)
    assert both.record.state is RunState.IMPORTED
    assert both.record.reason == "7f0c is fed by the export daily; `exports use all --for 7f0c` changes that"
    assert (world.feeding(), world.feeding("9a1b")) == ({"": ["daily"]}, {"": ["all"]})


@pytest.mark.parametrize("later", [0, 5])
def test_of_two_found_in_one_scan_the_wider_feeds_whichever_is_made_first(world: World, later: int) -> None:
    """Each has a message of its own, so that they are found minutes apart."""
    wide = export("all", Width.BILLING_ACCOUNT)
    narrow = world.stage(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    whole = world.stage(
        wide, days(9, 1, 20), each_day(9, 1, 20, "3"), found_at=narrow.found_at + timedelta(minutes=later)
    )
    with pytest.raises(LaterError, match="The export all is imported first, which may feed 7f0c") as waits:
        world.make(narrow)
    assert waits.value.wait is not None
    assert world.make(whole).record.state is RunState.IMPORTED
    assert world.make(narrow).record.state is RunState.NOT_USED
    assert world.total(9) == 60


def test_of_two_as_wide_the_one_that_was_submitted_first_feeds(world: World) -> None:
    late = world.stage(MONTHLY, days(9, 1, 20), each_day(9, 1, 20, "3"), at=on(9, 21))
    early = world.stage(DAILY, days(9, 1, 20), each_day(9, 1, 20), at=on(9, 20), found_at=late.found_at)
    with pytest.raises(LaterError):
        world.make(late)
    world.make(early)
    world.make(late)
    assert world.feeding() == {"": ["daily"]}


def test_an_order_within_a_run_is_known_when_that_ends(world: World) -> None:
    """The run has made 7f0c, and waits with another sub-account for an export that may feed it."""
    world.asked()
    world.query(each_day(9, 1, 20, "4"), days(9, 1, 30), at=on(9, 20))
    wide, wider = export("all", Width.BILLING_ACCOUNT), export("first", Width.BILLING_ACCOUNT)
    earlier = world.stage(wider, days(9, 1, 20), each_day(9, 1, 20, sub=LAST), at=on(9, 19))
    run = world.stage(
        wide, days(9, 1, 20), each_day(9, 1, 20) + each_day(9, 1, 20, sub=LAST), found_at=earlier.found_at
    )
    with pytest.raises(LaterError, match="The export first is imported first"):
        world.make(run)
    assert world.total(9) == 80
    world.use(wide, run.found_at, SUB)
    assert world.total(9) == 20
    world.make(earlier)
    ended = world.make(run)
    reason = f"{LAST} is fed by the export first; `exports use all --for {LAST}` changes that"
    assert (ended.record.state, ended.record.reason, ended.told) == (RunState.IMPORTED, reason, (reason,))
    assert (world.total(9), world.feeding()) == (20, {"": ["all"]})


def test_a_run_that_reads_what_its_export_feeds_is_used_though_it_has_no_row_of_that(world: World) -> None:
    wide = export("all", Width.BILLING_ACCOUNT)
    world.asked("9a1b")
    others = each_day(9, 1, 20, sub="9a1b")
    runs = [world.deliver(wide, days(9, 1, 20), each_day(9, 1, 20) + others, at=on(9, 20))]
    runs += [world.deliver(wide, days(9, 1, 20), others, at=on(9, day)) for day in (21, 22, 23, 24)]
    states = [(str(each.record.state), each.record.changes.removed) for each in runs]
    assert states == [("imported", 0), ("not used", 0), ("not used", 0), ("imported", 20), ("imported", 0)]
    reason = "9a1b is fed by the query; `exports use all --for 9a1b` changes that"
    assert {each.record.reason for each in runs} == {reason}


def test_a_run_of_which_one_sub_account_is_used_and_a_great_many_are_not_is_used(world: World) -> None:
    wide = export("all", Width.BILLING_ACCOUNT)
    rivals = [f"sub-{number}" for number in range(30)]
    world.asked()
    for each in rivals:
        world.asked(each)
    rows = [row(9, 3, sub=each) for each in (*rivals, LAST)]
    assert world.deliver(wide, days(9, 1, 20), rows).record.state is RunState.IMPORTED


def test_one_that_was_found_later_is_not_waited_for_nor_one_that_hangs(world: World) -> None:
    narrow = world.stage(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    world.stage(export("all", Width.BILLING_ACCOUNT), days(9, 1, 21), each_day(9, 1, 20, "3"))
    assert world.make(narrow).record.state is RunState.IMPORTED


def test_exports_of_two_groups_lie_side_by_side(world: World) -> None:
    one, other = (export(name, Width.GROUP) for name in ("one", "other"))
    world.deliver(one, days(9, 1, 20), each_day(9, 1, 20, group="rg-one"))
    world.deliver(other, days(9, 1, 20), each_day(9, 1, 20, "3", group="RG-other"))
    assert (world.total(9, group="rg-one"), world.total(9, group="rg-other")) == (20, 60)
    world.deliver(one, days(9, 1, 21), each_day(9, 1, 21, "2", group="rg-one"))
    assert (world.total(9, group="rg-one"), world.total(9, group="rg-other")) == (42, 60)
    assert world.feeding() == {"rg-one": ["one"], "rg-other": ["other"]}
    assert world.group_coverage() == [("rg-one", on(9, 1), "good"), ("rg-other", on(9, 1), "good")]
    assert world.coverage(9) is None
    whole = world.deliver(DAILY, days(9, 1, 21), each_day(9, 1, 21, "9", group="third"))
    assert whole.record.state is RunState.NOT_USED
    assert world.total(9) == 42 + 60


def test_actual_beside_amortized_is_not_used_and_focus_serves_both(world: World) -> None:
    focus = export("focus", dataset=Dataset.FOCUS)
    world.deliver(focus, days(9, 1, 20), each_day(9, 1, 20))
    assert world.total(9) == 20
    actual = world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20, "3"))
    assert actual.record.state is RunState.NOT_USED
    assert world.total(9) == 20


def test_an_agreement_that_changes_in_mid_month_counts_both(world: World) -> None:
    old, new = export("old", account="42"), export("new", account="43")
    world.deliver(old, days(9, 1, 15), each_day(9, 1, 15))
    both = world.deliver(new, days(9, 1, 20), each_day(9, 15, 20, "3"))
    assert both.told == ("the agreement of 7f0c changed: what old and new deliver counts",)
    assert world.total(9) == 15 + 18
    assert amounts(world.by_day())[15] == "4"
    again = world.deliver(new, days(9, 1, 21), each_day(9, 15, 21, "2"))
    assert (again.told, world.total(9)) == ((), 15 + 14)
    world.deliver(old, days(9, 1, 30), each_day(9, 1, 15, "1.5"))
    assert world.total(9) == Decimal("22.5") + 14


def test_what_an_export_has_taken_back_is_none_of_its_days_when_the_agreement_changes(world: World) -> None:
    old, new = export("old", account="42"), export("new", account="43")
    world.deliver(old, days(9, 1, 28), each_day(9, 1, 15) + each_day(9, 28, 28))
    assert world.total(9) == 16
    world.deliver(old, days(9, 1, 29), each_day(9, 1, 15))
    assert (world.total(9), [each.days for each in world.ledger.feeds()]) == (15, [days(9, 1, 15)])
    world.deliver(new, days(9, 1, 30), each_day(9, 16, 30, "2"))
    assert (world.feeding(), world.total(9)) == ({"": ["old", "new"]}, 45)
    world.use(new, on(10, 1), SUB)
    assert (world.feeding(), world.total(9)) == ({"": ["old", "new"]}, 45)


def test_a_rivals_backfill_of_the_month_before_is_no_change_of_the_agreement(world: World) -> None:
    rival, feeding = export("weekly", account="42"), export("other", account="43")
    world.deliver(feeding, days(9, 1, 20), each_day(9, 1, 20))
    assert world.deliver(rival, days(9, 1, 20), each_day(9, 1, 20)).record.state is RunState.NOT_USED
    backfill = world.deliver(rival, days(8, 1, 31), each_day(8, 1, 31), at=on(9, 21))
    assert (backfill.record.state, world.feeding(), world.total(9)) == (RunState.NOT_USED, {"": ["other"]}, 20)


def test_runs_of_an_export_that_joins_as_the_agreement_changed_are_told_as_imported(world: World) -> None:
    old, new = export("old", account="42"), export("new", account="43")
    world.deliver(new, days(9, 1, 20), each_day(9, 1, 20))
    last = world.deliver(old, days(9, 1, 21), each_day(9, 1, 1, "5")).record  # begins on the same day: a rival so far
    assert last.state is RunState.NOT_USED
    world.deliver(old, days(8, 1, 31), each_day(8, 1, 31), at=on(9, 22))
    assert (world.total(8), world.total(9)) == (31, 25)
    assert [(each.state, each.reason) for each in world.ledger.runs()] == [(RunState.IMPORTED, None)] * 3


def test_days_of_a_late_run_that_newer_ones_have_replaced_are_none_of_a_feeding_one(world: World) -> None:
    old, new = export("old", account="42"), export("new", account="43")
    world.deliver(old, days(9, 1, 29), each_day(9, 1, 15))
    world.deliver(old, days(9, 1, 28), each_day(9, 1, 15) + each_day(9, 28, 28))
    assert [each.days for each in world.ledger.feeds()] == [days(9, 1, 15)]
    world.deliver(new, days(9, 1, 30), each_day(9, 16, 30, "2"))
    assert (world.feeding(), world.total(9)) == ({"": ["old", "new"]}, 45)


def test_a_run_of_which_nothing_counts_once_another_has_what_it_was_ordered_to_is_told_as_not_used(
    world: World,
) -> None:
    weekly, wide = export("weekly", Width.BILLING_ACCOUNT), export("all", Width.BILLING_ACCOUNT)
    run = world.deliver(weekly, days(9, 1, 20), each_day(9, 1, 20, sub="9a1b")).record
    world.deliver(wide, days(9, 1, 20), each_day(9, 1, 20))
    world.use(wide, on(9, 21))
    world.deliver(wide, days(9, 1, 22), each_day(9, 1, 22) + each_day(9, 1, 22, "3", sub="9a1b"))
    assert (world.feeding("9a1b"), world.total(9, "9a1b")) == ({"": ["all"]}, 66)
    told = world.ledger.get(run.id)
    assert told is not None
    reason = "9a1b is fed by the export all; `exports use weekly --for 9a1b` changes that"
    assert (told.state, told.reason) == (RunState.NOT_USED, reason)


def test_an_export_of_a_group_feeds_nothing_of_what_is_in_no_group(world: World) -> None:
    one = export("one", Width.GROUP)
    world.asked()
    night = [
        each
        for group, cost in (("rg-one", "1"), ("rg-two", "1"), ("", "7"))
        for each in each_day(9, 1, 30, cost, group=group)
    ]
    world.query(night, days(9, 1, 30), on(10, 2))
    rows = each_day(9, 1, 30, "2", group="rg-one") + each_day(9, 5, 5, "0.01", group="")
    run = world.deliver(one, days(9, 1, 30), rows, at=on(10, 2))
    world.use(one, on(10, 3), SUB)
    assert world.feeding() == {"": ["query"], "rg-one": ["one"]}
    assert [world.total(9, group=each) for each in ("rg-one", "rg-two", "")] == [60, 30, 210]
    told = world.ledger.get(run.record.id)
    assert told is not None
    reason = (
        "one holds charges of 7f0c that are in no resource group, and count by what feeds all of it: an export of a "
        "group feeds that group"
    )
    assert (told.state, told.reason) == (RunState.IMPORTED, reason)


def test_an_order_for_what_feeds_already_changes_nothing_after_an_agreement_changed(world: World) -> None:
    old, new = export("old", account="42"), export("new", account="43")
    world.deliver(old, days(9, 1, 15), each_day(9, 1, 15))
    world.deliver(new, days(9, 1, 20), each_day(9, 15, 20, "3"))
    assert [world.use(each, on(9, 26), SUB).fed for each in (old, new)] == [(), ()]


def test_an_export_whose_charges_begin_before_the_feeding_ones_is_a_rival(world: World) -> None:
    """The feeding one has charges of one day so far, within the other's: nothing was handed over there."""
    old, new = export("old", account="42"), export("new", account="43")
    world.deliver(old, days(9, 1, 12), each_day(9, 10, 10))
    other = world.deliver(new, days(9, 1, 20), each_day(9, 1, 20))
    assert (other.record.state, world.total(9)) == (RunState.NOT_USED, 1)
    world.deliver(old, days(9, 1, 21), each_day(9, 10, 21))
    assert world.total(9) == 12


def test_what_a_newer_run_no_longer_holds_is_taken_on_the_third_run_in_a_row_each_of_another_day(world: World) -> None:
    wide = export("all", Width.BILLING_ACCOUNT)
    other = each_day(9, 1, 20, sub="9a1b")
    world.deliver(wide, days(9, 1, 20), [*each_day(9, 1, 20), *other])
    for day, left in ((21, 20), (22, 20), (23, 0)):
        world.deliver(wide, days(9, 1, day), [*other, row(9, day, sub="9a1b")])
        assert (day, world.total(9)) == (day, left)
        known = world.coverage(9)
        assert known is not None
        assert known.state is (CoverageState.SUSPECT if left else CoverageState.GOOD)
    assert world.total(9, "9a1b") == 21


def test_three_runs_of_one_day_are_one_and_a_run_that_leaves_a_row_is_what_it_says(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    for hour in range(3):
        world.deliver(DAILY, days(9, 1, 21), [], at=world_time(21, hour))
    assert world.total(9) == 20
    world.deliver(DAILY, days(9, 1, 22), [row(9, 3)])
    assert world.total(9) == 1


def world_time(day: int, hour: int) -> datetime:
    return datetime(2026, 9, day, 20 + hour, tzinfo=UTC)


def test_a_charge_without_a_sub_account_is_its_billing_account_s_and_unallocated(world: World) -> None:
    wide = export("all", Width.BILLING_ACCOUNT, account="42")
    world.deliver(wide, days(9, 1, 20), [row(9, 3, "12.5", sub="", group="")])
    assert world.rows() == {("42", "", on(9, 3), "Storage", "CAD"): Decimal("12.5")}


def test_of_what_is_rehearsed_nothing_is_kept(world: World) -> None:
    with world.database.rehearsing() as database:
        rehearsed = World(database)
        imported = rehearsed.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20), parts=3)
        assert (imported.record.state, rehearsed.total(9)) == (RunState.IMPORTED, 20)
    assert (world.ledger.runs(), world.ledger.exports(), world.total(9), world.feeding()) == ([], [], 0, {})


# --- changing who feeds --------------------------------------------------------------------------------------


def test_what_the_query_feeds_an_export_takes_over_by_an_order_and_back(world: World) -> None:
    world.asked()
    asked = world.cloud_account()
    world.query(each_day(7, 1, 31, "4"), days(7, 1, 31))
    world.query(each_day(8, 1, 31, "4"), days(8, 1, 31))
    not_used = world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31), at=on(9, 3))
    reason = "7f0c is fed by the query; `exports use daily --for 7f0c` changes that"
    assert (not_used.record.state, not_used.record.reason) == (RunState.NOT_USED, reason)
    assert (world.total(7), world.total(8), world.feeding()) == (124, 124, {"": ["query"]})
    rehearsed = world.use(DAILY, on(9, 4), SUB, rehearse=True)
    assert (world.total(8), world.feeding()) == (124, {"": ["query"]})
    ordered = world.use(DAILY, on(9, 4), SUB)
    assert rehearsed == ordered
    assert ordered.changes == Changes(0, 31, 0, days(8, 1, 31))
    assert (world.total(7), world.total(8), world.feeding()) == (124, 31, {"": ["daily"]})
    assert world.cloud_account() == CONTAINER
    known = world.coverage(8)
    assert known is not None
    assert (known.source, known.read_through, known.good_on) == ("COST_EXPORT", on(8, 31), on(9, 3))
    # July is the query's: a correction does not count there, and in August it does.
    world.deliver(DAILY, days(9, 1, 20), [*each_day(9, 1, 20), row(7, 15, "-1"), row(8, 15, "-0.5")])
    assert (world.total(7), world.total(8), world.total(9)) == (124, Decimal("30.5"), 20)
    # Back: what is stored stays until the query has read it.
    world.use("query", on(9, 21), SUB)
    assert (world.total(8), world.feeding(), world.cloud_account()) == (Decimal("30.5"), {"": ["query"]}, asked)
    known = world.coverage(8)
    assert known is not None
    assert known.good_on is None
    world.query(each_day(8, 1, 31, "4"), days(8, 1, 31), at=on(9, 22))
    assert world.total(8) == 124
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31, "2"), at=on(9, 23))
    assert world.total(8) == 124


def test_an_order_says_anew_what_became_of_the_runs_that_it_concerns_and_keeps_what_else_was_said(world: World) -> None:
    other = export("other", Width.BILLING_ACCOUNT)
    world.deliver(DAILY, days(9, 5, 10), each_day(9, 5, 10))
    world.deliver(other, days(9, 5, 10), [*each_day(9, 5, 10), row(9, 6, sub="b00c"), row(9, 20, sub="b00c")])

    def said() -> list[tuple[RunState, str | None]]:
        return [(each.state, each.reason) for each in world.ledger.runs()]

    why = "7f0c is fed by the export {}; `exports use {} --for 7f0c` changes that"
    (_, before), _ = of_daily = said()
    left_out = (before or "").removeprefix(why.format("daily", "other"))
    assert left_out == ". 1 row of 20 September 2026 left out, for which a run of other days speaks"
    assert of_daily == [(RunState.IMPORTED, why.format("daily", "other") + left_out), (RunState.IMPORTED, None)]
    world.use(other, on(10, 2), SUB)
    assert said() == [(RunState.IMPORTED, left_out[2:]), (RunState.NOT_USED, why.format("other", "daily"))]
    world.use(DAILY, on(10, 3), SUB)
    assert said() == of_daily


def test_runs_of_a_group_and_of_all_of_its_sub_account_say_who_feeds_them_after_an_order_for_the_other(
    world: World,
) -> None:
    one, two = export("one", Width.GROUP), export("two", Width.GROUP)
    wide = export("all", Width.BILLING_ACCOUNT)
    world.asked()
    world.query(each_day(9, 1, 20, "4"), days(9, 1, 20))
    for number, each in enumerate((one, two, wide)):
        world.deliver(each, days(9, 1, 20), each_day(9, 1, 20), at=on(9, 20 + number))
    why = "{} is fed by {}; `exports use {} --for 7f0c` changes that"
    whole, group = "7f0c", "group rg of 7f0c"

    def said() -> dict[str, str | None]:
        return {each.run.export.name: each.reason for each in world.ledger.runs()}

    world.use(wide, on(9, 23), SUB)
    by_all = [why.format(group, "the export all", name) for name in ("one", "two")]
    assert said() == {"one": by_all[0], "two": by_all[1], "all": None}
    world.use(one, on(9, 24), SUB)
    assert said() == {"one": None, "two": why.format(group, "the export one", "two"), "all": None}
    world.use("query", on(9, 25), SUB)
    by_query = [why.format(group, "the query", name) for name in ("one", "two")]
    assert said() == {"one": by_query[0], "two": by_query[1], "all": why.format(whole, "the query", "all")}


def test_a_run_of_a_whole_sub_account_says_which_export_feeds_a_group_of_it_now(world: World) -> None:
    one, two = export("one", Width.GROUP), export("two", Width.GROUP)
    for number, each in enumerate((one, two, export("all", Width.BILLING_ACCOUNT))):
        world.deliver(each, days(9, 1, 20), each_day(9, 1, 20), at=on(9, 20 + number))
    world.use(two, on(9, 24), SUB)
    why = "7f0c is fed by the export two; `exports use all --for 7f0c` changes that"
    last = world.ledger.runs()[0]
    assert (last.state, last.reason) == (RunState.NOT_USED, why)


def test_an_order_holds_for_what_its_export_delivers_later_too(world: World) -> None:
    wide = export("all", Width.BILLING_ACCOUNT)
    world.deliver(wide, days(9, 1, 19), each_day(9, 1, 19, sub="9a1b"))
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    assert world.use(wide, on(9, 20)).fed == ()
    world.deliver(wide, days(9, 1, 21), each_day(9, 1, 21, "3"))
    assert (world.total(9), world.feeding()) == (63, {"": ["all"]})
    world.deliver(DAILY, days(9, 1, 22), each_day(9, 1, 22))
    assert world.total(9) == 63
    world.use(DAILY, on(9, 23))
    assert world.total(9) == 22


def test_a_month_that_the_feeding_export_has_not_delivered_keeps_the_other_s(world: World) -> None:
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31))
    world.deliver(MONTHLY, days(9, 1, 20), each_day(9, 1, 20, "3"))
    world.use(MONTHLY, on(9, 21), SUB)
    assert (world.total(8), world.total(9)) == (31, 60)
    world.deliver(DAILY, days(8, 1, 31), each_day(8, 1, 31, "2"), at=on(9, 22))
    assert world.total(8) == 62
    world.deliver(MONTHLY, days(8, 1, 31), each_day(8, 1, 31, "3"), at=on(9, 23))
    assert (world.total(8), world.total(9)) == (93, 60)
    world.use(DAILY, on(9, 24), SUB)
    assert (world.total(8), world.total(9)) == (62, 60)


def test_of_a_month_that_nobody_has_delivered_what_feeds_now_counts_alone(world: World) -> None:
    """The corrections of June in July's files: those of a group's export go with it, and come back with it."""
    group, whole, at = export("one", Width.GROUP), export("all", Width.BILLING_ACCOUNT), on(6, 21)
    world.deliver(group, days(7, 1, 20), [row(7, 1, "3", group="rg-one"), row(6, 21, "1", group="rg-one")])
    rows = [row(7, 1, "2", group="rg-one"), row(6, 21, "-0.75"), row(6, 21, "-4", group="rg-one")]
    world.deliver(whole, days(7, 1, 20), rows)
    june = []
    for order, source in enumerate((group, whole, group, whole)):
        world.use(source, on(7, 21 + order))
        june.append({key[1]: cost for key, cost in world.rows().items() if key[2] == at})
    both, of_whole = {"rg": Decimal("-0.75"), "rg-one": Decimal(1)}, {"rg": Decimal("-0.75"), "rg-one": Decimal(-4)}
    assert june == [{"rg-one": Decimal(1)}, of_whole, both, of_whole]


def test_what_an_export_delivers_while_the_query_feeds_counts_once_it_feeds_again(world: World) -> None:
    """Corrections of July, too, which nobody delivers, and of which it had none before."""
    world.asked()
    world.use("query", on(8, 1), SUB)
    world.deliver(MONTHLY, days(8, 1, 31), [*each_day(8, 1, 31), row(7, 22, "-2")])
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    world.use(MONTHLY, on(9, 21))
    assert world.total(7) == -2
    world.use(DAILY, on(9, 22))
    world.use("query", on(9, 23), SUB)
    world.deliver(DAILY, days(8, 1, 31), [*each_day(8, 1, 31), row(7, 22, "-3")], at=on(9, 24))
    assert world.total(7) == 0
    world.use(DAILY, on(9, 25))
    assert world.total(7) == -3


def test_what_the_query_has_read_of_some_groups_alone_stays_where_exports_only_correct_it(world: World) -> None:
    world.asked()
    world.deliver(DAILY, days(9, 1, 20), [*each_day(9, 1, 20), row(8, 15, "-0.75"), row(8, 16, "-0.5", group="other")])
    world.query(each_day(8, 14, 15, "2"), days(8, 1, 31), at=on(9, 20), group_keys=frozenset({"rg"}))
    world.use(DAILY, on(9, 21))
    assert (world.total(8), world.total(9)) == (4, 20)


def test_a_group_that_is_ordered_to_another_is_taken_out_of_its_sub_account(world: World) -> None:
    one = export("one", Width.GROUP)
    world.deliver(DAILY, days(9, 1, 20), [*each_day(9, 1, 20), *each_day(9, 1, 20, "2", group="rg-one")])
    world.deliver(one, days(9, 1, 20), each_day(9, 1, 20, "5", group="rg-one"))
    assert world.total(9) == 60
    world.use(one, on(9, 21), SUB)
    assert (world.total(9, group="rg"), world.total(9, group="rg-one")) == (20, 100)
    world.deliver(DAILY, days(9, 1, 22), [*each_day(9, 1, 22), *each_day(9, 1, 22, "2", group="rg-one")])
    assert (world.total(9, group="rg"), world.total(9, group="rg-one")) == (22, 100)
    world.use(DAILY, on(9, 23), SUB)
    assert (world.total(9, group="rg"), world.total(9, group="rg-one")) == (22, 44)
    assert (world.feeding(), world.group_coverage()) == ({"": ["daily"]}, [])


def test_the_last_day_that_an_export_delivered_to_a_billing_period_is_known(world: World) -> None:
    world.deliver(DAILY, days(8, 1, 31), [*each_day(8, 1, 31), row(7, 31, "0.5")])
    assert world.ledger.last_days([DAILY.key]) == {(DAILY.key, on(8, 1)): on(8, 31)}


def test_an_order_without_a_sub_account_is_for_all_and_the_query_takes_back_what_it_can_read(world: World) -> None:
    wide = export("all", Width.BILLING_ACCOUNT)
    world.asked()
    rows = [*each_day(9, 1, 20), *each_day(9, 1, 20, sub="9a1b")]
    assert world.deliver(wide, days(9, 1, 20), rows).record.state is RunState.IMPORTED
    assert (world.feeding(), world.feeding("9a1b")) == ({"": ["query"]}, {"": ["all"]})
    assert [each.sub_account for each in world.use(wide, on(9, 21)).fed] == [SUB]
    assert (world.feeding(), world.feeding("9a1b")) == ({"": ["all"]}, {"": ["all"]})
    # The other one no project names, and nobody ever asked for it.
    assert [each.sub_account for each in world.use("query", on(9, 22)).fed] == [SUB]
    assert world.use("query", on(9, 23)).fed == ()
    assert (world.total(9), world.total(9, "9a1b")) == (20, 20)


def test_an_order_for_what_nobody_has_is_refused_in_a_sentence(world: World) -> None:
    with pytest.raises(NeverError, match=r"There is no export azure:nobody\.$"):
        world.use("azure:nobody", on(9, 21))
    with pytest.raises(NeverError, match="No cloud account is known to read 12: `cloud-accounts add aws` adds it"):
        world.ledger.use(Order("query", world_time(21, 0), Fed("aws", "12")), "tester")


# --- other providers, and what is due ------------------------------------------------------------------------


def test_of_another_provider_the_scope_is_the_sub_account_whatever_its_rows_say_of_groups(world: World) -> None:
    focus = replace(export("focus", Width.BILLING_ACCOUNT, dataset=Dataset.FOCUS), provider="aws")
    rows = [row(9, 3, "2", sub="012345", group="named"), row(9, 3, "0.5", sub="012345", group="other")]
    world.deliver(focus, None, rows)
    assert world.rows() == {("012345", "", on(9, 3), "Storage", "CAD"): Decimal("2.5")}
    assert world.cloud_account("012345") == CONTAINER


def test_a_run_without_dates_speaks_for_the_periods_in_its_rows_of_all_that_it_feeds(world: World) -> None:
    focus = export("focus", Width.BILLING_ACCOUNT, dataset=Dataset.FOCUS)
    september = on(9, 1)
    world.deliver(focus, None, [row(8, 31, period=september), row(9, 3, period=september), row(9, 3, sub="9a1b")])
    assert (world.total(8), world.total(9), world.total(9, "9a1b")) == (1, 1, 1)
    # Of the other sub-account it has no row: that is not believed at once.
    world.deliver(focus, None, [row(9, 3, "5", period=september)], at=on(9, 20))
    assert (world.total(9), world.total(9, "9a1b")) == (5, 1)
    world.deliver(focus, None, [row(10, 3)])
    assert (world.total(9), world.total(10)) == (5, 1)


def test_files_that_lie_in_no_container_feed_by_an_account_that_nobody_asks_or_scans(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20), cloud_account_id=None)
    accounts = SqlCloudAccounts(world.database).accounts()
    assert [(each.connection_type, each.status) for each in accounts] == [("COST_EXPORT", AccountStatus.DISABLED)]
    assert world.cloud_account() == accounts[0].id


def test_sums_that_can_not_be_stored_are_refused_before_a_charge_of_them_is_made(world: World) -> None:
    most = largest_amount(world.database.engine.dialect)
    wide, others = export("all", Width.BILLING_ACCOUNT), [row(9, 3, sub=f"sub-{number}") for number in range(40)]
    record = world.stage(wide, days(9, 1, 20), [row(9, 3, str(most)), row(9, 3, "1"), *others], parts=2)
    with pytest.raises(NeverError, match="CAD for Storage of 7f0c on 2026-09-03, which can't be stored; the largest"):
        world.make(record)
    assert world.rows() == {}


def test_what_lies_in_two_billing_periods_and_comes_to_too_much_on_its_day_is_refused_too(world: World) -> None:
    half = largest_amount(world.database.engine.dialect) / 2 + 1
    rows = [row(9, 3, str(half), period=on(month, 1)) for month in (8, 9)]
    record = world.stage(export("focus", dataset=Dataset.FOCUS), None, rows, at=on(9, 20))
    with pytest.raises(NeverError, match=r"It has .* CAD for Storage of 7f0c on 2026-09-03, which can't be stored"):
        world.make(record)
    assert world.rows() == {}
    world.ledger.fail(record.run, "too much", record.found_at)
    one = world.deliver(DAILY, days(9, 1, 20), [row(9, 3, str(half)), row(9, 4, str(half)), row(9, 5, f"-{half}")])
    assert one.record.state is RunState.IMPORTED


def test_whose_groups_are_fed_is_due_for_a_check_and_read_at_the_run_s_time(world: World) -> None:
    ledgers = Ledgers(world.database)
    ledgers.load(entry(1, "rg", subscription_id="9a1b"), entry(2, "other", subscription_id="unfed"))
    world.deliver(export("all", Width.BILLING_ACCOUNT), days(9, 1, 20), each_day(9, 1, 20, sub="else"))
    world.use(export("all", Width.BILLING_ACCOUNT), on(9, 20))
    imported = world.deliver(export("all", Width.BILLING_ACCOUNT), days(9, 1, 21), each_day(9, 1, 20, sub="9a1b"))
    assert imported.due_projects == (1,)
    (one, other) = ledgers.projects.list_projects(on(9, 22))
    assert (one.updated_at, other.updated_at) == (imported.record.run.at, None)
    # Whoever asks again is told the same, until the check was made.
    assert world.make(imported.record).due_projects == (1,)
    ledgers.check(1)
    assert world.make(imported.record).due_projects == ()


def test_whoever_had_a_group_on_the_days_that_change_is_due_however_long_ago_that_was(world: World) -> None:
    ledgers, noon = Ledgers(world.database), time(12, tzinfo=UTC)
    ledgers.load(entry(1, "rg", subscription_id=SUB), now=datetime.combine(on(8, 1), noon))
    ledgers.load(
        entry(1, "rg-other", subscription_id="9a1b"),
        entry(2, "rg", subscription_id=SUB),
        now=datetime.combine(on(9, 16), noon),
    )
    world.deliver(DAILY, days(9, 1, 30), each_day(9, 1, 30), at=on(10, 5))
    world.use(DAILY, on(10, 6))
    world.deliver(DAILY, days(11, 1, 1), each_day(11, 1, 1))
    ledgers.check(1, 2, now=datetime.combine(on(11, 2), noon))
    same = world.deliver(DAILY, days(9, 1, 30), each_day(9, 1, 30), at=on(11, 2))
    assert same.due_projects == (2,)
    ledgers.check(2, now=datetime.combine(on(11, 2), noon))
    later = world.deliver(DAILY, days(9, 1, 30), [*each_day(9, 1, 29), row(9, 30, "6")], at=on(11, 3))
    assert later.due_projects == (2,)
    restated = world.deliver(DAILY, days(9, 1, 30), each_day(9, 1, 30, "6"), at=on(11, 4))
    assert restated.due_projects == (1, 2)


def test_an_export_that_feeds_and_is_silent_is_told_with_its_last_run(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    last = world.deliver(DAILY, days(9, 1, 21), each_day(9, 1, 21)).record.found_at
    world.deliver(MONTHLY, days(9, 1, 20), each_day(9, 1, 20))
    assert world.ledger.silent_exports(last) == []
    assert world.ledger.silent_exports(last + (last - last.replace(hour=0))) == [(DAILY, last)]


def test_runs_that_wait_for_parts_end_no_silence_and_what_was_imported_by_hand_begins_none(world: World) -> None:
    last = world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20)).record.found_at
    world.stage(DAILY, days(9, 1, 21), each_day(9, 1, 21), waiting="1 of its 2 parts not there yet")
    world.deliver(MONTHLY, days(8, 1, 20), each_day(8, 1, 20, sub="9a1b"), container="")
    assert world.ledger.silent_exports(last.replace(year=2027)) == [(DAILY, last)]


def test_a_run_that_waited_ends_the_silence_when_its_parts_come(world: World) -> None:
    world.deliver(DAILY, days(9, 1, 20), each_day(9, 1, 20))
    late = days(9, 1, 21), each_day(9, 1, 21)
    found_at = world.stage(DAILY, *late, name="late", waiting="1 of its 2 parts not there yet").found_at
    came_at = found_at + timedelta(days=5)
    record = world.stage(DAILY, *late, name="late", found_at=came_at)
    assert (record.found_at, record.started_at) == (found_at, came_at)
    world.make(record)
    # An older one fails meanwhile: the last one counts, whatever its number.
    world.stage(DAILY, days(8, 1, 31), each_day(8, 1, 31), found_at=found_at + timedelta(days=1))
    assert world.ledger.silent_exports(came_at) == []
    assert world.ledger.silent_exports(came_at + timedelta(days=1)) == [(DAILY, came_at)]


def test_an_export_of_which_every_run_waits_is_silent_since_the_first(world: World) -> None:
    first = world.stage(DAILY, days(9, 1, 20), each_day(9, 1, 20), waiting="1 part not there yet").found_at
    world.stage(DAILY, days(9, 1, 21), each_day(9, 1, 21), waiting="1 part not there yet")
    assert world.ledger.silent_exports(first.replace(year=2027)) == [(DAILY, first)]
    world.stage(DAILY, days(9, 1, 22), each_day(9, 1, 22))
    assert world.ledger.silent_exports(first.replace(year=2027)) == []


def test_a_group_that_is_fed_by_itself_keeps_what_the_query_has_read_while_the_rest_moves(world: World) -> None:
    """History 772: it held that by what all of its sub-account held, which an export that came later has changed."""
    two = export("two", Width.GROUP)
    world.asked()
    world.query([*each_day(8, 1, 31, "2"), *each_day(8, 1, 31, "3", group="rg-two")], days(8, 1, 31), on(9, 7))
    world.deliver(two, days(9, 1, 5), each_day(9, 1, 5, group="rg-two"))
    world.deliver(export("daily"), days(9, 1, 9), each_day(9, 1, 9), at=on(9, 10))
    world.use(export("daily"), on(9, 10))
    world.use(two, on(9, 11))
    world.deliver(export("daily"), days(8, 1, 31), each_day(8, 1, 31, "5"), at=on(9, 12))
    # Who feeds what is looked at anew.
    one = export("one", Width.GROUP)
    world.deliver(one, days(9, 1, 12), each_day(9, 1, 12, group="rg-one"), at=on(9, 13))
    world.use(one, on(9, 14))
    assert (world.total(8, group="rg"), world.total(8, group="rg-two")) == (155, 93)


def test_a_group_that_is_fed_by_itself_keeps_another_s_month_whoever_feeds_the_other_groups(world: World) -> None:
    """History 291: that another group was fed by itself had it forget whose charges it held."""
    one, two, alls = export("one", Width.GROUP), export("two", Width.GROUP), export("all", Width.BILLING_ACCOUNT, "42")
    focus = export("focus", Width.BILLING_ACCOUNT, dataset=Dataset.FOCUS)
    world.deliver(two, days(7, 1, 31), each_day(7, 1, 31, group="rg-two"), at=on(8, 1))
    world.use(two, on(8, 2))
    world.deliver(focus, None, each_day(8, 1, 3, group="rg"), at=on(8, 3))
    world.deliver(alls, days(9, 1, 30), each_day(9, 1, 30, "4", group="rg-two"), at=on(10, 4))
    # Without a row, which is not believed.
    world.deliver(two, days(9, 1, 5), [], at=on(10, 5))
    world.deliver(one, days(7, 1, 31), each_day(7, 1, 31, group="rg-one"), at=on(10, 6))
    world.deliver(focus, None, each_day(9, 1, 30, group="rg-two"), at=on(10, 7))
    assert world.total(9, group="rg-two") == 120
