"""Listens to one queue and runs its function for every message.

The order of things follows QueueListener.cs and QueueProcessor.cs of Azure's storage extension
(azure-sdk-for-net, Microsoft.Azure.WebJobs.Extensions.Storage.Queues).
"""

import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage

from localdev.functions_host.activity import Activity
from localdev.functions_host.app import AppFunction
from localdev.functions_host.bindings import queue_value
from localdev.functions_host.errors import HostError
from localdev.functions_host.leases import Lease, LeaseKeeper
from localdev.functions_host.runner import Runner
from localdev.functions_host.settings import QueueSettings
from localdev.functions_host.storage import POISON_SUFFIX, QueueAccount, first_line

log = logging.getLogger("host")
_SHORTEST_POLL = 0.1
_LONGEST_QUEUE_NAME = 63


@dataclass(frozen=True)
class Listening:
    """What all listeners of a host share; `lease` is in seconds."""

    settings: QueueSettings
    runner: Runner
    leases: LeaseKeeper
    activity: Activity
    lease: int


class QueueListener:
    """Takes messages of one queue in batches and handles each in a thread of its own."""

    def __init__(self, function: AppFunction, account: QueueAccount, queue: str, shared: Listening) -> None:
        self.function = function
        self.account = account
        self.queue = queue
        self.poison = _poison_name(queue)
        self._shared = shared
        self._client: QueueClient = account.client(queue)
        self._changed = threading.Condition()
        self._in_flight = 0
        self._stopping = False
        self._nudged = False
        self._stuck: set[str] = set()
        settings = shared.settings
        threads = settings.batch_size + settings.new_batch_threshold
        self._handlers = ThreadPoolExecutor(threads, thread_name_prefix=queue)
        self._thread = threading.Thread(target=self._listen, name=f"listen-{queue}", daemon=True)

    def start(self) -> None:
        """Starts taking messages."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more messages; those already taken are still handled."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def nudge(self) -> None:
        """Polls at once."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def left(self) -> int:
        """Counts the messages that still have a way to go: visible, hidden or in flight."""
        return self.account.count(self.queue) - len(self._stuck)

    def _listen(self) -> None:
        wait = _SHORTEST_POLL
        while self._wait_for_room():
            found = self._poll()
            if found:
                wait = _SHORTEST_POLL
                continue
            self._wait_idle(wait * random.uniform(0.8, 1.0))
            wait = min(wait * 2, self._shared.settings.max_polling_interval)

    def _wait_for_room(self) -> bool:
        """Waits until a new batch may be taken; False when the host stops."""
        with self._changed:
            while not self._stopping and self._in_flight > self._shared.settings.new_batch_threshold:
                self._changed.wait()
            return not self._stopping

    def _wait_idle(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._nudged or self._stopping, seconds)
            self._nudged = False

    def _poll(self) -> bool:
        """Takes a batch and hands it to the handlers; tells whether there was any message."""
        try:
            batch = self._receive()
        except ResourceNotFoundError:
            self._create_again()
            return False
        except AzureError as error:
            log.warning("the queue %s can't be read, trying again: %s", self.queue, first_line(error))
            return False
        for message in batch:
            lease = Lease(self._client, message, self._shared.lease)
            self._shared.leases.add(lease)
            self._handlers.submit(self._handle, lease)
        return bool(batch)

    def _receive(self) -> list[QueueMessage]:
        """Takes up to a batch; each message counts as in flight before anyone can ask."""
        size = self._shared.settings.batch_size
        pages = self._client.receive_messages(
            messages_per_page=size, max_messages=size, visibility_timeout=self._shared.lease
        )
        batch = list(next(pages.by_page(), []))
        with self._changed:
            self._in_flight += len(batch)
        self._shared.activity.begin(len(batch))
        return batch

    def _create_again(self) -> None:
        try:
            self.account.create(self.queue)
        except HostError as error:
            log.warning("%s", error)

    def _handle(self, lease: Lease) -> None:
        try:
            self._take(lease)
        except AzureError as error:
            # What was not deleted comes back when its lease ends: at least once.
            log.warning("message %s of %s was not finished: %s", lease.message.id, self.queue, first_line(error))
        finally:
            lease.abandon()
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()
            self._shared.activity.end()

    def _take(self, lease: Lease) -> None:
        """Runs the function for one message, and lets the message go the way of the result."""
        message, limit = lease.message, self._shared.settings.max_dequeue_count
        count = int(message.dequeue_count or 1)
        if count > limit:
            # The host died with it, again and again: this is how a crash loop ends.
            self._to_poison(lease, f"it has been taken {count} times, and {limit} is the maximum")
        elif self._shared.runner.run(self.function, lambda: queue_value(message)).ok:
            lease.delete()
        elif self.poison is None:
            # QueueProcessor.CompleteProcessingMessageAsync: a queue without a poison queue leaves a failed
            # message hidden until its lease ends, so that it does not run in a fast endless loop.
            log.warning("message %s of %s stays hidden until its lease ends", message.id, self.queue)
        elif count >= limit:
            self._to_poison(lease, f"it has failed {count} times, which is the maximum")
        else:
            lease.release(self._shared.settings.visibility_timeout)

    def _to_poison(self, lease: Lease, why: str) -> None:
        """Copies a message to the poison queue, then deletes it; a poison queue has none of its own."""
        name = f"{self.queue} message {lease.message.id}"
        if self.poison is None:
            # HandlePoisonMessageAsync does nothing then: the message shows up again after every lease,
            # unseen by the function, until it expires.
            self._stuck.add(str(lease.message.id))
            self._shared.activity.fail(name)
            log.error("%s stays in the queue until it expires: %s", name, why)
            return
        log.error("%s goes to %s: %s", name, self.poison, why)
        self.account.send_text(self.poison, str(lease.message.content))
        self._shared.activity.fail(name)
        lease.delete()


def _poison_name(queue: str) -> str | None:
    """Names the poison queue, as QueueListenerFactory does: none for a poison queue or a name too long."""
    if queue.endswith(POISON_SUFFIX) or len(queue + POISON_SUFFIX) > _LONGEST_QUEUE_NAME:
        return None
    return queue + POISON_SUFFIX
