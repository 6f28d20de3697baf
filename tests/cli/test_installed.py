"""`budget-warden`: the package, installed into an environment of its own, in a folder that is not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import shared
from tests.cli.commands import DIE1, PROJECT, write_csv

# Neither the network nor a second copy of what is installed here: the packages are found where they are.
QUIETLY = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package. It is built from a copy: building writes beside what it builds."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copy(PROJECT / "pyproject.toml", folder)
    shutil.copytree(PROJECT / "shared", folder / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", *QUIETLY, "--no-build-isolation", "--wheel-dir", "made", "."]
    subprocess.run(build, cwd=folder, check=True, capture_output=True)
    (made,) = (folder / "made").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", *QUIETLY, str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "budget-warden"


def run(command: Path, *arguments: str, **more: str) -> str:
    """What it writes, in the folder of this test."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"} | more
    result = subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_the_package_has_every_file_of_the_code(wheel: Path) -> None:
    ours = {str(path.relative_to(PROJECT)) for path in (PROJECT / "shared").rglob("*") if path.is_file()}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("shared/")}
    assert packed == {name for name in ours if "__pycache__" not in name}


def test_it_says_its_version(command: Path) -> None:
    assert run(command, "--version") == f"budget-warden {shared.__version__}\n"


def test_it_works_in_any_folder(command: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    assert "revision" in run(command, "db", "upgrade")
    assert "1 added" in run(command, "projects", "load", write_csv(DIE1))
    assert "DIE1" in run(command, "projects", "list")
    assert Path(".local/warden.db").exists()
    script = "from shared.adapters.mail.rendering import TEMPLATES; print((TEMPLATES / 'alert/body.html').exists())"
    python = command.with_name("python")
    assert subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout == "True\n"


def test_a_shell_completes_its_commands_and_options(command: Path) -> None:
    line = {"COMP_WORDS": "budget-warden proj", "COMP_CWORD": "1", "_BUDGET_WARDEN_COMPLETE": "complete_bash"}
    assert "projects" in run(command, **line).split()
    # Without it, the shell is the one that has started this.
    script = run(command, "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "complete -o default -F _budget_warden_completion budget-warden" in script


def test_what_it_advises_is_typed_as_it_was(command: Path, environment: dict[str, str]) -> None:
    assert "`budget-warden projects load FILE.csv`" in run(command, "projects", "list")


def test_help_calls_it_by_its_name(command: Path) -> None:
    assert "Usage: budget-warden [OPTIONS] COMMAND" in run(command, "--help")
