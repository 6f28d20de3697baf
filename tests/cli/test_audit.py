"""`audit`, and what `status` says of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.composition import Composition
from shared.domain.locks import Outcome
from shared.messages import LockAction, LockTrigger
from shared.ports.locks import Freed
from tests.cli.commands import DIE1, EAU, FIRST, HOLD, LOCKED, LOCKED_AT, Cli, decided, write_csv

UNLOCKED = replace(
    LOCKED,
    key="message-2",
    action=LockAction.UNLOCK,
    outcome=Outcome.UNLOCKED,
    reason="an operator ordered it",
    trigger=LockTrigger.OPERATOR,
    by="bob",
    asked="it was a mistake",
    figures={},
    details={},
)
REFUSED = replace(LOCKED, key="message-3", project_id=12, outcome=Outcome.REFUSED, reason="LOCK_MODE is off")
HOUR = timedelta(hours=1)


@pytest.fixture
def history(cli: Cli, app: Composition) -> None:
    """DIE1 was locked and unlocked, EAU was not locked."""
    cli("projects", "load", write_csv(DIE1, EAU))
    decided(app, LOCKED, HOLD, LOCKED_AT)
    decided(app, UNLOCKED, Freed(), LOCKED_AT + HOUR)
    decided(app, REFUSED, None, LOCKED_AT + 2 * HOUR)


def test_each_decision_has_a_line_with_when_what_why_by_whom_and_on_which_figures(cli: Cli, history: None) -> None:
    _, locked, unlocked, refused = cli("audit").out.splitlines()
    assert locked.startswith("2026-11-20 02:15  DIE1     locked    check")
    for words in (
        "the costs that were read show 1050 of 1000",
        "1,050 of 1,000 CAD; Azure 1,042",
        "die1-dev: locked; die1-prod: locked; die1-dev/vm-1: stopped",
    ):
        assert words in locked
    assert "operator (bob)" in unlocked
    assert "an operator ordered it; asked: it was a mistake" in unlocked
    assert "EAU" in refused
    assert "LOCK_MODE is off" in refused


def test_one_project_and_the_last_decisions_can_be_asked_for(cli: Cli, history: None) -> None:
    assert [each["acronym"] for each in cli("audit", "--json").json] == ["DIE1", "DIE1", "EAU"]
    assert [each["outcome"] for each in cli("audit", "die1", "--json").json] == ["locked", "unlocked"]
    assert [each["outcome"] for each in cli("audit", "--limit", "2", "--json").json] == ["unlocked", "refused"]
    assert [each["outcome"] for each in cli("audit", "11", "--limit", "1", "--json").json] == ["unlocked"]


def test_as_json_a_decision_is_told_in_full(cli: Cli, history: None) -> None:
    assert cli("audit", "--json").json[1] == {
        "id": 2,
        "at": "2026-11-20T03:15:00+00:00",
        "acronym": "DIE1",
        "project_id": 11,
        "action": "unlock",
        "outcome": "unlocked",
        "reason": "an operator ordered it",
        "trigger": "operator",
        "by": "bob",
        "asked": "it was a mistake",
        "figures": {},
        "details": {},
        "run": None,
    }
    assert cli("audit", "--json").json[0]["details"]["groups"][0] == [FIRST, "die1-dev", "locked"]


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({}, ""),
        ({"amount": None, "usage": None, "azure_spend": None, "currency": None, "period_start": None}, ""),
        ({"usage": "12", "currency": "CAD"}, "12 CAD used"),
        ({"amount": "12"}, "budget 12"),
        ({"azure_spend": "1e3"}, "Azure 1,000"),
        ({"usage": "0", "amount": "0", "currency": "CAD"}, "0 of 0 CAD"),
        ({"usage": "1049.995", "amount": "1000"}, "1,050.00 of 1,000"),
        ({"usage": "a lot"}, "a lot used"),
    ],
)
def test_figures_that_were_not_known_are_left_out(
    cli: Cli, app: Composition, figures: dict[str, Any], said: str
) -> None:
    cli("projects", "load", write_csv(DIE1))
    decided(app, replace(LOCKED, figures=figures, reason="why", details={}), None, LOCKED_AT)
    line = cli("audit").out.splitlines()[1]
    assert line.rpartition("why")[2].strip() == said


def test_what_failed_is_told_with_its_reason(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    details = {"groups": [[FIRST, "die1-dev", "locked"]], "machines": [], "failed": [["die1-prod", "no permission"]]}
    decided(app, replace(LOCKED, outcome=Outcome.FAILED, details=details), None, LOCKED_AT)
    assert "die1-dev: locked; die1-prod: no permission" in cli("audit").out


def test_where_nothing_was_decided_that_is_said(cli: Cli) -> None:
    assert cli("audit").out == "Nothing was decided about locks yet.\n"
    cli("projects", "load", write_csv(DIE1))
    assert cli("audit", "DIE1").out == "Nothing was decided about locks of DIE1 yet.\n"
    assert cli("audit", "--json").json == []


@pytest.mark.parametrize("arguments", [["NOPE"], ["--limit", "0"], ["--limit", "x"], ["DIE1", "EAU"], [""]])
def test_what_can_not_be_audited_is_wrong_usage(cli: Cli, history: None, arguments: list[str]) -> None:
    outcome = cli("audit", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")


def test_a_reason_never_steers_the_terminal(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    decided(app, replace(LOCKED, asked="\x1b]0;owned\x07 [red]"), None, LOCKED_AT)
    out = cli("audit").out
    assert "\x1b" not in out
    assert "\\x1b]0;owned\\x07 [red]" in out


def test_the_status_counts_the_decisions_of_the_last_day(cli: Cli, app: Composition, history: None) -> None:
    decided(app, replace(LOCKED, key="4", outcome=Outcome.FAILED), None, LOCKED_AT)
    decided(app, replace(LOCKED, key="5", outcome=Outcome.FAILED), None, LOCKED_AT - 24 * HOUR)
    out = cli("status").out
    assert "locked           none" in out
    assert "Decisions about locks in the last day: 1 locked, 1 refused, 1 unlocked, 1 failed (`python -m" in out


def test_the_status_does_not_speak_of_locks_where_nothing_was_decided(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1))
    decided(app, LOCKED, HOLD, LOCKED_AT - 24 * HOUR)
    out = cli("status").out
    assert "Decisions" not in out
    assert "locked           DIE1 since 2026-11-19" in out
