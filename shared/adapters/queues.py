"""The chain's queues in an Azure storage account, or in Azurite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from shared.adapters.storage import TIMEOUT_SECONDS, Service, client_options, identity, translated
from shared.messages import Message, Queue, origin_of, to_json
from shared.ports.notes import Note, Notes
from shared.ports.queues import MessageSender

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient

# Opens the queue with a given name.
QueueOpener = Callable[[str], "QueueClient"]

NEVER_EXPIRES = -1
# What the host puts behind the name of a queue for what it gave up on.
POISON = "-poison"
# The service's limit (learn.microsoft.com, "Put Message": visibilitytimeout).
LONGEST_DELAY = timedelta(days=7)
# Nothing waits long for a note.
FOR_NOTES = {"timeout": 3, "connection_timeout": 3, "read_timeout": 3}
# Notes are metadata of queues, one of each: they need no further service, name or role.
NOTED_ON = {Note.WRITING: Queue.UPDATE, Note.ROUND: Queue.NOTIFICATION}
# Longer than a message is buried.
TAKEN_SECONDS = 300
QUEUES = Service(
    name="the queues",
    refuses="a message or a queue's name",
    setting="DatahubStorageConnectionString",
    uri_setting="DatahubStorageConnectionString__queueServiceUri",
    role="Storage Queue Data Contributor",
)


class StorageQueues(MessageSender, Notes):
    """Sends messages to storage queues, and keeps notes on them; a queue that is missing is made.

    make_client: opens the queue with a given name. names: each queue's name in the account.
    speed: how many times as fast as the service's the app's clock runs.
    """

    def __init__(self, make_client: QueueOpener, names: Mapping[Queue, str], speed: int = 1) -> None:
        self._make_client = make_client
        self._names = names
        self._speed = speed
        self._clients: dict[str, QueueClient] = {}
        self._lock = threading.Lock()

    @override
    def send(self, queue: Queue, message: Message | str, delay: timedelta = timedelta(0)) -> None:
        text = message if isinstance(message, str) else to_json(message)
        self._put(self._client(self._names[queue]), text, delay)

    @override
    def next_in(self, queue: Queue) -> str | None:
        seen: list[str] = []

        def look() -> None:
            messages = self._client(self._names[queue]).peek_messages(max_messages=1, timeout=TIMEOUT_SECONDS)
            seen.extend(message.id for message in messages)

        _translating(look)
        return seen[0] if seen else None

    @override
    def put_back_poisoned(self, queue: Queue, text: str, delay: timedelta) -> None:
        self._put(self._client(self._names[queue] + POISON), text, delay)

    @override
    def noted(self, note: Note) -> str | None:
        from azure.core.exceptions import ResourceNotFoundError

        found: list[str] = []

        def look() -> None:
            with suppress(ResourceNotFoundError):
                metadata = self._noted_on(note).get_queue_properties(**FOR_NOTES).metadata or {}
                found.extend(text for name, text in metadata.items() if name.lower() == note)

        _translating(look)
        return found[0] if found else None

    @override
    def write(self, note: Note, text: str) -> None:
        client = self._noted_on(note)
        _translating(partial(_making, client, partial(client.set_queue_metadata, {note.value: text}, **FOR_NOTES)))

    def _noted_on(self, note: Note) -> QueueClient:
        return self._client(self._names[NOTED_ON[note]])

    @override
    def count_poisoned(self, queue: Queue) -> int:
        from azure.core.exceptions import ResourceNotFoundError

        counted = [0]

        def count() -> None:
            with suppress(ResourceNotFoundError):
                properties = self._client(self._names[queue] + POISON).get_queue_properties(timeout=TIMEOUT_SECONDS)
                counted.append(properties.approximate_message_count or 0)

        _translating(count)
        return counted[-1]

    @override
    def take_poisoned(self, queue: Queue, bury: Callable[[str, str], None]) -> None:
        client = self._client(self._names[queue] + POISON)

        def take() -> None:
            for message in client.receive_messages(visibility_timeout=TAKEN_SECONDS, timeout=TIMEOUT_SECONDS):
                bury(message.content, origin_of(message.id, message.inserted_on, message.content))
                client.delete_message(message, timeout=TIMEOUT_SECONDS)

        _translating(take)

    def check(self) -> None:
        """Asks for each queue, making those that are missing. Raises LaterError, NeverError."""
        for name in self._names.values():
            _translating(partial(_make, self._client(name)))

    def _client(self, name: str) -> QueueClient:
        with self._lock:
            if name not in self._clients:
                self._clients[name] = self._make_client(name)
            return self._clients[name]

    def _put(self, client: QueueClient, text: str, delay: timedelta) -> None:
        wait_seconds = round(min(max(delay, timedelta(0)), LONGEST_DELAY).total_seconds() / self._speed)

        def put() -> None:
            client.send_message(
                text, visibility_timeout=wait_seconds, time_to_live=NEVER_EXPIRES, timeout=TIMEOUT_SECONDS
            )

        _translating(partial(_making, client, put))


def by_connection_string(connection: str) -> QueueOpener:
    """Opens queues with a connection string; `UseDevelopmentStorage=true` is Azurite."""

    def make(name: str) -> QueueClient:
        from azure.storage.queue import QueueClient

        return QueueClient.from_connection_string(connection, name, **client_options())

    return make


def by_identity(queue_service_uri: str, client_id: str | None) -> QueueOpener:
    """Opens queues with the app's identity, or the developer's where there is none."""

    def make(name: str) -> QueueClient:
        from azure.storage.queue import QueueClient

        return QueueClient(queue_service_uri, name, credential=identity(client_id), **client_options())

    return make


def _making(client: QueueClient, work: Callable[[], object]) -> None:
    """Does it on a queue, which is made where it is missing."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        work()
    except ResourceNotFoundError:
        _make(client)
        work()


def _make(client: QueueClient) -> None:
    from azure.core.exceptions import ResourceExistsError

    try:
        client.create_queue(timeout=TIMEOUT_SECONDS)
    except ResourceExistsError as error:
        # A queue that is being deleted is there as well, and takes nothing.
        if getattr(error, "error_code", None) != "QueueAlreadyExists":
            raise


def _translating(work: Callable[[], None]) -> None:
    with translated(QUEUES):
        work()
