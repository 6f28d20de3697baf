"""`audit`: what was decided about locks."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app, refuse_empty
from shared.cli.output import Cell, Column
from shared.domain.locks import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.ports.locks import AuditEntry, AuditView

STYLES = {Outcome.LOCKED: "red", Outcome.FAILED: "bold red", Outcome.UNLOCKED: "green"}


def audit(
    project: Annotated[
        str | None, typer.Argument(help="Only this project's: its acronym, in any case, or its id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many of the last decisions.")] = 50,
    json: AsJson = False,
) -> None:
    """Show what was decided about locks.

    When, on which project, what and why, asked for by whom, on which figures. Newest last.
    """
    refuse_empty(PROJECT=project)
    views = open_app().lock_service.decisions(project, limit)
    if json:
        output.write_json([_listed(view) for view in views])
    elif not views:
        output.say(f"Nothing was decided about locks{f' of {project}' if project else ''} yet.")
    else:
        output.write_records(TABLE, views)


# --- for people ----------------------------------------------------------------------------------------------

TABLE: output.Table[AuditView] = {
    Column("when, UTC"): lambda view: output.minute(view.at),
    Column("project"): attrgetter("acronym"),
    Column("decision"): lambda view: Cell(view.entry.outcome, STYLES.get(view.entry.outcome, "")),
    Column("asked by", words=True, spare=1): lambda view: _asked_by(view.entry),
    Column("why", words=True): lambda view: _why(view.entry),
    Column("figures", words=True, spare=3): lambda view: "; ".join(_figures(view.entry.figures)),
    Column("groups", words=True, spare=2): lambda view: "; ".join(_acted_on(view.entry.details)),
}


def _asked_by(entry: AuditEntry) -> str:
    return f"{entry.trigger} ({entry.by})" if entry.by else entry.trigger


def _why(entry: AuditEntry) -> str:
    return f"{entry.reason}; asked: {entry.asked}" if entry.asked not in ("", entry.reason) else entry.reason


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    """Such as `1,050 of 1,000 CAD` and `Azure 1,042`; nothing for what was not known."""
    usage, amount = _amount(figures.get("usage")), _amount(figures.get("amount"))
    currency = figures.get("currency")
    behind = f" {currency}" if currency else ""
    by = f", converted by {figures['converted']}" if figures.get("converted") else ""
    if usage and amount:
        yield f"{usage} of {amount}{behind}{by}"
    elif usage or amount:
        yield f"{usage}{behind} used{by}" if usage else f"budget {amount}{behind}"
    azure = _amount(figures.get("azure_spend"))
    if azure:
        yield f"Azure {azure}"


def _amount(text: Any) -> str:
    """An amount for people; a text that is none (rows are never changed, so they may be old) as it is."""
    if text is None:
        return ""
    try:
        return output.short(Decimal(str(text)))
    except InvalidOperation:
        return str(text)


def _acted_on(details: Mapping[str, Any]) -> Iterator[str]:
    """Such as `rg-a: locked`, `rg-a/vm-1: stopped`, and `rg-b: Azure says no (403)` for what failed."""
    for _, group, what in details.get("groups") or ():
        yield f"{group}: {what}"
    for group, machine, what in details.get("machines") or ():
        yield f"{group}/{machine}: {what}"
    for what, why in details.get("failed") or ():
        yield f"{what}: {why}"


# --- for programs --------------------------------------------------------------------------------------------


def _listed(view: AuditView) -> dict[str, Any]:
    entry = view.entry
    decided = output.chosen(entry, "project_id", "action", "outcome", "reason", "trigger", "by")
    asked = {"asked": entry.asked or None, "figures": entry.figures, "details": entry.details, "run": entry.run_key}
    return output.chosen(view, "id", "at", "acronym") | decided | asked
