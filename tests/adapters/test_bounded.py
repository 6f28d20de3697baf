"""Answers that come in drops end with their time-out, which urllib3 and urllib have for each drop."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date

import pytest
from azure.core.exceptions import AzureError

from shared.adapters.azure.arm import ArmClient
from shared.adapters.costs.azure import AzureCosts
from shared.adapters.http import opener
from shared.adapters.mail.acs import AcsMailer
from shared.adapters.mail.sendgrid import SendGridMailer
from shared.domain.periods import Period
from shared.ports.azure import AZURE
from shared.ports.costs import AccountsQuery, CostQuery
from shared.ports.errors import LaterError
from shared.ports.mails import OutgoingMail
from tests.aws_worlds import KEYS, always, aws_access, aws_costs, cloud_account

SECONDS = 0.4
QUERY = CostQuery(AZURE, "1caaa5a3-2b66-438e-8ab4-bce37d518c5d", Period(date(2026, 11, 1), date(2026, 11, 21)))
MAIL = OutgoingMail("<a@b>", ("a@example.org",), "S", "T", "<p>h</p>")
OK = b"HTTP/1.1 200 OK\r\n"


def costs(port: int) -> None:
    AzureCosts(ArmClient(f"http://127.0.0.1:{port}"), read_seconds=SECONDS).read(QUERY)


def awss_costs(port: int) -> None:
    """By keys, which nobody has to be asked about before."""
    account = cloud_account(role_arn=None)
    aws_costs(f"http://127.0.0.1:{port}", KEYS, read_seconds=SECONDS).read_all(
        AccountsQuery(account, QUERY.window), always
    )


def awss_sessions(port: int) -> None:
    aws_access(f"http://127.0.0.1:{port}", read_seconds=SECONDS).session_of(cloud_account())


def a_lock(port: int) -> None:
    arm = ArmClient(f"http://127.0.0.1:{port}", read_seconds=SECONDS)
    arm.send("GET", arm.url("/subscriptions/1", "1"))


def sendgrid(port: int) -> None:
    SendGridMailer("SG.key", "w@example.org", "BW", f"http://127.0.0.1:{port}", timeout=SECONDS).send(MAIL)


def azures_mails(port: int) -> None:
    AcsMailer(f"http://127.0.0.1:{port}", None, "w@example.org", timeout=SECONDS).send(MAIL)


@contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[int]:
    """The port of a server that says something at once, and goes on in drops, without an end."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with suppress(OSError), server.accept()[0] as connection:
                connection.sendall(first)
                while not over.wait(SECONDS / 8):
                    connection.sendall(drop)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    ("call", "first", "drop"),
    [
        (costs, OK + b"Content-Length: 1000\r\n\r\n", b" "),
        (costs, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (costs, OK, b"X-More: 1\r\n"),
        (costs, b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n", b" "),
        (a_lock, OK + b"Content-Length: 1000\r\n\r\n", b" "),
        (awss_costs, OK + b"Content-Length: 1000\r\n\r\n", b" "),
        (awss_costs, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (awss_costs, OK, b"X-More: 1\r\n"),
        (awss_costs, b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n", b" "),
        (awss_sessions, OK + b"Content-Length: 1000\r\n\r\n", b" "),
        (sendgrid, b"HTTP/1.1 202 Accepted\r\n", b"X-More: 1\r\n"),
        (sendgrid, b"HTTP/1.1 400 Bad\r\nContent-Length: 1000\r\n\r\n", b" "),
        (azures_mails, b"HTTP/1.1 400 Bad\r\nContent-Length: 1000\r\n\r\n", b" "),
    ],
    ids=[
        *("body", "chunks", "headers", "refusal", "other APIs"),
        *("AWS's body", "AWS's chunks", "AWS's headers", "AWS's refusal", "AWS's sessions"),
        *("SendGrid", "SendGrid's refusal", "ACS's refusal"),
    ],
)
def test_what_comes_in_drops_ends_with_the_time_out(call: Callable[[int], None], first: bytes, drop: bytes) -> None:
    with dripping(first, drop) as port:
        begun = time.monotonic()
        with pytest.raises((LaterError, AzureError)):
            call(port)
        assert time.monotonic() - begun < 4 * SECONDS


def test_an_answer_that_is_slow_and_ends_in_time_is_read() -> None:
    """And the next one on the same connection has the whole time-out again."""
    answer = OK + b"Content-Length: 2\r\n\r\n{}"

    def serve() -> None:
        with server.accept()[0] as connection:
            for _ in range(2):
                connection.recv(65536)
                for start in range(0, len(answer), 8):
                    connection.sendall(answer[start : start + 8])
                    time.sleep(SECONDS / 16)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        arm = ArmClient(f"http://127.0.0.1:{server.getsockname()[1]}", read_seconds=SECONDS)
        for _ in range(2):
            assert arm.send("GET", arm.url("/subscriptions/1", "1")).status_code == 200
        arm.close()
        thread.join()


def test_urllib_reads_an_answer_whose_connection_is_closed_after_it() -> None:
    def serve() -> None:
        with server.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(OK + b"Connection: close\r\n\r\nall of it")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        with opener(is_local=True).open(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=SECONDS) as response:
            assert response.read() == b"all of it"
        thread.join()
