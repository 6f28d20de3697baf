"""The genuine worker as a program of its own, asked one thing at a time."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from shared.settings import setting_names

PROJECT = Path(__file__).resolve().parents[2]
# A worker that hangs is ended then, and its test fails with what it wrote.
LONGEST_SECONDS = 60
TIMER = {
    "Schedule": {"AdjustForDST": True},
    "ScheduleStatus": {
        "Last": "2026-11-19T02:00:00+00:00",
        "Next": "2026-11-20T02:00:00+00:00",
        "LastUpdated": "2026-11-19T02:00:00+00:00",
    },
    "IsPastDue": False,
}


class WorkerProcess:
    """Our app in the genuine worker. loaded: whether it could be loaded, why not, and the functions."""

    def __init__(self, python: Path, settings: Mapping[str, str], folder: Path = PROJECT) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker runs; closed by __exit__
        self._process = subprocess.Popen(
            [str(python), str(PROJECT / "tests" / "worker" / "invoke.py"), str(folder)],
            env=_only(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )
        self._limit = threading.Timer(LONGEST_SECONDS, self._process.kill)
        self._limit.start()
        self.loaded = self._answer()

    def timer(self, function: str) -> dict[str, Any]:
        """Fires a timer."""
        return self._ask({"function": function, "json": json.dumps(TIMER)})

    def message(
        self, function: str, body: str | bytes, message_id: str = "a-message", times: int = 1
    ) -> dict[str, Any]:
        """Hands over a queue message, with the metadata that the host sends along."""
        value = {"string": body} if isinstance(body, str) else {"bytes": body.hex()}
        metadata = {
            "Id": message_id,
            "PopReceipt": "AgAAAAMAAAAAAAAA",
            "DequeueCount": times,
            "InsertionTime": "2026-11-20T02:00:01+00:00",
            "ExpirationTime": "2026-11-27T02:00:01+00:00",
            "NextVisibleTime": "2026-11-20T02:10:01+00:00",
        }
        return self._ask({"function": function, **value, "metadata": metadata})

    def post(self, function: str, body: bytes, path: str = "/api/a-route", **headers: str) -> dict[str, Any]:
        """Posts a body to an HTTP function; the host has looked at its key by then, and names headers in lower case."""
        request = {
            "method": "POST",
            "url": f"https://warden.example{path}?code=a-key",
            "headers": {"content-type": "application/json; charset=utf-8", **headers},
            "query": {"code": "a-key"},
            "body": body.hex(),
        }
        return self._ask({"function": function, "http": request})

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the worker ended; it wrote:\n{self.output}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def output(self) -> str:
        """What the app and the worker have written so far."""
        # Reading at a place of its own: the worker writes on where its last line ended.
        return os.pread(self._errors.fileno(), 1_000_000, 0).decode("utf-8", "replace")

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        code = self._process.wait()
        self._limit.cancel()
        self._process.stdout.close()
        output = self.output
        self._errors.close()
        assert error or code == 0, f"the worker ended with {code}; it wrote:\n{output}"


def _only(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with these settings and no others."""
    others = {name.lower() for name in setting_names()} | {"pythonpath"}
    kept = {name: value for name, value in os.environ.items() if name.lower() not in others}
    return {**kept, **settings}
