"""The chain's queues in an Azure storage account, or in Azurite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from shared.messages import Message, Queue, origin_of, to_json
from shared.ports.errors import LaterError, NeverError
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
TIMEOUT_SECONDS = 30
# Nothing waits long for a note.
FOR_NOTES = {"timeout": 3, "connection_timeout": 3, "read_timeout": 3}
# Notes are metadata of queues, one of each: they need no further service, name or role.
NOTED_ON = {Note.WRITING: Queue.UPDATE, Note.ROUND: Queue.NOTIFICATION}
# Longer than a message is buried.
TAKEN_SECONDS = 300
# The request itself can't be right: a name that is none, text that XML can't hold, more than 64 KiB.
REFUSED = frozenset({400, 405, 411, 413, 414, 415, 431})
# What to do about a 401 or 403, by the service's code (learn.microsoft.com, "Common REST API error codes"). Keys and
# signatures (SAS) come with a connection string; where there is no code, it may be either.
ROLE = "the app's identity needs the role Storage Queue Data Contributor on it"
KEY = "see that DatahubStorageConnectionString is right (a key that was replaced?), and the clock of this machine"
SIGNATURE = "the signature (SAS) in DatahubStorageConnectionString does not allow this here"
WHAT_TO_DO = {
    "AuthenticationFailed": KEY,
    "AuthorizationPermissionMismatch": f"{ROLE}; or a signature (SAS) does not allow this",
    "InsufficientAccountPermissions": ROLE,
    "KeyBasedAuthenticationNotPermitted": (
        "it takes no keys: set DatahubStorageConnectionString__queueServiceUri, and no DatahubStorageConnectionString"
    ),
    "AuthorizationFailure": "have its firewall (networking) let the app in",
    "AccountIsDisabled": "have the account, or its subscription, enabled again",
    "AuthorizationSourceIPMismatch": SIGNATURE,
    "AuthorizationProtocolMismatch": SIGNATURE,
    "AuthorizationServiceMismatch": SIGNATURE,
    "AuthorizationResourceTypeMismatch": SIGNATURE,
}


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

        return QueueClient.from_connection_string(connection, name, **_client_options())

    return make


def by_identity(queue_service_uri: str, client_id: str | None) -> QueueOpener:
    """Opens queues with the app's identity, or the developer's where there is none."""

    def make(name: str) -> QueueClient:
        from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
        from azure.storage.queue import QueueClient

        credential = ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()
        return QueueClient(queue_service_uri, name, credential=credential, **_client_options())

    return make


def _client_options() -> dict[str, Any]:
    # The SDK's own retries sleep 15 s and more inside the call; here the message comes again instead. Redirects would
    # show the other host our token.
    timeouts = {"connection_timeout": TIMEOUT_SECONDS, "read_timeout": TIMEOUT_SECONDS}
    return {"retry_total": 0, "permit_redirects": False, **timeouts}


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
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    try:
        work()
    except HttpResponseError as error:
        # An answer of the queues has a code, if only None; azure-identity's errors have none.
        if isinstance(error, ClientAuthenticationError) and not hasattr(error, "error_code"):
            from shared.adapters.azure.refusals import token_error

            raise token_error(error) from error
        code = getattr(error, "error_code", None)
        code = str(getattr(code, "value", code) or "")
        said = f"{error.status_code} {code}".rstrip()
        if error.status_code in {401, 403}:
            to_do = WHAT_TO_DO.get(code, f"{KEY}; or {ROLE}")
            raise NeverError(f"the storage account refuses us ({said}); {to_do}") from error
        if error.status_code in REFUSED:
            raise NeverError(f"the queues refuse a message or a queue's name: {said}") from error
        raise LaterError(f"the queues answered {said}") from error
    except AzureError as error:
        raise LaterError(f"the queues can't be reached ({type(error).__name__})") from error
