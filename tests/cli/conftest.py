"""The command line, on a real database file and a real Azurite: the folder, the settings, the queues of a test."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from localdev.azurite import Azurite
from shared import settings
from shared.cli.main import main
from shared.composition import Composition
from tests.chain.installation import SETTING_OF
from tests.cli.commands import ACCOUNT, NOW, STARTED, STORAGE, Cli, Outcome, Working


class Refusing(BaseHTTPRequestHandler):
    """Answers as a storage account does that does not know us."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT  # noqa: N815 - http.server's own spelling

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def refusing_queues() -> Iterator[str]:
    """The connection string of a storage account that refuses everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield ACCOUNT.format(port=server.server_port)
        server.shutdown()
        thread.join()


@pytest.fixture
def environment(
    tmp_path: Path, sqlite_url: str, refusing_queues: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The settings of a fresh folder, in which the commands run; its queues refuse everything."""
    values = {
        "DatahubStorageConnectionString": refusing_queues,
        "DATABASE_URL": sqlite_url,
        "LOCAL_CLOCK_START": NOW,
        "EMAIL_OPERATORS": "platform-team@example.com",
        "LOGNAME": "ann",
    }
    monkeypatch.chdir(tmp_path)
    for name in settings.setting_names():
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def queue_names(environment: dict[str, str], azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Queues of this test's own, in an Azurite that runs."""
    test = uuid.uuid4().hex[:12]
    kinds = ("Update", "Notification")
    names = {f"QueueProjectUsage{kind}": f"t{test}-{kind.lower()}" for kind in kinds}
    names |= {"QueueEmailNotification": f"t{test}-email", "QueueProjectLock": f"t{test}-lock"}
    names |= {"DatahubStorageConnectionString": azurite.connection_string}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    return names


@pytest.fixture
def cli(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command inside this process."""

    def run(*arguments: str) -> Outcome:
        code = main(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(code, out, err)

    return run


@pytest.fixture
def app(environment: dict[str, str]) -> Composition:
    """The same app as the commands', to see and to make what they work on."""
    return Composition(settings.load())


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Ends what a failed test has left running: `run --wait` would wait for ever."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def working() -> Working:
    """While it lasts, the functions take what is on the queues."""

    @contextmanager
    def works() -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=take_messages, args=(Composition(settings.load()), ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    return works


def take_messages(app: Composition, ended: threading.Event) -> None:
    storage = os.environ[STORAGE]
    named = {queue: os.environ[name] for queue, name in SETTING_OF.items() if name in os.environ}
    queues = {queue: QueueClient.from_connection_string(storage, name) for queue, name in named.items()}
    while not ended.wait(0.05):
        for queue, client in queues.items():
            for message in client.receive_messages(visibility_timeout=60) if exists(client) else ():
                app.chain.take(queue, message.content, message.id)
                client.delete_message(message)


def exists(client: QueueClient) -> bool:
    try:
        client.get_queue_properties()
    except ResourceNotFoundError:
        return False
    return True
