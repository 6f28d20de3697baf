"""What every MessageSender does: on storage queues (Azurite), and on the fake that the pipeline's tests use."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceExistsError
from azure.identity import CredentialUnavailableError
from azure.storage.queue import QueueClient

from localdev.azurite import Azurite
from shared.adapters.queues import StorageQueues, by_connection_string
from shared.messages import EmailMessage, Envelope, MessageError, NotificationMessage, Queue, UpdateMessage
from shared.ports.errors import LaterError, NeverError
from shared.ports.queues import MessageSender
from tests.adapters.mail.servers import Answer, SendGridServer
from tests.fakes import FakeQueues


@dataclass
class Rig:
    """A sender, what can be seen on a queue now, and how many messages it holds in all."""

    sender: MessageSender
    visible: Callable[[Queue], list[str]]
    held: Callable[[Queue], int]
    poisoned: Callable[[Queue], int]


@pytest.fixture
def names() -> dict[Queue, str]:
    return {queue: f"{queue.value[:20].strip('-')}-{uuid.uuid4().hex}" for queue in Queue}


@pytest.fixture(params=["azurite", "fake"])
def rig(request: pytest.FixtureRequest, names: dict[Queue, str]) -> Rig:
    if request.param == "fake":
        return fake_rig()
    return storage_rig(request.getfixturevalue("azurite").connection_string, names)


def fake_rig() -> Rig:
    queues = FakeQueues()
    return Rig(
        queues,
        lambda queue: [text for name, text, delay in queues.sent if name is queue and not delay],
        lambda queue: sum(name is queue for name, _, _ in queues.sent),
        lambda queue: sum(name is queue for name, _, _ in queues.poisoned),
    )


def storage_rig(connection: str, names: dict[Queue, str]) -> Rig:
    def client(queue: Queue, suffix: str = "") -> QueueClient:
        return QueueClient.from_connection_string(connection, names[queue] + suffix)

    def held(client: QueueClient) -> int:
        return client.get_queue_properties().approximate_message_count or 0

    return Rig(
        StorageQueues(by_connection_string(connection), names),
        lambda queue: [message.content for message in client(queue).receive_messages()],
        lambda queue: held(client(queue)),
        lambda queue: held(client(queue, "-poison")),
    )


def test_a_message_arrives_as_the_json_that_it_is(rig: Rig) -> None:
    rig.sender.send(Queue.UPDATE, UpdateMessage(project_id=11, envelope=Envelope(run_id="night-1")))
    assert rig.visible(Queue.UPDATE) == ['{"ProjectId":11,"RunId":"night-1"}']


def test_a_text_arrives_letter_by_letter(rig: Rig) -> None:
    rig.sender.send(Queue.EMAIL, '{"EmailId": 7, "é": "<&>"}')
    assert rig.visible(Queue.EMAIL) == ['{"EmailId": 7, "é": "<&>"}']


def test_each_queue_gets_its_own(rig: Rig) -> None:
    rig.sender.send(Queue.NOTIFICATION, NotificationMessage((1, 2)))
    rig.sender.send(Queue.EMAIL, EmailMessage(email_id=3))
    assert (rig.held(Queue.NOTIFICATION), rig.held(Queue.EMAIL)) == (1, 1)


def test_a_delayed_message_is_held_but_not_seen(rig: Rig) -> None:
    rig.sender.send(Queue.UPDATE, UpdateMessage(project_id=11), timedelta(minutes=5))
    assert rig.held(Queue.UPDATE) == 1
    assert rig.visible(Queue.UPDATE) == []


def test_a_delay_that_is_over_counts_as_none(rig: Rig) -> None:
    rig.sender.send(Queue.UPDATE, UpdateMessage(project_id=11), timedelta(seconds=-5))
    assert len(rig.visible(Queue.UPDATE)) == 1


def test_a_message_over_48_kib_is_refused_and_not_sent(rig: Rig) -> None:
    rig.sender.send(Queue.UPDATE, UpdateMessage(project_id=1))
    with pytest.raises(MessageError, match="too large"):
        rig.sender.send(Queue.UPDATE, NotificationMessage(tuple(range(2**30, 2**30 + 5000))))
    assert rig.held(Queue.UPDATE) == 1


def test_the_next_message_is_known_until_it_is_taken(rig: Rig) -> None:
    rig.sender.send(Queue.LOCK, "{}")
    rig.sender.send(Queue.UPDATE, UpdateMessage(project_id=11), timedelta(minutes=5))
    first, delayed = rig.sender.next_in(Queue.LOCK), rig.sender.next_in(Queue.UPDATE)
    assert (rig.sender.next_in(Queue.LOCK), delayed) == (first, None)
    assert first is not None


def test_what_is_put_back_onto_a_poison_queue_is_on_none_of_the_others(rig: Rig) -> None:
    rig.sender.send(Queue.LOCK, "{}")
    rig.sender.put_back_poisoned(Queue.LOCK, "no JSON", timedelta(minutes=5))
    assert (rig.visible(Queue.LOCK), rig.poisoned(Queue.LOCK)) == (["{}"], 1)


def test_what_can_be_seen_on_a_poison_queue_is_taken_once_and_what_is_hidden_is_counted(rig: Rig) -> None:
    assert rig.sender.count_poisoned(Queue.LOCK) == 0
    for text, delay in (("a", 0), ("b", 0), ("hidden", 5)):
        rig.sender.put_back_poisoned(Queue.LOCK, text, timedelta(minutes=delay))
    taken: dict[str, str] = {}
    for _ in range(2):
        rig.sender.take_poisoned(Queue.LOCK, lambda text, origin: taken.update({origin: text}))
    assert sorted(taken.values()) == ["a", "b"]
    assert (rig.sender.count_poisoned(Queue.LOCK), rig.sender.count_poisoned(Queue.UPDATE)) == (1, 0)


def test_what_can_not_be_buried_stays_on_its_poison_queue(rig: Rig) -> None:
    def fail(_text: str, _origin: str) -> None:
        raise LaterError("not now")

    rig.sender.put_back_poisoned(Queue.LOCK, "a", timedelta(0))
    with pytest.raises(LaterError, match="not now"):
        rig.sender.take_poisoned(Queue.LOCK, fail)
    assert rig.sender.count_poisoned(Queue.LOCK) == 1


# --- of storage queues alone ---


def test_a_message_does_not_expire(azurite: Azurite, names: dict[Queue, str]) -> None:
    StorageQueues(by_connection_string(azurite.connection_string), names).send(Queue.UPDATE, "{}")
    client = QueueClient.from_connection_string(azurite.connection_string, names[Queue.UPDATE])
    (message,) = client.peek_messages()
    assert message.expires_on is not None
    assert message.expires_on > datetime(2100, 1, 1, tzinfo=UTC)


def test_a_delay_past_the_services_limit_becomes_the_limit(azurite: Azurite, names: dict[Queue, str]) -> None:
    rig = storage_rig(azurite.connection_string, names)
    rig.sender.send(Queue.UPDATE, "{}", timedelta(days=30))
    assert rig.held(Queue.UPDATE) == 1


def test_a_queue_that_was_deleted_is_made_again(azurite: Azurite, names: dict[Queue, str]) -> None:
    rig = storage_rig(azurite.connection_string, names)
    rig.sender.send(Queue.UPDATE, "{}")
    QueueClient.from_connection_string(azurite.connection_string, names[Queue.UPDATE]).delete_queue()
    rig.sender.send(Queue.UPDATE, "{}")
    assert rig.held(Queue.UPDATE) == 1


def test_queues_that_cannot_be_reached_are_for_later(names: dict[Queue, str]) -> None:
    nowhere = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm8ga2V5;"
        "QueueEndpoint=http://127.0.0.1:9/devstoreaccount1;"
    )
    with pytest.raises(LaterError, match="can't be reached"):
        StorageQueues(by_connection_string(nowhere), names).send(Queue.UPDATE, "{}")


def test_an_account_that_refuses_us_is_for_never_and_the_key_is_not_shown(
    azurite: Azurite, names: dict[Queue, str]
) -> None:
    parts = azurite.connection_string.split(";")
    wrong_key = ";".join("AccountKey=bm8ga2V5" if part.startswith("AccountKey=") else part for part in parts)
    with pytest.raises(NeverError, match="refuses us") as caught:
        StorageQueues(by_connection_string(wrong_key), names).send(Queue.UPDATE, "{}")
    assert "bm8ga2V5" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AuthenticationFailed", "see that DatahubStorageConnectionString is right (a key that was replaced?)"),
        ("KeyBasedAuthenticationNotPermitted", "it takes no keys: set DatahubStorageConnectionString__queueServiceUri"),
        ("AuthorizationFailure", "have its firewall (networking) let the app in"),
        ("AccountIsDisabled", "have the account, or its subscription, enabled again"),
        ("AuthorizationSourceIPMismatch", "the signature (SAS) in DatahubStorageConnectionString does not allow this"),
        ("AuthorizationPermissionMismatch", "the app's identity needs the role Storage Queue Data Contributor on it"),
        ("SomethingNew", "see that DatahubStorageConnectionString is right"),
    ],
)
def test_what_an_account_refuses_us_for_is_told_by_its_code(names: dict[Queue, str], code: str, expected: str) -> None:
    account = SendGridServer()
    account.answer = Answer(403, {"x-ms-error-code": code})
    connection = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm8ga2V5;"
        f"QueueEndpoint={account.endpoint}/devstoreaccount1;"
    )
    try:
        with pytest.raises(NeverError, match="refuses us") as caught:
            StorageQueues(by_connection_string(connection), names).send(Queue.UPDATE, "{}")
    finally:
        account.stop()
    said = str(caught.value)
    assert said.startswith(f"the storage account refuses us (403 {code}); {expected}")
    assert ("identity" in said) == (code in {"AuthorizationPermissionMismatch", "SomethingNew"})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_shows_no_other_host_what_is_ours(names: dict[Queue, str], status: int) -> None:
    account, other = SendGridServer(), SendGridServer()
    account.answer = Answer(status, {"Location": f"{other.endpoint}/elsewhere"})
    connection = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm8ga2V5;"
        f"QueueEndpoint={account.endpoint}/devstoreaccount1;"
    )
    try:
        with pytest.raises(LaterError, match=f"answered {status}"):
            StorageQueues(by_connection_string(connection), names).send(Queue.UPDATE, "{}")
    finally:
        account.stop()
        other.stop()
    assert (len(account.shown), other.shown) == (1, [])


def test_checking_makes_the_queues_that_are_missing(azurite: Azurite, names: dict[Queue, str]) -> None:
    StorageQueues(by_connection_string(azurite.connection_string), names).check()
    for name in names.values():
        QueueClient.from_connection_string(azurite.connection_string, name).get_queue_properties()


def failing(error: AzureError) -> StorageQueues:
    """Queues that answer each call with this error."""

    def fail(*_args: object, **_options: object) -> None:
        raise error

    client: Any = SimpleNamespace(send_message=fail, create_queue=fail)
    return StorageQueues(lambda _name: client, {queue: queue.value for queue in Queue})


@pytest.mark.parametrize("kind", [ClientAuthenticationError, CredentialUnavailableError])
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("No managed identity endpoint found.", LaterError("There is no token for Azure yet: No managed identity")),
        ("Please run 'az login' to set up an account.", NeverError("There is no token for Azure: Please run")),
    ],
)
def test_an_identity_that_gets_no_token_is_said_in_words(
    kind: type[ClientAuthenticationError], message: str, expected: LaterError | NeverError
) -> None:
    for ask in (lambda queues: queues.send(Queue.EMAIL, "{}"), StorageQueues.check):
        with pytest.raises(type(expected), match=expected.reason):
            ask(failing(kind(message)))


def test_more_than_a_message_holds_is_for_never_and_says_the_service_s_reason(
    azurite: Azurite, names: dict[Queue, str]
) -> None:
    with pytest.raises(NeverError, match=r"refuse a message.*: 413 RequestBodyTooLarge"):
        StorageQueues(by_connection_string(azurite.connection_string), names).send(Queue.UPDATE, "x" * 70_000)


@pytest.mark.parametrize("status", [400, 413])
def test_a_request_that_can_t_be_right_is_for_never(status: int) -> None:
    error = HttpResponseError("no")
    error.status_code, error.error_code = status, "InvalidXmlDocument"  # type: ignore[attr-defined]  # the queues' have one
    with pytest.raises(NeverError, match=f"{status} InvalidXmlDocument"):
        failing(error).send(Queue.EMAIL, "{}")


@pytest.mark.parametrize("status", [404, 408, 409, 412, 429, 500, 503])
def test_whatever_else_the_queues_answer_is_for_later(status: int) -> None:
    error = HttpResponseError("not now")
    error.status_code = status
    with pytest.raises(LaterError, match=f"answered {status}$"):
        failing(error).send(Queue.EMAIL, "{}")


@pytest.mark.parametrize(
    ("code", "is_well"), [("QueueAlreadyExists", True), ("QueueBeingDeleted", False), (None, False)]
)
def test_a_queue_that_is_being_deleted_is_not_called_well(code: str | None, is_well: bool) -> None:
    error = ResourceExistsError(code)
    error.status_code, error.error_code = 409, code
    if is_well:
        failing(error).check()
    else:
        with pytest.raises(LaterError, match="answered 409"):
            failing(error).check()
