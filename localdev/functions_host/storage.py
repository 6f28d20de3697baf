"""The queues of a connection: one client per queue, all of them over the same kept-alive connections."""

import contextlib
import threading
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.queue import LinearRetry, QueueClient, QueueServiceClient
from requests.adapters import HTTPAdapter

from localdev.functions_host.errors import HostError
from localdev.functions_host.settings import Connection

POISON_SUFFIX = "-poison"
_CONNECTIONS = 64


class QueueAccount:
    """The queues of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._service = _service_client(connection)
        self._clients: dict[str, QueueClient] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the service, without its credential."""
        return str(self._service.url).split("?")[0]

    def client(self, queue: str) -> QueueClient:
        """Gives the one client of a queue."""
        with self._lock:
            if queue not in self._clients:
                self._clients[queue] = self._service.get_queue_client(queue)
            return self._clients[queue]

    def create(self, queue: str) -> None:
        """Creates a queue unless it is there; says so in a sentence when the service can't be reached."""
        try:
            self._create(queue)
        except HttpResponseError as error:
            raise HostError(
                f"The queue {queue!r} of {self.connection.name} can't be used: {first_line(error)}"
            ) from error
        except (AzureError, ValueError) as error:
            raise HostError(
                f"The queues of {self.connection.name} at {self.url} don't answer: is Azurite running there? "
                "`python -m localdev.azurite --run` runs one"
            ) from error

    def _create(self, queue: str) -> None:
        with contextlib.suppress(ResourceExistsError):
            self.client(queue).create_queue()

    def send_text(self, queue: str, content: str) -> None:
        """Writes one message; it lives the service's default of 7 days."""
        try:
            self.client(queue).send_message(content)
        except ResourceNotFoundError:
            self._create(queue)
            self.client(queue).send_message(content)

    def count(self, queue: str) -> int:
        """Counts the messages of a queue, those that are hidden or taken too; a missing queue has none."""
        try:
            return int(self.client(queue).get_queue_properties().approximate_message_count or 0)
        except ResourceNotFoundError:
            return 0


def first_line(error: Exception) -> str:
    """Shortens an error of the SDK, which lists headers and bodies, to its first line."""
    return str(error).split("\n", 1)[0]


def _service_client(connection: Connection) -> QueueServiceClient:
    text = connection.connection_string
    # Short retries: the listener itself goes on asking, and a worker thread should not wait for long.
    retry = LinearRetry(backoff=1, retry_total=3, random_jitter_range=1)
    try:
        plain = QueueServiceClient.from_connection_string(text)
        return QueueServiceClient.from_connection_string(text, transport=_transport(plain.url), retry_policy=retry)
    except ValueError as error:
        raise HostError(f"{connection.name} is no connection string that the storage SDK takes: {error}") from error


def _transport(url: str) -> RequestsTransport:
    session = requests.Session()
    # A proxy from the environment has no business between two programs on this machine.
    session.trust_env = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return RequestsTransport(session=session, session_owner=False, connection_timeout=5, read_timeout=60)
