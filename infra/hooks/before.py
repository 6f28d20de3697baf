"""Before anything is made: what is surely wrong is said now, all of it at once, and not after ten minutes.

The values that `azd env set` was given are judged by the app's own rules, those by which it will start or not.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
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
# Values of azd's environment that have the name of the app's setting that they become.
PARAMETERS = (az.PROJECT / "infra" / "main.parameters.json").read_text("utf-8")
SAME = set(re.findall(r"\$\{(\w+)", PARAMETERS)) & set(settings.setting_names())
NEEDED = "Microsoft.Authorization/roleAssignments/write"


def faults_of_values(given: Mapping[str, str]) -> str | None:
    """What the app would refuse of these values of azd's environment; None where it would start."""
    provider = given.get("EMAIL_PROVIDER") or "sendgrid"
    wanted = MADE | {name: given.get(name, "") for name in SAME} | {"EMAIL_PROVIDER": provider}
    wanted["ProjectUsageCRON"] = given.get("PROJECT_USAGE_CRON", "")
    # Where the vault was made before, it may have the key.
    key = given.get("MAIL_KEY") or ("kept" if given.get("WARDEN_VAULT") else "")
    wanted |= {"SENDGRID_API_KEY": key, "SMTP_PASSWORD": key}
    if provider == "acs":
        wanted["ACS_ENDPOINT"] = "https://before.communication.azure.com"
        if not given.get("ACS_DOMAIN"):
            wanted["EMAIL_SENDER"] = "DoNotReply@example.com"
    try:
        settings.load(wanted)
    except settings.SettingsError as error:
        return str(error)
    return None


def may_assign_roles(subscription: str) -> bool:
    """Whether whoever is signed in may give roles there. Raises HookError."""
    url = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
    held = az.az("rest", "--method", "get", "--url", url)
    if not isinstance(held, dict) or not isinstance(held.get("value"), list):
        raise az.HookError(f"Azure does not say what you may do in the subscription {subscription}.")
    return any(_holds(each.get("actions")) and not _holds(each.get("notActions")) for each in held["value"])


def _holds(patterns: Iterable[str] | None) -> bool:
    return any(fnmatchcase(NEEDED.lower(), pattern.lower()) for pattern in patterns or ())


def faults() -> Iterator[str]:
    """Everything that is surely wrong."""
    if wrong := faults_of_values(os.environ):
        key = "The key is MAIL_KEY, the schedule PROJECT_USAGE_CRON."
        yield f"{wrong}\nThese are values of azd's environment: `azd env set NAME VALUE`. {key}"
    subscription = os.environ.get("AZURE_SUBSCRIPTION_ID", "")
    try:
        if subscription and not may_assign_roles(subscription):
            yield (
                f"You may not give roles in the subscription {subscription}, which the app's identity needs. It takes "
                "the role Owner, or Role Based Access Control Administrator besides Contributor, there."
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
