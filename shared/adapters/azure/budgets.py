"""Azure's own budgets at subscription scope, through Microsoft.Consumption.

The requests go through the SDK's client, their JSON is our own (budget_json): the SDK's models make each amount a
float on its way, on reading as on writing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.access import shown
from shared.adapters.azure.budget_json import is_at, read_budget, written
from shared.adapters.azure.clients import MOST_PAGES, SUBSCRIPTION, ArmAdapter
from shared.adapters.azure.refusals import code_of, is_gone, refusal, refusals
from shared.ports.azure import AzureBudget
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.mgmt.consumption import ConsumptionManagementClient

API_VERSION = "2024-08-01"
ROLE = "Cost Management Contributor"
# A budget that calls an action group takes Microsoft.Insights/actionGroups/read too, which that role does not have.
READER_OF_ACTION_GROUP = "Monitoring Reader"
NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
DONE = frozenset({200, 201, 202, 204})
# What Azure says to an eTag that is not the latest one, or to none where the budget is there: a 400
# (MicrosoftDocs/azure-docs #34023). The reference names no status for it.
STALE = re.compile(r"changes made to budget|get the latest budget|etag", re.IGNORECASE)


class ConsumptionBudgets(ArmAdapter["ConsumptionManagementClient"]):
    """AzureBudgets in Azure Resource Manager."""

    def _load(self) -> type[ConsumptionManagementClient]:
        from azure.mgmt.consumption import ConsumptionManagementClient

        return ConsumptionManagementClient

    def budgets_of(self, subscription_id: str) -> list[AzureBudget]:
        """All the cost budgets at the subscription's own scope; what can't be read as one is left out.

        Raises LaterError, NeverError.
        """
        scope = _scope(subscription_id)
        with refusals("list the budgets", ROLE, scope):
            found = [read_budget(item) for item in self._items(subscription_id) if is_at(item, subscription_id)]
        return [budget for budget in found if budget is not None]

    def get(self, subscription_id: str, name: str) -> AzureBudget | None:
        """One of them; None where there is none with this name. Raises LaterError, and NeverError: it is another kind.

        A name that no budget can have, such as `..`, is asked for nowhere.
        """
        scope = _scope(subscription_id)
        if not NAME.fullmatch(name):
            return None
        with refusals(f"read the budget {name}", ROLE, scope):
            item = self._item(subscription_id, name)
        if item is None:
            return None
        budget = read_budget(item)
        if budget is None:
            raise NeverError(f"The budget {name} on {scope} is not one of costs that can be read.")
        return budget

    def put(self, subscription_id: str, budget: AzureBudget) -> None:
        """Makes it, or with its `e_tag` changes the one of its name. Raises LaterError, NeverError.

        What the budget in Azure has besides (the language of a notification) stays.
        """
        from azure.core.exceptions import HttpResponseError

        scope, name = _scope(subscription_id), budget.name
        if not NAME.fullmatch(name):
            raise NeverError(f"'{shown(name, 80)}' is no name of a budget: up to 63 letters, digits, - and _.")
        with refusals(f"put the budget {name}", ROLE, scope):
            before = self._item(subscription_id, name) if budget.e_tag else None
            if budget.e_tag and before is None:
                raise LaterError(f"The budget {name} on {scope} was deleted while it was to be changed.")
            try:
                self._ask("PUT", subscription_id, self._url(subscription_id, name), written(budget, before))
            except HttpResponseError as error:
                told = _not_put(error, scope, budget)
                if told is None:
                    raise
                raise told from error

    def delete(self, subscription_id: str, name: str) -> None:
        """Removes it; nothing where it is gone. Raises LaterError, NeverError."""
        from azure.core.exceptions import HttpResponseError

        scope = _scope(subscription_id)
        if not NAME.fullmatch(name):
            return
        with refusals(f"delete the budget {name}", ROLE, scope):
            try:
                self._ask("DELETE", subscription_id, self._url(subscription_id, name))
            except HttpResponseError as error:
                if not is_gone(error):
                    raise

    def _items(self, subscription_id: str) -> Iterator[Any]:
        """What the pages of the list hold. A link to another host is refused by the client's EndpointPolicy."""
        url: str | None = self._url(subscription_id)
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) == MOST_PAGES:
                raise NeverError(f"Azure's list of budgets does not end: after page {len(seen)} there is still one.")
            seen.add(url)
            page = self._ask("GET", subscription_id, url)
            yield from page["value"]
            link = page.get("nextLink")
            # The SDK takes braces for placeholders.
            url = link.replace("{", "%7B").replace("}", "%7D") if link else None

    def _item(self, subscription_id: str, name: str) -> Any:
        """Azure's JSON of a budget; None where there is none of this name."""
        from azure.core.exceptions import HttpResponseError

        try:
            item = self._ask("GET", subscription_id, self._url(subscription_id, name))
        except HttpResponseError as error:
            if is_gone(error):
                return None
            raise
        # Only a 404 says that there is none.
        if not isinstance(item, dict) or str(item.get("name")).lower() != name.lower():
            raise ValueError(f"the answer is not the budget {name}")
        return item

    def _ask(self, method: str, subscription_id: str, url: str, body: bytes | None = None) -> Any:
        """The answer's JSON, its numbers exact; None for an empty one. Raises what `refusals` translates."""
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        request = HttpRequest(method, url, headers=headers, content=body)
        response = self._clients.of(subscription_id).send_request(request, **self._arm.send_options)
        response.read()
        if response.status_code not in DONE:
            raise HttpResponseError(response=response)
        return json.loads(response.content, parse_float=Decimal) if response.content else None

    def _url(self, subscription_id: str, name: str | None = None) -> str:
        budgets = f"{self._arm.url}/subscriptions/{subscription_id}/providers/Microsoft.Consumption/budgets"
        return f"{budgets}/{name}?api-version={API_VERSION}" if name else f"{budgets}?api-version={API_VERSION}"


def _scope(subscription_id: str) -> str:
    if not SUBSCRIPTION.fullmatch(subscription_id):
        raise NeverError(f"'{shown(subscription_id, 80)}' is no id of a subscription.")
    return f"/subscriptions/{subscription_id}"


def _not_put(error: HttpResponseError, scope: str, budget: AzureBudget) -> LaterError | NeverError | None:
    """What it means that Azure does not take a budget, where that is more than its status; else None."""
    said = error.response.text() if error.response is not None else ""
    if error.status_code in (400, 409, 412) and STALE.search(said):
        if budget.e_tag:
            return LaterError(f"The budget {budget.name} on {scope} was changed by someone else at the same time.")
        return NeverError(f"There is a budget {budget.name} on {scope} already, which was not there before.")
    if code_of(error) == "AuthorizationFailed" and "actiongroups" in said.lower():
        groups = ", ".join(group for notice in budget.notices.values() for group in notice.action_groups)
        return refusal(error, "have a budget call the Action Group", READER_OF_ACTION_GROUP, groups)
    return None
