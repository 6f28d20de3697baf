"""PipelineWatchdog: picks up what got stuck, reports a night that did not finish."""

from __future__ import annotations

import json
import uuid
from datetime import date, timedelta

import pytest

from shared.domain.locks import LockMode
from shared.messages import EmailMessage, Queue, UpdateMessage, to_json
from shared.pipeline.watch import LATE_AFTER
from shared.ports.azure import ResourceGroup
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import NewMail, Topic
from shared.ports.runs import RunTrigger
from tests.pipeline.conftest import APRIL, SUBSCRIPTION, Chain, entry, only
from tests.subjects import short

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


def test_the_late_report_names_the_projects_and_says_what_their_figures_lack(chain: Chain) -> None:
    chain.load(*(entry(number, rule=APRIL) for number in range(11, 16)))
    chain.spend("5", TODAY)
    for month in (4, 5, 8, 9, 10):
        chain.spend("5", date(2026, month, 3))
    chain.costs.fails = lambda query: NeverError("Azure says no (400)") if query.window.start.month == 6 else None
    chain.night()
    assert f"subscription {SUBSCRIPTION} (P11, P12, P13 and 2 more): June" in chain.mailer.sent[-1].text
    chain.mailer.sent.clear()
    chain.clock.forward(hours=5)
    chain.look()
    chain.drain()
    (mail,) = chain.mailer.sent
    figures = "figures of P11, P12, P13 and 2 more: "
    assert f"subscription {SUBSCRIPTION} (P11, P12, P13 and 2 more): failed (June" in mail.text
    assert f"{figures}June 2026 of {SUBSCRIPTION} could not be read: Azure says no (400)" in mail.text
    assert f"{figures}July 2026 of {SUBSCRIPTION} came without any charge, which is not believed yet" in mail.text


def test_the_late_report_says_what_to_do_of_a_night_that_broke_off_before_it_was_planned(chain: Chain) -> None:
    chain.load(entry())
    chain.runs.open_run("night-2026-11-20", RunTrigger.TIMER, chain.clock())
    chain.clock.forward(hours=5)
    chain.look()
    chain.drain()
    (mail,) = chain.mailer.sent
    assert "none was planned; `python -m shared.cli run`" in mail.text


# --- paced --------------------------------------------------------------------------------------------------


def subscriptions(chain: Chain, count: int) -> None:
    chain.load(*(entry(number, subscription=str(uuid.UUID(int=number))) for number in range(1, count + 1)))


def test_what_is_queued_again_after_a_standstill_keeps_the_minute_s_share(chain: Chain) -> None:
    subscriptions(chain, 100)
    chain.tonight()
    chain.queues.take()
    chain.clock.forward(hours=1)
    assert len(only(UpdateMessage, chain.look())) == 100
    delays = [delay for queue, _, delay in chain.queues.take() if queue is Queue.UPDATE]
    minute = timedelta(minutes=1)
    assert max(2 * sum(first <= delay < first + minute for delay in delays) for first in delays) <= 50
    chain.clock.forward(minutes=40)
    assert chain.look() == [], "each has its turn, and is not stuck before that"


def asked_in_a_minute(chain: Chain, minutes: int) -> list[int]:
    """Works the queues off as a host does, minute by minute; how many subscriptions were asked in each of them."""
    asked, waiting = [], [(chain.clock(), *sent) for sent in chain.queues.take()]
    for _ in range(minutes):
        before = len(chain.costs.queries)
        for _ in range(60):
            waiting += [(chain.clock(), *sent) for sent in chain.queues.take()]
            due = [each for each in waiting if each[0] + each[3] <= chain.clock()]
            waiting = [each for each in waiting if each not in due]
            for _, queue, text, _ in due:
                chain.work(queue, text)
            chain.clock.forward(seconds=1)
        asked.append((len(chain.costs.queries) - before) // 2)
    assert not waiting
    return asked


@pytest.mark.parametrize("watched_first", [False, True])
def test_after_a_standstill_what_waits_on_the_queue_keeps_the_minute_s_share_too(
    chain: Chain, watched_first: bool
) -> None:
    """All of it can be taken at once; each message is given a new turn, and of two copies only the first asks."""
    subscriptions(chain, 60)
    chain.tonight()
    waited = chain.queues.take()
    chain.clock.forward(minutes=55)
    if watched_first:
        chain.look()
    chain.queues.sent += [(queue, text, timedelta(0)) for queue, text, _ in waited]
    if not watched_first:
        chain.work(*chain.queues.take()[0][:2])
        chain.queues.sent += [(queue, text, timedelta(0)) for queue, text, _ in waited]
        chain.look()
    asked = asked_in_a_minute(chain, 6)
    assert sum(asked) == 60 - (not watched_first)
    assert max(asked) <= 25
    assert chain.runs.recent_runs(1)[0].state == "done"


def test_a_single_project_that_got_stuck_is_queued_again(chain: Chain) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: LaterError("Azure is unwell (503)")
    chain.work(Queue.UPDATE, '{"ProjectId": 11}')
    chain.queues.take()
    chain.clock.forward(hours=1)
    (message,) = only(UpdateMessage, chain.look())
    assert message.project_id == 11


def test_a_paced_run_is_not_late_while_its_plan_says_that_it_goes_on(chain: Chain) -> None:
    subscriptions(chain, 1500)
    chain.tonight()
    # 3,000 units at 500 an hour: the last go in the sixth.
    chain.clock.forward(hours=9)
    assert chain.runs.late_runs(chain.clock() - LATE_AFTER) == []
    chain.clock.forward(minutes=15)
    (late,) = chain.runs.late_runs(chain.clock() - LATE_AFTER)
    assert late.planned_until - late.started_at > timedelta(hours=5)


# --- nights that never began ---------------------------------------------------------------------------------


def told(chain: Chain) -> list[str]:
    """The mails that a few rounds of the watchdog lead to."""
    chain.mailer.sent.clear()
    for _ in range(3):
        chain.look()
        chain.drain()
        chain.clock.forward(minutes=15)
    return [mail.text for mail in chain.mailer.sent]


def test_operators_are_told_of_the_first_night_that_never_began(chain: Chain) -> None:
    chain.load(entry())
    chain.night()
    chain.clock.forward(hours=27)
    assert told(chain) == [], "it may still begin"
    chain.clock.forward(minutes=15)
    (text,) = told(chain)
    assert chain.mailer.sent[0].to == ("ops@example.com",)
    assert short(chain.mailer.sent[0].subject) == "There was no run last night"
    assert "should have begun on 2026-11-21 at 02:00 UTC" in text
    assert "The last one began on 2026-11-20 at 02:00 UTC" in text
    assert told(chain) == [], "once a day"
    chain.clock.forward(days=1)
    assert len(told(chain)) == 1, "and again the next day"


def test_operators_are_told_on_a_fresh_installation_whose_timer_never_fired(chain: Chain) -> None:
    chain.load(entry())
    chain.clock.forward(hours=27)
    assert told(chain) == []
    chain.clock.forward(hours=1)
    (text,) = told(chain)
    assert "should have begun on 2026-11-21 at 02:00 UTC, and none has. There has been none yet" in text


def test_a_fresh_installation_misses_no_night_that_was_before_it(chain: Chain) -> None:
    chain.clock.forward(hours=8)
    assert told(chain) == []
    chain.load(entry())
    assert told(chain) == []


def test_runs_by_hand_are_no_nights(chain: Chain) -> None:
    chain.load(entry())
    chain.night()
    chain.clock.forward(days=1)
    chain.run_now()
    chain.drain()
    chain.clock.forward(hours=4)
    assert len(told(chain)) == 1


def test_a_night_that_begins_late_is_not_missed_any_more(chain: Chain) -> None:
    chain.load(entry())
    chain.night()
    chain.clock.forward(days=1, hours=3)
    chain.night()
    chain.clock.forward(hours=10)
    assert told(chain) == []


def test_days_on_which_the_schedule_has_no_night_are_not_missed(chain: Chain) -> None:
    chain.configure(schedule_usage="0 0 2 * * fri")
    chain.load(entry())
    chain.night()
    chain.clock.forward(days=6)
    assert told(chain) == []
    chain.clock.forward(days=1, hours=4)
    (text,) = told(chain)
    assert "2026-11-27 at 02:00 UTC" in text


def test_a_night_of_several_a_day_that_did_not_begin_is_missed(chain: Chain) -> None:
    chain.configure(schedule_usage="0 0 2,14 * * *")
    chain.load(entry())
    chain.night()
    chain.clock.forward(hours=16)
    (text,) = told(chain)
    assert "2026-11-20 at 14:00 UTC" in text


def test_a_changed_schedule_misses_nothing_that_was_before_the_change(chain: Chain) -> None:
    chain.load(entry())
    chain.night()
    assert told(chain) == []
    chain.clock.forward(hours=11)
    chain.configure(schedule_usage="0 0 9 * * *")
    assert told(chain) == []
    chain.clock.forward(days=1)
    (text,) = told(chain)
    assert "2026-11-21 at 09:00 UTC" in text


def test_a_night_whose_mails_the_provider_does_not_take_is_told_of_with_its_words_once_it_does(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("600", TODAY)
    chain.mailer.fails = lambda _mail: LaterError("SendGrid refuses us (401): Maximum credits exceeded")
    chain.tonight()
    chain.work_off(hours=5)
    chain.look()
    chain.work_off(hours=1)
    (view,) = chain.runs.recent_runs(1)
    assert (view.state, view.is_complete) == ("done", False)
    chain.mailer.fails = lambda _mail: None
    chain.work_off(hours=1)
    (notice,) = [mail for mail in chain.mailer.sent if short(mail.subject) == "night-2026-11-20 is not complete"]
    assert "1 mail(s) not sent: SendGrid refuses us (401): Maximum credits exceeded" in notice.text
    (view,) = chain.runs.recent_runs(1)
    assert view.is_complete


# --- dead letters ---


def told_of_letters(chain: Chain) -> list[tuple[str, list[str]]]:
    """Subject and lines of each mail on new dead letters that the operators have."""
    found = [mail for mail in map(chain.mails.get, range(1, 20)) if mail and mail.mail.key.startswith("operators/dead")]
    return [(mail.mail.context["subject"], mail.mail.context["lines"]) for mail in found]


def test_operators_get_one_mail_a_day_about_new_dead_letters(chain: Chain) -> None:
    chain.work(Queue.NOTIFICATION, '{"ProjectId": 99}')
    chain.work(Queue.UPDATE, "no json")
    assert len(only(EmailMessage, chain.look())) == 1
    ((subject, lines),) = told_of_letters(chain)
    assert subject == "2 messages failed for good"
    assert lines[0].startswith("1, project-usage-notification: ")
    chain.work(Queue.UPDATE, "no json either")
    assert chain.look() == []
    for _ in range(2):
        chain.clock.forward(days=1)
        chain.look()
    assert [subject for subject, _ in told_of_letters(chain)] == [
        "2 messages failed for good",
        "1 message failed for good",
    ]


def test_the_mail_on_dead_letters_names_the_projects_that_they_are_about(chain: Chain) -> None:
    chain.load(entry(active=False), entry(12, contacts=()))
    mail = NewMail("m", "notice", ("anna@example.com",), {}, topic=Topic.ALERT, project_id=12)
    mail_id = chain.mails.add(mail, chain.clock())
    chain.work(Queue.UPDATE, '{"ProjectId": 11}')
    chain.letters.record(Queue.LOCK, '{"ProjectId": 12, "Action": "lock"}', "no role", "1", chain.clock())
    chain.letters.record(Queue.EMAIL, f'{{"EmailId": {mail_id}}}', "spam", "2", chain.clock())
    chain.letters.record(Queue.NOTIFICATION, '{"ProjectIds": [12, 11]}', "too much", "3", chain.clock())
    chain.letters.record(Queue.EMAIL, '{"EmailId": 999}', "no such mail", "4", chain.clock())
    chain.look()
    ((_, lines),) = told_of_letters(chain)
    assert [line.partition(":")[0] for line in lines] == [
        "1, project-usage-update (P11)",
        "2, project-lock (P12)",
        "3, email-notification (P12)",
        "4, project-usage-notification (P11, P12)",
        "5, email-notification",
    ]


def test_a_late_night_names_the_projects_that_it_has_not_compared(chain: Chain) -> None:
    chain.load(entry(), entry(12))
    chain.spend("600", TODAY)
    chain.tonight()
    ((queue, text, _),) = [each for each in chain.queues.take() if each[0] is Queue.UPDATE]
    chain.work(queue, text)
    chain.queues.take()
    chain.clock.forward(hours=5)
    chain.look()
    chain.drain()
    (notice,) = [mail for mail in chain.mailer.sent if short(mail.subject) == "night-2026-11-20 is not complete"]
    assert "P11, P12: new costs were not compared with the budget yet" in notice.text


def test_what_was_discarded_or_replayed_is_not_told(chain: Chain) -> None:
    for body in ("no json", "nor this"):
        chain.work(Queue.UPDATE, body)
    chain.letters.discard(1, "ann", "a drill", chain.clock())
    chain.letters.mark_replayed(2, chain.clock())
    assert chain.look() == []
