"""Each command of the run book that can be run without Azure is run."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from localdev.azure_sim import AzureSimulator, ChargeBook
from localdev.azurite import Azurite
from shared.composition import Composition
from shared.messages import Queue
from shared.ports.mails import NewMail, Topic
from shared.settings import load
from tests.adapters.exports.files import EA, csv_of
from tests.cli.commands import DIE1, EAU, FIRST, SECOND, Cli, write_csv, write_rules
from tests.cli.test_credentials import CREATED, explored, hand_in
from tests.cli.test_credentials import FIRST as KEY
from tests.docs import run_book

AT = datetime(2026, 11, 20, 2, 12, tzinfo=UTC)
ACTION_GROUP = f"/subscriptions/{FIRST}/resourceGroups/rg-warden/providers/Microsoft.Insights/actionGroups/lock"
FILLED_IN = {"PROJECT": "DIE1", "TEXT": "why", "ADDRESS": "ann@example.com", "AMOUNT": "20000", "DAY": "2026-11-01"}
FILLED_IN |= {"CONTAINER/PATH": "file.csv", "NAME": "network", "DATE": "2027-03-31", "RUN": "1"}
# `run --wait` waits for an app that takes its messages; whether it does, other tests see.
LEFT_OUT = {"--wait"}
# What these find is their exit code.
MAY_FIND = {"status", "check", "reconcile"}


def arguments(command: str, new_id: int) -> list[str]:
    """As a person fills them in. ID: of what is there for this command."""
    words = [word for word in shlex.split(command) if word not in LEFT_OUT]
    if words[:2] == ["projects", "forget"]:
        words = [word.replace("PROJECT", "EAU") for word in words]
    if words[0] == "run":
        words = [word.replace("ID", FIRST) for word in words]
    return [str(new_id) if word in {"ID", "ID…"} else FILLED_IN.get(word, word) for word in words]


def test_every_command_that_needs_no_azure_does_what_it_says(
    cli: Cli,
    queue_names: dict[str, str],
    azurite_blobs: Azurite,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = ChargeBook()
    for subscription in (FIRST, SECOND):
        book.add_subscription(subscription)
    monkeypatch.setenv("LOCK_ACTION_GROUP_ID", ACTION_GROUP)
    monkeypatch.setenv("CostExportStorage", azurite_blobs.connection_string)
    with AzureSimulator(book) as azure:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", azure.url)
        monkeypatch.setenv("ENCRYPTION_KEYS", f"2026:{KEY}")
        without, needing = _run_all(cli, Composition(load()), monkeypatch)
    assert without >= 25
    with capsys.disabled():
        print(f"\nrun book: {without} commands run, {needing} need Azure")


def _run_all(cli: Cli, app: Composition, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many were run, and how many need Azure."""
    write_csv(DIE1, EAU.replace(",true", ",false"))
    write_rules("network,FIRST,fixed,2026-12-01,DIE1,100")
    Path("file.csv").write_text(csv_of([EA]))
    cli("projects", "load", "projects.csv")
    cli("exports", "import", "file.csv")
    # The container is made with this.
    app.export_blobs.write(app.settings.export_container, "note.txt", b"-")
    every = run_book.commands()
    without = [each.text for each in every if not each.needs_azure]
    for number, text in enumerate(without):
        mail = NewMail(f"m{number}", "notice", ("a@b.ca",), {"subject": "x"}, topic=Topic.OTHER)
        mail_id, letter = (
            app.mails.add(mail, AT),
            app.letters.record(Queue.UPDATE, '{"ProjectId": 11}', "?", text, AT)[0],
        )
        account = app.cloud_accounts.add_exports("azure", f"{app.settings.export_container}/{number}")
        if text.startswith("cloud-accounts keys"):
            account = explored(app)
            hand_in(monkeypatch, CREATED)
        if text.startswith("cloud-accounts enable"):
            app.cloud_accounts.disable(account, "by ann")
        given = arguments(text, {"dead-letters": letter, "cloud-accounts": account}.get(text.split()[0], mail_id))
        if given[:2] == ["projects", "load"]:
            # What was ordered since the file was written would need consent.
            cli("projects", "export", given[2])
        outcome = cli(*given)
        allowed = {0, 1} if given[0] in MAY_FIND else {0}
        assert outcome.code in allowed, f"{text}: {outcome.err}"
    return len(without), len(every) - len(without)
