"""`dead-letters`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.cli.app import user_name
from shared.composition import Composition
from shared.messages import Queue
from tests.cli.commands import Cli, queued


def test_dead_letters_are_listed_shown_and_replayed(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    at = datetime(2026, 11, 20, 3, tzinfo=UTC)
    letter, _ = app.letters.record(Queue.NOTIFICATION, '{"ProjectId": 99, "Attempt": 3}', "no project 99", "a", at)
    assert cli("dead-letters", "list", "--json").json == [
        {
            "id": letter,
            "queue": "project-usage-notification",
            "body": '{"ProjectId": 99, "Attempt": 3}',
            "reason": "no project 99",
            "at": "2026-11-20T03:00:00+00:00",
            "replayed_at": None,
            "discarded_at": None,
            "discarded_by": None,
            "discard_reason": None,
        }
    ]
    assert "no project 99" in cli("dead-letters", "list").out
    assert '"ProjectId": 99' in cli("dead-letters", "show", str(letter)).out
    assert "Replayed: 1 of 1." in cli("dead-letters", "replay", str(letter)).out
    assert queued("QueueProjectUsageNotification") == [{"ProjectId": 99, "Replayed": True}]
    assert cli("dead-letters", "list", "--json").json == []
    (replayed,) = cli("dead-letters", "list", "--replayed", "--json").json
    assert replayed["replayed_at"]


def test_of_all_dead_letters_those_that_were_replayed_are_told_apart(cli: Cli, app: Composition) -> None:
    at = datetime(2026, 11, 20, 3, tzinfo=UTC)
    replayed, _ = app.letters.record(Queue.NOTIFICATION, "{}", "?", "a", at)
    app.letters.record(Queue.NOTIFICATION, "{}", "?", "b", at)
    app.letters.mark_replayed(replayed, datetime(2026, 11, 21, 9, tzinfo=UTC))
    header, first, second, *_ = cli("dead-letters", "list", "--replayed").out.splitlines()
    assert "REPLAYED" in header
    assert "2026-11-21 09:00" in first
    assert second.endswith(" no")
    assert "REPLAYED" not in cli("dead-letters", "list").out


def test_all_dead_letters_that_can_be_are_replayed(cli: Cli, app: Composition, queue_names: dict[str, str]) -> None:
    for number in range(3):
        body = "no json" if number == 1 else f'{{"ProjectId": {number + 1}}}'
        app.letters.record(Queue.NOTIFICATION, body, "?", str(number), datetime.now(UTC))
    outcome = cli("dead-letters", "replay", "--all")
    assert outcome.code == 1
    assert "Replayed: 2 of 3." in outcome.out
    assert "Dead letter 2 can't be replayed" in outcome.err
    assert [letter["id"] for letter in cli("dead-letters", "list", "--json").json] == [2]
    again = cli("dead-letters", "replay", "1", "2", "--json")
    assert (again.code, again.json["replayed"]) == (1, [1])
    assert [each["id"] for each in again.json["refused"]] == [2]


@pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["7"], ["x"], ["0"], ["9" * 30]])
def test_what_is_no_dead_letter_is_wrong_usage_and_replays_nothing(
    cli: Cli, app: Composition, arguments: list[str]
) -> None:
    app.letters.record(Queue.NOTIFICATION, '{"ProjectId": 1}', "?", "a", datetime.now(UTC))
    outcome = cli("dead-letters", "replay", "1", *arguments[1:]) if "--all" in arguments else None
    outcome = outcome or cli("dead-letters", "replay", *arguments)
    assert outcome.code == 2
    assert len(cli("dead-letters", "list", "--json").json) == 1


def test_refused_by_the_queues_replaying_fails_and_keeps_the_letters(cli: Cli, app: Composition) -> None:
    app.letters.record(Queue.NOTIFICATION, '{"ProjectId": 1}', "?", "a", datetime.now(UTC))
    outcome = cli("dead-letters", "replay", "--all")
    assert outcome.code == 1
    assert "Storage Queue Data Contributor" in outcome.err
    assert len(cli("dead-letters", "list", "--json").json) == 1


def test_a_dead_letter_never_steers_the_terminal(cli: Cli, app: Composition) -> None:
    app.letters.record(Queue.EMAIL, "\x1b]0;owned\x07 [red]", "\x1b[31mred", "a", datetime.now(UTC))
    for command in (["list"], ["show", "1"]):
        out = cli("dead-letters", *command).out
        assert "\x1b" not in out
        assert "\\x1b]0;owned\\x07 [red]" in out


def test_what_nothing_is_to_become_of_is_discarded_with_a_reason(cli: Cli, app: Composition) -> None:
    for number in range(3):
        app.letters.record(Queue.NOTIFICATION, "{}", "?", str(number), datetime(2026, 11, 20, 3, tzinfo=UTC))
    assert cli("dead-letters", "discard", "1").code == 2
    assert cli("dead-letters", "discard", "1", "7", "--reason", "x").code == 2
    assert cli("dead-letters", "discard", "1", "--reason", " ").code == 2
    assert cli("dead-letters", "discard", "1", "2", "--reason", "from a drill").out == "Discarded: 2.\n"
    assert [letter["id"] for letter in cli("dead-letters", "list", "--json").json] == [3]
    first, second, third = cli("dead-letters", "list", "--all", "--json").json
    assert (first["discarded_by"], first["discard_reason"]) == (user_name(), "from a drill")
    assert first["discarded_at"] == second["discarded_at"] != third["discarded_at"] is None
    assert f"UTC by {user_name()}: from a drill" in cli("dead-letters", "show", "1").out
    assert f"UTC by {user_name()}: from a drill" in cli("dead-letters", "list", "--replayed").out
    (again,) = cli("dead-letters", "discard", "3", "--reason", "too", "--json").json
    assert (again["id"], again["discard_reason"]) == (3, "too")


def test_of_two_orders_about_a_dead_letter_the_later_counts(
    cli: Cli, app: Composition, queue_names: dict[str, str]
) -> None:
    app.letters.record(Queue.NOTIFICATION, '{"ProjectId": 1}', "?", "a", datetime(2026, 11, 20, 3, tzinfo=UTC))
    cli("dead-letters", "discard", "1", "--reason", "it is nothing")
    assert "Replayed: 0 of 0." in cli("dead-letters", "replay", "--all").out
    assert "Replayed: 1 of 1." in cli("dead-letters", "replay", "1").out
    assert len(queued("QueueProjectUsageNotification")) == 1
