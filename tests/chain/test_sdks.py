"""Costs and Azure's budgets are asked for through Microsoft's own SDKs, in a night of the real app."""

from __future__ import annotations

import json
from collections import defaultdict

from localdev.azure_sim import AzureSimulator
from shared.messages import Queue
from tests.chain.conftest import Install
from tests.chain.installation import NORTH, book_of, entry, until

ACTION_GROUP = f"/subscriptions/{NORTH}/resourceGroups/rg-warden/providers/Microsoft.Insights/actionGroups/ag-warden"
SDKS = {"microsoft.costmanagement": "mgmt-costmanagement/", "microsoft.consumption": "mgmt-consumption/"}


def test_a_night_reads_costs_and_keeps_budgets_through_microsofts_sdks(install: Install) -> None:
    """Each SDK's client names itself in its requests; what another client would ask for has another name on it."""
    with AzureSimulator(book_of((NORTH, "rg-11", "10"))) as azure:
        app = install(azure)
        app.load(entry(11, "1000"))
        app.night()
        # The night asks for this an hour later.
        app.more["LOCK_ACTION_GROUP_ID"] = ACTION_GROUP
        app.queue(Queue.LOCK).send_message(json.dumps({"SubscriptionId": NORTH, "Action": "sync"}))
        app.host()
        until(lambda: azure.budgets.of(NORTH))
        agents = defaultdict(list)
        for request in azure.record.requests():
            agents[request.target.lower().split("/providers/")[1].split("/")[0]].append(request.headers["User-Agent"])
    assert set(agents) == set(SDKS)
    for provider, sdk in SDKS.items():
        assert all(sdk in agent for agent in agents[provider]), agents[provider]
