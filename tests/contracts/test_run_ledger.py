"""RunLedger, on every database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.mails import SqlMails
from shared.adapters.database.runs import SqlRuns
from shared.domain.periods import Period
from shared.messages import ScopeTarget
from shared.ports.mails import NewMail, Topic
from shared.ports.runs import RunLedger, RunScope, RunState, RunTrigger, RunView, ScopeState
from tests.contracts.rows import HOUR, MINUTE, NIGHT, run_row, settle

ONE = ScopeTarget(subscription_id="1caaa5a3-2b66-438e-8ab4-bce37d518c5d")
TWO = ScopeTarget(subscription_id="2caaa5a3-2b66-438e-8ab4-bce37d518c5d")
GROUP = ScopeTarget(project_id=11, resource_group="FSDH_proj_die1_dev_rg")


@pytest.fixture
def ledger(database: Database) -> RunLedger:
    return SqlRuns(database)


@pytest.fixture
def night(ledger: RunLedger) -> str:
    ledger.open_run("night", "timer", NIGHT)
    return "night"


def state_of(ledger: RunLedger, target: ScopeTarget) -> RunScope:
    return ledger.scope_of("night", "timer", target, NIGHT)


def test_a_run_that_is_opened_twice_stays_as_it_was_opened_first(ledger: RunLedger, database: Database):
    ledger.open_run("night", "timer", NIGHT)
    ledger.open_run("night", "manual", NIGHT + HOUR)
    run = run_row(database, "night")
    assert (run.trigger, run.state, run.started_at, run.finished_at) == ("timer", "running", NIGHT, None)


def test_each_occurrence_of_the_nights_schedule_is_one_run(ledger: RunLedger, database: Database):
    assert ledger.open_night(NIGHT, NIGHT + HOUR) == "night-2026-11-20"
    assert ledger.open_night(NIGHT, NIGHT + 2 * HOUR) == "night-2026-11-20"
    assert ledger.open_night(NIGHT + HOUR, NIGHT + HOUR) == "night-2026-11-20T03-00-00"
    assert ledger.open_night(NIGHT + HOUR, NIGHT + HOUR) == "night-2026-11-20T03-00-00"
    assert ledger.open_night(NIGHT + 24 * HOUR, NIGHT + 24 * HOUR) == "night-2026-11-21"
    run = run_row(database, "night-2026-11-20")
    assert (run.trigger, run.scheduled_for, run.started_at) == ("timer", NIGHT, NIGHT + HOUR)


def test_a_night_from_before_occurrences_were_kept_is_its_day_s(ledger: RunLedger):
    ledger.open_run("night-2026-11-20", RunTrigger.TIMER, NIGHT)
    assert ledger.open_night(NIGHT, NIGHT + HOUR) == "night-2026-11-20"
    assert ledger.open_night(NIGHT + 24 * HOUR, NIGHT + 24 * HOUR) == "night-2026-11-21"


def test_firings_at_the_same_time_open_one_night(ledger: RunLedger):
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: ledger.open_night(NIGHT, NIGHT), range(8))) == {"night-2026-11-20"}
    assert len(ledger.recent_runs(9)) == 1


def test_what_is_due_later_is_there_in_every_state(ledger: RunLedger, database: Database, night: str):
    one, two, three = ledger.plan(night, [ONE, TWO, GROUP])
    assert ledger.due_since(NIGHT) == [], "no message of these was sent"
    for hours, scope in enumerate((one, two, three), start=1):
        ledger.mark_queued(scope.id, NIGHT + hours * HOUR, NIGHT)
    settle(database, two, ScopeState.DONE)
    ledger.mark_deferred(three.id, "throttled", NIGHT + 9 * HOUR)
    found = ledger.due_since(NIGHT + HOUR)
    assert [(scope.target, scope.state, scope.due_at) for scope in found] == [
        (TWO, ScopeState.DONE, NIGHT + 2 * HOUR),
        (GROUP, ScopeState.DEFERRED, NIGHT + 9 * HOUR),
    ]


def test_a_plan_gives_every_target_in_order_until_its_message_is_sent(ledger: RunLedger, night: str):
    first = ledger.plan(night, [TWO, ONE, GROUP])
    assert [scope.target for scope in first] == [TWO, ONE, GROUP]
    assert {scope.state for scope in first} == {ScopeState.PLANNED}
    ledger.mark_queued(first[1].id, NIGHT, NIGHT)
    assert ledger.plan(night, [ONE, TWO, GROUP]) == [first[0], first[2]]


def test_a_plan_adds_only_what_the_run_lacks(ledger: RunLedger, night: str):
    (one,) = ledger.plan(night, [ONE])
    again = ledger.plan(night, [ONE, TWO, TWO])
    assert [scope.target for scope in again] == [ONE, TWO]
    assert again[0].id == one.id


def test_groups_in_another_spelling_are_the_same_target(ledger: RunLedger, night: str):
    (planned,) = ledger.plan(night, [GROUP])
    spelled = ScopeTarget(project_id=11, resource_group=" fsdh_proj_die1_dev_RG")
    assert state_of(ledger, spelled).id == planned.id
    assert ledger.plan(night, [spelled, GROUP]) == [planned]


def test_two_runs_have_scopes_of_their_own(ledger: RunLedger, night: str):
    ledger.open_run("by hand", "manual", NIGHT)
    (one,) = ledger.plan(night, [ONE])
    (other,) = ledger.plan("by hand", [ONE])
    assert one.id != other.id


def test_a_run_without_anything_to_do_is_done(ledger: RunLedger, night: str, database: Database):
    assert ledger.plan(night, []) == []
    run = run_row(database, night)
    assert (run.state, run.finished_at) == ("done", NIGHT)


def test_an_empty_plan_does_not_finish_a_run_that_has_scopes(ledger: RunLedger, night: str, database: Database):
    ledger.plan(night, [ONE])
    assert ledger.plan(night, []) == []
    assert run_row(database, night).state == "running"


def test_targets_added_to_a_finished_run_make_it_run_again(ledger: RunLedger, night: str, database: Database):
    ledger.plan(night, [])
    ledger.plan(night, [ONE])
    run = run_row(database, night)
    assert (run.state, run.finished_at) == ("running", None)


def test_queueing_keeps_the_time_of_the_first_message(ledger: RunLedger, night: str):
    (scope,) = ledger.plan(night, [ONE])
    ledger.mark_queued(scope.id, NIGHT, NIGHT)
    ledger.mark_queued(scope.id, NIGHT + HOUR, NIGHT + HOUR)
    queued = state_of(ledger, ONE)
    assert (queued.state, queued.first_queued_at) == (ScopeState.QUEUED, NIGHT)


@pytest.mark.parametrize("final", [ScopeState.DONE, ScopeState.FAILED, ScopeState.SUSPECT])
def test_queueing_leaves_a_final_state(ledger: RunLedger, night: str, database: Database, final: ScopeState):
    (scope,) = ledger.plan(night, [ONE])
    settle(database, scope, final)
    ledger.mark_queued(scope.id, NIGHT + HOUR, NIGHT)
    assert state_of(ledger, ONE).state is final


def test_a_message_put_back_before_its_sender_marked_it_stays_put_back(ledger: RunLedger, night: str):
    (scope,) = ledger.plan(night, [ONE])
    ledger.mark_deferred(scope.id, "throttled", NIGHT + HOUR)
    ledger.mark_queued(scope.id, NIGHT + MINUTE, NIGHT)
    deferred = state_of(ledger, ONE)
    assert (deferred.state, deferred.attempts) == (ScopeState.DEFERRED, 1)


def test_a_message_by_hand_makes_its_run_and_scope_once(ledger: RunLedger, database: Database):
    made = ledger.scope_of("message-7", "message", GROUP, NIGHT)
    assert (made.state, made.first_queued_at, made.target) == (ScopeState.QUEUED, NIGHT, GROUP)
    assert ledger.scope_of("message-7", "message", GROUP, NIGHT + HOUR) == made
    assert run_row(database, "message-7").trigger == "message"


def test_a_scope_by_hand_in_a_finished_run_makes_it_run_again(ledger: RunLedger, night: str, database: Database):
    ledger.plan(night, [])
    ledger.scope_of(night, "timer", ONE, NIGHT)
    assert run_row(database, night).state == "running"


def test_two_threads_asking_for_the_same_scope_get_the_same_one(ledger: RunLedger):
    both = threading.Barrier(2)

    def ask(_: int) -> int:
        both.wait(10)
        return ledger.scope_of("message-7", "message", GROUP, NIGHT).id

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, range(2))
    assert first == second


def test_a_deferral_counts_an_attempt_and_keeps_its_reason(ledger: RunLedger, night: str):
    (scope,) = ledger.plan(night, [ONE])
    ledger.mark_deferred(scope.id, "throttled", NIGHT + MINUTE)
    ledger.mark_deferred(scope.id, "unwell " * 1000, NIGHT + HOUR)
    deferred = state_of(ledger, ONE)
    assert (deferred.state, deferred.attempts) == (ScopeState.DEFERRED, 2)
    assert deferred.reason is not None
    assert deferred.reason.startswith("unwell")


@pytest.mark.parametrize("final", [ScopeState.DONE, ScopeState.FAILED])
def test_a_deferral_leaves_what_is_done_or_failed(ledger: RunLedger, night: str, database: Database, final: ScopeState):
    (scope,) = ledger.plan(night, [ONE])
    settle(database, scope, final)
    ledger.mark_deferred(scope.id, "throttled", NIGHT + HOUR)
    assert (state_of(ledger, ONE).state, state_of(ledger, ONE).attempts) == (final, 0)
    assert run_row(database, night).state != "running"


def test_a_deferral_reopens_a_suspect_scope_and_its_run(ledger: RunLedger, night: str, database: Database):
    (scope,) = ledger.plan(night, [ONE])
    settle(database, scope, ScopeState.SUSPECT, "empty")
    assert run_row(database, night).state == "failed"
    ledger.mark_deferred(scope.id, "read again", NIGHT + HOUR)
    run = run_row(database, night)
    assert (run.state, run.finished_at) == ("running", None)
    settle(database, scope, ScopeState.DONE)
    assert run_row(database, night).state == "done"


def test_a_run_is_done_with_its_last_scope(ledger: RunLedger, night: str, database: Database):
    one, two = ledger.plan(night, [ONE, TWO])
    settle(database, one, ScopeState.DONE)
    assert run_row(database, night).state == "running"
    settle(database, two, ScopeState.DONE)
    run = run_row(database, night)
    assert (run.state, run.finished_at) == ("done", NIGHT + HOUR)


@pytest.mark.parametrize("bad", [ScopeState.FAILED, ScopeState.SUSPECT])
def test_a_run_with_a_bad_scope_has_failed(ledger: RunLedger, night: str, database: Database, bad: ScopeState):
    one, two = ledger.plan(night, [ONE, TWO])
    settle(database, one, bad, "why")
    settle(database, two, ScopeState.DONE)
    assert run_row(database, night).state == "failed"


def test_a_failed_scope_says_why_and_finishes_its_run(ledger: RunLedger, night: str, database: Database):
    (scope,) = ledger.plan(night, [ONE])
    ledger.mark_failed(scope.id, "Azure says no (403)", NIGHT + HOUR)
    failed = state_of(ledger, ONE)
    assert (failed.state, failed.reason) == (ScopeState.FAILED, "Azure says no (403)")
    run = run_row(database, night)
    assert (run.state, run.finished_at) == ("failed", NIGHT + HOUR)


def test_a_late_copy_that_fails_does_not_undo_what_is_done(ledger: RunLedger, night: str, database: Database):
    (scope,) = ledger.plan(night, [ONE])
    settle(database, scope, ScopeState.DONE)
    ledger.mark_failed(scope.id, "too late", NIGHT + HOUR)
    assert state_of(ledger, ONE).state is ScopeState.DONE
    assert run_row(database, night).state == "done"


def test_a_failed_scope_that_is_replayed_well_makes_its_run_good(ledger: RunLedger, night: str, database: Database):
    (scope,) = ledger.plan(night, [ONE])
    ledger.mark_failed(scope.id, "403", NIGHT)
    settle(database, scope, ScopeState.DONE)
    assert run_row(database, night).state == "done"
    assert state_of(ledger, ONE).reason is None


def test_the_last_two_scopes_finishing_at_once_finish_the_run(ledger: RunLedger, database: Database):
    for number in range(5):
        key = f"night {number}"
        ledger.open_run(key, "timer", NIGHT)
        scopes = ledger.plan(key, [ONE, TWO])
        both = threading.Barrier(2)

        def finish(scope: RunScope, both: threading.Barrier = both) -> None:
            both.wait(10)
            settle(database, scope, ScopeState.DONE)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(finish, scopes))
        assert run_row(database, key).state == "done"


def test_a_run_is_found_by_its_key_with_what_it_has_done(ledger: RunLedger, night: str, database: Database):
    done, deferred, failed = ledger.plan(night, [ONE, TWO, GROUP])
    settle(database, done, ScopeState.DONE)
    ledger.mark_deferred(deferred.id, "throttled", NIGHT + HOUR)
    ledger.mark_failed(failed.id, "no permission", NIGHT)
    ledger.open_run("another", "manual", NIGHT + HOUR)
    SqlMails(database, "warden.example").add(NewMail("k", "notice", (), {}, topic=Topic.OTHER, run_key=night), NIGHT)
    assert ledger.get(night) == RunView(
        key=night,
        trigger=RunTrigger.TIMER,
        state=RunState.RUNNING,
        started_at=NIGHT,
        finished_at=None,
        scopes={"done": 1, "deferred": 1, "failed": 1},
        mails={"pending": 1},
        errors=((TWO.subject, "throttled"), (GROUP.subject.lower(), "no permission")),
        unsent=(("", 1),),
    )
    assert ledger.get("no such run") is None


def test_recent_runs_come_newest_first_and_no_more_than_asked_for(ledger: RunLedger):
    assert ledger.recent_runs(5) == []
    for hours, key in enumerate(("first", "second", "third")):
        ledger.open_run(key, "manual", NIGHT + hours * HOUR)
    assert [run.key for run in ledger.recent_runs(2)] == ["third", "second"]
    assert ledger.recent_runs(3)[2] == ledger.get("first")


def test_the_last_night_is_there_however_many_runs_came_after_it(ledger: RunLedger, night: str):
    later = ledger.open_night(NIGHT + 24 * HOUR, NIGHT + 24 * HOUR)
    for hours in range(9):
        ledger.open_run(f"manual-{hours}", "manual", NIGHT + (30 + hours) * HOUR)
    assert ledger.night() == ledger.get(later) != ledger.get(night)


def test_no_night_is_the_last_where_there_was_none(ledger: RunLedger):
    ledger.open_run("manual-1", "manual", NIGHT)
    assert ledger.night() is None


def test_failures_are_told_once_the_run_is_finished(ledger: RunLedger, night: str, database: Database):
    one, two, group = ledger.plan(night, [ONE, TWO, GROUP])
    ledger.mark_failed(one.id, "no permission", NIGHT)
    settle(database, two, ScopeState.DONE)
    assert ledger.failures(night) == []
    settle(database, group, ScopeState.SUSPECT, "empty")
    assert ledger.failures(night) == [
        (ONE, "no permission"),
        (GROUP, "empty"),
    ]


def test_a_run_that_went_well_has_no_failures(ledger: RunLedger, night: str, database: Database):
    (one,) = ledger.plan(night, [ONE])
    settle(database, one, ScopeState.DONE)
    assert ledger.failures(night) == []
    assert ledger.failures("no such run") == []


def test_a_scope_keeps_the_days_that_it_reads_whatever_is_known(ledger: RunLedger):
    days = Period(date(2026, 8, 12), date(2026, 11, 21))
    ledger.open_run("manual", RunTrigger.MANUAL, NIGHT)
    planned = ledger.plan("manual", [replace(ONE, left=days), TWO])
    assert [each.target for each in planned] == [replace(ONE, left=days), TWO]
    # Whatever a message of the same run says: it is the same scope.
    assert ledger.scope_of("manual", RunTrigger.MANUAL, ONE, NIGHT).target == replace(ONE, left=days)
