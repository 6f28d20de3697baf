"""`projects`: loading and listing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output, project_facts
from shared.cli.app import AsJson, ProjectName, command_group, open_app, user_name
from shared.cli.failures import WrongUsageError
from shared.cli.output import Cell, Column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.ports.projects import ProjectView

commands = command_group("Projects: load them, list them.")

HIGH, FULL = Decimal(80), Decimal(100)
# A night reads all costs: whoever was not read for longer than this was left out.
FRESH = timedelta(hours=36)


@commands.command()
def load(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; the README says which columns.")],
    correction: Annotated[
        bool, typer.Option("--correction", help="Groups that change hands take what they have cost with them.")
    ] = False,
) -> None:
    """Load projects from CSV, all or none; a SQLite database that is missing is made.

    Where a line is faulty, every fault is named, and nothing is loaded.
    """
    content = _content(file)
    app = open_app()
    with output.working(f"Loading {file.name} …"):
        if app.make_missing_database():
            output.say(f"Made the database {app.database.url.database}.")
        loaded = app.project_service.load(content, user_name(), correction)
    result = loaded.result
    output.say(f"{file.name}: {result.added:,} added, {result.changed:,} changed, {result.unchanged:,} unchanged.")
    if result.handed_over:
        output.say(
            f"{output.count(result.handed_over, 'group')} changed hands: what was spent up to today stays with the "
            "former owner. If that was never the right one, load the former file once more, then this one with "
            "--correction."
        )
    if loaded.without_budget:
        output.warn(f"no budget, so no alerts: {output.named(loaded.without_budget)}")
    if loaded.without_contacts:
        output.warn(f"no contacts, so the operators get the alerts: {output.named(loaded.without_contacts)}")


@commands.command("list")
def list_projects(json: AsJson = False) -> None:
    """List all: budget, spent, what is to be expected.

    Amounts are those of the present period, rounded to cents (forecasts to whole units), but not with --json.
    Days are in UTC.
    """
    app = open_app()
    views = app.project_service.listed()
    if json:
        output.write_json([_listed(view) for view in views])
    elif not views:
        output.say("No project is loaded yet: `python -m shared.cli projects load FILE.csv`")
    else:
        output.write_records(_table(app.clock()), views)
        output.say()
        output.say(_summary(views))


@commands.command()
def show(project: ProjectName, json: AsJson = False) -> None:
    """Show one, with its budget's periods and revisions."""
    app = open_app()
    details = app.project_service.get(project)
    if json:
        output.write_json(_listed(details.view) | project_facts.as_json(details))
    else:
        project_facts.write(details, app.settings.thresholds, app.settings.lock_mode)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WrongUsageError(f"{file} can't be read: {error.strerror}") from None


# --- for people ----------------------------------------------------------------------------------------------


def _table(now: datetime) -> output.Table[ProjectView]:
    return {
        Column("id", right=True): lambda view: str(view.project.id),
        Column("acronym"): attrgetter("project.acronym"),
        Column("name", words=True): attrgetter("project.name"),
        Column("budget", right=True): _budget,
        Column("spent", right=True): lambda view: output.amount(view.spent),
        Column("used", right=True): _used,
        Column("forecast", right=True): lambda view: f"{view.forecast.total:,.0f}" if view.forecast else "",
        Column("used up"): lambda view: str(view.used_up_on or ""),
        Column("ends"): lambda view: str(view.period.end) if view.period else "",
        Column("note", words=True): lambda view: _note(view, now),
    }


def _budget(view: ProjectView) -> str:
    amount = view.amount
    return "none" if amount is None else f"{output.short(amount)} {view.currency}"


def _used(view: ProjectView) -> Cell:
    percent = view.percent
    style = "" if percent is None or percent < HIGH else "bold red" if percent >= FULL else "yellow"
    return Cell(output.percent(percent), style)


def _note(view: ProjectView, now: datetime) -> Cell:
    notes = [f"locked since {view.locked_since:%Y-%m-%d}"] if view.locked_since else []
    if not view.project.active:
        notes.append("not active")
    elif view.budget and not view.period:
        notes.append("outside its period")
    else:
        notes += [note for note in (view.problem, _reading(view, now)) if note]
    return Cell("; ".join(notes), "bold red" if view.locked_since else "yellow")


def _reading(view: ProjectView, now: datetime) -> str:
    if view.updated_at is None and not view.spent and all(gap.state is None for gap in view.gaps):
        return "not read yet"
    if view.gaps:
        more = f", and {len(view.gaps) - 1} more" if len(view.gaps) > 1 else ""
        return f"incomplete: {view.gaps[0]}{more}"
    return "" if view.updated_at is None or now - view.updated_at < FRESH else f"last read {view.updated_at:%Y-%m-%d}"


def _summary(views: Sequence[ProjectView]) -> str:
    percents = [percent for view in views if (percent := view.percent) is not None]
    full = sum(percent >= FULL for percent in percents)
    high = sum(percent >= HIGH for percent in percents)
    active = sum(view.project.active for view in views)
    locked = sum(view.locked_since is not None for view in views)
    incomplete = sum(bool(view.gaps) for view in views)
    read = max((view.updated_at for view in views if view.updated_at), default=None)
    return (
        f"{output.count(len(views), 'project')}, {active:,} active; {high:,} at 80 % or more"
        f"{f', {full:,} of them at 100 % or more' if full else ''}"
        f"{f', {locked:,} locked' if locked else ''}{f', {incomplete:,} incomplete' if incomplete else ''}."
        f"{f' Costs were last read on {read:%Y-%m-%d at %H:%M} UTC.' if read else ''}"
    )


# --- for programs --------------------------------------------------------------------------------------------


def _listed(view: ProjectView) -> dict[str, Any]:
    budget, period = view.budget, view.period
    return {
        **output.chosen(view.project, "id", "acronym", "name"),
        "budget": budget.terms.amount if budget else None,
        "carried": budget.carried if budget else None,
        "stopped": budget.stopped if budget else False,
        "missing": [str(gap) for gap in view.gaps],
        **output.chosen(view, "amount", "currency"),
        "rollover": view.terms.rollover,
        **output.chosen(view, "spent", "percent"),
        "opening_balance": view.opening,
        "forecast": output.chosen(view.forecast, "total", "low", "high") if view.forecast else None,
        "used_up_on": view.used_up_on,
        "period_start": period.start if period else None,
        "period_end": period.end if period else None,
        **output.chosen(view.project, "lock", "active"),
        **output.chosen(view, "locked_since", "updated_at"),
    }
