"""Another PostgreSQL server takes over; the old one goes on answering reads, and refuses writes.

So it was at gpustack/gpustack#6105 for three days, until somebody started the app again.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from shared.adapters.database import migrate
from shared.adapters.database.engine import Database
from shared.messages import Queue
from tests.pipeline.conftest import Chain, entry
from tests.postgres import Postgres

pytestmark = pytest.mark.postgres


class Name:
    """A name that leads to a server: a port whose new connections go to `port`; those that are open stay."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.number: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def folders(postgres: Postgres) -> Iterator[tuple[Path, Path]]:
    """Not pytest's own: the servers' user can't walk into those. Skips where there is no PostgreSQL."""
    with (
        tempfile.TemporaryDirectory(prefix="warden-pg-", ignore_cleanup_errors=True) as one,
        tempfile.TemporaryDirectory(prefix="warden-pg-", ignore_cleanup_errors=True) as other,
    ):
        yield Path(one), Path(other)


def test_after_a_failover_messages_wait_and_are_worked_off_once_the_name_leads_to_the_new_server(
    folders: tuple[Path, Path],
) -> None:
    old = Postgres(folders[0])
    servers, name = [old], Name(old.port)
    database = Database(f"postgresql+psycopg://postgres@127.0.0.1:{name.number}/postgres")
    try:
        old.start()
        migrate.upgrade(database)
        chain = Chain(database)
        chain.load(entry(11, "1000"))
        chain.spend("850", date(2026, 11, 10))
        chain.tonight()
        new = old.fail_over(folders[1])
        servers.append(new)
        ((queue, text, _),) = chain.queues.take()
        chain.work(queue, text)
        ((waiting, text, delay),) = chain.queues.take()
        assert (waiting, delay.total_seconds() >= 25) == (Queue.UPDATE, True)
        name.port = new.port
        chain.work(waiting, text)
        chain.drain()
        assert chain.spent() == Decimal(850)
        assert any("80 %" in subject for subject in chain.subjects())
    finally:
        database.close()
        name.close()
        for server in servers:
            server.stop()
