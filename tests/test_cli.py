"""The command line, on a real database file and a real Azurite: what it writes, and its exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue import QueueClient
from sqlalchemy import insert, select

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from localdev.azurite import Azurite
from shared import settings
from shared.adapters.database.tables import charges, scopes
from shared.cli.main import main
from shared.composition import Composition
from shared.domain.money import LARGEST_AMOUNT
from shared.messages import Queue
from shared.ports import NewMail, Reading, RunScope, ScopeTarget

PROJECT = Path(__file__).resolve().parents[1]
FIRST, SECOND = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d", "2caaa5a3-2b66-438e-8ab4-bce37d518c5d"
HEADER = (
    "id,acronym,name,subscription_id,resource_groups,budget,currency,"
    "period,period_start,period_end,contacts,language,active"
)
DIE1 = f"11,DIE1,Data innovation,{FIRST},die1-dev;die1-prod,12500.00,CAD,annual,2026-04-01,,ann@example.com,en,true"
EAU = f"12,EAU,Qualité de l'eau,{SECOND},eau,3000,CAD,quarterly,,,eve@example.com,fr,true"
BARE = f"13,BARE,Nothing yet,{SECOND},bare,,,,,,,,true"
NOW = "2026-11-20T12:00:00+00:00"
ACCOUNT = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:{port}/a;"
STORAGE = "DatahubStorageConnectionString"
# Nothing listens there.
NO_QUEUES = ACCOUNT.format(port=1)


@dataclass(frozen=True)
class Outcome:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which has to be JSON and nothing else."""
        return json.loads(self.out)


Cli = Callable[..., Outcome]


class Refusing(BaseHTTPRequestHandler):
    """Answers as a storage account does that does not know us."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT  # noqa: N815 - http.server's own spelling

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def refusing_queues() -> Iterator[str]:
    """The connection string of a storage account that refuses everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield ACCOUNT.format(port=server.server_port)
        server.shutdown()
        thread.join()


@pytest.fixture
def environment(
    tmp_path: Path, sqlite_url: str, refusing_queues: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The settings of a fresh folder, in which the commands run; its queues refuse everything."""
    values = {
        "DatahubStorageConnectionString": refusing_queues,
        "DATABASE_URL": sqlite_url,
        "LOCAL_CLOCK_START": NOW,
        "EMAIL_OPERATORS": "platform-team@example.com",
        "LOGNAME": "ann",
    }
    monkeypatch.chdir(tmp_path)
    for name in settings.setting_names():
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def queue_names(environment: dict[str, str], azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Queues of this test's own, in an Azurite that runs."""
    test = uuid.uuid4().hex[:12]
    kinds = ("Update", "Notification")
    names = {f"QueueProjectUsage{kind}": f"t{test}-{kind.lower()}" for kind in kinds}
    names |= {"QueueEmailNotification": f"t{test}-email", "DatahubStorageConnectionString": azurite.connection_string}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    return names


@pytest.fixture
def cli(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command inside this process."""

    def run(*arguments: str) -> Outcome:
        code = main(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(code, out, err)

    return run


@pytest.fixture
def app(environment: dict[str, str]) -> Composition:
    """The same app as the commands', to see and to make what they work on."""
    return Composition(settings.load())


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Ends what a failed test has left running: `run --wait` would wait for ever."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Starts a command as a program of its own, in the folder of this test."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "shared.cli", *arguments]
    STARTED.append(subprocess.Popen(command, env=environment, text=True, **(pipes | options)))
    return STARTED[-1]


def program(*arguments: str) -> Outcome:
    """Runs a command as a program of its own."""
    process = start(*arguments)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err or "--debug" in arguments
    return Outcome(process.returncode, out, err)


def write_csv(*lines: str) -> str:
    """A projects file in the folder of this test."""
    file = Path("projects.csv")
    file.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return file.name


def spend(app: Composition, project_id: int, cost: str) -> None:
    """A charge of the project, on the first of this month."""

    def write(connection: Any) -> None:
        scope = connection.scalar(select(scopes.c.id).where(scopes.c.project_id == project_id))
        row = {"charge_period_start": date(2026, 11, 1), "service_name": "VM", "billing_currency": "CAD"}
        connection.execute(insert(charges), [row | {"scope_id": scope, "billed_cost": Decimal(cost)}])

    app.database.run(write)


def queued(setting: str) -> list[Any]:
    """The messages that can be seen on the queue that a setting names."""
    client = QueueClient.from_connection_string(os.environ[STORAGE], os.environ[setting])
    return [json.loads(message.content) for message in client.peek_messages(max_messages=32)]


# --- projects ------------------------------------------------------------------------------------------------


def test_loaded_projects_are_listed_as_json(cli: Cli, app: Composition) -> None:
    assert cli("projects", "load", write_csv(DIE1, EAU, BARE)).code == 0
    spend(app, 11, "8.5450077867")
    listed = cli("projects", "list", "--json").json
    assert listed[0] == {
        "id": 11,
        "acronym": "DIE1",
        "name": "Data innovation",
        "budget": "12500",
        "currency": "CAD",
        "spent": "8.5450077867",
        "percent": "0.06836",
        "period_start": "2026-04-01",
        "period_end": "2027-04-01",
        "updated_at": None,
        "active": True,
    }
    assert (listed[2]["budget"], listed[2]["currency"], listed[2]["percent"]) == (None, None, None)


def test_a_project_whose_budget_was_taken_away_keeps_its_currency(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    spend(app, 11, "12.5")
    assert cli("budget", "set", "DIE1", "0", "--reason", "it has ended").code == 0
    (listed,) = cli("projects", "list", "--json").json
    assert (listed["budget"], listed["currency"], listed["spent"]) == (None, "CAD", "12.5")


def test_projects_are_listed_for_people_in_whole_lines_and_without_colours(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    spend(app, 12, "2999.99")
    outcome = cli("projects", "list")
    (line,) = [line for line in outcome.out.splitlines() if "EAU" in line]
    assert "Qualité de l'eau" in line
    # Never rounded up to 100.
    assert "99.9 %" in line
    assert "2 projects, 2 active; 1 at 80 % or more, 0 at 100 % or more." in outcome.out
    assert "\x1b" not in outcome.out


def test_without_projects_the_list_says_how_to_load_them(cli: Cli) -> None:
    assert "projects load FILE.csv" in cli("projects", "list").out
    assert cli("projects", "list", "--json").json == []


def test_loading_says_what_changed_and_the_same_file_again_changes_nothing(cli: Cli, app: Composition) -> None:
    assert "2 added, 0 changed, 0 unchanged" in cli("projects", "load", write_csv(DIE1, EAU)).out
    assert "0 added, 0 changed, 2 unchanged" in cli("projects", "load", write_csv(DIE1, EAU)).out
    raised = write_csv(DIE1.replace("12500.00", "20000"), EAU)
    assert "0 added, 1 changed, 1 unchanged" in cli("projects", "load", raised).out
    assert [revision.terms.amount for revision in app.projects.revisions(11)] == [12500, 20000]


def test_loading_warns_of_active_projects_that_nobody_would_hear_of(cli: Cli) -> None:
    sleeping = BARE.replace("13,BARE", "14,SLEEPING").replace(",bare,", ",asleep,").replace("true", "false")
    outcome = cli("projects", "load", write_csv(DIE1, BARE, sleeping))
    assert "no budget, so no alerts: BARE\n" in outcome.err
    assert "no contacts, so the operators get the alerts: BARE\n" in outcome.err


def test_a_faulty_file_is_told_in_full_and_nothing_of_it_is_loaded(cli: Cli) -> None:
    outcome = cli("projects", "load", write_csv(DIE1, EAU.replace("3000", "abc"), BARE.replace("13", "x", 1)))
    assert (outcome.code, outcome.out) == (2, "")
    assert "line 3, budget: 'abc' is not an amount" in outcome.err
    assert "line 4, id: 'x' is no id" in outcome.err
    assert cli("projects", "list", "--json").json == []


def test_a_file_that_takes_what_another_project_keeps_is_told_its_line(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("projects", "load", write_csv(EAU, f"14,NEW,New,{FIRST},DIE1-Prod,,,,,,,,"))
    assert outcome.code == 2
    assert "line 3, resource_groups: DIE1-Prod belongs to project 11 (DIE1)" in outcome.err
    assert len(cli("projects", "list", "--json").json) == 1


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_file_that_can_not_be_read_is_wrong_usage(cli: Cli, name: str) -> None:
    outcome = cli("projects", "load", name)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {name} can't be read: ")


@pytest.mark.parametrize("project", ["die1", "DIE1", "11"])
def test_one_project_is_shown_by_acronym_or_id(cli: Cli, project: str) -> None:
    cli("projects", "load", write_csv(DIE1))
    shown = cli("projects", "show", project)
    assert (shown.code, shown.err) == (0, "")
    for words in ("DIE1 (id 11)", f"die1-prod  (subscription {FIRST})", "ann@example.com", "English", "12,500.00 CAD"):
        assert words in shown.out
    as_json = cli("projects", "show", project, "--json").json
    assert as_json["resource_groups"][0] == {"subscription_id": FIRST, "name": "die1-dev"}
    assert as_json["revisions"][0] == {
        "number": 1,
        "budget": "12500",
        "currency": "CAD",
        "period": "annual",
        "period_start": "2026-04-01",
        "period_end": None,
        "made_at": as_json["revisions"][0]["made_at"],
        "made_by": "ann",
        "reason": "loaded",
    }


def test_an_unknown_project_is_wrong_usage(cli: Cli) -> None:
    for command in (["projects", "show", "99"], ["budget", "set", "NOPE", "5", "--reason", "x"]):
        outcome = cli(*command)
        assert outcome.code == 2
        assert outcome.err.startswith("error: there is no project ")


def test_what_a_name_holds_never_steers_the_terminal(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1.replace("Data innovation", "[bold]Data[/bold] \u202einnovation")))
    assert "[bold]Data[/bold] \\u202einnovation" in cli("projects", "list").out


# --- budgets -------------------------------------------------------------------------------------------------


def test_a_budget_that_is_set_is_a_revision_and_is_checked(
    cli: Cli, app: Composition, queue_names: dict[str, str]
) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budget", "set", "die1", "15000.50", "--reason", "more students")
    assert (outcome.code, outcome.err) == (0, "")
    assert "is now 15,000.50 CAD (it was 12,500.00 CAD); this is revision 2." in outcome.out
    before, after = app.projects.revisions(11)
    assert (after.terms.amount, after.made_by, after.reason) == (Decimal("15000.5"), "ann", "more students")
    assert (after.terms.currency, after.terms.rule) == (before.terms.currency, before.terms.rule)
    assert queued("QueueProjectUsageNotification") == [{"ProjectId": 11}]


def test_a_budget_is_saved_though_its_check_can_not_be_queued(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budget", "set", "11", "0", "--reason", "the project is over")
    assert outcome.code == 0
    assert "is now none (it was 12,500.00 CAD)" in outcome.out
    assert outcome.err.startswith("warning: the budget is saved, but the storage account refuses us")
    assert not app.projects.revisions(11)[-1].terms.amount


def test_the_same_budget_again_makes_no_revision(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    assert "nothing was changed" in cli("budget", "set", "DIE1", "12500.0", "--reason", "again").out
    assert len(app.projects.revisions(11)) == 1


@pytest.mark.parametrize("amount", ["abc", "-5", "1e400", "NaN", "Infinity", "12,500", "", str(LARGEST_AMOUNT + 1)])
def test_what_is_no_amount_is_wrong_usage(cli: Cli, app: Composition, amount: str) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("budget", "set", "DIE1", amount, "--reason", "x")
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    assert len(app.projects.revisions(11)) == 1


def test_a_budget_needs_a_reason_and_a_first_one_a_currency(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(BARE))
    assert cli("budget", "set", "BARE", "5").code == 2
    assert cli("budget", "set", "BARE", "5", "--reason", " ").code == 2
    assert "--currency CAD" in cli("budget", "set", "BARE", "5", "--reason", "x").err
    assert cli("budget", "set", "BARE", "5", "--reason", "x", "--currency", "dollars").code == 2
    assert cli("budget", "set", "BARE", "5", "--reason", "x", "--currency", "cad").code == 0
    assert app.projects.revisions(13)[-1].terms.currency == "CAD"


# --- runs ----------------------------------------------------------------------------------------------------


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


def night(app: Composition) -> tuple[RunScope, RunScope]:
    """A run of two subscriptions."""
    targets = [ScopeTarget(subscription_id=FIRST), ScopeTarget(subscription_id=SECOND)]
    app.runs.open_run("night-2026-11-20", "timer", datetime(2026, 11, 20, 2, tzinfo=UTC))
    first, second = app.runs.plan("night-2026-11-20", targets)
    return first, second


def test_the_status_tells_scopes_mails_and_what_went_wrong(cli: Cli, app: Composition) -> None:
    first, second = night(app)
    now = datetime(2026, 11, 20, 2, 12, tzinfo=UTC)
    app.runs.mark_failed(first.id, "Azure says no (403)", now)
    app.runs.mark_deferred(second.id, "Azure asks us to wait (429)", now)
    mails = [app.mails.add(NewMail(str(each), "alert", (), {}, run_key="night-2026-11-20"), now) for each in range(4)]
    for mail in mails[:3]:
        assert app.mails.claim(mail, "me", now + timedelta(minutes=5), now)
    app.mails.mark_sent(mails[0], "me", "", None, now)
    app.mails.mark_failed(mails[1], "me", "refused")
    (run,) = cli("status", "--json").json
    assert run == {
        "key": "night-2026-11-20",
        "trigger": "timer",
        "state": "running",
        "started_at": "2026-11-20T02:00:00+00:00",
        "finished_at": None,
        "scopes": {"done": 0, "deferred": 1, "failed": 1, "suspect": 0, "waiting": 0},
        "mails": {"sent": 1, "pending": 2, "failed": 1},
        "errors": [
            {"scope": f"subscription {FIRST}", "reason": "Azure says no (403)"},
            {"scope": f"subscription {SECOND}", "reason": "Azure asks us to wait (429)"},
        ],
    }
    for_people = cli("status").out
    assert "1 deferred, 1 failed" in for_people
    assert "1 sent, 2 pending, 1 failed" in for_people
    assert f"  subscription {FIRST}: Azure says no (403)\n" in for_people


def test_the_status_shows_as_many_runs_as_asked_for(cli: Cli, app: Composition) -> None:
    assert "There was no run yet" in cli("status").out
    for day in range(1, 8):
        app.runs.open_run(f"night-2026-11-0{day}", "timer", datetime(2026, 11, day, 2, tzinfo=UTC))
    assert [run["key"] for run in cli("status", "--limit", "2", "--json").json] == [
        "night-2026-11-07",
        "night-2026-11-06",
    ]
    assert cli("status", "--limit", "0").code == 2


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_waiting_for_a_run_ends_with_it(cli: Cli, app: Composition, queue_names: dict[str, str], outcome: str) -> None:
    cli("projects", "load", write_csv(DIE1))
    waiting = start("run", "--wait")
    deadline = time.monotonic() + 30
    while not (views := app.projects.recent_runs(1)) or not views[0].scopes.get("queued"):
        assert time.monotonic() < deadline
        assert waiting.poll() is None
        time.sleep(0.05)
    scope = app.runs.scope_of(views[0].key, "manual", ScopeTarget(subscription_id=FIRST), app.clock())
    if outcome == "done":
        app.charges.store(scope.id, Reading(FIRST, frozenset(), (), app.clock(), None, True), app.clock())
    else:
        app.runs.mark_failed(scope.id, "Azure says no (403)", app.clock())
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == (0 if outcome == "done" else 1)
    if outcome == "done":
        assert "is done: 1 done, 0 failed, 0 suspect." in out
    else:
        assert f"subscription {FIRST}: Azure says no (403)" in out
        assert err.startswith("error: run manual-")


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
    assert app.projects.recent_runs(1)[0].state == "running"


# --- dead letters --------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_shown_and_replayed(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    at = datetime(2026, 11, 20, 3, tzinfo=UTC)
    letter = app.letters.record(Queue.NOTIFICATION, '{"ProjectId": 99, "Attempt": 3}', "no project 99", "a", at)
    assert cli("dead-letters", "list", "--json").json == [
        {
            "id": letter,
            "queue": "project-usage-notification",
            "body": '{"ProjectId": 99, "Attempt": 3}',
            "reason": "no project 99",
            "at": "2026-11-20T03:00:00+00:00",
        }
    ]
    assert "no project 99" in cli("dead-letters", "list").out
    assert '"ProjectId": 99' in cli("dead-letters", "show", str(letter)).out
    assert "Replayed: 1 of 1." in cli("dead-letters", "replay", str(letter)).out
    assert queued("QueueProjectUsageNotification") == [{"ProjectId": 99, "Replayed": True}]
    assert cli("dead-letters", "list", "--json").json == []
    assert len(cli("dead-letters", "list", "--replayed", "--json").json) == 1


def test_all_dead_letters_that_can_be_are_replayed(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    for number in range(3):
        body = "no json" if number == 1 else f'{{"ProjectId": {number + 1}}}'
        app.letters.record(Queue.NOTIFICATION, body, "?", str(number), datetime.now(UTC))
    outcome = cli("dead-letters", "replay", "--all")
    assert outcome.code == 1
    assert "Replayed: 2 of 3." in outcome.out
    assert "Dead letter 2 can't be replayed" in outcome.err
    assert [letter["id"] for letter in cli("dead-letters", "list", "--json").json] == [2]


@pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["7"], ["x"], ["0"], ["9" * 30]])
def test_what_is_no_dead_letter_is_wrong_usage_and_replays_nothing(
    cli: Cli, app: Composition, arguments: list[str]
) -> None:
    app.letters.record(Queue.NOTIFICATION, '{"ProjectId": 1}', "?", "a", datetime.now(UTC))
    outcome = cli("dead-letters", "replay", "1", *arguments[1:]) if "--all" in arguments else None
    outcome = outcome or cli("dead-letters", "replay", *arguments)
    assert outcome.code == 2
    assert len(cli("dead-letters", "list", "--json").json) == 1


def test_refused_by_the_queues_replaying_fails_and_keeps_the_letters(cli: Cli, app: Composition) -> None:
    app.letters.record(Queue.NOTIFICATION, '{"ProjectId": 1}', "?", "a", datetime.now(UTC))
    outcome = cli("dead-letters", "replay", "--all")
    assert outcome.code == 1
    assert "Storage Queue Data Contributor" in outcome.err
    assert len(cli("dead-letters", "list", "--json").json) == 1


def test_a_dead_letter_never_steers_the_terminal(cli: Cli, app: Composition) -> None:
    app.letters.record(Queue.EMAIL, "\x1b]0;owned\x07 [red]", "\x1b[31mred", "a", datetime.now(UTC))
    for command in (["list"], ["show", "1"]):
        out = cli("dead-letters", *command).out
        assert "\x1b" not in out
        assert "\\x1b]0;owned\\x07 [red]" in out


# --- the database, the check ---------------------------------------------------------------------------------


def test_the_tables_are_made_and_stay_as_they_are(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///new/fresh.db")
    for _ in range(2):
        outcome = cli("db", "upgrade")
        assert (outcome.code, outcome.err) == (0, "")
        assert "sqlite:///new/fresh.db are up to date" in outcome.out


def test_the_check_is_good_where_all_is_there(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("projects", "load", write_csv(DIE1))
    charge = Charge(FIRST, "die1-dev", "VM", date(2026, 11, 19), "CAD", Decimal(7))
    with AzureSimulator(ChargeBook([charge])) as simulator:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", simulator.url)
        outcome = cli("check")
    parts = ("settings", "database", "queues", "Azure", "mail")
    assert [line.split()[:2] for line in outcome.out.splitlines()] == [[part, "✓"] for part in parts], outcome.out
    assert (outcome.code, outcome.err) == (0, "")


def test_the_check_says_what_to_do_where_something_is_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("projects", "load", write_csv(DIE1))
    monkeypatch.setenv("EMAIL_OPERATORS", "")
    with AzureSimulator(ChargeBook([]), forbidden={FIRST}) as simulator:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", simulator.url)
        outcome = cli("check", "--json")
    assert outcome.code == 1
    found = {finding["part"]: finding for finding in outcome.json}
    assert [part for part in found if not found[part]["ok"]] == ["queues", "Azure", "mail"]
    assert "Storage Queue Data Contributor" in found["queues"]["text"]
    assert "Cost Management Reader" in found["Azure"]["text"]
    assert "EMAIL_OPERATORS is empty" in found["mail"]["text"]


def test_the_check_tells_of_every_faulty_setting(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COST_LOOKBACK_DAYS", "many")
    monkeypatch.setenv("EMAIL_PROVIDER", "pigeon")
    outcome = cli("check")
    assert outcome.code == 1
    assert outcome.out.startswith("settings  ✗ ")
    assert "COST_LOOKBACK_DAYS" in outcome.out
    assert "EMAIL_PROVIDER" in outcome.out


@pytest.mark.postgres
def test_a_database_without_tables_is_told_how_to_get_them(
    cli: Cli, postgres_url: str, app: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.adapters.database.engine import Database
    from shared.adapters.database.tables import metadata

    database = Database(postgres_url)
    metadata.drop_all(database.engine)
    database.run(lambda connection: connection.exec_driver_sql("DROP TABLE alembic_version"))
    database.close()
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    for command in (["projects", "list"], ["check"]):
        outcome = cli(*command)
        assert outcome.code == 1
        assert "python -m shared.cli db upgrade" in outcome.out + outcome.err
    assert cli("db", "upgrade").code == 0
    assert cli("projects", "list").code == 0


# --- as a program --------------------------------------------------------------------------------------------


def test_the_exit_code_is_0_when_all_went_well(environment: dict[str, str]) -> None:
    assert program("projects", "load", write_csv(DIE1)) == Outcome(
        0, "projects.csv: 1 added, 0 changed, 0 unchanged.\n", ""
    )
    assert "dead-letters" in program("--help").out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["projects"], ["budget", "set"], ["status", "--limit", "x"]])
def test_the_exit_code_is_2_for_wrong_usage(environment: dict[str, str], arguments: list[str]) -> None:
    outcome = program(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err


def test_missing_settings_are_told_and_the_exit_code_is_1(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DatahubStorageConnectionString")
    outcome = program("projects", "list")
    assert outcome.code == 1
    assert "DatahubStorageConnectionString is missing" in outcome.err


def test_the_local_settings_file_counts(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DatahubStorageConnectionString")
    values = {"Values": {"DatahubStorageConnectionString": "UseDevelopmentStorage=true"}}
    Path("local.settings.json").write_text(json.dumps(values), encoding="utf-8")
    assert program("projects", "list").code == 0


def test_a_database_that_is_away_is_one_sentence_without_its_password(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://warden:hush@127.0.0.1:1/warden")
    outcome = program("projects", "list")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: the database can't be used now")
    assert len(outcome.err.splitlines()) == 1
    check = program("check")
    assert check.code == 1
    assert "DATABASE_URL" in check.out
    assert "hush" not in outcome.err + check.out + check.err


def test_what_nobody_foresaw_is_a_sentence_and_with_debug_a_traceback(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://warden:hush@host:notaport/warden")
    outcome = program("projects", "list")
    assert outcome.code == 1
    assert "something that nobody foresaw went wrong (" in outcome.err
    assert "hush" not in outcome.err
    assert "Traceback" in program("--debug", "projects", "list").err


def test_a_reader_that_leaves_early_meets_no_traceback(environment: dict[str, str], app: Composition) -> None:
    lines = [f"{n},P{n},Project {n},{FIRST},rg-{n},100,CAD,monthly,,,a@example.com,,\n" for n in range(1, 1001)]
    main(["projects", "load", write_csv("".join(lines).rstrip())])
    for arguments in (["projects", "list", "--json"], ["projects", "list"]):
        writer = start(*arguments)
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.read(1)
        writer.stdout.close()
        assert writer.stderr.read() == ""
        writer.stderr.close()
        assert writer.wait(30) in {0, 1}


def test_an_output_that_knows_no_accents_gets_escapes(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    program("projects", "load", write_csv(EAU))
    outcome = program("projects", "list")
    assert outcome.code == 0
    assert "Qualit\\xe9 de l'eau" in outcome.out


def test_a_full_disk_is_one_sentence(environment: dict[str, str]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = start("projects", "list", "--json", stdout=full)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, len(err.splitlines())) == (1, 1)
    assert err.startswith("error: the operating system refuses: ")


def on_terminal(columns: int, *arguments: str) -> str:
    """What a command writes onto a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = start(*arguments, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            # Linux says so where the last writer has closed its end.
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(30) == 0
    return written.decode()


@pytest.mark.parametrize("columns", [40, 120])
def test_nothing_is_cut_off_on_any_terminal(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, app: Composition, columns: int
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    main(["projects", "load", write_csv(DIE1, EAU)])
    night(app)
    listed = on_terminal(columns, "projects", "list")
    for words in ("11", "DIE1", "12,500.00 CAD", "2027-04-01", "EAU"):
        assert words in listed
    assert "…" not in listed
    assert "night-2026-11-20" in on_terminal(columns, "status")
