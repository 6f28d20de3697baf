"""Messages by hand may name a project by its acronym."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from shared.messages import LockMessage, NotificationMessage, Queue, UpdateMessage
from shared.ports.errors import LaterError
from tests.pipeline.conftest import Chain, entry, only


@pytest.mark.parametrize("named", ["P11", " p11 "])
def test_an_update_message_reads_the_project_that_it_names(chain: Chain, named: str) -> None:
    chain.load(entry(11), entry(12))
    chain.spend("820", date(2026, 11, 19))
    chain.work(Queue.UPDATE, json.dumps({"ProjectAcronym": named, "ResourceGroup": "rg-11"}))
    chain.drain()
    assert {query.resource_groups for query in chain.costs.queries} == {("rg-11",)}
    assert (chain.spent(), len(chain.subjects())) == (820, 1)


def test_a_notification_message_checks_the_project_that_it_names(chain: Chain) -> None:
    chain.load(entry(11), entry(12))
    chain.work(Queue.NOTIFICATION, '{"ProjectAcronym": "p12"}')
    assert chain.checks.stuck_projects(chain.clock() + timedelta(days=1)) == [11]


def test_a_lock_message_is_about_the_project_that_it_names(chain: Chain) -> None:
    chain.load(entry(11))
    chain.work(Queue.LOCK, '{"ProjectAcronym": "P11", "Action": "lock", "Reason": "by hand"}')
    assert len(chain.lock_ledger.decisions(11)) == 1


@pytest.mark.parametrize(
    ("queue", "more"), [(Queue.UPDATE, {}), (Queue.NOTIFICATION, {}), (Queue.LOCK, {"Action": "lock"})]
)
def test_an_acronym_that_nobody_has_is_a_dead_letter(chain: Chain, queue: Queue, more: dict[str, str]) -> None:
    assert chain.work(queue, json.dumps({"ProjectAcronym": "NOPE"} | more)) == []
    (letter,) = chain.letters.letters()
    assert letter.reason == "there is no project NOPE; `python -m shared.cli projects list` shows them all"


@pytest.mark.parametrize(
    ("queue", "kind", "more"),
    [
        (Queue.UPDATE, UpdateMessage, {}),
        (Queue.NOTIFICATION, NotificationMessage, {}),
        (Queue.LOCK, LockMessage, {"Action": "lock"}),
    ],
)
def test_while_the_database_is_away_such_a_message_waits(
    chain: Chain, queue: Queue, kind: type[UpdateMessage], more: dict[str, str]
) -> None:
    class Away:
        def find(self, _acronym: str) -> int:
            raise LaterError("the database can't be used now")

    chain.load(entry(11))
    text = json.dumps({"ProjectAcronym": "P11"} | more)
    there, chain.app.projects = chain.app.projects, Away()
    for attempt in range(3):
        (waiting,) = only(kind, chain.work(queue, text))
        ((_, text, delay),) = chain.queues.take()
        assert (waiting.project_acronym, waiting.envelope.attempt) == ("P11", attempt + 1)
        assert delay.total_seconds() == 30 * 2**attempt
    chain.app.projects = there
    chain.work(queue, text)
    assert chain.letters.letters() == []
