"""PipelineWatchdog: picks up what got stuck, reports a night that did not finish."""

from __future__ import annotations

import json
from datetime import date

from shared.domain.locks import LockMode
from shared.messages import EmailMessage, Queue, UpdateMessage, to_json
from shared.ports.azure import ResourceGroup
from shared.ports.errors import LaterError, NeverError
from shared.ports.runs import RunTrigger
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry, only

TODAY = date(2026, 11, 20)


def test_a_healthy_night_gives_it_nothing_to_do(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("900", TODAY)
    chain.night()
    chain.clock.forward(hours=5)
    assert chain.look() == []


def test_a_lost_update_message_is_sent_again(chain: Chain) -> None:
    chain.load(entry())
    chain.tonight()
    chain.queues.take()
    chain.clock.forward(minutes=40)
    assert chain.look() == [], "it may still be worked on"
    chain.clock.forward(minutes=10)
    (message,) = only(UpdateMessage, chain.look())
    assert (message.subscription_id, message.envelope.run_id) == (SUBSCRIPTION, "night-2026-11-20")
    assert chain.look() == [], "only once"
    chain.drain()
    assert chain.runs.recent_runs(1)[0].state == "done"


def test_a_run_that_was_opened_but_never_sent_is_sent(chain: Chain) -> None:
    chain.load(entry())
    chain.queues.fails = lambda: LaterError("the queues can't be reached")
    try:
        chain.tonight()
    except LaterError:
        chain.queues.fails = lambda: None
    chain.clock.forward(hours=1)
    chain.look()
    chain.drain()
    assert chain.runs.recent_runs(1)[0].state == "done"


def test_a_lost_notification_message_is_made_up_for(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("600", TODAY)
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    chain.queues.take()
    chain.clock.forward(hours=1)
    chain.look()
    chain.drain()
    assert len(chain.mailer.sent) == 1


def test_a_lost_mail_message_is_made_up_for(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("600", TODAY)
    chain.work(Queue.UPDATE, json.dumps({"SubscriptionId": SUBSCRIPTION}))
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    chain.queues.take()
    chain.clock.forward(hours=1)
    assert len(only(EmailMessage, chain.look())) == 1
    assert chain.look() == [], "only once"
    chain.drain()
    assert len(chain.mailer.sent) == 1


def test_a_lost_mail_message_of_a_lock_is_made_up_for(chain: Chain) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.load(entry())
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    chain.spend("1000", TODAY)
    chain.night()
    chain.mailer.sent.clear()
    chain.work(Queue.LOCK, '{"ProjectId": 11, "Action": "unlock", "Trigger": "operator", "By": "olga"}')
    assert [queue for queue, _, _ in chain.queues.take()] == [Queue.EMAIL]
    chain.clock.forward(hours=1)
    assert len(only(EmailMessage, chain.look())) == 1
    chain.drain()
    (mail,) = chain.mailer.sent
    assert mail.to == ("anna@example.com",)
    assert "unlocked" in mail.subject


def test_a_lost_lock_message_is_made_up_for_by_the_check_that_comes_next(chain: Chain) -> None:
    """Nothing for the watchdog: each check of a project at 100 % asks again."""
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.load(entry())
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    chain.spend("1000", TODAY)
    chain.work(Queue.UPDATE, json.dumps({"SubscriptionId": SUBSCRIPTION}))
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    lost = [queue for queue, _, _ in chain.queues.take()]
    assert Queue.LOCK in lost
    chain.clock.forward(days=1)
    chain.night()
    assert chain.azure_locks.groups[SUBSCRIPTION, "rg-11"]


def test_operators_are_told_once_of_a_night_that_is_late_with_what_is_missing_and_why(chain: Chain) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: LaterError("Azure is unwell (503)")
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    chain.queues.take()
    chain.clock.forward(hours=3, minutes=59)
    chain.look()
    assert chain.mailer.sent == []
    chain.clock.forward(minutes=2)
    (reported,) = only(EmailMessage, chain.look())
    assert only(EmailMessage, chain.look()) == []
    chain.work(Queue.EMAIL, to_json(reported))
    (mail,) = chain.mailer.sent
    assert mail.to == ("ops@example.com",)
    assert "night-2026-11-20" in mail.subject
    assert f"subscription {SUBSCRIPTION}" in mail.text
    assert "Azure is unwell (503)" in mail.text


def test_the_late_report_names_a_scope_that_failed(chain: Chain) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: NeverError("Azure says no (403)")
    chain.night()
    chain.mailer.sent.clear()
    chain.clock.forward(hours=5)
    chain.look()
    chain.drain()
    (mail,) = chain.mailer.sent
    assert "failed (Azure says no (403))" in mail.text


def test_the_late_report_says_what_to_do_of_a_night_that_broke_off_before_it_was_planned(chain: Chain) -> None:
    chain.load(entry())
    chain.runs.open_run("night-2026-11-20", RunTrigger.TIMER, chain.clock())
    chain.clock.forward(hours=5)
    chain.look()
    chain.drain()
    (mail,) = chain.mailer.sent
    assert "none was planned; `python -m shared.cli run`" in mail.text


def test_operators_are_told_once_of_a_night_that_never_began(chain: Chain) -> None:
    chain.load(entry())
    chain.night()
    chain.clock.forward(days=1)
    chain.night()
    chain.clock.forward(hours=29, minutes=59)
    chain.look()
    chain.drain()
    assert chain.mailer.sent == []
    for _ in range(3):
        chain.clock.forward(minutes=15)
        chain.look()
        chain.drain()
    (mail,) = chain.mailer.sent
    assert mail.to == ("ops@example.com",)
    assert mail.subject == "There was no run last night"
    assert "2026-11-21 at 02:00 UTC" in mail.text


def test_runs_that_are_not_nightly_are_not_missed(chain: Chain) -> None:
    chain.load(entry())
    chain.night()
    chain.clock.forward(days=7)
    chain.night()
    chain.clock.forward(days=5)
    chain.look()
    chain.drain()
    assert chain.mailer.sent == []
