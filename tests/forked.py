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
from collections.abc import Sequence
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
        return _Forked(arguments, self._folder or Path.cwd(), self._whole_environment())


class _Forked(subprocess.Popen[str]):
    """What a Program asks of its process."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        ours, theirs = SERVER.Pipe(duplex=False)
        self._process = SERVER.Process(target=_become, args=(arguments, str(folder), environment, theirs))
        self._process.start()
        theirs.close()
        self.args, self.pid, self.returncode = list(arguments), self._process.pid or 0, None  # type: ignore[assignment]
        self.stdin = self.stderr = None
        self.stdout: TextIO = os.fdopen(os.dup(ours.fileno()), encoding="utf-8", errors="replace")
        ours.close()

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


def _become(arguments: Sequence[str], folder: str, environment: dict[str, str], output: Connection) -> None:
    """Runs the module in this process, as `python -m` would."""
    gc.freeze()
    for standard in (1, 2):
        os.dup2(output.fileno(), standard)
    output.close()
    # Not those that it was forked with: they were made for a file.
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
