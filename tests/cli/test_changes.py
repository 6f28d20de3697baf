"""`changes`: every command that changes something is in the audit, with who ran it."""

from __future__ import annotations

from shared.cli.app import user_name
from shared.composition import Composition
from shared.messages import Queue
from tests.cli.commands import DIE1, EAU, Cli, write_csv


def actions(cli: Cli, *arguments: str) -> list[tuple[str, str]]:
    return [(each["action"], each["subject"]) for each in cli("changes", *arguments, "--json").json]


def test_projects_and_budgets_are_noted_with_who_changed_what_and_why(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    cli("budgets", "set", "DIE1", "15000", "--reason", "granted")
    assert actions(cli) == [("project-added", "DIE1"), ("project-added", "EAU"), ("budget-revised", "DIE1")]
    revised = cli("changes", "die1", "--json").json[-1]
    assert (revised["by"], revised["via"], revised["reason"]) == (user_name(), "command-line", "granted")
    assert revised["details"]["after"]["amount"] == "15000"
    assert actions(cli, "eau") == [("project-added", "EAU")]


def test_a_load_says_which_fields_it_changed_and_names_no_contact(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    cli("projects", "load", write_csv(DIE1.replace("ann@example.com", "zoe@example.com")))
    changed = cli("changes", "--json").json[-1]
    assert (changed["action"], changed["details"]) == ("project-changed", {"fields": ["contacts"]})
    assert "@" not in cli("changes", "--json").out


def test_what_was_only_looked_at_is_not_noted(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1), "--dry-run")
    assert actions(cli) == []
    assert "Nothing was changed yet." in cli("changes").out


def test_orders_about_locks_letters_and_syncs_are_noted(
    cli: Cli, app: Composition, queue_names: dict[str, str]
) -> None:
    cli("projects", "load", write_csv(DIE1))
    app.letters.record(Queue.UPDATE, '{"ProjectId": 11}', "no such project", "message-1", app.clock())
    app.letters.record(Queue.UPDATE, '{"ProjectId": 12}', "no such project", "message-2", app.clock())
    cli("projects", "lock", "DIE1", "--reason", "security")
    cli("projects", "unlock", "DIE1", "--reason", "mended")
    cli("dead-letters", "replay", "1")
    cli("dead-letters", "discard", "2", "--reason", "old")
    cli("run", "--project", "DIE1")
    assert actions(cli)[1:] == [
        ("lock-ordered", "DIE1"),
        ("unlock-ordered", "DIE1"),
        ("dead-letter-replayed", "dead letter 1"),
        ("dead-letter-discarded", "dead letter 2"),
        ("sync-ordered", "DIE1"),
    ]


def test_cloud_accounts_are_noted(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    cli("cloud-accounts", "disable", "1", "--reason", "moved")
    cli("cloud-accounts", "enable", "1")
    cli("cloud-accounts", "remove", "1", "--yes")
    assert [each for each, _ in actions(cli)[1:]] == [
        "cloud-account-disabled",
        "cloud-account-enabled",
        "cloud-account-removed",
    ]


def test_an_unknown_project_has_no_changes(cli: Cli) -> None:
    result = cli("changes", "NOBODY")
    assert (result.code, "NOBODY" in result.err) == (2, True)
