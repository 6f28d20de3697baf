"""What only the adapter of Azure's locks has: whose locks are listed, links, names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localdev.azure_sim import AzureSimulator, ChargeBook
from shared.adapters.azure.arm import MOST_PAGES, ArmClient
from shared.adapters.azure.locks import ArmLocks
from shared.ports.azure import GroupLock, LockLevel, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from tests.adapters.azure.odd_arm import Answer, OddArm, error, value

SUBSCRIPTION = "6f1c0d5e-0000-4000-8000-00000000000a"
GROUP = ResourceGroup(SUBSCRIPTION, "rg-web")
SCOPE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-web"

WANTED = GroupLock("warden-11", LockLevel.READ_ONLY, "n")


@pytest.fixture
def odd() -> Iterator[OddArm]:
    with OddArm() as server:
        yield server


def shown(name: str, level: str = "ReadOnly", at: str = SCOPE, notes: str | None = None) -> dict[str, Any]:
    """A lock as Azure shows it."""
    properties = {"level": level} | ({"notes": notes} if notes else {})
    lock_id = f"{at}/providers/Microsoft.Authorization/locks/{name}"
    return {"id": lock_id, "type": "Microsoft.Authorization/locks", "name": name, "properties": properties}


def test_only_locks_at_the_group_itself_are_listed(odd: OddArm) -> None:
    odd.will_answer(
        "/locks",
        value(
            shown("inherited", at=f"/subscriptions/{SUBSCRIPTION}"),
            shown("ours", at=SCOPE.upper()),
            shown("below", at=f"{SCOPE}/providers/Microsoft.Storage/storageAccounts/a"),
            shown("neighbour", at=f"{SCOPE}2"),
        ),
    )
    assert ArmLocks(ArmClient(odd.url)).locks_on(GROUP) == [GroupLock("ours", LockLevel.READ_ONLY)]


def test_locks_of_a_level_that_locks_nothing_or_that_nobody_knows_are_passed_over(odd: OddArm) -> None:
    levels = ["NotSpecified", "CanNotDelete", "FullStop", "readonly"]
    odd.will_answer("/locks", value(*[shown(level, level, notes="why") for level in levels]))
    assert ArmLocks(ArmClient(odd.url)).locks_on(GROUP) == [
        GroupLock("CanNotDelete", LockLevel.CAN_NOT_DELETE, "why"),
        GroupLock("readonly", LockLevel.READ_ONLY, "why"),
    ]


def test_the_locks_of_all_pages_are_listed(odd: OddArm) -> None:
    odd.will_answer("page=2", value(shown("second")))
    odd.will_answer("/locks", value(shown("first"), link="{server}/subscriptions/x/locks?page=2"))
    assert [lock.name for lock in ArmLocks(ArmClient(odd.url)).locks_on(GROUP) or []] == ["first", "second"]


def test_a_link_to_another_place_is_not_followed_and_gets_no_token(odd: OddArm) -> None:
    with OddArm() as elsewhere:
        odd.will_answer("/locks", value(shown("first"), link=f"{elsewhere.url}/subscriptions/x/locks?page=2"))
        with pytest.raises(NeverError, match="links to another place"):
            ArmLocks(ArmClient(odd.url)).locks_on(GROUP)
        assert elsewhere.seen == []


def test_a_list_that_goes_in_a_circle_is_for_never(odd: OddArm) -> None:
    odd.will_answer("/locks", value(shown("first"), link="{server}/subscriptions/x/locks?page=2"))
    with pytest.raises(NeverError, match="in a circle"):
        ArmLocks(ArmClient(odd.url)).locks_on(GROUP)
    assert len(odd.seen) == 2


def test_a_list_that_does_not_end_is_for_never(odd: OddArm) -> None:
    pages = [value(link=f"{{server}}/locks?page={number}") for number in range(MOST_PAGES + 2)]
    odd.will_answer("/locks", *pages)
    with pytest.raises(NeverError, match="does not end"):
        ArmLocks(ArmClient(odd.url)).locks_on(GROUP)


def test_only_a_group_that_is_gone_counts_as_gone(odd: OddArm) -> None:
    odd.will_answer("/locks", error(404, "ResourceGroupNotFound"), error(404, "SomethingNotFound"))
    locks = ArmLocks(ArmClient(odd.url))
    assert locks.locks_on(GROUP) is None
    with pytest.raises(NeverError, match="SomethingNotFound"):
        locks.locks_on(GROUP)


@pytest.mark.parametrize("code", ["LockNotFound", "ResourceNotFound", "ResourceGroupNotFound"])
def test_a_lock_that_is_not_found_is_off(odd: OddArm, code: str) -> None:
    odd.will_answer("/locks", error(404, code))
    assert ArmLocks(ArmClient(odd.url)).delete(GROUP, "warden-die1") is False


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_group_is_gone_by_a_404_only(odd: OddArm, status: int) -> None:
    odd.will_answer("/locks", error(status, "ResourceGroupNotFound"))
    locks = ArmLocks(ArmClient(odd.url))
    for call in (lambda: locks.locks_on(GROUP), lambda: locks.put(GROUP, WANTED), lambda: locks.delete(GROUP, "x")):
        with pytest.raises(LaterError, match=f"{status}"):
            call()


@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(body) for body in ["[]", '"ok"', "3", "{}", "<html>sign in</html>", '{"name": "warden-11"}']),
        Answer(json.dumps(shown("warden-12"))),
        Answer(json.dumps(shown("warden-11", "CanNotDelete"))),
        Answer(json.dumps(shown("warden-11")), 202),
        Answer("", 204),
    ],
)
def test_what_is_not_the_lock_that_was_asked_for_was_not_put(odd: OddArm, answer: Answer) -> None:
    odd.will_answer("/locks", answer)
    with pytest.raises(LaterError, match="can't be read"):
        ArmLocks(ArmClient(odd.url)).put(GROUP, WANTED)


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("body", ["", json.dumps(shown("Warden-11", "readonly", notes="others"))])
def test_a_lock_is_put_by_an_empty_answer_or_one_that_shows_it(odd: OddArm, status: int, body: str) -> None:
    odd.will_answer("/locks", Answer(body, status))
    assert ArmLocks(ArmClient(odd.url)).put(GROUP, WANTED) is True


@pytest.mark.parametrize("answer", [Answer("<html>sign in</html>"), Answer("", 202)])
def test_what_is_no_answer_of_azures_took_no_lock_off(odd: OddArm, answer: Answer) -> None:
    odd.will_answer("/locks", answer)
    with pytest.raises(LaterError, match="can't be read"):
        ArmLocks(ArmClient(odd.url)).delete(GROUP, "warden-11")


@pytest.mark.parametrize(
    ("answer", "was_there"), [(Answer(""), True), (Answer(json.dumps(shown("x"))), True), (Answer("", 204), False)]
)
def test_taking_off_tells_whether_the_lock_was_there(odd: OddArm, answer: Answer, was_there: bool) -> None:
    odd.will_answer("/locks", answer)
    assert ArmLocks(ArmClient(odd.url)).delete(GROUP, "x") is was_there


def test_a_name_is_sent_as_it_is_and_leads_nowhere_else(odd: OddArm) -> None:
    odd.will_answer("/locks", Answer("", 204))
    ArmLocks(ArmClient(odd.url)).delete(ResourceGroup(SUBSCRIPTION, "Straße_(1).a"), "theirs #1?/..")
    method, path, authorization = odd.seen[0]
    assert method == "DELETE"
    assert path.split("?")[0] == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Stra%C3%9Fe_%281%29.a"
        "/providers/Microsoft.Authorization/locks/theirs%20%231%3F%2F.."
    )
    assert authorization == "Bearer local-development"


@pytest.mark.parametrize("name", ["", ".", "..", "rg/../x", "rg web", "rg.", "r" * 91, "rg?a=b", "rg\n"])
def test_a_name_that_no_group_can_have_is_refused_before_anything_is_asked(odd: OddArm, name: str) -> None:
    group = ResourceGroup(SUBSCRIPTION, name)
    locks = ArmLocks(ArmClient(odd.url))
    for call in (
        lambda: locks.locks_on(group),
        lambda: locks.put(group, GroupLock("warden-die1", LockLevel.READ_ONLY)),
        lambda: locks.delete(group, "warden-die1"),
    ):
        with pytest.raises(NeverError, match="no name of a resource group"):
            call()
    assert odd.seen == []


@pytest.mark.parametrize("subscription", ["", "..", "a/b", "6f1c 0d5e"])
def test_what_is_no_subscription_is_refused_before_anything_is_asked(odd: OddArm, subscription: str) -> None:
    with pytest.raises(NeverError, match="no id of a subscription"):
        ArmLocks(ArmClient(odd.url)).locks_on(replace(GROUP, subscription_id=subscription))
    assert odd.seen == []


def test_after_closing_it_can_be_used_again(odd: OddArm) -> None:
    locks = ArmLocks(ArmClient(odd.url))
    for _ in range(2):
        assert locks.locks_on(GROUP) == []
        locks.arm.close()


@pytest.mark.parametrize("endpoint", ["http://management.azure.com", "management.azure.com"])
def test_an_endpoint_that_can_not_be_used_is_refused_at_once(endpoint: str) -> None:
    with pytest.raises(ValueError, match="write"):
        ArmClient(endpoint)


def test_loading_the_modules_loads_no_sdk() -> None:
    code = (
        "import sys, shared.adapters.azure.locks as locks, shared.adapters.azure.compute as compute\n"
        "arm = locks.ArmClient('https://management.azure.com')\n"
        "locks.ArmLocks(arm), compute.ArmCompute(arm)\n"
        "sys.exit(any(name.startswith('azure.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0


@pytest.mark.parametrize("name", [None, "", "..", "a/b", "a?b", "a%2Fb"])
def test_a_lock_without_a_name_is_not_taken_for_one(odd: OddArm, name: Any) -> None:
    odd.will_answer("/locks", value({**shown("x"), "name": name}))
    with pytest.raises(LaterError, match="can't be read"):
        ArmLocks(ArmClient(odd.url)).locks_on(GROUP)


@pytest.mark.parametrize(
    ("notes", "sent"),
    [
        ("é" * 600, "é" * 512),
        ("\U0001f4b8" * 300, "\U0001f4b8" * 256),
        ("x" + "\U0001f4b8" * 300, "x" + "\U0001f4b8" * 255),
        ("half \ud800 a letter", "half \ufffd a letter"),
    ],
    ids=["accents", "pairs", "odd pairs", "a half"],
)
def test_notes_are_cut_as_azure_counts_them(notes: str, sent: str) -> None:
    """Azure counts UTF-16 units, of which a letter outside the basic plane takes two."""
    book = ChargeBook()
    book.add_subscription(SUBSCRIPTION)
    with AzureSimulator(book) as simulator:
        simulator.groups.add(SUBSCRIPTION, GROUP.name)
        locks = ArmLocks(ArmClient(simulator.url))
        assert locks.put(GROUP, GroupLock("warden", LockLevel.READ_ONLY, notes))
        assert locks.locks_on(GROUP) == [GroupLock("warden", LockLevel.READ_ONLY, sent)]
        locks.arm.close()
