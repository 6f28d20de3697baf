"""Programs of Python that begin where their libraries are imported already: half of what a short program costs is that.

Each is a process of its own all the same, with its own environment, folder, output and end.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

from localdev.processes import Program

SERVER = multiprocessing.get_context("forkserver")
ROOT = Path(__file__).resolve().parents[1]
# The app's own modules, and what it or the host imports only when it is first needed.
# Nothing of these looks at the settings when it is imported; `function_app` does.
SERVER.set_forkserver_preload(
    [
        *(
            ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for path in sorted((ROOT / "shared").rglob("[!_]*.py"))
            if "migrations" not in path.parts
        ),
        "azure.functions",
        "azure.mgmt.costmanagement",
        "azure.storage.queue",
        "email_validator",
        "jinja2",
        "localdev.functions_host.host",
        "psycopg",
        "sqlalchemy.dialects.postgresql.psycopg",
        "sqlalchemy.dialects.sqlite",
    ]
)


class ForkedProgram(Program):
    """A program `python -m …`, forked from a process that has imported the libraries, and knows nothing else."""

    def _popen(self) -> subprocess.Popen[str]:
        python, flag, *arguments = self._arguments
        assert (python, flag) == (sys.executable, "-m")
        ours, theirs = os.pipe()
        with Path(os.devnull).open() as nothing, os.fdopen(theirs, "w") as output:
            forked = Forked(arguments, self._folder or Path.cwd(), self._whole_environment(), (nothing, output, output))
        forked.stdout = os.fdopen(ours, encoding="utf-8", errors="replace")
        return forked


class Forked(subprocess.Popen[str]):
    """What a Program asks of its process. files: its standard input, output and errors."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], files: Iterable[TextIO | int]
    ) -> None:
        _begin_server()
        theirs = [Connection(os.dup(each if isinstance(each, int) else each.fileno())) for each in files]
        self._process = SERVER.Process(target=_become, args=(arguments, str(folder), dict(environment), theirs))
        self._process.start()
        for each in theirs:
            each.close()
        self.args, self.pid, self.returncode = list(arguments), self._process.pid or 0, None  # type: ignore[assignment]
        self.stdin = self.stdout = self.stderr = None

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def __del__(self, *_: object) -> None:
        """It is multiprocessing that waits for its processes."""


@cache
def _begin_server() -> None:
    """Begins the process that is forked: what it imports, it finds in the folder in which it begins."""
    with chdir(ROOT):
        forkserver.ensure_running()


def _become(arguments: Sequence[str], folder: str, environment: dict[str, str], files: Sequence[Connection]) -> None:
    """Runs the module in this process, as `python -m` would."""
    gc.freeze()
    for number, file in enumerate(files):
        os.dup2(file.fileno(), number)
        file.close()
    # Not those that it was forked with: they were made for a file.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(each, "w", 1, "utf-8", closefd=False) for each in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = [folder, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv = list(arguments)
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    finally:
        # As at a program's end; a process of multiprocessing ends without.
        atexit._run_exitfuncs()
