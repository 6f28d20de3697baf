"""The demo's story holds together: what it counts on before anything runs."""

from datetime import timedelta
from decimal import Decimal

import pytest

from localdev import demo, demo_lock, demo_stage
from localdev.azure_sim import AzureSimulator, ChargeBook, demo_charges
from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.permissions import ArmPermissions
from shared.adapters.mail.addresses import valid_addresses
from shared.domain.locks import Outcome
from shared.domain.projects import LockPolicy, ProjectEntry
from shared.ports.mails import Topic
from shared.services.project_file import read_projects

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
    """In the present period, in the project's currency."""
    period = project.terms.rule.period_at(LAST_DAY)
    assert period
    groups = [(scope.sub_account_id, scope.resource_group) for scope in project.scopes]
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
