"""What would be there: names, rights, the database, and what is deployed once the app runs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shared.ports import azure
from shared.web.app import every_route
from shared.web.guard import ANYBODY, who_may
from tests.docs import sources
from tests.infra import azd
from tests.infra.conftest import A_GROUP, MAIL
from tests.infra.deployment import ROLES, Deployment, nested

WHO_DEPLOYS = "99999999-0000-0000-0000-000000000003"
EMAIL, OWN, AZURES_SENDER = (
    "Microsoft.Communication/emailServices",
    "CustomerManaged",
    "DoNotReply@a-guid.azurecomm.net",
)
PRINCIPAL = "99999999-0000-0000-0000-000000000005"
GUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
STORAGE, QUEUE = "Storage Blob Data Owner", "Storage Queue Data Contributor"
WITHIN_THE_GROUP = {
    (STORAGE, "Microsoft.Storage/storageAccounts"),
    (QUEUE, "Microsoft.Storage/storageAccounts"),
    ("Monitoring Metrics Publisher", "Microsoft.Insights/components"),
    ("Key Vault Secrets User", "Microsoft.KeyVault/vaults"),
}

CONTAINERS = "Microsoft.Storage/storageAccounts/containers"
OF_EXPORTS = {
    ("Storage Blob Data Reader", "Microsoft.Storage/storageAccounts"),
    ("Storage Blob Data Contributor", CONTAINERS),
}
OF_EVENTS = {("Storage Queue Data Message Sender", "Microsoft.Storage/storageAccounts")}


def test_all_is_in_one_resource_group_with_azds_tag(deployment):
    group = deployment.one("Microsoft.Resources/resourceGroups")
    assert group["name"] == "rg-prod"
    others = [each for each in deployment.resources if each is not group]
    assert [each["id"] for each in others if group["id"] not in each["id"]] == []
    tagged = [each for each in deployment.resources if "location" in each]
    assert len(tagged) >= 10
    assert [each["name"] for each in tagged if each["tags"].get("azd-env-name") != "prod"] == []


def test_names_are_short_and_plain_enough_for_azure(deployment):
    assert re.fullmatch("[a-z0-9]{3,24}", deployment.one("Microsoft.Storage/storageAccounts")["name"])
    assert re.fullmatch("[a-z][a-z0-9-]{2,23}", deployment.one("Microsoft.KeyVault/vaults")["name"])
    assert re.fullmatch("[a-z0-9-]{2,60}", deployment.one("Microsoft.Web/sites")["name"])
    for group in deployment.of("Microsoft.Insights/actionGroups"):
        assert len(group["properties"]["groupShortName"]) <= 12


def test_the_identity_may_do_within_the_group_what_it_needs_and_no_more(way, deployment):
    mail = {("Communication and Email Service Owner", "Microsoft.Communication/communicationServices")}
    more = (mail if "acs" in way else set()) | (OF_EXPORTS | OF_EVENTS if way == "exports" else set())
    assert deployment.rights() == WITHIN_THE_GROUP | more


def test_exports_may_lie_in_another_group_where_the_app_may_read_and_keep_what_it_has_seen(deploy):
    there = (
        f"/subscriptions/{WHO_DEPLOYS}/resourceGroups/rg-exports/providers/Microsoft.Storage/storageAccounts/stexports"
    )
    values = azd.parameters(MAIL | {"COST_EXPORT_STORAGE": there, "COST_EXPORT_CONTAINER": "costs"})
    deployment = deploy("main.bicep", values, location="westeurope")
    assert deployment.rights() == WITHIN_THE_GROUP | OF_EXPORTS
    found = deployment.of("Microsoft.Storage/storageAccounts/blobServices/containers")
    made = {each["name"].rpartition("/")[2] for each in found if "/rg-exports/" in each["id"]}
    assert made == {"costs", "budget-warden"}
    settings = deployment.settings()
    assert settings["CostExportStorage__blobServiceUri"] == "https://stexports.blob.core.windows.net"
    assert settings["COST_EXPORT_CONTAINER"] == "costs"
    assert deployment.of("Microsoft.EventGrid/systemTopics") == []


def test_an_export_has_an_identity_that_may_write_its_container_and_no_more(deploy):
    there = (
        f"/subscriptions/{WHO_DEPLOYS}/resourceGroups/rg-exports/providers/Microsoft.Storage/storageAccounts/stexports"
    )
    deployment = deploy(
        "cost-export.bicep", {"storageId": there, "from": "2026-12-01T00:00:00Z"}, location="westeurope"
    )
    export = deployment.one("Microsoft.CostManagement/exports")
    assert export["identity"] == {"type": "SystemAssigned"}
    assert deployment.rights() == {("Storage Blob Data Contributor", CONTAINERS)}


SWITCHES = {
    "defaults": {},
    "enforce": {"lockMode": "enforce"},
    "compute": {"lockMode": "enforce", "lockStopCompute": "true"},
    "compute without enforce": {"lockStopCompute": "true"},
    "budgets": {"azureBudgets": "true"},
    "all": {"lockMode": "enforce", "lockStopCompute": "true", "azureBudgets": "true"},
}
NEEDED = {
    "defaults": {azure.COSTS},
    "enforce": {azure.COSTS, azure.LOCKS},
    "compute": {azure.COSTS, azure.LOCKS, azure.MACHINES},
    "compute without enforce": {azure.COSTS},
    "budgets": {azure.BUDGETS},
    "all": {azure.BUDGETS, azure.LOCKS, azure.MACHINES},
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_in_a_subscription_the_identity_may_do_what_the_switches_need_and_no_more(deploy, switch):
    deployment = deploy("subscriptions.bicep", {"principalId": PRINCIPAL} | SWITCHES[switch], location="westeurope")
    assert deployment.rights() == {(role.name, "subscription") for role in NEEDED[switch]}


def test_every_role_stands_in_one_table_with_its_name_and_why():
    assert len({role["id"] for role in ROLES.values()}) == len(ROLES)
    assert all(GUID.fullmatch(role["id"]) and role["name"] and role["why"].endswith(".") for role in ROLES.values())
    elsewhere = [name for name, text in of_infra().items() if GUID.search(text)]
    assert elsewhere == ["infra/roles.json"]


def of_infra() -> dict[str, str]:
    """The files of infra/, but for what .gitignore leaves out, such as azd's own environment for the hooks."""
    return {name: text for name, text in sources.text_files().items() if name.startswith("infra/")}


def test_every_role_of_the_table_is_assigned_somewhere():
    text = "".join(text for name, text in of_infra().items() if name.endswith(".bicep"))
    assert {name for name in ROLES if f"roles.{name}.id" not in text and f"roles.{name}" not in text} == set()


def test_the_roles_that_check_looks_for_can_be_assigned():
    wanted = {role.name for role in vars(azure).values() if isinstance(role, azure.AzureRole)}
    assert wanted <= {role["name"] for role in ROLES.values()}


# --- the database ---


def test_the_database_is_of_the_size_that_is_chosen_or_the_free_offers(way, deployment):
    database = deployment.one("Microsoft.Sql/servers/databases")
    if way == "free offer":
        assert database["sku"]["name"] == "GP_S_Gen5"
        about = database["properties"]
        assert (about["useFreeLimit"], about["freeLimitExhaustionBehavior"]) == (True, "AutoPause")
        assert about["autoPauseDelay"] in range(15, 10081)
    else:
        wanted = ("S1", "Standard", 250) if way == "larger" else ("Basic", "Basic", 2)
        size = database["properties"]["maxSizeBytes"] / 1024**3
        assert (database["sku"]["name"], database["sku"]["tier"], size) == wanted
        assert "useFreeLimit" not in database["properties"]


@pytest.mark.parametrize(
    ("way_to", "kind", "login", "sid"),
    [
        ("defaults", "User", "[deployer().userPrincipalName]", WHO_DEPLOYS),
        ("from a pipeline", "Application", WHO_DEPLOYS, WHO_DEPLOYS),
        ("for a group", "Group", "platform-team", A_GROUP),
    ],
)
def test_the_databases_administrator_is_whoever_deploys_or_who_is_named_in_sql_servers_words(
    installed, way_to, kind, login, sid
):
    """Once for a server that is made, and once for one that is there, which takes another by itself only."""
    made = installed(way_to).one("Microsoft.Sql/servers")["properties"]["administrators"]
    assert (made["principalType"], made["login"], made["sid"]) == (kind, login, sid)
    later = installed(way_to).one("Microsoft.Sql/servers/administrators")
    assert later["name"].endswith("/ActiveDirectory")
    assert later["properties"] == {name: made[name] for name in ("administratorType", "login", "sid", "tenantId")}
    entra_only = installed(way_to).one("Microsoft.Sql/servers/azureADOnlyAuthentications")
    assert entra_only["name"].endswith("/Default")
    assert entra_only["properties"] == {"azureADOnlyAuthentication": True}


def test_a_server_that_is_there_is_not_told_of_its_administrator_again(templates):
    """It would refuse another one, and stop the deployment before the resource that it does take."""
    (sql,) = [each for each in nested(templates("main.bicep")) if "freeOffer" in each.get("parameters", {})]
    servers = [each for each in sql["resources"].values() if each["type"] == "Microsoft.Sql/servers"]
    assert [list(each["@options"]) for each in servers] == [["onlyIfNotExists"]]


# --- mail ---


@pytest.mark.parametrize(
    ("way_to", "linked", "made", "sender"),
    [
        ("acs", "AzureManagedDomain", {"AzureManagedDomain"}, AZURES_SENDER),
        (
            "acs until its domain is verified",
            "AzureManagedDomain",
            {"AzureManagedDomain", "example.com"},
            AZURES_SENDER,
        ),
        ("acs with a domain", "example.com", {"example.com"}, "warden@example.com"),
    ],
)
def test_with_acs_mails_come_from_a_domain_that_is_linked_by_each_deployment(installed, way_to, linked, made, sender):
    """A deployment that names none takes away the one that was linked by hand; one that is not verified can't be."""
    deployment = installed(way_to)
    domains = {each["name"].rpartition("/")[2]: each for each in deployment.of(f"{EMAIL}/domains")}
    assert set(domains) == made
    assert {each["properties"]["domainManagement"] for name, each in domains.items() if name != linked} <= {OWN}
    (only,) = deployment.one("Microsoft.Communication/communicationServices")["properties"]["linkedDomains"]
    assert only == domains[linked]["id"]
    settings = deployment.settings()
    assert (settings["EMAIL_PROVIDER"], settings["EMAIL_SENDER"]) == ("acs", sender)
    assert re.fullmatch(r"https://[a-z.]+\.communication\.azure\.com", settings["ACS_ENDPOINT"])


def test_without_acs_none_of_it_is_made(installed):
    assert [each["type"] for each in installed("defaults").resources if "Communication" in each["type"]] == []


# --- signing in ---


def sign_in_of(deployment: Deployment) -> dict[str, Any]:
    return next(each for each in deployment.resources if each["name"].endswith("/authsettingsV2"))["properties"]


def test_app_service_authentication_lets_by_exactly_what_looks_at_its_callers_itself(deployment):
    """The named functions have keys or tell nothing; of the other routes, those that are open to anybody.

    What lies beside pages needs nobody who is not signed in.
    """
    auth = sign_in_of(deployment)
    named = {path for path in map(_path, sources.triggers().values()) if path.startswith("/api/")}
    routes = {route.path for route in every_route() if who_may(route.endpoint) == ANYBODY}
    routes = {path for path in routes if not path.startswith("/finops/static/")}
    expected = named | routes
    assert set(auth["globalValidation"]["excludedPaths"]) == expected | {f"{path}/" for path in expected}


def _path(trigger: str) -> str:
    return trigger.rpartition(" ")[2]


def test_without_an_app_registration_nobody_signs_in_and_with_one_everybody_has_to(installed):
    off, on = (sign_in_of(installed(way)) for way in ("defaults", "signed in"))
    assert (off["platform"]["enabled"], off["identityProviders"]) == (False, {})
    assert on["platform"]["enabled"] is True
    assert on["globalValidation"]["requireAuthentication"] is True
    # People are led to the sign-in; programs bring a token.
    assert on["globalValidation"]["unauthenticatedClientAction"] == "RedirectToLoginPage"
    assert on["globalValidation"]["redirectToProvider"] == "azureactivedirectory"
    # Without a secret: the identity stands for the registration.
    assert "clientSecret" not in json.dumps(on).replace("clientSecretSettingName", "")
    assert on["login"]["tokenStore"]["enabled"] is False


# --- what needs the running app ---

RUNNING = {
    "appName": "func-x",
    "appHost": "func-x.azurewebsites.net",
    "lockGroupName": "ag-lock-x",
    "principalId": PRINCIPAL,
    "environmentName": "prod",
}


def test_the_action_group_calls_the_function_that_the_code_has(deploy):
    group = deploy("running.bicep", RUNNING, resourceGroup="rg-prod").one("Microsoft.Insights/actionGroups")
    (receiver,) = group["properties"]["azureFunctionReceivers"]
    method, path = sources.triggers()[receiver["functionName"]].split()
    assert method == "POST"
    assert f"https://func-x.azurewebsites.net{path}?code=" in concrete_key(receiver["httpTriggerUrl"])
    assert receiver["useCommonAlertSchema"] is True


def test_the_action_group_is_the_one_that_the_app_is_told_of(installed, deploy):
    told = installed("budgets").settings()["LOCK_ACTION_GROUP_ID"]
    given = RUNNING | {"lockGroupName": told.rpartition("/")[2]}
    group = deploy("running.bicep", given, resourceGroup="rg-prod").one("Microsoft.Insights/actionGroups")
    assert told == group["id"]


def test_the_identity_may_read_the_action_group_and_no_other_thing(deploy):
    rights = deploy("running.bicep", RUNNING, resourceGroup="rg-prod").rights()
    assert rights == {(azure.ACTION_GROUPS.name, "Microsoft.Insights/actionGroups")}


def concrete_key(url: str) -> str:
    """The URL of a snapshot, with something in the place of the key that only Azure knows."""
    text = re.sub(r"listKeys\(.*\)\.default", "'KEY'", url)
    parts = re.fullmatch(r"\[format\('(.*?)', (.*)\)\]", text)
    assert parts, url
    arguments = re.findall(r"'([^']*)'", parts[2])
    return re.sub(r"\{(\d)\}", lambda found: arguments[int(found[1])], parts[1])
