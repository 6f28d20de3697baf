"""What the host can't hand to the functions of the `-poison` queues: buried by the watchdog, and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.messages import Queue
from shared.pipeline.left_over import UNREAD, WAITS, LeftOver
from shared.ports.errors import LaterError
from tests.pipeline.conftest import Chain, entry

UNREADABLE = {"ProjectId": 11, "InsertionTime": "soon"}


def bury(chain: Chain, pause: Callable[[float], None]) -> list[Queue]:
    return LeftOver(chain.app.chain, pause, chain.clock).bury()


class Pauses:
    """Counts them; what is hidden can be seen after so many."""

    def __init__(self, chain: Chain, seen_after: int = 0) -> None:
        self.chain, self.seen_after, self.count = chain, seen_after, 0

    def __call__(self, seconds: float) -> None:
        self.count += 1
        self.chain.clock.forward(seconds=seconds)
        if self.count == self.seen_after:
            self.chain.queues.poisoned = [(queue, text, timedelta(0)) for queue, text, _ in self.chain.queues.poisoned]


def leave(chain: Chain, queue: Queue, body: object) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    chain.queues.put_back_poisoned(queue, text, timedelta(minutes=10))


def test_where_nothing_is_left_nothing_is_waited_for(chain: Chain) -> None:
    pauses = Pauses(chain)
    bury(chain, pauses)
    assert (pauses.count, chain.queues.sent) == (0, [])


def test_what_the_host_can_not_hand_over_is_buried_once_it_is_seen_and_told(chain: Chain) -> None:
    chain.load(entry(11, "1000"))
    leave(chain, Queue.UPDATE, UNREADABLE)
    bury(chain, Pauses(chain, 3))
    chain.drain()
    (letter,) = chain.letters.letters()
    assert (letter.queue, letter.reason) == (Queue.UPDATE.value, UNREAD)
    assert chain.subjects() == ["A message failed for good"]
    assert chain.queues.poisoned == []


def test_what_was_buried_so_can_be_replayed(chain: Chain) -> None:
    chain.load(entry(11, "1000"))
    leave(chain, Queue.UPDATE, UNREADABLE)
    bury(chain, Pauses(chain, 1))
    (letter,) = chain.letters.letters()
    chain.dead_letter_service.replay(letter.id)
    (sent,) = [text for queue, text, _ in chain.queues.sent if queue is Queue.UPDATE]
    assert "InsertionTime" not in sent
    chain.drain()
    assert chain.costs.queries


@pytest.mark.parametrize("body", ["rubbish", {"InsertionTime": "soon"}])
def test_what_is_no_message_either_is_kept_with_what_would_be_right(chain: Chain, body: object) -> None:
    leave(chain, Queue.EMAIL, body)
    bury(chain, Pauses(chain, 1))
    (letter,) = chain.letters.letters()
    assert letter.reason != UNREAD and len(letter.reason) > 20


def test_what_nobody_gets_hold_of_is_told_once_a_day(chain: Chain) -> None:
    leave(chain, Queue.LOCK, UNREADABLE)
    for _ in range(2):
        begun = chain.clock()
        left = bury(chain, Pauses(chain))
        assert left == [Queue.LOCK]
        assert chain.clock() - begun == WAITS
        chain.send(chain.app.watchdog.left_over(left))
        chain.drain()
    assert chain.subjects() == ["Messages that can't be read"]
    assert "project-lock-poison" in chain.mailer.sent[0].text


def test_a_storage_that_is_slow_makes_no_round_longer(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host kills what takes ten minutes, and the rest of the round with it."""
    leave(chain, Queue.LOCK, UNREADABLE)
    take = chain.queues.take_poisoned

    def slowly(queue: Queue, each: Callable[[str, str], None]) -> None:
        chain.clock.forward(seconds=20)
        take(queue, each)

    monkeypatch.setattr(chain.queues, "take_poisoned", slowly)
    begun = chain.clock()
    assert bury(chain, Pauses(chain)) == [Queue.LOCK]
    assert chain.clock() - begun < WAITS + timedelta(seconds=30)


def test_what_its_function_has_buried_meanwhile_is_not_waited_for(chain: Chain) -> None:
    leave(chain, Queue.LOCK, UNREADABLE)
    bury(chain, lambda _seconds: chain.queues.poisoned.clear())
    assert (chain.queues.sent, chain.letters.letters()) == ([], [])


def test_queues_that_are_away_cost_the_watchdog_nothing_else(chain: Chain, caplog: pytest.LogCaptureFixture) -> None:
    chain.queues.fails = lambda: LaterError("the queues are away")
    bury(chain, Pauses(chain))
    assert "poison_not_looked_at" in caplog.text
