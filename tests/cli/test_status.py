"""`status`: the page for a Monday morning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from shared.adapters.database.tables import projects
from shared.composition import Composition
from shared.messages import Queue, ScopeTarget
from shared.ports.mails import NewMail, Topic
from tests.cli.commands import (
    DIE1,
    EAU,
    FIRST,
    HOLD,
    LOCKED,
    LOCKED_AT,
    Cli,
    costs_were_read,
    decided,
    night,
    spend,
    write_csv,
)

AT = datetime(2026, 11, 20, 2, 12, tzinfo=UTC)
WELL = "Nothing needs a hand."


@pytest.fixture
def well(cli: Cli, app: Composition) -> Composition:
    """After a night that has read all."""
    cli("projects", "load", write_csv(DIE1, EAU))
    costs_were_read(app, AT)
    app.runs.open_night(datetime(2026, 11, 20, 2, tzinfo=UTC), AT)
    for scope in night(app):
        app.runs.mark_read(scope.id, None, AT)
    return app


def test_where_all_is_well_it_is_said_and_quietly_nothing(cli: Cli, well: Composition) -> None:
    outcome = cli("status")
    assert (outcome.code, WELL in outcome.out) == (0, True)
    assert "last night       night-2026-11-20, complete" in outcome.out
    quiet = cli("status", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_a_night_is_not_complete_before_its_costs_were_compared_with_the_budgets(cli: Cli, well: Composition) -> None:
    due = update(projects).where(projects.c.acronym == "DIE1").values(check_due_since=AT)
    well.database.run(lambda connection: connection.execute(due))
    told = cli("status").out
    assert "night-2026-11-20, not complete" in told and "done, incomplete" in told
    assert "  DIE1: new costs were not compared with the budget yet\n" in told
    assert cli("status", "--json").json[0]["unchecked"] == ["DIE1"]


def test_messages_by_hand_do_not_push_the_night_out(cli: Cli, well: Composition) -> None:
    for number in range(9):
        well.runs.open_run(f"message-{number}", "message", AT + timedelta(minutes=number))
    assert "last night       night-2026-11-20" in cli("status", "--limit", "1").out
    assert [run["key"] for run in cli("status", "--limit", "1", "--json").json] == ["message-8", "night-2026-11-20"]


@pytest.mark.parametrize("limit", ["1", "5"])
def test_what_needs_a_hand_does_not_depend_on_how_many_runs_are_listed(cli: Cli, well: Composition, limit: str) -> None:
    key = well.runs.open_night(datetime(2026, 11, 20, 5, tzinfo=UTC), AT + timedelta(hours=3))
    (scope,) = well.runs.plan(key, [ScopeTarget(subscription_id=FIRST)])
    well.runs.mark_failed(scope.id, "Azure says no (403)", AT)
    for hour in range(5):
        well.runs.open_run(f"manual-{hour}", "manual", AT + timedelta(hours=4 + hour))
    page = cli("status", "--limit", limit)
    assert (page.code, f"last night       {key}, failed in part" in page.out) == (1, True)
    failed, reason = cli("status", "--limit", limit, "--quiet").out.splitlines()
    assert (failed, "Azure says no (403)" in reason) == (f"  {key} has failed in part", True)


def test_a_dead_letter_needs_a_hand_until_it_is_discarded(cli: Cli, well: Composition) -> None:
    well.letters.record(Queue.EMAIL, "{}", "?", "a", AT)
    outcome = cli("status", "--quiet")
    sentence = "1 dead letter waits, the oldest since 2026-11-20 (`dead-letters list`)"
    assert (outcome.code, outcome.out) == (1, f"  {sentence}\n")
    assert cli("status", "--json", "--page").json["needs_hand"] == [sentence]
    cli("dead-letters", "discard", "1", "--reason", "seen")
    assert cli("status").code == 0


def test_a_mail_that_somebody_lacks_needs_a_hand_for_a_week(cli: Cli, well: Composition) -> None:
    for key, made_at in (("old", AT - timedelta(days=8)), ("new", AT), ("later", well.clock())):
        mail = well.mails.add(NewMail(key, "alert", (), {}, topic=Topic.ALERT, project_id=11), made_at)
        if key != "later":
            well.mails.claim(mail, "me", AT + timedelta(minutes=5), AT)
            well.mails.mark_failed(mail, "me", "refused")
    assert cli("status", "--quiet").out == "  1 mail not delivered to all (DIE1) (`mails list --unsent`)\n"
    page = cli("status", "--json", "--page").json
    assert page["undelivered"] == [2]


def test_a_night_that_did_not_begin_needs_a_hand(cli: Cli, well: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_CLOCK_START", "2026-11-21T12:00:00+00:00")
    outcome = cli("status", "--quiet")
    assert outcome.code == 1
    assert outcome.out == "  no night has begun since 2026-11-21 02:00 UTC\n"
    monkeypatch.setenv("LOCAL_CLOCK_START", "2026-11-22T12:00:00+00:00")
    assert f"DIE1: costs of {FIRST} not read since 20 November 2026" in cli("status", "--quiet").out


def test_what_was_never_read_needs_no_hand(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("status")
    assert (outcome.code, WELL in outcome.out) == (0, True)
    assert "Incomplete: 1 figure" in outcome.out


def test_locked_and_nearly_used_up_projects_are_named_and_need_no_hand(cli: Cli, well: Composition) -> None:
    decided(well, LOCKED, HOLD, LOCKED_AT)
    spend(well, 12, "2700")
    outcome = cli("status")
    assert outcome.code == 0
    assert "locked           DIE1 since 2026-11-20" in outcome.out
    assert "at 80 % or more  EAU 90.0 %" in outcome.out
    page = cli("status", "--json", "--page").json
    assert [each["acronym"] for each in page["locked"]] == ["DIE1"]
    assert page["high"] == [{"id": 12, "acronym": "EAU", "percent": "90", "allocated": "0", "locked_since": None}]


def test_a_pipeline_fails_over_its_percent_and_for_nothing_else(cli: Cli, well: Composition) -> None:
    well.letters.record(Queue.EMAIL, "{}", "?", "a", AT)
    assert cli("status", "--fail-over", "100").code == 0
    spend(well, 12, "3000")
    assert cli("status", "--fail-over", "100").code == 1


def test_the_page_is_for_programs_only_with_json(cli: Cli, well: Composition) -> None:
    assert cli("status", "--page").code == 2
