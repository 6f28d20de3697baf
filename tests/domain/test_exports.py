"""The rules of cost exports: what counts of runs that come in any order, who feeds, and what is known then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.charges import ChargeSet, CostMetric
from shared.domain.coverage import BY_EXPORT, NO_CHARGE, Coverage, CoverageState, StoredCharge, gaps
from shared.domain.exports.days import Spoken, billing_period, counted, days_within, left_to, placed, spoken_by
from shared.domain.exports.feeding import (
    QUERY,
    Fed,
    Feed,
    Feeds,
    Offer,
    Order,
    Verdict,
    by_fed,
    fed_by,
    feeds_of,
    offers_of,
    outcome,
    suppliers,
    unread,
    use,
    who_feeds,
)
from shared.domain.exports.files import FileRun, file_export, last_days, refusals
from shared.domain.exports.reading import read_by, read_through_all
from shared.domain.exports.runs import (
    Blob,
    Dataset,
    Export,
    ExportRun,
    Found,
    RunState,
    Width,
    content_of,
    what_is,
    why_waiting,
)
from shared.domain.exports.sums import ChargeKey, Row, Sums, added, sums_of
from shared.domain.money import MoneyError
from shared.domain.periods import Period

DAY = timedelta(days=1)
AUGUST, SEPTEMBER, OCTOBER = date(2026, 8, 1), date(2026, 9, 1), date(2026, 10, 1)
SUB, OTHER_SUB = Fed("azure", "7f0c"), Fed("azure", "9a1b")
DAILY = Export("azure", "/subscriptions/7F0C/exports/Daily", "daily", Dataset.ACTUAL, Width.SUB_ACCOUNT)
CLOSED_ON = 5
LOOKBACK_DAYS = 35


def on(day: int, month: int = 9) -> date:
    return date(2026, month, day)


def days(first: int, last: int, month: int = 9) -> Period:
    return Period(on(first, month), on(last, month) + DAY)


def at(day: date, hour: int = 4) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def a_run(
    period: Period | None = None, submitted: datetime | None = None, found: int = 1, export: Export = DAILY
) -> ExportRun:
    submitted = submitted or at(period.last_day if period else on(20))
    place, content = f"msexports/{found}/manifest.json", f"content {found}"
    return ExportRun(export, f"run {found}", place, submitted, submitted + timedelta(hours=1), found, period, content)


def row(day: date, cost: str = "1", group: str = "rg", period: date | None = None, sub: str = "7F0C") -> Row:
    return Row(sub, group, day, "Storage", "CAD", period, Decimal(cost))


# --- which runs are the same -----------------------------------------------------------------------------------


def test_an_export_is_what_its_manifest_calls_it_and_azure_compares_that_without_case():
    assert replace(DAILY, id=DAILY.id.upper(), name="renamed").key == DAILY.key
    arn = Export("aws", "arn:aws:bcm-data-exports:us-east-1:1:export/Focus", "focus", Dataset.FOCUS)
    assert replace(arn, id=arn.id.lower()).key != arn.key


def test_a_run_is_as_old_as_its_submitted_time_and_of_two_as_old_the_one_found_later_is_newer():
    run = a_run(days(1, 20))
    assert (run.at, replace(run, submitted_at=None).at) == (at(on(20)), at(on(20), hour=5))
    assert run.age < replace(run, found=2).age < replace(run, submitted_at=at(on(20), hour=9), found=1).age


def test_the_same_content_again_is_known_whatever_order_its_parts_come_in():
    run = replace(a_run(), content=content_of("m", ["a", "b"]))
    assert content_of("m", ["b", "a"]) == run.content != content_of("m", ["a", "c"])
    assert what_is(run, []) is Found.NEW
    assert what_is(run, [run]) is Found.KNOWN


def test_new_parts_under_an_unchanged_manifest_are_a_new_run_and_a_copy_of_a_run_elsewhere_is_none():
    run = a_run()
    assert what_is(replace(run, content="other parts"), [run]) is Found.NEW
    copy = replace(run, place="backup/manifest.json", content="other ETags", modified_at=at(on(29)))
    assert what_is(copy, [run]) is Found.COPY
    assert what_is(replace(copy, submitted_at=at(on(21))), [run]) is Found.NEW
    elsewhere = replace(copy, export=replace(DAILY, id="another"))
    assert what_is(elsewhere, [run]) is Found.NEW


def test_a_copy_of_a_run_without_submitted_time_is_told_by_its_id_and_files_have_neither():
    run = replace(a_run(), submitted_at=None)
    copy = replace(run, place="mirror/manifest.json", content="other ETags", modified_at=at(on(29)))
    assert what_is(copy, [run]) is Found.COPY
    assert what_is(replace(copy, run_id=""), [replace(run, run_id="")]) is Found.NEW


def test_two_billing_periods_of_one_execution_are_two_runs_and_a_copy_of_either_is_none():
    october = replace(a_run(), submitted_at=None, place="aws/metadata/BILLING_PERIOD=2026-10/focus-Manifest.json")
    november = replace(october, place=october.place.replace("-10/", "-11/"), content="of November")
    assert what_is(november, [october]) is Found.NEW
    copy = replace(november, place=f"mirror/{november.place}", content="other ETags")
    assert what_is(copy, [october, november]) is Found.COPY


def test_without_a_submitted_time_what_has_other_bytes_is_no_copy_wherever_it_lies():
    """Mirrored into folders of one's own, no path names the billing periods of AWS's execution."""
    october = replace(a_run(), submitted_at=None, place="10/focus-Manifest.json", size=4_096)
    november = replace(october, place="11/focus-Manifest.json", content="of November", size=4_097)
    assert what_is(november, [october]) is Found.NEW
    assert what_is(replace(november, place="backup/11/focus-Manifest.json", content="m"), [november]) is Found.COPY


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"a": 10, "b": 20}, None),
        ({}, None),
        ({"a": None}, None),
        ({"a": 10, "c": 5}, "1 of its 2 parts not there yet: c"),
        ({"c": 5, "d": 5}, "2 of its 2 parts not there yet: c, d"),
        ({"a": 10, "b": 21}, "b has 20 bytes, and 21 by its manifest"),
        ({"empty": None}, "empty is still empty"),
        ({"empty": 0}, None),
    ],
)
def test_a_run_waits_until_each_part_is_there_in_the_size_that_its_manifest_says(parts, sentence):
    there = {"a": Blob(10, "1"), "b": Blob(20, "2"), "empty": Blob(0, "3")}
    assert why_waiting(parts, there) == sentence


# --- what parts come to ----------------------------------------------------------------------------------------


COSTS = st.decimals(-(10**9), 10**9, places=20) | st.sampled_from(
    [Decimal("1E-20"), Decimal("-1.5E+9"), Decimal("0.1")]
)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.sampled_from(["RG", "rg ", "other", ""]), st.sampled_from(["CAD", "USD"]), COSTS
        )
    ),
    st.randoms(use_true_random=False),
)
def test_parts_add_up_exactly_in_any_order_and_are_rounded_once(rows, random):
    expected, numbers = defaultdict(Fraction), defaultdict(int)
    parts = []
    for day, group, currency, cost in rows:
        key = ("azure", "7f0c", group.strip().lower(), on(day), "Storage", currency, None)
        expected[key] += Fraction(cost)
        numbers[key] += 1
        parts.append(sums_of([Row("7F0C", group, on(day), "Storage ", currency, None, cost)], DAILY))
    random.shuffle(parts)
    some = random.randrange(len(parts) + 1)
    total = added([added(parts[some:]), added(parts[:some])])
    assert {key: Fraction(each.cost) for key, each in total.charges.items()} == expected
    assert {key: each.rows for key, each in total.charges.items()} == numbers
    assert total == added(parts)
    assert total.rows == len(rows)
    for key, cost in total.rounded().items():
        assert abs(Fraction(cost) - expected[key]) <= Fraction(1, 2 * 10**10)
        assert -cost.as_tuple().exponent <= 10
    for currency, cost in total.totals.items():
        assert Fraction(cost) == sum(each for key, each in expected.items() if key[5] == currency)


def test_what_is_rounded_is_the_sum_and_not_its_rows():
    tiny = [row(on(1), "0.00000000004"), row(on(1), "0.00000000004")]
    assert list(sums_of(tiny, DAILY).rounded().values()) == [Decimal("1E-10")]


def test_a_cost_that_has_no_exact_sum_is_refused():
    for cost in ("NaN", "Infinity", "1E+300"):
        with pytest.raises(MoneyError, match="no exact sum"):
            sums_of([row(on(1)), row(on(1), cost)], DAILY)


def test_a_charge_without_a_sub_account_belongs_to_its_billing_account_and_no_part_of_a_key_is_empty_for_that():
    bare = row(on(1), sub=" ")
    scoped = replace(DAILY, billing_account="Billing-1")
    owners = [
        next(iter(sums_of([each], export).charges)).sub_account
        for each, export in [(bare._replace(billing_account_id="B-2"), scoped), (bare, scoped), (bare, DAILY)]
    ]
    assert owners == ["b-2", "billing-1", DAILY.id.lower()]


def test_a_sub_account_of_a_run_is_answered_as_any_source_answers_it():
    sums = sums_of([row(on(1), "0.1", "RG"), row(on(1), "0.2", "rg"), row(on(1), "3", "")], DAILY)
    dollars = sums_of([row(on(2))._replace(currency="USD")], DAILY)
    cad, usd = added([sums, dollars]).charge_sets()
    expected = {("rg", on(1), "Storage"): Decimal("0.3"), ("", on(1), "Storage"): Decimal(3)}
    assert (cad.billing_currency, cad.amounts, cad.group_names) == ("CAD", expected, {"rg": "rg", "": ""})
    assert (usd.billing_currency, list(usd.amounts.values())) == ("USD", [1])


# --- whose day -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run_days", "day", "named", "period"),
    [
        (days(1, 20), on(3), None, SEPTEMBER),
        (days(1, 20), on(15, 8), None, SEPTEMBER),
        (days(1, 30), on(1, 10), OCTOBER, SEPTEMBER),
        (Period(on(20, 8), on(20, 9)), on(5, 9), None, SEPTEMBER),
        (Period(on(20, 8), on(20, 9)), on(25, 9), None, AUGUST),
        (None, on(15, 8), SEPTEMBER, SEPTEMBER),
        (None, on(15, 8), date(2026, 9, 15), SEPTEMBER),
        (None, on(15, 8), None, AUGUST),
    ],
)
def test_a_charge_counts_to_its_days_month_where_the_dates_hold_it_and_to_the_named_period_without_dates(
    run_days, day, named, period
):
    assert billing_period(a_run(run_days), day, named) == period


def test_a_correction_of_a_closed_month_stays_on_its_day_in_the_run_that_delivers_it():
    run = a_run(days(1, 20))
    whole = placed(run, sums_of([row(on(3)), row(on(15, 8), "-2")], DAILY))
    assert {(key.billing_period, key.day): each.cost for key, each in whole.charges.charges.items()} == {
        (SEPTEMBER, on(3)): 1,
        (SEPTEMBER, on(15, 8)): -2,
    }
    assert whole.sentence is None


def test_what_a_run_does_not_speak_for_is_left_out_and_said():
    rows = [row(on(15, 8)), row(on(12)), row(on(20), "2"), row(on(20), "3")]
    whole = placed(a_run(days(10, 15)), sums_of(rows, DAILY))
    assert {key.day for key in whole.charges.charges} == {on(12)}
    assert (
        whole.sentence == "3 rows of 15 August 2026 to 20 September 2026 left out, for which a run of other days speaks"
    )
    one = placed(a_run(days(10, 15)), sums_of(rows[:2], DAILY))
    assert one.sentence == "1 row of 15 August 2026 left out, for which a run of other days speaks"


def test_a_run_speaks_for_its_days_and_with_the_first_of_the_month_for_what_lies_outside():
    (part,) = spoken_by(a_run(days(10, 15)), []).values()
    assert (part.windows, part.outside) == ([days(10, 15)], False)
    assert [each in part for each in (on(10), on(16), on(15, 8))] == [True, False, False]
    (to_date,) = spoken_by(a_run(days(1, 20)), []).values()
    assert [each in to_date for each in (on(20), on(21), on(15, 8), on(1, 10))] == [True, False, True, True]
    from_the_first = spoken_by(a_run(Period(AUGUST, on(5))), [])
    assert [each.outside for each in from_the_first.values()] == [True, False]
    both = spoken_by(a_run(Period(on(20, 8), on(20, 9))), [])
    assert [(each.period, each.windows, each.outside) for each in both.values()] == [
        (AUGUST, [days(20, 31, 8)], False),
        (SEPTEMBER, [days(1, 19)], False),
    ]


def test_a_run_without_dates_speaks_for_the_periods_in_its_rows_whole():
    rows = [row(on(15, 8), period=SEPTEMBER), row(on(2, 10), period=OCTOBER)]
    whole = placed(a_run(None), sums_of(rows, DAILY))
    assert [(each.windows, each.outside) for each in whole.spoken.values()] == [
        ([days(1, 30)], True),
        ([days(1, 31, 10)], True),
    ]
    assert placed(a_run(None), Sums()).spoken == {}


# --- what a run replaces ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Delivered:
    """A run and its rows, in parts."""

    run: ExportRun
    parts: tuple[tuple[Row, ...], ...]


class Importer:
    """What is stored of one export when runs are imported by the rules, as a database would be changed."""

    def __init__(self) -> None:
        self.stored: dict[ChargeKey, Decimal] = {}
        self.spoke: list[tuple[ExportRun, Spoken]] = []
        self.staged: dict[tuple[int, int], Sums] = {}

    def stage(self, delivered: Delivered, part: int) -> None:
        self.staged[delivered.run.found, part] = sums_of(delivered.parts[part], DAILY)

    def make_months(self, delivered: Delivered) -> None:
        run = delivered.run
        whole = placed(run, added(self.staged[run.found, part] for part in range(len(delivered.parts))))
        for spoken in whole.spoken.values():
            left = left_to(run, spoken, self.spoke)
            kept = {
                key: cost
                for key, cost in self.stored.items()
                if key.billing_period != left.period or key.day not in left
            }
            self.stored = kept | counted(whole.charges, left).rounded()
            self.spoke.append((run, spoken))

    def import_(self, *all_delivered: Delivered) -> dict[tuple[date, date], Decimal]:
        for delivered in all_delivered:
            for part in range(len(delivered.parts)):
                self.stage(delivered, part)
            self.make_months(delivered)
        return self.by_day

    @property
    def by_day(self) -> dict[tuple[date, date], Decimal]:
        """By billing period and day; all other parts of the keys are the same in these tests."""
        found: dict[tuple[date, date], Decimal] = defaultdict(Decimal)
        for key, cost in self.stored.items():
            assert key.billing_period
            found[key.billing_period, key.day] += cost
        return found


def delivered(run: ExportRun, *rows: Row) -> Delivered:
    return Delivered(run, (rows,))


def first_of(day: date) -> date:
    return day.replace(day=1)


def by_the_newest(runs: Iterable[Delivered]) -> dict[tuple[date, date], Decimal]:
    """The oracle: a dictionary from each day of each period (None: all days outside of it) to the newest run."""
    newest: dict[tuple[date, date | None], Delivered] = {}
    for each in sorted(runs, key=lambda each: (each.run.submitted_at, each.run.found)):
        for place in places_of(each):
            newest[place] = each
    found: dict[tuple[date, date], Decimal] = defaultdict(Decimal)
    for place, each in newest.items():
        for said in rows_of(each):
            if place_of(each.run, said) == place:
                found[place[0], said.day] += said.cost
    return found


def rows_of(each: Delivered) -> list[Row]:
    return [said for part in each.parts for said in part]


def place_of(run: ExportRun, said: Row) -> tuple[date, date | None]:
    if run.days is None:
        period = first_of(said.billing_period or said.day)
    else:
        period = first_of(said.day if said.day in run.days else run.days.start)
    return period, said.day if first_of(said.day) == period else None


def places_of(each: Delivered) -> set[tuple[date, date | None]]:
    if each.run.days is None:
        periods = {place_of(each.run, said)[0] for said in rows_of(each)}
        of_month = {(first, first + number * DAY) for first in periods for number in range(31)}
        return {(first, None) for first in periods} | {(one, day) for one, day in of_month if first_of(day) == one}
    start = each.run.days.start
    held = {start + number * DAY for number in range(each.run.days.days)}
    return {(first_of(day), day) for day in held} | ({(start, None)} if start.day == 1 else set())


ROWS = st.builds(
    lambda day, cost, period: row(AUGUST + day * DAY, cost, period=period),
    st.integers(-9, 75),
    st.integers(-9, 99).map(str),
    st.sampled_from([None, AUGUST, SEPTEMBER]),
)
RUN_DAYS = st.none() | st.builds(
    lambda start, length: Period(start, start + length * DAY),
    st.sampled_from([AUGUST, SEPTEMBER, SEPTEMBER, on(10), on(25, 8)]),
    st.integers(1, 31),
)
HISTORIES = st.lists(
    st.tuples(RUN_DAYS, st.integers(1, 4), st.lists(st.lists(ROWS, max_size=4).map(tuple), min_size=1, max_size=2)),
    min_size=1,
    max_size=4,
).map(
    lambda runs: [
        Delivered(a_run(period, at(on(submitted)), number), tuple(parts))
        for number, (period, submitted, parts) in enumerate(runs)
    ]
)


@given(HISTORIES, st.data())
def test_each_day_is_what_the_newest_run_that_speaks_for_it_says_alone_whatever_the_order_repetition_and_interruption(
    history: list[Delivered], data: st.DataObject
):
    importer = Importer()
    again = data.draw(st.lists(st.sampled_from(history), max_size=3))
    for each in data.draw(st.permutations(history + again)):
        parts = data.draw(st.sets(st.sampled_from(range(len(each.parts)))))
        for part in parts:
            importer.stage(each, part)
        if data.draw(st.booleans()):
            # Here it was killed; the whole is taken again below.
            continue
        importer.import_(each)
    importer.import_(*history)
    expected = by_the_newest(history)
    assert {place: cost for place, cost in importer.by_day.items() if cost} == {
        place: cost for place, cost in expected.items() if cost
    }


@given(HISTORIES)
def test_the_same_content_twice_changes_nothing_and_a_late_run_changes_only_days_for_which_no_newer_spoke(
    history: list[Delivered],
):
    importer = Importer()
    importer.import_(*history)
    before, spoke = dict(importer.by_day), list(importer.spoke)
    assert importer.import_(history[0]) == before
    late = delivered(a_run(days(1, 30), at(on(30, 7)), found=99), *[row(on(day), "1000") for day in range(1, 31)])
    after = importer.import_(late)
    for period, day in after.keys() | before.keys():
        was_spoken_for = any(period == its.period and day in its for _, its in spoke)
        if was_spoken_for:
            assert after.get((period, day)) == before.get((period, day))
        else:
            assert after[period, day] == 1000


def test_selected_dates_change_their_days_and_no_other():
    to_date = delivered(a_run(days(1, 20)), *[row(on(day)) for day in (1, 10, 15, 20)], row(on(15, 8), "7"))
    selected = delivered(a_run(days(10, 15), at(on(25)), found=2), row(on(10), "5"))
    for order in ([to_date, selected], [selected, to_date], [selected, to_date, selected]):
        assert Importer().import_(*order) == {
            (SEPTEMBER, on(1)): 1,
            (SEPTEMBER, on(10)): 5,
            (SEPTEMBER, on(20)): 1,
            (SEPTEMBER, on(15, 8)): 7,
        }


def test_of_two_runs_submitted_at_once_the_one_found_later_counts_and_another_exports_runs_never_do():
    submitted = at(on(20))
    one = delivered(a_run(days(1, 20), submitted, found=1), row(on(3), "1"))
    other = delivered(a_run(days(1, 20), submitted, found=2), row(on(3), "2"))
    for order in ([one, other], [other, one]):
        assert Importer().import_(*order) == {(SEPTEMBER, on(3)): 2}
    (spoken,) = spoken_by(one.run, []).values()
    newer = replace(other.run, export=replace(DAILY, id="monthly"))
    assert left_to(one.run, spoken, [(newer, spoken)]) == spoken
    assert not left_to(one.run, spoken, [(other.run, spoken)])


# --- who feeds -------------------------------------------------------------------------------------------------


ACTUAL = CostMetric.ACTUAL
WIDE = Export("azure", "billing-1/exports/wide", "wide", Dataset.FOCUS, Width.BILLING_ACCOUNT, "billing-1")
MONTHLY = replace(DAILY, id="monthly", name="monthly")
AMORTIZED = replace(DAILY, id="amortized", name="amortized", dataset=Dataset.AMORTIZED)
PRICES = replace(WIDE, id="prices", name="prices", dataset=Dataset.OTHER)
GROUP_A = Export("azure", "rg-a/exports/a", "a", Dataset.ACTUAL, Width.GROUP)
GROUP_B = replace(GROUP_A, id="rg-b/exports/b", name="b")
A, B = SUB._replace(group_key="rg-a"), SUB._replace(group_key="rg-b")


def offer(export: Export, fed: Fed = SUB, of: Period | None = None, submitted: int = 20, found: int = 1) -> Offer:
    return Offer(fed, a_run(of or days(1, 20), at(on(submitted)), found, export), of or days(1, 20))


def feeding(*offers: Offer, feeds: Feeds | None = None, orders: Iterable[Order] = ()) -> Feeds:
    return who_feeds(offers, feeds or {}, ACTUAL, list(orders))[0]


def verdicts(*offers: Offer, feeds: Feeds | None = None, orders: Iterable[Order] = ()) -> dict[str, Verdict]:
    _, found = who_feeds(offers, feeds or {}, ACTUAL, list(orders))
    return {each.offer.run.export.name: each for each in found}


def sources(feeds: Feeds) -> dict[Fed, list[str]]:
    return {fed: [each.export.name if each.export else QUERY for each in some] for fed, some in feeds.items()}


def groups(shares: Mapping[Fed, Sums]) -> dict[Fed, set[str]]:
    return {fed: {key.group_key for key in sums.charges} for fed, sums in shares.items()}


def ordered(export: Export | None, day: int, sub_account: Fed | None = None) -> Order:
    return Order(export.key if export else QUERY, at(on(day)), sub_account)


def test_the_first_that_delivered_feeds_and_a_rival_is_not_used_with_the_command_that_changes_it():
    first = feeding(offer(DAILY))
    assert sources(first) == {SUB: ["daily"]}
    found = verdicts(offer(WIDE), offer(DAILY, submitted=21), offer(WIDE, OTHER_SUB), feeds=first)
    assert found["daily"] == Verdict(offer(DAILY, submitted=21), used=True)
    assert sources(feeding(offer(WIDE), offer(WIDE, OTHER_SUB), feeds=first)) == {SUB: ["daily"], OTHER_SUB: ["wide"]}
    rival = verdicts(offer(WIDE), feeds=first)["wide"]
    assert rival == Verdict(
        offer(WIDE), False, "7f0c is fed by the export daily; `exports use wide --for 7f0c` changes that"
    )


@given(
    st.permutations(
        [offer(WIDE), offer(DAILY, submitted=3), offer(MONTHLY, submitted=2), offer(GROUP_A, A), offer(AMORTIZED)]
    )
)
def test_of_several_found_in_one_scan_the_widest_feeds_then_the_earliest_submitted_in_whatever_order(offers):
    assert sources(feeding(*offers)) == {SUB: ["wide"]}
    without_wide = [each for each in offers if each.run.export is not WIDE]
    assert sources(feeding(*without_wide)) == {SUB: ["monthly"]}


def test_exports_of_groups_feed_side_by_side_and_one_of_their_sub_account_is_a_rival():
    feeds = feeding(offer(GROUP_A, A), offer(GROUP_B, B))
    assert sources(feeds) == {A: ["a"], B: ["b"]}
    assert verdicts(offer(DAILY), feeds=feeds)["daily"].reason == (
        "7f0c is fed by the export a; `exports use daily --for 7f0c` changes that"
    )
    assert verdicts(offer(GROUP_A, A), feeds=feeding(offer(DAILY)))["a"].reason == (
        "group rg-a of 7f0c is fed by the export daily; `exports use a --for 7f0c` changes that"
    )


def test_what_the_query_feeds_stays_the_querys_until_it_is_ordered_and_goes_back_by_an_order():
    by_query: Feeds = {SUB: (Feed(),), OTHER_SUB: (Feed(),)}
    found = verdicts(offer(WIDE), feeds=by_query)["wide"]
    assert (found.used, found.reason) == (
        False,
        "7f0c is fed by the query; `exports use wide --for 7f0c` changes that",
    )
    covered = {SUB: Feed(WIDE, days(1, 20)), OTHER_SUB: Feed(WIDE, days(1, 20))}
    after, changed = use(ordered(WIDE, 21, SUB), covered, by_query)
    assert (sources(after), changed) == ({SUB: ["wide"], OTHER_SUB: [QUERY]}, [SUB])
    both, changed = use(ordered(WIDE, 21), covered, by_query)
    assert (sources(both), changed) == ({SUB: ["wide"], OTHER_SUB: ["wide"]}, [SUB, OTHER_SUB])
    back, changed = use(ordered(None, 22, SUB), {SUB: Feed(), OTHER_SUB: Feed()}, both)
    assert (sources(back), changed) == ({SUB: [QUERY], OTHER_SUB: ["wide"]}, [SUB])
    orders = [ordered(WIDE, 21), ordered(None, 22, SUB)]
    assert sources(feeding(offer(WIDE), offer(WIDE, OTHER_SUB), feeds=back, orders=orders)) == sources(back)
    assert use(ordered(None, 23, SUB), {SUB: Feed()}, back) == (back, [])


def test_an_order_holds_for_what_its_export_covers_later_and_of_two_the_later_one():
    orders = [ordered(MONTHLY, 21), ordered(DAILY, 22, OTHER_SUB)]
    by_query: Feeds = {SUB: (Feed(),), OTHER_SUB: (Feed(),)}
    offers = [offer(each, fed) for each in (DAILY, MONTHLY) for fed in (SUB, OTHER_SUB)]
    assert sources(feeding(*offers, feeds=by_query, orders=orders)) == {SUB: ["monthly"], OTHER_SUB: ["daily"]}
    assert sources(feeding(*offers, feeds=by_query, orders=[*orders, ordered(MONTHLY, 23)])) == {
        SUB: ["monthly"],
        OTHER_SUB: ["monthly"],
    }
    # Nothing is changed by an order of what has not come yet.
    assert use(ordered(DAILY, 22, SUB), {}, by_query) == (by_query, [])


COVERS = {DAILY: SUB, MONTHLY: SUB, WIDE: SUB, AMORTIZED: SUB, GROUP_A: A, GROUP_B: B}
SCANS = st.lists(st.sampled_from(list(COVERS)), min_size=1, max_size=3)
ORDERS = st.tuples(st.sampled_from([None, DAILY, WIDE, GROUP_A, GROUP_B]), st.sampled_from([None, SUB, OTHER_SUB]))


@given(st.sampled_from([{}, {SUB: (Feed(),)}]), st.lists(SCANS | ORDERS, max_size=8))
def test_of_each_group_one_source_counts_that_of_the_last_order_and_without_one_the_first_whatever_comes(feeds, steps):
    orders, covered = list[Order](), {Feed(): SUB}
    for number, step in enumerate(steps, 1):
        before = feeds
        if isinstance(step, list):
            offers = [offer(export, COVERS[export], found=each) for each, export in enumerate(step)]
            covered |= {each.feed: each.fed for each in offers}
            feeds, _ = who_feeds(offers, before, ACTUAL, orders)
            assert feeds == who_feeds(offers[::-1], before, ACTUAL, orders)[0]
        else:
            export, sub_account = step
            orders.append(ordered(export, number, sub_account))
            feeds, changed = use(orders[-1], its(covered, orders[-1].source), before)
            assert {fed for fed in feeds.keys() | before.keys() if feeds.get(fed) != before.get(fed)} == set(changed)
        for group in (A, B, SUB._replace(group_key="")):
            counts = [each.source for each in feeds_of(feeds, group)]
            told = [each.source for each in orders if each.holds_for(SUB) and covers(covered, each.source, group)]
            first = [each.source for each in feeds_of(before, group)]
            if told or first:
                assert counts == (told[-1:] or first)
            assert len(counts) <= 1
            assert AMORTIZED.key not in counts


def test_of_orders_that_came_before_their_exports_the_later_one_takes_its_group_and_leaves_the_rest():
    both, orders = [offer(WIDE), offer(GROUP_A, A)], [ordered(WIDE, 21), ordered(GROUP_A, 22)]
    assert sources(feeding(*both, orders=orders)) == {SUB: ["wide"], A: ["a"]}
    assert sources(feeding(*both, orders=[ordered(GROUP_A, 21), ordered(WIDE, 22)])) == {SUB: ["wide"]}
    assert verdicts(*both, orders=orders)["wide"].used


def its(covered: Mapping[Feed, Fed], source: str) -> dict[Fed, Feed]:
    return {fed: feed for feed, fed in covered.items() if feed.source == source}


def covers(covered: Mapping[Feed, Fed], source: str, group: Fed) -> bool:
    return any(fed in (group, SUB) for fed in its(covered, source))


def test_an_order_for_a_group_leaves_the_rest_to_what_feeds_the_sub_account_and_one_for_that_takes_all():
    feeds, changed = use(ordered(GROUP_A, 21), {A: Feed(GROUP_A)}, feeding(offer(DAILY)))
    assert (sources(feeds), changed) == ({SUB: ["daily"], A: ["a"]}, [A])
    assert [feeds_of(feeds, each)[0].source for each in (A, B)] == [GROUP_A.key, DAILY.key]
    # Its next run changes nothing of that.
    assert sources(feeding(offer(DAILY, submitted=22), feeds=feeds)) == {SUB: ["daily"], A: ["a"]}
    rows = sums_of([row(on(1), group=name) for name in ("rg-a", "rg-b", "")], DAILY)
    assert groups(fed_by(feeds, DAILY, by_fed(DAILY, rows))) == {SUB: {"rg-b", ""}}
    assert groups(fed_by(feeds, GROUP_A, by_fed(GROUP_A, rows))) == {A: {"rg-a"}}
    after, changed = use(ordered(None, 23, SUB), {SUB: Feed()}, feeds)
    assert (sources(after), changed) == ({SUB: [QUERY]}, [SUB, A])


def test_what_an_export_feeds_is_read_though_it_has_no_rows_and_nothing_else_is():
    feeds = feeding(offer(WIDE), offer(WIDE, OTHER_SUB))
    rows = sums_of([row(on(1)), row(on(1), sub="unknown"), row(on(2), "0.1", "RG")], WIDE)
    shares = fed_by(feeds, WIDE, by_fed(WIDE, rows))
    assert groups(shares) == {SUB: {"rg"}, OTHER_SUB: set()}
    (charges,) = shares[SUB].charge_sets()
    assert charges.group_names == {"rg": "rg"}
    assert shares[OTHER_SUB].charge_sets() == []


def test_what_holds_no_costs_or_those_of_the_other_metric_need_not_be_read():
    assert unread(PRICES, ACTUAL) == (RunState.NO_COSTS, "prices holds no costs")
    assert unread(AMORTIZED, ACTUAL) == (
        RunState.NOT_USED,
        "amortized holds amortized costs, and COST_METRIC is ActualCost",
    )
    assert unread(DAILY, CostMetric.AMORTIZED) is not None
    assert [unread(WIDE, metric) for metric in CostMetric] == [None, None]
    assert not verdicts(offer(AMORTIZED))["amortized"].used


def test_once_the_metric_was_changed_an_export_of_the_former_one_feeds_nothing():
    feeds, _ = who_feeds([offer(AMORTIZED)], feeding(offer(DAILY)), CostMetric.AMORTIZED)
    assert sources(feeds) == {SUB: ["amortized"]}


def test_an_export_of_another_billing_account_that_begins_where_the_feeding_one_ends_is_no_rival():
    old = replace(DAILY, billing_account="Billing-1")
    new = replace(MONTHLY, billing_account="billing-2")
    feeds = feeding(offer(old, of=days(1, 15)))
    for first in (15, 16, 20):
        found = verdicts(offer(new, of=days(first, 30)), feeds=feeds)["monthly"]
        assert (found.used, found.reason) == (
            True,
            "the agreement of 7f0c changed: what daily and monthly deliver counts",
        )
    both = feeding(offer(new, of=days(15, 30)), feeds=feeds)
    assert sources(both) == {SUB: ["daily", "monthly"]}
    # It is told once; and what has feeds goes on.
    again = offer(new, of=days(15, 30)), offer(old, of=days(1, 15))
    assert {each.reason for each in verdicts(*again, feeds=both).values()} == {None}
    # That both come to hold the same days is told once, too.
    longer = offer(old, of=days(1, 16))
    assert {each.used: each.reason for each in verdicts(longer, feeds=both).values()} == {
        True: "daily and monthly both have charges of 7f0c of 15 September 2026 to 16 September 2026, and all of them "
        "count; `exports use daily --for 7f0c` or `exports use monthly --for 7f0c` lets those of one count alone"
    }
    assert {each.reason for each in verdicts(longer, feeds=feeding(longer, feeds=both)).values()} == {None}
    # A day more in both, the same account in another spelling, or none that is known: a rival.
    for rival in (
        offer(new, of=days(14, 30)),
        offer(replace(new, billing_account="BILLING-1"), of=days(16, 30)),
        offer(replace(new, billing_account=""), of=days(16, 30)),
        # Nothing was handed over within the other's days, nor where both begin.
        offer(new, of=days(10, 10)),
        offer(new, of=days(1, 1)),
    ):
        assert not verdicts(rival, feeds=feeds)["monthly"].used
    # What an export of a group feeds would count beside all of its sub-account.
    of_group = feeding(offer(replace(GROUP_A, billing_account="billing-1"), A, of=days(1, 15)))
    assert not verdicts(offer(new, of=days(16, 30)), feeds=of_group)["monthly"].used
    # In one scan, or the new one's first.
    assert sources(feeding(offer(old, of=days(1, 15)), offer(new, of=days(16, 30)))) == {SUB: ["daily", "monthly"]}
    assert sources(feeding(offer(old, of=days(1, 15)), feeds=feeding(offer(new, of=days(15, 30))))) == {
        SUB: ["monthly", "daily"]
    }


def test_an_offer_says_from_when_to_when_something_was_spent_in_its_months():
    run = a_run(days(1, 30), export=GROUP_A)
    rows = [row(on(14, 8), group="rg-a"), row(on(3), "-1", "rg-a"), row(on(7), group="rg-a"), row(on(9), group="rg-a")]
    charges = placed(run, sums_of([*rows, row(on(2, 8), group="rg-b")], GROUP_A)).charges
    assert offers_of(run, charges) == [Offer(A, run, days(7, 9)), Offer(B, run, None)]
    assert [each.fed for each in offers_of(replace(run, export=DAILY), charges)] == [SUB]


@pytest.mark.parametrize(
    ("delivered_by", "holding", "counts"),
    [
        (["daily", QUERY], [QUERY], ("daily",)),
        ([QUERY], [QUERY], (QUERY,)),
        ([QUERY], [], (QUERY,)),
        (["wide", QUERY], [QUERY], (QUERY,)),
        ([], [], ()),
    ],
)
def test_a_month_that_the_feeding_source_has_not_delivered_keeps_or_takes_the_others_charges(
    delivered_by, holding, counts
):
    assert suppliers(["daily"], delivered_by, holding) == counts


def test_after_a_change_of_agreement_both_supply_a_month_that_both_delivered():
    assert suppliers(["old", "new"], ["new", "old"], ["old"]) == ("old", "new")
    assert suppliers(["old", "new"], ["old"]) == ("old",)


def test_a_run_of_which_nothing_is_used_says_why_each_reason_once():
    feeds = feeding(offer(DAILY))
    _, found = who_feeds([offer(MONTHLY), offer(MONTHLY, found=2)], feeds, ACTUAL)
    reason = "7f0c is fed by the export daily; `exports use monthly --for 7f0c` changes that"
    assert outcome((each.used, each.reason) for each in found) == (RunState.NOT_USED, (reason,))
    _, found = who_feeds([offer(MONTHLY), offer(MONTHLY, OTHER_SUB)], feeds, ACTUAL)
    assert outcome((each.used, each.reason) for each in found) == (RunState.IMPORTED, (reason,))
    assert outcome([]) == (RunState.IMPORTED, ())


# --- what is known after a run ---------------------------------------------------------------------------------


def costs(*spent: date) -> list[ChargeSet]:
    return sums_of([row(day) for day in spent], DAILY).charge_sets() if spent else []


def stored_on(*spent: date) -> list[StoredCharge]:
    return [("CAD", ("rg", day, "Storage"), Decimal(1)) for day in spent]


def known_after(
    *runs: tuple[ExportRun, Mapping[str, list]], known: Coverage | None = None
) -> tuple[list[bool], Coverage]:
    believed, known = [], known or Coverage(SEPTEMBER)
    for run, given_ in runs:
        spoken = spoken_by(run, [SEPTEMBER])[SEPTEMBER]
        took, known = read_by(run, spoken, given_.get("charges", []), given_.get("stored", []), known, CLOSED_ON)
        believed.append(took)
    return believed, known


def to_date(day: int, hour: int = 4) -> ExportRun:
    return a_run(days(1, day), at(on(day), hour))


def test_a_run_reads_as_of_its_submitted_time_through_its_last_day_and_no_later_than_that():
    believed, known = known_after((to_date(20), {"charges": costs(on(1))}))
    assert (believed, known.state, known.begun_at) == ([True], CoverageState.GOOD, at(on(20)))
    assert (known.read_from, known.read_through) == (on(1), on(20))
    ahead = a_run(days(1, 30), at(on(20)))
    assert known_after((ahead, {"charges": costs(on(1))}))[1].read_through == on(20)


def test_what_has_no_rows_and_never_had_any_is_believed_at_once():
    believed, known = known_after((to_date(1), {}), (to_date(20), {}))
    assert (believed, known.is_good, known.read_through) == ([True, True], True, on(20))


def test_what_a_newer_run_no_longer_holds_is_believed_on_the_third_in_a_row_each_of_another_day():
    _, known = known_after((to_date(16), {"charges": costs(on(2))}))
    gone = {"stored": stored_on(on(2))}
    believed, after = known_after((to_date(17), gone), (to_date(17, hour=23), gone), (to_date(18), gone), known=known)
    assert (believed, after.state, after.reason) == ([False] * 3, CoverageState.SUSPECT, NO_CHARGE)
    believed, taken = known_after((to_date(19), gone), known=after)
    assert (believed, taken.is_good, taken.blank_believed_on) == ([True], True, on(19))
    back = (to_date(19), {"charges": costs(on(2)), "stored": stored_on(on(2))})
    believed, _ = known_after(back, (to_date(20), gone), (to_date(21), gone), (to_date(22), gone), known=after)
    assert believed == [True, False, False, True]


def test_a_run_that_leaves_few_charges_is_what_it_says():
    _, known = known_after((to_date(16), {"charges": costs(on(2))}))
    less = {"charges": costs(on(2)), "stored": stored_on(*(on(day) for day in range(1, 16)))}
    assert known_after((to_date(17), less), known=known)[0] == [True]


def test_selected_dates_leave_the_other_days_as_old_as_they_were_and_are_doubted_as_any_run():
    _, known = known_after((to_date(16), {"charges": costs(on(2))}))
    selected = a_run(days(1, 5), at(on(22)))
    believed, after = known_after((selected, {"charges": costs(on(2))}), known=known)
    assert (believed, after) == ([True], known)
    gone = {"stored": stored_on(on(2))}
    runs = [(a_run(days(1, 5), at(on(day))), gone) for day in (22, 23, 24)]
    believed, after = known_after(*runs, known=known)
    assert (believed, after.begun_at, after.is_good) == ([False, False, True], known.begun_at, True)
    assert known_after(*runs[:2], known=known)[1].state is CoverageState.SUSPECT


def test_a_month_that_is_taken_over_is_known_by_the_days_that_were_read_and_not_at_all_before_it_began():
    spoken = Spoken(SEPTEMBER, days_within(days(1, 30)), True)
    ahead, whole = (a_run(days(1, 30), at(day)) for day in (on(31, 8), on(20)))
    assert read_through_all([(ahead, spoken)], SEPTEMBER) == Coverage(SEPTEMBER)
    known = read_through_all([(whole, spoken), (ahead, spoken)], SEPTEMBER)
    assert known == Coverage(SEPTEMBER, "", on(1), on(20), at(on(20)), on(20))


def test_an_older_run_that_comes_late_takes_no_doubt_away():
    _, known = known_after((to_date(16), {"charges": costs(on(2))}))
    _, doubted = known_after((to_date(18), {"stored": stored_on(on(2))}), known=known)
    late = (to_date(17), {"charges": costs(on(2)), "stored": stored_on(on(2))})
    believed, after = known_after(late, known=doubted)
    assert believed == [True]
    assert (after.state, after.suspect_nights) == (CoverageState.SUSPECT, 1)


def test_a_run_that_speaks_only_for_what_lies_outside_its_month_says_nothing_of_that():
    run, outside = to_date(16), Spoken(SEPTEMBER, frozenset(), True)
    _, known = known_after((to_date(20), {"charges": costs(on(2))}))
    assert read_by(run, outside, costs(on(15, 8)), [], known, CLOSED_ON) == (True, known)
    assert read_by(run, outside, [], stored_on(on(15, 8)), known, CLOSED_ON) == (False, known)


def test_an_exports_month_is_recent_for_three_days_and_final_once_a_run_of_its_closing_day_has_read_it():
    _, known = known_after((to_date(20), {"charges": costs(on(2))}))
    assert [is_recent(known, on(day)) for day in (20, 23, 24)] == [True, True, False]
    whole = [a_run(days(1, 30), at(on(day, 10))) for day in (4, 5)]
    for run, final in zip(whole, (False, True), strict=True):
        _, known = known_after((run, {"charges": costs(on(2))}))
        assert is_recent(known, on(30, 11)) == final
    _, short = known_after((a_run(days(1, 29), at(on(6, 10))), {"charges": costs(on(2))}))
    short = replace(short, source=BY_EXPORT)
    lacking = gaps("7f0c", {SEPTEMBER: short}, days(1, 30), on(7, 10), LOOKBACK_DAYS, CLOSED_ON)
    assert [gap.since for gap in lacking] == [on(29)]


def is_recent(known: Coverage, today: date) -> bool:
    return replace(known, source=BY_EXPORT).is_recent(today, LOOKBACK_DAYS, CLOSED_ON)


# --- files without a manifest ----------------------------------------------------------------------------------


def a_file(name: str, last: date, account: str = "B-1") -> FileRun:
    return FileRun(name, file_export("azure", account, ACTUAL, is_focus=False), {first_of(last): last})


def test_files_are_runs_of_their_billing_accounts_export_in_the_metric_that_is_asked_for():
    one, other = (file_export("azure", account, CostMetric.AMORTIZED, is_focus=False) for account in ("B-1", "b-2"))
    assert (one.name, one.dataset, one.billing_account) == ("file", Dataset.AMORTIZED, "B-1")
    assert one.key != other.key
    assert file_export("azure", "b-1", ACTUAL, is_focus=True).key == one.key
    assert file_export("aws", "1", ACTUAL, is_focus=True).dataset is Dataset.FOCUS


def test_two_files_that_speak_for_one_period_are_refused_unless_they_are_parts_of_one_run():
    files = [a_file("one.csv", on(20)), a_file("two.csv", on(30)), a_file("b2.csv", on(30), "B-2")]
    assert refusals(files, {}) == [
        "one.csv and two.csv both hold September 2026: add --parts if they are parts of one export, or import one"
    ]
    assert refusals(files, {}, parts=True) == []
    assert refusals([files[0], a_file("august.csv", on(31, 8))], {}) == []


def test_a_file_that_ends_before_what_it_would_replace_is_refused_unless_that_is_meant():
    files = [a_file("one.csv", on(20)), a_file("two.csv", on(25))]
    stored = {(files[0].export.key, SEPTEMBER): on(25)}
    assert refusals(files[:1], stored) == [
        "one.csv ends on 20 September 2026, and what it would replace of September 2026 on 25 September 2026: "
        "add --force if that is meant"
    ]
    assert refusals(files[:1], stored, force=True) == refusals(files[1:], stored) == []
    # Parts of one run end where the last one does.
    assert refusals(files, stored, parts=True) == []
    assert len(refusals(files, stored, force=True)) == 1


def test_a_file_ends_early_by_its_own_months_days_and_by_others_only_where_there_are_none():
    """An hour of 1 October in a first file of September says nothing of how far September is delivered."""
    file = a_file("one.csv", on(20))
    assert refusals([file], {(file.export.key, SEPTEMBER): on(1, 10)}) == []
    only_others = FileRun("two.csv", file.export, {SEPTEMBER: on(1, 10)})
    assert len(refusals([only_others], {(file.export.key, SEPTEMBER): on(20)})) == 1


def test_a_file_ends_on_the_last_day_of_its_own_months_charges():
    run = a_run(None)
    rows = [row(on(20), period=SEPTEMBER), row(on(1, 10), period=SEPTEMBER), row(on(2, 8), period=OCTOBER)]
    assert last_days(placed(run, sums_of(rows, DAILY)).charges) == {SEPTEMBER: on(20), OCTOBER: on(2, 8)}
