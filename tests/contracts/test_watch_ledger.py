"""What got stuck, and what is late, in all the ledgers that know it, on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import insert, update

from shared.adapters.database.checks import SqlChecks
from shared.adapters.database.dead_letters import SqlDeadLetters
from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks
from shared.adapters.database.mails import SqlMails
from shared.adapters.database.runs import SqlRuns
from shared.adapters.database.tables import budgets
from shared.adapters.database.tables import runs as run_rows
from shared.adapters.database.watch import SqlWatch
from shared.domain.periods import PeriodKind
from shared.messages import Queue, ScopeTarget
from shared.ports.mails import NewMail, Topic
from shared.ports.runs import LateRun, RunScope, ScopeState
from shared.ports.watch import Standing
from tests.contracts.ledger_data import Ledgers, entry, terms
from tests.contracts.rows import HOUR, MINUTE, NIGHT, add_project, run_row, set_project, settle

ONE = ScopeTarget(subscription_id="1caaa5a3-2b66-438e-8ab4-bce37d518c5d")
TWO = ScopeTarget(subscription_id="2caaa5a3-2b66-438e-8ab4-bce37d518c5d")
MORNING = NIGHT + 4 * HOUR


@pytest.fixture
def runs(database: Database) -> SqlRuns:
    return SqlRuns(database)


@pytest.fixture
def checks(database: Database) -> SqlChecks:
    return SqlChecks(database, "warden.example", lookback_days=35)


@pytest.fixture
def mails(database: Database) -> SqlMails:
    return SqlMails(database, "warden.example")


@pytest.fixture
def watch(database: Database) -> SqlWatch:
    return SqlWatch(database)


def plan(
    runs: SqlRuns, key: str, *targets: ScopeTarget, trigger: str = "timer", at: datetime = NIGHT
) -> list[RunScope]:
    runs.open_run(key, trigger, at)
    return runs.plan(key, targets)


def a_mail(key: str, run_key: str | None = "night") -> NewMail:
    return NewMail(key=key, template="alert", to=("a@b.ca",), context={}, topic=Topic.OTHER, run_key=run_key)


def ids(scopes: list[RunScope]) -> list[int]:
    return [scope.id for scope in scopes]


def test_scopes_that_were_planned_and_never_queued_are_stuck_from_their_runs_start(runs: SqlRuns):
    planned = plan(runs, "night", ONE, TWO)
    assert runs.stuck_scopes(NIGHT) == []
    assert runs.stuck_scopes(NIGHT + MINUTE) == planned


def test_a_queued_or_deferred_scope_is_stuck_after_its_time(runs: SqlRuns):
    one, two = plan(runs, "night", ONE, TWO)
    runs.mark_queued(one.id, NIGHT + HOUR, NIGHT)
    runs.mark_deferred(two.id, "throttled", NIGHT + 2 * HOUR)
    assert runs.stuck_scopes(NIGHT + HOUR) == []
    assert ids(runs.stuck_scopes(NIGHT + 2 * HOUR)) == [one.id]
    assert ids(runs.stuck_scopes(NIGHT + 3 * HOUR)) == [one.id, two.id]


def test_a_scope_that_was_queued_again_is_not_stuck_for_another_while(runs: SqlRuns):
    (one,) = plan(runs, "night", ONE)
    runs.mark_queued(one.id, MORNING, MORNING)
    assert runs.stuck_scopes(MORNING) == []


@pytest.mark.parametrize("final", [ScopeState.DONE, ScopeState.FAILED, ScopeState.SUSPECT])
def test_a_final_scope_is_not_stuck(runs: SqlRuns, database: Database, final: ScopeState):
    one, two = plan(runs, "night", ONE, TWO)
    settle(database, one, final)
    assert ids(runs.stuck_scopes(MORNING)) == [two.id]


def test_scopes_of_runs_by_hand_are_watched_too(runs: SqlRuns):
    scope = runs.scope_of("message-7", "message", ONE, NIGHT)
    assert ids(runs.stuck_scopes(MORNING)) == [scope.id]


def test_an_active_project_is_stuck_when_its_check_is_overdue(checks: SqlChecks, database: Database):
    add_project(database, 3, check_due_since=NIGHT)
    add_project(database, 1, check_due_since=NIGHT)
    add_project(database, 2, check_due_since=NIGHT, active=False)
    add_project(database, 4, check_due_since=NIGHT + HOUR)
    add_project(database, 5)
    assert checks.stuck_projects(NIGHT) == []
    assert checks.stuck_projects(NIGHT + HOUR) == [1, 3]


def test_mails_are_stuck_when_pending_too_long_and_abandoned_when_their_claim_lapsed(mails: SqlMails):
    pending, claimed, sent, failed = (mails.add(a_mail(name), NIGHT) for name in ("p", "c", "s", "f"))
    for mail_id in (claimed, sent, failed):
        mails.claim(mail_id, "me", NIGHT + HOUR, NIGHT)
    mails.mark_sent(sent, "", (), NIGHT)
    mails.mark_failed(failed, "me", "refused")
    assert (mails.stuck(NIGHT), mails.abandoned(NIGHT)) == ([], [])
    assert (mails.stuck(NIGHT + HOUR), mails.abandoned(NIGHT + HOUR)) == ([pending], [])
    assert (mails.stuck(NIGHT + 2 * HOUR), mails.abandoned(NIGHT + 2 * HOUR)) == ([pending], [claimed])


def test_what_is_queued_again_counts_as_stuck_only_after_another_while(
    checks: SqlChecks, mails: SqlMails, database: Database
):
    add_project(database, 1, check_due_since=NIGHT)
    pending, claimed = (mails.add(a_mail(name), NIGHT) for name in ("p", "c"))
    mails.claim(claimed, "me", NIGHT + MINUTE, NIGHT)
    checks.mark_requeued([1], MORNING)
    mails.mark_requeued([pending, claimed], MORNING)
    assert (checks.stuck_projects(MORNING), mails.stuck(MORNING), mails.abandoned(MORNING)) == ([], [], [])
    assert checks.stuck_projects(MORNING + HOUR) == [1]
    assert (mails.stuck(MORNING + HOUR), mails.abandoned(MORNING + HOUR)) == ([pending], [claimed])


def test_thousands_can_be_marked_at_once(checks: SqlChecks, mails: SqlMails, database: Database):
    add_project(database, 2999, check_due_since=NIGHT)
    for ledger in (checks, mails):
        ledger.mark_requeued(range(1, 3001), MORNING)
        ledger.mark_requeued([], MORNING)
    assert checks.stuck_projects(MORNING) == []


def test_a_run_that_is_complete_is_not_late(runs: SqlRuns, mails: SqlMails, database: Database):
    (scope,) = plan(runs, "night", ONE)
    settle(database, scope, ScopeState.DONE)
    mail = mails.add(a_mail("sent"), NIGHT)
    mails.claim(mail, "me", MORNING, NIGHT)
    mails.mark_sent(mail, "", (), NIGHT)
    mails.add(a_mail("of another", run_key="other"), NIGHT)
    add_project(database, 1)
    add_project(database, 2, active=False, check_due_since=NIGHT)
    plan(runs, "night without anything to do")
    assert runs.late_runs(MORNING) == []


def test_a_late_run_names_everything_that_is_missing(runs: SqlRuns, mails: SqlMails, database: Database):
    group = ScopeTarget(project_id=11, resource_group="Rg")
    done, deferred, failed = plan(runs, "night", ONE, TWO, group)
    settle(database, done, ScopeState.DONE)
    runs.mark_deferred(deferred.id, "throttled", MORNING)
    runs.mark_failed(failed.id, "Azure says no (403)", NIGHT)
    pending, claimed = mails.add(a_mail("p"), NIGHT), mails.add(a_mail("c"), NIGHT)
    assert pending != claimed
    mails.claim(claimed, "me", MORNING, NIGHT)
    add_project(database, 1, check_due_since=NIGHT + MINUTE)
    scopes = ((TWO, "deferred", "throttled"), (group, "failed", "Azure says no (403)"))
    assert runs.late_runs(NIGHT) == []
    failed_mail = mails.add(a_mail("f"), NIGHT)
    mails.claim(failed_mail, "me", MORNING, NIGHT)
    mails.mark_failed(failed_mail, "me", "spam")
    unsent = (("", 2), ("spam", 1))
    assert runs.late_runs(MORNING) == [LateRun("night", NIGHT, NIGHT, scopes, unchecked=("P1",), unsent=unsent)]


@pytest.mark.parametrize("missing", ["plan", "check", "mail"])
def test_each_thing_missing_alone_makes_a_run_late(runs: SqlRuns, mails: SqlMails, database: Database, missing: str):
    if missing == "plan":
        runs.open_run("night", "timer", NIGHT)
    else:
        (scope,) = plan(runs, "night", ONE)
        settle(database, scope, ScopeState.DONE)
    if missing == "check":
        add_project(database, 1, check_due_since=NIGHT + HOUR)
    if missing == "mail":
        mails.add(a_mail("p"), NIGHT)
    (late,) = runs.late_runs(MORNING)
    assert (late.scopes, len(late.unchecked), len(late.unsent)) == ((), missing == "check", missing == "mail")


@pytest.mark.parametrize("is_new_amount", [False, True])
def test_nights_stay_complete_when_a_project_is_active_again(
    runs: SqlRuns, watch: SqlWatch, database: Database, is_new_amount: bool
) -> None:
    """Since it was deactivated, it was compared with no budget; from now on it is to be."""
    ledgers = Ledgers(database)
    ledgers.load(entry(1), entry(2), now=NIGHT - 3 * HOUR)
    ledgers.load(entry(1, active=False), now=NIGHT - 2 * HOUR)
    set_project(database, 2, check_due_since=None)
    for night in ("one", "two"):
        settle(database, *plan(runs, night, ONE), ScopeState.DONE)
    before = watch.standing().complete_at
    again = entry(1, terms=terms("77")) if is_new_amount else entry(1)
    ledgers.load(again, now=MORNING)
    assert before is not None
    assert (runs.late_runs(MORNING), watch.standing().complete_at) == ([], before)
    (scope,) = plan(runs, "next", ONE, at=MORNING)
    runs.mark_read(scope.id, None, MORNING + HOUR)
    assert [late.unchecked for late in runs.late_runs(MORNING + 2 * HOUR)] == [("P1",)]


def test_a_check_that_is_asked_for_again_still_belongs_to_its_run(runs: SqlRuns, checks: SqlChecks, database: Database):
    (scope,) = plan(runs, "night", ONE)
    settle(database, scope, ScopeState.DONE)
    add_project(database, 1, check_due_since=NIGHT + HOUR)
    checks.mark_requeued([1], MORNING)
    assert [late.unchecked for late in runs.late_runs(MORNING)] == [("P1",)]


def test_a_check_that_became_due_after_the_run_is_not_its_own(runs: SqlRuns, database: Database):
    (scope,) = plan(runs, "night", ONE)
    settle(database, scope, ScopeState.DONE)
    add_project(database, 1)
    set_project(database, 1, check_due_since=MORNING)
    assert runs.late_runs(MORNING) == []
    add_project(database, 2, check_due_since=NIGHT)
    assert [late.unchecked for late in runs.late_runs(MORNING)] == [("P2",)]


def test_only_runs_by_timer_can_be_late(runs: SqlRuns):
    plan(runs, "by hand", ONE, trigger="manual")
    plan(runs, "message-7", ONE, trigger="message")
    assert runs.late_runs(MORNING) == []


def test_late_runs_come_oldest_first_and_until_they_are_reported(runs: SqlRuns, database: Database):
    plan(runs, "second", ONE, at=NIGHT)
    plan(runs, "first", ONE, at=NIGHT - 24 * HOUR)
    assert [late.key for late in runs.late_runs(MORNING)] == ["first", "second"]
    runs.mark_reported("first", MORNING)
    assert [late.key for late in runs.late_runs(MORNING)] == ["second"]
    assert run_row(database, "first").reported_at == MORNING


def test_a_run_is_late_by_its_own_plan_which_never_gets_shorter(runs: SqlRuns):
    plan(runs, "night", ONE)
    for hours in (6, 2):
        runs.plan_until("night", NIGHT + hours * HOUR)
        assert runs.late_runs(NIGHT + 6 * HOUR) == []
    (late,) = runs.late_runs(NIGHT + 6 * HOUR + MINUTE)
    assert (late.started_at, late.planned_until) == (NIGHT, NIGHT + 6 * HOUR)


def test_the_last_night_is_the_occurrence_that_began_last_or_when_a_night_of_before_began(runs: SqlRuns):
    assert runs.last_night() is None
    plan(runs, "by hand", ONE, trigger="manual", at=NIGHT + 72 * HOUR)
    assert runs.last_night() is None
    plan(runs, "night of before", ONE, at=NIGHT)
    assert runs.last_night() == NIGHT
    runs.open_night(NIGHT + 24 * HOUR, NIGHT + 25 * HOUR)
    assert runs.last_night() == NIGHT + 24 * HOUR


def test_a_schedule_is_known_from_the_first_project_on_and_another_from_now_on(runs: SqlRuns, database: Database):
    add_project(database, 1)
    terms = {"currency": "CAD", "period_kind": PeriodKind.ANNUAL, "period_rule_start": NIGHT.date()}
    made = {"made_at": NIGHT, "made_by": "tester", "reason": "loaded"}
    revision = insert(budgets).values(project_id=1, number=1, **terms, **made)
    database.run(lambda connection: connection.execute(revision))
    assert runs.schedule_since("0 0 2 * * * UTC", NIGHT + 48 * HOUR) == NIGHT
    assert runs.schedule_since("0 0 2 * * * UTC", NIGHT + 72 * HOUR) == NIGHT
    assert runs.schedule_since("0 0 3 * * * UTC", NIGHT + 96 * HOUR) == NIGHT + 96 * HOUR
    assert runs.schedule_since("0 0 3 * * * UTC", NIGHT + 97 * HOUR) == NIGHT + 96 * HOUR
    assert runs.schedule_since("0 0 2 * * * UTC", NIGHT + 98 * HOUR) == NIGHT + 98 * HOUR


def test_without_a_project_a_schedule_is_known_from_now_on(runs: SqlRuns):
    assert runs.schedule_since("0,1,2 " * 99, NIGHT) == NIGHT
    assert runs.schedule_since("0,1,2 " * 99, MORNING) == NIGHT


# --- what the watchdog has to know before it rests ---


def test_where_nothing_is_unfinished_nothing_is_due(runs: SqlRuns, watch: SqlWatch, database: Database):
    assert watch.standing() == Standing(None, None, None, is_untold=False, complete_at=None, since=None)
    add_project(database, 1)
    (scope,) = plan(runs, "night", ONE)
    settle(database, scope, ScopeState.DONE)
    plan(runs, "by hand", trigger="manual")
    runs.schedule_since("0 0 2 * * * UTC", NIGHT)
    assert watch.standing() == Standing(None, None, None, is_untold=False, complete_at=NIGHT + HOUR, since=NIGHT)


@pytest.fixture
def stuck(runs: SqlRuns, checks: SqlChecks, mails: SqlMails) -> Callable[[datetime], int]:
    """How much is stuck before a moment, by the methods that find it: no look comes too late, and none for nothing."""
    found = (runs.stuck_scopes, checks.stuck_projects, mails.stuck, mails.abandoned)
    return lambda before: sum(len(find(before)) for find in found)


@pytest.mark.parametrize("state", [ScopeState.PLANNED, ScopeState.QUEUED, ScopeState.DEFERRED])
def test_a_scope_waits_since_it_was_to_be_taken(
    runs: SqlRuns, watch: SqlWatch, stuck: Callable[[datetime], int], database: Database, state: ScopeState
):
    one, two = plan(runs, "night", ONE, TWO, at=MORNING if state is ScopeState.PLANNED else NIGHT)
    settle(database, two, ScopeState.DONE)
    if state is ScopeState.QUEUED:
        runs.mark_queued(one.id, MORNING, NIGHT)
    if state is ScopeState.DEFERRED:
        runs.mark_deferred(one.id, "throttled", MORNING)
    assert watch.standing().waits_since == MORNING
    assert (stuck(MORNING), stuck(MORNING + MINUTE)) == (0, 1)


@pytest.mark.parametrize("again", [False, True])
def test_a_check_waits_since_it_was_due_or_queued_again(
    checks: SqlChecks, watch: SqlWatch, stuck: Callable[[datetime], int], database: Database, again: bool
):
    add_project(database, 2, check_due_since=NIGHT, active=False)
    add_project(database, 1, check_due_since=NIGHT if again else MORNING)
    if again:
        checks.mark_requeued([1], MORNING)
    assert watch.standing().waits_since == MORNING
    assert (stuck(MORNING), stuck(MORNING + MINUTE)) == (0, 1)


@pytest.mark.parametrize("claimed_until", [None, NIGHT + MINUTE, MORNING])
def test_a_mail_waits_since_it_was_due_or_its_claim_lapsed(
    mails: SqlMails, watch: SqlWatch, stuck: Callable[[datetime], int], claimed_until: datetime | None
):
    mail_id = mails.add(a_mail("m"), NIGHT)
    if claimed_until:
        mails.claim(mail_id, "me", claimed_until, NIGHT)
    if claimed_until != MORNING:
        mails.mark_requeued([mail_id], MORNING)
    assert watch.standing().waits_since == MORNING
    assert (stuck(MORNING), stuck(MORNING + MINUTE)) == (0, 1)


def test_a_night_is_late_from_the_moment_that_is_told(runs: SqlRuns, watch: SqlWatch, database: Database):
    (scope,) = plan(runs, "night", ONE)
    runs.plan_until("night", MORNING)
    assert watch.standing().late_from == MORNING
    assert (len(runs.late_runs(MORNING)), len(runs.late_runs(MORNING + MINUTE))) == (0, 1)
    settle(database, scope, ScopeState.FAILED, "Azure says no")
    assert watch.standing().late_from == MORNING
    runs.mark_reported("night", MORNING)
    assert watch.standing().late_from is None


def test_the_last_complete_night_is_done_and_has_told_all(
    runs: SqlRuns, mails: SqlMails, watch: SqlWatch, database: Database
):
    for number, state in enumerate((ScopeState.DONE, ScopeState.DONE, ScopeState.FAILED)):
        (scope,) = plan(runs, f"night-{number}", ONE, at=NIGHT + 24 * number * HOUR)
        settle(database, scope, state, "no" if state is ScopeState.FAILED else None)
    mail_id = mails.add(a_mail("p", "night-1"), NIGHT)
    set_finished(database, "night-1", NIGHT + 25 * HOUR)
    assert watch.standing().complete_at == NIGHT + HOUR
    mails.mark_sent(mail_id, "", (), MORNING)
    assert watch.standing().complete_at == NIGHT + 25 * HOUR


def test_a_night_is_as_complete_for_its_age_as_for_the_mail_that_it_is_not(
    runs: SqlRuns, checks: SqlChecks, watch: SqlWatch, database: Database
):
    """Its costs were read, and are not compared with the budgets; the mail on it has gone out."""
    for number in range(3):
        (scope,) = plan(runs, f"night-{number}", ONE, at=NIGHT + 24 * number * HOUR)
        settle(database, scope, ScopeState.DONE)
        set_finished(database, f"night-{number}", NIGHT + (24 * number + 1) * HOUR)
    add_project(database, 1, check_due_since=NIGHT + 24 * HOUR)
    assert watch.standing().complete_at == NIGHT + HOUR
    assert watch.standing().late_from == NIGHT + 24 * HOUR
    assert [late.key for late in runs.late_runs(NIGHT + 99 * HOUR)] == ["night-1", "night-2"]
    assert [view.is_complete for view in runs.recent_runs(3)] == [False, False, True]
    for key in ("night-1", "night-2"):
        runs.mark_reported(key, NIGHT + 99 * HOUR)
    night = runs.night()
    assert (watch.standing().complete_at, watch.standing().late_from) == (NIGHT + HOUR, None)
    assert night is not None and (night.unchecked, night.is_complete) == (("P1",), False)
    checks.give_up([1], "it has no budget")
    assert watch.standing().complete_at == NIGHT + 49 * HOUR


def set_finished(database: Database, key: str, at: datetime) -> None:
    database.run(
        lambda connection: connection.execute(update(run_rows).where(run_rows.c.key == key).values(finished_at=at))
    )


def test_a_dead_letter_waits_to_be_told_until_it_is_told_or_put_aside(watch: SqlWatch, database: Database):
    letters = SqlDeadLetters(database)
    one, two = (letters.record(Queue.UPDATE, "{", "no JSON", name, NIGHT)[0] for name in ("one", "two"))
    letters.mark_told([one], NIGHT)
    assert watch.standing().is_untold
    letters.discard(two, "me", "of no use", NIGHT)
    assert not watch.standing().is_untold


def test_the_first_look_at_a_lock_is_known(watch: SqlWatch, locks: SqlLocks, database: Database):
    for project_id in (1, 2):
        add_project(database, project_id)
        locks.claim(project_id, "me", NIGHT, NIGHT)
        locks.look_at(project_id, NIGHT + project_id * HOUR)
    assert watch.standing().look_at == NIGHT + HOUR
    assert (locks.looks_due(NIGHT + HOUR - MINUTE), locks.looks_due(NIGHT + HOUR)) == ([], [1])
