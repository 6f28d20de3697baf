"""`exports import`: files and folders, at once."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app, refuse_empty
from shared.cli.export_runs import has_changed, months, run_as_json
from shared.cli.failures import FAILED
from shared.cli.output import Cell, Column
from shared.domain.exports.runs import Found, RunState
from shared.domain.texts import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shared.services.export_import import Plan, Result


def import_files(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|FOLDER…",
            help="CSV (plain, gzip), Parquet, manifests, folders of them; or CONTAINER/PATH in export storage.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read them, and say what would become of each. Nothing is kept.")
    ] = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="The files that no manifest names are parts of one export.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="A file that ends before what it would replace is meant to.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Import cost exports now, in this process. What was imported before changes nothing.

    A file that no manifest names replaces what was imported for its billing account and months. Exit code 1 where one
    can't be imported; the others are.
    """
    for path in paths:
        refuse_empty(FILE=path)
    app = open_app()
    service = app.export_import
    with output.working("Looking …"):
        plan = service.look(paths, parts=parts, force=force)
    with output.reading("Reading", plan.size) as show:
        results = list((service.rehearse if dry_run else service.carry_out)(plan, show))
    if json:
        output.write_json(_as_json(plan, results))
    else:
        _write(plan, results, app.export_history.acronyms)
    if plan.faults or any(result.fault for result in results):
        raise typer.Exit(FAILED)


# What would become of one that is only rehearsed.
WOULD = {
    RunState.IMPORTED: "would be imported",
    RunState.NOT_USED: "would not be used",
    RunState.NO_COSTS: "has no costs",
}

# --- for people --------------------------------------------------------------------------------------------------


def _write(plan: Plan, results: list[Result], acronyms: Callable[[Iterable[int]], Sequence[str]]) -> None:
    if results:
        output.write_records(IMPORTED, results)
    for place in plan.without_rows:
        output.say(f"{place} has no charges.")
    for place, fault in [*plan.faults, *((each.place, each.fault) for each in results if each.fault)]:
        output.say(f"{place}: {fault}", "red")
    checked = sorted({project for result in results for project in result.due_projects})
    if checked:
        output.say(f"{output.count(len(checked), 'project')} checked anew: {named(acronyms(checked))}.")
    for unasked in dict.fromkeys(result.unasked for result in results if result.unasked):
        output.warn(f"{unasked}; the watchdog has these projects checked")


def _outcome(result: Result) -> Cell:
    """What became of it, or would."""
    if result.fault:
        return Cell("failed", "red")
    state, number = result.record.state, result.record.id
    match result.found:
        case Found.KNOWN:
            return Cell(f"known as run {number}, {state}")
        case Found.COPY:
            return Cell(f"a copy of run {number}, {state}")
    return Cell(f"run {number}: {state}" if number else WOULD.get(state, state))


def _changed(result: Result) -> str:
    changes = result.record.changes
    if result.found is not Found.NEW or not has_changed(result.record):
        return ""
    return f"{changes.added:,}/{changes.changed:,}/{changes.removed:,}"


def _file(result: Result) -> str:
    """Of a run with a manifest, the export says more than the name of that."""
    return "" if result.record.run.run_id else PurePath(result.place).name


IMPORTED: output.Table[Result] = {
    Column("file", words=True): _file,
    Column("export", words=True): lambda each: each.record.run.export.name,
    Column("account", spare=3): lambda each: each.record.run.export.billing_account,
    Column("month", spare=1): lambda each: months(each.record),
    Column("rows", right=True): lambda each: "" if each.record.rows is None else f"{each.record.rows:,}",
    Column("sum", right=True): lambda each: output.exact(each.record.totals) if each.record.totals else "",
    Column("added/changed/removed", right=True, spare=2): _changed,
    Column("what became of it", words=True): _outcome,
    Column("reason", words=True): lambda each: each.record.reason or "",
}

# --- for programs ------------------------------------------------------------------------------------------------


def _as_json(plan: Plan, results: list[Result]) -> dict[str, Any]:
    runs = [
        {"file": each.place, "found": each.found, "fault": each.fault}
        | run_as_json(each.record)
        | {"projects": list(each.due_projects)}
        for each in results
    ]
    faults = [{"file": place, "fault": fault} for place, fault in plan.faults]
    return {"runs": runs, "faults": faults, "without_charges": list(plan.without_rows)}
