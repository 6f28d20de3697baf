"""Keeps taken messages hidden for as long as their functions run."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.queue import QueueClient, QueueMessage

from localdev.functions_host.storage import first_line

log = logging.getLogger("host")
_GONE = ("PopReceiptMismatch", "MessageNotFound", "QueueNotFound", "QueueBeingDeleted", "QueueDisabled")


def is_gone(error: HttpResponseError) -> bool:
    """Tells whether a message is no longer ours: someone else took it, or it or its queue was deleted."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code)) in _GONE


class Lease:
    """One taken message, hidden until its lease ends; every renewal changes its pop receipt."""

    def __init__(self, client: QueueClient, message: QueueMessage, seconds: int) -> None:
        self.client = client
        self.message = message
        self.seconds = seconds
        self._receipt = str(message.pop_receipt)
        self._lock = threading.Lock()
        self._open = True

    def renew(self) -> bool:
        """Hides the message for another lease; False when it is finished or was lost."""
        with self._lock:
            if not self._open:
                return False
            try:
                self._hide(self.seconds)
            except HttpResponseError as error:
                if not is_gone(error):
                    raise
                log.warning("the lease of message %s is lost: another host may run it too", self.message.id)
                self._open = False
        return self._open

    def delete(self) -> None:
        """Deletes the message; nothing happens if someone else has taken it over meanwhile."""
        self._finish(lambda: self.client.delete_message(str(self.message.id), self._receipt))

    def release(self, seconds: float) -> None:
        """Shows the message again after so many seconds."""
        self._finish(lambda: self._hide(round(seconds)))

    def abandon(self) -> None:
        """Leaves the message hidden until its lease ends."""
        with self._lock:
            self._open = False

    def _hide(self, seconds: int) -> None:
        # The id goes in rather than the message: with a message the SDK would write its content again.
        updated = self.client.update_message(str(self.message.id), self._receipt, visibility_timeout=seconds)
        self._receipt = str(updated.pop_receipt)

    def _finish(self, action: Callable[[], None]) -> None:
        with self._lock:
            self._open = False
            try:
                action()
            except HttpResponseError as error:
                if not is_gone(error):
                    raise
                log.debug("message %s was taken over or deleted by someone else", self.message.id)


class LeaseKeeper:
    """One thread that renews every lease at half its time, as the host's listener does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Lease]] = []
        self._order = itertools.count()
        self._stopped = False
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)

    def start(self) -> None:
        """Starts renewing."""
        self._thread.start()

    def stop(self) -> None:
        """Stops renewing; leases that are still held end by themselves."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def add(self, lease: Lease) -> None:
        """Renews this lease from now on, until it is finished."""
        self._schedule(lease, lease.seconds / 2)

    def _schedule(self, lease: Lease, seconds: float) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), lease))
            self._changed.notify_all()

    def _keep(self) -> None:
        while (lease := self._next()) is not None:
            try:
                if lease.renew():
                    self.add(lease)
            except AzureError as error:
                log.warning("message %s could not be renewed, trying again: %s", lease.message.id, first_line(error))
                self._schedule(lease, lease.seconds / 10)

    def _next(self) -> Lease | None:
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
            return None
