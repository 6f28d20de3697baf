"""Runs a command of the app with the settings that the app has in Azure, signed in as you.

`python infra/hooks/operate.py status`: azd's environment says which app is meant. What only the app's identity can use
is replaced by what you can: the database by your own sign-in, the mail provider's key by what the vault tells you. The
roles that `check` looks at are the identity's all the same. No local.settings.json counts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import az

sys.path.insert(0, str(az.PROJECT))

from shared import settings

# Of the app's identity, and its own telemetry.
ONLY_THERE = {
    "AZURE_CLIENT_ID",
    "DatahubStorageConnectionString__clientId",
    "DatahubStorageConnectionString__credential",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
}
REFERENCE = re.compile(r"@Microsoft\.KeyVault\(SecretUri=(.+)\)")
NO_KEY = (
    "The vault does not tell you the mail provider's key (that takes the role Key Vault Secrets User on it): mails "
    "would go into files here, and are not judged."
)


def of_azd() -> dict[str, str]:
    """The values of azd's environment. Raises HookError."""
    program = shutil.which("azd")
    if program is None:
        raise az.HookError("azd is not in the PATH.")
    done = subprocess.run(
        [program, "env", "get-values", "--output", "json"], cwd=az.PROJECT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise az.HookError(f"azd has no environment here: {(done.stderr or done.stdout).strip()}")
    values: dict[str, str] = json.loads(done.stdout)
    return values


def of_the_app() -> dict[str, str]:
    """The app's settings, as Azure has them. Raises HookError."""
    place = ("--name", az.value("AZURE_FUNCTION_NAME"), "--resource-group", az.value("AZURE_RESOURCE_GROUP"))
    listed = az.az("functionapp", "config", "appsettings", "list", *place) or ()
    return {each["name"]: each["value"] for each in listed if each["name"] in settings.setting_names()}


def for_a_person(given: Mapping[str, str], secret: Callable[[str], str]) -> dict[str, str]:
    """The app's settings as somebody else can use them.

    secret: what the vault has at an address; raises HookError where it does not say.
    """
    mine = {name: text for name, text in given.items() if name not in ONLY_THERE}
    host, database = az.value("WARDEN_SQL_HOST"), az.value("WARDEN_SQL_DATABASE")
    mine["DATABASE_URL"] = f"mssql+mssqlpython://{host}/{database}?Authentication=ActiveDirectoryDefault"
    for name, text in given.items():
        if found := REFERENCE.fullmatch(text):
            try:
                mine[name] = secret(found[1])
            except az.HookError:
                print(NO_KEY, file=sys.stderr)
                del mine[name]
                mine["EMAIL_PROVIDER"] = "outbox"
    return mine


def of_the_vault(address: str) -> str:
    """A secret of the vault. Raises HookError."""
    return str(az.az("keyvault", "secret", "show", "--id", address)["value"])


def as_meant(command: Sequence[str]) -> list[str]:
    """The command; of `check` as it judges the app, and not you. Raises HookError."""
    # The options before a command take no values.
    name = next((each for each in command if not each.startswith("-")), "")
    if name != "check" or any(each.partition("=")[0] == "--identity" for each in command):
        return list(command)
    return [*command, "--identity", az.value("WARDEN_IDENTITY_PRINCIPAL_ID")]


def main() -> None:
    """Raises HookError, and SystemExit with the command's exit code."""
    os.environ |= of_azd()
    mine = for_a_person(of_the_app(), of_the_vault)
    known = set(map(str.lower, settings.setting_names()))
    for name in [each for each in os.environ if each.lower() in known]:
        del os.environ[name]
    os.environ |= mine
    from shared.cli import app

    app.LOCAL_FILE = Path(os.devnull, app.LOCAL_FILE)
    from shared.cli.main import main as run

    sys.exit(run(as_meant(sys.argv[1:])))


if __name__ == "__main__":
    sys.exit(az.run(main))
