"""ProjectUsageNotifier: compares usage with the budget, makes the alerts."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal

import pytest

from shared.domain.budgets import BudgetTerms
from shared.messages import Queue
from shared.pipeline.notify import dearest
from tests.pipeline.conftest import NOVEMBER, SUBSCRIPTION, Chain, entry

TODAY = date(2026, 11, 20)


def use(chain: Chain, percent: str, project_id: int = 11) -> None:
    """The project (budget 1000) has used this much."""
    chain.spend(str(Decimal(percent) * 10), date(2026, 11, 2), f"rg-{project_id}")


def next_night(chain: Chain) -> list[str]:
    """Another night; the subjects of its mails."""
    before = len(chain.mailer.sent)
    chain.clock.forward(days=1)
    chain.night()
    return chain.subjects()[before:]


def thresholds_of(subjects: list[str]) -> list[str]:
    return [word for subject in subjects for word in ("25 %", "50 %", "80 %", "100 %") if f" {word}" in f" {subject}"]


def revise(chain: Chain, amount: str) -> None:
    chain.projects.revise_budget(11, BudgetTerms(Decimal(amount), "CAD", NOVEMBER), "tester", "test", chain.clock())


def test_reaching_a_threshold_exactly_sends_one_mail_with_its_figures(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "80")
    chain.night()
    (mail,) = chain.mailer.sent
    assert mail.to == ("anna@example.com",)
    assert mail.bcc == ("audit@example.com",)
    assert "P11" in mail.subject
    assert "80 %" in mail.subject
    for figure in ("800.00", "1,000.00", "CAD", "Storage", "https://portal/P11"):
        assert figure in mail.text
        assert figure in mail.html


def test_just_below_a_threshold_sends_nothing(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "24.99999999999")
    chain.night()
    assert chain.mailer.sent == []


def test_several_thresholds_at_once_make_one_mail_for_the_highest(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "10")
    chain.night()
    use(chain, "85")
    assert thresholds_of(next_night(chain)) == ["80 %"]
    use(chain, "87")
    assert next_night(chain) == []


def test_usage_that_falls_and_comes_back_sends_nothing_more(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "55")
    chain.night()
    use(chain, "40")
    assert next_night(chain) == []
    use(chain, "60")
    assert next_night(chain) == []


def test_a_raised_budget_arms_the_thresholds_above_the_new_percent_again(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "85")
    chain.night()
    revise(chain, "2000")
    assert next_night(chain) == []
    use(chain, "110")
    assert thresholds_of(next_night(chain)) == ["50 %"]
    use(chain, "170")
    assert thresholds_of(next_night(chain)) == ["80 %"]


def test_a_lowered_budget_sends_one_mail_for_the_highest_that_was_not_told(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "42")
    chain.night()
    revise(chain, "500")
    assert thresholds_of(next_night(chain)) == ["80 %"]


def test_a_new_period_arms_everything(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "30")
    chain.night()
    chain.clock.forward(days=11)
    chain.spend("300", date(2026, 12, 1))
    assert thresholds_of(next_night(chain)) == ["25 %"]


def test_credits_that_make_usage_negative_send_nothing(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "-500")
    chain.night()
    assert chain.mailer.sent == []


def test_a_threshold_added_below_the_present_percent_is_not_mailed(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "60")
    chain.night()
    chain.thresholds = (25, 40, 50, 70, 80, 100)
    assert next_night(chain) == []
    use(chain, "75")
    (subject,) = next_night(chain)
    assert "70 %" in subject


def test_the_same_message_again_sends_no_second_mail(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "50")
    chain.night()
    for _ in range(3):
        chain.work(Queue.NOTIFICATION, '{"ProjectId": 11}')
        chain.drain()
    assert len(chain.mailer.sent) == 1


def test_a_crash_before_the_mail_is_queued_loses_nothing(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "50")
    chain.scheduler.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    lost = chain.queues.take()
    assert [name for name, _, _ in lost] == [Queue.EMAIL]
    chain.work(queue, text)
    chain.drain()
    assert len(chain.mailer.sent) == 1


def test_operators_are_told_once_of_a_project_without_a_budget(chain: Chain) -> None:
    chain.load(entry(11, None), entry(12, "0"))
    chain.night()
    assert {mail.to for mail in chain.mailer.sent} == {("ops@example.com",)}
    assert len(chain.mailer.sent) == 2
    assert next_night(chain) == []


def test_two_currencies_are_never_added_and_operators_are_told_once(chain: Chain) -> None:
    chain.load(entry(currency="CAD"))
    chain.costs.currency = "USD"
    use(chain, "90")
    chain.night()
    (mail,) = chain.mailer.sent
    assert mail.to == ("ops@example.com",)
    assert "charged in USD, and its budget is in CAD" in mail.text
    assert next_night(chain) == []
    (view,) = chain.projects.list_projects(TODAY)
    assert view.problem is not None
    assert view.alerts == ()


def test_unknown_projects_of_a_set_become_dead_letters_and_the_others_are_checked(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "50")
    chain.work(Queue.UPDATE, json.dumps({"SubscriptionId": SUBSCRIPTION}))
    chain.queues.take()
    chain.work(Queue.NOTIFICATION, '{"ProjectIds": [11, 98, 99]}')
    chain.drain()
    assert len(chain.mailer.sent) == 1
    assert [json.loads(letter.body) for letter in chain.letters.list()] == [{"ProjectId": 98}, {"ProjectId": 99}]


def test_one_broken_project_of_a_set_fails_alone(chain: Chain) -> None:
    # 500 million and twice that again: more than the embedded database can add up.
    chain.load(entry(11), entry(12), entry(13))
    use(chain, "50")
    use(chain, "50", 13)
    for day in (2, 3, 4):
        chain.spend("500000000", date(2026, 11, day), "rg-12")
    chain.night()
    assert sorted(mail.to for mail in chain.mailer.sent) == [
        ("anna@example.com",),
        ("anna@example.com",),
        ("ops@example.com",),
    ]
    (letter,) = chain.letters.list()
    assert json.loads(letter.body) == {"ProjectId": 12}
    assert "too large to be held exactly" in letter.reason


def test_a_check_waits_where_the_database_is_away(chain: Chain) -> None:
    from dataclasses import replace

    from shared.messages import parse_notification
    from shared.ports import LaterError

    class Away:
        def check(self, *_args: object) -> None:
            raise LaterError("the database can't be used now")

    away = replace(chain.notifier, checks=Away())
    away.notify(parse_notification('{"ProjectIds": [11, 12]}'), "m1")
    ((queue, text, delay),) = chain.queues.take()
    assert (queue, delay) == (Queue.NOTIFICATION, timedelta(seconds=30))
    assert json.loads(text)["ProjectIds"] == [11, 12]


def test_the_dearest_services_are_five_and_cost_something() -> None:
    costs = {"A": "3", "B": "9", "C": "-1", "D": "0", "E": "4", "F": "1", "G": "2", "H": "0.5"}
    assert [name for name, _ in dearest({name: Decimal(cost) for name, cost in costs.items()})] == list("BEAGF")


@pytest.mark.parametrize("projects", [1, 200])
def test_a_message_for_many_projects_sends_a_mail_for_each_that_reached_a_threshold(
    chain: Chain, projects: int
) -> None:
    chain.load(*(entry(number) for number in range(1, projects + 1)))
    for number in range(1, projects + 1):
        use(chain, "26" if number % 2 else "24", number)
    chain.night()
    assert len(chain.mailer.sent) == (projects + 1) // 2
