"""What a person can ask for about locks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.database.engine import Database
from shared.domain.locks import LockMode, Outcome
from shared.domain.projects import LockPolicy, Scope
from shared.messages import LockAction, Queue
from shared.ports.azure import ResourceGroup
from shared.services.errors import RequestError, UnknownProjectError
from shared.services.locks import LockService, Ordered
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry


@pytest.fixture
def chain(sqlite_url: str) -> Iterator[Chain]:
    """Projects 11 and 12, in a chain that enforces its locks."""
    database = Database(sqlite_url)
    chain = Chain(database, lock_mode=LockMode.ENFORCE)
    chain.load(entry(), entry(12))
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    yield chain
    database.close()


@pytest.fixture
def service(chain: Chain) -> LockService:
    return chain.lock_service


def asked(chain: Chain) -> list[dict[str, Any]]:
    return [json.loads(text) for queue, text, _delay in chain.queues.take() if queue is Queue.LOCK]


@pytest.mark.parametrize("action", LockAction)
@pytest.mark.parametrize("named", ["P11", "p11", "11"])
def test_an_order_is_queued_with_who_gave_it_and_why(
    chain: Chain, service: LockService, action: LockAction, named: str
) -> None:
    assert service.order(named, action, " security ", "olga" * 50) == Ordered("P11", None, LockMode.ENFORCE)
    (message,) = asked(chain)
    assert message.pop("OrderedAt") == "2026-11-20T02:00:00+00:00"
    assert message == {
        "ProjectId": 11,
        "Action": action,
        "Reason": "security",
        "Trigger": "operator",
        "By": ("olga" * 50)[:100],
    }


@pytest.mark.parametrize("action", LockAction)
def test_an_order_for_nobody_or_without_a_reason_is_refused(
    chain: Chain, service: LockService, action: LockAction
) -> None:
    with pytest.raises(UnknownProjectError, match="there is no project P13"):
        service.order("P13", action, "security", "olga")
    with pytest.raises(RequestError, match="say why"):
        service.order("P11", action, " \n", "olga")
    assert asked(chain) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"project": replace(entry().project, lock=LockPolicy.NEVER)}, "P11 is marked as never to be locked"),
        ({"scopes": (Scope("aws", "123456789012"),)}, "P11 has no resource group in Azure"),
    ],
)
def test_a_project_that_cant_be_locked_is_refused_at_the_door_and_can_be_unlocked(
    chain: Chain, service: LockService, changes: dict[str, Any], said: str
) -> None:
    chain.load(replace(entry(), **changes))
    with pytest.raises(RequestError, match=said):
        service.order("P11", LockAction.LOCK, "security", "olga")
    service.order("P11", LockAction.UNLOCK, "it may have been locked before", "olga")
    assert [message["Action"] for message in asked(chain)] == ["unlock"]


def test_what_became_of_orders_is_told_for_one_project_and_for_all(chain: Chain, service: LockService) -> None:
    service.order("P11", LockAction.LOCK, "security", "olga")
    service.order("P12", LockAction.UNLOCK, "it is needed", "olga")
    chain.drain()
    assert [view.project.id for view in chain.projects.list_projects(chain.clock().date()) if view.locked_since] == [11]
    assert service.order("P11", LockAction.UNLOCK, "it is over", "olga").held_since == chain.clock()
    assert {view.acronym: view.entry.outcome for view in service.decisions()} == {
        "P11": Outcome.LOCKED,
        "P12": Outcome.REFUSED,
    }
    chain.drain()
    assert [view.entry.outcome for view in service.decisions("p11")] == [Outcome.LOCKED, Outcome.UNLOCKED]
    assert [view.entry.outcome for view in service.decisions(limit=1)] == [Outcome.UNLOCKED]
    assert not any(view.locked_since for view in chain.projects.list_projects(chain.clock().date()))
    with pytest.raises(UnknownProjectError):
        service.decisions("P13")
