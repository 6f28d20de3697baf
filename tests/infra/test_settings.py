"""The app settings that infra/ makes, and those that the code reads, agree; what is deployed holds no secret."""

from __future__ import annotations

import json
import re

import pytest

from shared import settings
from shared.domain.locks import LockMode
from shared.messages import Queue
from shared.settings import Provider
from tests.docs import sources
from tests.infra.deployment import nested, nested_deployments

# What the Functions host or the Python worker reads, not the app.
READ_BY_AZURE = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "DatahubStorageConnectionString__credential",
    "PYTHON_ENABLE_OPENTELEMETRY",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_THREADPOOL_THREAD_COUNT",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID",
}
# Whose default is right for Azure too; infra/app-settings.json may set them.
LEFT_TO_THEIR_DEFAULTS = {
    "ProjectUsageNotificationPercents",
    "AZURE_MANAGEMENT_ENDPOINT",
    "ENCRYPTION_KEYS",
    "AWS_CALLS_PER_DAY",
    "CURRENCY_CONVERSION",
    "REPORTING_CURRENCY",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_AUDIENCE",
    "SECRET_SYNC_TOKEN",
    "CRON_SECRET",
    "SYNC_RATE_LIMIT_MINUTES",
    "WEB_OPERATOR_ROLE",
    "WEB_VIEWER_ROLE",
    "COST_METRIC",
    "COST_LOOKBACK_DAYS",
    "COST_QPU_PER_MINUTE",
    "COST_QPU_PER_HOUR",
    "EMAIL_SENDER_NAME",
    "EMAIL_BCC",
    "EMAIL_BCC_FROM_PERCENT",
    "EMAIL_PRIVATE_RECIPIENTS",
    "SENDGRID_ENDPOINT",
    "SMTP_PORT",
    "SMTP_STARTTLS",
    "PORTAL_URL",
    "WEB_URL",
    "LOCK_LEVEL",
    "LOCK_WHEN_UNSURE",
    "ALERT_AUDIENCE",
    "ALERT_TENANT_ID",
    "ALERT_AUTHORITY",
}
# Of a developer's machine, set by Azure, or of no use on Flex Consumption or with an identity.
NEVER_SET = {
    "DatahubStorageConnectionString",
    "CostExportStorage",
    "AZURE_ACCOUNT_NAME",
    "AZURE_ACCOUNT_KEY",
    "OUTBOX_DIR",
    "LOCAL_CLOCK_START",
    "AWS_ENDPOINT",
    "LOCAL_CLOCK_SPEED",
    "WEBSITE_AUTH_ENABLED",
    "WEBSITE_INSTANCE_ID",
    "WEBSITE_OWNER_NAME",
    "WEBSITE_SKU",
    "WEBSITE_TIME_ZONE",
}
# learn.microsoft.com, "Flex Consumption plan deprecations".
FORBIDDEN_BY_FLEX = re.compile(
    "ENABLE_ORYX_BUILD|FUNCTIONS_(EXTENSION_VERSION|WORKER_.*|MAX_HTTP_CONCURRENCY)|SCM_DO_BUILD_DURING_DEPLOYMENT|"
    "WEBSITE_(CONTENT.*|DNS_SERVER|MAX_DYNAMIC_APPLICATION_SCALE_OUT|NODE_DEFAULT_VERSION|RUN_FROM_PACKAGE|"
    "SKIP_CONTENTSHARE_VALIDATION|VNET_ROUTE_ALL|TIME_ZONE)",
    re.IGNORECASE,
)
FORBIDDEN_PROPERTIES = {
    "containerSize",
    "isReserved",
    "isXenon",
    "functionAppScaleLimit",
    "preWarmedInstanceCount",
    "minimumElasticInstanceCount",
    "linuxFxVersion",
    "windowsFxVersion",
    "pythonVersion",
    "netFrameworkVersion",
    "use32BitWorkerProcess",
    "alwaysOn",
    "appSettings",
}


def in_azure(given: dict[str, str]) -> dict[str, str]:
    """As the app finds them: with what Azure sets, and the vault's secret in place of each reference to it."""
    found = {name: "a-secret" if text.startswith("@Microsoft.KeyVault(") else text for name, text in given.items()}
    return found | {"WEBSITE_INSTANCE_ID": "an-instance", "WEBSITE_SKU": "FlexConsumption"}


def test_the_app_starts_on_the_settings_of_each_way_of_deploying(way, deployment):
    given = in_azure(deployment.settings())
    read = settings.load(given)
    assert settings.doubts(given) == []
    assert read.database_url.get_secret_value().startswith("mssql+mssqlpython" if way == "mssqlpython" else "mssql+py")
    assert read.storage_client_id == read.client_id
    assert read.email_operators == ("ops@example.com", "on.call@example.com")
    assert read.lock_mode is (LockMode.ENFORCE if way in ("enforce", "compute") else LockMode.DRY_RUN)
    assert read.lock_stop_compute is (way == "compute")
    assert bool(read.lock_action_group_id) is (way == "budgets")
    assert read.own_group == "rg-prod"


def test_every_setting_of_the_app_is_set_by_infra_or_named_here_and_no_other(deployment):
    known = set(settings.setting_names())
    made = set(deployment.settings()) - READ_BY_AZURE
    assert made - known == set()
    assert known - made == (LEFT_TO_THEIR_DEFAULTS | NEVER_SET) - further()


def test_every_setting_that_a_trigger_names_is_set(installed):
    named = {name for trigger in sources.triggers().values() for name in re.findall(r"%(\w+)%", trigger)}
    assert len(named) >= 6
    assert {name for name in named if not installed("defaults").settings().get(name)} == set()


def test_the_defaults_of_infra_are_those_of_the_settings(installed):
    made = installed("defaults").settings()
    usual = {str(field.validation_alias): field.default for field in settings.Settings.model_fields.values()}
    same = {"LOCK_MODE", *(name for name in usual if name.startswith("Queue") or name.endswith("CRON"))}
    assert {name: made[name] for name in same} == {name: str(usual[name]) for name in same}
    assert made["LOCK_STOP_COMPUTE"] == "false"


def test_what_may_be_chosen_in_infra_is_what_the_settings_take(templates):
    declared = templates("main.bicep")["parameters"]
    assert set(declared["lockMode"]["allowedValues"]) == set(LockMode)
    assert set(declared["emailProvider"]["allowedValues"]) == set(Provider) - {Provider.OUTBOX}


def test_the_further_settings_are_settings_and_no_secrets():
    """So whoever installs the app may set what is left to its default here."""
    assert further() <= LEFT_TO_THEIR_DEFAULTS


def further() -> set[str]:
    return set(json.loads(sources.read("infra/app-settings.json")))


def test_the_queues_are_made_with_their_poison_queues(deployment):
    queues = deployment.of("Microsoft.Storage/storageAccounts/queueServices/queues")
    made = {each["name"].rpartition("/")[2] for each in queues}
    made_with = deployment.settings()
    names = [made_with[name] for name in settings.setting_names() if name.startswith("Queue")]
    assert len(names) == len(Queue)
    assert made == {*names, *(f"{name}-poison" for name in names)}


def test_nothing_is_set_that_flex_consumption_forbids(deployment):
    assert [name for name in deployment.settings() if FORBIDDEN_BY_FLEX.fullmatch(name)] == []
    site = deployment.one("Microsoft.Web/sites")["properties"]
    assert FORBIDDEN_PROPERTIES & {*site, *site["siteConfig"]} == set()
    assert site["functionAppConfig"]["runtime"] == {"name": "python", "version": "3.12"}
    assert site["functionAppConfig"]["deployment"]["storage"]["authentication"]["type"] == "UserAssignedIdentity"
    plan = deployment.one("Microsoft.Web/serverfarms")
    assert (plan["sku"]["name"], plan["sku"]["tier"], plan["properties"]["reserved"]) == (
        "FC1",
        "FlexConsumption",
        True,
    )


def test_a_thread_is_there_for_each_message_that_an_instance_takes(deployment):
    queues = json.loads(sources.read("host.json"))["extensions"]["queues"]
    at_once = queues["batchSize"] + queues["newBatchThreshold"]
    assert int(deployment.settings()["PYTHON_THREADPOOL_THREAD_COUNT"]) >= at_once


# --- no secret ---


def test_nothing_takes_a_key_or_a_password(deployment):
    storage = deployment.one("Microsoft.Storage/storageAccounts")["properties"]
    assert (storage["allowSharedKeyAccess"], storage["allowBlobPublicAccess"]) == (False, False)
    assert storage["minimumTlsVersion"] == "TLS1_2"
    assert deployment.one("Microsoft.Insights/components")["properties"]["DisableLocalAuth"] is True
    assert deployment.one("Microsoft.KeyVault/vaults")["properties"]["enableRbacAuthorization"] is True
    server = deployment.one("Microsoft.Sql/servers")["properties"]
    assert server["administrators"]["azureADOnlyAuthentication"] is True
    assert "administratorLogin" not in server
    passwords = deployment.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert {each["name"].rpartition("/")[2]: each["properties"]["allow"] for each in passwords} == {
        "ftp": False,
        "scm": False,
    }


SECRETS = {"SENDGRID_API_KEY", "SMTP_PASSWORD", "DatahubStorageConnectionString", "AzureWebJobsStorage"}


def test_a_setting_that_is_a_secret_refers_to_the_vault(way, deployment):
    vault = deployment.one("Microsoft.KeyVault/vaults")["name"]
    reference = f"@Microsoft.KeyVault(SecretUri=https://{vault}.vault.azure.net/secrets/mail-key)"
    held = {name: text for name, text in deployment.settings().items() if name in SECRETS and text}
    wanted = "SMTP_PASSWORD" if way == "smtp" else None if way.startswith("acs") else "SENDGRID_API_KEY"
    assert held == ({wanted: reference} if wanted else {})
    assert deployment.one("Microsoft.Web/sites")["properties"]["keyVaultReferenceIdentity"].endswith(
        deployment.one("Microsoft.ManagedIdentity/userAssignedIdentities")["name"]
    )


@pytest.mark.parametrize("way_to", ["defaults", "with the key"])
def test_the_key_goes_into_the_vault_and_nowhere_else(installed, way_to):
    """Without one, what the vault has stays."""
    made = installed(way_to).resources
    assert "SG.a-secret" not in json.dumps(made)
    (secret,) = [each for each in made if "mailKey" in json.dumps(each)]
    assert secret["type"] == "Microsoft.KeyVault/vaults/secrets"
    assert secret["condition"] == "[not(empty(parameters('mailKey')))]"


@pytest.mark.parametrize("name", ["main.bicep", "running.bicep", "subscriptions.bicep"])
def test_no_parameter_holds_a_secret_by_default_and_no_output_gives_one(templates, name):
    for template in nested(templates(name)):
        parameters = template.get("parameters", {})
        assert {each for each in secure(template) if parameters[each].get("defaultValue")} == set()
        assert re.search("list(Keys|Secrets|AccountSas)|mailKey|code=", json.dumps(template.get("outputs", {}))) is None


def test_a_secret_parameter_is_handed_on_as_one(templates):
    """Else it would stay in the history of deployments."""
    handed = 0
    for template in nested(templates("main.bicep")):
        for each in nested_deployments(template):
            values = each["properties"].get("parameters", {})
            ours = [f"('{one}')" for one in secure(template)]
            given = {to for to, value in values.items() if any(one in json.dumps(value) for one in ours)}
            assert given <= secure(each["properties"]["template"])
            handed += len(given)
    assert handed == 1


def secure(template):
    """The names of the template's secret parameters."""
    declared = template.get("parameters", {}).items()
    return {name for name, about in declared if about["type"].lower() in ("securestring", "secureobject")}
