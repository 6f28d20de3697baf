"""What every Notes does: on storage queues (Azurite), and the fake that the pipeline's tests use."""

from __future__ import annotations

import time
import uuid

import pytest

from localdev.azurite import Azurite
from shared.adapters.queues import FOR_NOTES, StorageQueues, by_connection_string
from shared.messages import Queue
from shared.ports.errors import LaterError
from shared.ports.notes import Note
from tests.adapters.mail.servers import SendGridServer
from tests.fakes import FakeQueues


@pytest.fixture(params=["azurite", "fake"])
def notes(request: pytest.FixtureRequest) -> StorageQueues | FakeQueues:
    if request.param == "fake":
        return FakeQueues()
    azurite: Azurite = request.getfixturevalue("azurite")
    names = {queue: f"{queue.value[:20].strip('-')}-{uuid.uuid4().hex}" for queue in Queue}
    return StorageQueues(by_connection_string(azurite.connection_string), names)


def test_there_is_no_note_before_one_is_written(notes: StorageQueues | FakeQueues) -> None:
    assert [notes.noted(note) for note in Note] == [None, None]


def test_the_last_text_counts_and_each_note_has_its_own(notes: StorageQueues | FakeQueues) -> None:
    longest = '{"a": "' + "x" * 1990 + '"}'
    for note, text in ((Note.ROUND, "{}"), (Note.WRITING, "2026-11-20T02:15:00+00:00"), (Note.ROUND, longest)):
        notes.write(note, text)
    assert (notes.noted(Note.ROUND), notes.noted(Note.WRITING)) == (longest, "2026-11-20T02:15:00+00:00")


def test_a_note_is_no_message_and_messages_leave_it_alone(notes: StorageQueues | FakeQueues) -> None:
    for note in Note:
        notes.write(note, "kept")
    notes.check()
    assert [notes.next_in(queue) for queue in Queue] == [None] * len(Queue)
    for queue in Queue:
        notes.send(queue, "{}")
    notes.check()
    assert [notes.noted(note) for note in Note] == ["kept", "kept"]


def test_nobody_waits_long_for_a_note() -> None:
    account = SendGridServer()
    account.silent = True
    connection = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm8ga2V5;"
        f"QueueEndpoint={account.endpoint}/devstoreaccount1;"
    )
    queues = StorageQueues(by_connection_string(connection), {queue: queue.value for queue in Queue})
    begun = time.monotonic()
    try:
        with pytest.raises(LaterError, match="can't be reached"):
            queues.noted(Note.ROUND)
    finally:
        account.stop()
    assert time.monotonic() - begun < FOR_NOTES["read_timeout"] + 5
