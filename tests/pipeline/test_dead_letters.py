"""Messages that failed for good: recorded, closed, replayed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import date, timedelta

import pytest

from shared.domain.locks import LockMode
from shared.messages import EmailMessage, NotificationMessage, Queue, UpdateMessage, parse_email
from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.deliver import CLAIM
from shared.ports.azure import ResourceGroup
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailState, NewMail, OutgoingMail, Topic
from tests.pipeline.conftest import APRIL, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry, only
from tests.subjects import short


def bury(chain: Chain, queue: Queue, text: str, origin: str = "poison-1") -> None:
    """What the host does with a message it gave up on, and everything that follows from it."""
    chain.bury(queue, text, origin)
    chain.drain()


@pytest.mark.parametrize("queue", list(Queue))
@pytest.mark.parametrize("body", ["", "not json", "[1, 2]", "\ufeff{}", "null", '{"ProjectId": "x"}', "{" * 5000])
def test_what_is_no_message_is_recorded_with_its_body_and_a_reason(chain: Chain, queue: Queue, body: str) -> None:
    chain.work(queue, body)
    (letter,) = chain.letters.letters()
    assert (letter.queue, letter.body) == (queue.value, body)
    assert len(letter.reason) > 20
    assert chain.queues.sent == []


def test_a_message_in_base64_is_taken_like_a_plain_one(chain: Chain) -> None:
    chain.load(entry())
    chain.work(Queue.UPDATE, base64.b64encode(b'{"projectid": 11}').decode())
    assert chain.letters.letters() == []
    assert len(chain.costs.queries) == 2


def test_a_poisoned_update_closes_its_scope_so_that_it_is_not_tried_for_ever(chain: Chain) -> None:
    chain.load(entry())
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.dead_letters.bury(queue, text, "poison-1")
    (run,) = chain.runs.recent_runs(1)
    assert run.state == "failed"
    chain.clock.forward(hours=2)
    assert only(UpdateMessage, chain.look()) == []
    assert [letter.body for letter in chain.letters.letters()] == [text]


def test_a_poisoned_update_that_ends_its_run_tells_what_failed_and_the_periods_turn(chain: Chain) -> None:
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION))
    chain.costs.fails = lambda _query: NeverError("Azure says no (403)")
    chain.clock.now = chain.clock.now.replace(month=12, day=1)
    chain.tonight()
    (queue, first, _), (_, last, _) = chain.queues.take()
    chain.work(queue, first)
    bury(chain, queue, last)
    (told,) = [mail for mail in chain.mailer.sent if short(mail.subject).startswith("Costs could not be read")]
    assert "Azure says no (403)" in told.text
    assert "nobody foresaw" in told.text
    assert [chain.projects.periods(each)[-1].period.start for each in (11, 12)] == [date(2026, 12, 1)] * 2


def test_a_poisoned_check_is_not_queued_again_by_the_watchdog(chain: Chain) -> None:
    chain.load(entry())
    chain.work(Queue.UPDATE, json.dumps({"SubscriptionId": SUBSCRIPTION}))
    ((queue, text, _),) = chain.queues.take()
    chain.dead_letters.bury(queue, text, "poison-1")
    chain.clock.forward(hours=2)
    assert only(NotificationMessage, chain.look()) == []
    (view,) = chain.projects.list_projects(date(2026, 11, 20))
    assert "its check failed" in str(view.problem)


def test_a_poisoned_mail_is_failed_and_can_be_replayed(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("600", date(2026, 11, 20))
    chain.work(Queue.UPDATE, json.dumps({"SubscriptionId": SUBSCRIPTION}))
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    ((queue, text, _),) = chain.queues.take()
    alert = parse_email(text)
    bury(chain, queue, text)
    chain.clock.forward(hours=2)
    assert alert not in chain.look()
    (letter,) = chain.letters.letters()
    assert chain.dead_letter_service.replay(letter.id) is None
    chain.drain()
    assert [mail.to for mail in chain.mailer.sent].count(("anna@example.com",)) == 1


def test_a_mail_that_is_still_claimed_when_its_message_is_poisoned_is_closed_once_the_claim_has_expired(
    chain: Chain,
) -> None:
    mail_id = chain.mails.add(
        NewMail("test/1", "whole", ("anna@example.com",), {"subject": "Hello", "body": "x"}, topic=Topic.OTHER),
        chain.clock(),
    )
    now = chain.clock()
    assert chain.mails.claim(mail_id, "message-1", now + CLAIM, now)
    with pytest.raises(LaterError, match="is claimed"):
        chain.dead_letters.bury(Queue.EMAIL, json.dumps({"EmailId": mail_id}), "poison-1")
    chain.clock.forward(hours=1)
    bury(chain, Queue.EMAIL, json.dumps({"EmailId": mail_id}))
    chain.clock.forward(hours=1)
    assert EmailMessage(mail_id) not in chain.look(), "it would be sent, and poisoned, for ever"
    assert len(chain.letters.letters()) == 1


def test_a_mail_at_which_the_app_broke_down_is_closed_with_its_message(chain: Chain) -> None:
    mail_id = chain.mails.add(
        NewMail("test/1", "whole", ("anna@example.com",), {"subject": "Hello", "body": "x"}, topic=Topic.OTHER),
        chain.clock(),
    )

    def break_down(_mail: OutgoingMail) -> None:
        raise RuntimeError("nobody foresaw this")

    chain.mailer.fails = break_down
    for _ in range(5):
        with pytest.raises(RuntimeError):
            chain.work(Queue.EMAIL, json.dumps({"EmailId": mail_id}), "message-1")
    chain.mailer.fails = lambda _mail: None
    bury(chain, Queue.EMAIL, json.dumps({"EmailId": mail_id}))
    stored = chain.mails.get(mail_id)
    assert stored is not None and stored.state is MailState.FAILED


def test_a_poisoned_update_of_a_night_is_read_to_its_end_when_it_is_replayed(chain: Chain) -> None:
    chain.load(entry(rule=APRIL))
    chain.spend("5", date(2026, 4, 2))
    chain.spend("7", date(2026, 11, 20))
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.dead_letters.bury(queue, text, "poison-1")
    (letter,) = chain.letters.letters()
    assert chain.dead_letter_service.replay(letter.id) is None
    chain.drain()
    assert chain.spent() == 12
    (run,) = chain.runs.recent_runs(1)
    assert run.state == "done"


def test_a_poison_message_that_comes_twice_is_recorded_once(chain: Chain) -> None:
    for _ in range(2):
        chain.dead_letters.bury(Queue.UPDATE, "rubbish", "poison-1")
    assert len(chain.letters.letters()) == 1


class Away:
    """A ledger whose database is away, or fails in a way that nobody foresaw."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> object:
        def fail(*_args: object) -> None:
            raise self.error

        return fail


def burying_by(chain: Chain, letters: DeadLetters) -> None:
    chain.app.dead_letters = letters
    chain.app.chain = replace(chain.app.chain, dead_letters=letters)


@pytest.mark.parametrize("error", [LaterError("the database is away"), RuntimeError("tables are missing")])
@pytest.mark.parametrize("away", ["ledger", "mails", "checks"])
@pytest.mark.parametrize("body", ['{"ProjectId": 11}', "rubbish"])
def test_what_can_t_be_buried_goes_back_until_it_can_and_is_kept_once(
    chain: Chain, error: Exception, away: str, body: str
) -> None:
    """The host forgets what failed there five times, within an hour."""
    if body == "rubbish" and away != "ledger":
        return
    chain.load(entry())
    well = chain.dead_letters
    burying_by(chain, replace(well, **{away: Away(error)}))
    for number in range(10):
        assert chain.bury(Queue.NOTIFICATION, body, f"poison-{number}") == []
        ((queue, text, delay),) = chain.queues.poisoned
        assert (queue, text, delay) == (Queue.NOTIFICATION, body, timedelta(minutes=10))
        chain.queues.poisoned.clear()
    assert chain.letters.letters() == []
    burying_by(chain, well)
    bury(chain, Queue.NOTIFICATION, body, "poison-10")
    assert chain.queues.poisoned == []
    assert [letter.body for letter in chain.letters.letters()] == [body]


def test_what_can_t_be_put_back_either_is_the_host_s(chain: Chain) -> None:
    burying_by(chain, replace(chain.dead_letters, ledger=Away(LaterError("the database is away"))))
    chain.queues.fails = lambda: LaterError("the queues are away")
    with pytest.raises(LaterError, match="queues are away"):
        chain.bury(Queue.UPDATE, "rubbish", "poison-1")


@pytest.mark.parametrize("buried", [False, True])
def test_of_a_set_that_a_worker_died_on_only_the_project_at_fault_is_given_up(chain: Chain, buried: bool) -> None:
    """It comes back by itself after its lease, or, where every worker dies, on the poison queue."""
    numbers = range(11, 15)
    chain.load(*(entry(number) for number in numbers))
    for number in numbers:
        chain.spend("300", date(2026, 11, 20), f"rg-{number}")
    chain.work(Queue.UPDATE, json.dumps({"SubscriptionId": SUBSCRIPTION}))
    ((queue, text, _),) = chain.queues.take()
    if buried:
        chain.bury(queue, text, "poison-1")
    else:
        chain.sent_by(lambda: chain.app.chain.take(queue, text, "id", times=2))
    singles = chain.queues.take()
    assert [json.loads(single)["ProjectId"] for _, single, _ in singles] == [*numbers]
    assert {json.loads(single)["RunId"] for _, single, _ in singles} == {json.loads(text)["RunId"]}
    bury(chain, queue, singles[0][1], "poison-2")
    for _, single, _ in singles[1:]:
        chain.sent_by(lambda single=single: chain.app.chain.take(queue, single, "id", times=2))
    chain.drain()
    assert [letter.body for letter in chain.letters.letters()] == [singles[0][1]]
    problems = {view.project.id: view.problem for view in chain.projects.list_projects(date(2026, 11, 20))}
    assert [number for number in numbers if problems[number]] == [11]
    assert len(chain.mailer.sent) == 4


def test_replaying_what_is_no_message_says_so_and_queues_nothing(chain: Chain) -> None:
    chain.work(Queue.UPDATE, "rubbish")
    (letter,) = chain.letters.letters()
    assert "can't be replayed" in str(chain.dead_letter_service.replay(letter.id))
    assert chain.queues.sent == []
    assert "There is no dead letter 999" in str(chain.dead_letter_service.replay(999))


def test_a_message_that_was_wrong_works_once_its_cause_is_mended_and_it_is_replayed(chain: Chain) -> None:
    chain.work(Queue.UPDATE, '{"ProjectId": 11, "Attempt": 7}')
    (letter,) = chain.letters.letters()
    chain.load(entry())
    chain.spend("5", date(2026, 11, 20))
    assert chain.dead_letter_service.replay(letter.id) is None
    assert json.loads(chain.queues.sent[0][1]) == {"ProjectId": 11, "Replayed": True}
    chain.drain()
    assert chain.spent() == 5


def test_operators_are_told_once_a_day_of_messages_that_failed_for_good(chain: Chain) -> None:
    chain.load(entry(1), entry(2))
    for number in (1, 2):
        chain.bury(Queue.NOTIFICATION, json.dumps({"ProjectId": number}), f"poison-{number}")
    chain.drain()
    (mail,) = chain.mailer.sent
    assert (mail.to, short(mail.subject)) == (("ops@example.com",), "A message failed for good")
    assert "A message of the queue project-usage-notification (P1) failed again and again" in mail.text


def test_a_notice_that_failed_for_good_makes_no_further_notice(chain: Chain) -> None:
    notice = chain.mails.add(
        chain.operators.message_poisoned("project-usage-update", [], date(2026, 11, 20)), chain.clock()
    )
    assert chain.bury(Queue.EMAIL, json.dumps({"EmailId": notice}), "poison-1") == []
    assert len(chain.letters.letters()) == 1


# --- locks ---------------------------------------------------------------------------------------------------

LOCK = '{"ProjectId":11,"Action":"lock","Reason":"1000 of 1000 CAD is used","Trigger":"check","RunId":"night-1"}'


def over_budget(chain: Chain) -> None:
    """Project 11 has used up its budget, its locks are enforced, and nobody has asked for one yet."""
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.load(entry())
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    chain.spend("1000", date(2026, 11, 20))
    chain.work(Queue.UPDATE, json.dumps({"SubscriptionId": SUBSCRIPTION}))
    chain.queues.take()


def locked(chain: Chain) -> bool:
    return bool(chain.azure_locks.groups[SUBSCRIPTION, "rg-11"])


def test_a_poisoned_lock_is_recorded_told_and_done_when_it_is_replayed(chain: Chain) -> None:
    over_budget(chain)
    bury(chain, Queue.LOCK, LOCK)
    assert [(mail.to, short(mail.subject)) for mail in chain.mailer.sent] == [
        (("ops@example.com",), "P11 could not be locked"),
        (("ops@example.com",), "A message failed for good"),
    ]
    assert "project-lock" in chain.mailer.sent[1].text
    (letter,) = chain.letters.letters()
    assert (letter.queue, letter.body) == ("project-lock", LOCK)
    assert not locked(chain)
    assert chain.dead_letter_service.replay(letter.id) is None
    chain.drain()
    assert locked(chain)


def test_a_lock_of_a_project_that_there_is_not_works_once_it_is_there_and_the_letter_is_replayed(chain: Chain) -> None:
    chain.work(Queue.LOCK, LOCK)
    (letter,) = chain.letters.letters()
    assert letter.reason == "there is no project 11; `python -m shared.cli projects list` shows them all"
    assert json.loads(letter.body) == json.loads(LOCK)
    assert chain.queues.sent == []
    over_budget(chain)
    assert chain.dead_letter_service.replay(letter.id) is None
    ((queue, text, _),) = chain.queues.sent
    assert queue is Queue.LOCK
    assert json.loads(text) == json.loads(LOCK) | {"Replayed": True}
    chain.drain()
    assert locked(chain)


def test_a_lock_that_is_replayed_when_the_budget_was_raised_is_looked_at_again_and_not_put_on(chain: Chain) -> None:
    over_budget(chain)
    bury(chain, Queue.LOCK, LOCK)
    chain.load(entry(amount="5000"))
    (letter,) = chain.letters.letters()
    assert chain.dead_letter_service.replay(letter.id) is None
    chain.drain()
    assert not locked(chain)


def test_a_lock_that_is_replayed_when_the_budget_was_taken_away_is_not_put_on(chain: Chain) -> None:
    """Without a budget there is no 100 % to be at, which is not the same as not knowing what was spent."""
    over_budget(chain)
    bury(chain, Queue.LOCK, LOCK)
    chain.load(entry(amount=None))
    (letter,) = chain.letters.letters()
    assert chain.dead_letter_service.replay(letter.id) is None
    chain.drain()
    assert not locked(chain)


def test_a_lock_in_base64_by_hand_is_taken_like_a_plain_one(chain: Chain) -> None:
    over_budget(chain)
    by_hand = '{"projectid": "11", "action": "LOCK", "reason": "by hand", "note": "unknown"}'
    chain.work(Queue.LOCK, base64.b64encode(by_hand.encode()).decode())
    assert chain.letters.letters() == []
    assert locked(chain)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"ProjectId": 11}, "Action is missing; write lock or unlock"),
        ({"ProjectId": 11, "Action": "open"}, "it has to be one of lock, unlock, sync"),
        ({"Action": "lock"}, "name the project"),
        ({"Action": "lock", "BudgetName": "warden-p11"}, "a BudgetName goes with its SubscriptionId"),
        ({"Action": "sync", "ProjectId": 11}, "a sync is for a subscription"),
    ],
)
def test_a_lock_that_can_t_be_right_is_recorded_with_what_would_be(
    chain: Chain, body: dict[str, object], reason: str
) -> None:
    over_budget(chain)
    chain.work(Queue.LOCK, json.dumps(body))
    (letter,) = chain.letters.letters()
    assert reason in letter.reason
    assert json.loads(letter.body) == body
    assert not locked(chain)


def test_a_message_that_is_too_full_to_be_put_back_is_kept_with_that_reason(chain: Chain) -> None:
    class Away:
        def check(self, *_args: object) -> None:
            raise LaterError("the database can't be used now")

    chain.app.notifier = replace(chain.notifier, checks=Away())
    body = f'{{"ProjectIds":[{",".join(str(1_000_000_000 + each) for each in range(4466))}]}}'
    assert chain.work(Queue.NOTIFICATION, body) == []
    (letter,) = chain.letters.letters()
    assert "too large; the limit is 48952" in letter.reason
