"""`focus`: stored costs as FOCUS, the FinOps open cost and usage specification."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shared.cli import output
from shared.cli.app import command_group, open_app, refuse_empty
from shared.cli.costs import missing_in
from shared.cli.failures import WrongUsageError
from shared.cli.files import path_in
from shared.domain.charges import CostMetric
from shared.ports.focus import FocusFormat
from shared.services.focus import FocusWish

commands = command_group("Stored costs as FOCUS files, for other tools.")
STDOUT = Path("-")


@commands.command("export")
def export(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="The first day.")],
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="The last day; at most today.")],
    project: Annotated[
        list[str] | None, typer.Option(metavar="PROJECT", help="Only this project's; may be given several times.")
    ] = None,
    subscription: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this subscription's, or other sub-account's; likewise."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Whose --subscription it is, where two have that id.")
    ] = None,
    form: Annotated[
        FocusFormat | None,
        typer.Option("--format", case_sensitive=False, help="By default, by the file's ending; else csv."),
    ] = None,
    file: Annotated[
        Path,
        typer.Option("--output", metavar="FILE", parser=path_in, help="Where to; - is standard output, for CSV alone."),
    ] = STDOUT,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write stored costs as FOCUS 1.2, with the names of 1.4 beside: a row a sub-account, group, day, service, meter.

    The sums are those that are stored, to the last digit. What is not stored is empty, or, where FOCUS allows nothing
    empty, repeats what is known: docs/exports.md says which.
    """
    projects, subscriptions = project or [], subscription or []
    refuse_empty(**{"--from": first, "--to": last, "--provider": provider})
    if provider is not None and not subscriptions:
        raise WrongUsageError("--provider goes with --subscription")
    for name, texts in (("--project", projects), ("--subscription", subscriptions)):
        for text in texts:
            refuse_empty(**{name: text})
    form = form or (FocusFormat.PARQUET if file.suffix.lower() == ".parquet" else FocusFormat.CSV)
    if file == STDOUT and form is FocusFormat.PARQUET:
        raise WrongUsageError("Parquet is written to a file only: --output FILE")
    app = open_app()
    service = app.focus_service
    which = service.selected(FocusWish(first, last, projects, subscriptions, provider or ""))
    if app.settings.cost_metric is CostMetric.AMORTIZED:
        output.warn("COST_METRIC is AmortizedCost: every cost, BilledCost too, is the amortized one (x_CostMetric)")
    for sentence in missing_in(service.lacking(which)):
        output.warn(f"incomplete: {sentence}")
    if file == STDOUT:
        sys.stdout.flush()
        service.stream(which, sys.stdout.buffer)
        return
    with output.working("Writing …"):
        given = service.write(which, file, form, force)
    output.say(
        f"{output.count(given.rows, 'charge')} of {first} to {last} written to {file}: {output.exact(given.totals)}."
    )
