"""`check`: is everything there that the app needs? One line each, green or with what to do."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli import output
from shared.cli.app import LOCAL_FILE, AsJson, open_app
from shared.cli.failures import FAILED, WrongUsageError, explain
from shared.cli.output import Cell
from shared.messages import GUID

if TYPE_CHECKING:
    from shared.services.findings import Finding


def check(
    json: AsJson = False,
    send_mail: Annotated[str, typer.Option("--send-mail", metavar="ADDRESS", help="Send a mail there, too.")] = "",
    identity: Annotated[
        str, typer.Option("--identity", metavar="ID", help="Whose roles: an identity's object id; else your own.")
    ] = "",
) -> None:
    """See whether the app has all it needs.

    Settings, database, queues, Azure with the roles that the settings need, mail (by signing in), lock: a line each,
    good or with what to do. Missing queues are made.
    """
    with output.working("Checking …"):
        findings = _findings(send_mail, _guid(identity))
    if json:
        output.write_json([asdict(finding) for finding in findings])
    else:
        output.write_facts([_line(finding) for finding in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


def _line(finding: Finding) -> tuple[str, Cell]:
    if finding.warning:
        return finding.part, Cell(f"! {finding.text}; {finding.warning}", "yellow")
    mark, style = ("✓", "green") if finding.ok else ("✗", "red")
    return finding.part, Cell(f"{mark} {finding.text}", style)


def _guid(text: str) -> str:
    if text and not GUID.fullmatch(text):
        raise WrongUsageError("--identity takes the object id of an identity, a GUID")
    return text


def _findings(address: str, identity: str) -> list[Finding]:
    from shared.services.findings import Finding
    from shared.settings import doubts

    try:
        app = open_app()
    except Exception as error:  # noqa: BLE001 - every fault becomes a line of the report
        return [Finding("settings", False, explain(error)[0])]
    where = f"the environment and {LOCAL_FILE}" if LOCAL_FILE.exists() else f"the environment ({LOCAL_FILE} not found)"
    whole = app.installation
    if identity:
        whole = replace(whole, azure=replace(whole.azure, rights=app.rights_of(identity)))
    found = whole.findings(lambda error: explain(error)[0])
    found += [app.installation.send_mail(address, lambda error: explain(error)[0])] if address else []
    return [Finding("settings", True, f"read from {where}", " ".join(doubts(local_file=LOCAL_FILE)) or None), *found]
