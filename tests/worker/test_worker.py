"""Our app in the genuine Functions worker on Python 3.13, on real parts: Azurite, the simulator, SQLite, the outbox."""

from __future__ import annotations

import json
import os
import re
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient
from sqlalchemy import select

from localdev import worker_venv
from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from localdev.azurite import Azurite
from shared.adapters.database.dead_letters import SqlDeadLetters
from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks
from shared.adapters.database.mails import SqlMails
from shared.adapters.database.projects import SqlProjects
from shared.adapters.database.tables import charges
from shared.domain.budgets import BudgetTerms
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.messages import LockTrigger
from shared.ports.azure import AZURE
from tests.worker.worker_process import WorkerProcess

pytestmark = pytest.mark.worker

SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
NIGHT = datetime(2026, 11, 20, 2, tzinfo=UTC)
NOVEMBER = PeriodRule(PeriodKind.MONTHLY, date(2026, 11, 1))
STORAGE = "DatahubStorageConnectionString"
UPDATE, NOTIFICATION, EMAIL, LOCK, EXPORT = (
    "%QueueProjectUsageUpdate%",
    "%QueueProjectUsageNotification%",
    "%QueueEmailNotification%",
    "%QueueProjectLock%",
    "%QueueCostExportImport%",
)
# Each function's trigger, with its schedule, queue or route.
FUNCTIONS = {
    "ProjectUsageScheduler": ("timerTrigger", "%ProjectUsageCRON%"),
    "ProjectUsageUpdater": ("queueTrigger", UPDATE),
    "ProjectUsageNotifier": ("queueTrigger", NOTIFICATION),
    "EmailNotificationHandler": ("queueTrigger", EMAIL),
    "BudgetAlert": ("httpTrigger", "api/budget-alert"),
    "Health": ("httpTrigger", "api/health"),
    "Web": ("httpTrigger", "{*path}"),
    "ProjectLockHandler": ("queueTrigger", LOCK),
    "CostExportScanner": ("timerTrigger", "%CostExportCRON%"),
    "CostExportImporter": ("queueTrigger", EXPORT),
    "PipelineWatchdog": ("timerTrigger", "%WatchdogCRON%"),
    "DeadLettersProjectUsageUpdate": ("queueTrigger", f"{UPDATE}-poison"),
    "DeadLettersProjectUsageNotification": ("queueTrigger", f"{NOTIFICATION}-poison"),
    "DeadLettersEmailNotification": ("queueTrigger", f"{EMAIL}-poison"),
    "DeadLettersProjectLock": ("queueTrigger", f"{LOCK}-poison"),
    "DeadLettersCostExportImport": ("queueTrigger", f"{EXPORT}-poison"),
}
QUEUES = tuple(name.strip("%") for name in (UPDATE, NOTIFICATION, EMAIL, LOCK, EXPORT))
ON = {"timerTrigger": "schedule", "queueTrigger": "queueName", "httpTrigger": "route"}
ALERT = {
    "schemaId": "azureMonitorCommonAlertSchema",
    "data": {
        "essentials": {"monitoringService": "CostAlerts", "firedDateTime": "2026-11-20T17:53:32.996Z"},
        "alertContext": {
            "AlertCategory": "budgets",
            "AlertData": {
                "ThresholdType": "Actual",
                "BudgetType": "Cost",
                "BudgetThreshold": "$1,000.00",
                "BudgetName": "warden-die1",
                "BudgetId": f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Consumption/budgets/warden-die1",
                "SpentAmount": "$1,111.00",
            },
        },
    },
}


@pytest.fixture(scope="module")
def python_313() -> Path:
    """The Python that has the worker."""
    ready = worker_venv.ready_python()
    if ready is not None:
        return ready
    if os.environ.get("REQUIRE_WORKER_IF_313") and (found := worker_venv.find_python()):
        pytest.fail(
            f"{found} is on this machine, but {worker_venv.FOLDER.name} is not made: python -m localdev.worker_venv"
        )
    pytest.skip(
        "the genuine Functions worker needs Python 3.13: `python -m localdev.worker_venv` sets it up where there is one"
    )


@pytest.fixture
def settings(azurite: Azurite, simulator: AzureSimulator, sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    """The app settings of a night, on the test's own parts."""
    return {
        STORAGE: azurite.connection_string,
        **{name: f"worker-{uuid.uuid4().hex}" for name in QUEUES},
        "DATABASE_URL": sqlite_url,
        "AZURE_MANAGEMENT_ENDPOINT": simulator.url,
        "OUTBOX_DIR": str(tmp_path / "outbox"),
        "LOCAL_CLOCK_START": NIGHT.isoformat(),
    }


@pytest.fixture
def simulator() -> Iterator[AzureSimulator]:
    """A subscription whose one group has spent 850 CAD in November, in two services."""
    spent = [("Storage", date(2026, 11, 3), "349.99"), ("Virtual Machines", date(2026, 11, 18), "500.01")]
    book = ChargeBook(
        Charge(SUBSCRIPTION, "rg-11", service, day, "CAD", Decimal(amount)) for service, day, amount in spent
    )
    with AzureSimulator(book) as running:
        yield running


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """The app's database, with project 11: a budget of 1000 CAD a month."""
    database = Database(sqlite_url)
    terms = BudgetTerms(Decimal(1000), "CAD", NOVEMBER)
    project = Project(11, "DIE1", "Project", "en", ("anna@example.com",), active=True)
    entry = ProjectEntry(project, (Scope(AZURE, SUBSCRIPTION, "rg-11"),), terms)
    SqlProjects(database, 35).load([entry], "tester", NIGHT)
    yield database
    database.close()


@pytest.fixture
def worker(python_313: Path, settings: dict[str, str]) -> Iterator[WorkerProcess]:
    with WorkerProcess(python_313, settings) as running:
        assert running.loaded["succeeded"], running.loaded["error"]
        yield running


@pytest.fixture(scope="module")
def functions(python_313: Path) -> dict[str, dict[str, object]]:
    """The functions that the worker finds."""
    with WorkerProcess(python_313, {STORAGE: "UseDevelopmentStorage=true"}) as running:
        assert running.loaded["succeeded"], running.loaded["error"]
        found: dict[str, dict[str, object]] = running.loaded["functions"]
        return found


def succeeded(answer: dict[str, object]) -> None:
    """An invocation went well, and gave nothing to a binding of the host's: the app sends by itself."""
    assert answer["succeeded"], answer["error"]
    assert answer["outputs"] == {}


def answered(answer: dict[str, object]) -> tuple[int, dict[str, object]]:
    """The status and the JSON that an HTTP function's caller gets."""
    assert answer["succeeded"], answer["error"]
    http = answer["http"]
    assert isinstance(http, dict)
    assert http["headers"]["content-type"] in ("application/json", "application/problem+json")
    return int(http["status"]), json.loads(bytes.fromhex(http["body"]))


def taken(settings: dict[str, str], queue: str) -> list[dict[str, object]]:
    """Takes the messages that are on a queue now; none where the app has not made the queue yet."""
    client = QueueClient.from_connection_string(settings[STORAGE], settings[queue])
    found = []
    try:
        for message in client.receive_messages(messages_per_page=32):
            client.delete_message(message)
            found.append(json.loads(message.content))
    except ResourceNotFoundError:
        return []
    return found


def left_on_queues(settings: dict[str, str]) -> dict[str, list[dict[str, object]]]:
    """Takes what is on any queue now."""
    found = {queue: taken(settings, queue) for queue in QUEUES}
    return {queue: messages for queue, messages in found.items() if messages}


def bindings_of(function: dict[str, object], direction: str) -> list[dict[str, object]]:
    bindings = function["bindings"]
    assert isinstance(bindings, list)
    return [binding for binding in bindings if binding["direction"] == direction]


def test_the_worker_indexes_every_function_with_its_trigger(functions):
    found = {}
    for name, function in functions.items():
        (trigger,) = bindings_of(function, "IN")
        found[name] = (trigger["type"], trigger[ON[trigger["type"]]])
    assert found == FUNCTIONS


@pytest.mark.parametrize(
    ("name", "level", "methods"),
    [
        ("BudgetAlert", "function", ["POST"]),
        ("Health", "anonymous", ["GET"]),
        ("Web", "anonymous", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    ],
)
def test_an_http_function_takes_what_it_is_for_and_answers_its_caller(functions, name, level, methods):
    (trigger,) = bindings_of(functions[name], "IN")
    assert (trigger["authLevel"].lower(), trigger["methods"]) == (level, methods)
    others = {
        name: [binding["name"] for binding in bindings_of(function, "OUT")] for name, function in functions.items()
    }
    assert {name: outputs for name, outputs in others.items() if outputs} == {
        "BudgetAlert": ["$return"],
        "Health": ["$return"],
        "Web": ["$return"],
    }


def test_every_queue_hangs_on_the_one_connection_and_only_the_night_s_timer_is_retried(functions):
    bindings = [binding for function in functions.values() for binding in function["bindings"]]
    assert {binding.get("connection") for binding in bindings if "queue" in binding["type"]} == {STORAGE}
    assert {name: f["retries"] for name, f in functions.items() if f["retries"]} == {"ProjectUsageScheduler": 10}


def test_a_night_goes_from_the_timer_to_the_mail(worker, database, settings, simulator, tmp_path):
    succeeded(worker.timer("ProjectUsageScheduler"))
    (update,) = taken(settings, "QueueProjectUsageUpdate")
    assert update["SubscriptionId"] == SUBSCRIPTION

    succeeded(worker.message("ProjectUsageUpdater", json.dumps(update)))
    (notification,) = taken(settings, "QueueProjectUsageNotification")
    assert notification == {"ProjectId": 11, "RunId": "night-2026-11-20"}
    with database.engine.connect() as connection:
        assert sum(connection.scalars(select(charges.c.billed_cost))) == Decimal(850)
    assert simulator.stats()["calls"] > 0

    succeeded(worker.message("ProjectUsageNotifier", json.dumps(notification)))
    (email,) = taken(settings, "QueueEmailNotification")
    assert email == {"EmailId": 1}

    succeeded(worker.message("EmailNotificationHandler", json.dumps(email)))
    (file,) = (tmp_path / "outbox").glob("*")
    sent = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert sent["To"] == "anna@example.com"
    assert sent["Subject"].replace("\xa0", " ").startswith("[DIE1] 80 % of the budget reached")

    succeeded(worker.timer("PipelineWatchdog"))
    assert left_on_queues(settings) == {}


def test_what_the_host_gave_up_on_becomes_a_dead_letter(worker, database, settings):
    for function, queue, body in (
        ("DeadLettersProjectUsageUpdate", "project-usage-update", '{"ProjectId": 11}'),
        ("DeadLettersProjectUsageNotification", "project-usage-notification", b'{"ProjectId": 11}'),
        ("DeadLettersEmailNotification", "email-notification", '{"EmailId": 7}'),
        ("DeadLettersProjectLock", "project-lock", '{"ProjectId": 11, "Action": "lock"}'),
    ):
        succeeded(worker.message(function, body, f"poisoned-{queue}"))
        letters = {letter.queue: letter.body for letter in SqlDeadLetters(database).letters()}
        assert letters[queue] == (body if isinstance(body, str) else body.decode())
        told = left_on_queues(settings)["QueueEmailNotification"]
        assert {*map(tuple, told)} == {("EmailId",)}


def test_a_set_of_projects_that_was_taken_before_is_checked_one_by_one(worker, settings):
    succeeded(worker.message("ProjectUsageNotifier", '{"ProjectIds": [11, 12]}', times=2))
    assert left_on_queues(settings) == {"QueueProjectUsageNotification": [{"ProjectId": 11}, {"ProjectId": 12}]}


def test_a_message_that_can_t_be_right_becomes_a_dead_letter_and_hands_nothing_on(worker, database, settings):
    succeeded(worker.message("ProjectUsageUpdater", b"\xff no JSON"))
    assert left_on_queues(settings) == {}
    (letter,) = SqlDeadLetters(database).letters()
    assert letter.body == "\\xff no JSON"
    assert "neither JSON nor base64 of JSON" in letter.reason


def test_a_budget_alert_is_taken_and_queues_a_message_that_the_lock_s_handler_takes(worker, database, settings):
    answer = worker.post("BudgetAlert", json.dumps(ALERT).encode("utf-8-sig"))
    status, said = answered(answer)
    assert (status, said["status"]) == (202, 202)
    assert said["reason"].startswith("Taken: ")
    (message,) = taken(settings, "QueueProjectLock")
    assert message == {
        "BudgetName": "warden-die1",
        "SubscriptionId": SUBSCRIPTION,
        "Action": "lock",
        "Reason": "Azure's budget alert of 2026-11-20T17:53:32.996Z: spent $1,111.00, budget $1,000.00",
        "Trigger": "alert",
    }
    worker.message("ProjectUsageUpdater", json.dumps({"ProjectId": 11}))
    succeeded(worker.message("ProjectLockHandler", json.dumps(message)))
    (decision,) = SqlLocks(database, "example.com", 35).decisions(11)
    assert (decision.entry.trigger, decision.entry.asked) == (LockTrigger.ALERT, message["Reason"])


def test_a_body_that_is_no_budget_alert_is_answered_with_the_reason_and_asks_for_nothing(worker, settings):
    for body, expected, reason in (
        (b"", 400, "Refused: the body is not JSON in UTF-8"),
        (b"\xff\xfe", 400, "Refused: the body is not JSON in UTF-8"),
        (b'{"schemaId": "AzureMonitorMetricAlert"}', 200, "Ignored: this is an alert, but not one of a budget."),
        (b'{"ProjectId": 11, "Action": "lock"}', 400, "Refused: schemaId is ''"),
        (b'"' + "é".encode() * 32 * 1024 + b'"', 413, "The body has 65538 bytes; an alert has at most 65536."),
    ):
        answer = worker.post("BudgetAlert", body)
        status, said = answered(answer)
        assert (status, said["status"]) == (expected, expected), said
        assert said["reason"].startswith(reason)
    assert taken(settings, "QueueProjectLock") == []


def test_while_the_queue_can_t_be_reached_the_alert_s_caller_is_asked_to_try_again(python_313, settings):
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        port = refusing.getsockname()[1]
    settings[STORAGE] = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", settings[STORAGE])
    with WorkerProcess(python_313, settings) as worker:
        status, said = answered(worker.post("BudgetAlert", json.dumps(ALERT).encode()))
    assert status == 503
    assert said == {"status": 503, "reason": "the queues can't be reached (ServiceRequestError)"}


def test_other_addresses_are_answered_by_what_is_loaded_with_the_first_call(python_313, settings):
    with WorkerProcess(python_313, settings | {"SECRET_SYNC_TOKEN": "a-token"}) as worker:
        status, said = answered(worker.post("Web", b"", "/finops/api/sync/"))
        assert (status, said["success"]) == (403, False)
        status, said = answered(worker.post("Web", b"", "/finops/api/sync/", **{"x-sync-token": "a-token"}))
        assert (status, said["success"], said["errors"]) == (200, True, None)
        status, said = answered(worker.post("Web", b"x" * 100_000, "/api/cloud-accounts/1/sync"))
        assert (status, said["detail"]) == (401, "Nobody is signed in.")
        status, said = answered(worker.post("Web", b"", "/"))
        assert (status, said["title"]) == (404, "Not Found")


def test_where_a_token_is_asked_for_the_alert_needs_one(python_313, settings):
    settings |= {"ALERT_AUDIENCE": "api://warden", "ALERT_TENANT_ID": "72f988bf-86f1-41af-91ab-2d7cd011db47"}
    with WorkerProcess(python_313, settings) as worker:
        for header in ({}, {"authorization": "Bearer forged"}):
            status, said = answered(worker.post("BudgetAlert", json.dumps(ALERT).encode(), **header))
            assert status == 401, said
    assert taken(settings, "QueueProjectLock") == []


def test_a_lock_of_a_project_that_is_over_its_budget_is_noted_for_the_operators(worker, database, settings):
    worker.message("ProjectUsageUpdater", json.dumps({"ProjectId": 11}))
    SqlProjects(database, 35).revise_budget(11, BudgetTerms(Decimal(800), "CAD", NOVEMBER), "tester", "less", NIGHT)
    succeeded(worker.message("ProjectUsageNotifier", '{"ProjectId": 11}'))
    (lock,) = taken(settings, "QueueProjectLock")
    assert (lock["ProjectId"], lock["Action"], lock["Trigger"]) == (11, "lock", "check")
    alerts = taken(settings, "QueueEmailNotification")
    succeeded(worker.message("ProjectLockHandler", json.dumps(lock)))
    (notice,) = [email["EmailId"] for email in taken(settings, "QueueEmailNotification") if email not in alerts]
    stored = SqlMails(database, "example.com").get(notice)
    assert stored is not None
    assert stored.mail.key.startswith("operators/")
    (decision,) = SqlLocks(database, "example.com", 35).decisions(11)
    assert decision.entry.outcome == "would lock"


def test_a_lock_of_a_project_that_there_is_not_becomes_a_dead_letter_and_hands_nothing_on(worker, database, settings):
    body = {"ProjectId": 99, "Action": "unlock", "Reason": "test", "Trigger": "operator", "By": "anna"}
    succeeded(worker.message("ProjectLockHandler", json.dumps(body)))
    assert left_on_queues(settings) == {}
    (letter,) = SqlDeadLetters(database).letters()
    assert (letter.queue, json.loads(letter.body)) == ("project-lock", body)
    assert letter.reason.startswith("there is no project 99")


def test_with_faulty_settings_no_function_is_indexed_and_all_the_faults_are_told(python_313):
    faulty = {
        "COST_LOOKBACK_DAYS": "many",
        "EMAIL_PROVIDER": "pigeon",
        "WatchdogCRON": "daily",
        "SMTP_PASSWORD": "s3cret",
    }
    with WorkerProcess(python_313, faulty) as worker:
        assert worker.loaded["functions"] == {}
        assert not worker.loaded["succeeded"]
        error = worker.loaded["error"]
    assert error.startswith("SettingsError: The app settings can't be used:")
    for name in ("COST_LOOKBACK_DAYS", "EMAIL_PROVIDER", "WatchdogCRON", STORAGE):
        assert f"  - {name} is " in error
    assert "s3cret" not in error
