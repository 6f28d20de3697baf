"""`changes`: what people changed, and who."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app, refuse_empty
from shared.cli.output import Column

if TYPE_CHECKING:
    from shared.ports.changes import ChangeView


def changes(
    project: Annotated[
        str | None, typer.Argument(help="Only this project's: its acronym, in any case, or its id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many of the last changes.")] = 50,
    json: AsJson = False,
) -> None:
    """Show what people changed: budgets, projects, locks, cloud accounts, dead letters, mails, rates, syncs.

    When, what, who, how they came in, and why. Newest last.
    """
    refuse_empty(PROJECT=project)
    views = open_app().change_service.listed(project or "", limit)
    if json:
        output.write_json([_listed(view) for view in views])
    elif not views:
        output.say(f"Nothing was changed{f' of {project}' if project else ''} yet.")
    else:
        output.write_records(TABLE, views)


TABLE: output.Table[ChangeView] = {
    Column("when, UTC"): lambda view: output.minute(view.at),
    Column("what"): lambda view: view.action.replace("-", " "),
    Column("of", words=True): attrgetter("subject"),
    Column("by", words=True): attrgetter("by"),
    Column("came in by", spare=1): lambda view: view.via.replace("-", " "),
    Column("reason", words=True): attrgetter("reason"),
}


def _listed(view: ChangeView) -> dict[str, Any]:
    return output.chosen(view, "id", "at", "action", "subject", "project_id", "by", "by_id", "via", "reason", "details")
