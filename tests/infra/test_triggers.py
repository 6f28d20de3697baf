"""infra/triggers/: other ways of beginning a run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from localdev import worker_venv
from localdev.azure_sim import AzureSimulator
from localdev.azurite import Azurite
from shared.ports.runs import RunState
from shared.settings import Settings
from tests.chain.conftest import Install, install, new_database  # noqa: F401
from tests.chain.installation import NORTH, book_of, entry, post
from tests.docs import sources
from tests.infra.deployment import Deployment
from tests.worker.worker_process import WorkerProcess

PROJECT = str(sources.PROJECT)
TRIGGERS = sources.PROJECT / "infra" / "triggers"
WEBJOB = TRIGGERS / "webjob" / "App_Data" / "jobs" / "triggered" / "sync-costs"
AT_NIGHT = Settings.model_fields["schedule_usage"].default


# --- the WebJob ---


def run_webjob(**environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script as App Service does, with this Python as `python`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    given = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run([WEBJOB / "run.sh"], env=given, capture_output=True, text=True, check=False)


def test_the_webjob_begins_a_run_and_waits_for_its_end(azurite: Azurite, sqlite_url: str):
    """There is no project: the run is done at once."""
    queues = azurite.connection_string
    done = run_webjob(WARDEN_FOLDER=PROJECT, DATABASE_URL=sqlite_url, DatahubStorageConnectionString=queues)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "manual-" in done.stdout


def test_a_webjob_that_cannot_begin_a_run_fails():
    done = run_webjob(WARDEN_FOLDER=PROJECT, DATABASE_URL="oracle://x")
    assert done.returncode != 0
    assert "DATABASE_URL" in done.stderr


@pytest.mark.parametrize("place", ["WARDEN_FOLDER", "APP_PATH", "HOME"])
def test_the_webjob_takes_the_packages_that_app_service_has_built(tmp_path, place):
    """Activating them is what says that they are there: where somebody or App Service says, or in wwwroot."""
    (tmp_path / "site" / "wwwroot").mkdir(parents=True)
    folder = tmp_path / "site" / "wwwroot" if place == "HOME" else tmp_path / "built"
    (folder / "antenv" / "bin").mkdir(parents=True)
    (folder / "antenv" / "bin" / "activate").write_text("echo antenv is active; exit 0\n", "utf-8")
    where = {"HOME": str(tmp_path)} | ({} if place == "HOME" else {place: str(folder)})
    assert run_webjob(**where).stdout == "antenv is active\n"


def test_the_script_keeps_its_line_ends_when_it_is_checked_out_on_windows():
    asked = ["git", "check-attr", "eol", str(WEBJOB / "run.sh")]
    said = subprocess.run(asked, cwd=sources.PROJECT, capture_output=True, text=True, check=True).stdout
    assert said.endswith(": eol: lf\n")
    assert b"\r" not in (WEBJOB / "run.sh").read_bytes()


def test_the_webjobs_schedule_is_the_nights():
    assert json.loads((WEBJOB / "settings.job").read_text("utf-8")) == {"schedule": AT_NIGHT}


# --- the container job ---


def test_the_image_holds_the_app_and_runs_one_run():
    lines = [line for line in (TRIGGERS / "container" / "Dockerfile").read_text("utf-8").splitlines() if line[0] != "#"]
    assert len(lines) <= 10
    copied = [line.split()[1] for line in lines if line.startswith("COPY ")]
    assert [name for name in copied if not (sources.PROJECT / name).exists()] == []
    command = json.loads(lines[-1].removeprefix("CMD "))
    assert command == ["python", "-m", "shared.cli", "run", "--wait"]
    assert lines[-2] == "USER warden"


def test_what_the_image_copies_is_enough_for_the_command(tmp_path):
    """Beside the packages of requirements.txt, which this Python has."""
    shutil.copytree(sources.PROJECT / "shared", tmp_path / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "shared.cli", "run", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "--wait" in done.stdout, done.stderr


# --- the timer function and the Logic App: run against the app, in its host ---

TOKEN = "a-token-of-the-sync"


@pytest.fixture
def sync_url(install: Install) -> Iterator[str]:  # noqa: F811
    """The address of the sync of an app that runs; it has one project, whose costs the simulator has."""
    with AzureSimulator(book_of((NORTH, "rg-11", "10"))) as azure:
        app = install(azure, SECRET_SYNC_TOKEN=TOKEN)
        app.load(entry(11, "1000"))
        host = app.host()
        yield re.search(r"BudgetAlert \(POST (\S+)/api/budget-alert\)", host.output)[1] + "/finops/api/sync/"
        assert [run.state for run in app.runs().values()] == [RunState.DONE]
        assert app.projects()["P11"].spent > 0


def call_timer(url: str, token: str) -> None:
    """Runs the timer function as its host would, in this process."""
    spec = importlib.util.spec_from_file_location("finops_timer", TRIGGERS / "timer" / "function_app.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINOPS_WEBHOOK_URL", url)
        patch.setenv("SECRET_SYNC_TOKEN", token)
        spec.loader.exec_module(module)
        (function,) = module.app.get_functions()
        function.get_user_function()(None)


def test_the_timer_function_has_all_costs_read(sync_url):
    call_timer(sync_url, TOKEN)


def test_the_timer_function_fails_where_the_token_is_wrong(install):  # noqa: F811
    with AzureSimulator(book_of()) as azure:
        host = install(azure, SECRET_SYNC_TOKEN=TOKEN).host()
        url = re.search(r"BudgetAlert \(POST (\S+)/api/budget-alert\)", host.output)[1] + "/finops/api/sync/"
        with pytest.raises(HTTPError, match="403"):
            call_timer(url, "another")


def test_the_logic_app_s_call_has_all_costs_read(sync_url, logic_app):
    action = logic_app.one("Microsoft.Logic/workflows")["properties"]["definition"]["actions"]["sync"]
    given = {"@parameters('syncToken')": TOKEN, "@parameters('syncUrl')": sync_url}
    headers = {name: given[value] for name, value in action["inputs"]["headers"].items()}
    answer = post(given[action["inputs"]["uri"]], b"", headers, action["inputs"]["method"])
    said = json.loads(answer.text)
    assert (answer.status, said["success"], said["message"]) == (200, True, "Cost sync completed successfully")
    assert (said["errors"], said["run"].startswith("manual-"), type(said["output"])) == (None, True, str)


@pytest.mark.worker
def test_the_timer_function_is_indexed_by_the_genuine_worker():
    python = worker_venv.ready_python()
    if python is None:
        pytest.skip("there is no environment with the genuine worker")
    with WorkerProcess(Path(python), {}, folder=TRIGGERS / "timer") as worker:
        assert worker.loaded["succeeded"], worker.loaded["error"]
        (timer,) = worker.loaded["functions"]["FinopsDailySync"]["bindings"]
        assert (timer["type"], timer["schedule"]) == ("timerTrigger", AT_NIGHT)


def test_the_timer_functions_packages_are_the_apps():
    pinned = (TRIGGERS / "timer" / "requirements.txt").read_text("utf-8").splitlines()
    assert set(pinned) <= set(sources.read("requirements.txt").splitlines())


GIVEN = {
    "syncUrl": "https://warden.example.com/finops/api/sync/",
    "syncToken": "a-token",
    "actionGroupId": "/subscriptions/x/resourceGroups/y/providers/Microsoft.Insights/actionGroups/z",
}


@pytest.fixture(scope="session")
def logic_app(deploy) -> Deployment:
    return deploy("triggers/logic-app/finops-daily-sync.bicep", GIVEN, resourceGroup="rg-prod")


def test_the_logic_app_posts_the_token_daily_at_the_nights_hour(logic_app):
    workflow = logic_app.one("Microsoft.Logic/workflows")
    assert workflow["name"] == "finops-daily-sync"
    definition = workflow["properties"]["definition"]
    when = definition["triggers"]["daily"]["recurrence"]
    assert (when["frequency"], when["interval"], when["timeZone"]) == ("Day", 1, "UTC")
    assert f"0 {when['schedule']['minutes'][0]} {when['schedule']['hours'][0]} * * *" == AT_NIGHT
    call = definition["actions"]["sync"]
    assert call["inputs"]["method"] == "POST"
    assert call["inputs"]["headers"] == {"X-Sync-Token": "@parameters('syncToken')"}


def test_the_token_is_a_secret_wherever_it_is(logic_app, templates):
    template = templates("triggers/logic-app/finops-daily-sync.bicep")
    assert template["parameters"]["syncToken"]["type"].lower() == "securestring"
    workflow = logic_app.one("Microsoft.Logic/workflows")["properties"]
    assert workflow["definition"]["parameters"]["syncToken"]["type"] == "SecureString"
    assert workflow["definition"]["actions"]["sync"]["runtimeConfiguration"]["secureData"]["properties"] == ["inputs"]
    assert "a-token" not in json.dumps(logic_app.resources)


def test_a_run_of_the_logic_app_that_fails_alerts_the_operators(logic_app):
    alert = logic_app.one("Microsoft.Insights/metricAlerts")["properties"]
    assert alert["scopes"] == [logic_app.one("Microsoft.Logic/workflows")["id"]]
    assert alert["criteria"]["allOf"][0]["metricName"] == "RunsFailed"
    assert alert["actions"] == [{"actionGroupId": GIVEN["actionGroupId"]}]
