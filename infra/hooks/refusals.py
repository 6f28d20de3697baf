"""Azure's refusals in plain words, with what to do.

`azd provision 2>&1 | tee said.txt; python infra/hooks/refusals.py < said.txt` says them of anything that azd wrote.
"""

from __future__ import annotations

import re
import sys

ROLES = "Whoever deploys needs the role Owner there, or Contributor and Role Based Access Control Administrator."
MOVE = (
    "An environment stays in its region. Make another (`azd env new NAME`); or, once `azd down --purge` has deleted "
    "all that this one has, `azd env set AZURE_LOCATION REGION`."
)
# What Azure says, by its error codes where it has one, and what that means; {0} is what was found.
MEANINGS = (
    (
        r"does not have authorization to perform action '([^']+)' over scope '([^']+)'",
        f"You may not do {{0}} on {{1}}. {ROLES}",
    ),
    (
        r"(?s)\b(?:Linked)?AuthorizationFailed\b(?!.*over scope)",
        f"You may not do that here. {ROLES}",
    ),
    (
        r"VaultAlreadyExists|vault with the same name|in deleted state",
        "The vault's name is taken, mostly by itself: deleted without `azd down --purge`, a vault keeps its name for 7 "
        "days. `az keyvault list-deleted` names it, `az keyvault purge --name NAME` frees it; an environment of "
        "another name (`azd env new NAME`) makes other names.",
    ),
    (
        r"\b(\w*AlreadyTaken|NameAlreadyExists|NameNotAvailable)\b|Website with given name \S+ (already exists)",
        "A name is taken ({0}), by somebody else or by what was deleted a short while ago. An environment of another "
        "name (`azd env new NAME`) makes other names.",
    ),
    (
        r"(?i)\b(free limit|free offer|free database|FreeLimit\w*)",
        "The subscription has no free offer of Azure SQL left, or does not take part in it ({0}). "
        "`azd env set SQL_FREE_OFFER false` takes Basic, for a few dollars a month.",
    ),
    (
        r"\b(QuotaExceeded|SubscriptionIsOverQuotaForSku)\b",
        f"A quota of the subscription is used up ({{0}}): have it raised in the portal, or take another region. {MOVE}",
    ),
    (
        r"\b(LocationNotAvailableForResourceType|ProvisioningDisabled|RegionDoesNotAllowProvisioning)\b",
        f"The region does not have this, or takes no new ones ({{0}}): take another. {MOVE}",
    ),
    (
        r"\bInvalidResourceGroupLocation\b",
        f"The environment's resource group is in another region already. {MOVE}",
    ),
    (
        r"\bInvalidDeploymentLocation\b",
        "A deployment of this name was made in another region of old: give it another name (`--name`).",
    ),
    (
        r"\bDeploymentActive\b",
        "Another deployment of this name is still going on: wait for its end, and run this again.",
    ),
    (
        r"(?is)not registered (?:to use|with)\b.{0,80}?\b(Microsoft\.\w+)",
        "The subscription does not know {0} yet: `az provider register --namespace {0}`, then again in a few minutes.",
    ),
    (
        r"\bRequestDisallowedByPolicy\b",
        "A policy of your organization forbids it; Azure names the policy above. Whoever keeps the policies can exempt "
        "the resource group.",
    ),
    (
        r"\bRoleAssignmentExists\b",
        "The identity has that role already, by an assignment under another name. Nothing is missing; to have it kept "
        "by this template, delete that assignment in the portal and run this again.",
    ),
    (
        r"\b(RoleAssignmentUpdateNotPermitted|UnmatchedPrincipalType)\b",
        "A role assignment of that name belongs to another identity, mostly one that was deleted ({0}): delete the "
        "assignment in the portal (*Access control*, an unknown identity), and run this again.",
    ),
    (
        r"\bRoleAssignmentLimitExceeded\b",
        "The subscription has as many role assignments as it may: delete those of unknown identities in the portal.",
    ),
    (
        r"\bScopeLocked\b",
        "A lock is on it, or on what it is in; Azure names the scope above. Take it off (`projects unlock` where it is "
        "the app's own), and name the group in LOCK_NEVER.",
    ),
    (
        r"\bReadOnlyDisabledSubscription\b",
        "The subscription is disabled, mostly since a bill was not paid or a credit is used up.",
    ),
    (
        r"\bTooManyRequests\b|\(429\)",
        "Azure asks to wait: run this again in a few minutes.",
    ),
    (
        r"\bPrincipalNotFound\b",
        "Azure does not know the new identity everywhere yet: run this again in a minute.",
    ),
    (
        r"\bInaccessibleStorageException\b|BlobUploadFailed",
        "The app's identity, or yours, is not known everywhere yet as one that may write to the storage account: "
        "`azd deploy` again in a minute or two.",
    ),
    (
        r"Azure Developer CLI could not be found",
        "azd is not in the PATH of whatever runs this.",
    ),
    (
        r"(?i)error while .*(?:install|download|retrieve).* bicep",
        "The Azure CLI could not fetch its Bicep compiler: `az bicep install`, with a way to the internet.",
    ),
    (
        r"az login|azd auth login|AADSTS\d+|not logged in|failed to retrieve a token",
        "Nobody is signed in here, or no more: `az login` and `azd auth login`, as the same person. "
        "`azd config set auth.useAzCliAuth true` has azd use the sign-in of az.",
    ),
    (
        r"\bSubscriptionNotFound\b",
        "There is no such subscription for whoever is signed in (`az account list`).",
    ),
    (
        r"(?s)(?=.*BudgetAlert).*\b(?:ParentResource|Resource)?NotFound\b",
        "The function BudgetAlert is not there: the app was deployed and did not start. The log says why.",
    ),
    (
        r"Failed to load the driver",
        "The database's driver lacks libraries of the system: on Debian and Ubuntu, "
        "`apt install libltdl7 libkrb5-3 libgssapi-krb5-2`.",
    ),
    (
        r"is not allowed to access the server",
        "The database server's firewall does not let this address in.",
    ),
    (
        r"\b18456\b|Login failed for user",
        "The database server does not know who is signed in here as its administrator: that is "
        "WARDEN_ADMINISTRATOR_ID, or else whoever ran `azd provision` last. Sign azd in so (`azd auth login`), "
        "or as a member of that group; who came into a group a short while ago has to sign in anew.",
    ),
    (
        r"parameter (ExternalAdministrator\w+|AzureADOnlyAuthentication|Login)\b|\b(AadOnlyAuthenticationIsEnabled)\b",
        "The database server does not take this administrator ({0}). Are id, type and name (WARDEN_ADMINISTRATOR_…) of "
        "one and the same? Else set it in the portal, *SQL server → Microsoft Entra ID*, and leave the values as set.",
    ),
    (
        r"\b(?:40613|42119|HYT00)\b|is not currently available|monthly free amount|"
        r"(?i:login timeout)|login response \(258\)",
        "The database is paused or waking up. Where it is the free offer's and its month is used up, it stays so until "
        "the next month, or until it is billed: `azd env set SQL_AFTER_FREE_OFFER BillOverUsage`, `azd provision`.",
    ),
)


def plain(said: str) -> list[str]:
    """What a text of Azure's means, a sentence or two each; nothing for what is not known."""
    meant: dict[str, None] = {}
    for pattern, meaning in MEANINGS:
        if found := re.search(pattern, said):
            meant[meaning.format(*filter(None, found.groups()))] = None
    return list(meant)


if __name__ == "__main__":
    for sentence in plain(sys.stdin.read()) or ["There is no known refusal of Azure in this text."]:
        print(sentence)
