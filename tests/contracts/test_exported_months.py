"""Months that exports feed: what the query answers stays out of them, and what is known of them, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import delete

from shared.adapters.database.cloud_accounts import lock_accounts
from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks
from shared.adapters.database.tables import WHOLE, export_feeds
from shared.domain.budgets import Rollover
from shared.domain.coverage import NO_CHARGE, Coverage, CoverageState, Gap
from shared.domain.exports.runs import Width
from shared.domain.exports.sums import Row
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.ports.azure import AZURE
from shared.ports.charges import Account, AnswerState, Stored
from shared.ports.checks import Judgement, ProjectUsage
from shared.ports.spending import Selection
from tests.contracts.export_world import World, export, row
from tests.contracts.exported import exported, feed, feeding, know
from tests.contracts.ledger_data import (
    DAY,
    LOOKBACK_DAYS,
    MONTHLY,
    NOVEMBER,
    NOW,
    OCTOBER,
    SUB,
    TODAY,
    Ledgers,
    entry,
    judge,
    november,
    part,
    reading,
    terms,
)


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def known_months(ledgers: Ledgers) -> dict[date, Coverage]:
    return dict(ledgers.charges.account(AZURE, SUB).known)


# --- the query's answers stay out ------------------------------------------------------------------------------


def test_an_answer_on_its_way_changes_nothing_of_a_month_that_an_export_has_delivered(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    ledgers.store(reading(("rg-1", november(3), "Storage", "1.5")))
    feed(ledgers.database)
    know(ledgers.database, exported(november(19)))
    answer = reading(("rg-1", november(3), "Storage", "7"), ("rg-9", november(4), "Storage", "8"), now=NOW + DAY)
    assert ledgers.store(answer, NOW + DAY, "late") == Stored()
    assert ledgers.amounts() == {("rg-1", 3): "1.5"}
    assert known_months(ledgers) == {NOVEMBER.start: exported(november(19))}
    assert [each.state for each in ledgers.charges.answers(ledgers.scope("late").id)] == [AnswerState.READ]


def test_months_that_the_export_has_not_delivered_take_the_querys_answer(ledgers: Ledgers) -> None:
    feed(ledgers.database)
    know(ledgers.database, exported(november(19)))
    october = part(("rg-1", date(2026, 10, 31), "Storage", "7"), window=OCTOBER)
    stored = ledgers.store(reading(parts=(october, part(("rg-1", november(3), "Storage", "1")))))
    assert stored == Stored(added=1)
    assert ledgers.amounts() == {("rg-1", 31): "7"}
    assert known_months(ledgers)[OCTOBER.start].source == "COST_MANAGEMENT"


def test_what_another_export_delivered_that_does_not_feed_keeps_no_answer_out(ledgers: Ledgers) -> None:
    feed(ledgers.database, months=(), export=1)
    feed(ledgers.database, export=2)
    with ledgers.database.engine.begin() as connection:
        connection.execute(delete(export_feeds).where(export_feeds.c.export_id == 2))
    assert ledgers.store(reading(("rg-1", november(3), "Storage", "1.5"))) == Stored(added=1)


def test_a_refusal_says_nothing_of_a_month_that_an_export_has_delivered(ledgers: Ledgers) -> None:
    feed(ledgers.database)
    know(ledgers.database, exported(november(19)))
    failed = ((OCTOBER, "no (401)"), (NOVEMBER, "no (401)"))
    ledgers.store(reading(parts=(), failed=failed))
    known = known_months(ledgers)
    assert known[NOVEMBER.start] == exported(november(19))
    assert known[OCTOBER.start].state is CoverageState.FAILED


def test_of_groups_that_exports_feed_an_answer_is_silent_and_the_rest_is_the_querys(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"), entry(2, "rg-2"))
    ledgers.store(reading(("rg-1", november(3), "Storage", "1"), ("rg-2", november(3), "Storage", "2")))
    feed(ledgers.database, "rg-1")
    of_group = [("rg-1", november(day), "Storage", "10") for day in (3, 4)]
    answer = reading(*of_group, ("rg-2", november(3), "Storage", "3"), now=NOW + DAY)
    assert ledgers.store(answer, NOW + DAY, "next") == Stored(changed=1)
    assert ledgers.amounts() == {("rg-1", 3): "1", ("rg-2", 3): "3"}
    assert known_months(ledgers)[NOVEMBER.start].good_on == TODAY + DAY
    october = part(("rg-1", date(2026, 10, 31), "Storage", "7"), window=OCTOBER)
    assert ledgers.store(reading(parts=(october,))) == Stored(added=1)


def test_an_answer_of_groups_alone_that_exports_feed_is_none(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "rg-2"))
    feed(ledgers.database, "rg-1")
    only = reading(("rg-1", november(3), "Storage", "10"), group_keys=frozenset({"rg-1"}))
    assert ledgers.store(only) == Stored()
    both = reading(
        ("rg-1", november(3), "Storage", "10"), ("rg-2", november(3), "Storage", "2"),
        group_keys=frozenset({"rg-1", "rg-2"}),
    )  # fmt: skip
    assert ledgers.store(both) == Stored(added=1)
    assert ledgers.amounts() == {("rg-2", 3): "2"}


def test_an_answer_of_nothing_but_what_exports_deliver_is_believed_of_the_rest(ledgers: Ledgers) -> None:
    """It came with rows: the provider has answered, and the rest has none."""
    feed(ledgers.database, "rg-1")
    ledgers.store(reading(("rg-1", november(3), "Storage", "10")))
    known = known_months(ledgers)[NOVEMBER.start]
    assert (known.state, known.read_through) == (CoverageState.GOOD, november(30))
    ledgers.store(reading(parts=(part(window=OCTOBER),)))
    assert known_months(ledgers)[OCTOBER.start].reason == NO_CHARGE


def test_where_one_export_feeds_a_group_and_another_the_rest_nothing_is_the_querys(ledgers: Ledgers) -> None:
    feed(ledgers.database, WHOLE, export=1)
    feed(ledgers.database, "rg-1", months=(), export=2)
    answer = reading(("rg-1", november(3), "Storage", "10"), ("rg-2", november(3), "Storage", "10"))
    assert ledgers.store(answer) == Stored()


def test_a_total_that_was_asked_for_before_an_export_took_over_says_nothing_of_its_month(ledgers: Ledgers) -> None:
    know(ledgers.database, exported(november(19)))
    ledgers.charges.note_compared(AZURE, SUB, NOVEMBER.start, TODAY, agrees=False)
    assert known_months(ledgers) == {NOVEMBER.start: exported(november(19))}


def test_an_answer_waits_for_an_export_that_is_taking_over(ledgers: Ledgers) -> None:
    with ThreadPoolExecutor(1) as pool:
        with ledgers.database.engine.begin() as connection:
            lock_accounts(connection, AZURE, [SUB])
            answer = pool.submit(ledgers.store, reading(("rg-1", november(3), "Storage", "7")))
            for statement in feeding():
                connection.execute(*statement)
        assert answer.result() == Stored()
    assert ledgers.amounts() == {}


def test_it_is_known_which_groups_exports_feed(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    feed(ledgers.database, "rg-1")
    feed(ledgers.database, "rg-1", months=(), export=2)
    feed(ledgers.database, "rg-2", export=3)
    feed(ledgers.database, WHOLE, export=4)
    [account] = ledgers.charges.accounts()
    assert account.exported_groups == {"rg-1", "rg-2"}
    assert ledgers.charges.account(AZURE, SUB).exported_groups == {"rg-1", "rg-2"}
    assert ledgers.charges.account(AZURE, "another") == Account(AZURE, "another")


# --- what is known ---------------------------------------------------------------------------------------------


def lacking(ledgers: Ledgers, today: date) -> dict[str, tuple[str, ...]]:
    """What figures lack on a day, by whose."""
    found = ledgers.charges.incomplete(today).gaps
    return {str(gap): acronyms for gap, acronyms in found}


def test_a_figure_by_exports_is_complete_for_three_days_after_their_last_run(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", terms=terms(rule=MONTHLY)))
    feed(ledgers.database)
    know(ledgers.database, exported(november(17)))
    assert lacking(ledgers, november(20)) == {}
    assert lacking(ledgers, november(21)) == {f"costs of {SUB} not read since 17 November 2026": ("P1",)}


def test_the_first_days_of_a_month_that_no_export_can_have_delivered_yet_are_not_missing(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", terms=terms(rule=MONTHLY)))
    feed(ledgers.database, months=(OCTOBER.start,))
    know(ledgers.database, exported(OCTOBER.last_day))
    assert lacking(ledgers, november(4)) == {}
    assert lacking(ledgers, november(5)) == {f"costs of {SUB} not read for November 2026": ("P1",)}


def test_a_month_is_final_once_a_run_of_its_closing_day_has_read_it(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", terms=terms()))
    feed(ledgers.database, months=(OCTOBER.start, NOVEMBER.start))
    since_april = [exported(day, day + 5 * DAY) for day in map(last_day, range(4, 10))]
    know(ledgers.database, *since_april, exported(OCTOBER.last_day, november(4)), exported(november(19)))
    assert lacking(ledgers, TODAY) == {f"costs of {SUB} not read since 4 November 2026": ("P1",)}
    know(ledgers.database, exported(OCTOBER.last_day, november(5)))
    assert lacking(ledgers, TODAY) == {}


def last_day(month: int) -> date:
    return date(2026, month + 1, 1) - DAY


def test_what_is_known_of_a_group_counts_where_an_export_of_groups_feeds_it(ledgers: Ledgers) -> None:
    rule = terms(rule=MONTHLY)
    ledgers.load(entry(1, "rg-1", terms=rule), entry(2, "rg-2", terms=rule), entry(3, "rg-1b", "rg-3", terms=rule))
    ledgers.store(reading(("rg-2", november(3), "Storage", "3")))
    for group in ("rg-1", "rg-1b"):
        feed(ledgers.database, group)
    know(ledgers.database, exported(november(17)), group="rg-1")
    know(ledgers.database, exported(november(10)), group="rg-1b")
    assert lacking(ledgers, TODAY) == {f"costs of group rg-1b of {SUB} not read since 10 November 2026": ("P3",)}
    # Two days later no night has read the rest, and the export of rg-1 has failed.
    gone = exported(november(17), state=CoverageState.SUSPECT, reason=NO_CHARGE)
    know(ledgers.database, gone, group="rg-1")
    blank = f"November 2026 of group rg-1 of {SUB} {NO_CHARGE}, which is not believed yet"
    assert lacking(ledgers, TODAY + 2 * DAY) == {
        f"costs of {SUB} not read since 20 November 2026": ("P2", "P3"),
        f"costs of group rg-1b of {SUB} not read since 10 November 2026": ("P3",),
        blank: ("P1",),
    }


def test_months_of_a_group_that_its_export_has_not_delivered_go_by_the_sub_accounts(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", terms=terms(rule=MONTHLY)))
    ledgers.store(reading(("rg-1", november(3), "Storage", "3")))
    feed(ledgers.database, "rg-1", months=(OCTOBER.start,))
    # What the query has read until the export took over is not its group's alone.
    know(ledgers.database, exported(november(5), source="COST_MANAGEMENT"), group="rg-1")
    know(ledgers.database, exported(OCTOBER.last_day, november(3)), group="rg-1")
    assert lacking(ledgers, TODAY) == {}
    assert lacking(ledgers, TODAY + 2 * DAY) == {
        f"costs of group rg-1 of {SUB} not read since 20 November 2026": ("P1",)
    }


def test_what_the_months_of_a_listing_lack_is_told_of_groups_too(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"), entry(2, "rg-2"))
    ledgers.store(reading(("rg-1", november(3), "Storage", "3"), ("rg-2", november(3), "Storage", "3")))
    feed(ledgers.database, "rg-1")
    know(ledgers.database, exported(november(10)), group="rg-1")
    of_group = f"costs of group rg-1 of {SUB} not read since 10 November 2026"
    for which in (Selection(NOVEMBER), Selection(NOVEMBER, project_ids=(1,)), Selection(NOVEMBER, sub_account_id=SUB)):
        assert [str(gap) for gap in ledgers.spending.lacking(which, TODAY)] == [of_group]
    assert ledgers.spending.lacking(Selection(NOVEMBER, project_ids=(2,)), TODAY) == []


def test_whoever_shows_or_judges_a_figure_says_what_exports_have_not_delivered(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", november(3), "Storage", "10"))
    feed(ledgers.database, "rg-1")
    know(ledgers.database, exported(november(16)), group="rg-1")
    late, judged = NOW + DAY, list[tuple[Gap, ...]]()

    def note(usage: ProjectUsage) -> Judgement:
        judged.append(usage.gaps)
        return judge(usage)

    ledgers.check(1, judge=note, now=late)
    locks = SqlLocks(ledgers.database, "warden.example.org", LOOKBACK_DAYS).facts(1, late)
    shown = ledgers.projects.get(1, late.date())
    assert locks is not None
    assert shown is not None
    of_group = f"costs of group rg-1 of {SUB} not read since 16 November 2026"
    assert [[str(gap) for gap in each] for each in (*judged, locks.gaps, shown.gaps)] == 3 * [[of_group]]
    assert lacking(ledgers, late.date()) == {of_group: ("P1",)}


# --- forecasts, and what is over -------------------------------------------------------------------------------


def spend_daily(ledgers: Ledgers, last: int) -> None:
    rows = [("rg-1", november(day), "Storage", "10") for day in range(1, last + 1)]
    ledgers.spend(*rows)


def test_a_forecast_goes_by_the_last_day_that_was_exported(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", terms=terms(rule=MONTHLY)))
    spend_daily(ledgers, 17)
    ledgers.check(1)
    by_query = ledgers.forecast(1)
    feed(ledgers.database)
    know(ledgers.database, exported(november(18)))
    ledgers.check(1)
    by_export = ledgers.forecast(1)
    assert by_query is not None
    assert by_export is not None
    assert by_query[0] < Decimal(300)
    assert by_export[:4] == (Decimal(300), by_export[1], by_export[2], 16)
    assert by_export[1] < Decimal(300) < by_export[2]


@pytest.mark.parametrize("group", [None, "rg-1"])
def test_a_period_is_closed_once_exports_have_read_its_look_back(ledgers: Ledgers, group: str | None) -> None:
    ledgers.load(entry(1, "rg-1", terms=terms(rule=MONTHLY, rollover=Rollover.CARRY_OVER)))
    feed(ledgers.database, group or WHOLE)
    final = november(30), date(2026, 12, 5)
    ledgers.check(1)
    settled = []
    for day in (date(2027, 1, 4), date(2027, 1, 5)):
        december, january = exported(date(2026, 12, 31), day), exported(date(2027, 1, 4), day)
        know(ledgers.database, exported(*final), december, january, group=group)
        ledgers.check(1, now=datetime(2027, 1, 6, 2, tzinfo=NOW.tzinfo))
        settled.append([each.settled for each in ledgers.projects.periods(1)])
    # November's charges may come until the look-back after its end is over; the first period has none before it.
    assert settled == [[True, False, False], [True, True, False]]


@pytest.mark.parametrize("group", [None, "rg-1"])
def test_what_a_project_has_left_is_no_longer_its_account_once_exports_have_read_it(
    ledgers: Ledgers, group: str | None
) -> None:
    ledgers.load(entry(1, "rg-1"), now=NOW)
    ledgers.load(entry(1, "rg-9", subscription_id="another"), now=NOW)
    feed(ledgers.database, group or WHOLE)
    read = []
    for days in (35, 36):
        know(ledgers.database, exported(TODAY + days * DAY), group=group)
        read.append([each.sub_account_id for each in ledgers.charges.accounts()])
    assert read == [[SUB, "another"], ["another"]]


# --- with what the import makes --------------------------------------------------------------------------------

SEPTEMBER = Period(date(2026, 9, 1), date(2026, 10, 1))
DAILY, OF_GROUP = export(), export("rg-1", Width.GROUP)


def cost(day: int, amount: str, group: str = "rg-1") -> Row:
    return row(11, day, amount, group=group, sub=SUB)


def test_a_query_that_was_on_its_way_when_an_export_took_over_changes_nothing_of_its_months(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    exports = World(ledgers.database)
    asked = reading(("rg-1", november(3), "Storage", "7"), ("rg-1", november(19), "Storage", "8"))
    before = part(("rg-1", date(2026, 10, 31), "Storage", "4"), window=OCTOBER)
    exports.deliver(DAILY, Period(NOVEMBER.start, november(20)), [cost(3, "1.5"), cost(4, "2")], at=november(19))
    assert ledgers.amounts() == {("rg-1", 3): "1.5", ("rg-1", 4): "2"}
    exports.use(DAILY, november(20))
    assert ledgers.store(replace(asked, parts=(before, *asked.parts))) == Stored(added=1)
    assert ledgers.amounts() == {("rg-1", 31): "4", ("rg-1", 3): "1.5", ("rg-1", 4): "2"}
    assert {month.month: known.source for month, known in known_months(ledgers).items()} == {
        10: "COST_MANAGEMENT",
        11: "COST_EXPORT",
    }


def test_once_the_query_feeds_again_its_answers_count(ledgers: Ledgers) -> None:
    exports = World(ledgers.database)
    exports.asked(SUB)
    exports.deliver(DAILY, Period(NOVEMBER.start, november(20)), [cost(3, "1.5")], at=november(18))
    exports.use(DAILY, november(19))
    exports.use("query", november(20), SUB)
    assert ledgers.store(reading(("rg-1", november(3), "Storage", "7"))) == Stored(changed=1)
    assert ledgers.amounts() == {("rg-1", 3): "7"}


def test_a_figure_of_groups_by_exports_and_the_query_is_the_sum_of_what_each_feeds(ledgers: Ledgers) -> None:
    monthly = terms(rule=MONTHLY)
    ledgers.load(entry(1, "rg-1", terms=monthly), entry(2, "rg-2", terms=monthly), entry(3, "rg-3", terms=monthly))
    exports = World(ledgers.database)
    exports.deliver(OF_GROUP, Period(NOVEMBER.start, november(20)), [cost(3, "1.5")], at=november(19))
    exports.use(OF_GROUP, november(19))
    ledgers.store(reading(("rg-1", november(3), "Storage", "9"), ("rg-2", november(3), "Storage", "3")))
    assert ledgers.amounts() == {("rg-1", 3): "1.5", ("rg-2", 3): "3"}
    assert lacking(ledgers, TODAY) == {}
    assert lacking(ledgers, november(23)) == {
        f"costs of {SUB} not read since 20 November 2026": ("P2", "P3"),
        f"costs of group rg-1 of {SUB} not read since 19 November 2026": ("P1",),
    }
    found = ledgers.projects.get(1, TODAY)
    assert found is not None
    assert (found.spent, found.gaps) == (Decimal("1.5"), ())


@pytest.mark.parametrize("steps", ["export query export", "query export", "export query"])
def test_until_its_export_has_delivered_it_a_groups_month_is_the_querys_whoever_writes_last(
    database: Database, steps: str
) -> None:
    exports = World(database)
    exports.asked(SUB)
    of_group = [row(10, 3, "1", group="rg-1", sub=SUB)]
    exports.deliver(OF_GROUP, OCTOBER, of_group, at=november(1))
    exports.use(OF_GROUP, november(2), SUB)
    for day, step in enumerate(steps.split(), 20):
        if step == "export":  # which feeds nothing
            exports.deliver(DAILY, Period(NOVEMBER.start, november(day)), [cost(3, "5"), cost(3, "5", "rg-2")])
        else:
            exports.query([cost(3, "4"), cost(3, "4", "rg-2")], NOVEMBER, at=november(day), sub=SUB)
    assert [exports.total(11, SUB, group) for group in ("rg-1", "rg-2")] == [4, 4]
    exports.deliver(OF_GROUP, Period(NOVEMBER.start, november(25)), [cost(3, "9")])
    assert [exports.total(11, SUB, group) for group in ("rg-1", "rg-2")] == [9, 4]


def test_an_exports_months_are_recent_and_final_by_its_runs(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", terms=terms(rule=PeriodRule(PeriodKind.ANNUAL, SEPTEMBER.start))))
    exports = World(ledgers.database)
    in_september, in_october = [row(9, 3, "1", group="rg-1", sub=SUB)], [row(10, 3, "1", group="rg-1", sub=SUB)]
    exports.deliver(DAILY, SEPTEMBER, in_september, at=date(2026, 10, 5))
    exports.use(DAILY, date(2026, 10, 5))
    exports.deliver(DAILY, OCTOBER, in_october, at=november(4))
    exports.deliver(DAILY, Period(NOVEMBER.start, november(19)), [cost(3, "1")], at=november(18))
    assert lacking(ledgers, TODAY) == {f"costs of {SUB} not read since 4 November 2026": ("P1",)}
    exports.deliver(DAILY, OCTOBER, in_october, at=november(5), name="second of October")
    assert lacking(ledgers, november(21)) == {}
    assert lacking(ledgers, november(22)) == {f"costs of {SUB} not read since 18 November 2026": ("P1",)}
