"""A budget's year where things go wrong: costs that can't be read, readings by hand, several subscriptions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.adapters.database.tables import scope_owners, scopes
from shared.domain.budgets import Rollover
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import ProjectEntry
from shared.messages import NotificationMessage, Queue, UpdateMessage
from shared.pipeline.azure_budgets.sync import BudgetSync
from shared.ports.errors import NeverError
from tests.pipeline.conftest import ACTION_GROUP, NOVEMBER, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry

DAY = timedelta(days=1)
REFUSED = NeverError("you may not read the costs of this subscription")
DECEMBER = date(2026, 12, 1)


def with_terms(project: ProjectEntry, **changes: Any) -> ProjectEntry:
    return replace(project, terms=replace(project.terms, **changes))


def carrying(**changes: Any) -> ProjectEntry:
    """Project 11, with 1000 CAD a month and what was not used."""
    return with_terms(entry(**changes), rollover=Rollover.CARRY_OVER)


def on(chain: Chain, day: date) -> None:
    chain.clock.now = datetime(day.year, day.month, day.day, 2, tzinfo=UTC)


def nights(chain: Chain, first: date, last: date) -> None:
    day = first
    while day <= last:
        on(chain, day)
        chain.night()
        day += DAY


def also_in(chain: Chain, subscription: str, group: str) -> None:
    """Gives project 11 a group in another subscription too."""
    chain.load(entry(99, groups=(group,), subscription=subscription, rule=NOVEMBER))
    these = select(scopes.c.id).where(scopes.c.group_key == group)
    owners = update(scope_owners).where(scope_owners.c.scope_id.in_(these)).values(project_id=11)
    moved = update(scopes).where(scopes.c.group_key == group).values(project_id=11)
    chain.database.run(lambda connection: [connection.execute(each) for each in (owners, moved)])


def refuse(chain: Chain, subscription: str | None) -> None:
    """From now on the costs of this subscription, and of no other, can't be read."""
    chain.costs.fails = lambda query: REFUSED if query.sub_account_id == subscription else None


def check(chain: Chain) -> None:
    chain.queues.send(Queue.NOTIFICATION, NotificationMessage((11,)))
    chain.drain()


def amount(chain: Chain, project_id: int = 11) -> Decimal | None:
    """What may be spent now, as it is listed, and as Azure's budget is to say."""
    views = chain.projects.list_projects(chain.clock().date())
    (budget,) = [view.budget for view in views if view.project.id == project_id]
    return budget.amount if budget else None


def settled(chain: Chain) -> list[bool]:
    return [period.settled for period in chain.projects.periods(11)]


# --- what is final -------------------------------------------------------------------------------------------


def test_a_reading_of_one_group_by_hand_makes_nothing_final_that_no_night_has_read_again(chain: Chain) -> None:
    chain.load(carrying(groups=("rg-11", "rg-11b")))
    chain.spend("100", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), date(2026, 12, 2))
    assert amount(chain) == 1900
    chain.spend("300", date(2026, 11, 29), "rg-11b")
    refuse(chain, SUBSCRIPTION)
    nights(chain, date(2026, 12, 3), date(2027, 1, 10))
    refuse(chain, None)
    chain.queues.send(Queue.UPDATE, UpdateMessage(project_id=11, resource_group="rg-11"))
    chain.drain()
    assert settled(chain) == [True, False, False]
    on(chain, date(2027, 1, 11))
    chain.night()
    assert amount(chain) == 1000 + (1000 - 400) + 1000
    assert settled(chain) == [True, True, False]


def test_a_reading_of_one_of_two_subscriptions_makes_nothing_final_of_what_the_other_has_spent(chain: Chain) -> None:
    chain.load(carrying())
    also_in(chain, OTHER_SUBSCRIPTION, "rg-other")
    chain.spend("100", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), date(2026, 12, 2))
    chain.costs.charges[OTHER_SUBSCRIPTION, "rg-other", date(2026, 11, 29), "Storage"] = Decimal(300)
    refuse(chain, OTHER_SUBSCRIPTION)
    nights(chain, date(2026, 12, 3), date(2027, 1, 10))
    assert settled(chain) == [True, False, False]
    refuse(chain, None)
    on(chain, date(2027, 1, 11))
    chain.night()
    assert amount(chain) == 1000 + 600 + 1000
    assert settled(chain) == [True, True, False]


# --- a period that has begun before any check -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rollover", "expected"),
    [
        (Rollover.RESET, Decimal(1000)),
        (Rollover.CARRY_OVER, Decimal(1700)),
        (Rollover.DRAW_DOWN, Decimal(700)),
        (Rollover.STOP, None),
    ],
)
def test_what_may_be_spent_is_known_from_the_first_day_on_whether_or_not_a_check_has_turned_the_period(
    chain: Chain, rollover: Rollover, expected: Decimal | None
) -> None:
    chain.load(with_terms(entry(), rollover=rollover))
    chain.spend("300", date(2026, 11, 10))
    chain.night()
    on(chain, DECEMBER)
    assert amount(chain) == expected
    assert len(chain.projects.periods(11)) == 1, "looking at it begins nothing"
    check(chain)
    assert amount(chain) == expected
    assert len(chain.projects.periods(11)) == 2


def test_months_without_a_check_are_counted_too(chain: Chain) -> None:
    chain.load(carrying())
    chain.spend("300", date(2026, 11, 10))
    chain.night()
    on(chain, date(2027, 3, 5))
    assert amount(chain) == 1000 + 700 + 3 * 1000
    check(chain)
    assert amount(chain) == 1000 + 700 + 3 * 1000


def synced(chain: Chain) -> BudgetSync:
    """Azure's budgets in line with the projects', as with an Action Group."""
    return replace(chain.budget_sync, action_group_id=ACTION_GROUP)


def test_azures_budget_is_what_may_be_spent_where_the_costs_can_not_be_read_at_a_periods_turn(chain: Chain) -> None:
    chain.load(with_terms(entry(), rollover=Rollover.DRAW_DOWN))
    chain.spend("300", date(2026, 11, 10))
    chain.night()
    refuse(chain, SUBSCRIPTION)
    nights(chain, DECEMBER, date(2026, 12, 3))
    synced(chain).sync(SUBSCRIPTION)
    ((_, budget),) = chain.azure_budgets.budgets.items()
    assert budget.amount == 700


def test_one_subscription_is_listed_whatever_was_mailed_in_another(chain: Chain) -> None:
    chain.load(entry(), entry(12, subscription=OTHER_SUBSCRIPTION))
    chain.spend("300", date(2026, 11, 10))
    chain.night()
    assert chain.subjects()
    (view,) = chain.projects.list_projects(chain.clock().date(), OTHER_SUBSCRIPTION)
    assert view.project.id == 12
    synced(chain).sync(OTHER_SUBSCRIPTION)
    assert [name for _, name in chain.azure_budgets.writes] == ["warden-p12"]


# --- Azure's budget through the year --------------------------------------------------------------------------


def test_azures_budget_is_written_only_where_what_is_carried_has_changed_and_never_after_it_is_final(
    chain: Chain,
) -> None:
    chain.load(carrying())
    chain.spend("100", date(2026, 11, 10))
    written: dict[date, int] = {}
    day = date(2026, 11, 20)
    while day < date(2027, 2, 10):
        on(chain, day)
        # For ten days after the period's end its costs still grow; so small a change as the last Azure can't show.
        if date(2026, 12, 2) <= day <= date(2026, 12, 11):
            chain.spend(str(100 + day.day), date(2026, 11, 30))
        if day == date(2026, 12, 20):
            chain.spend("111.001", date(2026, 11, 30))
        chain.night()
        before = len(chain.azure_budgets.writes)
        synced(chain).sync(SUBSCRIPTION)
        synced(chain).sync(SUBSCRIPTION)
        if len(chain.azure_budgets.writes) > before:
            written[day] = len(chain.azure_budgets.writes) - before
        day += DAY
    late = [date(2026, 12, day) for day in range(2, 12)]
    turns = [date(2026, 11, 20), DECEMBER, date(2027, 1, 1), date(2027, 2, 1)]
    assert written == dict.fromkeys(sorted([*turns, *late]), 1)


# --- a total of which nothing is left --------------------------------------------------------------------------


def test_where_nothing_is_left_and_a_credit_came_nobody_is_warned_of_a_budget_of_nothing(chain: Chain) -> None:
    annual = PeriodRule(PeriodKind.ANNUAL, date(2000, 4, 1))
    chain.clock.now = datetime(2026, 3, 30, 2, tzinfo=UTC)
    chain.load(with_terms(entry(rule=annual), rollover=Rollover.DRAW_DOWN))
    chain.spend("1500", date(2026, 3, 29))
    chain.night()
    chain.spend("-5000", date(2026, 4, 1))
    for day in range(2, 30):
        chain.spend("50", date(2026, 4, day))
    nights(chain, date(2026, 4, 1), date(2026, 4, 30))
    assert amount(chain) == 0
    assert [subject for subject in chain.subjects() if "pace" in subject] == []


@pytest.mark.parametrize("language", ["en", "fr", None])
def test_the_alert_of_a_total_of_which_nothing_is_left_is_written_in_every_language(
    chain: Chain, language: str | None
) -> None:
    chain.load(with_terms(entry(language=language), rollover=Rollover.DRAW_DOWN))
    chain.spend("1500", date(2026, 11, 10))
    chain.night()
    chain.mailer.sent.clear()
    on(chain, DECEMBER)
    chain.night()
    (mail,) = [mail for mail in chain.mailer.sent if mail.to == ("anna@example.com",)]
    assert "100 %" in mail.subject.replace("\xa0", " ")
    for part in (mail.text, mail.html):
        assert not {"None", "NaN", "Infinity", "Undefined"} & set(part.replace("<", " ").replace(">", " ").split())


# --- thresholds as the amount changes ---------------------------------------------------------------------------


def told(chain: Chain) -> list[str]:
    return [subject.replace("\xa0", " ").split(" %")[0].split()[-1] for subject in chain.subjects()]


def test_late_charges_that_lower_the_amount_alert_once_and_credits_that_raise_it_tell_nothing_twice(
    chain: Chain,
) -> None:
    chain.load(carrying())
    chain.spend("100", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), date(2026, 12, 1))
    chain.spend("900", date(2026, 12, 1))
    nights(chain, date(2026, 12, 2), date(2026, 12, 2))
    assert told(chain) == ["25"]
    # A charge of 0 has gone, and if it was most of a month, that is not believed at once.
    for number, late in enumerate(["900", "0.01", "900", "0.01", "900"]):
        chain.spend(late, date(2026, 11, 30))
        nights(chain, date(2026, 12, 3 + number), date(2026, 12, 3 + number))
    assert told(chain) == ["25", "100", "80"], "900 of 1,900; November's 1,000; then 900 of 1,000 again and again"
