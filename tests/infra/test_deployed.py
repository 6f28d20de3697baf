"""Every property of what would be there, in deployed.txt: none changes without a word there, none is forgotten.

Each switch changes what stands under its name, and nothing else. Alert rules and the workbook are tested with their
queries (test_kql), roles here by themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.docs import sources
from tests.infra import azd
from tests.infra.conftest import MAIL, WAYS
from tests.infra.deployment import ROLES, Deployment, concrete
from tests.infra.test_resources import PRINCIPAL, RUNNING
from tests.infra.test_triggers import GIVEN as OF_THE_LOGIC_APP

FILE = "tests/infra/deployed.txt"
ELSEWHERE = ("scheduledQueryRules", "workbooks")
# Besides WAYS: what touches nothing that another of these does, each with a value that no other has.
ALL_THE_REST = MAIL | {
    "EMAIL_REPLY_TO": "reply@example.com",
    "SUPPORT_CONTACT": "the help desk",
    "LOCK_NEVER": "network-rg",
    "PROJECT_USAGE_CRON": "0 30 3 * * *",
    "INSTANCE_MEGABYTES": "512",
    "DAILY_LOG_GIGABYTES": "7",
    "WARDEN_STAGING": "true",
    "USE_MADE_UP_COSTS": "true",
    "SQL_FREE_OFFER": "true",
    "SQL_AFTER_FREE_OFFER": "BillOverUsage",
}
OTHERS: dict[str, tuple[str, dict[str, str]]] = {
    "running.bicep": ("running.bicep", RUNNING),
    "the Logic App": ("triggers/logic-app/finops-daily-sync.bicep", OF_THE_LOGIC_APP),
}


@cache
def listed() -> dict[str, dict[str, str]]:
    """The lines of each section of the file, by the property; without its comments."""
    sections: dict[str, dict[str, str]] = {}
    for line in sources.read(FILE).splitlines():
        if line.startswith("["):
            lines = sections[line.strip("[]")] = {}
        elif line and not line.startswith("#"):
            name, _, value = line.partition(" = ")
            lines[name] = value
    return sections


def of(deployment: Deployment) -> dict[str, str]:
    """The properties of a deployment, as the file writes them."""
    found = deployment.properties()
    return {name: json.dumps(value) for name, value in found.items() if not name.startswith(ELSEWHERE)}


def changes(of_one: dict[str, str], of_another: dict[str, str]) -> dict[str, str]:
    """What another has that the one has not, and what it lacks."""
    gone = {name: "nothing" for name in of_one if name not in of_another}
    return gone | {name: value for name, value in of_another.items() if of_one.get(name) != value}


def found(
    installed: Callable[[str], Deployment], deploy: Callable[..., Deployment]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each section, as it would be now."""
    usual = of(installed("defaults"))
    yield "defaults", usual
    for way in WAYS:
        yield way, changes(usual, of(installed(way)))
    rest = deploy("main.bicep", azd.parameters(ALL_THE_REST), location="westeurope")
    yield "all the rest", changes(of(installed("free offer")), of(rest))
    for name, (file, values) in OTHERS.items():
        yield name, of(deploy(file, values, resourceGroup="rg-prod"))


def test_every_property_is_as_it_is_written_down(installed, deploy, request):
    made = {section: lines for section, lines in found(installed, deploy) if lines}
    if request.config.getoption("--write-golden"):
        write(made)
    wrong = {each: changes(listed().get(each, {}), made.get(each, {})) for each in {*made, *listed()}}
    assert {section: lines for section, lines in wrong.items() if lines} == {}


def write(sections: dict[str, dict[str, str]]) -> None:
    """The file anew, with the comments at its top."""
    comments = sources.read(FILE).partition("\n\n")[0]
    listings = ["\n".join([f"[{each}]", *(f"{n} = {v}" for n, v in its.items())]) for each, its in sections.items()]
    (sources.PROJECT / FILE).write_text("\n\n".join([comments, *listings]) + "\n", "utf-8")


# --- names and the order in which things are made ---


def names(deployment: Deployment) -> set[str]:
    """Those that have to differ from all others' in Azure, or within a subscription."""
    kinds = ("Storage/storageAccounts", "KeyVault/vaults", "Sql/servers", "Web/sites", "Resources/resourceGroups")
    return {deployment.one(f"Microsoft.{kind}")["name"] for kind in kinds}


@pytest.mark.parametrize("other", [{"AZURE_ENV_NAME": "staging"}, {"AZURE_LOCATION": "northeurope"}])
def test_two_environments_have_no_name_in_common(installed, deploy, other):
    """Nor has one that was moved, but for its group."""
    moved = deploy("main.bicep", azd.parameters(MAIL | other), location="westeurope")
    assert names(moved) & names(installed("defaults")) == ({"rg-prod"} if "AZURE_LOCATION" in other else set())
    assert len(names(moved)) == 5


def test_the_app_is_made_once_it_has_its_roles_and_a_role_once_its_place_is_there(templates):
    needs = {name: set(about.get("dependsOn", ())) for name, about in templates("main.bicep")["resources"].items()}
    assert needs["app"] == {"access", "group", "identity", "mail", "monitoring", "sql"}
    assert needs["access"] == {"group", "identity", "mail", "monitoring", "storage", "vault"}
    assert needs["alerts"] == {"group", "monitoring"}


# --- roles ---

# learn.microsoft.com, "Azure built-in roles".
BUILT_IN = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Communication and Email Service Owner": "09976791-48a7-449e-bb21-39d1a415f350",
    "Cost Management Reader": "72fafb9e-0641-4937-9268-a91bfd8191a3",
    "Cost Management Contributor": "434105ed-43f6-45c7-a02f-909b2ba83430",
    "Locks Contributor": "28bf596f-4eb7-45ce-b5bc-6cf482fec137",
    "Virtual Machine Contributor": "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Queue Data Message Sender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "Monitoring Reader": "43d0d8ad-25c7-4714-9337-8ba259a9fe05",
}


def test_every_roles_id_is_azures():
    assert {role["name"]: role["id"] for role in ROLES.values()} == BUILT_IN


def test_a_role_is_given_to_the_identity_and_by_a_name_of_its_own(installed, deploy):
    """Two identities, two roles and two places make no assignment of one name."""
    in_groups = [
        *installed("acs").of("Microsoft.Authorization/roleAssignments"),
        *deploy("running.bicep", RUNNING, resourceGroup="rg-prod").of("Microsoft.Authorization/roleAssignments"),
    ]
    of_two = []
    for principal in (PRINCIPAL, PRINCIPAL.replace("9", "8")):
        values = {"principalId": principal, "lockMode": "enforce", "lockStopCompute": "true"}
        made = deploy("subscriptions.bicep", values, location="westeurope")
        of_two += made.of("Microsoft.Authorization/roleAssignments")
    assert (len(in_groups), len(of_two)) == (6, 6)
    assert len({each["name"] for each in of_two}) == 6
    for each in in_groups + of_two:
        about = each["properties"]
        assert about["principalType"] == "ServicePrincipal"
        assert about["description"] in {role["why"] for role in ROLES.values()}
        assert concrete(about["principalId"]) in (PRINCIPAL, PRINCIPAL.replace("9", "8"))
        if each["name"].startswith("[guid("):
            assert all(part in each["name"] for part in ("principalId", about["roleDefinitionId"].rpartition("/")[2]))


# --- what hooks and people are told ---

OUTPUTS = {
    "AZURE_RESOURCE_GROUP": "names.group",
    "AZURE_FUNCTION_NAME": "names.app",
    "WARDEN_IDENTITY_NAME": "names.identity",
    "WARDEN_IDENTITY_CLIENT_ID": "identity.clientId",
    "WARDEN_IDENTITY_PRINCIPAL_ID": "identity.principalId",
    "WARDEN_SQL_SERVER": "names.sqlServer",
    "WARDEN_SQL_HOST": "sql.host",
    "WARDEN_SQL_DATABASE": "names.database",
    "WARDEN_VAULT": "names.vault",
    "WARDEN_QUEUE_URI": "format('https://{0}.queue.{1}', names.storage, environment().suffixes.storage)",
    "WARDEN_APP_HOST": "app.host",
    "WARDEN_LOCK_GROUP": "if(parameters('azureBudgets'), names.lockGroup, '')",
    "WARDEN_MAIL_DOMAIN": "if(variables('isAcs'), mail.senderDomain, '')",
}
# What azd knows by itself.
AZDS_OWN = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID"}


def test_what_the_template_tells_is_what_it_has_made_and_nothing_else(templates):
    told = {name: output["value"].strip("[]") for name, output in templates("main.bicep")["outputs"].items()}
    told = {name: re.sub(r"variables\('names'\)", "names", text) for name, text in told.items()}
    assert {n: re.sub(r"reference\('(\w+)'\)\.outputs\.(\w+)\.value", r"\1.\2", t) for n, t in told.items()} == OUTPUTS


def test_each_value_that_a_hook_asks_for_is_one_that_azd_has():
    asked = {
        name
        for hook in ("az", "before", "database", "running")
        for name in re.findall(r'(?:value|is_on|get)\("([A-Z_]+)"', sources.read(f"infra/hooks/{hook}.py"))
    }
    parameters = {azd.PLACE.fullmatch(text)[1] for text in azd.written().values()}
    assert asked >= {"WARDEN_SQL_HOST", "WARDEN_IDENTITY_CLIENT_ID", "WARDEN_VAULT", "LOCK_MODE"}
    assert asked - set(OUTPUTS) - parameters - AZDS_OWN == {"WARDEN_SUBSCRIPTIONS"}


LIMITS = {"minLength", "maxLength", "minValue", "maxValue"}


def test_a_parameter_takes_as_much_as_azure_does_and_as_little_as_makes_sense(templates):
    declared = templates("main.bicep")["parameters"].items()
    limits = {name: {each: about[each] for each in LIMITS & set(about)} for name, about in declared}
    assert {name: limit for name, limit in limits.items() if limit} == {
        "environmentName": {"minLength": 1, "maxLength": 64},
        "location": {"minLength": 1},
        "principalId": {"minLength": 36, "maxLength": 36},
    }
