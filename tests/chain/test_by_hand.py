"""Messages that a person drops onto the queues, right ones and wrong ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from azure.storage.queue import BinaryBase64EncodePolicy, TextBase64EncodePolicy

from localdev.azure_sim import AzureSimulator
from shared.messages import Queue
from tests.chain.conftest import Install
from tests.chain.installation import NIGHT, NORTH, SOUTH, book_of, contents_of, entry, spent_in, subjects, until

# How a person may come to write a message: the client's options, and the message for a project and its group.
FORMS: dict[str, tuple[dict[str, Any], str | bytes]] = {
    "plain JSON": ({}, '{"ProjectId": 11, "ResourceGroup": "fsdh_proj_die1_dev_rg"}'),
    "base64 of JSON": (
        {"message_encode_policy": TextBase64EncodePolicy()},
        '{"ProjectId": 12, "ResourceGroup": "rg-12"}',
    ),
    "bytes with a byte order mark, in base64": (
        {"message_encode_policy": BinaryBase64EncodePolicy()},
        '{"ProjectId": 13, "ResourceGroup": "rg-13"}'.encode("utf-8-sig"),
    ),
    "an acronym, in any case": ({}, '{"ProjectAcronym": "p16"}'),
    "other case, a number as text, unknown keys": ({}, '{"projectid": "14", "RESOURCEGROUP": "Rg-14", "note": 1}'),
}
DIE1 = entry(11, "400", groups=("fsdh_proj_die1_dev_rg",))


@pytest.fixture
def azure() -> Iterator[AzureSimulator]:
    north = [("FSDH_proj_DIE1_dev_rg", "10.5"), ("rg-12", "3.25"), ("rg-13", "4.5"), ("RG-14", "5.75"), ("rg-15", "9")]
    north.append(("rg-16", "2.5"))
    book = book_of(*((NORTH, group, per_day) for group, per_day in north), (SOUTH, "rg-21", "77.7"))
    with AzureSimulator(book) as simulator:
        yield simulator


def test_a_message_for_one_project_is_taken_in_every_form_in_which_a_person_can_write_it(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure)
    projects = [DIE1, *(entry(number, "1000") for number in (12, 13, 14, 16))]
    app.load(*projects, entry(15, "1000"))
    for options, body in FORMS.values():
        app.queue(Queue.UPDATE, **options).send_message(body)
    app.run("--drain")
    views = app.projects()
    for each in projects:
        assert views[each.project.acronym].spent == spent_in(azure.book, each, NIGHT.date()) > 0
    assert views["P15"].spent == 0
    assert subjects(app.outbox()) == [("p11@example.com", "[P11] 25 % of the budget reached")]
    assert app.dead_letters() == []


def test_a_message_for_one_project_asks_at_subscription_scope_for_its_groups_only(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure)
    app.load(DIE1, entry(12, "1000"))
    app.queue(Queue.UPDATE).send_message('{"ProjectId": 11}')
    app.run("--drain")
    requests = azure.record.requests()
    assert requests
    for request in requests:
        assert request.target.startswith(f"/subscriptions/{NORTH}/providers/Microsoft.CostManagement/query")
        wanted = request.body["dataset"]["filter"]["dimensions"]
        assert wanted["name"] == "ResourceGroupName"
        assert [name.lower() for name in wanted["values"]] == ["fsdh_proj_die1_dev_rg"]


WRONG = {
    '{"ProjectId": 11, "ResourceGroup": "rg-12"}': "is not project P11's; its groups are: fsdh_proj_die1_dev_rg",
    '{"ProjectId": 99}': "there is no project 99; `python -m shared.cli projects list` shows them all",
    '{"ProjectId": -11}': "it has to be a whole number from 1",
    '{"SubscriptionId": "north"}': "it has to be a subscription's id, such as 1caaa5a3",
    "update project 11 please": 'write one such as {"ProjectId": 11}',
    "[11]": 'write one such as {"ProjectId": 11}',
}


def test_messages_that_cannot_be_right_become_dead_letters_that_say_what_would_be_and_disturb_no_other(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure)
    app.load(DIE1, entry(12, "1000"), entry(21, "1400", subscription=SOUTH))
    for body in WRONG:
        app.queue(Queue.UPDATE).send_message(body)
    app.queue(Queue.NOTIFICATION).send_message('{"ProjectIds": [11, 98]}')
    app.queue(Queue.LOCK).send_message('{"ProjectId": 97, "Action": "lock", "Reason": "security"}')
    app.queue(Queue.LOCK).send_message('{"ProjectId": 11}')
    app.queue(Queue.EMAIL).send_message('{"EmailId": 4711}')
    app.queue(Queue.EMAIL, "-poison").send_message('{"EmailId": 4712}')
    app.night()
    # Not at once: two messages for the same notice would be worked on, of which one would wait for minutes.
    app.queue(Queue.LOCK, "-poison").send_message('{"ProjectId": 11, "Action": "unlock"}')
    app.run("--drain")
    reasons = {letter.body: letter.reason for letter in app.dead_letters()}
    for body, reason in WRONG.items():
        assert reason in reasons.pop(body)
    nobody_foresaw = "it failed again and again for a reason that nobody foresaw; the logs of the app have it"
    assert reasons == {
        '{"ProjectId":97,"Action":"lock","Reason":"security"}': (
            "there is no project 97; `python -m shared.cli projects list` shows them all"
        ),
        '{"ProjectId": 11}': 'Action is missing; write lock or unlock: {"ProjectId": 11, "Action": "lock"}',
        '{"ProjectId": 11, "Action": "unlock"}': nobody_foresaw,
        '{"ProjectId":98}': "there is no project 98; `python -m shared.cli projects list` shows them all",
        '{"EmailId": 4711}': "there is no mail 4711",
        '{"EmailId": 4712}': nobody_foresaw,
    }
    assert app.runs()["night-2026-11-20"].state == "done"
    assert set(app.mail_states().values()) == {"sent"}
    assert subjects(app.outbox()) == [
        ("operators@example.com", "A message failed for good"),
        ("operators@example.com", "P11 could not be unlocked"),
        ("p11@example.com", "[P11] 25 % of the budget reached"),
        ("p21@example.com", "[P21] 100 % of the budget reached"),
    ]


def test_a_dead_letter_does_its_work_when_it_is_replayed_after_its_cause_was_mended(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure)
    app.queue(Queue.UPDATE).send_message('{"ProjectId": 11}')
    app.run("--drain")
    (letter,) = app.dead_letters()
    app.load(DIE1)
    with app.app() as parts:
        assert parts.dead_letter_service.replay(letter.id) is None
        assert parts.letters.letters() == []
    app.run("--drain")
    assert app.projects()["P11"].spent == spent_in(azure.book, DIE1, NIGHT.date())
    assert subjects(app.outbox()) == [("p11@example.com", "[P11] 25 % of the budget reached")]
    assert [old.id for old in app.dead_letters()] == [letter.id]


def test_a_whole_mail_on_the_queue_is_sent_once_with_its_copies_and_its_bad_address_is_left_out(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure)
    mail = {
        "To": ["anna@example.com", "no address"],
        "Cc": ["carl@example.com"],
        "Bcc": ["bea@example.com"],
        "Subject": "Été <1>",
        "Body": "<p>Bonjour &amp; <b>merci</b></p>",
    }
    app.queue(Queue.EMAIL).send_message(json.dumps(mail))
    app.queue(Queue.EMAIL).send_message(json.dumps(mail | {"Subject": "Two\r\nBcc: eve@example.com"}))
    app.run("--drain")
    (sent,) = app.outbox()
    to, cc, bcc, _, subject, text, html = contents_of(sent)
    assert (to, cc, bcc, subject) == ("anna@example.com", "carl@example.com", "bea@example.com", "Été <1>")
    assert "<b>merci</b>" in html
    assert "Bonjour & " in text
    (letter,) = app.dead_letters()
    assert "it has to be one line of text" in letter.reason


def test_a_run_by_hand_stands_besides_the_nights_and_finds_nothing_new_to_tell(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure)
    app.load(DIE1, entry(21, "1400", subscription=SOUTH))
    app.night()
    told = subjects(app.outbox())
    with app.app() as parts:
        key, messages = parts.scheduler.now()
        sent = parts.chain.send(messages)
    app.run("--drain")
    assert sent == 2
    assert {name: run.state for name, run in app.runs().items()} == {key: "done", "night-2026-11-20": "done"}
    assert subjects(app.outbox()) == told


def test_what_the_host_can_not_hand_over_is_buried_by_the_watchdog_and_told(
    install: Install, azure: AzureSimulator
) -> None:
    """And two messages with the same id are two."""
    app = install(azure, WatchdogCRON="*/1 * * * * *")
    app.load(DIE1)
    app.queue(Queue.UPDATE, "-poison").send_message('{"ProjectId": 11, "InsertionTime": "soon"}')
    for number in (98, 99):
        app.queue(Queue.UPDATE).send_message(f'{{"ProjectId": {number}, "id": "the same"}}')
    app.host("--lease", "2")
    until(lambda: len(app.dead_letters()) == 3)
    reasons = {letter.reason.partition(";")[0] for letter in app.dead_letters()}
    assert {"there is no project 98", "there is no project 99"} < reasons
    assert sum("could not hand it to the app" in reason for reason in reasons) == 1
    until(lambda: "A message failed for good" in [subject for _, subject in subjects(app.outbox())])
