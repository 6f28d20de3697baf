"""When a night begins it looks whether sealed access keys open, before anybody is asked by them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from shared.messages import Queue
from shared.ports.credentials import Credentials
from shared.ports.mails import NewMail, Topic
from tests.contracts.test_credentials import FIRST, KEYS, SECOND, WRONG_KEY, accounts, kept
from tests.pipeline.conftest import Chain, entry


def checked(chain: Chain, credentials: Credentials | None) -> None:
    """The chain, whose nights look at these; None: whoever asks for any fails."""
    chain.parts["credentials"] = credentials
    chain.configure()


def told(chain: Chain) -> list[NewMail]:
    return chain.mails.made(Topic.COSTS_FAILED, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_key_that_is_another_one_is_told_once_a_day_and_the_night_goes_on(chain: Chain) -> None:
    chain.load(entry(11))
    (one,) = accounts(chain.database, "one")
    kept(chain.database, a=FIRST).keep(one, KEYS, chain.clock())
    checked(chain, kept(chain.database, a=SECOND))
    chain.tonight()
    chain.tonight()
    sent = [(queue, json.loads(text)) for queue, text, _ in chain.queues.sent]
    assert [queue for queue, _ in sent][:2] == [Queue.EMAIL, Queue.UPDATE]
    assert {message.get("CloudAccountId") for queue, message in sent if queue == Queue.UPDATE} >= {one}
    (mail,) = told(chain)
    assert (mail.context["subject"], mail.context["lines"]) == (
        "Access keys of cloud accounts can't be opened",
        [WRONG_KEY],
    )
    chain.clock.forward(hours=24)
    chain.tonight()
    assert len(told(chain)) == 2


def test_keys_that_open_are_not_spoken_of(chain: Chain) -> None:
    chain.load(entry(11))
    (one,) = accounts(chain.database, "one")
    kept(chain.database, a=FIRST).keep(one, KEYS, chain.clock())
    checked(chain, kept(chain.database, a=FIRST))
    chain.tonight()
    assert told(chain) == []


def test_where_no_account_may_have_any_nothing_is_loaded_that_opens_them(chain: Chain) -> None:
    chain.load(entry(11))
    checked(chain, None)
    chain.tonight()
    assert told(chain) == []
    assert chain.queues.sent
