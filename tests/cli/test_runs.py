"""`run` and `status`."""

from __future__ import annotations

import signal
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from shared.cli.runs import Unmoved
from shared.composition import Composition
from shared.messages import ScopeTarget
from shared.ports.mails import NewMail, Topic
from tests.cli.commands import (
    BARE,
    DIE1,
    EAU,
    FIRST,
    NO_QUEUES,
    SECOND,
    Cli,
    costs_were_read,
    night,
    queued,
    spend,
    start,
    write_csv,
)


def test_a_run_queues_a_message_for_each_subscription(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    # A month's costs and a quarter's are few query units, so that both messages can be seen at once.
    cli("projects", "load", write_csv(DIE1.replace("annual,2026-04-01", "monthly,"), EAU))
    outcome = cli("run")
    assert outcome.code == 0
    assert "2 subscriptions queued." in outcome.out
    messages = queued("QueueProjectUsageUpdate")
    assert {message["SubscriptionId"] for message in messages} == {FIRST, SECOND}
    (run,) = cli("status", "--json").json
    assert run["key"] == messages[0]["RunId"]
    assert run["key"] in outcome.out
    assert (run["trigger"], run["state"], run["finished_at"]) == ("manual", "running", None)
    assert run["scopes"] == {"done": 0, "deferred": 0, "failed": 0, "suspect": 0, "waiting": 2}


def test_a_run_since_a_day_queues_its_days_for_what_was_named(cli: Cli, app: Composition, queue_names: dict[str, str]):
    cli("projects", "load", write_csv(DIE1.replace("annual,2026-04-01", "monthly,"), EAU))
    since, tomorrow = (app.clock().date() + timedelta(days=days) for days in (-20, 1))
    of_subscription = cli("run", "--since", since.isoformat(), "--subscription", FIRST)
    assert (of_subscription.code, "1 subscription queued." in of_subscription.out) == (0, True)
    of_project = cli("run", "--since", since.isoformat(), "--project", "die1")
    assert (of_project.code, "project die1 queued." in of_project.out) == (0, True)
    days = {"Since": since.isoformat(), "Before": tomorrow.isoformat()}
    subscription, project = queued("QueueProjectUsageUpdate")
    assert subscription.items() >= (days | {"SubscriptionId": FIRST}).items()
    assert project.items() >= (days | {"ProjectId": 11}).items()
    assert len(cli("status", "--json").json) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--since", "2099-01-01"), "error: 2099-01-01 is in the future"),
        (("--since", "2001-01-01"), "longer ago than costs can be asked for"),
        (("--since", "01.04.2026"), "'01.04.2026' is no date"),
        (("--since", ""), "--since is empty"),
        (("--project", "nobody"), "there is no project nobody; `python -m shared.cli projects list` shows them all"),
        (("--subscription", "north"), "'north' is no subscription's id"),
        (("--subscription", FIRST, "--project", "DIE1"), "name a subscription or a project, not both"),
    ],
)
def test_a_run_of_what_can_not_be_right_is_refused_in_a_sentence(cli: Cli, options: tuple[str, ...], sentence: str):
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("run", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence in outcome.err
    assert "no run yet" in cli("status").out


def test_a_run_without_projects_has_nothing_to_do(cli: Cli) -> None:
    outcome = cli("run", "--wait")
    assert (outcome.code, outcome.err) == (0, "")
    assert "nothing to read" in outcome.out


def test_a_run_fails_in_one_sentence_where_the_queues_are_away(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DatahubStorageConnectionString", NO_QUEUES)
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("run")
    assert outcome.code == 1
    assert outcome.err.startswith("error: the queues can't be reached")


def test_the_status_tells_scopes_mails_and_what_went_wrong(cli: Cli, app: Composition) -> None:
    first, second = night(app)
    now = datetime(2026, 11, 20, 2, 12, tzinfo=UTC)
    app.runs.mark_failed(first.id, "Azure says no (403)", now)
    app.runs.mark_deferred(second.id, "Azure asks us to wait (429)", now)
    mails = [
        app.mails.add(NewMail(str(each), "alert", (), {}, topic=Topic.OTHER, run_key="night-2026-11-20"), now)
        for each in range(4)
    ]
    for mail in mails[:3]:
        assert app.mails.claim(mail, "me", now + timedelta(minutes=5), now)
    app.mails.mark_sent(mails[0], "", (), now)
    app.mails.mark_failed(mails[1], "me", "refused")
    (run,) = cli("status", "--json").json
    assert run == {
        "key": "night-2026-11-20",
        "trigger": "timer",
        "state": "running",
        "started_at": "2026-11-20T02:00:00+00:00",
        "finished_at": None,
        "complete": False,
        "scopes": {"done": 0, "deferred": 1, "failed": 1, "suspect": 0, "waiting": 0},
        "mails": {"sent": 1, "pending": 2, "failed": 1},
        "errors": [
            {"scope": f"subscription {FIRST}", "reason": "Azure says no (403)"},
            {"scope": f"subscription {SECOND}", "reason": "Azure asks us to wait (429)"},
        ],
        "unsent": [{"reason": None, "mails": 2}, {"reason": "refused", "mails": 1}],
        "unchecked": [],
        "missing": [],
    }
    for_people = cli("status").out
    assert "1 deferred, 1 failed" in for_people
    assert "1 sent, 2 pending, 1 failed" in for_people
    assert f"  subscription {FIRST}: Azure says no (403)\n" in for_people
    assert "  2 mails not sent: not tried yet\n  1 mail not sent: refused\n" in for_people


@pytest.mark.parametrize("put_aside", [False, True])
def test_a_night_that_is_read_is_not_complete_before_its_mails_are_sent_or_put_aside(
    cli: Cli, app: Composition, put_aside: bool
) -> None:
    now = datetime(2026, 11, 20, 2, 12, tzinfo=UTC)
    for scope in night(app):
        app.runs.mark_read(scope.id, None, now)
    mail = app.mails.add(NewMail("1", "alert", (), {}, topic=Topic.ALERT, run_key="night-2026-11-20"), now)
    app.mails.claim(mail, "me", now, now)
    app.mails.release(mail, "me", "SendGrid refuses us (401): Maximum credits exceeded", now)
    (run,) = cli("status", "--json").json
    assert (run["state"], run["complete"]) == ("done", False)
    for_people = cli("status").out
    assert "done, mails unsent" in " ".join(for_people.split())
    assert "  1 mail not sent: SendGrid refuses us (401): Maximum credits exceeded\n" in for_people
    if put_aside:
        assert cli("mails", "discard", str(mail), "--reason", "restored").code == 0
    else:
        app.mails.mark_sent(mail, "", (), now)
    (run,) = cli("status", "--json").json
    assert (run["state"], run["complete"], run["unsent"]) == ("done", True, [])


def test_the_status_says_what_figures_lack_and_whose(cli: Cli, app: Composition) -> None:
    assert "Incomplete" not in cli("status").out
    cli("projects", "load", write_csv(DIE1))
    now = app.clock()
    for scope in night(app):
        app.runs.mark_read(scope.id, None, now)
    (run,) = cli("status", "--json").json
    assert (run["state"], run["complete"]) == ("done", False)
    (missing,) = run["missing"]
    assert (missing["what"][:13], missing["projects"]) == ("costs of 1caa", ["DIE1"])
    for_people = cli("status").out
    assert "done, incomplete" in " ".join(for_people.split())
    assert "Incomplete: 1 figure (`python -m shared.cli projects list` shows which)\n" in for_people
    assert f"  DIE1: {missing['what']}\n" in for_people


def test_the_status_shows_as_many_runs_as_asked_for(cli: Cli, app: Composition) -> None:
    assert "There was no run yet" in cli("status").out
    for day in range(1, 8):
        app.runs.open_run(f"night-2026-11-0{day}", "timer", datetime(2026, 11, day, 2, tzinfo=UTC))
    assert [run["key"] for run in cli("status", "--limit", "2", "--json").json] == [
        "night-2026-11-07",
        "night-2026-11-06",
    ]
    assert cli("status", "--limit", "0").code == 2


def test_a_pipeline_fails_where_an_active_project_is_that_far(cli: Cli, app: Composition) -> None:
    asleep = EAU.replace("true", "false")
    cli("projects", "load", write_csv(DIE1, asleep))
    spend(app, 11, "12499.99", date(2026, 11, 1))
    spend(app, 12, "3000", date(2026, 11, 1))
    costs_were_read(app, datetime(2026, 11, 20, 2, 10, tzinfo=UTC))
    assert (cli("status", "--fail-over", "100").code, cli("status", "--fail-over", "100").err) == (0, "")
    over = cli("status", "--fail-over", "99", "--json")
    assert (over.code, over.json) == (1, [])
    assert over.err == "error: 1 project at 99 % or more: DIE1 (99.9 %)\n"
    spend(app, 11, "0.01", date(2026, 11, 2))
    assert cli("status", "--fail-over", "100").code == 1


def test_a_pipeline_is_warned_of_what_is_not_known(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1, EAU, BARE))
    outcome = cli("status", "--fail-over", "100")
    assert outcome.code == 0
    assert outcome.err.startswith("warning: not all costs are known of DIE1, EAU; ")


@pytest.mark.parametrize(
    ("command", "outcome", "error"),
    [
        ("run --wait", "done", ""),
        ("run --wait", "failed", "error: run manual-"),
        ("sync", "done", ""),
        ("sync", "failed", "error: not all could be read:\n  run manual-"),
    ],
)
def test_waiting_for_a_run_ends_with_it(
    cli: Cli, app: Composition, queue_names: dict[str, str], command: str, outcome: str, error: str
) -> None:
    cli("projects", "load", write_csv(DIE1))
    waiting = start(*command.split())
    deadline = time.monotonic() + 30
    while not (views := app.runs.recent_runs(1)) or not views[0].scopes.get("queued"):
        assert time.monotonic() < deadline
        assert waiting.poll() is None
        time.sleep(0.05)
    scope = app.runs.scope_of(views[0].key, "manual", ScopeTarget(subscription_id=FIRST), app.clock())
    if outcome == "done":
        app.runs.mark_read(scope.id, None, app.clock())
    else:
        app.runs.mark_failed(scope.id, "Azure says no (403)", app.clock())
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == (0 if outcome == "done" else 1)
    if outcome == "done":
        assert "is done: 1 done, 0 failed, 0 suspect." in out
    else:
        assert f"subscription {FIRST}: Azure says no (403)" in out
        assert err.startswith(error)


def test_whoever_waits_is_told_that_nobody_takes_the_messages(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("projects", "load", write_csv(DIE1))
    monkeypatch.setenv("LOCAL_CLOCK_SPEED", "60")
    waiting = start("run", "--wait")
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith("warning: nobody has taken the messages for a minute; does the app run")
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(30) == 130


def test_messages_that_are_taken_one_after_the_other_are_taken() -> None:
    at, nobody = datetime(2026, 11, 20, 2, tzinfo=UTC), []
    queue = Unmoved(at)
    fronts = ["a", "a", "b", "b", "b", None, *["c"] * 30]
    for second, front in enumerate(fronts):
        if queue.is_noticed(lambda front=front: front, at + timedelta(seconds=6 * second)):
            nobody.append(second)
    # Ten looks after c came to the front, and once only.
    assert nobody == [16]


def test_a_run_can_be_told_to_programs(cli: Cli, queue_names: dict[str, str]) -> None:
    assert cli("run", "--json").json["queued"] == 0
    cli("projects", "load", write_csv(DIE1))
    started = cli("run", "--json").json
    assert (started["queued"], started["run"]) == (1, None)
    assert started["key"].startswith("manual-")


def test_whoever_stops_waiting_does_not_stop_the_run(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    cli("projects", "load", write_csv(DIE1))
    waiting = start("run", "--wait")
    assert waiting.stdout is not None
    # Written before the waiting begins.
    assert waiting.stdout.readline().startswith("Run manual-")
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "Traceback" not in err
    assert "the run goes on" in err
    assert app.runs.recent_runs(1)[0].state == "running"
