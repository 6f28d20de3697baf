"""What only the adapter of Azure's permissions has: how roles are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import pytest

from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.permissions import ArmPermissions
from shared.ports.azure import LOCKS, MACHINES
from shared.ports.errors import GoneError, LaterError, NeverError
from tests.adapters.azure.odd_arm import Answer, OddArm, error, value

SUBSCRIPTION = "6f1c0d5e-0000-4000-8000-00000000000a"
IDENTITY = "6f1c0d5e-0000-4000-8000-00000000000c"
PERMISSIONS = "/permissions"
READ, WRITE, DELETE = LOCKS.actions


@pytest.fixture
def odd() -> Iterator[OddArm]:
    with OddArm() as server:
        yield server


def role(*actions: str, but: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"actions": list(actions), "notActions": list(but), "dataActions": ["*"], "notDataActions": []}


def missing(odd: OddArm, *actions: str, group: str | None = None) -> list[str] | None:
    return ArmPermissions(ArmClient(odd.url)).missing(SUBSCRIPTION, group, actions)


@pytest.mark.parametrize(
    ("roles", "lacking"),
    [
        ([], [READ, WRITE, DELETE]),
        ([role("*")], []),
        ([role("*/read")], [WRITE, DELETE]),
        ([role("Microsoft.Authorization/locks/*")], []),
        ([role("microsoft.AUTHORIZATION/Locks/Write")], [READ, DELETE]),
        # Contributor.
        ([role("*", but=("Microsoft.Authorization/*/Write", "Microsoft.Authorization/*/Delete"))], [WRITE, DELETE]),
        # What one role leaves out another may give.
        ([role("*", but=("Microsoft.Authorization/*/Write",)), role("Microsoft.Authorization/locks/*")], []),
        ([role("*/read"), role("Microsoft.Authorization/locks/write")], [DELETE]),
        (
            [role("Microsoft.Authorization/lock"), role("Authorization/locks/*"), role("Microsoft.*/locks/?ead")],
            LOCKS.actions,
        ),
        ([{"actions": None}, {}], [READ, WRITE, DELETE]),
    ],
)
def test_what_no_role_allows_is_missing(odd: OddArm, roles: list[dict[str, Any]], lacking: list[str]) -> None:
    odd.will_answer(PERMISSIONS, value(*roles))
    assert missing(odd, *LOCKS.actions) == list(lacking)


def test_a_role_is_asked_for_in_a_subscription_or_a_group_of_it_on_all_pages(odd: OddArm) -> None:
    link = f"{odd.url}/subscriptions/x/permissions?page=2"
    odd.will_answer("page=2", value(role("*/deallocate/action")))
    odd.will_answer(PERMISSIONS, value(role("*/read"), link=link))
    assert missing(odd, *MACHINES.actions, group="rg-Web") == []
    assert missing(odd, READ) == []
    paths = [path.partition("?")[0] for _, path, _ in odd.seen if "page" not in path]
    ending = "providers/Microsoft.Authorization/permissions"
    assert paths == [
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-Web/{ending}",
        f"/subscriptions/{SUBSCRIPTION}/{ending}",
    ]


def test_the_roles_of_an_identity_are_those_that_are_assigned_to_it_there_or_above(odd: OddArm) -> None:
    ids = [f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{n}" for n in "ab"]
    odd.will_answer("/roleAssignments", value(*({"properties": {"roleDefinitionId": each}} for each in ids)))
    for each, its in zip(ids, (role("*/read"), role("*/write", but=("*/locks/write",))), strict=True):
        odd.will_answer(each, Answer(json.dumps({"properties": {"permissions": [its]}})))
    rights = ArmPermissions(ArmClient(odd.url), IDENTITY)
    assert rights.missing(SUBSCRIPTION, None, LOCKS.actions) == [WRITE, DELETE]
    asked = unquote_plus(odd.seen[0][1])
    assert f"$filter=atScope() and assignedTo('{IDENTITY}')" in asked
    odd.will_answer("/roleAssignments", error(403, "AuthorizationFailed"))
    assert rights.missing(SUBSCRIPTION, None, LOCKS.actions) is None


def test_whoever_may_not_see_their_roles_does_not_know(odd: OddArm) -> None:
    odd.will_answer(PERMISSIONS, error(403, "AuthorizationFailed"))
    assert missing(odd, READ) is None


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (error(404, "SubscriptionNotFound"), GoneError, "Check the id of the subscription"),
        (error(404, "ResourceGroupNotFound"), GoneError, "ResourceGroupNotFound"),
        (error(400, "Odd"), NeverError, "Odd"),
        (error(503, "ServerBusy"), LaterError, "ServerBusy"),
        (Answer("[]"), LaterError, "can't be read"),
        (value({"actions": "*"}, "x"), LaterError, "can't be read"),
        (value({"actions": [5]}), LaterError, "can't be read"),
    ],
)
def test_what_is_no_answer_is_an_error(odd: OddArm, answer: Answer, kind: type[Exception], said: str) -> None:
    odd.will_answer(PERMISSIONS, answer)
    with pytest.raises(kind, match=said):
        missing(odd, READ)
