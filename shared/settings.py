"""The app settings: the only reader of the environment.

They are read once, when the app is loaded. Where one is missing or malformed, `load` raises a SettingsError
that names all the faults at once and what would be right, and never shows a value that may hold a secret.
"""

from __future__ import annotations

import json
import logging
import os
import re
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from ipaddress import ip_address
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from shared.domain.aws import ROLE, AwsNameError, parse_role
from shared.domain.charges import CostMetric, key_of_group
from shared.domain.currencies import Converting
from shared.domain.locks import LockMode, WhenUnsure
from shared.domain.money import parse_currency
from shared.domain.schedules import Schedule
from shared.domain.texts import is_one_line
from shared.messages import GUID, Queue
from shared.ports.azure import LockLevel


class SettingsError(Exception):
    """The settings can't be used; the text names every fault and what would be right."""


class FaultError(ValueError):
    """What is wrong with a setting, as the end of a sentence that shows nothing of its value."""


class Provider(StrEnum):
    """Where mails go."""

    OUTBOX = "outbox"
    SMTP = "smtp"
    SENDGRID = "sendgrid"
    ACS = "acs"


def _queue_name(name: str) -> str:
    # 63 characters at most, of which "-poison" takes 7.
    if not re.fullmatch(r"[a-z0-9](-?[a-z0-9])+", name) or not 3 <= len(name) <= 56:
        raise ValueError("not a queue name")
    return name


def _schedule(text: str) -> str:
    Schedule.read(text)
    return text


def _zone(name: str | None) -> tzinfo:
    """Raises ValueError where there is no such zone."""
    if name is None:
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:
        raise ValueError("no zone of the tz database") from error


def _percents(text: object) -> object:
    if not isinstance(text, str):
        return text
    percents = tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    if not percents or not all(0 < percent <= 1000 for percent in percents):
        raise ValueError("out of range")
    return percents


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split("[;,]", text) if part.strip())


def _addresses(text: object) -> object:
    if not isinstance(text, str):
        return text
    return tuple(_reachable(_address(part)) for part in _parts(text))


def _reachable(address: str) -> str:
    # As for everybody whom mails go to (adapters/mail/addresses.py): else the mails that tell of it would reach nobody.
    first, *others = labels = address.rpartition("@")[2].lower().split(".")
    if not first or not others or labels[-1] in NO_DOMAINS or not all(map(LABEL.fullmatch, labels)):
        raise ValueError("a domain that there can't be")
    return address


# A part of a domain begins and ends with a letter or a digit; `--` stands in IDNA's own alone.
LABEL = re.compile(r"(xn--)?(?!..--)[^\W_]([^\W_]|-)*(?<!-)")
# What no mail goes to: names that are kept from use, and addresses of machines.
NO_DOMAINS = {"localhost", "invalid", "onion", "arpa", *map(str, range(256))}
# Names of ASCII letters, and domains of any, in parts that are joined by single periods.
ADDRESS = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@[\w-]+(\.[\w-]+)*")


def _address(text: str) -> str:
    if text and not (ADDRESS.fullmatch(text) and text.rpartition("@")[0].isascii()):
        raise ValueError("not an address")
    # Every Message-ID ends in the sender's domain; a UnicodeError (such as for `a@b..ca`) is a ValueError.
    text.rpartition("@")[2].encode("idna")
    return text


def _line(text: str) -> str:
    if not is_one_line(text):
        raise ValueError("more than a line")
    return text


def _endpoint(text: str) -> str:
    parts = urlsplit(text)
    local = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise ValueError("not https")
    if set(text) & set("?#@\\{} "):
        raise ValueError("more than an address")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise FaultError(NO_PORT)
    return text.rstrip("/")


NO_PORT = "its port is no number from 1 to 65535"


def _mail_host(text: str) -> str:
    if "/" in text:
        raise FaultError("it is the name alone, without smtp:// before it and without a path")
    if re.fullmatch(r"[^:]+:[0-9]*", text):
        raise FaultError("the port goes into SMTP_PORT")
    if not re.fullmatch(r"[\w.-]+", text) and not _is_ip_address(text):
        raise ValueError("no name of a host")
    return text


def _origin(text: str) -> str:
    """An endpoint with nothing behind its host: the adapter puts its own path there."""
    if text.rstrip("/").count("/") != 2:
        raise ValueError("more than scheme and host")
    return _endpoint(text)


def _loopback(text: str) -> str:
    """What plays AWS for trying things out: nobody's address leads what we sign to another machine."""
    if not _is_loopback(urlsplit(text).hostname or ""):
        raise ValueError("another machine")
    return _origin(text)


def _aws_role(text: str) -> str:
    # What is no ARN may be a secret in the wrong place, and is not shown.
    if not ROLE.fullmatch(text):
        raise ValueError("no role")
    try:
        return parse_role(text).arn
    except AwsNameError as error:
        raise FaultError(str(error)) from None


def _audience(text: str) -> str:
    if text.endswith("/.default"):
        raise FaultError("/.default behind it is a scope's; leave it out")
    if not re.fullmatch(r"api://[!-~]+", text) and not GUID.fullmatch(text):
        raise ValueError("no application id URI")
    return text


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip_address(host) and ip_address(host).is_loopback)


def _is_ip_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _web_address(text: str) -> str:
    if text and urlsplit(text).scheme not in {"https", "http"}:
        raise ValueError("not a web address")
    return text


def _tenant(text: str) -> str:
    if not GUID.fullmatch(text.strip()):
        raise ValueError("not a tenant's id")
    return text.strip().lower()


def _action_group(text: str) -> str:
    if not ACTION_GROUP.fullmatch(text.strip()):
        raise ValueError("not an action group's id")
    return text.strip()


def _groups(text: object) -> object:
    if not isinstance(text, str):
        return text
    names = _parts(text)
    if not all(re.fullmatch(r"[\w().-]{1,90}", name) for name in names):
        raise ValueError("not resource groups")
    return names


def _connection(secret: SecretStr, service: str = "Queue") -> SecretStr:
    """A connection string in which a service's SDK finds an account and a key; it takes the names in any case."""
    parts = [part.partition("=") for part in secret.get_secret_value().rstrip(";").split(";")]
    given = {name.upper(): value for name, _, value in parts}
    if given.get("USEDEVELOPMENTSTORAGE") == "true":
        return secret
    # Raises ValueError (binascii.Error) for what is no base64.
    has_key = bool(b64decode(given.get("ACCOUNTKEY", ""), validate=True)) and "ACCOUNTNAME" in given
    has_place = any(given.get(name) for name in (f"{service.upper()}ENDPOINT", "ACCOUNTNAME"))
    if not all(sign for _, sign, _ in parts) or not has_place or not (has_key or given.get("SHAREDACCESSSIGNATURE")):
        raise ValueError("not a connection string")
    if not re.fullmatch(r"https?://[^\s/?#]+(/\S*)?", given.get(f"{service.upper()}ENDPOINT") or "https://host"):
        raise FaultError(f"its {service}Endpoint is no web address")
    # The SDK makes of them the host that it calls.
    for part, form in PARTS_OF_HOST.items():
        if not re.fullmatch(form, given.get(part.upper()) or "a"):
            raise FaultError(f"its {part} holds what no {part} does, such as a blank or https://")
    return secret


def _blob_connection(secret: SecretStr) -> SecretStr:
    return _connection(secret, "Blob")


def _encryption_keys(secret: SecretStr) -> SecretStr:
    """Keys with their ids. What is wrong with them is told without them, by their place."""
    ids = list[str]()
    for number, part in enumerate(filter(None, map(str.strip, secret.get_secret_value().split(";"))), start=1):
        key_id, colon, text = (each.strip() for each in part.partition(":"))
        if not colon:
            raise FaultError(f"part {number} has no colon between an id and its key")
        if not KEY_ID.fullmatch(key_id):
            raise FaultError(f"the id of part {number} is not of 1 to 40 letters, digits, hyphens and underscores")
        if key_id in ids:
            raise FaultError(f"the id of part {number} is that of part {ids.index(key_id) + 1}")
        if (length := _decoded_length(text)) != KEY_BYTES:
            said = "no base64" if length is None else f"{length} bytes in base64"
            raise FaultError(f"the key of part {number} is {said}, and has to be {KEY_BYTES} bytes")
        ids.append(key_id)
    return secret


def _decoded_length(text: str) -> int | None:
    try:
        return len(b64decode(text, validate=True))
    except ValueError:
        return None


KEY_ID = re.compile("[A-Za-z0-9_-]{1,40}")
KEY_BYTES = 32


def _token(secret: SecretStr) -> SecretStr:
    # What a header can carry.
    if not re.fullmatch("[!-~]+", secret.get_secret_value()):
        raise ValueError("no token")
    return secret


def _container(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9](-?[a-z0-9])+", name) or not 3 <= len(name) <= 63:
        raise ValueError("not a container's name")
    return name


def _account_name(name: str) -> str:
    if not re.fullmatch("[a-z0-9]{3,24}", name):
        raise ValueError("not a storage account's name")
    return name


def _account_key(secret: SecretStr) -> SecretStr:
    # Raises ValueError (binascii.Error) for what is no base64.
    if not b64decode(secret.get_secret_value(), validate=True):
        raise ValueError("not a key")
    return secret


def _application_insights(secret: SecretStr) -> SecretStr:
    """A connection string as its SDK takes it: without blanks, capitals in its key and a `;` at its end.

    Raises ValueError for what is no pair of name and value, too.
    """
    pairs = (part.split("=") for part in secret.get_secret_value().rstrip("; ").split(";"))
    given = {name.strip().lower(): value.strip() for name, value in pairs}
    key = given.get("instrumentationkey", "")
    if not GUID.fullmatch(key):
        raise FaultError("it has no InstrumentationKey")
    if given.get("authorization", "ikey").lower() != "ikey":
        raise FaultError("its Authorization is another than ikey")
    host = ".".join(filter(None, (given.get("location"), "dc", given.get("endpointsuffix", "host"))))
    _endpoint(given.get("ingestionendpoint", f"https://{host}"))
    return SecretStr(
        ";".join(f"{name}={value}" for name, value in (given | {"instrumentationkey": key.lower()}).items())
    )


PARTS_OF_HOST = {"AccountName": "[a-z0-9-]+", "EndpointSuffix": r"[\w.-]+(:[0-9]+)?"}
DATABASES = ("sqlite:///", "postgresql+psycopg://", "mssql+pyodbc://", "mssql+mssqlpython://")


def _database(secret: SecretStr) -> SecretStr:
    # The name that most others take; ours would load another driver.
    secret = SecretStr(re.sub("^postgres(ql)?://", "postgresql+psycopg://", secret.get_secret_value()))
    if not secret.get_secret_value().startswith(DATABASES):
        raise ValueError("not a database URL")
    scheme, _, place = secret.get_secret_value().partition("://")
    if scheme == "sqlite":
        if place in ("/", "/:memory:") or place.startswith("/file::memory:") or "mode=memory" in place:
            raise FaultError("it is a database in memory, which goes with each process")
        return secret
    _check_server(place)
    return secret


# As SQLAlchemy divides what follows the scheme of a URL (engine/url.py), so that it takes whatever passes here.
SERVER = re.compile(
    r"(?:[^:/]*(?::[^@]*)?@)?(?:(?P<v6>\[[^/?]+\])|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?(?P<rest>[/?].*)?",
    re.DOTALL,
)


def _check_server(place: str) -> None:
    found = SERVER.fullmatch(place)
    host, port = (found["host"] or "", found["port"]) if found else ("[", None)
    if "@" in host:
        raise FaultError("there are two @ before its host; one in a password is written %40")
    if set(host) & set("[] \t"):
        raise FaultError("its host is none")
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise FaultError(NO_PORT)


QueueName = Annotated[str, AfterValidator(_queue_name)]
Cron = Annotated[str, AfterValidator(_schedule)]
Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[tuple[str, ...], BeforeValidator(_addresses)]
Line = Annotated[str, AfterValidator(_line)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Origin = Annotated[str, AfterValidator(_origin)]
ACTION_GROUP = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w().-]{1,90}/providers/Microsoft\.Insights/actionGroups/[^/?#\s]{1,260}",
    re.IGNORECASE,
)
# `<subscription>+<resource group>-<region>webspace`, with -Linux behind it or not.
OWNER = re.compile(r"[^+]+\+(.+)-[^-]+webspace(-Linux)?", re.IGNORECASE)
# WEBSITE_SKU on the two consumption plans.
CONSUMPTION = ("FlexConsumption", "Dynamic")
# What stands in a setting where the platform could not put the secret in its place.
UNRESOLVED = {
    "@microsoft.keyvault(": "is a reference to Key Vault that Azure did not resolve. See that the vault and the secret "
    "are there, and that the app's identity has the role Key Vault Secrets User on it.",
    "@microsoft.appconfiguration(": "is a reference to App Configuration that Azure did not resolve. See that the "
    "store and the key are there, and that the app's identity has the role App Configuration Data Reader on it.",
}
QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)
# May hold quotes of its own.
MAY_BE_QUOTED = "SMTP_PASSWORD"
# Settings with such names are ours, if anybody's.
OURS = re.compile(
    r"(COST|EMAIL|SENDGRID|ACS|SMTP|LOCK|ALERT|LOCAL_CLOCK)_|Queue(Project|Email|Cost)|ProjectUsage|CostExport",
    re.IGNORECASE,
)
_QUEUE = "a queue name: 3 to 56 lower-case letters, digits and single hyphens"
_CRON = (
    "a schedule of six fields in UTC (or WEBSITE_TIME_ZONE), seconds first, such as 0 0 2 * * *; "
    "ranges run forwards, and its day has to come"
)
_OF_YOURS = "a secret of your own, of letters, digits and signs that a header can hold"
_SEVERAL = "mail addresses, with a period in their domains, joined by ;"


def _setting(name: str, default: object, takes: str, **limits: Any) -> Any:
    """The field of one setting: its name, what counts without it, and what it takes."""
    return Field(default, validation_alias=name, description=takes, **limits)


def _number(name: str, default: int, takes: str, least: int, most: int) -> Any:
    """The field of one setting that takes whole numbers."""
    return _setting(name, default, f"{takes}: {least} to {most}", ge=least, le=most)


def _in_words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list, frozenset)) else str(value)


class Settings(BaseModel):
    """Every app setting; a field's description says what it takes."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    storage_connection: Annotated[SecretStr, AfterValidator(_connection)] | None = _setting(
        "DatahubStorageConnectionString",
        None,
        "a storage account's connection string, with its AccountName and AccountKey; "
        "UseDevelopmentStorage=true means Azurite",
    )
    storage_queue_uri: Endpoint | None = _setting(
        "DatahubStorageConnectionString__queueServiceUri",
        None,
        "https://<account>.queue.core.windows.net, in place of a connection string, with an identity",
    )
    storage_client_id: str | None = _setting(
        "DatahubStorageConnectionString__clientId",
        None,
        "the user-assigned identity for the queues; without it AZURE_CLIENT_ID is taken",
    )
    database_url: Annotated[SecretStr, AfterValidator(_database)] = _setting(
        "DATABASE_URL",
        SecretStr("sqlite:///.local/warden.db"),
        "sqlite:///FILE, mssql+pyodbc://… (Azure SQL) or postgresql://…",
    )
    queue_update: QueueName = _setting("QueueProjectUsageUpdate", Queue.UPDATE.value, _QUEUE)
    queue_notification: QueueName = _setting("QueueProjectUsageNotification", Queue.NOTIFICATION.value, _QUEUE)
    queue_lock: QueueName = _setting("QueueProjectLock", Queue.LOCK.value, _QUEUE)
    queue_email: QueueName = _setting("QueueEmailNotification", Queue.EMAIL.value, _QUEUE)
    queue_export: QueueName = _setting("QueueCostExportImport", Queue.EXPORT.value, _QUEUE)
    schedule_usage: Cron = _setting("ProjectUsageCRON", "0 0 2 * * *", _CRON)
    schedule_watchdog: Cron = _setting("WatchdogCRON", "0 */15 * * * *", _CRON)
    schedule_exports: Cron = _setting("CostExportCRON", "0 15 * * * *", _CRON)
    export_storage: Annotated[SecretStr, AfterValidator(_blob_connection)] | None = _setting(
        "CostExportStorage",
        None,
        "the connection string of the storage account in which cost exports lie, with its AccountName and AccountKey; "
        "UseDevelopmentStorage=true means Azurite",
    )
    export_storage_uri: Endpoint | None = _setting(
        "CostExportStorage__blobServiceUri",
        None,
        "https://<account>.blob.core.windows.net, in place of a connection string, with an identity",
    )
    export_client_id: str | None = _setting(
        "CostExportStorage__clientId",
        None,
        "the user-assigned identity for the exports; without it AZURE_CLIENT_ID is taken",
    )
    export_account_name: Annotated[str, AfterValidator(_account_name)] | None = _setting(
        "AZURE_ACCOUNT_NAME", None, "where CostExportStorage is missing: the storage account's name, with its key"
    )
    export_account_key: Annotated[SecretStr, AfterValidator(_account_key)] | None = _setting(
        "AZURE_ACCOUNT_KEY", None, "that account's key"
    )
    export_container: Annotated[str, AfterValidator(_container)] = _setting(
        "COST_EXPORT_CONTAINER",
        "msexports",
        "the container of the first cost exports: 3 to 63 lower-case letters, digits and single hyphens",
    )
    encryption_keys: Annotated[SecretStr, AfterValidator(_encryption_keys)] | None = _setting(
        "ENCRYPTION_KEYS",
        None,
        "the keys that seal credentials, each an id, a colon and the base64 of 32 bytes, joined by ;, the current one "
        "first, such as 2026-11:… (`openssl rand -base64 32` makes one)",
    )
    converting: Converting = _setting(
        "CURRENCY_CONVERSION",
        Converting.OFF,
        "off, or ecb: charges in another currency than a budget's count, by the European Central Bank's rates",
    )
    reporting_currency: Annotated[str, AfterValidator(parse_currency)] | None = _setting(
        "REPORTING_CURRENCY", None, "the currency of totals over projects: three letters, such as CAD"
    )
    thresholds: Annotated[tuple[int, ...], BeforeValidator(_percents)] = _setting(
        "ProjectUsageNotificationPercents",
        (25, 50, 80, 100),
        "whole percents from 1 to 1000, joined by commas, such as 25,50,80,100",
    )
    management_endpoint: Origin = _setting(
        "AZURE_MANAGEMENT_ENDPOINT",
        "https://management.azure.com",
        "Azure Resource Manager's address with https and without a path; plain http only for this machine",
    )
    client_id: str | None = _setting("AZURE_CLIENT_ID", None, "the client id of the app's user-assigned identity")
    application_insights: Annotated[SecretStr, AfterValidator(_application_insights)] | None = _setting(
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        None,
        "an Application Insights resource's connection string: telemetry goes there, signed in as AZURE_CLIENT_ID",
    )
    cost_metric: CostMetric = _setting("COST_METRIC", CostMetric.ACTUAL, "ActualCost or AmortizedCost")
    lookback_days: int = _number(
        "COST_LOOKBACK_DAYS", 35, "how many days a night reads again, today among them", 1, 366
    )
    units_per_minute: int = _number(
        "COST_QPU_PER_MINUTE", 50, "query units a run may use in a minute (Azure lets 60 through)", 1, 1000
    )
    units_per_hour: int = _number(
        "COST_QPU_PER_HOUR", 500, "query units a run may use in an hour (Azure lets 600 through)", 1, 10000
    )
    aws_calls_per_day: int = _number(
        "AWS_CALLS_PER_DAY", 24, "paid calls (0.01 USD each) that a cloud account may make on a UTC day", 1, 10000
    )
    aws_role_arn: Annotated[str, AfterValidator(_aws_role)] | None = _setting(
        "AWS_ROLE_ARN",
        None,
        "the AWS role that the app's identity takes on first, such as arn:aws:iam::123456789012:role/budget-warden",
    )
    aws_audience: Annotated[str, AfterValidator(_audience)] | None = _setting(
        "AWS_WEB_IDENTITY_AUDIENCE",
        None,
        "the application id URI (api://…) that the identity's token for AWS is for, as IAM names it",
    )
    aws_endpoint: Annotated[str, AfterValidator(_loopback)] | None = _setting(
        "AWS_ENDPOINT", None, "for trying things out: the address on this machine of what plays AWS"
    )
    email_provider: Provider = _setting(
        "EMAIL_PROVIDER", Provider.OUTBOX, "sendgrid, acs, smtp, or outbox (writes .eml files)"
    )
    email_sender: Address = _setting("EMAIL_SENDER", "", "the address that mails come from; needed but for outbox")
    email_sender_name: Line = _setting("EMAIL_SENDER_NAME", "Budget Warden", "the name that mails come from")
    email_reply_to: Address = _setting("EMAIL_REPLY_TO", "", "the address that replies to mails go to")
    support_contact: Line = _setting(
        "SUPPORT_CONTACT", "", "whom a project's people can ask, as mails name it: an address, a page, a number"
    )
    email_operators: Addresses = _setting(
        "EMAIL_OPERATORS", (), _SEVERAL + "; they get what projects can't, and what goes wrong"
    )
    email_bcc: Addresses = _setting("EMAIL_BCC", (), _SEVERAL + "; they get a blind copy of higher alerts")
    email_private_recipients: bool = _setting(
        "EMAIL_PRIVATE_RECIPIENTS", False, "whether each recipient gets a mail of their own: true or false"
    )
    email_bcc_from_percent: int = _number(
        "EMAIL_BCC_FROM_PERCENT", 80, "the lowest threshold of which EMAIL_BCC gets a copy", 1, 1000
    )
    sendgrid_api_key: SecretStr | None = _setting("SENDGRID_API_KEY", None, "SendGrid's API key; needed for sendgrid")
    sendgrid_endpoint: Endpoint = _setting(
        "SENDGRID_ENDPOINT", "https://api.sendgrid.com", "SendGrid's address, such as https://api.eu.sendgrid.com"
    )
    acs_endpoint: Origin | None = _setting(
        "ACS_ENDPOINT",
        None,
        "https://NAME.communication.azure.com, without a path and without an access key (the app's identity signs in); "
        "needed for acs",
    )
    smtp_host: Annotated[str, AfterValidator(_mail_host)] | None = _setting(
        "SMTP_HOST", None, "the mail server's name; needed for smtp"
    )
    smtp_port: int = _number("SMTP_PORT", 587, "the mail server's port", 1, 65535)
    smtp_username: str | None = _setting("SMTP_USERNAME", None, "the user at the mail server; empty for none")
    smtp_password: SecretStr | None = _setting("SMTP_PASSWORD", None, "that user's password")
    smtp_starttls: bool = _setting("SMTP_STARTTLS", True, "whether the connection is encrypted: true or false")
    outbox_dir: str = _setting("OUTBOX_DIR", ".local/outbox", "the folder for the outbox's .eml files")
    portal_url: Annotated[str, AfterValidator(_web_address)] = _setting(
        "PORTAL_URL", "", "a link for mails, with {acronym}: https://portal/{acronym}"
    )
    web_url: Annotated[str, AfterValidator(_web_address)] = _setting(
        "WEB_URL", "", "the app's own address, such as https://warden.example.com; in Azure, pages are off without it"
    )
    lock_mode: LockMode = _setting(
        "LOCK_MODE", LockMode.DRY_RUN, "off, dry-run (only writes down what it would lock) or enforce"
    )
    lock_level: LockLevel = _setting("LOCK_LEVEL", LockLevel.READ_ONLY, "ReadOnly or CanNotDelete")
    lock_stop_compute: bool = _setting(
        "LOCK_STOP_COMPUTE",
        False,
        "whether virtual machines and scale sets are deallocated before the lock: true or false",
    )
    lock_when_unsure: WhenUnsure = _setting(
        "LOCK_WHEN_UNSURE",
        WhenUnsure.LOCK,
        "lock or leave: what to do when neither Azure nor the database knows what was spent",
    )
    lock_never: Annotated[tuple[str, ...], BeforeValidator(_groups)] = _setting(
        "LOCK_NEVER", (), "resource groups that are never locked, joined by commas; the app's own always is one"
    )
    lock_action_group_id: Annotated[str, AfterValidator(_action_group)] | None = _setting(
        "LOCK_ACTION_GROUP_ID",
        None,
        "the id of the Action Group that calls BudgetAlert: "
        "/subscriptions/…/resourceGroups/…/providers/Microsoft.Insights/actionGroups/…",
    )
    alert_audience: str | None = _setting(
        "ALERT_AUDIENCE",
        None,
        "the application id URI that the Action Group's token is for; empty: the function key is enough",
    )
    alert_tenant_id: Annotated[str, AfterValidator(_tenant)] | None = _setting(
        "ALERT_TENANT_ID", None, "the id of the tenant that the Action Group's token is of"
    )
    alert_authority: Origin = _setting(
        "ALERT_AUTHORITY",
        "https://login.microsoftonline.com",
        "where Entra's keys are, with https and without a path; another for sovereign clouds",
    )
    own_resource_group: str | None = _setting(
        "WEBSITE_RESOURCE_GROUP", None, "the name of the app's own resource group; mostly set by Azure"
    )
    owner_name: str | None = _setting(
        "WEBSITE_OWNER_NAME", None, "set by Azure: holds the app's own resource group too"
    )
    staging: bool = _setting(
        "WARDEN_STAGING",
        False,
        "whether this is a staging installation, whose mails all go to the operators: true or false",
    )
    made_up_costs: bool = _setting(
        "USE_MADE_UP_COSTS", False, "whether costs are made up and no cloud is asked: true or false"
    )
    clock_start: datetime | None = _setting(
        "LOCAL_CLOCK_START",
        None,
        "for trying things out, not in Azure: the time at which the app's clock starts, "
        "such as 2026-11-20T02:00:00+00:00",
    )
    clock_speed: int = _setting(
        "LOCAL_CLOCK_SPEED",
        1,
        "for trying things out, not in Azure: how many times as fast as real time the app's clock runs, "
        "so that its messages wait so many times less; a whole number from 1 to 100",
        ge=1,
        le=100,
    )
    sync_token: Annotated[SecretStr, AfterValidator(_token)] | None = _setting(
        "SECRET_SYNC_TOKEN",
        None,
        f"what callers of /finops/api/sync/ send as X-Sync-Token, {_OF_YOURS}; without it, each call is refused",
    )
    cron_secret: Annotated[SecretStr, AfterValidator(_token)] | None = _setting(
        "CRON_SECRET",
        None,
        f"what callers of /api/cron/sync-aws-costs send after Bearer, {_OF_YOURS}; without it, each call is refused",
    )
    sync_minutes: int = _number(
        "SYNC_RATE_LIMIT_MINUTES", 15, "minutes between syncs by hand of cloud accounts of one organization", 0, 1440
    )
    operator_role: Line = _setting("WEB_OPERATOR_ROLE", "Warden.Operator", "the app role of those who may do all")
    viewer_role: Line = _setting("WEB_VIEWER_ROLE", "Warden.Viewer", "the app role of those who may see all")
    auth_enabled: str | None = _setting(
        "WEBSITE_AUTH_ENABLED", None, "set by Azure: whether App Service Authentication is on"
    )
    azure_instance: str | None = _setting("WEBSITE_INSTANCE_ID", None, "set by Azure where the app runs there")
    azure_plan: str | None = _setting("WEBSITE_SKU", None, "set by Azure: the kind of plan that the app is on")
    time_zone: str | None = _setting(
        "WEBSITE_TIME_ZONE",
        None,
        "the zone of the schedules where Azure's plan knows it (not on Flex Consumption): a name of the tz database, "
        "such as Europe/Madrid",
    )

    @property
    def queue_names(self) -> dict[Queue, str]:
        """Each of the chain's queues, by its name in the storage account."""
        return {
            Queue.UPDATE: self.queue_update,
            Queue.NOTIFICATION: self.queue_notification,
            Queue.EMAIL: self.queue_email,
            Queue.LOCK: self.queue_lock,
            Queue.EXPORT: self.queue_export,
        }

    @property
    def has_exports(self) -> bool:
        """Whether it is said where cost exports lie."""
        return self.export_connection is not None or self.export_storage_uri is not None

    @property
    def export_connection(self) -> str | None:
        """The connection string of the account in which they lie; None where an identity signs in, or nobody."""
        if self.export_storage is not None:
            return self.export_storage.get_secret_value()
        if self.export_storage_uri is not None or self.export_account_name is None or self.export_account_key is None:
            return None
        key = self.export_account_key.get_secret_value()
        return f"DefaultEndpointsProtocol=https;AccountName={self.export_account_name};AccountKey={key}"

    def shown(self) -> list[tuple[str, str | None, bool]]:
        """Each setting by its name: its value, of a secret only whether it is set, and whether it is the default.

        The value is None where there is none.
        """
        found = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            text = "•••" if isinstance(value, SecretStr) else None if value in (None, ()) else _in_words(value)
            found.append((str(field.validation_alias), text, value == field.default))
        return sorted(found, key=lambda each: each[0].casefold())

    @property
    def key_ring(self) -> dict[str, bytes]:
        """The keys that seal credentials, by their ids, the current one first; empty where there are none."""
        given = self.encryption_keys.get_secret_value() if self.encryption_keys else ""
        pairs = (part.partition(":") for part in given.split(";") if part.strip())
        return {key_id.strip(): b64decode(text.strip()) for key_id, _, text in pairs}

    @property
    def nights(self) -> Schedule:
        """When the host begins a night."""
        return Schedule.read(self.schedule_usage, _zone(self.time_zone if self.zone_counts else None))

    @property
    def mark(self) -> str:
        """What every mail and command says of this installation; empty for one that is as it should be."""
        return ", ".join(["staging"] * self.staging + ["made-up costs"] * self.made_up_costs)

    @property
    def watchdog_rounds(self) -> Schedule:
        """When the watchdog comes by."""
        return Schedule.read(self.schedule_watchdog, self.nights.zone)

    @property
    def project_link(self) -> str:
        """Where mails lead to, with {acronym}: the portal, or else the project's page here; empty without both."""
        own = f"{self.web_url.rstrip('/')}/finops/projects/{{acronym}}" if self.web_url else ""
        return self.portal_url or own

    @property
    def has_pages(self) -> bool:
        """Whether pages are served: in Azure, once it is set where they are."""
        return self.azure_instance is None or bool(self.web_url)

    @property
    def signs_in(self) -> bool:
        """Whether Azure says who calls: only then nobody else can have written the headers that do."""
        return self.azure_instance is not None and (self.auth_enabled or "").lower() == "true"

    @property
    def signs_in_here(self) -> bool:
        """Whether, on a developer's machine, a stand-in for Azure says who calls."""
        return self.azure_instance is None and (self.auth_enabled or "").lower() == "true"

    @property
    def zone_counts(self) -> bool:
        """Whether Azure's host goes by WEBSITE_TIME_ZONE; on a consumption plan, as elsewhere, it goes by UTC."""
        return self.azure_instance is not None and self.azure_plan not in CONSUMPTION

    @property
    def never_locked(self) -> frozenset[str]:
        """The keys (`charges.key_of_group`) of the resource groups that are never locked: the app's own is one."""
        return frozenset(key_of_group(name) for name in (*self.lock_never, self.own_group) if name)

    @property
    def own_group(self) -> str | None:
        """The resource group that the app itself is in; None where Azure does not say."""
        found = OWNER.fullmatch(self.owner_name or "")
        return self.own_resource_group or (found[1] if found else None)


def load(
    environment: Mapping[str, str] | None = None, local_file: Path | None = None, only: Collection[str] = ()
) -> Settings:
    """The settings from the environment (or the mapping given, for tests).

    local_file: a local.settings.json whose Values count where the environment says nothing, as with Core Tools. only:
    the names of those that are read; the others have their defaults, and nothing is told of them. Raises SettingsError.
    """
    if only:
        settings, faulty = _read({name.lower(): text for name, text in _given(environment, local_file) if name in only})
        if faulty:
            raise _refused(_not_right(faulty))
        return settings
    for doubt in doubts(environment, local_file):
        logging.getLogger("warden").warning("setting_in_doubt %s", doubt)
    given = {name.lower(): value for name, value in _given(environment, local_file)}
    no_values = {name: why for name in setting_names() if (why := _no_value(name, given.get(name.lower(), "")))}
    settings, faulty = _read({key: value for key, value in given.items() if key not in map(str.lower, no_values)})
    faults = [f"{name} {why}" for name, why in no_values.items()] + _not_right(faulty)
    # In the place of a faulty setting stands its default, of which nothing is to be said.
    between = _faults_between(settings, given)
    faults += [fault for fault in between if not any(name in fault for name in (*no_values, *faulty))]
    if faults:
        raise _refused(faults)
    return settings


def _not_right(faulty: Mapping[str, str]) -> list[str]:
    takes = setting_names()
    return [f"{name} is not right{why}. It takes {takes[name]}." for name, why in faulty.items()]


def _refused(faults: Iterable[str]) -> SettingsError:
    listed = "\n".join(f"  - {fault}" for fault in faults)
    return SettingsError(f"The app settings can't be used:\n{listed}")


def _no_value(name: str, text: str) -> str | None:
    """Why a text is not what its setting is to be, whatever that takes."""
    if name != MAY_BE_QUOTED and QUOTED.fullmatch(text):
        return "is in quotes, which would be a part of it. Leave them out."
    return next((why for start, why in UNRESOLVED.items() if text.lower().startswith(start)), None)


def doubts(environment: Mapping[str, str] | None = None, local_file: Path | None = None) -> list[str]:
    """What is surely a mistake and does no harm to the start, each in a sentence. Raises SettingsError.

    What is set and not read though its name looks like one of ours, and nights that follow each other within an hour.
    """
    given = dict(_given(environment, local_file))
    nights = [text for name, text in given.items() if name.lower() == "projectusagecron"]
    known = {each.lower(): each for each in setting_names()}
    return list(filter(None, [*(_doubt(name, known) for name in given), *map(_too_often, nights)]))


def _too_often(text: str) -> str | None:
    try:
        schedule = Schedule.read(text)
    except ValueError:
        return None  # a fault, which `load` tells
    if schedule.times_an_hour == 1:
        return None
    _, _, *rest = text.split()
    meant = " ".join([str(schedule.seconds[0]), str(schedule.minutes[0]), *rest])
    return (
        f"ProjectUsageCRON fires {schedule.times_an_hour} times an hour, and each time begins a night: "
        f"did you mean {meant}?"
    )


def _doubt(name: str, known: Mapping[str, str]) -> str | None:
    if name.lower() in known:
        return None
    near = (each for each in known if abs(len(name) - len(each)) <= 1)
    meant = next((known[each] for each in near if _is_one_letter_off(name.lower(), each)), None)
    if meant is not None:
        return f"{name} is not read: its name is {meant}."
    return f"{name} is not read: there is no such setting." if OURS.match(name) else None


def _is_one_letter_off(name: str, other: str) -> bool:
    """Whether one letter is missing, too many, another one, or in its neighbour's place."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False)))
    rest, others = name[same:], other[same:]
    return rest[1:] in (others, others[1:]) or others in (rest[1::-1] + rest[2:], others[:1] + rest)


def setting_names() -> dict[str, str]:
    """Every setting's name, with what it takes."""
    return {str(field.validation_alias): field.description or "" for field in Settings.model_fields.values()}


def _given(environment: Mapping[str, str] | None, local_file: Path | None) -> list[tuple[str, str]]:
    """What is set, by whichever name, the environment after the file; an empty text is the same as nothing.

    Without the blanks and line breaks around it: what is set from a file ends in one.
    """
    in_file = _local_values(local_file) if local_file is not None and local_file.exists() else {}
    pairs = [*in_file.items(), *(os.environ if environment is None else environment).items()]
    return [(name, value.strip()) for name, value in pairs if value.strip()]


def _local_values(file: Path) -> dict[str, str]:
    try:
        # Editors on Windows put a byte order mark before it.
        values = json.loads(file.read_text("utf-8-sig"))["Values"]
        return {str(name): str(value) for name, value in values.items() if value is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Not from the error: a JSONDecodeError carries the whole text, with its secrets.
        raise SettingsError(f"{file.name} can't be read: it has to be JSON with an object named Values") from None


def _read(given: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    """The settings, with the default in the place of each faulty one, and the names of those, with what is wrong."""
    named = {name: given[name.lower()] for name in setting_names() if name.lower() in given}
    try:
        return Settings.model_validate(named), {}
    except ValidationError as error:
        faulty = {str(fault["loc"][0]): _why(fault.get("ctx", {}).get("error")) for fault in error.errors()}
    return Settings.model_validate({name: value for name, value in named.items() if name not in faulty}), faulty


def _why(error: object) -> str:
    """What is wrong, where we say it: what others say may show the value."""
    return f": {error}" if isinstance(error, FaultError) else ""


def _faults_between(settings: Settings, given: Mapping[str, str]) -> list[str]:
    """What is wrong though each setting is right by itself."""
    return [
        *_storage_faults(settings, given),
        *_export_faults(settings),
        *_key_faults(given),
        *_currency_faults(settings),
        *_mail_faults(settings),
        *_queue_faults(settings),
        *_alert_faults(settings),
        *_half_set({"AWS_ROLE_ARN": settings.aws_role_arn, "AWS_WEB_IDENTITY_AUDIENCE": settings.aws_audience}),
        *_trial_faults(settings),
        *_azure_faults(settings),
    ]


def _storage_faults(settings: Settings, given: Mapping[str, str]) -> list[str]:
    name = "DatahubStorageConnectionString"
    if settings.storage_connection and settings.storage_queue_uri:
        return [f"{name} and {name}__queueServiceUri are both set; the first would win. Keep one of them."]
    if not settings.storage_connection and not settings.storage_queue_uri:
        takes, short = setting_names()[name], "StorageConnectionString"
        if any(key.partition("__")[0] == short.lower() for key in given):
            return [f"{name} is missing, and {short} is not read: its name is {name}."]
        return [f"{name} is missing. It takes {takes}. With an identity, set {name}__queueServiceUri in its place."]
    return []


def _export_faults(settings: Settings) -> list[str]:
    if settings.export_storage and settings.export_storage_uri:
        name = "CostExportStorage"
        return [f"{name} and {name}__blobServiceUri are both set; the first would win. Keep one of them."]
    if settings.has_exports:
        return []
    return _half_set(
        {"AZURE_ACCOUNT_NAME": settings.export_account_name, "AZURE_ACCOUNT_KEY": settings.export_account_key}
    )


def _key_faults(given: Mapping[str, str]) -> list[str]:
    """The name that most others take holds one key without an id, of which nobody could change to another."""
    if "encryption_key" not in given:
        return []
    takes = setting_names()["ENCRYPTION_KEYS"]
    return [f"ENCRYPTION_KEY is not read: give its key an id, and set ENCRYPTION_KEYS, which takes {takes}."]


def _currency_faults(settings: Settings) -> list[str]:
    if settings.reporting_currency is None or settings.converting is not Converting.OFF:
        return []
    return ["REPORTING_CURRENCY is set, and CURRENCY_CONVERSION is off: nothing is converted. It takes ecb there."]


def _mail_faults(settings: Settings) -> list[str]:
    needed: dict[str, object] = {}
    if settings.email_provider is Provider.SMTP:
        needed = {"EMAIL_SENDER": settings.email_sender, "SMTP_HOST": settings.smtp_host}
    elif settings.email_provider is Provider.SENDGRID:
        needed = {"EMAIL_SENDER": settings.email_sender, "SENDGRID_API_KEY": settings.sendgrid_api_key}
    elif settings.email_provider is Provider.ACS:
        needed = {"EMAIL_SENDER": settings.email_sender, "ACS_ENDPOINT": settings.acs_endpoint}
    provider, takes = settings.email_provider, setting_names()
    missing = [name for name, value in needed.items() if not value]
    faults = [f"{name} is missing: EMAIL_PROVIDER is {provider}. It takes {takes[name]}." for name in missing]
    if provider is Provider.SMTP and settings.smtp_username and not settings.smtp_password:
        faults.append(f"SMTP_PASSWORD is missing: SMTP_USERNAME is set. It takes {takes['SMTP_PASSWORD']}.")
    return faults


def _queue_faults(settings: Settings) -> list[str]:
    names = list(settings.queue_names.values())
    with_poison = [*names, *(f"{name}-poison" for name in names)]
    if len(set(with_poison)) < len(with_poison):
        return [
            "Two of QueueProjectUsageUpdate, QueueProjectUsageNotification, QueueEmailNotification, QueueProjectLock "
            "and QueueCostExportImport have the same name, or one has another's with -poison. Each takes a name of its "
            "own."
        ]
    return []


def _alert_faults(settings: Settings) -> list[str]:
    """One without the other would let every caller in that has the function's key, without a word."""
    return _half_set({"ALERT_AUDIENCE": settings.alert_audience, "ALERT_TENANT_ID": settings.alert_tenant_id})


def _half_set(names: Mapping[str, object]) -> list[str]:
    """What is wrong where one of two settings is missing."""
    missing = [name for name, value in names.items() if not value]
    if len(missing) != 1:
        return []
    given, takes = next(name for name in names if name not in missing), setting_names()[missing[0]]
    return [f"{missing[0]} is missing: {given} is set. It takes {takes}."]


def _trial_faults(settings: Settings) -> list[str]:
    trials = {"WARDEN_STAGING": settings.staging, "USE_MADE_UP_COSTS": settings.made_up_costs}
    trial, faults = next((name for name, is_set in trials.items() if is_set), None), []
    if trial and settings.lock_mode is LockMode.ENFORCE:
        faults.append(f"LOCK_MODE is enforce, and {trial} is true: then nobody is locked. It takes dry-run or off.")
    if trial and settings.lock_action_group_id is not None:
        faults.append(
            f"LOCK_ACTION_GROUP_ID is set, and {trial} is true: Azure's budgets of the projects, which production "
            "looks after, would be written. Leave it out."
        )
    if settings.made_up_costs and settings.azure_instance is not None and not settings.staging:
        faults.append("USE_MADE_UP_COSTS is true in Azure, where it goes with WARDEN_STAGING only.")
    if settings.staging and not settings.email_operators:
        faults.append("EMAIL_OPERATORS is missing: WARDEN_STAGING is true, and they get all its mails.")
    return faults


def _azure_faults(settings: Settings) -> list[str]:
    """In Azure the disk goes away: what lies on it would be lost without a word."""
    if settings.azure_instance is None:
        return []
    faults = []
    if settings.database_url.get_secret_value().startswith("sqlite"):
        faults.append("DATABASE_URL is SQLite, whose file does not last in Azure. It takes mssql+pyodbc://… there.")
    if settings.email_provider is Provider.OUTBOX:
        there = "It takes sendgrid, acs or smtp there."
        faults.append(f"EMAIL_PROVIDER is outbox, whose folder does not last in Azure. {there}")
    if settings.lock_mode is LockMode.ENFORCE and settings.own_group is None:
        faults.append(
            "WEBSITE_RESOURCE_GROUP is missing, and Azure does not say otherwise which resource group the app itself "
            "is in (LOCK_MODE is enforce). It takes that group's name, so that the app never locks itself."
        )
    try:
        _ = settings.nights
    except ValueError:
        faults.append(f"WEBSITE_TIME_ZONE is not right. It takes {setting_names()['WEBSITE_TIME_ZONE']}.")
    local = {"LOCAL_CLOCK_START": settings.clock_start is not None, "LOCAL_CLOCK_SPEED": settings.clock_speed != 1}
    local |= {"AWS_ENDPOINT": settings.aws_endpoint is not None}
    faults += [
        f"{name} is set, which is for a developer's machine only. Remove it in Azure."
        for name, is_set in local.items()
        if is_set
    ]
    return faults
