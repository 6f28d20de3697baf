"""Azure's refusals in plain words, with what to do.

`azd provision 2>&1 | tee said.txt; python infra/hooks/refusals.py < said.txt` says them of anything that azd wrote.
"""

from __future__ import annotations

import re
import sys

ROLES = "Whoever deploys needs the role Owner there, or Contributor and Role Based Access Control Administrator."
# What Azure says, by its error codes where it has one, and what that means; {0} is what the first group has found.
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
        r"\b(\w*AlreadyTaken|VaultAlreadyExists|NameAlreadyExists|NameNotAvailable|already exists in deleted state)\b",
        "A name is taken ({0}): by somebody else, or by what was deleted a short while ago. `azd down --purge` frees "
        "what this environment has deleted; an environment of another name (`azd env new NAME`) makes other names.",
    ),
    (
        r"(?i)\b(free limit|free offer|free database|FreeLimit\w*)",
        "The subscription has no free offer of Azure SQL left, or does not take part in it ({0}). "
        "`azd env set SQL_FREE_OFFER false` takes Basic, for a few dollars a month.",
    ),
    (
        r"\b(QuotaExceeded|SubscriptionIsOverQuotaForSku)\b",
        "A quota of the subscription is used up ({0}): take another region (`azd env set AZURE_LOCATION REGION`), or "
        "have the quota raised in the portal.",
    ),
    (
        r"\b(LocationNotAvailableForResourceType|ProvisioningDisabled|RegionDoesNotAllowProvisioning)\b",
        "The region does not have this, or takes no new ones ({0}): take another, `azd env set AZURE_LOCATION REGION`.",
    ),
    (
        r"(?s)\bMissingSubscriptionRegistration\b.*?namespace '([^']+)'",
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
        r"\bPrincipalNotFound\b",
        "Azure does not know the new identity everywhere yet: run this again in a minute.",
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
        "The database server does not know who is signed in here as its administrator: that is whoever ran "
        "`azd provision`. Sign azd in as the same (`azd auth login`).",
    ),
    (
        r"\b(?:40613|42119)\b|is not currently available|monthly free amount",
        "The database is paused or waking up. Where it is the free offer's and its month is used up, it stays so until "
        "the next month, or until it is billed: `azd env set SQL_AFTER_FREE_OFFER BillOverUsage`, `azd provision`.",
    ),
)


def plain(said: str) -> list[str]:
    """What a text of Azure's means, a sentence or two each; nothing for what is not known."""
    meant: dict[str, None] = {}
    for pattern, meaning in MEANINGS:
        if found := re.search(pattern, said):
            meant[meaning.format(*found.groups())] = None
    return list(meant)


if __name__ == "__main__":
    for sentence in plain(sys.stdin.read()) or ["There is no known refusal of Azure in this text."]:
        print(sentence)
