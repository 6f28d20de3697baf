"""A snapshot: the resources that would be there, as the compiler has worked them out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.docs import sources

ROLES: dict[str, dict[str, str]] = json.loads(sources.read("infra/roles.json"))
ROLE_NAMES = {role["id"]: role["name"] for role in ROLES.values()}
OF_EVERY_RESOURCE = {"id", "type", "name", "apiVersion", "dependsOn", "tags"}
INSIGHTS = "11111111-2222-4333-8444-555555555555"
# What only Azure knows is left as an expression: here, what it may come to.
ONLY_AZURE_KNOWS = {
    r"reference\('[^']*/userAssignedIdentities/[^']*', '[^']*'\)\.clientId": "99999999-0000-0000-0000-000000000004",
    r"reference\('[^']*/userAssignedIdentities/[^']*', '[^']*'\)\.principalId": "99999999-0000-0000-0000-000000000005",
    r"reference\('[^']*/storageAccounts/[^']*', '[^']*'\)\.primaryEndpoints\.blob": "https://BLOBS/",
    r"deployer\(\)\.userPrincipalName": "somebody@example.com",
    r"reference\('[^']*/servers/[^']*', '[^']*'\)\.fullyQualifiedDomainName": "sql.database.windows.net",
    r"reference\('[^']*/components/[^']*', '[^']*'\)\.ConnectionString": f"InstrumentationKey={INSIGHTS}",
    r"reference\('[^']*/communicationServices/[^']*', '[^']*'\)\.hostName": "acs.europe.communication.azure.com",
    r"reference\('[^']*/domains/[^']*', '[^']*'\)\.mailFromSenderDomain": "a-guid.azurecomm.net",
    r"listKeys\(.*\)\.default": "KEY",
    r"resourceGroup\(\)\.location": "westeurope",
    r"environment\(\)\.authentication\.loginEndpoint": "https://login.microsoftonline.com/",
    r"environment\(\)\.suffixes\.storage": "core.windows.net",
    r"environment\(\)\.suffixes\.keyvaultDns": ".vault.azure.net",
}


class Deployment:
    """resources: each that would be there."""

    def __init__(self, resources: list[dict[str, Any]]) -> None:
        self.resources = resources

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Those of a type, such as Microsoft.Web/sites."""
        return [each for each in self.resources if each["type"].lower() == kind.lower()]

    def one(self, kind: str) -> dict[str, Any]:
        """The only one of a type."""
        (found,) = self.of(kind)
        return found

    def settings(self) -> dict[str, str]:
        """The app's settings, with what they may come to in Azure."""
        given = next(each for each in self.resources if each["name"].endswith("/appsettings"))["properties"]
        return {name: concrete(text) for name, text in given.items()}

    def properties(self) -> dict[str, Any]:
        """Each property of each resource, by `type name: path`, as it may come to be; of ids the type and name.

        Names are without what is made of subscription, environment and region. Roles are told by `rights`.
        """
        accounts = self.of("Microsoft.Storage/storageAccounts")
        bare = re.compile("-?" + accounts[0]["name"].removeprefix("st") if accounts else "(?!)")
        found: dict[str, Any] = {}
        for each in self.resources:
            if each["type"] != "Microsoft.Authorization/roleAssignments":
                resource = f"{each['type'].rpartition('/')[2]} {each['name'].rpartition('/')[2]}"
                own = {name: value for name, value in each.items() if name not in OF_EVERY_RESOURCE}
                found |= {f"{resource}: {path}": value for path, value in _flat(own or {"made": True})}
        return {bare.sub("", path): bare.sub("", v) if isinstance(v, str) else v for path, v in found.items()}

    def rights(self) -> set[tuple[str, str]]:
        """The names of roles that are assigned, each with the type of what it is for."""
        return {(_role(each), _scope(each)) for each in self.of("Microsoft.Authorization/roleAssignments")}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _flat(below, f"{path}.{_of_id(name)}".removeprefix(".").removeprefix("properties."))
    elif isinstance(value, list) and value:
        for number, below in enumerate(value):
            yield from _flat(below, f"{path}[{number}]")
    else:
        yield path, _of_id(concrete(value)) if isinstance(value, str) and "parameters(" not in value else value


def _of_id(text: str) -> str:
    found = re.fullmatch(r"/subscriptions/.*/([^/]+/[^/]+)", text)
    return found[1] if found else text


def concrete(text: str) -> str:
    """A text of a snapshot as it may come to be. Fails for an expression that is not of the known ones."""
    if not text.startswith("["):
        return text
    for unknown, value in ONLY_AZURE_KNOWS.items():
        text = re.sub(unknown, f"'{value}'", text)
    parts = re.fullmatch(r"\[format\('(.*?)', (.*)\)\]", text)
    if parts is None:
        value = re.fullmatch(r"\['([^']*)'\]", text)
        assert value, f"not known: {text}"
        return value[1]
    arguments = re.findall(r"'([^']*)'", parts[2])
    return re.sub(r"\{(\d)\}", lambda found: arguments[int(found[1])], parts[1])


def _role(assignment: dict[str, Any]) -> str:
    return ROLE_NAMES[assignment["properties"]["roleDefinitionId"].rpartition("/")[2]]


def _scope(assignment: dict[str, Any]) -> str:
    """Where the principal is known, so is the id; else it is an expression."""
    expression = re.match(r"\[extensionResourceId\('([^']*)'", assignment["id"])
    scope = expression[1] if expression else assignment["id"].rpartition("/providers/")[0]
    within = re.fullmatch(r".*/providers/([^/]+/[^/]+)/[^/]+(?:/[^/]+/[^/]+/([^/]+)/[^/]+)?", scope)
    return "/".join(filter(None, within.groups())) if within else "subscription"


def nested(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The template and all that it deploys in turn."""
    yield template
    for each in nested_deployments(template):
        yield from nested(each["properties"]["template"])


def nested_deployments(template: dict[str, Any]) -> list[dict[str, Any]]:
    """A list, or by symbolic name where a type of Bicep's own is used."""
    resources = template["resources"]
    listed = resources.values() if isinstance(resources, dict) else resources
    return [each for each in listed if each["type"] == "Microsoft.Resources/deployments"]
