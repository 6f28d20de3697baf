"""From the queue to the SMTP server: 400 mails that wait in the database, and a bare loop that sends as many.

The local host takes the messages about them as Azure's would. The server takes a moment for each mail, as servers do.
The floor: one process with smtplib and one connection to the same server, and nothing that remembers what was sent.
What is timed is what the server sees: from the first mail that it has taken to the last.
"""

from __future__ import annotations

import asyncio
import smtplib
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage as MimeMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from azure.storage.queue import QueueClient

from benchmarks import fleet
from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process
from localdev.azurite import Azurite
from localdev.processes import local_host
from shared.messages import Queue, emails, to_json
from shared.pipeline.deliver import WHOLE
from shared.ports.mails import NewMail, Topic

MAILS, ROUNDS = 400, 3
# Of the server, for each mail. Those of large providers take longer.
SECONDS_A_MAIL = 0.02
SENDER, SUBJECT, BODY = "warden@example.com", "80 % of the budget reached", "<p>What was spent.</p>" * 50


@dataclass
class SlowServer:
    """Takes each mail after a moment, and notes when."""

    port: int
    taken: list[float] = field(default_factory=list)

    async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
        """Called for each mail."""
        await asyncio.sleep(SECONDS_A_MAIL)
        self.taken.append(time.monotonic())
        return "250 OK"

    def seconds(self) -> float:
        """From the first mail to the last; all must have come."""
        if len(self.taken) != MAILS:
            raise RuntimeError(f"{len(self.taken)} mails have come, and there are {MAILS}")
        return self.taken[-1] - self.taken[0]


def measure() -> Iterator[Figure]:
    """One figure; both sides of each round run one after the other."""
    rounds = [(_through_the_queue(), _in_a_loop()) for _ in range(ROUNDS)]
    ours, bare = (statistics.median(each) for each in zip(*rounds, strict=True))
    yield Figure(
        name=f"Mails: from the queue to SMTP, {MAILS} mails",
        measured=ours,
        unit="s",
        floor=bare,
        floor_is=f"a bare loop on one connection; the server takes {SECONDS_A_MAIL * 1000:g} ms a mail",
        most=bare,
        note=f"{MAILS / ours:,.0f} mails/s; the loop {MAILS / bare:,.0f} mails/s",
        detail={"rounds": rounds},
    )


@contextmanager
def _server() -> Iterator[SlowServer]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        server = SlowServer(probe.getsockname()[1])
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def _through_the_queue() -> float:
    with (
        tempfile.TemporaryDirectory(prefix="warden-bench-") as name,
        Azurite(Path(name) / "azurite", in_memory=True) as azurite,
        _server() as server,
    ):
        url, storage = f"sqlite:///{Path(name) / 'warden.db'}", azurite.connection_string
        environment = {"DatahubStorageConnectionString": storage, "AzureWebJobsStorage": storage, "DATABASE_URL": url}
        smtp = {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(server.port),
            "SMTP_STARTTLS": "false",
            "EMAIL_SENDER": SENDER,
        }
        queue = QueueClient.from_connection_string(storage, Queue.EMAIL.value)
        queue.create_queue()
        for message in emails(in_fresh_process(add_mails, url)):
            queue.send_message(to_json(message))
        example = ("--settings", str(fleet.ROOT / "local.settings.json.example"))
        host = local_host(
            fleet.ROOT, "--drain", *example, environment={**environment, **smtp, "EMAIL_PROVIDER": "smtp"}
        )
        with host:
            if host.wait(300):
                raise RuntimeError(host.output)
        return server.seconds()


def add_mails(database_url: str) -> list[int]:
    """Writes the mails down, and gives their ids."""
    warden = fleet.app(database_url, "http://127.0.0.1:9")
    warden.upgrade_tables()
    context = {"subject": SUBJECT, "body": BODY, "attachments": []}
    return [
        warden.mails.add(
            NewMail(f"mail/{number}", WHOLE, (_address(number),), context, topic=Topic.MESSAGE), fleet.NIGHT
        )
        for number in range(MAILS)
    ]


def _address(number: int) -> str:
    return f"p{number}@example.com"


def _in_a_loop() -> float:
    with _server() as server:
        in_fresh_process(send_all, server.port)
        return server.seconds()


def send_all(port: int) -> None:
    """The floor."""
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        for number in range(MAILS):
            mail = MimeMessage()
            mail["From"], mail["To"], mail["Subject"] = SENDER, _address(number), SUBJECT
            mail.set_content("What was spent.")
            mail.add_alternative(BODY, subtype="html")
            smtp.send_message(mail)
