"""Small apps that the host runs as a program of its own."""

import json
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueServiceClient

from localdev.azurite import Azurite
from localdev.demo_stage import ROOT
from localdev.processes import Program, local_host
from tests.forked import ForkedProgram

PREAMBLE = """
import os, sys, time, typing
import azure.functions as func
app = func.FunctionApp()
def record(*words):
    with open(os.environ["RECORD"], "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
def send(queue, *texts):
    from azure.core.exceptions import ResourceExistsError
    from azure.storage.queue import QueueClient
    client = QueueClient.from_connection_string(os.environ["Storage"], os.environ[queue])
    try:
        client.create_queue()
    except ResourceExistsError:
        pass
    for text in texts:
        client.send_message(text)
"""


class SampleApp:
    """One app in a folder, with queues of its own in a shared Azurite."""

    def __init__(self, folder: Path, connection_string: str) -> None:
        self.folder = folder / "app"
        self.folder.mkdir()
        self.prefix = f"t{uuid.uuid4().hex[:12]}"
        self.environment: dict[str, str | None] = {
            "Storage": connection_string,
            "RECORD": str(folder / "record.txt"),
            "In": self.name("in"),
            "Out": self.name("out"),
        }
        self._record = folder / "record.txt"
        self._service = QueueServiceClient.from_connection_string(connection_string)
        self._programs: list[Program] = []

    def write(self, source: str, **queues: object) -> "SampleApp":
        """Writes function_app.py, and host.json with these settings of the queues."""
        options = {"messageEncoding": "none", "maxPollingInterval": "00:00:01", **queues}
        (self.folder / "host.json").write_text(
            json.dumps({"version": "2.0", "extensions": {"queues": options}}), encoding="utf-8"
        )
        (self.folder / "function_app.py").write_text(PREAMBLE + textwrap.dedent(source), encoding="utf-8")
        return self

    def name(self, short: str) -> str:
        return f"{self.prefix}-{short}"

    def queue(self, short: str) -> QueueClient:
        client = self._service.get_queue_client(self.name(short))
        # The host may make it at the same time.
        with suppress(ResourceExistsError):
            client.create_queue()
        return client

    def put(self, short: str, *contents: str) -> None:
        for content in contents:
            self.queue(short).send_message(content)

    def count(self, short: str) -> int:
        """Counts a queue's messages, the hidden ones too; a missing queue has none."""
        client = self._service.get_queue_client(self.name(short))
        return client.get_queue_properties().approximate_message_count if self._exists(client) else 0

    def contents(self, short: str) -> list[str]:
        """Gives the contents of a queue's visible messages; a missing queue has none."""
        client = self._service.get_queue_client(self.name(short))
        if not self._exists(client):
            return []
        return [message.content for message in client.peek_messages(max_messages=32)]

    def exists(self, short: str) -> bool:
        return self._exists(self._service.get_queue_client(self.name(short)))

    @staticmethod
    def _exists(client: QueueClient) -> bool:
        try:
            client.get_queue_properties()
        except ResourceNotFoundError:
            return False
        return True

    def host(self, *flags: str, ready: str = "Ready:", **environment: str | None) -> Program:
        """Makes a host for this app that is ended with the test."""
        program = local_host(
            self.folder, *flags, environment={**self.environment, **environment}, ready=ready, kind=ForkedProgram
        )
        self._programs.append(program)
        return program

    def fails_to_start(self, *flags: str, **environment: str | None) -> str:
        """Runs a host that must not come up; gives its one line about that."""
        program = self.host(*flags, ready="", **environment).start()
        assert program.wait() == 1, program.output
        assert "Traceback" not in program.output
        # azure-functions itself logs a warning for an app without HTTP functions.
        lines = [line for line in program.output.splitlines() if "WARNING root" not in line]
        assert len(lines) == 1, program.output
        return lines[0]

    def records(self) -> list[str]:
        return self._record.read_text(encoding="utf-8").splitlines() if self._record.exists() else []

    def stop_all(self) -> None:
        for program in self._programs:
            if program.running:
                program.kill()


@pytest.fixture
def sample(tmp_path: Path, azurite: Azurite) -> Iterator[SampleApp]:
    app = SampleApp(tmp_path, azurite.connection_string)
    yield app
    app.stop_all()


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits until a condition holds, and fails with what was last seen when it does not in time."""

    def wait(condition: Callable[[], object], seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"this did not come true within {seconds:g} s"
            time.sleep(0.05)

    return wait


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[Callable[..., tuple["subprocess.Popen[str]", str]]]:
    """Starts the program that the test's module names as SIMULATOR: the program and its URL; it ends with the test."""
    programs = []

    def start(*arguments: object) -> tuple["subprocess.Popen[str]", str]:
        program = subprocess.Popen(
            [sys.executable, "-m", request.module.SIMULATOR, *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        programs.append(program)
        assert program.stdout is not None
        return program, program.stdout.readline().strip().rpartition(" ")[2]

    yield start
    for program in programs:
        program.kill()
        program.communicate()
