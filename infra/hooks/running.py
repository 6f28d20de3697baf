"""Once the app runs: the Action Group that Azure's budgets call, and what the identity may do in each subscription.

WARDEN_SUBSCRIPTIONS names the subscriptions whose costs are read, joined by `;`; without it, it is the one that the app
is in. One that refuses is told, and keeps no other from getting its rights. Runs again well.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import az

INFRA = az.PROJECT / "infra"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
# The functions of new code are known to Azure within a minute or two.
TRIES = 8
SECONDS_BETWEEN = 20.0


def lock_group(sleep: Callable[[float], None] = time.sleep) -> None:
    """Makes the Action Group, as soon as the function that it calls is there. Raises HookError."""
    parameters = {
        "appName": az.value("AZURE_FUNCTION_NAME"),
        "appHost": az.value("WARDEN_APP_HOST"),
        "lockGroupName": az.value("WARDEN_LOCK_GROUP"),
        "principalId": az.value("WARDEN_IDENTITY_PRINCIPAL_ID"),
        "environmentName": az.value("AZURE_ENV_NAME"),
    }
    group = az.value("AZURE_RESOURCE_GROUP")
    deployment = ("deployment", "group", "create", "--resource-group", group, "--name", "warden-running")
    for attempt in range(TRIES):
        try:
            _deploy(*deployment, template="running.bicep", parameters=parameters)
        except az.RefusedError as error:
            if "NotFound" not in str(error) or attempt == TRIES - 1:
                raise
            sleep(SECONDS_BETWEEN)
        else:
            print(f"Azure's budgets can call the app, through {parameters['lockGroupName']}.")
            return


def rights(subscription: str) -> None:
    """Gives the identity what the switches need in a subscription. Raises HookError."""
    parameters = {
        "principalId": az.value("WARDEN_IDENTITY_PRINCIPAL_ID"),
        "lockMode": os.environ.get("LOCK_MODE") or "dry-run",
        "lockStopCompute": az.is_on("LOCK_STOP_COMPUTE"),
        "azureBudgets": az.is_on("AZURE_BUDGETS"),
    }
    # A name is kept for the region in which it was used first. 64 letters are the most.
    region = az.value("AZURE_LOCATION")
    name = f"warden-{region}-{az.value('AZURE_ENV_NAME')}"[:64]
    place = ("--subscription", subscription, "--location", region, "--name", name)
    _deploy("deployment", "sub", "create", *place, template="subscriptions.bicep", parameters=parameters)
    print(f"The app may do in {subscription} what its settings need.")


def _deploy(*command: str, template: str, parameters: Mapping[str, object]) -> None:
    """Parameters by a file: quotes in an argument don't reach az on Windows."""
    values = {name: {"value": value} for name, value in parameters.items()}
    with TemporaryDirectory() as folder:
        file = Path(folder, "parameters.json")
        file.write_text(json.dumps({"$schema": SCHEMA, "contentVersion": "1.0.0.0", "parameters": values}), "utf-8")
        az.az(*command, "--template-file", str(INFRA / template), "--parameters", f"@{file}")


def main() -> None:
    """Raises HookError with all that was refused."""
    refused = []
    if az.is_on("AZURE_BUDGETS"):
        try:
            lock_group()
        except az.RefusedError as error:
            refused.append(f"The Action Group for Azure's budgets can't be made. {error}")
    named = az.listed(os.environ.get("WARDEN_SUBSCRIPTIONS", "")) or [az.value("AZURE_SUBSCRIPTION_ID")]
    for subscription in named:
        try:
            rights(subscription)
        except az.RefusedError as error:
            refused.append(f"The app gets no rights in {subscription}. {error}")
    if refused:
        raise az.HookError("\n\n".join([*refused, "Once that is mended: `azd hooks run postdeploy`."]))


if __name__ == "__main__":
    sys.exit(az.run(main))
