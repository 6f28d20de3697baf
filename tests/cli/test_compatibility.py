"""What scripts were written against goes on working: every command of 0.1.0, with its options and its JSON keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import typer

from shared.cli.main import app as command_line
from shared.composition import Composition
from shared.messages import Queue
from tests.cli.commands import DIE1, HOLD, LOCKED, LOCKED_AT, Cli, decided, night, write_csv
from tests.docs import sources

COMMANDS_OF_0_1_0 = {
    "run": {"--wait"},
    "status": {"--limit", "--json"},
    "audit": {"PROJECT", "--limit", "--json"},
    "check": {"--json"},
    "projects load": {"FILE"},
    "projects list": {"--json"},
    "projects show": {"PROJECT", "--json"},
    "project lock": {"PROJECT", "--reason"},
    "project unlock": {"PROJECT", "--reason"},
    "budget set": {
        *("PROJECT", "AMOUNT", "--reason", "--currency", "--rollover", "--period", "--period-start", "--period-end"),
        "--thresholds",
    },
    "budgets sync": {"--dry-run"},
    "dead-letters list": {"--json", "--replayed"},
    "dead-letters show": {"LETTER_ID", "--json"},
    "dead-letters replay": {"LETTER_IDS", "--all"},
    "db upgrade": set(),
}
REVISION = {
    *("number", "budget", "currency", "period", "period_start", "period_end", "rollover", "thresholds", "made_at"),
    *("made_by", "reason"),
}
PROJECT = {
    *("id", "acronym", "name", "budget", "carried", "stopped", "amount", "currency", "rollover", "spent", "percent"),
    *("forecast", "used_up_on", "period_start", "period_end", "lock", "locked_since", "updated_at", "active"),
}
SHOWN = {"language", "contacts", "resource_groups", "thresholds", "alerts", "problem", "periods", "revisions"}
PERIOD = {"period_start", "period_end", "carried", "final", "stopped", "spent", "currency"}
RUN = {"key", "trigger", "state", "started_at", "finished_at", "scopes", "mails", "errors"}
LETTER = {"id", "queue", "body", "reason", "at"}
DECISION = {
    *("id", "at", "acronym", "project_id", "action", "outcome", "reason", "trigger", "by", "asked", "figures"),
    *("details", "run"),
}


def found(*path: str) -> Any:
    command: Any = typer.main.get_command(command_line)
    for name in path:
        command = command.commands[name]
    return command


@pytest.mark.parametrize(("command", "options"), COMMANDS_OF_0_1_0.items())
def test_every_command_of_0_1_0_is_there_with_its_options(command: str, options: set[str]) -> None:
    parameters = found(*command.split()).params
    names = {name for each in parameters for name in each.opts if name.startswith("--")}
    arguments = {each.name.upper() for each in parameters if each.param_type_name == "argument"}
    assert names | arguments >= options


@pytest.mark.parametrize("name", ["project", "budget"])
def test_both_spellings_are_the_same_commands_and_one_is_shown(cli: Cli, name: str) -> None:
    assert found(name).commands.keys() == found(f"{name}s").commands.keys()
    shown = [line.split()[0] for line in cli("--help").out.splitlines() if line.strip()]
    assert f"{name}s" in shown
    assert name not in shown


# What they write is CSV, or FOCUS, into a file or here.
WITHOUT_JSON = {"projects export", "focus export"}


def test_every_command_can_be_read_by_programs() -> None:
    without = {
        command
        for command in sources.commands()
        if not any("--json" in each.opts for each in found(*command.split()).params)
    }
    assert without == WITHOUT_JSON


def keys(record: dict[str, Any]) -> set[str]:
    return set(record)


def test_json_has_the_keys_of_0_1_0(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    night(app)
    decided(app, LOCKED, HOLD, LOCKED_AT)
    app.letters.record(Queue.EMAIL, "{}", "?", "a", datetime(2026, 11, 20, tzinfo=UTC))
    (listed,) = cli("projects", "list", "--json").json
    shown = cli("projects", "show", "DIE1", "--json").json
    (run,) = cli("status", "--json").json
    (decision,) = cli("audit", "--json").json
    (letter,) = cli("dead-letters", "list", "--json").json
    assert keys(listed) >= PROJECT
    assert keys(shown) >= PROJECT | SHOWN
    assert keys(shown["periods"][0]) >= PERIOD
    assert keys(shown["revisions"][0]) >= REVISION
    assert keys(run) >= RUN
    assert run["scopes"].keys() >= {"done", "deferred", "failed", "suspect", "waiting"}
    assert run["mails"].keys() >= {"sent", "pending", "failed"}
    assert keys(decision) >= DECISION
    assert keys(letter) >= LETTER
    assert keys(cli("dead-letters", "show", "1", "--json").json) >= LETTER | {"replayed_at"}
    assert all(keys(finding) >= {"part", "ok", "text"} for finding in cli("check", "--json").json)
