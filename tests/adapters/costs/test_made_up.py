"""Costs that are made up: the same each time, of the projects' groups and accounts, up to yesterday."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from shared.adapters.costs.made_up import MadeUpCosts, MadeUpPayers
from shared.domain.aws import AWS
from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.ports.azure import AZURE
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.costs import AccountsAnswer, AccountsQuery, CostQuery
from tests.aws_worlds import always, cloud_account
from tests.contracts.ledger_data import MONTHLY, SUB, entry, terms
from tests.fakes import charges_of

NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
ENTRIES = [
    replace(entry(number), scopes=(Scope(AZURE, SUB, f"RG-{number}"),), terms=terms("900", rule=MONTHLY))
    for number in range(1, 41)
]


def spent(now: datetime, *groups: str, account: str = SUB) -> dict[str, Decimal]:
    answer = MadeUpCosts(lambda: ENTRIES, lambda: now).read(CostQuery(AZURE, account, NOVEMBER, groups))
    sums: dict[str, Decimal] = {}
    for (group, _, _), cost in charges_of(answer).amounts.items():
        sums[group] = sums.get(group, Decimal(0)) + cost
    return sums


def test_at_a_periods_end_some_projects_are_past_their_budget_and_some_are_not() -> None:
    sums = spent(datetime(2026, 12, 1, 2, tzinfo=UTC))
    assert len(sums) == len(ENTRIES)
    assert all(Decimal(359) < each < Decimal(1261) for each in sums.values())
    assert min(sums.values()) < 900 <= max(sums.values())


def test_what_was_told_stays_and_today_is_not_told() -> None:
    early, late = (spent(datetime(2026, 11, day, 23, tzinfo=UTC), "rg-7")["rg-7"] for day in (11, 21))
    assert late == 2 * early


def test_only_groups_that_were_asked_for_in_whatever_spelling_and_of_this_subscription() -> None:
    now = datetime(2026, 11, 11, tzinfo=UTC)
    assert set(spent(now, "Rg-1", "rg-2", "nobodys", account=SUB.upper())) == {"rg-1", "rg-2"}
    assert spent(now, account="other") == {}


# --- at AWS ---

OWNED = [
    replace(
        entry(number), scopes=(Scope(AWS, f"{number:012}"), Scope(AZURE, SUB, "rg")), terms=terms("900", rule=MONTHLY)
    )
    for number in range(1, 4)
]
PAYER = "400000000004"
PAYING = cloud_account(PAYER, is_organization=True)


def payers(now: datetime = datetime(2026, 12, 1, 2, tzinfo=UTC)) -> MadeUpPayers:
    return MadeUpPayers(lambda: OWNED, lambda: now)


def told(account: CloudAccount, source: MadeUpPayers | None = None) -> AccountsAnswer:
    return (source or payers()).read_all(AccountsQuery(account, NOVEMBER), always)


def test_a_project_over_two_clouds_spends_the_same_in_both() -> None:
    azure = MadeUpCosts(lambda: OWNED, lambda: datetime(2026, 12, 1, 2, tzinfo=UTC))
    whole = sum(charges_of(azure.read(CostQuery(AZURE, SUB, NOVEMBER))).amounts.values())
    answer = told(PAYING)
    assert sum(sum(answer.charges[f"{number:012}"][0].amounts.values()) for number in range(1, 4)) == whole


def test_an_organization_has_its_payer_those_that_projects_own_and_two_of_nobodys() -> None:
    listed = payers().sub_accounts(PAYING)
    nobodys = [each.name for each in listed.values() if each.name.startswith("Made-up account")]
    assert [each.name for each in listed.values()] == ["prod", "Project 1", "Project 2", "Project 3", *nobodys]
    assert nobodys == ["Made-up account 1", "Made-up account 2"]
    assert all(re.fullmatch("[0-9]{12}", each) for each in listed)
    assert listed == payers(datetime(2027, 5, 5, tzinfo=UTC)).sub_accounts(PAYING)
    elsewhere = payers().sub_accounts(replace(PAYING, external_account_id="500000000005"))
    assert len(listed.keys() & elsewhere.keys()) == 3
    assert set(told(cloud_account("000000000002")).charges) == {"000000000002"}


def test_accounts_of_nobodys_spend_ten_dollars_a_day() -> None:
    (charges,) = told(PAYING).charges[PAYER]
    assert (charges.billing_currency, sum(charges.amounts.values())) == ("USD", 300)


def test_an_account_that_is_read_by_meter_has_each_meter_and_comes_to_the_same() -> None:
    alone = cloud_account("000000000002")
    ((plain,), (metered,)) = (told(each).charges["000000000002"] for each in (alone, replace(alone, detail="meter")))
    assert {meter for *_, meter in metered.meters} == {"Made-up usage", "Made-up requests"}
    assert sum(metered.meters.values()) == sum(metered.amounts.values()) == sum(plain.amounts.values())
    assert plain.meters == {}


def test_only_the_present_month_is_estimated() -> None:
    assert told(PAYING).estimated_from is None
    assert told(PAYING, payers(datetime(2026, 11, 20, tzinfo=UTC))).estimated_from == NOVEMBER.start
    assert told(PAYING, payers(datetime(2026, 11, 1, 2, tzinfo=UTC))).estimated_from is None
