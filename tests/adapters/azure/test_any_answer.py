"""Whatever Azure Resource Manager answers, the adapters raise LaterError or NeverError, in one line, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.budgets import ConsumptionBudgets
from shared.adapters.azure.compute import ArmCompute
from shared.adapters.azure.locks import ArmLocks
from shared.ports.azure import AzureBudget, GroupLock, LockLevel, Machine, MachineKind, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from tests.adapters.azure.odd_arm import Answer, OddArm, error

HERE = "6f1c0d5e-0000-4000-8000-00000000000a"
GROUP = ResourceGroup(HERE, "rg-web")
AT = f"/subscriptions/{HERE}/resourceGroups/rg-web/providers"
BUDGET = AzureBudget(
    name="warden-die1",
    amount=Decimal("5.10"),
    time_grain="Annually",
    first_day=date(2026, 4, 1),
    last_day=date(2030, 3, 31),
    resource_groups=("rg-web",),
    notices={},
)
LOCK = {"id": f"{AT}/Microsoft.Authorization/locks/x", "name": "x", "properties": {"level": "ReadOnly", "notes": "n"}}
VIEW = {"statuses": [{"code": "PowerState/running"}]}
VM = {"name": "v", "location": "x", "properties": {"instanceView": VIEW}}
SCALE_SET = {"name": "s", "location": "x", "sku": {"capacity": 2}, "properties": {"orchestrationMode": "Uniform"}}
STORED = {
    "id": f"/subscriptions/{HERE}/providers/Microsoft.Consumption/budgets/warden-die1",
    "name": "warden-die1",
    "eTag": "1",
    "properties": {
        "category": "Cost",
        "amount": 5.5,
        "timeGrain": "Annually",
        "timePeriod": {"startDate": "2026-04-01T00:00:00Z"},
        "currentSpend": {"amount": 1.5, "unit": "CAD"},
        "notifications": {"a": {"operator": "GreaterThan", "threshold": 80}},
        "filter": {"dimensions": {"name": "ResourceGroupName", "operator": "In", "values": ["a"]}},
    },
}

Call = Callable[[ArmClient], object]
CALLS: dict[str, tuple[Call, Any]] = {
    "list locks": (lambda arm: ArmLocks(arm).locks_on(GROUP), {"value": [LOCK]}),
    "put a lock": (
        lambda arm: ArmLocks(arm).put(GROUP, GroupLock("x", LockLevel.READ_ONLY)),
        LOCK,
    ),
    "delete a lock": (lambda arm: ArmLocks(arm).delete(GROUP, "x"), LOCK),
    "machines": (lambda arm: ArmCompute(arm).running(GROUP), {"value": [VM]}),
    "scale sets": (lambda arm: ArmCompute(arm).running(GROUP), {"value": [SCALE_SET]}),
    "stop": (
        lambda arm: ArmCompute(arm).deallocate(GROUP, Machine("v", MachineKind.VM)),
        VM,
    ),
    "list budgets": (
        lambda arm: ConsumptionBudgets(arm).budgets_of(HERE),
        {"value": [STORED]},
    ),
    "get a budget": (lambda arm: ConsumptionBudgets(arm).get(HERE, "warden-die1"), STORED),
    "make a budget": (lambda arm: ConsumptionBudgets(arm).put(HERE, BUDGET), STORED),
    "change a budget": (
        lambda arm: ConsumptionBudgets(arm).put(HERE, replace(BUDGET, e_tag="1")),
        STORED,
    ),
    "delete a budget": (
        lambda arm: ConsumptionBudgets(arm).delete(HERE, "warden-die1"),
        STORED,
    ),
}
ODD_VALUES: list[Any] = [None, True, 7, "x", "..", [], {}, [None], ["x"], {"a": 1}, 10**400, "\ud800"]
ODD_CODES = ["", "AuthorizationFailed", "ResourceGroupNotFound", "A\x00\x1b[31m\r\n\u202e\ud800"]
STATUSES = [201, 202, 204, 206, 302, 304, 400, 401, 403, 404, 409, 410, 412, 429, 500, 503, 999]
CHALLENGES = ['Bearer claims="***", error="insufficient_claims"', 'Bearer a b c "', ", ,"]


def changed(value: Any) -> Iterator[Any]:
    """The value with each of its parts left out, or replaced by something odd, one at a time."""
    yield from ODD_VALUES
    if isinstance(value, dict):
        for name, part in value.items():
            yield {other: value[other] for other in value if other != name}
            yield from ({**value, name: odd} for odd in changed(part))
    elif isinstance(value, list):
        yield from ([odd] for odd in changed(value[0]))


def odd_answers(right: Any) -> Iterator[Answer]:
    for text in ["", "<html>", "{", "nan", "[" * 5000, json.dumps(right)[:-1]]:
        yield from (Answer(text), Answer(text, headers={"Content-Type": "text/html"}))
    for kind in [{"Content-Encoding": "gzip"}, {"Content-Type": "application/json; charset=klingon"}]:
        yield from (Answer(json.dumps(right), status, kind) for status in (200, 400))
    for status in STATUSES:
        yield from (Answer(text, status) for text in ["", "<html>", '{"error": null}', '{"error": {"code": 7}}', "[]"])
        yield from (error(status, code, f"so {code} it is") for code in ODD_CODES)
    yield from (Answer("{}", 401, {"WWW-Authenticate": challenge}) for challenge in CHALLENGES)
    for link in ["{}", "//x", "/x?y={z}", "http://[", "file:///etc/passwd", "\x00", 7, [], {"a": 1}]:
        yield Answer(json.dumps({"value": [], "nextLink": link}))
    yield from (Answer(json.dumps(value)) for value in changed(right))


@pytest.mark.parametrize("call", CALLS)
def test_no_answer_is_an_error_of_another_kind_or_a_reason_of_more_than_a_line(call: str) -> None:
    ask, right = CALLS[call]
    reasons = []
    with OddArm() as odd:
        arm = ArmClient(odd.url, read_seconds=1)
        for answer in odd_answers(right):
            odd.will_answer("virtualMachineScaleSets?" if call == "scale sets" else "/", answer)
            try:
                ask(arm)
            except (LaterError, NeverError) as refused:
                reasons.append(refused.reason)
    assert len(reasons) > 100
    assert [reason for reason in reasons if not reason.isprintable() or len(reason) > 1000] == []
