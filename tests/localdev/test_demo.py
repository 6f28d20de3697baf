"""The demo's story holds together: what it counts on before anything runs."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from localdev import demo, demo_aws, demo_lock, demo_stage
from localdev.aws_sim import demo_organization
from localdev.azure_sim import AzureSimulator, ChargeBook, demo_charges
from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.permissions import ArmPermissions
from shared.adapters.costs.aws import AwsCosts
from shared.adapters.costs.aws_access import AwsAccess
from shared.adapters.mail.addresses import valid_addresses
from shared.domain.locks import Outcome
from shared.domain.periods import Period
from shared.domain.projects import LockPolicy, ProjectEntry
from shared.ports.azure import AZURE
from shared.ports.costs import AccountsQuery
from shared.ports.credentials import AccessKeys
from shared.ports.mails import Topic
from shared.services.credentials import keys_in, refuse_wrong
from shared.services.project_file import read_projects
from shared.settings import load
from tests.aws_worlds import always, cloud_account

LAST_DAY = demo_charges.FIRST_NIGHT + timedelta(days=1)


@pytest.fixture
def projects() -> dict[str, ProjectEntry]:
    """The active sample projects, by acronym."""
    entries = read_projects(demo.PROJECTS.read_bytes(), valid_addresses)
    return {entry.project.acronym: entry for entry in entries if entry.project.active}


@pytest.fixture
def book() -> ChargeBook:
    """What was spent after the second night."""
    charges = demo_charges.book()
    demo_charges.change_overnight(charges)
    return charges


def spent(project: ProjectEntry, book: ChargeBook) -> Decimal:
    """In Azure, in the present period, in the project's currency."""
    period = project.terms.rule.period_at(LAST_DAY)
    assert period
    groups = [(scope.sub_account_id, scope.resource_group) for scope in project.scopes if scope.provider == AZURE]
    return sum((book.total(account, period.start, LAST_DAY, group) for account, group in groups), Decimal(0))


def full(projects: dict[str, ProjectEntry], book: ChargeBook) -> set[str]:
    """The projects that could be locked, and are at 100 %."""
    lockable = [entry for entry in projects.values() if entry.project.lock is LockPolicy.AUTO]
    return {entry.project.acronym for entry in lockable if spent(entry, book) >= (entry.terms.amount or 0)}


def test_after_the_two_nights_no_project_is_full_that_could_be_locked(projects, book):
    assert full(projects, book) == set()


def test_the_day_brings_one_project_past_its_budget_and_the_raised_budget_is_enough(projects, book):
    book.add([demo_charges.past_the_budget(LAST_DAY)])

    assert full(projects, book) == {demo_lock.ACRONYM}
    assert spent(projects[demo_lock.ACRONYM], book) < demo_lock.RAISED_TO


def test_check_finds_the_resource_group_of_the_action_group(book):
    with AzureSimulator(book) as azure:
        demo_lock.make_azure_ready(azure)
        rights, group = ArmPermissions(ArmClient(azure.url)), demo_lock.ACTION_GROUP_ID.split("/")[4]
        assert rights.missing(demo_lock.SUBSCRIPTION, group, ["x/read"]) == []


def test_the_project_that_is_never_locked_is_full(projects, book):
    assert projects["CROPS"].project.lock is LockPolicy.NEVER
    assert spent(projects["CROPS"], book) >= projects["CROPS"].terms.amount


def test_the_project_over_two_clouds_reaches_a_quarter_of_its_budget_by_neither_cloud_alone(projects, book):
    glaciers, night = projects[demo_aws.ACRONYM], LAST_DAY - timedelta(days=1)
    with demo_organization.simulator(night) as aws:
        demo_organization.spend(aws, night)
        environment = demo_aws.settings(aws)
        keys = AccessKeys(*demo_aws.KEYS.split())
        payer = cloud_account(
            demo_organization.PAYER,
            role_arn=demo_organization.ROLE,
            external_id=demo_organization.EXTERNAL_ID,
            is_organization=True,
        )
        november = AccountsQuery(payer, Period(date(2026, 11, 1), LAST_DAY))
        answer = AwsCosts(AwsAccess(lambda _id: keys, endpoint=environment["AWS_ENDPOINT"])).read_all(november, always)
    (charges,) = answer.charges[demo_organization.GLACIERS]
    azure, at_aws = spent(glaciers, book), sum(charges.amounts.values())
    assert (f"{azure:.2f}", f"{at_aws:.2f}") == ("237.85", "212.28")
    quarter = (glaciers.terms.amount or 0) / 4
    assert max(azure, at_aws) < quarter <= azure + at_aws - azure / 10 < 2 * quarter
    # What the sandbox spends is nobody's.
    owned = {scope.sub_account_id for entry in projects.values() for scope in entry.scopes}
    assert {demo_organization.PAYER, demo_organization.SANDBOX} <= answer.charges.keys() - owned


def test_the_demos_keys_are_such_as_the_app_takes():
    refuse_wrong(keys_in(demo_aws.KEYS))
    with demo_organization.simulator(LAST_DAY) as aws:
        given = demo_aws.settings(aws)
    loaded = load({"DatahubStorageConnectionString": "UseDevelopmentStorage=true"} | given)
    assert (list(loaded.key_ring), loaded.aws_endpoint) == (["demo"], given["AWS_ENDPOINT"])


@pytest.mark.parametrize(
    ("topic", "percent", "decided", "words"),
    [
        (Topic.ALERT, 100, None, "100 %"),
        (Topic.EARLY_WARNING, None, None, "forecast"),
        (Topic.LOCK, None, Outcome.REFUSED, "lock refused"),
        (Topic.NO_BUDGET, None, None, "no-budget"),
    ],
)
def test_a_mail_is_named_by_what_it_is_about(topic, percent, decided, words):
    assert demo.mail_in_words(topic, percent, decided) == words


def test_what_does_not_happen_in_time_is_said():
    with pytest.raises(demo_stage.DemoFailedError, match="this did not happen: a mail came"):
        demo_stage.wait_until("a mail came", lambda: False, seconds=0)
