"""What operators change over HTTP: it ends in the database and in the audit, once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.composition import Composition
from shared.messages import Queue
from tests.cli.commands import Cli, queued
from tests.web.conftest import Answer, Call, Web

BUDGET = "/api/v1/projects/DIE1/budget"


def post(call: Call, path: str, body: Any = None, who: str = "operator", **headers: str) -> Answer:
    sent = {"Content-Type": "application/json"} | headers
    return call("POST", path, who=who, body=json.dumps(body).encode() if body is not None else b"", headers=sent)


def last_change(spent: Composition) -> tuple[str, str, str, str]:
    change = spent.change_service.listed(limit=1)[0]
    return change.action, change.subject, change.by, change.via


def test_a_budget_that_is_raised_is_a_revision_with_its_reason(
    call: Call, cli: Cli, spent: Composition, queue_names: dict[str, str]
) -> None:
    answer = post(call, BUDGET, {"amount": "15000", "reason": "granted"})
    assert (answer.status, answer.json["number"], answer.json["budget"]) == (200, 2, "15000")
    revision = cli("projects", "show", "DIE1", "--json").json["revisions"][-1]
    assert (revision["budget"], revision["reason"], revision["made_by"]) == ("15000", "granted", "operator")
    assert last_change(spent) == ("budget-revised", "DIE1", "operator", "api")
    assert queued("QueueProjectUsageNotification") == [{"ProjectIds": [11]}] or queued("QueueProjectUsageNotification")
    again = post(call, BUDGET, {"amount": "15000", "reason": "granted"})
    assert again.json["number"] is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"amount": "15000"}, "Reason: Field required"),
        ({"amount": "15000", "reason": " "}, "The reason is empty; say why."),
        ({"reason": "granted"}, "Say what is to change"),
        ({"amount": "lots", "reason": "granted"}, "lots"),
        ({"amount": "15000", "reason": "granted", "amuont": "1"}, "Amuont: Extra inputs are not permitted"),
        ("no object", "Input should be"),
    ],
)
def test_what_can_t_be_right_changes_nothing_and_is_told(
    call: Call, spent: Composition, queue_names: dict[str, str], body: Any, said: str
) -> None:
    answer = post(call, BUDGET, body)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert said in answer.json["detail"]
    assert len(spent.projects.revisions(11)) == 1


def test_a_lock_and_its_end_are_ordered(call: Call, spent: Composition, queue_names: dict[str, str]) -> None:
    for action in ("lock", "unlock"):
        answer = post(call, f"/api/v1/projects/11/{action}", {"reason": "security"})
        assert (answer.status, answer.json["action"], answer.json["lock_mode"]) == (202, action, "dry-run")
        assert last_change(spent) == (f"{action}-ordered", "DIE1", "operator", "api")
    assert [each["Action"] for each in queued("QueueProjectLock")] == ["lock", "unlock"]


def test_dead_letters_are_replayed_and_put_aside(call: Call, spent: Composition, queue_names: dict[str, str]) -> None:
    first, _ = spent.letters.record(Queue.UPDATE, '{"ProjectId": 11}', "why", "1", spent.clock())
    second, _ = spent.letters.record(Queue.UPDATE, '{"ProjectId": 12}', "why", "2", spent.clock())
    assert post(call, f"/api/v1/dead-letters/{first}/replay").json["replayed_at"]
    discarded = post(call, f"/api/v1/dead-letters/{second}/discard", {"reason": "old"}).json
    assert (discarded["discarded_by"], discarded["discard_reason"]) == ("operator", "old")
    assert spent.letters.letters() == []
    assert post(call, "/api/v1/dead-letters/99/replay").status == 404
    assert post(call, "/api/v1/dead-letters/99/discard", {"reason": "old"}).status == 404


def test_costs_are_read_by_an_order(call: Call, spent: Composition, queue_names: dict[str, str]) -> None:
    answer = post(call, "/api/v1/runs", {"project": "DIE1"})
    assert (answer.status, answer.json["messages"]) == (202, 1)
    assert call("GET", f"/api/v1/runs/{answer.json['run']}", who="operator").json["state"] == "running"
    assert post(call, "/api/v1/runs", {"project": "NOBODY"}).status == 404


def test_an_order_under_a_key_is_done_once_and_answered_as_before(
    call: Call, spent: Composition, queue_names: dict[str, str]
) -> None:
    key = {"Idempotency-Key": "order-1"}
    first = post(call, "/api/v1/runs", {"project": "DIE1"}, **key)
    again = post(call, "/api/v1/runs", {"project": "DIE1"}, **key)
    assert (again.status, again.json, again.headers["idempotency-replayed"]) == (first.status, first.json, "true")
    assert len(queued("QueueProjectUsageUpdate")) == 1
    other = post(call, "/api/v1/runs", {"project": "EAU"}, **key)
    assert (other.status, "was used for another order" in other.json["detail"]) == (422, True)


def test_an_order_that_was_refused_leaves_its_key_free(
    call: Call, spent: Composition, queue_names: dict[str, str]
) -> None:
    key = {"Idempotency-Key": "order-2"}
    assert post(call, BUDGET, {"amount": "lots", "reason": "granted"}, **key).status == 422
    assert post(call, BUDGET, {"amount": "15000", "reason": "granted"}, **key).json["number"] == 2


def test_of_one_order_that_comes_at_once_over_several_instances_one_is_done(
    call: Call, spent: Composition, queue_names: dict[str, str]
) -> None:
    def order(_: int) -> int:
        return post(Web().call, "/api/v1/runs", {"project": "DIE1"}, **{"Idempotency-Key": "order-3"}).status

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(order, range(6)))
    assert set(statuses) <= {202, 409}
    assert len(queued("QueueProjectUsageUpdate")) == 1


def test_nobody_but_operators_orders_anything_and_no_other_site_does(call: Call, spent: Composition) -> None:
    for who, status in (("nobody", 401), ("contact", 403), ("viewer", 403)):
        answer = post(call, BUDGET, {"amount": "1", "reason": "x"}, who, **{"Idempotency-Key": "a"})
        assert answer.status == status
    sent = post(call, BUDGET, {"amount": "1", "reason": "x"}, **{"Sec-Fetch-Site": "cross-site"})
    assert (sent.status, len(spent.projects.revisions(11))) == (403, 1)
