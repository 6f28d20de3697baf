"""Finding a Python 3.13, and knowing whether the worker's environment is as the requirements are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localdev import worker_venv

needs_older_python = pytest.mark.skipif(
    sys.version_info[:2] == (3, 13), reason="on Python 3.13 the project's own environment has the worker"
)


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_program_that_is_found_but_fails_is_passed_over(tmp_path):
    shim = program(tmp_path / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    good = program(tmp_path / "good", "exit 0")
    assert worker_venv.find_python([str(tmp_path / "missing"), shim, good]) == good


@needs_older_python
def test_another_python_is_not_taken_for_3_13():
    assert worker_venv.find_python([sys.executable]) is None


@needs_older_python
def test_an_environment_without_its_marker_or_of_other_requirements_is_not_taken(tmp_path):
    (tmp_path / "bin").mkdir()
    python = program(tmp_path / "bin" / "python", "exit 0")
    assert worker_venv.ready_python(tmp_path) is None
    worker_venv.mark_ready(tmp_path)
    assert worker_venv.ready_python(tmp_path) == Path(python)
    marker = next(path for path in tmp_path.iterdir() if path.is_file())
    marker.write_text("of other requirements", encoding="utf-8")
    assert worker_venv.ready_python(tmp_path) is None


def test_what_can_t_be_made_is_told_with_the_reason(tmp_path):
    broken = program(tmp_path / "python", "echo 'no module named venv' >&2; exit 1")
    with pytest.raises(worker_venv.WorkerVenvError, match="no module named venv"):
        worker_venv.make(broken, tmp_path / "venv")
