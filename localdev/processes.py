"""Starts programs, waits for what they print, and ends them: for the demo and for tests."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType


class ProgramError(Exception):
    """A program ended or stayed silent where it should have said something; the text holds its output."""


class Program:
    """One program with its output. `environment` is added to this process's own; None takes a name out.

    Works as a context manager: start() on the way in, stop() on the way out.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        name: str = "",
        ready: str = "",
        folder: Path | None = None,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self.name = name or Path(arguments[0]).name
        self._arguments = list(arguments)
        self._ready = ready
        self._folder = folder
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None
        self._ended = True

    def start(self, timeout: float = 30.0) -> "Program":
        """Starts it, and waits for the text `ready` in its output, if there is one."""
        self._lines, self._ended = [], False
        self._process = self._popen()
        self._reader = threading.Thread(target=self._read, name=f"output-{self.name}", daemon=True)
        self._reader.start()
        if self._ready:
            self._wait_ready(timeout)
        return self

    def _popen(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self._arguments,
            cwd=self._folder,
            env=self._whole_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def _whole_environment(self) -> dict[str, str]:
        merged = {**os.environ, **self._environment}
        return {name: value for name, value in merged.items() if value is not None}

    def _wait_ready(self, timeout: float) -> None:
        try:
            self.wait_for(self._ready, timeout)
        except ProgramError:
            self.kill()
            raise

    def wait_for(self, text: str, timeout: float = 30.0, times: int = 1) -> str:
        """Waits until so many lines of the output hold the text, and gives the last of them."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(found := [line for line in self._lines if text in line]) < times:
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    what = "ended without" if self._ended else f"did not within {timeout:g} s write"
                    raise ProgramError(f"{self.name} {what} {text!r}; its output:\n{''.join(self._lines)}")
                self._changed.wait(left)
            return found[times - 1]

    def wait(self, timeout: float = 30.0) -> int:
        """Waits for its end and gives its exit code (negative: the signal that ended it)."""
        try:
            code = self._running().wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ProgramError(f"{self.name} still runs after {timeout:g} s; its output:\n{self.output}") from error
        if self._reader:
            self._reader.join(timeout)
        return code

    def stop(self, timeout: float = 20.0) -> int:
        """Asks it to end (SIGTERM), ends it by force if it does not in time, and gives its exit code."""
        process = self._running()
        if process.poll() is None:
            process.terminate()
        try:
            return self.wait(timeout)
        except ProgramError:
            return self.kill()

    def kill(self) -> int:
        """Ends it by force (SIGKILL), as a crash would, and waits until it is gone."""
        self._running().kill()
        return self.wait()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has written so far, stdout and stderr together."""
        with self._changed:
            return "".join(self._lines)

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise ProgramError(f"{self.name} was not started")
        return self._process

    def _read(self) -> None:
        stream = self._running().stdout
        for line in stream or ():
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __enter__(self) -> "Program":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()


def stop_on_signals() -> threading.Event:
    """An event that is set when this process is told to end: by SIGTERM, or by Ctrl-C."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def local_host(
    app: Path,
    *flags: str,
    environment: Mapping[str, str | None] | None = None,
    ready: str = "Ready:",
    kind: type[Program] = Program,
) -> Program:
    """Makes the program `python -m localdev.host` for an app; HTTP takes any free port unless told otherwise."""
    port = () if "--port" in flags else ("--port", "0")
    project = Path(__file__).resolve().parents[1]
    return kind(
        [sys.executable, "-m", "localdev.host", "--app", str(app), *port, *flags],
        name="host",
        ready=ready,
        folder=project,
        environment={"PYTHONUNBUFFERED": "1", **(environment or {})},
    )
