"""Our app in the genuine Functions worker on Python 3.13, on real parts: Azurite, the simulator, SQLite, the outbox."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient
from sqlalchemy import select

from localdev import worker_venv
from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from localdev.azurite import Azurite
from shared.adapters.database.dead_letters import SqlDeadLetters
from shared.adapters.database.engine import Database
from shared.adapters.database.projects import SqlProjects
from shared.adapters.database.tables import charges
from shared.domain.budgets import BudgetTerms
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import ProjectEntry
from tests.worker.worker_process import WorkerProcess

pytestmark = pytest.mark.worker

SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
NIGHT = datetime(2026, 11, 20, 2, tzinfo=UTC)
NOVEMBER = PeriodRule(PeriodKind.MONTHLY, date(2026, 11, 1))
STORAGE = "DatahubStorageConnectionString"
UPDATE, NOTIFICATION, EMAIL = (
    "%QueueProjectUsageUpdate%",
    "%QueueProjectUsageNotification%",
    "%QueueEmailNotification%",
)
# Each function's trigger, with its schedule or queue, and the queues of its outputs.
FUNCTIONS = {
    "ProjectUsageScheduler": ("timerTrigger", "%ProjectUsageCRON%", {}),
    "ProjectUsageUpdater": ("queueTrigger", UPDATE, {"notifications": NOTIFICATION, "emails": EMAIL}),
    "ProjectUsageNotifier": ("queueTrigger", NOTIFICATION, {"notifications": NOTIFICATION, "emails": EMAIL}),
    "EmailNotificationHandler": ("queueTrigger", EMAIL, {"emails": EMAIL}),
    "PipelineWatchdog": (
        "timerTrigger",
        "%WatchdogCRON%",
        {"updates": UPDATE, "notifications": NOTIFICATION, "emails": EMAIL},
    ),
    "DeadLettersProjectUsageUpdate": ("queueTrigger", f"{UPDATE}-poison", {"emails": EMAIL}),
    "DeadLettersProjectUsageNotification": ("queueTrigger", f"{NOTIFICATION}-poison", {"emails": EMAIL}),
    "DeadLettersEmailNotification": ("queueTrigger", f"{EMAIL}-poison", {"emails": EMAIL}),
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
        "QueueProjectUsageUpdate": f"worker-{uuid.uuid4().hex}",
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
    entry = ProjectEntry(
        11, "DIE1", "Project", SUBSCRIPTION, ("rg-11",), terms, ("anna@example.com",), "en", active=True
    )
    SqlProjects(database).load([entry], "tester", NIGHT)
    yield database
    database.close()


@pytest.fixture
def worker(python_313: Path, settings: dict[str, str]) -> Iterator[WorkerProcess]:
    with WorkerProcess(python_313, settings) as running:
        assert running.loaded["succeeded"], running.loaded["error"]
        yield running


def succeeded(answer: dict[str, object]) -> dict[str, list[object]]:
    """The outputs of an invocation that went well: each binding's messages."""
    assert answer["succeeded"], answer["error"]
    outputs = answer["outputs"]
    assert isinstance(outputs, dict)
    return {name: [json.loads(text) for text in json.loads(texts)] for name, texts in outputs.items()}


def test_the_worker_indexes_every_function_with_its_trigger_and_its_outputs(worker):
    found = {}
    for name, function in worker.loaded["functions"].items():
        (trigger,) = [binding for binding in function["bindings"] if binding["direction"] == "IN"]
        outputs = [binding for binding in function["bindings"] if binding["direction"] == "OUT"]
        assert {binding["type"] for binding in outputs} <= {"queue"}
        on = trigger["schedule"] if trigger["type"] == "timerTrigger" else trigger["queueName"]
        found[name] = (trigger["type"], on, {binding["name"]: binding["queueName"] for binding in outputs})
    assert found == FUNCTIONS


def test_every_queue_hangs_on_the_one_connection_and_only_the_night_s_timer_is_retried(worker):
    functions = worker.loaded["functions"]
    bindings = [binding for function in functions.values() for binding in function["bindings"]]
    assert {binding.get("connection") for binding in bindings if "queue" in binding["type"]} == {STORAGE}
    assert {name: f["retries"] for name, f in functions.items() if f["retries"]} == {"ProjectUsageScheduler": 10}


def test_a_night_goes_from_the_timer_to_the_mail(worker, database, settings, simulator, tmp_path):
    assert succeeded(worker.timer("ProjectUsageScheduler")) == {}
    queue = QueueClient.from_connection_string(settings[STORAGE], settings["QueueProjectUsageUpdate"])
    (queued,) = list(queue.receive_messages())
    assert json.loads(queued.content)["SubscriptionId"] == SUBSCRIPTION

    updated = succeeded(worker.message("ProjectUsageUpdater", queued.content, queued.id))
    assert updated == {"notifications": [{"ProjectId": 11, "RunId": "night-2026-11-20"}], "emails": []}
    with database.engine.connect() as connection:
        assert sum(connection.scalars(select(charges.c.billed_cost))) == Decimal(850)
    assert simulator.stats()["calls"] > 0

    notified = succeeded(worker.message("ProjectUsageNotifier", json.dumps(updated["notifications"][0])))
    assert notified == {"notifications": [], "emails": [{"EmailId": 1}]}

    assert succeeded(worker.message("EmailNotificationHandler", json.dumps(notified["emails"][0]))) == {"emails": []}
    (file,) = (tmp_path / "outbox").glob("*.eml")
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert mail["To"] == "anna@example.com"
    assert "80 %" in mail["Subject"].replace("\xa0", " ")

    assert succeeded(worker.timer("PipelineWatchdog")) == {"updates": [], "notifications": [], "emails": []}


@pytest.mark.parametrize(
    ("function", "queue", "body"),
    [
        ("DeadLettersProjectUsageUpdate", "project-usage-update", '{"ProjectId": 11}'),
        ("DeadLettersProjectUsageNotification", "project-usage-notification", b'{"ProjectId": 11}'),
        ("DeadLettersEmailNotification", "email-notification", '{"EmailId": 7}'),
    ],
)
def test_what_the_host_gave_up_on_becomes_a_dead_letter(worker, database, function, queue, body):
    (told,) = succeeded(worker.message(function, body, "poisoned"))["emails"]
    assert told.keys() == {"EmailId"}
    (letter,) = SqlDeadLetters(database).list()
    assert (letter.queue, letter.body) == (queue, body if isinstance(body, str) else body.decode())


def test_a_message_that_can_t_be_right_becomes_a_dead_letter_and_hands_nothing_on(worker, database):
    answer = worker.message("ProjectUsageUpdater", b"\xff no JSON")
    assert succeeded(answer) == {"notifications": [], "emails": []}
    (letter,) = SqlDeadLetters(database).list()
    assert letter.body == "\\xff no JSON"
    assert "neither JSON nor base64 of JSON" in letter.reason


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
