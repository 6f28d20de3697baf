"""What the APIs of Azure Resource Manager have in common: ids, refusals, pages, numbered operations."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from localdev.azure_sim.wire import AzureError, Request, json_answer
from localdev.http import Answer

ARM_PATH = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)(/resourceGroups/(?P<group>[^/]+))?(/providers/(?P<rest>.+))?/?",
    re.IGNORECASE,
)
VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


@dataclass(frozen=True)
class ArmPath:
    """A path's parts; `group` and `rest` (what follows `/providers/`) may be empty. Names as they were written."""

    subscription: str
    group: str
    rest: str

    @property
    def group_id(self) -> str:
        """The id of the resource group; of the subscription where the path names no group."""
        return f"/subscriptions/{self.subscription}" + (f"/resourceGroups/{self.group}" if self.group else "")

    @property
    def parts(self) -> list[str]:
        """Namespace, type, name, type, name …"""
        return [part for part in self.rest.split("/") if part]

    @property
    def is_lock(self) -> bool:
        """Whether the path leads to management locks."""
        return "microsoft.authorization/locks" in self.rest.lower()

    def resource_id(self, method: str) -> str:
        """What a request is about: a resource; of an action or a list, what it is done to or is a list of."""
        parts = self.parts if len(self.parts) % 2 else self.parts[:-1]
        whole = not parts or (method == "POST" and len(parts) == 1)
        return self.group_id if whole else "/".join([self.group_id, "providers", *parts])

    def permission(self, method: str) -> str:
        """The permission that the request needs, such as `Microsoft.Compute/virtualMachines/deallocate/action`."""
        parts = self.parts
        types = parts[1::2]
        if method == "POST":
            return "/".join([*parts[:1], *parts[1:-1:2], parts[-1] if parts else "", "action"])
        return "/".join([*parts[:1], *types, VERBS.get(method, method.lower())])

    def not_permitted(self, method: str) -> AzureError:
        """A 403 in Azure's words: who lacks which permission on what."""
        return AzureError(
            403,
            "AuthorizationFailed",
            "The client 'simulator' with object id '00000000-0000-0000-0000-000000000000' does not have authorization "
            f"to perform action '{self.permission(method)}' over scope '{self.resource_id(method)}' or the scope is "
            "invalid. If access was recently granted, please refresh your credentials.",
        )


def arm_path(path: str) -> ArmPath | None:
    """The parts of a path under a subscription; None for any other."""
    match = ARM_PATH.fullmatch(path)
    return ArmPath(match["subscription"], match["group"] or "", match["rest"] or "") if match else None


def not_permitted(method: str, path: str) -> AzureError:
    """A 403 for a path, whatever it is; see `ArmPath.not_permitted`."""
    return (arm_path(path) or ArmPath("", "", "")).not_permitted(method)


def group_not_found(group: str) -> AzureError:
    """A 404: there is no such resource group."""
    return AzureError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def resource_not_found(kind: str, name: str, group: str) -> AzureError:
    """A 404: the group is there, the resource is not. `kind` is like `Microsoft.Compute/virtualMachines`."""
    return AzureError(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def invalid_content(message: str) -> AzureError:
    """A 400: the body is not what the API takes."""
    return AzureError(400, "InvalidRequestContent", message)


def json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, numbers exact; AzureError 400 for anything else."""
    try:
        value = json.loads(body, parse_float=Decimal)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise invalid_content("The request content was invalid and could not be deserialized.")
    return value


def own_url(request: Request) -> str:
    """The request's URL without its query, on the host that the client asked."""
    return request.origin + request.target.split("?")[0]


def listed(request: Request, items: Sequence[Any], page_size: int) -> Answer:
    """One page of a list as Azure hands it out: `value`, and `nextLink` where there is more."""
    start = request.query.get("$skiptoken", "0")
    if not (start.isascii() and start.isdecimal()):
        raise AzureError(400, "BadRequest", f"The $skiptoken '{start}' is invalid.")
    end = int(start) + page_size
    page: dict[str, Any] = {"value": list(items[int(start) : end])}
    if end < len(items):
        kept = {**request.query, "$skiptoken": str(end)}
        page["nextLink"] = f"{own_url(request)}?{urlencode(kept, quote_via=quote, safe='$()')}"
    return json_answer(page)
