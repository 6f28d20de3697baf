"""What loading the app brings into memory: nothing that only one of its functions needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from shared.settings import setting_names

PROJECT = Path(__file__).resolve().parents[1]
# What only one function, or only a person at the command line, needs.
LATER = [
    "aiohttp",
    "alembic",
    "azure.core",
    "azure.identity",
    "azure.mgmt",
    "azure.storage",
    "cryptography",
    "email_validator",
    "jinja2",
    "msal",
    "psycopg",
    "pyodbc",
    "python_http_client",
    "requests",
    "rich",
    "sendgrid",
    "shared.adapters.azure.access",
    "shared.adapters.costs",
    "shared.adapters.database.migrate",
    "shared.adapters.mail",
    "shared.cli",
    "smtplib",
    "typer",
]
# Having it installed makes each azure-storage package some 100 ms slower to load.
NOT_INSTALLED = {"aiohttp"}
LIST_MODULES = "import json, sys, function_app; print(json.dumps(sorted(sys.modules)))"


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules of a fresh process that has loaded the app."""
    names = {name.lower() for name in setting_names()}
    clean = {name: value for name, value in os.environ.items() if name.lower() not in names}
    environment = {**clean, "DatahubStorageConnectionString": "UseDevelopmentStorage=true"}
    answer = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout.splitlines()[-1]))


def test_loading_the_app_loads_what_every_function_needs(loaded):
    assert {"azure.functions", "shared.composition", "shared.settings", "sqlalchemy"} <= loaded


@pytest.mark.parametrize("module", LATER)
def test_loading_the_app_leaves_for_later(module, loaded):
    assert not {name for name in loaded if name == module or name.startswith(f"{module}.")}


@pytest.mark.parametrize("module", sorted(set(LATER) - NOT_INSTALLED))
def test_what_is_left_for_later_is_really_there(module):
    assert find_spec(module) is not None, f"there is no {module} any more: name what came in its place"


@pytest.mark.parametrize("module", sorted(NOT_INSTALLED))
def test_what_would_slow_down_others_is_not_installed(module):
    assert find_spec(module) is None
