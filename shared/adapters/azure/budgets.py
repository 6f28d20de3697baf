"""Azure's own budgets at subscription scope, through the operations of Microsoft.Consumption's SDK.

Their JSON is our own (budget_json): the SDK's models make each amount a float on its way, on reading as on writing, and
stop at the first odd budget of a list. So each body is read from the answer as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.access import shown
from shared.adapters.azure.arm import ArmClient, read_json, subscription_scope, taken, within
from shared.adapters.azure.budget_json import is_at, read_budget, written
from shared.adapters.azure.refusals import (
    ACTION_GROUPS,
    BUDGETS,
    NO_ROLE,
    UNREADABLE,
    IfThere,
    RefusedError,
    refusal,
    refusals,
)
from shared.ports.azure import AzureBudget
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineResponse
    from azure.mgmt.consumption.operations import BudgetsOperations

API_VERSION = "2024-08-01"
NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
# To a change or a deletion.
DONE = (200, 201, 202, 204)
# What Azure says to an eTag that is not the latest one, or to none where the budget is there: a 400
# (MicrosoftDocs/azure-docs #34023). The reference names no status for it.
STALE = re.compile(r"changes made to budget|get the latest budget|etag", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ConsumptionBudgets:
    """AzureBudgets in Azure Resource Manager."""

    arm: ArmClient

    def budgets_of(self, subscription_id: str) -> list[AzureBudget]:
        """All the cost budgets at the subscription's own scope; what can't be read as one is left out.

        Raises LaterError, NeverError.
        """
        scope = subscription_scope(subscription_id)
        url = self.arm.url(f"{scope}/providers/Microsoft.Consumption/budgets", API_VERSION)
        with refusals(BUDGETS, "list the budgets on", scope):
            items = self.arm.items(url, lambda page_url: self._page(scope, page_url))
            found = [read_budget(item) for item in items if is_at(item, subscription_id)]
        return [budget for budget in found if budget is not None]

    def get(self, subscription_id: str, name: str) -> AzureBudget | None:
        """One of them; None where there is none with this name. Raises LaterError, and NeverError: it is another kind.

        A name that no budget can have, such as `..`, is asked for nowhere.
        """
        scope = subscription_scope(subscription_id)
        if not NAME.fullmatch(name):
            return None
        with refusals(BUDGETS, f"read the budget {name} on", scope):
            item = self._item(scope, name)
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
        scope, name = subscription_scope(subscription_id), budget.name
        if not NAME.fullmatch(name):
            raise NeverError(f"'{shown(name, 80)}' is no name of a budget: up to 63 letters, digits, - and _.")
        with refusals(BUDGETS, f"put the budget {name} on", scope):
            before = self._item(scope, name) if budget.e_tag else None
            if budget.e_tag and before is None:
                raise LaterError(f"The budget {name} on {scope} was deleted while it was to be changed.")
            try:
                with _successes():
                    self._calls.create_or_update(scope[1:], name, written(budget, before), stream=True, cls=_done)  # type: ignore[call-overload]  # it takes bytes as well
            except RefusedError as error:
                told = _not_put(error, scope, budget)
                if told is None:
                    raise
                raise told from error

    def delete(self, subscription_id: str, name: str) -> None:
        """Removes it; nothing where it is gone. Raises LaterError, NeverError."""
        scope = subscription_scope(subscription_id)
        if not NAME.fullmatch(name):
            return
        with refusals(BUDGETS, f"delete the budget {name} on", scope), IfThere(), _successes():
            self._calls.delete(scope[1:], name, cls=_done)

    @property
    def _calls(self) -> BudgetsOperations:
        return self.arm.consumption.budgets

    def _page(self, scope: str, url: str) -> Any:
        answers: list[PipelineResponse[Any, Any]] = []
        pages = self._calls.list(scope[1:], raw_response_hook=answers.append).by_page(url)
        # Whatever the SDK's models make of the answer, it is there.
        with suppress(*UNREADABLE):
            next(pages)
        return _exactly(answers[0])

    def _item(self, scope: str, name: str) -> Any:
        """Azure's JSON of a budget; None where there is none of this name."""
        with IfThere():
            item: Any = self._calls.get(scope[1:], name, stream=True, cls=_exactly)
            # Only a 404 says that there is none.
            if str(within(item, "name")).lower() != name.lower():
                raise ValueError(f"the answer is not the budget {name}")
            return item
        return None


def _exactly(answer: PipelineResponse[Any, Any], *_of_the_sdk: Any) -> Any:
    return read_json(answer.http_response)


def _done(answer: PipelineResponse[Any, Any], *_of_the_sdk: Any) -> None:
    taken(answer.http_response, *DONE)


@contextmanager
def _successes() -> Iterator[None]:
    """Passes over those that the SDK does not know as such."""
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        response: Any = error.response
        if response is None:
            raise
        taken(response, *DONE)


def _not_put(error: RefusedError, scope: str, budget: AzureBudget) -> LaterError | NeverError | None:
    """What it means that Azure does not take a budget, where that is more than its status; else None."""
    if error.status in (400, 409, 412) and STALE.search(error.message):
        if budget.e_tag:
            return LaterError(f"The budget {budget.name} on {scope} was changed by someone else at the same time.")
        return NeverError(f"There is a budget {budget.name} on {scope} already, which was not there before.")
    if error.code in NO_ROLE and "actiongroups" in error.message.lower():
        groups = ", ".join(group for notice in budget.notices.values() for group in notice.action_groups)
        return refusal(error, ACTION_GROUPS, "have a budget call the Action Group", groups)
    return None
