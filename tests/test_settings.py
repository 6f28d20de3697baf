"""The app settings: every fault is named at once, and no secret is ever shown."""

import itertools
import json
import traceback
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from shared.adapters.mail.addresses import valid_addresses
from shared.adapters.queues import by_connection_string
from shared.domain.charges import CostMetric
from shared.domain.locks import LockMode, WhenUnsure
from shared.messages import Queue
from shared.ports.azure import LockLevel
from shared.settings import (
    Provider,
    Settings,
    SettingsError,
    doubts,
    load,
    setting_names,
)

ROOT = Path(__file__).resolve().parent.parent
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
ACTION_GROUP = (
    "/subscriptions/1caaa5a3-2b66-438e-8ab4-bce37d518c5d/resourceGroups/rg-warden"
    "/providers/Microsoft.Insights/actionGroups/lock-projects"
)
STORAGE = {"DatahubStorageConnectionString": "UseDevelopmentStorage=true"}
IN_AZURE = {
    **STORAGE,
    "WEBSITE_INSTANCE_ID": "a1b2c3",
    "DATABASE_URL": "mssql+pyodbc://server/warden",
    "EMAIL_PROVIDER": "sendgrid",
    "EMAIL_SENDER": "warden@example.com",
    "SENDGRID_API_KEY": "SG.key",
}


def faults_of(environment: dict[str, str], local_file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(environment, local_file)
    lines = str(refused.value).splitlines()
    assert lines[0] == "The app settings can't be used:"
    return [line.removeprefix("  - ") for line in lines[1:]]


# --- defaults ------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_a_developers_machine_as_the_design_lists_them() -> None:
    settings = load(STORAGE)
    assert settings.database_url.get_secret_value() == "sqlite:///.local/warden.db"
    assert settings.queue_names == {
        Queue.UPDATE: "project-usage-update",
        Queue.NOTIFICATION: "project-usage-notification",
        Queue.EMAIL: "email-notification",
        Queue.LOCK: "project-lock",
        Queue.EXPORT: "cost-export-import",
    }
    assert (settings.schedule_usage, settings.schedule_watchdog) == ("0 0 2 * * *", "0 */15 * * * *")
    assert (settings.schedule_exports, settings.export_container) == ("0 15 * * * *", "msexports")
    assert (settings.has_exports, settings.export_connection) == (False, None)
    assert settings.thresholds == (25, 50, 80, 100)
    assert settings.management_endpoint == "https://management.azure.com"
    assert settings.client_id is None
    assert settings.cost_metric is CostMetric.ACTUAL
    assert settings.lookback_days == 35
    assert (settings.units_per_minute, settings.units_per_hour) == (50, 500)
    assert settings.email_provider is Provider.OUTBOX
    assert (settings.email_sender, settings.email_operators, settings.email_bcc) == ("", (), ())
    assert settings.email_bcc_from_percent == 80
    assert settings.sendgrid_endpoint == "https://api.sendgrid.com"
    assert (settings.sendgrid_api_key, settings.smtp_host, settings.smtp_username, settings.smtp_password) == (
        None,
    ) * 4
    assert (settings.smtp_port, settings.smtp_starttls) == (587, True)
    assert settings.outbox_dir == ".local/outbox"
    assert settings.portal_url == ""
    assert settings.lock_mode is LockMode.DRY_RUN
    assert (settings.lock_level, settings.lock_stop_compute) == (LockLevel.READ_ONLY, False)
    assert settings.lock_when_unsure is WhenUnsure.LOCK
    assert (settings.lock_never, settings.never_locked, settings.lock_action_group_id) == ((), frozenset(), None)
    assert (settings.alert_audience, settings.alert_tenant_id) == (None, None)
    assert settings.alert_authority == "https://login.microsoftonline.com"
    assert settings.clock_start is None
    assert settings.azure_instance is None


def test_the_example_file_loads_as_it_is() -> None:
    settings = load({}, ROOT / "local.settings.json.example")
    assert settings.storage_connection is not None
    assert settings.storage_connection.get_secret_value() == "UseDevelopmentStorage=true"
    assert settings.email_operators == ("platform-team@example.com",)


def test_every_setting_says_what_it_takes() -> None:
    names = setting_names()
    assert len(names) == len(Settings.model_fields)
    assert all(names.values())
    assert {"DATABASE_URL", "ProjectUsageCRON", "EMAIL_BCC_FROM_PERCENT", "LOCK_MODE"} <= set(names)


# --- what is taken -------------------------------------------------------------------------------------------


def test_settings_are_read_as_they_are_given() -> None:
    settings = load(
        IN_AZURE
        | {
            "QueueEmailNotification": "mails",
            "ProjectUsageCRON": "0 30 4 * * MON-FRI",
            "ProjectUsageNotificationPercents": "100, 50,50,, 120,",
            "COST_METRIC": "AmortizedCost",
            "COST_LOOKBACK_DAYS": "60",
            "COST_QPU_PER_MINUTE": "20",
            "COST_QPU_PER_HOUR": "200",
            "EMAIL_OPERATORS": "a@example.com; b@example.com",
            "EMAIL_BCC": "c@example.com",
            "EMAIL_BCC_FROM_PERCENT": "50",
            "SENDGRID_ENDPOINT": "https://api.eu.sendgrid.com/",
            "PORTAL_URL": "https://portal.example.com/{acronym}",
            "QueueProjectLock": "locks",
            "LOCK_MODE": "enforce",
            "LOCK_LEVEL": "CanNotDelete",
            "LOCK_STOP_COMPUTE": "true",
            "LOCK_WHEN_UNSURE": "leave",
            "LOCK_NEVER": "rg-network; RG-Shared",
            "WEBSITE_RESOURCE_GROUP": "rg-warden",
            "LOCK_ACTION_GROUP_ID": f" {ACTION_GROUP} ",
            "ALERT_AUDIENCE": "api://warden",
            "ALERT_TENANT_ID": TENANT.upper(),
            "ALERT_AUTHORITY": "https://login.microsoftonline.us/",
        }
    )
    assert settings.queue_names[Queue.EMAIL] == "mails"
    assert settings.schedule_usage == "0 30 4 * * MON-FRI"
    assert settings.thresholds == (50, 100, 120)
    assert settings.cost_metric is CostMetric.AMORTIZED
    assert (settings.lookback_days, settings.units_per_minute, settings.units_per_hour) == (60, 20, 200)
    assert settings.email_operators == ("a@example.com", "b@example.com")
    assert settings.email_bcc == ("c@example.com",)
    assert settings.email_bcc_from_percent == 50
    assert settings.sendgrid_endpoint == "https://api.eu.sendgrid.com"
    assert settings.portal_url == "https://portal.example.com/{acronym}"
    assert settings.queue_names[Queue.LOCK] == "locks"
    assert settings.lock_mode is LockMode.ENFORCE
    assert (settings.lock_level, settings.lock_stop_compute) == (LockLevel.CAN_NOT_DELETE, True)
    assert settings.lock_when_unsure is WhenUnsure.LEAVE
    assert settings.lock_never == ("rg-network", "RG-Shared")
    assert settings.lock_action_group_id == ACTION_GROUP
    assert (settings.alert_audience, settings.alert_tenant_id) == ("api://warden", TENANT)
    assert settings.alert_authority == "https://login.microsoftonline.us"


def test_names_are_read_without_regard_to_case() -> None:
    settings = load(
        {
            "DATAHUBSTORAGECONNECTIONSTRING": "AccountName=a;AccountKey=a2V5",
            "cost_lookback_days": "40",
            "projectusagecron": "1 2 3 * * *",
        }
    )
    assert settings.lookback_days == 40
    assert settings.schedule_usage == "1 2 3 * * *"


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_setting_is_the_same_as_none(empty: str) -> None:
    assert load(STORAGE | dict.fromkeys(set(setting_names()) - set(STORAGE), empty)) == load(STORAGE)


@pytest.mark.parametrize(
    "connection",
    [
        "UseDevelopmentStorage=true;",
        "usedevelopmentstorage=true",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net",
        "accountname=a;ACCOUNTKEY=a2V5Cg==;",
        "QueueEndpoint=https://a.queue.core.windows.net/;SharedAccessSignature=sv=2026-02-06&sig=a%3D",
    ],
)
def test_connection_strings_are_taken_as_the_queues_sdk_takes_them(connection: str) -> None:
    load({"DatahubStorageConnectionString": connection})
    by_connection_string(connection)("mails").close()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_means_the_driver_that_the_app_uses(scheme: str) -> None:
    url = load(STORAGE | {"DATABASE_URL": f"{scheme}://me@server/x"}).database_url
    assert url.get_secret_value() == "postgresql+psycopg://me@server/x"


def test_an_identity_takes_the_place_of_a_connection_string() -> None:
    settings = load(
        {
            "DatahubStorageConnectionString__queueServiceUri": "https://warden.queue.core.windows.net/",
            "DatahubStorageConnectionString__clientId": "1caaa5a3-2b66-438e-8ab4-bce37d518c5d",
        }
    )
    assert settings.storage_connection is None
    assert settings.storage_queue_uri == "https://warden.queue.core.windows.net"
    assert settings.storage_client_id == "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9", "http://127.9.9.9"]
)
def test_plain_http_is_taken_for_this_machine_itself(endpoint: str) -> None:
    assert load(STORAGE | {"AZURE_MANAGEMENT_ENDPOINT": endpoint}).management_endpoint == endpoint


def test_what_plays_aws_is_on_this_machine() -> None:
    assert load(STORAGE | {"AWS_ENDPOINT": "http://127.0.0.1:8080/"}).aws_endpoint == "http://127.0.0.1:8080"


def test_the_first_role_at_aws_and_the_audience_of_the_token_for_it_go_together() -> None:
    both = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/warden", "AWS_WEB_IDENTITY_AUDIENCE": "api://warden"}
    settings = load(STORAGE | both)
    assert (settings.aws_role_arn, settings.aws_audience) == tuple(both.values())
    for present, missing in itertools.permutations(both):
        (fault,) = faults_of(STORAGE | {present: both[present]})
        assert fault == f"{missing} is missing: {present} is set. It takes {setting_names()[missing]}."


def test_a_reporting_currency_goes_with_conversion() -> None:
    both = {"REPORTING_CURRENCY": "eur", "CURRENCY_CONVERSION": "ecb"}
    assert load(STORAGE | both).reporting_currency == "EUR"
    assert load(STORAGE).reporting_currency is None
    for alone in ({}, {"CURRENCY_CONVERSION": "off"}):
        (fault,) = faults_of(STORAGE | {"REPORTING_CURRENCY": "EUR"} | alone)
        assert fault == (
            "REPORTING_CURRENCY is set, and CURRENCY_CONVERSION is off: nothing is converted. It takes ecb there."
        )


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("AWS_ROLE_ARN", "arn:aws-us-gov:iam::123456789012:role/warden", "aws-us-gov has no Cost Explorer"),
        ("AWS_ROLE_ARN", "arn:aws-iso:iam::123456789012:role/warden", "aws-iso is no partition of AWS whose costs"),
        ("AWS_WEB_IDENTITY_AUDIENCE", "api://warden/.default", "/.default behind it is a scope's; leave it out"),
    ],
)
def test_what_aws_has_no_costs_for_or_takes_for_a_scope_is_said(name: str, value: str, why: str) -> None:
    both = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/warden", "AWS_WEB_IDENTITY_AUDIENCE": "api://warden"}
    (fault,) = faults_of(STORAGE | both | {name: value})
    assert fault.startswith(f"{name} is not right: {why}")


def test_a_clock_can_be_set_for_trying_things_out() -> None:
    settings = load(STORAGE | {"LOCAL_CLOCK_START": "2026-11-20T02:00:00+00:00"})
    assert settings.clock_start == datetime(2026, 11, 20, 2, tzinfo=UTC)
    assert load(STORAGE | {"LOCAL_CLOCK_SPEED": "10"}).clock_speed == 10


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * * *",
        "0 0 2 * * *",
        "*/30 0,30 1-5 1,15 JAN,Jul-dec sun",
        "59 59 23 31 12 6",
        "0 0/5 * * march friday",
        "  0 0  2 * * 1-5/2 ",
    ],
)
def test_schedules_of_six_fields_are_taken(schedule: str) -> None:
    assert load(STORAGE | {"ProjectUsageCRON": schedule}).schedule_usage == schedule.strip()


@pytest.mark.parametrize(
    ("given", "at_two"),
    [
        ({}, 2),
        ({"WEBSITE_TIME_ZONE": "Europe/Madrid"}, 1),
        ({"WEBSITE_TIME_ZONE": "Europe/Madrid", "WEBSITE_SKU": "ElasticPremium"}, 1),
        ({"WEBSITE_TIME_ZONE": "Europe/Madrid", "WEBSITE_SKU": "FlexConsumption"}, 2),
        ({"WEBSITE_TIME_ZONE": "Europe/Madrid", "WEBSITE_SKU": "Dynamic"}, 2),
        ({"WEBSITE_TIME_ZONE": "Romance Standard Time", "WEBSITE_SKU": "FlexConsumption"}, 2),
    ],
)
def test_nights_are_in_the_zone_s_time_where_azure_s_plan_knows_zones(given: dict[str, str], at_two: int) -> None:
    noon = datetime(2026, 1, 10, 12, tzinfo=UTC)
    assert load(IN_AZURE | given).nights.after(noon) == datetime(2026, 1, 11, at_two, tzinfo=UTC)
    assert load(STORAGE | given).nights.after(noon) == datetime(2026, 1, 11, 2, tzinfo=UTC), "the local host knows none"


@pytest.mark.parametrize("zone", ["Romance Standard Time", "Mars/Olympus", "/etc/localtime", "..", "Europe"])
def test_a_zone_that_counts_and_is_none_is_refused(zone: str) -> None:
    (fault,) = faults_of(IN_AZURE | {"WEBSITE_TIME_ZONE": zone})
    assert "WEBSITE_TIME_ZONE is not right. It takes the zone of the schedules" in fault
    assert "Europe/Madrid" in fault


@pytest.mark.parametrize("mode", list(LockMode))
def test_every_lock_mode_is_taken(mode: LockMode) -> None:
    assert load(STORAGE | {"LOCK_MODE": mode.value}).lock_mode is mode


@pytest.mark.parametrize("given", [ACTION_GROUP, ACTION_GROUP.lower(), ACTION_GROUP.upper()])
def test_an_action_group_s_id_is_taken_in_any_case_as_azure_spells_it(given: str) -> None:
    assert load(STORAGE | {"LOCK_ACTION_GROUP_ID": given}).lock_action_group_id == given


# --- which groups are never locked ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "never"),
    [
        ({}, set()),
        ({"LOCK_NEVER": "rg-network"}, {"rg-network"}),
        ({"LOCK_NEVER": " RG-Network ;rg-hub,, Hub(1)_. "}, {"rg-network", "rg-hub", "hub(1)_."}),
        ({"WEBSITE_RESOURCE_GROUP": "RG-Warden"}, {"rg-warden"}),
        ({"WEBSITE_OWNER_NAME": "1caaa5a3+RG-Warden-CanadaCentralwebspace"}, {"rg-warden"}),
        ({"WEBSITE_OWNER_NAME": "1caaa5a3+rg-warden-CanadaCentralwebspace-Linux"}, {"rg-warden"}),
        ({"WEBSITE_OWNER_NAME": "1CAAA5A3+RG-WARDEN-CANADACENTRALWEBSPACE-LINUX"}, {"rg-warden"}),
        ({"WEBSITE_OWNER_NAME": "sub+my-web-space-rg-WestEuropewebspace"}, {"my-web-space-rg"}),
        ({"WEBSITE_OWNER_NAME": "sub+rg-warden"}, set()),
        ({"WEBSITE_OWNER_NAME": "rg-warden-CanadaCentralwebspace"}, set()),
        ({"WEBSITE_RESOURCE_GROUP": "one", "WEBSITE_OWNER_NAME": "sub+other-EastUSwebspace"}, {"one"}),
        ({"LOCK_NEVER": "hub", "WEBSITE_RESOURCE_GROUP": "Warden"}, {"hub", "warden"}),
        ({"LOCK_NEVER": "hub", "WEBSITE_OWNER_NAME": "sub+Warden-EastUSwebspace-Linux"}, {"hub", "warden"}),
    ],
)
def test_the_app_s_own_group_is_never_locked_nor_are_those_that_lock_never_names(
    given: dict[str, str], never: set[str]
) -> None:
    assert load(STORAGE | given).never_locked == never


@pytest.mark.parametrize(
    "known", [{"WEBSITE_OWNER_NAME": "sub+rg-EastUSwebspace-Linux"}, {"WEBSITE_RESOURCE_GROUP": "rg"}]
)
@pytest.mark.parametrize("mode", ["enforce", "dry-run", "off"])
def test_in_azure_the_app_enforces_locks_only_where_it_knows_its_own_group(mode: str, known: dict[str, str]) -> None:
    load(IN_AZURE | known | {"LOCK_MODE": mode})
    load(STORAGE | {"LOCK_MODE": mode})
    if mode == "enforce":
        unknown = {"LOCK_NEVER": "rg-network", "WEBSITE_OWNER_NAME": "of another form"}
        (fault,) = faults_of(IN_AZURE | {"LOCK_MODE": mode} | unknown)
        assert fault.startswith("WEBSITE_RESOURCE_GROUP is missing, and Azure does not say otherwise which resource")
        assert "It takes that group's name" in fault
    else:
        load(IN_AZURE | {"LOCK_MODE": mode})


# --- what is refused -----------------------------------------------------------------------------------------

# 32 bytes.
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
WRONG = {
    "DatahubStorageConnectionString": [
        *("x", "warden", "https://warden.queue.core.windows.net", "UseDevelopmentStorage=True", ";", "="),
        *("AccountName=a", "AccountName=a;AccountKey=", "AccountName=a;AccountKey=no key", "AccountKey=a2V5"),
        *("AccountName=;AccountKey=a2V5", "AccountName=a;AccountKey=a2V5;x", "SharedAccessSignature=sv=1"),
        *("AccountName=a;AccountKey=a2V", "QueueEndpoint=https://a.queue.core.windows.net;AccountKey=a2V5"),
    ],
    "DatahubStorageConnectionString__queueServiceUri": ["warden", "http://warden.queue.core.windows.net", "https://"],
    "DATABASE_URL": ["warden.db", "mysql://server/x", "postgresql+asyncpg://server/x", "sqlite://"],
    "QueueProjectUsageUpdate": ["ab", "Project-Usage", "a--b", "-ab", "ab-", "a_b", "x" * 57, "mails mails"],
    "QueueProjectUsageNotification": ["é" * 5],
    "QueueEmailNotification": ["a/b"],
    "ProjectUsageCRON": [
        *("0 2 * * *", "0 0 2 * * * *", "02:00:00", "@daily", "0 0 2 ? * *", "0 0 2 L * *"),
        *("60 * * * * *", "0 60 * * * *", "0 0 24 * * *", "0 0 0 0 * *", "0 0 0 * 13 *", "0 0 0 * * 7"),
        *("0 0 22-2 * * *", "0 0 2 * * FRI-MON", "0 0 0 30 2 *", "0 0 2 * JANX *", "0\t0 2 * * *"),
        *("0 0 2 * * XYZ", "0 0 2 * MON *", "*/0 * * * * *", "0 0 -2 * * *", "0 0 1- * * *", "0 0 1,, * * *"),
    ],
    "WatchdogCRON": ["every 15 minutes"],
    "CostExportCRON": ["hourly", "0 0 0 30 2 *"],
    "QueueCostExportImport": ["Cost-Exports", "x" * 57],
    "COST_EXPORT_CONTAINER": ["MsExports", "ab", "a--b", "-ab", "x" * 64, "$web", "msexports/daily"],
    "CostExportStorage": ["storage", "AccountName=a", "BlobEndpoint=https://a", "UseDevelopmentStorage=false"],
    "CostExportStorage__blobServiceUri": ["http://a.blob.core.windows.net", "a.blob.core.windows.net"],
    "AZURE_ACCOUNT_NAME": ["Account", "ab", "my-account", "https://a.blob.core.windows.net"],
    "AZURE_ACCOUNT_KEY": ["a key", "="],
    "ProjectUsageNotificationPercents": ["0", "-25", "1001", "25;50", ",", " , ,", "a", "25.5", "9" * 5000],
    "AZURE_MANAGEMENT_ENDPOINT": [
        "management.azure.com",
        "http://management.azure.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "ftp://127.0.0.1",
        "https://",
        "http://[",
        "http://10.0.0.1",
        "https://management.azure.com/subscriptions",
        "https://me@management.azure.com",
    ],
    "COST_METRIC": ["Cost", "actual"],
    "COST_LOOKBACK_DAYS": ["0", "-1", "367", "35.5", "month", "1e2"],
    "COST_QPU_PER_MINUTE": ["0", "1001", "fifty"],
    "COST_QPU_PER_HOUR": ["0", "10001"],
    "AWS_ROLE_ARN": [
        "warden",
        "arn:aws:iam::123456789012:user/warden",
        "arn:aws:iam::12345678901:role/warden",
        "arn:aws:iam::123456789012:role/warden\nrole",
    ],
    "REPORTING_CURRENCY": ["euro", "€", "EU", "E1R", "CAD,EUR"],
    "AWS_WEB_IDENTITY_AUDIENCE": ["warden", "https://sts.amazonaws.com", "api://", "api://two words"],
    "AWS_ENDPOINT": [
        "https://sts.amazonaws.com",
        "http://10.0.0.1",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1:9/path",
        "127.0.0.1:9",
    ],
    "AWS_CALLS_PER_DAY": ["0", "-1", "10001", "many"],
    "EMAIL_PROVIDER": ["gmail", "azure"],
    "EMAIL_SENDER": [
        "warden",
        "a@b@c",
        "a b@c.ca",
        "Warden <a@b.ca>",
        "a@b.ca\nBcc: c@d.ca",
        "a@b.ca,c@d.ca",
        "a@b..ca",
        "a@b.ca.",
        "a..b@c.ca",
        ".a@c.ca",
        "mailto:a@b.ca",
        "é@b.ca",
        'a"b@c.ca',
    ],
    "EMAIL_SENDER_NAME": ["Budget\nWarden"],
    "EMAIL_OPERATORS": ["nobody", "a@b.ca; nobody", "ops@intranet", "a@b.ca, ops@b.ca.", "é@example.com"],
    "EMAIL_BCC": ["a@b.ca\n<c@d.ca>"],
    "EMAIL_BCC_FROM_PERCENT": ["0", "1001", "eighty"],
    "SENDGRID_ENDPOINT": ["http://api.sendgrid.com", "https://api.sendgrid.com?x", "https://me@api.sendgrid.com"],
    "ACS_ENDPOINT": [
        "acs.communication.azure.com",
        "http://acs.communication.azure.com",
        "https://acs.communication.azure.com/emails:send",
        "endpoint=https://acs.communication.azure.com/;accesskey=a2V5",
    ],
    "SMTP_HOST": ["me@example.com", "smtp example com", "a:b:c"],
    "SMTP_PORT": ["0", "65536", "smtp"],
    "SMTP_STARTTLS": ["maybe"],
    "PORTAL_URL": ["portal/{acronym}", "javascript:alert(1)"],
    "WEB_URL": ["warden", "javascript:alert(1)"],
    "QueueProjectLock": ["Project-Lock", "x" * 57],
    "LOCK_MODE": ["on", "dryrun", "enforced", "Enforce"],
    "LOCK_LEVEL": ["readonly", "Delete", "ReadOnly;CanNotDelete"],
    "LOCK_STOP_COMPUTE": ["perhaps"],
    "LOCK_WHEN_UNSURE": ["unlock", "wait"],
    "LOCK_NEVER": ["rg/one", "rg one", "x" * 91, "rg-*", "/subscriptions/x/resourceGroups/rg"],
    "LOCK_ACTION_GROUP_ID": [
        "lock-projects",
        ACTION_GROUP.removeprefix("/"),
        ACTION_GROUP.replace("actionGroups", "components"),
        ACTION_GROUP.replace("1caaa5a3-2b66-438e-8ab4-bce37d518c5d", "main"),
        f"{ACTION_GROUP}/more",
        f"{ACTION_GROUP}?x",
        f"https://management.azure.com{ACTION_GROUP}",
    ],
    "ALERT_TENANT_ID": ["example.onmicrosoft.com", "common", TENANT[:-1], f"{TENANT}/v2.0"],
    "ALERT_AUTHORITY": [
        "login.microsoftonline.com",
        "http://login.microsoftonline.com",
        f"https://login.microsoftonline.com/{TENANT}",
    ],
    "LOCAL_CLOCK_START": ["yesterday", "2026-02-30T00:00:00Z"],
    "LOCAL_CLOCK_SPEED": ["0", "101", "fast", "1.5"],
}


SERVERS = ("postgresql", "mssql+pyodbc")
NO_PORT = "its port is no number from 1 to 65535"
IN_MEMORY = "it is a database in memory, which goes with each process"
ACCOUNT = "AccountKey=a2V5;DefaultEndpointsProtocol=https"
WRONG_AND_WHY = [
    *(("DATABASE_URL", f"{scheme}://u:p@db.example.com:port/warden", NO_PORT) for scheme in SERVERS),
    *(("DATABASE_URL", f"{scheme}://u:p@db.example.com:1433;/warden", NO_PORT) for scheme in SERVERS),
    *(("DATABASE_URL", f"{scheme}://db.example.com:99999/warden", NO_PORT) for scheme in SERVERS),
    *(("DATABASE_URL", f"{scheme}://tcp:db.example.com/warden", NO_PORT) for scheme in SERVERS),
    ("DATABASE_URL", "postgresql://u:p@[::1/warden", "its host is none"),
    ("DATABASE_URL", "postgresql://u:p@ss@db.example.com/w", "two @ before its host; one in a password is written %40"),
    *(("DATABASE_URL", url, IN_MEMORY) for url in ("sqlite:///", "sqlite:///:memory:")),
    *(("DATABASE_URL", f"sqlite:///file:{at}", IN_MEMORY) for at in (":memory:?uri=true", "x?mode=memory&uri=true")),
    ("AZURE_MANAGEMENT_ENDPOINT", "https://management.azure.com:abc", NO_PORT),
    ("AZURE_MANAGEMENT_ENDPOINT", "https://management.azure.com:99999", NO_PORT),
    ("SENDGRID_ENDPOINT", "https://api.sendgrid.com:x", NO_PORT),
    ("SMTP_HOST", "smtp.example.com:587", "the port goes into SMTP_PORT"),
    ("SMTP_HOST", "smtps://smtp.example.com", "the name alone, without smtp:// before it"),
    (
        "DatahubStorageConnectionString",
        f"AccountName= acct ;{ACCOUNT}",
        "its AccountName holds what no AccountName does",
    ),
    ("DatahubStorageConnectionString", f"AccountName=https://a;{ACCOUNT}", "its AccountName holds"),
    ("DatahubStorageConnectionString", f"AccountName=a;{ACCOUNT};EndpointSuffix=https://x", "its EndpointSuffix holds"),
]


@pytest.mark.parametrize(("name", "value", "why"), WRONG_AND_WHY)
def test_what_is_wrong_is_said_where_it_is_known(name: str, value: str, why: str) -> None:
    storage = {} if name.startswith("Datahub") else STORAGE
    (fault,) = faults_of(storage | {name: value})
    assert fault.startswith(f"{name} is not right: ") and fault.endswith(f". It takes {setting_names()[name]}.")
    assert why in fault


@pytest.mark.parametrize(
    "url",
    [
        "mssql+pyodbc://me:p%40ss@server,1433/warden?driver=ODBC+Driver+18+for+SQL+Server",
        "mssql+pyodbc://me:p/a?s#s@server:1433/warden",
        "mssql+pyodbc:///?odbc_connect=Driver%3D%7BODBC%7D%3BServer%3Dtcp%3Ax%2C1433",
        "mssql+pyodbc://@dsn",
        "mssql+mssqlpython://server.database.windows.net/warden?Authentication=ActiveDirectoryMSI",
        "postgresql+psycopg://me:p:w@[::1]:5432/warden",
        "postgresql+psycopg:///warden?host=/run/postgresql",
        "postgresql+psycopg://me@/warden?host=a:5432&host=b:5432",
        "sqlite:////var/warden.db",
        "sqlite:///C:\\warden.db",
        "sqlite:///file:warden.db?uri=true",
    ],
)
def test_every_url_that_sqlalchemy_can_use_is_taken(url: str) -> None:
    make_url(url)
    assert load(STORAGE | {"DATABASE_URL": url}).database_url.get_secret_value() == url


@pytest.mark.parametrize("host", ["smtp.example.com", "mail", "10.0.0.1", "::1", "mail-1.örtlich.example"])
def test_a_mail_server_is_a_name_or_an_address(host: str) -> None:
    assert load(STORAGE | {"SMTP_HOST": host}).smtp_host == host


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_setting_is_the_only_fault_named_with_what_it_takes(name: str, value: str) -> None:
    storage = {} if name.startswith("Datahub") else STORAGE
    assert faults_of(storage | {name: value}) == [f"{name} is not right. It takes {setting_names()[name]}."]


@given(st.sets(st.sampled_from(sorted(WRONG)), min_size=1), st.data())
def test_all_the_faults_are_in_one_message_each_once(names: set[str], data: st.DataObject) -> None:
    wrong = {name: data.draw(st.sampled_from(WRONG[name])) for name in sorted(names)}
    storage = {} if any(name.startswith("Datahub") for name in wrong) else STORAGE
    faults = faults_of(storage | wrong)
    assert sorted(fault.partition(" is not right. ")[0] for fault in faults) == sorted(wrong)


@given(st.dictionaries(st.sampled_from(sorted(setting_names())), st.text(max_size=30)))
def test_any_texts_at_all_are_settings_or_a_settings_error(environment: dict[str, str]) -> None:
    try:
        load(environment)
    except SettingsError as error:
        assert all(line.startswith("  - ") for line in str(error).splitlines()[1:])


def test_without_anything_only_the_queues_are_missing() -> None:
    (fault,) = faults_of({})
    assert fault.startswith("DatahubStorageConnectionString is missing. It takes a storage account's connection string")
    assert "DatahubStorageConnectionString__queueServiceUri" in fault


@pytest.mark.parametrize("name", ["StorageConnectionString", "storageconnectionstring__queueServiceUri"])
def test_the_storage_s_connection_by_a_shorter_name_is_refused_with_the_right_one(name: str) -> None:
    assert faults_of({name: "UseDevelopmentStorage=true"}) == [
        "DatahubStorageConnectionString is missing, and StorageConnectionString is not read: "
        "its name is DatahubStorageConnectionString."
    ]
    load(STORAGE | {name: "UseDevelopmentStorage=true"})


@pytest.mark.parametrize("name", sorted(setting_names()))
def test_a_reference_to_key_vault_that_was_not_resolved_is_the_only_fault_for_every_setting(name: str) -> None:
    reference = f"@Microsoft.KeyVault(SecretUri=https://vault.example.com/secrets/{name})"
    storage = {} if name.startswith("Datahub") and not name.endswith("clientId") else STORAGE
    for text in (reference, f" {reference.lower()} "):
        (fault,) = faults_of(storage | {name: text})
        assert fault.startswith(f"{name} is a reference to Key Vault that Azure did not resolve.")
        assert "Key Vault Secrets User" in fault
        assert "vault.example.com" not in fault


def test_a_reference_to_app_configuration_that_was_not_resolved_is_refused_as_such() -> None:
    reference = "@Microsoft.AppConfiguration(Endpoint=https://x.azconfig.io; Key=k)"
    for name in ("SMTP_PASSWORD", "AZURE_CLIENT_ID"):
        (fault,) = faults_of(STORAGE | {name: reference})
        assert fault.startswith(f"{name} is a reference to App Configuration that Azure did not resolve.")
        assert "App Configuration Data Reader" in fault and "azconfig" not in fault


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} ", "\t{}"])
def test_what_stands_around_a_value_is_no_part_of_it(around: str, tmp_path: Path) -> None:
    values = {
        "DatahubStorageConnectionString": "AccountName=x;AccountKey=YWJj;EndpointSuffix=core.windows.net",
        "DATABASE_URL": "postgresql+psycopg://u:p@h/warden",
        "AZURE_CLIENT_ID": "6c0a3d2e-1111-2222-3333-444455556666",
        "SMTP_PASSWORD": "se cret",
    }
    given = {name: around.format(value) for name, value in values.items()}
    assert load(given) == load({}, local_settings(tmp_path, given)) == load(values)


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("name", sorted({*setting_names()} - {"SMTP_PASSWORD"}))
def test_a_value_in_quotes_is_the_only_fault_for_every_setting(name: str, quote: str) -> None:
    storage = {} if name.startswith("Datahub") and not name.endswith("clientId") else STORAGE
    (fault,) = faults_of(storage | {name: f"{quote}se;cret{quote}\n"})
    assert fault == f"{name} is in quotes, which would be a part of it. Leave them out."


def test_a_password_may_be_in_quotes() -> None:
    password = load(STORAGE | {"SMTP_PASSWORD": '"quoted"'}).smtp_password
    assert password is not None and password.get_secret_value() == '"quoted"'


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("* 0 2 * * *", "fires 60 times an hour, and each time begins a night: did you mean 0 0 2 * * *?"),
        ("0 * 2 * * MON-FRI", "fires 60 times an hour, and each time begins a night: did you mean 0 0 2 * * MON-FRI?"),
        ("0 15,45 */6 * * *", "fires 2 times an hour, and each time begins a night: did you mean 0 15 */6 * * *?"),
        ("0 0 * * * *", None),
        ("0 0 2 * *", None),
    ],
)
def test_nights_that_follow_each_other_within_an_hour_are_warned_of(schedule: str, said: str | None) -> None:
    assert doubts({"ProjectUsageCron": schedule}) == ([f"ProjectUsageCRON {said}"] if said else [])
    assert doubts({"WatchdogCRON": schedule}) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("EMAIL_OPERATOR", "EMAIL_OPERATOR is not read: its name is EMAIL_OPERATORS."),
        ("email_operatorss", "email_operatorss is not read: its name is EMAIL_OPERATORS."),
        ("LOCK_MOED", "LOCK_MOED is not read: its name is LOCK_MODE."),
        ("DATABASE_URI", "DATABASE_URI is not read: its name is DATABASE_URL."),
        ("AZURE_CLIENTID", "AZURE_CLIENTID is not read: its name is AZURE_CLIENT_ID."),
        ("LOCK_EVERYTHING", "LOCK_EVERYTHING is not read: there is no such setting."),
        ("QueueProjectUsage", "QueueProjectUsage is not read: there is no such setting."),
        ("DatahubStorageConnectionString__credential", None),
        ("AZURE_TENANT_ID", None),
        ("PATH", None),
        ("lock_mode", None),
    ],
)
def test_what_is_not_read_though_its_name_looks_like_ours_is_warned_of(
    name: str, said: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = [said] if said else []
    assert doubts({name: "off"}) == expected
    assert doubts({}, local_settings(tmp_path, {name: "off"})) == expected
    assert doubts({name: " "}) == []
    load(STORAGE | {name: "off"})
    assert [record.getMessage() for record in caplog.records] == [f"setting_in_doubt {each}" for each in expected]


def test_a_connection_string_and_an_identity_at_once_are_refused() -> None:
    (fault,) = faults_of(
        STORAGE | {"DatahubStorageConnectionString__queueServiceUri": "https://x.queue.core.windows.net"}
    )
    assert fault.endswith("are both set; the first would win. Keep one of them.")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"EMAIL_PROVIDER": "sendgrid"}, ["EMAIL_SENDER", "SENDGRID_API_KEY"]),
        ({"EMAIL_PROVIDER": "sendgrid", "EMAIL_SENDER": "a@b.ca"}, ["SENDGRID_API_KEY"]),
        ({"EMAIL_PROVIDER": "acs"}, ["EMAIL_SENDER", "ACS_ENDPOINT"]),
        ({"EMAIL_PROVIDER": "smtp"}, ["EMAIL_SENDER", "SMTP_HOST"]),
        ({"EMAIL_PROVIDER": "smtp", "SMTP_USERNAME": "u"}, ["EMAIL_SENDER", "SMTP_HOST", "SMTP_PASSWORD"]),
    ],
)
def test_what_a_mail_provider_needs_is_asked_for(given: dict[str, str], missing: list[str]) -> None:
    faults = faults_of(STORAGE | given)
    assert [fault.partition(" is missing: ")[0] for fault in faults] == missing
    assert all(
        fault.endswith(f"It takes {setting_names()[name]}.") for fault, name in zip(faults, missing, strict=True)
    )


def test_what_only_another_mail_provider_needs_is_not_asked_for() -> None:
    assert load(STORAGE | {"SMTP_USERNAME": "left over"}).email_provider is Provider.OUTBOX


@pytest.mark.parametrize(
    "names",
    [
        {"QueueProjectUsageUpdate": "email-notification"},
        {"QueueProjectUsageUpdate": "one", "QueueEmailNotification": "one"},
        {"QueueEmailNotification": "project-usage-update-poison"},
        {"QueueProjectLock": "email-notification"},
        {"QueueProjectLock": "project-usage-notification-poison"},
        {"QueueProjectUsageUpdate": "project-lock"},
        {"QueueProjectUsageUpdate": "project-lock-poison"},
        {"QueueCostExportImport": "project-lock"},
    ],
)
def test_queues_that_would_get_each_others_messages_are_refused(names: dict[str, str]) -> None:
    (fault,) = faults_of(STORAGE | names)
    assert "QueueProjectLock" in fault
    assert fault.endswith("Each takes a name of its own.")


def test_an_audience_needs_the_tenant_whose_tokens_are_taken() -> None:
    (fault,) = faults_of(STORAGE | {"ALERT_AUDIENCE": "api://warden"})
    assert fault == (
        f"ALERT_TENANT_ID is missing: ALERT_AUDIENCE is set. It takes {setting_names()['ALERT_TENANT_ID']}."
    )
    # A misspelt ALERT_AUDIENCE would otherwise let everybody in who has the function's key.
    assert faults_of(STORAGE | {"ALERT_TENANT_ID": TENANT}) == [
        f"ALERT_AUDIENCE is missing: ALERT_TENANT_ID is set. It takes {setting_names()['ALERT_AUDIENCE']}."
    ]


BY_KEY = {"AZURE_ACCOUNT_NAME": "exports", "AZURE_ACCOUNT_KEY": "a2V5"}
EXPORTS = "DefaultEndpointsProtocol=https;AccountName=exports;AccountKey=a2V5"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (BY_KEY, EXPORTS),
        ({"CostExportStorage": "UseDevelopmentStorage=true"}, "UseDevelopmentStorage=true"),
        (BY_KEY | {"CostExportStorage": "AccountName=a;AccountKey=a2V5"}, "AccountName=a;AccountKey=a2V5"),
        ({"CostExportStorage": EXPORTS + ";BlobEndpoint=https://x"}, EXPORTS + ";BlobEndpoint=https://x"),
        (BY_KEY | {"CostExportStorage__blobServiceUri": "https://exports.blob.core.windows.net"}, None),
    ],
)
def test_exports_lie_where_the_first_of_these_settings_says(given: dict[str, str], expected: str | None) -> None:
    settings = load(STORAGE | given)
    assert (settings.has_exports, settings.export_connection) == (True, expected)


@pytest.mark.parametrize("missing", BY_KEY)
def test_an_account_of_exports_has_a_name_and_a_key(missing: str) -> None:
    (other,) = (name for name in BY_KEY if name != missing)
    assert faults_of(STORAGE | {other: BY_KEY[other]}) == [
        f"{missing} is missing: {other} is set. It takes {setting_names()[missing]}."
    ]


def test_exports_lie_in_one_place() -> None:
    both = {"CostExportStorage": EXPORTS, "CostExportStorage__blobServiceUri": "https://exports.blob.core.windows.net"}
    (fault,) = faults_of(STORAGE | both)
    assert fault.startswith("CostExportStorage and CostExportStorage__blobServiceUri are both set")


def test_a_wrong_tenant_is_not_also_missing() -> None:
    wrong = {"ALERT_AUDIENCE": "api://warden", "ALERT_TENANT_ID": "common"}
    assert [fault.partition(" is ")[0] for fault in faults_of(STORAGE | wrong)] == ["ALERT_TENANT_ID"]


def test_faults_of_single_settings_and_between_settings_are_in_one_message() -> None:
    wrong = {
        "COST_LOOKBACK_DAYS": "many",
        "LOCK_LEVEL": "Delete",
        "LOCK_ACTION_GROUP_ID": "lock-projects",
        "EMAIL_PROVIDER": "smtp",
        "EMAIL_SENDER": "warden@example.com",
        "QueueProjectLock": "email-notification",
        "ALERT_AUDIENCE": "api://warden",
        "LOCK_MODE": "enforce",
    }
    named = [fault.partition(" is ")[0] for fault in faults_of(IN_AZURE | wrong)]
    assert named[:3] == ["COST_LOOKBACK_DAYS", "LOCK_LEVEL", "LOCK_ACTION_GROUP_ID"]
    assert named[3] == "SMTP_HOST"
    assert named[4].startswith("Two of QueueProjectUsageUpdate")
    assert named[5:] == ["ALERT_TENANT_ID", "WEBSITE_RESOURCE_GROUP"]


# --- Azure ---------------------------------------------------------------------------------------------------


def test_in_azure_a_real_database_and_mail_provider_are_taken() -> None:
    assert load(IN_AZURE).azure_instance == "a1b2c3"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DATABASE_URL", "sqlite:///x.db", "DATABASE_URL is SQLite, whose file does not last in Azure."),
        ("DATABASE_URL", "", "DATABASE_URL is SQLite, whose file does not last in Azure."),
        ("EMAIL_PROVIDER", "outbox", "EMAIL_PROVIDER is outbox, whose folder does not last in Azure."),
        ("EMAIL_PROVIDER", "", "EMAIL_PROVIDER is outbox, whose folder does not last in Azure."),
        ("LOCAL_CLOCK_START", "2026-11-20T02:00:00Z", "LOCAL_CLOCK_START is set, which is for a developer's machine"),
        ("LOCAL_CLOCK_SPEED", "2", "LOCAL_CLOCK_SPEED is set, which is for a developer's machine"),
        ("AWS_ENDPOINT", "http://localhost:9", "AWS_ENDPOINT is set, which is for a developer's machine"),
    ],
)
def test_in_azure_what_lies_on_a_disk_that_goes_away_is_refused(name: str, value: str, expected: str) -> None:
    (fault,) = faults_of(IN_AZURE | {name: value})
    assert fault.startswith(expected)
    load({key: value for key, value in IN_AZURE.items() if key != "WEBSITE_INSTANCE_ID"} | {name: value})


def test_in_azure_a_wrong_setting_is_not_also_blamed_for_its_default() -> None:
    wrong = {"DATABASE_URL": "oracle://x", "EMAIL_PROVIDER": "pigeon"}
    assert [fault.partition(" is not right")[0] for fault in faults_of(IN_AZURE | wrong)] == list(wrong)


# --- keys that seal credentials ---


def test_keys_that_seal_are_read_in_their_order_with_blanks_and_line_breaks_around_them() -> None:
    other = b64encode(bytes(range(1, 33))).decode()
    ring = load(STORAGE | {"ENCRYPTION_KEYS": f" now : {KEY} ;\n2025-old:{other};"}).key_ring
    assert list(ring.items()) == [("now", bytes(range(32))), ("2025-old", bytes(range(1, 33)))]
    assert load(STORAGE).key_ring == {}


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (KEY, "part 1 has no colon between an id and its key"),
        (f"k:{KEY};:{KEY}", "the id of part 2 is not of 1 to 40 letters, digits, hyphens and underscores"),
        (f"k:{KEY};o:{KEY};k:{KEY}", "the id of part 3 is that of part 1"),
        (f"k:{KEY},old:{KEY}", "the key of part 1 is no base64, and has to be 32 bytes"),
        ("k:", "the key of part 1 is 0 bytes in base64, and has to be 32 bytes"),
        (f"k:{KEY[:-4]}", "the key of part 1 is 30 bytes in base64, and has to be 32 bytes"),
        (f"k k:{KEY}", "the id of part 1 is not of 1 to 40 letters, digits, hyphens and underscores"),
        (f"{'k' * 41}:{KEY}", "the id of part 1 is not of 1 to 40 letters, digits, hyphens and underscores"),
        ("k:a2V5", "the key of part 1 is 3 bytes in base64, and has to be 32 bytes"),
        (f"k:{KEY};o:not base64", "the key of part 2 is no base64, and has to be 32 bytes"),
    ],
)
def test_of_keys_that_seal_it_is_told_which_is_wrong_and_why(keys: str, why: str) -> None:
    (fault,) = faults_of(STORAGE | {"ENCRYPTION_KEYS": keys})
    assert fault.startswith(f"ENCRYPTION_KEYS is not right: {why}. It takes the keys that seal credentials, each an id")
    assert "such as 2026-11:…" in fault


def test_a_key_without_an_id_is_refused_with_the_name_and_the_form_that_are_right() -> None:
    (fault,) = faults_of(STORAGE | {"ENCRYPTION_KEY": KEY})
    assert fault.startswith("ENCRYPTION_KEY is not read: give its key an id, and set ENCRYPTION_KEYS, which takes")
    assert "such as 2026-11:…" in fault
    assert KEY not in fault


# --- secrets -------------------------------------------------------------------------------------------------

# Base64 as well, so that it may be a storage account's key.
SECRET = "hunter2VerySecretKey"
SECRET_KEY = (SECRET * 3)[:43] + "="
SECRETS = {
    "DatahubStorageConnectionString": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET};",
    "DATABASE_URL": f"postgresql+psycopg://warden:{SECRET}@server/warden",
    "SENDGRID_API_KEY": f"SG.{SECRET}",
    "SMTP_PASSWORD": SECRET,
    "CostExportStorage": f"AccountName=a;AccountKey={SECRET}",
    "AZURE_ACCOUNT_KEY": SECRET,
    "ENCRYPTION_KEYS": f"now:{SECRET_KEY};old:{KEY}",
}


def test_secrets_are_not_in_what_settings_look_like() -> None:
    settings = load(SECRETS)
    assert SECRET not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert settings.smtp_password is not None
    assert settings.smtp_password.get_secret_value() == SECRET


@pytest.mark.parametrize(
    "more",
    [
        {"COST_LOOKBACK_DAYS": "x"},
        {"DATABASE_URL": f"oracle://warden:{SECRET}@server"},
        {"DATABASE_URL": f"postgresql://warden:{SECRET}@server:port/x"},
        {"DATABASE_URL": f"postgresql://warden:{SECRET}@x@server/x"},
        {"DatahubStorageConnectionString": f"AccountName= a;AccountKey={SECRET}"},
        {"SMTP_HOST": f"smtp://me:{SECRET}@server:25"},
        {"EMAIL_PROVIDER": "smtp"},
        {"WEBSITE_INSTANCE_ID": "1", "DATABASE_URL": f"sqlite:///{SECRET}"},
        {"DatahubStorageConnectionString__queueServiceUri": f"https://x/?sig={SECRET}"},
        {"DatahubStorageConnectionString__queueServiceUri": SECRET},
        {"AZURE_MANAGEMENT_ENDPOINT": f"http://user:{SECRET}@example.com"},
        {"EMAIL_SENDER": SECRET},
        {"ENCRYPTION_KEYS": SECRET},
        {"ENCRYPTION_KEYS": f"k:{SECRET}"},
        {"ENCRYPTION_KEYS": f"{SECRET_KEY}:k"},
        {"ENCRYPTION_KEY": SECRET_KEY},
        dict.fromkeys(WRONG, SECRET),
    ],
    ids=lambda more: next(iter(more)),
)
def test_secrets_are_not_in_errors_nor_in_their_tracebacks(more: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        load(SECRETS | more)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    assert SECRET not in repr((refused.value.__cause__, refused.value.__context__ and vars(refused.value.__context__)))


@pytest.mark.parametrize("text", [f'{{"Values": {{"SMTP_PASSWORD": "{SECRET}"', f'{{"SMTP_PASSWORD": "{SECRET}"}}'])
def test_secrets_of_a_malformed_file_are_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "local.settings.json"
    file.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as refused:
        load({}, file)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    assert refused.value.__cause__ is None


# --- local.settings.json -------------------------------------------------------------------------------------


def local_settings(folder: Path, values: object, encoding: str = "utf-8") -> Path:
    file = folder / "local.settings.json"
    file.write_text(json.dumps({"IsEncrypted": False, "Values": values}), encoding)
    return file


def test_the_environment_wins_over_the_file_whatever_the_case_of_names(tmp_path: Path) -> None:
    file = local_settings(tmp_path, {**STORAGE, "COST_LOOKBACK_DAYS": "40", "SMTP_PORT": "25", "Smtp_Host": "file"})
    settings = load({"cost_lookback_days": "50", "SMTP_HOST": "environment"}, file)
    assert settings.lookback_days == 50
    assert settings.smtp_port == 25
    assert settings.smtp_host == "environment"


def test_where_the_environment_says_nothing_or_is_empty_the_file_counts(tmp_path: Path) -> None:
    file = local_settings(tmp_path, {**STORAGE, "COST_LOOKBACK_DAYS": "40"})
    assert load({"COST_LOOKBACK_DAYS": " "}, file).lookback_days == 40
    assert load({}, file).lookback_days == 40


def test_numbers_truth_and_null_in_the_file_are_what_they_mean(tmp_path: Path) -> None:
    file = local_settings(tmp_path, {**STORAGE, "COST_LOOKBACK_DAYS": 40, "SMTP_STARTTLS": False, "SMTP_HOST": None})
    settings = load({}, file)
    assert (settings.lookback_days, settings.smtp_starttls, settings.smtp_host) == (40, False, None)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert load({}, local_settings(tmp_path, {**STORAGE, "COST_LOOKBACK_DAYS": "40"}, "utf-8-sig")).lookback_days == 40


def test_a_file_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    assert load(STORAGE, tmp_path / "local.settings.json") == load(STORAGE)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"Values": null}', b'{"Values": []}', b'{"Values": "x"}', b"\xff\xfe", b"5"],
)
def test_a_malformed_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "local.settings.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load(STORAGE, file)
    assert str(refused.value) == "local.settings.json can't be read: it has to be JSON with an object named Values"


def test_a_folder_in_the_place_of_the_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").mkdir()
    with pytest.raises(SettingsError, match=r"^local\.settings\.json can't be read"):
        load(STORAGE, tmp_path / "local.settings.json")


@pytest.mark.parametrize("name", ["EMAIL_OPERATORS", "EMAIL_BCC"])
@pytest.mark.parametrize(
    "domain",
    [
        "corp.ca",
        "xn--mnchen-3ya.de",
        "münchen.de",
        "a-b.corp.ca",
        "a--b.ca",
        "corp.local",
        "3com.com",
        "example.com",
        "my_corp.ca",
        "10.0.0.4",
        "corp-.ca",
        "-corp.ca",
        "corp.localhost",
        "ab--cd.ca",
        "corp",
        "corp.invalid",
    ],
)
def test_the_door_takes_the_addresses_that_mails_go_to(name: str, domain: str) -> None:
    taken, _ = valid_addresses([f"ops@{domain}"])
    if taken:
        assert load(STORAGE | {name: f"ops@{domain}"})
    else:
        assert name in faults_of(STORAGE | {name: f"ops@{domain}"})[0]


@pytest.mark.parametrize("endpoint", ["https://", "https://a b", "ftp://a.queue.core.windows.net"])
def test_a_connection_string_names_a_queue_service(endpoint: str) -> None:
    text = f"QueueEndpoint={endpoint};SharedAccessSignature=s"
    (fault,) = faults_of({"DatahubStorageConnectionString": text})
    assert "its QueueEndpoint is no web address" in fault


# --- staging -------------------------------------------------------------------------------------------------


def test_an_installation_is_marked_as_what_it_is() -> None:
    assert load(STORAGE).mark == ""
    assert load({**STORAGE, "USE_MADE_UP_COSTS": "true"}).mark == "made-up costs"
    staging = {**IN_AZURE, "WARDEN_STAGING": "true", "USE_MADE_UP_COSTS": "true", "EMAIL_OPERATORS": "a@example.com"}
    assert load(staging).mark == "staging, made-up costs"


@pytest.mark.parametrize("trial", ["USE_MADE_UP_COSTS", "WARDEN_STAGING"])
def test_a_trial_changes_nothing_in_azure(trial: str) -> None:
    given = {**STORAGE, "EMAIL_OPERATORS": "a@example.com", trial: "true"}
    assert len(faults_of({**given, "WARDEN_STAGING": "true", "LOCK_MODE": "enforce"})) == 1, "once, for both"
    assert faults_of({**given, "LOCK_MODE": "enforce"}) == [
        f"LOCK_MODE is enforce, and {trial} is true: then nobody is locked. It takes dry-run or off."
    ]
    assert faults_of({**given, "LOCK_ACTION_GROUP_ID": ACTION_GROUP}) == [
        f"LOCK_ACTION_GROUP_ID is set, and {trial} is true: Azure's budgets of the projects, which production looks "
        "after, would be written. Leave it out."
    ]


def test_costs_are_not_made_up_where_they_would_be_believed() -> None:
    assert faults_of({**IN_AZURE, "USE_MADE_UP_COSTS": "true"}) == [
        "USE_MADE_UP_COSTS is true in Azure, where it goes with WARDEN_STAGING only."
    ]


def test_the_operators_of_staging_have_to_be_named() -> None:
    assert faults_of({**STORAGE, "WARDEN_STAGING": "true"}) == [
        "EMAIL_OPERATORS is missing: WARDEN_STAGING is true, and they get all its mails."
    ]


# --- telemetry -----------------------------------------------------------------------------------------------

INSIGHTS = "InstrumentationKey=11111111-2222-4333-8444-55555555555A"


@pytest.mark.parametrize(
    "given", [INSIGHTS, f" {INSIGHTS} ; IngestionEndpoint = https://a.example/ ; ", f"{INSIGHTS};EndpointSuffix=a.b"]
)
def test_a_connection_string_is_handed_on_as_its_packages_read_it(given: str) -> None:
    secret = load({**STORAGE, "APPLICATIONINSIGHTS_CONNECTION_STRING": given}).application_insights
    assert secret is not None
    key, *others = secret.get_secret_value().split(";")
    assert key == "instrumentationkey=11111111-2222-4333-8444-55555555555a"
    assert [len(each.split("=")) for each in others] == [2] * len(others)


@pytest.mark.parametrize(
    "given",
    [
        "rubbish",
        "InstrumentationKey=",
        "InstrumentationKey=s3cret",
        "11111111-2222-4333-8444-555555555555",
        f"{INSIGHTS};s3cret",
        f"{INSIGHTS};a=b=s3cret",
        f"{INSIGHTS};IngestionEndpoint=",
        f"{INSIGHTS};IngestionEndpoint=ftp://s3cret/",
        f"{INSIGHTS};EndpointSuffix=s3 cret",
        f"{INSIGHTS};Authorization=s3cret",
    ],
)
def test_what_is_no_connection_string_of_telemetry_is_a_fault_at_the_door(given: str) -> None:
    (fault,) = faults_of({**STORAGE, "APPLICATIONINSIGHTS_CONNECTION_STRING": given})
    assert fault.startswith("APPLICATIONINSIGHTS_CONNECTION_STRING is not right")
    assert "s3cret" not in fault
