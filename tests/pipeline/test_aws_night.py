"""Nights that read two organizations from what plays AWS, by the adapter itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from localdev.aws_sim import AwsAccount, AwsCharge, AwsSimulator, Organization
from shared.adapters.database.tables import charge_meters, charges
from shared.domain.currencies import Converting
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import Scope
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.credentials import AccessKeys
from shared.ports.payers import Member
from shared.ports.spending import By, Estimated, Selection
from tests.aws_worlds import ACCOUNT, EXTERNAL_ID, KEYS, OTHER, aws_costs, cloud_account, with_roles
from tests.pipeline.conftest import Chain, entry

ONE, TWO, THREE, FOUR = "111111111111", "222222222222", "333333333333", "444444444444"
YESTERDAY, OCTOBER = date(2026, 11, 19), date(2026, 10, 25)


@pytest.fixture
def aws(chain: Chain) -> Iterator[AwsSimulator]:
    """Two organizations, which the chain reads by their roles; each page has one row."""
    with AwsSimulator(today=lambda: chain.clock().date(), rows_a_page=1) as aws:
        with_roles(aws, ACCOUNT, OTHER)
        for payer, members in ((ACCOUNT, {ONE: "Shop", TWO: "Lab"}), (OTHER, {THREE: "Museum"})):
            names = {payer: "Payer", **members}
            aws.add_organization(Organization(payer, {each: AwsAccount(each, name) for each, name in names.items()}))
            assert chain.cloud_accounts.add(cloud_account(payer, name=f"org {payer[0]}", is_organization=True))
        chain.parts["aws_costs"] = replace(aws_costs(aws), clock=chain.clock)
        chain.configure()
        both = entry(11, "100", currency="USD")
        chain.load(
            replace(both, scopes=(*both.scopes, Scope("aws", ONE))),
            replace(entry(12, "100", currency="USD"), scopes=(Scope("aws", THREE),)),
        )
        chain.costs.currency_of = lambda _day: "USD"
        chain.spend("30", YESTERDAY)
        yield aws


def spend(aws: AwsSimulator, account: str, amount: str, day: date = YESTERDAY) -> None:
    aws.book.add([AwsCharge(account, "Amazon EC2", day, Decimal(amount))])


def test_a_night_reads_two_organizations_and_a_project_over_two_clouds_has_one_figure(
    chain: Chain, aws: AwsSimulator
) -> None:
    spend(aws, ONE, "22.0000000001")
    spend(aws, TWO, "5")
    spend(aws, TWO, "1E-7", OCTOBER)
    spend(aws, THREE, "60")
    chain.night()
    assert [chain.spent(each) for each in (11, 12)] == [Decimal("52.0000000001"), Decimal(60)]
    assert sorted(chain.subjects()) == [f"[{name}] 50 % of the budget reached" for name in ("P11", "P12")]
    first, second = (each for each in chain.cloud_accounts.accounts() if each.provider == "aws")
    assert (first.status, second.status) == (AccountStatus.ACTIVE, AccountStatus.ACTIVE)
    assert Member(ONE, "Shop", "ACTIVE") in chain.payers.members(first.id)
    syncs = [chain.payers.syncs(each.id, 1)[0] for each in (first, second)]
    assert [each.totals for each in syncs] == [{"USD": Decimal("27.0000001001")}, {"USD": Decimal(60)}]
    # Each page that was paid for is counted: of November and October of each.
    assert [each.calls for each in syncs] == [3, 2]
    assert aws.stats()["paid_pages"] == 5


def test_an_organization_that_refuses_us_stops_no_other_and_is_read_the_night_after(
    chain: Chain, aws: AwsSimulator
) -> None:
    spend(aws, ONE, "22")
    spend(aws, THREE, "60")
    trusted = aws.iam.roles.pop(cloud_account(ACCOUNT).role_arn)
    chain.night()
    assert [chain.spent(each) for each in (11, 12)] == [30, 60]
    first, second = (each for each in chain.cloud_accounts.accounts() if each.provider == "aws")
    assert (first.status, second.status) == (AccountStatus.ERROR, AccountStatus.ACTIVE)
    assert "Check the role's ARN, the external id" in first.last_sync_error
    aws.iam.roles[trusted.arn] = trusted
    chain.clock.now = chain.clock.now.replace(day=21)
    chain.night()
    assert chain.spent(11) == 52
    assert chain.cloud_accounts.get(first.id).status is AccountStatus.ACTIVE


def test_keys_of_another_organization_read_nothing_and_the_members_stay_as_they_are(
    chain: Chain, aws: AwsSimulator
) -> None:
    spend(aws, ONE, "22")
    spend(aws, THREE, "7000")
    first, second = (each for each in chain.cloud_accounts.accounts() if each.provider == "aws")
    chain.cloud_accounts.disable(second.id, "it is not read here")
    with chain.app.database.engine.begin() as connection:
        connection.execute(text("update cloud_accounts set role_arn = null, external_id = null"))
    others = AccessKeys("AKIAOFTHEOTHER000001", "secret-of-the-other/00000000000000000000")
    for account, keys in ((ACCOUNT, KEYS), (OTHER, others)):
        aws.iam.add_user(f"arn:aws:iam::{account}:user/warden", keys.access_key_id, keys.secret_access_key)
    chain.parts["aws_costs"] = aws_costs(aws, KEYS)
    chain.configure()
    chain.night()
    members = chain.payers.members(first.id)
    assert chain.spent(11) == 52
    chain.parts["aws_costs"] = aws_costs(aws, others)
    chain.configure()
    for day in (21, 22, 23, 24):
        chain.clock.now = chain.clock.now.replace(day=day)
        chain.night()
    failed = chain.cloud_accounts.get(first.id)
    assert failed.status is AccountStatus.ERROR
    assert f"is of AWS account {ACCOUNT}, and the access keys of cloud account {first.id} " in failed.last_sync_error
    assert chain.payers.members(first.id) == members
    assert [chain.spent(each) for each in (11, 12)] == [52, 0]


def test_costs_that_aws_names_no_account_for_are_told_and_keep_no_others_away(chain: Chain, aws: AwsSimulator) -> None:
    aws.organizations[ACCOUNT].add(AwsAccount("NoLinkedAccount", ""))
    spend(aws, ONE, "22")
    spend(aws, "NoLinkedAccount", "9999")
    chain.night()
    assert chain.spent(11) == 52
    (told,) = (each for each in chain.mailer.sent if each.subject.endswith("Costs were left out: account 1 (aws)"))
    assert "'NoLinkedAccount' is no AWS account" in told.text


def test_what_aws_calls_estimated_is_known_as_that_and_read_each_night_however_long_ago_its_month_was_closed(
    chain: Chain, aws: AwsSimulator
) -> None:
    def estimated() -> list[Estimated]:
        november = Period(date(2026, 11, 1), date(2026, 12, 1))
        return chain.spending.estimated(Selection(november, sub_account_id=ONE))

    def last_read() -> date:
        begun_at = chain.charges.account("aws", ONE).known[date(2026, 11, 1)].begun_at
        assert begun_at
        return begun_at.date()

    spend(aws, ONE, "22")
    chain.night()
    assert estimated() == [Estimated(ONE, date(2026, 11, 1))]
    spend(aws, ONE, "1", date(2026, 11, 25))
    for day, since in ((22, date(2026, 11, 25)), (23, date(2026, 11, 25)), (24, None), (25, None)):
        aws.costs.estimated_from = since
        chain.clock.now = datetime(2027, 2, day, 2, tzinfo=UTC)
        chain.night()
        assert last_read() == date(2027, 2, min(day, 24))
        assert estimated() == ([Estimated(ONE, since)] if since else [])


def test_each_usage_type_of_an_account_that_is_read_by_meter_is_stored_once_night_after_night(
    chain: Chain, aws: AwsSimulator
) -> None:
    with_roles(aws, FOUR)
    aws.add_organization(Organization(FOUR, {FOUR: AwsAccount(FOUR, "Alone")}))
    assert chain.cloud_accounts.add(cloud_account(FOUR, name="alone", detail="meter"))
    usage = {"EU-Requests": Decimal("0.5"), "EU-Storage": Decimal(2)}
    aws.book.add(AwsCharge(FOUR, "Amazon S3", YESTERDAY, cost, usage_type=meter) for meter, cost in usage.items())
    for day in (20, 21):
        chain.clock.now = datetime(2026, 11, day, 2, tzinfo=UTC)
        chain.night()
        found = chain.spending.sums(Selection(Period(YESTERDAY, date(2026, 12, 1)), sub_account_id=FOUR), By.METER)
        assert {each.key: each.cost for each in found} == {("Amazon S3", meter): usage[meter] for meter in usage}
        stored = select(charge_meters.c.sku_meter, charge_meters.c.billed_cost)
        rows = chain.database.read(lambda connection, stored=stored: connection.execute(stored).all())
        assert sorted(map(tuple, rows)) == sorted(usage.items())


def test_after_a_change_of_the_metric_nights_read_the_look_back_by_it_and_a_sync_by_hand_what_is_older(
    chain: Chain, aws: AwsSimulator
) -> None:
    def stored() -> dict[date, Decimal]:
        which = select(charges.c.charge_period_start, charges.c.billed_cost)
        rows = chain.database.read(lambda connection: connection.execute(which).all())
        return {row[0]: row[1] for row in rows if row[0] in days}

    days = old, new = date(2026, 9, 5), date(2026, 11, 18)
    aws.book.add(AwsCharge(TWO, "Amazon EC2", day, Decimal(8), amortized=Decimal(3)) for day in days)
    april = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))
    chain.load(replace(entry(12, "100", currency="USD", rule=april), scopes=(Scope("aws", TWO),)))
    chain.night()
    assert stored() == {old: Decimal(8), new: Decimal(8)}
    chain.parts["aws_costs"] = replace(aws_costs(aws), clock=chain.clock, metric="AmortizedCost")
    chain.configure()
    chain.clock.now = chain.clock.now.replace(day=21)
    chain.night()
    assert stored() == {old: Decimal(8), new: Decimal(3)}
    chain.run_now(since="2026-04-01")
    chain.drain()
    assert stored() == {old: Decimal(3), new: Decimal(3)}


@pytest.mark.parametrize("day", [1, 2, 9, 10])
def test_until_aws_has_closed_it_a_night_reads_all_of_the_month_before_and_its_own_from_the_first_day_on(
    chain: Chain, aws: AwsSimulator, day: int
) -> None:
    spend(aws, ONE, "1")
    for night in (date(2026, 11, 30), date(2026, 12, day)):
        chain.clock.now = datetime.combine(night, time(2), UTC)
        before = len(aws.calls)
        chain.night()
    periods = [call.given["TimePeriod"] for call in aws.calls[before:] if call.operation == "GetCostAndUsage"]
    asked = {(each["Start"], each["End"]) for each in periods}
    assert {("2026-11-01", "2026-12-01"), ("2026-12-01", f"2026-12-{day + 1:02}")} <= asked
    assert all(start < end for start, end in asked)
    assert {each.status for each in chain.cloud_accounts.accounts() if each.provider == "aws"} == {AccountStatus.ACTIVE}


def test_an_answer_that_aws_lets_nobody_finish_is_begun_anew_twice_a_night_and_is_read_the_night_after(
    chain: Chain, aws: AwsSimulator
) -> None:
    spend(aws, ONE, "22")
    spend(aws, THREE, "60")
    aws.fault("request_changed", operation="GetCostAndUsage", account=ACCOUNT, times=None)
    chain.night()
    for _ in range(3):
        chain.look()
        chain.drain()
    first, second = (each for each in chain.cloud_accounts.accounts() if each.provider == "aws")
    assert (first.status, second.status) == (AccountStatus.ERROR, AccountStatus.ACTIVE)
    assert "was begun anew 2 times" in first.last_sync_error
    asked = [call for call in aws.calls if call.operation == "GetCostAndUsage" and call.account == ACCOUNT]
    periods = [call.given["TimePeriod"]["Start"] for call in asked]
    assert {each: periods.count(each) for each in periods} == {"2026-11-01": 3, "2026-10-12": 3}
    assert [chain.spent(each) for each in (11, 12)] == [30, 60]
    aws.faults.clear()
    chain.clock.now = chain.clock.now.replace(day=21)
    chain.night()
    assert chain.spent(11) == 52
    assert chain.cloud_accounts.get(first.id).status is AccountStatus.ACTIVE


def test_an_account_in_china_is_read_by_its_own_keys_and_in_its_own_currency(chain: Chain) -> None:
    class Nobody:
        def read(self, _since: date) -> list[object]:
            return []

    with AwsSimulator(today=lambda: chain.clock().date()) as aws:
        user, role = f"arn:aws-cn:iam::{OTHER}:user/warden", f"arn:aws-cn:iam::{ACCOUNT}:role/costs"
        aws.iam.add_user(user, KEYS.access_key_id, KEYS.secret_access_key)
        aws.iam.add_role(role, trusts=[user], external_id=EXTERNAL_ID)
        assert chain.cloud_accounts.add(cloud_account(ACCOUNT, name="china", role_arn=role))
        chain.parts |= {"aws_costs": replace(aws_costs(aws, KEYS), clock=chain.clock), "rate_feed": Nobody()}
        chain.configure(converting=Converting.ECB)
        rates = {"CNY": Decimal(8), "USD": Decimal("1.1")}
        chain.app.rates.keep([(YESTERDAY, currency, rate) for currency, rate in rates.items()], chain.clock())
        aws.book.add([AwsCharge(ACCOUNT, "Amazon EC2", YESTERDAY, Decimal(80), "CNY")])
        chain.load(replace(entry(11, "100", currency="USD"), scopes=(Scope("aws", ACCOUNT),)))
        chain.night()
    (read,) = chain.cloud_accounts.accounts()
    assert (read.status, read.last_sync_error) == (AccountStatus.ACTIVE, None)
    assert chain.payers.syncs(read.id, 1)[0].totals == {"CNY": Decimal(80)}
    assert chain.spent(11) == 11
