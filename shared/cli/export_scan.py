"""`exports scan` and `sync`: reading what is new now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output, runs
from shared.cli.app import AsJson, open_app
from shared.cli.export_runs import run_as_json, write_runs
from shared.cli.failures import FailedError
from shared.services.full_sync import LOOK_EVERY, Quiet, failed_imports, failed_run

if TYPE_CHECKING:
    import threading

    from shared.composition import Composition
    from shared.ports.export_runs import RunRecord
    from shared.services.export_scan import Imports, Scanned

NO_STORAGE = "it is not set where cost exports lie; set CostExportStorage, or CostExportStorage__blobServiceUri"


def scan(
    wait: Annotated[bool, typer.Option("--wait", help="Wait until what was found is imported.")] = False,
    json: AsJson = False,
) -> None:
    """Look for new runs of cost exports now, besides the hourly look.

    Exit code 1 where a place of exports could not be read; with --wait, also where a run has failed, or is put off.
    """
    app = open_app()
    if not app.settings.has_exports:
        raise FailedError(NO_STORAGE)
    scanned = _look(app, json)
    imports = None
    if wait and scanned.manifests:
        with runs.noticing_ctrl_c() as stopped:
            imports = _until_imported(app, scanned, stopped)
    records = imports.ended if imports else ()
    if json:
        output.write_json(_as_json(scanned, records))
    else:
        _write(app, scanned, records, wait)
    _fail_for([*scanned.refused, *failed_imports(imports)])


def sync(json: AsJson = False) -> None:
    """Read all costs now, and wait: new cost exports, and a run of all that is read by query.

    Exit code 1 where an export or a subscription could not be read.
    """
    app = open_app()
    with runs.noticing_ctrl_c() as stopped:
        scanned = _look(app, json) if app.settings.has_exports else None
        key, sent = app.run_service.start()
        if not json:
            output.say(f"Run {key}: {output.count(sent, 'subscription')} queued.")
        view = runs.wait_for(app, key, stopped) if sent else None
        imports = _until_imported(app, scanned, stopped) if scanned else None
    records = imports.ended if imports else ()
    if json:
        output.write_json(
            {"exports": _as_json(scanned, records) if scanned else None, "run": runs.as_json(view) if view else None}
        )
    else:
        if scanned:
            _write(app, scanned, records, True)
        if view:
            runs.write_outcome(app.run_service, view)
    _fail_for([*(scanned.refused if scanned else ()), *failed_imports(imports), *failed_run(view)])


def _look(app: Composition, json: bool) -> Scanned:
    with output.working("Looking for new runs of exports …"):
        scanned = app.export_scan.look()
    if not json:
        found = output.count(len(scanned.manifests), "new run")
        nothing = "nothing new where they could be read" if scanned.refused else "nothing new"
        output.say(f"Exports: {f'{found} found' if scanned.manifests else nothing}.")
    return scanned


def _until_imported(app: Composition, scanned: Scanned, stopped: threading.Event) -> Imports:
    """The runs that have ended; the others are put off, or nothing new came of their manifests."""
    queue, quiet = runs.Unmoved(app.clock()), Quiet()
    imports = app.export_scan.imports(scanned)
    with output.counting("runs imported") as show:
        while not quiet.is_enough(imports):
            if stopped.wait(LOOK_EVERY.total_seconds()):
                output.warn("no longer waiting; the imports go on")
                raise KeyboardInterrupt
            imports = app.export_scan.imports(scanned)
            show(len(imports.ended), imports.total, "")
            if queue.is_noticed(app.export_scan.next_message, app.clock()):
                output.warn(runs.NOBODY)
    return imports


# --- what came of it ---------------------------------------------------------------------------------------------


def _write(app: Composition, scanned: Scanned, records: tuple[RunRecord, ...], waited: bool) -> None:
    if records:
        write_runs(records, app.export_history.called())
    if len(records) < len(scanned.manifests):
        others = f"{len(scanned.manifests) - len(records):,} not imported yet, or known already: " if waited else ""
        output.say(f"{others}`python -m shared.cli exports list` shows how far they are.")


def _as_json(scanned: Scanned, records: tuple[RunRecord, ...]) -> dict[str, Any]:
    return {
        "found": list(scanned.manifests),
        "refused": list(scanned.refused),
        "runs": [run_as_json(record) for record in records],
    }


def _fail_for(reasons: list[str]) -> None:
    if reasons:
        raise FailedError("\n  ".join(["not all could be read:", *reasons]))
