"""`exports`: costs that a provider writes as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, command_group, open_app, refuse_empty
from shared.cli.export_runs import days
from shared.cli.failures import FAILED
from shared.domain.texts import named

if TYPE_CHECKING:
    from shared.services.exports import Checked

# What is read of the settings: a laptop that has none will do.
NEEDED = ("COST_METRIC", "LOCAL_CLOCK_START")
commands = command_group("Costs that a provider writes as files.")
Paths = Annotated[
    list[str],
    typer.Argument(metavar="FILE|FOLDER…", help="CSV (plain, gzip), Parquet, manifests, or folders of them."),
]


@commands.command("read")
def read(paths: Paths, json: AsJson = False) -> None:
    """Read cost exports from files, and say what they come to: dataset, days, exact sums. Nothing is stored.

    For whoever means to switch to exports: is everything there, and does it add up to the invoice? Exit code 1 where
    a file can't be read, or is not what its manifest says.
    """
    for path in paths:
        refuse_empty(FILE=path)
    faulty, listed = False, []
    with output.working("Reading …"):
        for checked in open_app(*NEEDED).export_service.read(list(map(Path, paths))):
            faulty = faulty or checked.fault is not None
            if json:
                listed.append(_listed(checked))
            else:
                _write(checked)
    if json:
        output.write_json(listed)
    if faulty:
        raise typer.Exit(FAILED)


def _write(checked: Checked) -> None:
    output.say(checked.name, "bold")
    output.write_facts([*_facts(checked), ("fault", output.Cell(checked.fault or "", "red"))])
    output.say()


def _facts(checked: Checked) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if said := checked.manifest:
        facts = [
            ("manifest of", f"{said.export.name} ({said.export.provider})"),
            ("dataset", " ".join([said.export.dataset, said.version]).rstrip()),
            ("days", days(said.days)),
            ("submitted", f"{output.minute(said.submitted_at)} UTC" if said.submitted_at else ""),
            ("files", f"{len(said.parts):,}"),
        ]
    if file := checked.file:
        facts += [
            ("dataset", file.dataset),
            ("metric", f"{checked.metric} (column {file.cost_column})"),
            ("rows", f"{file.count:,}"),
            ("days", f"{checked.days[0]} to {checked.days[1]}" if checked.days else "none"),
            ("sum", output.exact(checked.totals)),
            ("without a group", output.exact(checked.without_group)),
            ("sub-accounts", _sub_accounts(checked)),
            ("odd", " ".join(file.odd)),
        ]
    return facts


def _sub_accounts(checked: Checked) -> str:
    names = [f"{provider} {sub_account_id or 'without an id'}" for provider, sub_account_id in checked.sub_accounts]
    return f"{len(names):,}: {named(names)}" if names else ""


def _listed(checked: Checked) -> dict[str, Any]:
    found: dict[str, Any] = {"name": checked.name, "fault": checked.fault}
    if said := checked.manifest:
        found["manifest"] = {
            "export": output.chosen(said.export, "provider", "id", "name", "dataset", "billing_account"),
            "version": said.version,
            "run_id": said.run_id,
            "submitted_at": said.submitted_at,
            "first_day": said.days and said.days.start,
            "last_day": said.days and said.days.last_day,
            "files": [output.chosen(part, "name", "size", "rows") for part in said.parts],
        }
    if file := checked.file:
        first, last = checked.days or (None, None)
        found |= output.chosen(file, "dataset", "cost_column", "odd") | {"metric": checked.metric, "rows": file.count}
        found |= {"first_day": first, "last_day": last}
        found |= {"sums": checked.totals, "without_group": checked.without_group}
        found["sub_accounts"] = [{"provider": one, "sub_account_id": other} for one, other in checked.sub_accounts]
    return found
