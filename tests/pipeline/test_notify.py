"""ProjectUsageNotifier: compares usage with the budget, makes the alerts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import mails
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.forecast import forecast, used_up_on, warns
from shared.domain.locks import LockMode
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, ProjectEntry
from shared.messages import LockAction, LockMessage, LockTrigger, Queue, parse_notification, to_json
from shared.pipeline.alerts import dearest
from shared.ports.azure import ResourceGroup
from shared.ports.errors import LaterError
from tests.pipeline.conftest import APRIL, NOVEMBER, SUBSCRIPTION, Chain, entry, only
from tests.subjects import short

TODAY = date(2026, 11, 20)
DAY = timedelta(days=1)
YEAR = Period(date(2026, 4, 1), date(2027, 4, 1))


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


def with_terms(project: ProjectEntry, **changes: object) -> ProjectEntry:
    """The project with other terms of its budget."""
    return replace(project, terms=replace(project.terms, **changes))


def check(chain: Chain, run_id: str | None = None) -> list[LockMessage]:
    """One check of project 11; what it asks of the lock, which nobody does."""
    body = {"ProjectId": 11} | ({"RunId": run_id} if run_id else {})
    wanted = chain.notifier.notify(parse_notification(json.dumps(body)), "a-check")
    return only(LockMessage, (each.message for each in wanted))


def read_costs(chain: Chain) -> None:
    """Reads the costs; nothing that follows from it is done."""
    chain.work(Queue.UPDATE, json.dumps({"SubscriptionId": SUBSCRIPTION}))
    chain.queues.take()


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
    chain.configure(thresholds=(25, 40, 50, 70, 80, 100))
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
    chain.tonight()
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
    chain.costs.currency_of = lambda _day: "USD"
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
    assert [json.loads(letter.body) for letter in chain.letters.letters()] == [{"ProjectId": 98}, {"ProjectId": 99}]


def test_one_broken_project_of_a_set_fails_alone(fresh_database: Callable[[], Database]) -> None:
    chain = Chain(fresh_database())
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
    (letter,) = chain.letters.letters()
    assert json.loads(letter.body) == {"ProjectId": 12}
    assert "too large to be held exactly" in letter.reason
    (notice,) = [mail for mail in chain.mailer.sent if mail.to == ("ops@example.com",)]
    assert "  - P12 (id 12)\n" in notice.text


def test_a_check_waits_where_the_database_is_away(chain: Chain) -> None:
    class Away:
        def check(self, *_args: object) -> None:
            raise LaterError("the database can't be used now")

    away = replace(chain.notifier, checks=Away())
    chain.send(away.notify(parse_notification('{"ProjectIds": [11, 12]}'), "m1"))
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


# --- a budget's own thresholds -------------------------------------------------------------------------------


def test_a_budget_with_thresholds_of_its_own_is_alerted_at_those_and_at_none_of_the_settings(chain: Chain) -> None:
    chain.load(with_terms(entry(), thresholds=(60, 90)), entry(12))
    for project_id in (11, 12):
        use(chain, "55", project_id)
    chain.night()
    assert thresholds_of(chain.subjects()) == ["50 %"], "only the other project's, which has none of its own"
    use(chain, "85")
    (subject,) = next_night(chain)
    assert "60 %" in subject


def test_a_revision_to_other_thresholds_mails_none_that_lies_below_what_was_told(chain: Chain) -> None:
    chain.load(entry())
    use(chain, "55")
    chain.night()
    chain.load(with_terms(entry(), thresholds=(40, 70)))
    assert next_night(chain) == []
    use(chain, "75")
    (subject,) = next_night(chain)
    assert "70 %" in subject


def test_a_copy_goes_to_those_who_watch_from_a_percent_on_for_a_budget_s_own_thresholds_too(chain: Chain) -> None:
    chain.load(with_terms(entry(), thresholds=(79, 81)))
    use(chain, "79")
    chain.night()
    use(chain, "81")
    next_night(chain)
    assert [mail.bcc for mail in chain.mailer.sent] == [(), ("audit@example.com",)]


# --- the early warning ---------------------------------------------------------------------------------------


def warnings(chain: Chain) -> list[str]:
    """The keys of the early warnings that were written, in order."""
    keys = select(mails.c.key).where(mails.c.key.startswith("warning/")).order_by(mails.c.id)
    return list(chain.database.read(lambda connection: connection.scalars(keys).all()))


def live(chain: Chain, nights: int, cost: Callable[[int], str | int]) -> Iterator[date]:
    """So many nights, each with the costs of the day before (the how-manieth from the beginning, 0 first)."""
    for number in range(nights):
        today = chain.clock.now.date()
        chain.spend(str(cost(number)), today - DAY)
        chain.night()
        yield today
        chain.clock.forward(days=1)


def from_april(chain: Chain, amount: str) -> None:
    """Project 11 with a budget for the year from April, on the night after its first day, and no alerts."""
    chain.configure(thresholds=(1000,))
    chain.clock.now = datetime(2026, 4, 2, 2, tzinfo=UTC)
    chain.load(entry(amount=amount, rule=APRIL))


def test_an_early_warning_says_when_the_budget_will_be_used_up_and_is_sent_with_14_days_of_data(chain: Chain) -> None:
    from_april(chain, "36500")
    sent = {today: len(warnings(chain)) for today in live(chain, 20, lambda _: 200)}
    assert [today for today, count in sent.items() if count] == [date(2026, 4, day) for day in range(16, 22)]
    assert warnings(chain) == ["warning/11/1/2026-04-01"]
    (mail,) = chain.mailer.sent
    assert (mail.to, mail.bcc) == (("anna@example.com",), ())
    # 36500 at 200 a day are 182 days and a half, from 1 April on.
    for figure in ("30 September 2026", "36,500.00", "CAD 73,000", "Storage", "CAD", "https://portal/P11"):
        assert figure in mail.text.replace("\xa0", " "), mail.text
    assert "P11" in mail.subject


@pytest.mark.slow
def test_a_forecast_that_wobbles_around_the_line_for_weeks_warns_once(chain: Chain) -> None:
    from_april(chain, "36550")
    by_day: dict[date, Decimal] = {}
    would_warn = []
    for today in live(chain, 120, lambda number: 80 + 40 * ((number // 7) % 2)):
        by_day[today - DAY] = Decimal(80 + 40 * (((today - YEAR.start).days - 1) // 7 % 2))
        spent = sum(by_day.values(), Decimal(0))
        expected = forecast(by_day, YEAR, today)
        would_warn.append(warns(expected, spent, Decimal(36550), YEAR, today))
        assert len(warnings(chain)) == any(would_warn), today
    changes = sum(one is not other for one, other in pairwise(would_warn))
    assert changes >= 8, "or else the forecast did not wobble"
    assert len(chain.mailer.sent) == 1


def test_a_new_revision_warns_again_if_it_would_not_last_either_and_a_sufficient_one_does_not(chain: Chain) -> None:
    from_april(chain, "36500")
    for _ in live(chain, 20, lambda _: 200):
        pass
    chain.load(entry(amount="80000", rule=APRIL))
    for _ in live(chain, 10, lambda _: 200):
        pass
    assert len(warnings(chain)) == 1
    chain.load(entry(amount="40000", rule=APRIL))
    for _ in live(chain, 10, lambda _: 200):
        pass
    assert warnings(chain) == ["warning/11/1/2026-04-01", "warning/11/3/2026-04-01"]
    chain.load(entry(amount="5000", rule=APRIL))
    for _ in live(chain, 10, lambda _: 200):
        pass
    assert len(warnings(chain)) == 2, "of a budget that is used up there is nothing left to warn of"
    assert sum(mail.to == ("anna@example.com",) for mail in chain.mailer.sent) == 2


def test_a_budget_that_is_used_up_before_there_are_14_days_of_data_has_no_warning_any_more(chain: Chain) -> None:
    from_april(chain, "36500")
    for _ in live(chain, 40, lambda number: 3000 if number < 14 else 1):
        pass
    assert warnings(chain) == []


def test_the_next_period_warns_anew(chain: Chain) -> None:
    chain.configure(thresholds=(1000,))
    chain.clock.now = datetime(2026, 10, 2, 2, tzinfo=UTC)
    chain.load(entry())
    for _ in live(chain, 60, lambda _: 40):
        pass
    assert warnings(chain) == ["warning/11/1/2026-10-01", "warning/11/1/2026-11-01"]


def test_an_inactive_project_and_one_without_a_budget_are_not_warned(chain: Chain) -> None:
    chain.configure(thresholds=(1000,))
    chain.clock.now = datetime(2026, 11, 2, 2, tzinfo=UTC)
    chain.load(entry(12), entry(11, active=False), entry(13, None))
    for day in range(1, 21):
        for project_id in (11, 12, 13):
            chain.spend("40", date(2026, 11, day), f"rg-{project_id}")
    chain.clock.now = datetime(2026, 11, 20, 2, tzinfo=UTC)
    chain.night()
    assert warnings(chain) == ["warning/12/1/2026-11-01"]


# --- periods that end ----------------------------------------------------------------------------------------


def test_operators_are_told_once_when_a_budget_has_ended_with_its_period_and_alerts_stop_until_there_is_one(
    chain: Chain,
) -> None:
    chain.load(with_terms(entry(), rollover=Rollover.STOP))
    use(chain, "30")
    chain.night()
    assert thresholds_of(chain.subjects()) == ["25 %"]
    chain.clock.now = datetime(2026, 12, 1, 2, tzinfo=UTC)
    chain.spend("5000", date(2026, 12, 1))
    chain.mailer.sent.clear()
    chain.night()
    (mail,) = chain.mailer.sent
    assert (mail.to, short(mail.subject)) == (("ops@example.com",), "P11 has no budget")
    assert "has no budget since 2026-12-01: the one before ended with its period" in mail.text
    assert check(chain) == []
    assert next_night(chain) == []
    chain.projects.revise_budget(11, BudgetTerms(Decimal(6000), "CAD", NOVEMBER), "tester", "more", chain.clock())
    assert thresholds_of(next_night(chain)) == ["80 %"]


def test_a_total_that_is_drawn_down_is_alerted_at_100_percent_on_the_first_check_of_the_next_period(
    chain: Chain,
) -> None:
    chain.load(with_terms(entry(), rollover=Rollover.DRAW_DOWN))
    use(chain, "120")
    chain.night()
    chain.clock.now = datetime(2026, 12, 1, 2, tzinfo=UTC)
    chain.mailer.sent.clear()
    chain.night()
    (mail,) = [mail for mail in chain.mailer.sent if mail.to == ("anna@example.com",)]
    assert "100 %" in mail.subject.replace("\xa0", " ")
    (figures,) = [
        row.context
        for row in chain.database.read(lambda connection: connection.execute(select(mails)).all())
        if row.key == "alert/11/1/2026-12-01/100"
    ]
    assert (figures["percent"], figures["amount"], figures["spent"]) == ("100", "0", "0")
    (lock,) = check(chain)
    assert (lock.action, lock.reason) == (
        LockAction.LOCK,
        "0.00 of 0.00 CAD (200.00 CAD too much was spent before) is used",
    )
    assert thresholds_of(next_night(chain)) == []


def test_a_total_that_is_used_up_is_alerted_at_100_percent_and_not_at_what_lies_above_it(chain: Chain) -> None:
    """Of nothing, every percent is reached; the mail says 100 %, so that is the threshold to name."""
    chain.configure(thresholds=(50, 100, 120, 200))
    chain.load(with_terms(entry(), rollover=Rollover.DRAW_DOWN))
    use(chain, "110")
    chain.night()
    chain.clock.now = datetime(2026, 12, 1, 2, tzinfo=UTC)
    chain.mailer.sent.clear()
    chain.night()
    (mail,) = [mail for mail in chain.mailer.sent if mail.to == ("anna@example.com",)]
    assert "100 %" in mail.subject.replace("\xa0", " ")


# --- locks ---------------------------------------------------------------------------------------------------


@pytest.fixture
def locking(chain: Chain) -> Chain:
    """A chain that enforces its locks, with a project 11 that may be locked."""
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.load(entry())
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    return chain


def test_at_100_percent_each_check_asks_for_the_lock_with_figures_and_run(locking: Chain) -> None:
    use(locking, "99.99")
    read_costs(locking)
    assert check(locking) == []
    use(locking, "100")
    read_costs(locking)
    (first,) = check(locking, "night-2026-11-20")
    assert (first.action, first.project_id, first.trigger) == (LockAction.LOCK, 11, LockTrigger.CHECK)
    assert first.reason == "1,000.00 of 1,000.00 CAD is used"
    assert first.envelope.run_id == "night-2026-11-20"
    (again,) = check(locking)
    assert again.action is LockAction.LOCK


def test_the_lock_is_asked_for_again_while_the_project_is_locked_and_over_its_budget(locking: Chain) -> None:
    use(locking, "100")
    locking.night()
    for _ in range(3):
        locking.clock.forward(days=1)
        (message,) = check(locking)
        assert message.action is LockAction.LOCK


def test_a_lost_lock_message_is_made_up_for_by_the_next_night(locking: Chain) -> None:
    use(locking, "100")
    read_costs(locking)
    check(locking)
    assert locking.lock_ledger.facts(11, locking.clock()).held is None
    next_night(locking)
    assert locking.lock_ledger.facts(11, locking.clock()).held is not None


def test_what_an_operator_has_unlocked_is_not_asked_for_again_but_for_a_new_revision_it_is(locking: Chain) -> None:
    use(locking, "100")
    locking.night()
    by_hand = LockMessage(LockAction.UNLOCK, 11, reason="it is needed", trigger=LockTrigger.OPERATOR, by="olga")
    locking.work(Queue.LOCK, to_json(by_hand))
    assert check(locking) == []
    locking.clock.forward(days=1)
    use(locking, "150")
    read_costs(locking)
    assert check(locking) == []
    revise(locking, "1200")
    (message,) = check(locking)
    assert (message.action, message.reason) == (LockAction.LOCK, "1,500.00 of 1,200.00 CAD is used")


def test_a_lock_that_an_operator_put_on_is_not_taken_off_by_a_check(locking: Chain) -> None:
    use(locking, "10")
    locking.night()
    by_hand = LockMessage(LockAction.LOCK, 11, reason="security", trigger=LockTrigger.OPERATOR, by="olga")
    locking.work(Queue.LOCK, to_json(by_hand))
    revise(locking, "5000")
    (look,) = check(locking)
    locking.work(Queue.LOCK, to_json(look))
    facts = locking.lock_ledger.facts(11, locking.clock())
    assert facts is not None
    assert facts.held_since


def test_a_budget_raised_above_the_usage_asks_for_the_lock_to_come_off(locking: Chain) -> None:
    use(locking, "100")
    locking.night()
    revise(locking, "1000.01")
    (message,) = check(locking)
    assert (message.action, message.project_id, message.trigger) == (LockAction.UNLOCK, 11, LockTrigger.CHECK)
    assert message.reason == "1,000.00 of 1,000.01 CAD is used"


@pytest.mark.parametrize("amount", ["1000", "900"])
def test_a_budget_that_was_not_raised_above_the_usage_asks_for_the_lock(locking: Chain, amount: str) -> None:
    use(locking, "100")
    locking.night()
    revise(locking, amount)
    assert [message.action for message in check(locking)] == [LockAction.LOCK]


def test_a_new_period_asks_for_the_lock_to_come_off(locking: Chain) -> None:
    use(locking, "100")
    locking.night()
    locking.clock.now = datetime(2026, 12, 1, 2, tzinfo=UTC)
    (message,) = check(locking)
    assert (message.action, message.reason) == (
        LockAction.UNLOCK,
        "0.00 of 1,000.00 CAD is used",
    )


def test_what_is_locked_is_looked_at_by_each_check(locking: Chain) -> None:
    use(locking, "100")
    locking.night()
    use(locking, "90")
    read_costs(locking)
    assert [message.action for message in check(locking)] == [LockAction.UNLOCK]
    locking.load(entry(11, None))
    assert [message.action for message in check(locking)] == [LockAction.UNLOCK]


@pytest.mark.parametrize(("mode", "asked"), [(LockMode.OFF, 0), (LockMode.DRY_RUN, 1), (LockMode.ENFORCE, 1)])
def test_nothing_is_asked_of_the_lock_where_locks_are_off(chain: Chain, mode: LockMode, asked: int) -> None:
    chain.load(entry())
    use(chain, "100")
    read_costs(chain)
    chain.configure(lock_mode=mode)
    assert len(check(chain)) == asked


def test_locks_stay_as_they_are_where_locks_are_turned_off(locking: Chain) -> None:
    use(locking, "100")
    locking.night()
    locking.configure(lock_mode=LockMode.OFF)
    assert check(locking) == []
    revise(locking, "5000")
    assert check(locking) == []


def test_a_project_without_a_budget_or_in_another_currency_is_not_asked_to_be_locked(chain: Chain) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.load(entry(11, None))
    use(chain, "500")
    read_costs(chain)
    assert check(chain) == []
    chain.load(entry(11, "100", currency="USD"))
    assert check(chain) == []


@pytest.mark.parametrize(
    ("mode", "policy", "said"),
    [
        (LockMode.OFF, LockPolicy.AUTO, "Nothing is stopped"),
        (LockMode.DRY_RUN, LockPolicy.AUTO, "the lock is only being tried out"),
        (LockMode.ENFORCE, LockPolicy.NEVER, "Nothing is stopped"),
        (LockMode.ENFORCE, LockPolicy.AUTO, "is locked"),
    ],
)
def test_an_alert_says_what_happens_to_this_project_at_100_percent(
    fresh_database: Callable[[], Database], mode: LockMode, policy: LockPolicy, said: str
) -> None:
    chain = Chain(fresh_database(), lock_mode=mode)
    chain.load(entry(lock=policy))
    use(chain, "80")
    chain.night()
    (mail,) = chain.mailer.sent
    assert said in mail.text.replace("\n", " ")


def test_trying_locks_out_tells_the_operators_what_would_be_locked_beside_the_alert_and_once(chain: Chain) -> None:
    chain.load(entry())
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    use(chain, "100")
    chain.night()
    alert, notice = chain.mailer.sent
    assert (alert.to, notice.to) == (("anna@example.com",), ("ops@example.com",))
    assert "100 %" in alert.subject
    assert "P11" in notice.subject
    assert "rg-11" in notice.text
    assert next_night(chain) == []
    assert not chain.azure_locks.groups[SUBSCRIPTION, "rg-11"]


FROM_NOVEMBER = PeriodRule(PeriodKind.ANNUAL, date(2026, 11, 1))


def told_four_days_after_the_last_reading(chain: Chain) -> str:
    """100 a day until 19 November; read on the 20th at 02:00; the budget is lowered on the 24th, 80 % is passed."""
    chain.load(entry(11, "100000", rule=FROM_NOVEMBER))
    for day in range(1, 20):
        chain.spend("100", date(2026, 11, day))
    chain.night()
    assert chain.mailer.sent == []
    chain.clock.forward(days=4)
    chain.projects.revise_budget(
        11, BudgetTerms(Decimal(2100), "CAD", FROM_NOVEMBER), "tester", "lowered", chain.clock()
    )
    chain.work(Queue.NOTIFICATION, json.dumps({"ProjectId": 11}))
    chain.drain()
    (text,) = (mail.text for mail in chain.mailer.sent if short(mail.subject) == "[P11] 80 % of the budget reached")
    return text


def test_a_mail_says_when_the_budget_will_be_used_up_as_of_its_own_day_however_long_ago_the_costs_were_read(
    chain: Chain,
) -> None:
    text = told_four_days_after_the_last_reading(chain)
    days = {date(2026, 11, day): Decimal(100) for day in range(1, 20)}
    day = used_up_on(days, Decimal(2100), FROM_NOVEMBER.period_at(date(2026, 11, 24)), chain.clock().date())
    assert f"{day.day} {day:%B %Y}" in text if day else "used up on" not in text


# --- one mail for what happens at once, and nothing twice ----------------------------------------------------


def test_an_alert_and_an_early_warning_of_one_night_are_one_mail(chain: Chain) -> None:
    from_april(chain, "36500")
    chain.configure(thresholds=(8,))
    sent = {today: chain.subjects() for today in live(chain, 20, lambda _: 200)}
    assert sent[date(2026, 4, 21)] == ["[P11] 8 % of the budget reached"]
    assert warnings(chain) == []
    (mail,) = chain.mailer.sent
    for words in ("used up on 30 September 2026", "Expected in all", "CAD 73,000", "Likely between"):
        assert all(words in part.replace("\xa0", " ").replace("&#160;", " ") for part in (mail.text, mail.html)), words


def test_a_revision_that_changes_neither_amount_nor_period_repeats_nothing(chain: Chain) -> None:
    from_april(chain, "36500")
    for today in live(chain, 20, lambda _: 200):
        if today == date(2026, 4, 17):
            present = chain.projects.get(11, today)
            assert present is not None
            terms = replace(present.terms, rollover=Rollover.CARRY_OVER)
            chain.projects.revise_budget(11, terms, "ann", "what is left is kept", chain.clock())
    assert warnings(chain) == ["warning/11/1/2026-04-01"]
    terms = replace(terms, amount=Decimal(36000))
    chain.projects.revise_budget(11, terms, "ann", "less", chain.clock())
    chain.night()
    assert warnings(chain)[1:] == ["warning/11/3/2026-04-01"]


def test_what_fell_below_its_threshold_is_not_told_again_after_such_a_revision(chain: Chain) -> None:
    chain.load(entry(amount="1000"))
    chain.spend("850", date(2026, 11, 19))
    chain.night()
    chain.spend("700", date(2026, 11, 19))
    next_night(chain)
    present = chain.projects.get(11, chain.clock.now.date())
    assert present is not None
    chain.projects.revise_budget(11, replace(present.terms, rollover=Rollover.STOP), "ann", "once", chain.clock())
    chain.spend("850", date(2026, 11, 19))
    assert next_night(chain) == []
