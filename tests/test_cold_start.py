"""What loading the app brings into memory: nothing that only one of its functions needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from shared.settings import setting_names

PROJECT = Path(__file__).resolve().parents[1]
# What only one function, or only a person at the command line, needs.
LATER = [
    "aiohttp",
    "alembic",
    "azure.core",
    "azure.identity",
    "azure.mgmt",
    "azure.mgmt.consumption",
    "azure.mgmt.costmanagement",
    "azure.monitor",
    "azure.storage",
    "cryptography",
    "email_validator",
    "jinja2",
    "jwt",
    "msal",
    "opentelemetry",
    "polars",
    "psutil",
    "psycopg",
    "pyodbc",
    "python_http_client",
    "requests",
    "rich",
    "sendgrid",
    "shared.adapters.azure",
    "shared.adapters.costs",
    "shared.adapters.database.migrate",
    "shared.adapters.exports",
    "shared.adapters.mail",
    "shared.cli",
    "smtplib",
    "typer",
]
# Having it installed makes each azure-storage package some 100 ms slower to load.
NOT_INSTALLED = {"aiohttp"}
# What azure.storage.queue brings along: cryptography for its own encryption of messages, which we don't use.
QUEUES_SDK = {"azure.core", "azure.storage", "cryptography", "requests"}
LIST_MODULES = "import json, sys, function_app; print(json.dumps(sorted(sys.modules)))"
# A budget alert with an unsigned token, through the app's own function; what it answers is the program's first line.
TAKE_AN_ALERT = """
import json, sys
from types import SimpleNamespace
import azure.functions as func
import function_app

alert = {
    "schemaId": "AIP Budget Notification",
    "data": {"BudgetName": "warden-die1", "SubscriptionId": "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"},
}
token = {"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}
request = func.HttpRequest("POST", "/api/budget-alert", headers=token, body=json.dumps(alert).encode())
context = SimpleNamespace(function_name="BudgetAlert", trace_context=SimpleNamespace(trace_parent=None))
answer = function_app.budget_alert(request, context)
print(json.dumps(answer.status_code))
print(json.dumps(sorted(sys.modules)))
"""
ASK_HOW_IT_IS = """
import json, sys
import azure.functions as func
from datetime import timedelta
import function_app

# What is loaded, however long that takes here.
function_app.warden.health.waits = timedelta(minutes=1)
answer = function_app.health(func.HttpRequest("GET", "/api/health", body=b""))
print(json.dumps(answer.status_code))
print(json.dumps(sorted(sys.modules)))
"""
# Both functions of cost exports, where it is not said where those lie.
WITHOUT_EXPORTS = """
import json, sys
from types import SimpleNamespace
import azure.functions as func
import function_app

context = SimpleNamespace(function_name="", trace_context=SimpleNamespace(trace_parent=None))
function_app.cost_export_scanner(None, context)
message = func.QueueMessage(id="1", body=b'{"Manifest": "msexports/manifest.json"}')
function_app.cost_export_importer(message, context)
print(json.dumps(sorted(sys.modules)))
"""
LOAD_TELEMETRY = """
import json, os
from opentelemetry import metrics
import function_app

print(json.dumps(type(function_app.warden.telemetry).__name__))
(reader,) = metrics.get_meter_provider()._metric_readers
print(json.dumps(reader._export_interval_millis), flush=True)
os._exit(0)  # nobody takes what is left
"""
LEAST = {"DatahubStorageConnectionString": "UseDevelopmentStorage=true"}
OF_ALERTS = {"ALERT_AUDIENCE": "api://warden", "ALERT_TENANT_ID": "72f988bf-86f1-41af-91ab-2d7cd011db47"}


def run_fresh(program: str, **more: str) -> list[Any]:
    """What a program in a fresh process printed, a JSON value a line, with the least settings and these."""
    names = {name.lower() for name in setting_names()}
    clean = {name: value for name, value in os.environ.items() if name.lower() not in names}
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env={**clean, **LEAST, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules of a fresh process that has loaded the app."""
    (modules,) = run_fresh(LIST_MODULES)
    return set(modules)


def later_ones_in(modules: list[str]) -> set[str]:
    """Which of LATER these modules are, or belong to."""
    return {later for later in LATER for name in modules if name == later or name.startswith(f"{later}.")}


def test_loading_the_app_loads_what_every_function_needs(loaded):
    assert {"azure.functions", "shared.composition", "shared.settings", "sqlalchemy"} <= loaded


@pytest.mark.parametrize("module", LATER)
def test_loading_the_app_leaves_for_later(module, loaded):
    assert not {name for name in loaded if name == module or name.startswith(f"{module}.")}


def test_a_budget_alert_needs_the_queues_and_no_more_where_the_function_key_is_enough(azurite):
    """Azure calls on the one night when nothing else may work: the fewer parts, the better."""
    name = f"cold-{uuid.uuid4().hex}"
    answered, modules = run_fresh(
        TAKE_AN_ALERT, DatahubStorageConnectionString=azurite.connection_string, QueueProjectLock=name
    )
    assert answered == 202
    assert later_ones_in(modules) == QUEUES_SDK
    queue = QueueClient.from_connection_string(azurite.connection_string, name)
    assert len(queue.peek_messages(32)) == 1


def test_whoever_asks_how_the_app_is_needs_the_queues_and_no_more(azurite):
    """No database either: what is asked each few minutes keeps none awake."""
    answered, modules = run_fresh(ASK_HOW_IT_IS, DatahubStorageConnectionString=azurite.connection_string)
    assert answered in (200, 503)
    assert later_ones_in(modules) == QUEUES_SDK


def test_without_exports_their_functions_load_no_sdk_and_open_no_database():
    (modules,) = run_fresh(WITHOUT_EXPORTS, DATABASE_URL="sqlite:////there/is/no/such/folder/warden.db")
    assert later_ones_in(modules) == set()


def test_telemetry_is_loaded_however_its_connection_string_is_written():
    nobody = "InstrumentationKey=11111111-2222-4333-8444-55555555555A; IngestionEndpoint=http://127.0.0.1:9/;"
    is_told, every = run_fresh(LOAD_TELEMETRY, APPLICATIONINSIGHTS_CONNECTION_STRING=nobody)
    assert is_told == "OpenTelemetry"
    assert every <= 15_000, "Azure may take an instance away after half a minute of rest: its metrics are out by then"


def test_a_budget_alert_with_a_token_loads_what_checks_tokens_and_no_more():
    answered, modules = run_fresh(TAKE_AN_ALERT, **OF_ALERTS)
    assert answered == 401
    found = later_ones_in(modules)
    assert {"jwt", "cryptography", "shared.adapters.azure"} <= found
    assert not {name for name in found if name.startswith(("azure.mgmt", "azure.identity", "azure.storage"))}


@pytest.mark.parametrize("module", sorted(set(LATER) - NOT_INSTALLED))
def test_what_is_left_for_later_is_really_there(module):
    assert find_spec(module) is not None, f"there is no {module} any more: name what came in its place"


@pytest.mark.parametrize("module", sorted(NOT_INSTALLED))
def test_what_would_slow_down_others_is_not_installed(module):
    assert find_spec(module) is None
