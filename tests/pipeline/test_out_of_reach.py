"""What a lock does not reach: a project's accounts outside Azure, which people, listings and operators are told of."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from shared.domain.locks import LockMode
from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.messages import LockAction, LockMessage, LockTrigger, Queue, to_json
from shared.ports.azure import ResourceGroup
from shared.ports.spending import By, Selection
from tests.fakes import FakePayers
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry
from tests.pipeline.test_payers import ONE, TWO, YESTERDAY, add, aws, spend

__all__ = ["aws"]  # the fixture
RG = ResourceGroup(SUBSCRIPTION, "rg-11")
SAID = "The lock does not reach what the project has outside Azure, which goes on costing money:"


@pytest.fixture
def mixed(chain: Chain, aws: FakePayers) -> Chain:
    """Project 11 with a group in Azure, an AWS account and one of Google Cloud; 12 with an AWS account alone."""
    chain.configure(lock_mode=LockMode.ENFORCE)
    add(chain)
    chain.costs.currency_of = lambda _day: "USD"
    both = entry(11, "100", currency="USD", language=None)
    elsewhere = (Scope("aws", ONE), Scope("Google Cloud", "my-project"))
    alone = replace(entry(12, "100", currency="USD"), scopes=(Scope("aws", TWO),))
    chain.load(replace(both, scopes=(*both.scopes, *elsewhere)), alone)
    chain.azure_locks.add_group(RG)
    return chain


def order(chain: Chain, action: LockAction) -> None:
    chain.clock.forward(minutes=1)
    chain.work(Queue.LOCK, to_json(LockMessage(action, 11, trigger=LockTrigger.OPERATOR, by="olga")))
    chain.drain()


def test_the_mail_on_100_percent_names_what_the_lock_does_not_reach_in_both_languages(
    mixed: Chain,
    aws: FakePayers,
) -> None:
    spend(aws, ONE, "101")
    mixed.night()
    (mail,) = [each for each in mixed.mailer.sent if "P11" in each.subject and "ops" not in each.to[0]]
    assert mixed.azure_locks.groups[SUBSCRIPTION, "rg-11"]
    for content in (mail.text, mail.html):
        said = " ".join(content.split())
        assert f"{SAID} Google Cloud my-project, AWS {ONE}." in said
        assert f"qui continue de coûter : Google Cloud my-project, AWS {ONE}." in said.replace(
            "\N{NO-BREAK SPACE}", " "
        )


def test_so_does_the_mail_on_a_lock_and_none_on_an_unlock(mixed: Chain) -> None:
    order(mixed, LockAction.LOCK)
    order(mixed, LockAction.UNLOCK)
    locked, unlocked = (each for each in mixed.mailer.sent if "ops" not in each.to[0])
    for content in (locked.text, locked.html):
        assert f"{SAID} Google Cloud my-project, AWS {ONE}." in " ".join(content.split())
    assert "outside Azure" not in unlocked.text


def test_a_project_without_a_resource_group_is_not_told_that_it_is_locked(
    mixed: Chain,
    aws: FakePayers,
) -> None:
    spend(aws, TWO, "101")
    mixed.night()
    (mail,) = [each for each in mixed.mailer.sent if "P12" in each.subject and "ops" not in each.to[0]]
    assert "100 % of the budget reached" in mail.subject
    assert "Nothing is stopped: spending goes on above the budget" in mail.text
    assert "being locked" not in mail.subject + mail.text
    (told,) = [each for each in mixed.mailer.sent if "P12" in each.subject and "ops" in each.to[0]]
    assert "no resource group in Azure, and nothing else can be locked" in " ".join(told.text.split())
    mixed.clock.forward(days=1)
    mixed.night()
    assert [each.subject for each in mixed.mailer.sent if "P12" in each.subject] == [mail.subject, told.subject]


def test_a_dry_run_tells_operators_what_would_stay_open(mixed: Chain, aws: FakePayers) -> None:
    mixed.configure(lock_mode=LockMode.DRY_RUN)
    spend(aws, ONE, "101")
    mixed.night()
    (told,) = [each for each in mixed.mailer.sent if "would be locked now" in each.subject]
    assert f"nothing in Google Cloud my-project, AWS {ONE}, which no lock reaches" in " ".join(told.text.split())


def test_locks_machines_and_azure_s_budgets_are_asked_for_azure_s_groups_alone(
    mixed: Chain,
    aws: FakePayers,
) -> None:
    mixed.configure(lock_stop_compute=True)
    machine = mixed.azure_compute.add(RG, "vm-1")
    spend(aws, ONE, "101")
    spend(aws, TWO, "101")
    mixed.night()
    assert machine.state == "deallocated"
    assert {group for _call, group, _name in mixed.azure_compute.calls} == {"rg-11"}
    assert set(mixed.azure_locks.groups) == {(SUBSCRIPTION, "rg-11")}
    facts = mixed.lock_ledger.facts(11, mixed.clock())
    assert facts.groups == (RG,)
    assert [each.provider for each in facts.unreached] == ["Google Cloud", "aws"]
    assert mixed.projects.subscriptions() == [SUBSCRIPTION]


def test_aws_spend_that_is_no_project_s_is_shown_as_unallocated(mixed: Chain, aws: FakePayers) -> None:
    spend(aws, "999999999999", "7")
    spend(aws, ONE, "3")
    mixed.night()
    month = Period(date(2026, 11, 1), YESTERDAY.replace(day=30))
    unallocated = mixed.spending.sums(Selection(month, unallocated=True), By.SUB_ACCOUNT)
    assert [(each.key, each.cost) for each in unallocated] == [(("aws", "999999999999"), 7)]
