"""Before anything is made: what is surely wrong is said now, all of it at once, and not after ten minutes.

The values that `azd env set` was given are judged by the app's own rules, those by which it will start or not, and by
what azd and the other hooks would make of them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

import az

sys.path.insert(0, str(az.PROJECT))

from shared import settings

# What the template makes of azd's values or of what it knows by itself.
MADE = {
    "WEBSITE_INSTANCE_ID": "before",
    "WEBSITE_RESOURCE_GROUP": "before",
    "DatahubStorageConnectionString__queueServiceUri": "https://before.queue.core.windows.net",
    "DATABASE_URL": "mssql+pyodbc://before/warden",
}
INFRA = az.PROJECT / "infra"
PLACE = re.compile(r"\$\{(\w+)(?:=[^}]*)?\}")
# The parameters of the template, each with the value of azd's environment that it is, and with its type.
PLACES: dict[str, str] = {
    name: PLACE.sub(r"\1", each["value"])
    for name, each in json.loads((INFRA / "main.parameters.json").read_text("utf-8"))["parameters"].items()
}
TYPES = dict(re.findall(r"^param (\w+) (.+?)(?: =.*)?$", (INFRA / "main.bicep").read_text("utf-8"), re.MULTILINE))
# Values of azd's environment that have the name of the app's setting that they become.
SAME = set(PLACES.values()) & set(settings.setting_names())
GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Of Contributor, and of Role Based Access Control Administrator.
NEEDED = ("Microsoft.Resources/subscriptions/resourceGroups/write", "Microsoft.Authorization/roleAssignments/write")
KEY_IN_VAULT = "secrets/mail-key?api-version=2024-11-01"


def takes(kind: str) -> tuple[str, str]:
    """What a parameter of this type takes, as a pattern and in words.

    azd takes more for a switch (1, T), and what it can't read for a value that was not given; the app takes yes, too.
    """
    if kind == "bool":
        return "true|false", "true or false, in small letters"
    if kind == "int":
        return "[0-9]+", "a whole number"
    if kind == "string":
        # azd puts it into JSON as it is.
        return r'[^"\\\x00-\x1f]*', "a line without \" and \\, which azd can't hand on"
    choices = [each.strip(" '") for each in kind.split("|")]
    return "|".join(map(re.escape, choices)), " or ".join(choices)


def misread(given: Mapping[str, str]) -> dict[str, str]:
    """The values of azd's environment that azd or the hooks would read as something else, each with what it takes."""
    wrong = {}
    for parameter, name in PLACES.items():
        pattern, words = takes(TYPES[parameter])
        if given.get(name) and not re.fullmatch(pattern, given[name]):
            wrong[name] = f"{name} takes {words}."
    return wrong


def faults_of_values(given: Mapping[str, str], key_is_kept: Callable[[], bool] = lambda: False) -> str | None:
    """What azd or the app would refuse, or take for something else, of these values of azd's environment.

    key_is_kept: whether the vault has the mail provider's key. None where all is well.
    """
    wrong = misread(given)
    right = {name: text for name, text in given.items() if name not in wrong or name == "MAIL_KEY"}
    faults = [*wrong.values(), *_of_the_environment(right), *_of_the_app(right, key_is_kept)]
    return "\n".join(faults) or None


def _of_the_environment(given: Mapping[str, str]) -> Iterator[str]:
    """What the app does not know of."""
    if given.get("AZURE_ENV_NAME", "").endswith("."):
        yield "The environment's name ends in a period, which no resource group's may: `azd env new NAME`."
    another = given.get("WARDEN_ADMINISTRATOR_ID", "")
    if another and not GUID.fullmatch(another):
        yield "WARDEN_ADMINISTRATOR_ID takes the object id of a group, a person or a service principal in Entra."
    if another and not given.get("WARDEN_ADMINISTRATOR_NAME"):
        yield "WARDEN_ADMINISTRATOR_NAME is missing: the name of WARDEN_ADMINISTRATOR_ID, such as the group's."
    domain, is_verified = given.get("ACS_DOMAIN", ""), given.get("ACS_DOMAIN_VERIFIED") == "true"
    if is_verified and given.get("EMAIL_SENDER", "").rpartition("@")[2] != domain:
        yield f"ACS_DOMAIN_VERIFIED is true: EMAIL_SENDER takes an address of ACS_DOMAIN{domain and f' ({domain})'}."
    if given.get("WARDEN_STAGING") == given.get("AZURE_BUDGETS") == "true":
        yield "AZURE_BUDGETS is true, and WARDEN_STAGING is: two installations would write the same budgets."


def _of_the_app(given: Mapping[str, str], key_is_kept: Callable[[], bool]) -> Iterator[str]:
    """What keeps the app from starting, or is no setting of it."""
    provider = given.get("EMAIL_PROVIDER") or "sendgrid"
    wanted = MADE | {name: given.get(name, "") for name in SAME} | {"EMAIL_PROVIDER": provider}
    wanted["ProjectUsageCRON"] = given.get("PROJECT_USAGE_CRON", "")
    is_needed = provider == "sendgrid" or (provider == "smtp" and given.get("SMTP_USERNAME"))
    key = given.get("MAIL_KEY") or ("kept" if is_needed and key_is_kept() else "")
    wanted |= {"SENDGRID_API_KEY": key, "SMTP_PASSWORD": key}
    if provider == "acs":
        wanted["ACS_ENDPOINT"] = "https://before.communication.azure.com"
        if given.get("ACS_DOMAIN_VERIFIED") != "true":
            wanted["EMAIL_SENDER"] = "DoNotReply@example.com"
    try:
        settings.load(wanted)
    except settings.SettingsError as error:
        yield f"{error}\nThe key is MAIL_KEY, the schedule PROJECT_USAGE_CRON."


def key_is_kept() -> bool:
    """Whether the vault has the mail provider's key; so taken, too, where Azure does not say."""
    if not os.environ.get("WARDEN_VAULT"):
        return False
    try:
        group = f"/subscriptions/{az.value('AZURE_SUBSCRIPTION_ID')}/resourceGroups/{az.value('AZURE_RESOURCE_GROUP')}"
        vault = f"{group}/providers/Microsoft.KeyVault/vaults/{az.value('WARDEN_VAULT')}"
        az.az("rest", "--method", "get", "--url", f"{vault}/{KEY_IN_VAULT}")
    except az.HookError as error:
        return "NotFound" not in str(error)
    return True


def missing_rights(subscription: str) -> list[str]:
    """What whoever is signed in would have to be able to do there, and is not. Raises HookError."""
    url = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
    held = az.az("rest", "--method", "get", "--url", url)
    if not isinstance(held, dict) or not isinstance(held.get("value"), list):
        raise az.HookError(f"Azure does not say what you may do in the subscription {subscription}.")
    return [right for right in NEEDED if not any(_gives(each, right) for each in held["value"])]


def _gives(held: Mapping[str, Iterable[str] | None], right: str) -> bool:
    return _has(held.get("actions"), right) and not _has(held.get("notActions"), right)


def _has(patterns: Iterable[str] | None, right: str) -> bool:
    return any(fnmatchcase(right.lower(), pattern.lower()) for pattern in patterns or ())


def faults() -> Iterator[str]:
    """Everything that is surely wrong."""
    if wrong := faults_of_values(os.environ, key_is_kept):
        yield f"{wrong}\nThese are values of azd's environment: `azd env set NAME VALUE`."
    subscription = os.environ.get("AZURE_SUBSCRIPTION_ID", "")
    if not subscription:
        print("azd knows no subscription yet: what you may do there is not looked at.")
        return
    try:
        if missing := missing_rights(subscription):
            yield (
                f"You may not do {' nor '.join(missing)} in the subscription {subscription}. It takes the role Owner, "
                "or both Contributor and Role Based Access Control Administrator, there."
            )
    except az.HookError as error:
        yield str(error)


def main() -> None:
    """Raises HookError with all that is wrong."""
    if found := list(faults()):
        raise az.HookError("\n".join(found))
    print("What azd's environment says is what the app takes.")


if __name__ == "__main__":
    sys.exit(az.run(main))
