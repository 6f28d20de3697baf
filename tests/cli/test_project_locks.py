"""`projects lock` and `projects unlock`: what is asked for, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.cli.app import user_name
from shared.composition import Composition
from shared.messages import parse_lock
from tests.cli.commands import DIE1, HEADER, HOLD, LOCKED, LOCKED_AT, NO_QUEUES, Cli, decided, queued, write_csv


@pytest.mark.parametrize("action", ["lock", "unlock"])
def test_a_lock_is_asked_for_by_an_operator_with_a_name_and_a_reason(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setenv("LOCK_MODE", "enforce")
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("project", action, "die1", "--reason", " it is a test ")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Asked for the {action} of DIE1; `audit DIE1` shows what became of it.\n" in outcome.out
    (message,) = queued("QueueProjectLock")
    assert message.pop("OrderedAt")
    assert message == {
        "ProjectId": 11,
        "Action": action,
        "Reason": "it is a test",
        "Trigger": "operator",
        "By": user_name(),
    }


@pytest.mark.parametrize(("mode", "said"), [("off", "it will be refused"), ("dry-run", "only written down")])
def test_where_nothing_would_be_locked_the_operator_is_warned(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch, mode: str, said: str
) -> None:
    monkeypatch.setenv("LOCK_MODE", mode)
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("projects", "lock", "DIE1", "--reason", "x")
    assert outcome.code == 0
    assert outcome.err.startswith(f"warning: LOCK_MODE is {mode} here, so nothing will be locked")
    assert said in outcome.err
    # A lock comes off in every mode.
    assert cli("projects", "unlock", "DIE1", "--reason", "x").err == ""
    assert len(queued("QueueProjectLock")) == 2


def test_a_project_that_is_never_to_be_locked_is_refused_at_the_door(cli: Cli, queue_names: dict[str, str]) -> None:
    cli("projects", "load", write_csv(f"{DIE1},never", header=f"{HEADER},lock"))
    outcome = cli("projects", "lock", "DIE1", "--reason", "x")
    assert (outcome.code, outcome.out) == (2, "")
    assert "DIE1 is marked as never to be locked" in outcome.err
    # The queue is made with its first message: it may have been locked before it was marked.
    assert cli("projects", "unlock", "DIE1", "--reason", "x").code == 0
    assert [message["Action"] for message in queued("QueueProjectLock")] == ["unlock"]


def test_what_is_so_already_is_said_and_asked_for_all_the_same(
    cli: Cli, app: Composition, queue_names: dict[str, str]
) -> None:
    cli("projects", "load", write_csv(DIE1))
    assert "DIE1 is not locked, as far as is known" in cli("projects", "unlock", "DIE1", "--reason", "x").out
    decided(app, LOCKED, HOLD, LOCKED_AT)
    assert "DIE1 is locked already since 2026-11-20 02:15 UTC" in cli("projects", "lock", "DIE1", "--reason", "x").out
    assert "not locked" not in cli("projects", "unlock", "DIE1", "--reason", "x").out
    assert [message["Action"] for message in queued("QueueProjectLock")] == ["unlock", "lock", "unlock"]


@pytest.mark.parametrize("action", ["lock", "unlock"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["DIE1"],
        ["DIE1", "--reason", " \n"],
        ["DIE1", "--reason", "x" * 1001],
        ["DIE1", "--reason", "\udcff"],
        ["NOPE", "--reason", "x"],
        ["--reason", "x"],
        ["DIE1", "EAU", "--reason", "x"],
    ],
)
def test_without_a_known_project_and_a_reason_nothing_is_asked_for(
    cli: Cli, queue_names: dict[str, str], action: str, arguments: list[str]
) -> None:
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("project", action, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert cli("project", action, "DIE1", "--reason", "the only one").code == 0
    assert [message["Reason"] for message in queued("QueueProjectLock")] == ["the only one"]


def test_who_orders_is_whom_the_operating_system_knows_and_not_what_the_environment_says(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = user_name()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert user_name() == before != "somebody-else"


def test_a_reason_as_long_as_it_may_be_is_a_message_that_is_taken(cli: Cli, queue_names: dict[str, str]) -> None:
    cli("projects", "load", write_csv(DIE1))
    assert cli("projects", "lock", "DIE1", "--reason", "é\n" * 499 + "x").code == 0
    (message,) = queued("QueueProjectLock")
    parsed = parse_lock(json.dumps(message))
    assert (parsed.by, len(parsed.reason)) == (user_name(), 999)


def test_where_the_queues_are_away_the_order_counts_all_the_same_and_the_exit_code_is_1(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DatahubStorageConnectionString", NO_QUEUES)
    cli("projects", "load", write_csv(DIE1))
    outcome = cli("projects", "lock", "DIE1", "--reason", "x")
    assert outcome.code == 1
    assert outcome.out == ""
    said = (
        "error: the order is written down, and carried out within eight hours, but not now: the queues can't be reached"
    )
    assert outcome.err.startswith(said)


def test_a_lock_of_an_inactive_project_can_be_taken_off(
    cli: Cli, app: Composition, queue_names: dict[str, str]
) -> None:
    cli("projects", "load", write_csv(DIE1.replace("true", "false")))
    decided(app, replace(LOCKED, by="bob"), HOLD, LOCKED_AT)
    assert cli("projects", "unlock", "11", "--reason", "it has ended").code == 0
    assert queued("QueueProjectLock")[0]["ProjectId"] == 11


def test_what_was_asked_for_can_be_told_to_programs(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    cli("projects", "load", write_csv(DIE1))
    asked = {"acronym": "DIE1", "locked_since": None, "lock_mode": "dry-run"}
    assert cli("projects", "lock", "DIE1", "--reason", "x", "--json").json == asked | {"action": "lock"}
    assert cli("projects", "unlock", "DIE1", "--reason", "x", "--json").json == asked | {"action": "unlock"}
