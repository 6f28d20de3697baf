"""What .funcignore lets through is the app, whole and alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pytest
from pathspec import GitIgnoreSpec

from localdev import worker_venv
from tests.docs import sources
from tests.worker.worker_process import WorkerProcess

SETTINGS = {"DatahubStorageConnectionString": "UseDevelopmentStorage=true"}


def let_through() -> list[str]:
    """The project's files that would be uploaded, by git's rules."""
    left_out = GitIgnoreSpec.from_lines(sources.read(".funcignore").splitlines())
    return [name for name in listed() if not left_out.match_file(name)]


def listed() -> list[str]:
    """Git's list of the project's files, so that no local rubbish counts."""
    done = subprocess.run(["git", "ls-files"], cwd=sources.PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def azd_lets_through(name: str) -> bool:
    """By azd's reading of .funcignore (denormal/go-gitignore), folder by folder: the last pattern that fits counts."""
    path = PurePosixPath(name)
    return all(_azd_lets_in(str(each)) for each in (*reversed(path.parents[:-1]), path))


def _azd_lets_in(path: str) -> bool:
    for line in reversed(sources.read(".funcignore").splitlines()):
        pattern = line.removeprefix("!").removeprefix("/")
        # A name that is not anchored is compared with the last part; in one without a further slash `*` takes slashes.
        compared = path if line.removeprefix("!").startswith("/") else PurePosixPath(path).name
        if line and not line.startswith("#") and fnmatchcase(compared, pattern.replace("**", "*")):
            return line.startswith("!")
    return True


@pytest.mark.parametrize("read", [let_through, lambda: [each for each in listed() if azd_lets_through(each)]])
def test_the_app_goes_to_azure_and_nothing_else(read):
    names = read()
    at_the_top = {name for name in names if "/" not in name}
    assert at_the_top == {"function_app.py", "host.json", "requirements.txt"}
    assert {name.partition("/")[0] for name in names} - at_the_top == {"shared"}


@pytest.mark.parametrize(
    "rubbish",
    [
        "local.settings.json",
        ".env",
        ".azure/prod/.env",
        ".venv/bin/python",
        ".venv-3.13/bin/python",
        ".local/warden.db",
        ".azurite/queue.json",
        "node_modules/azurite/package.json",
        "shared/__pycache__/settings.cpython-312.pyc",
        "infra/hooks/requirements.txt",
        # What the run book's commands write.
        "projects.csv",
        "costs.csv",
        "said.txt",
        "warden.db",
        "venv/bin/python",
        "antenv/lib/shared/x.py",
        "key.pem",
        "backup.bacpac",
        "secrets.json",
    ],
)
def test_what_lies_about_on_a_developers_machine_is_left_there(rubbish):
    assert GitIgnoreSpec.from_lines(sources.read(".funcignore").splitlines()).match_file(rubbish)
    assert not azd_lets_through(rubbish)


@pytest.mark.worker
def test_what_is_let_through_is_indexed_by_the_genuine_worker_with_every_function(tmp_path):
    """In an environment made from requirements.txt and the worker alone (`localdev.worker_venv`)."""
    python = worker_venv.ready_python()
    if python is None:
        needed = os.environ.get("REQUIRE_WORKER_IF_313") and worker_venv.find_python()
        (pytest.fail if needed else pytest.skip)("there is no environment with the genuine worker")
    for name in let_through():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources.PROJECT / name, tmp_path / name)
    with WorkerProcess(Path(python), SETTINGS, folder=tmp_path) as worker:
        assert worker.loaded["succeeded"], worker.loaded["error"]
        assert set(worker.loaded["functions"]) == set(sources.triggers())
