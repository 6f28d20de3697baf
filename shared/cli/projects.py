"""`projects`: loading and listing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app, project_id, user_name
from shared.cli.failures import WrongUsageError
from shared.cli.output import Cell, Column
from shared.domain.money import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.domain.projects import ProjectEntry
    from shared.ports import ProjectView, RevisionView

commands = typer.Typer(help="Projects: load them, list them.", no_args_is_help=True)

MOST_NAMED = 10
HIGH, FULL = Decimal(80), Decimal(100)


@commands.callback()
def group() -> None:
    """Projects: load them, list them."""


@commands.command()
def load(file: Annotated[Path, typer.Argument(help="CSV in UTF-8; the README says which columns.")]) -> None:
    """Load projects from CSV, all or none.

    Where a line is faulty, every fault is named, and nothing is loaded.
    """
    from shared.adapters.mail.addresses import valid_addresses
    from shared.pipeline.project_file import read_projects

    content = _content(file)
    app = open_app()
    now = app.clock()
    with output.working(f"Reading {file.name} …"):
        entries = read_projects(content, valid_addresses, app.projects.list_projects(now.date()))
    with output.working(f"Loading {len(entries):,} projects …"):
        result = app.projects.load(entries, user_name(), now)
    output.say(f"{file.name}: {result.added:,} added, {result.changed:,} changed, {result.unchanged:,} unchanged.")
    _warn_of_unwatched(entries)


@commands.command("list")
def list_projects(json: AsJson = False) -> None:
    """List all: budget, spent, last reading.

    Times are in UTC; amounts are rounded to cents, but not with --json.
    """
    app = open_app()
    views = app.projects.list_projects(app.clock().date())
    if json:
        output.write_json([_listed(view) for view in views])
    elif not views:
        output.say("No project is loaded yet: `python -m shared.cli projects load FILE.csv`")
    else:
        output.write_table(COLUMNS, [_row(view) for view in views])
        output.say()
        output.say(_summary(views))


@commands.command()
def show(
    project: Annotated[str, typer.Argument(help="The project's acronym, in any case, or its id.")],
    json: AsJson = False,
) -> None:
    """Show one, with its budget's revisions."""
    app = open_app()
    found = project_id(app, project)
    view = next(view for view in app.projects.list_projects(app.clock().date()) if view.id == found)
    revisions = app.projects.revisions(found)
    if json:
        output.write_json(_shown(view, revisions))
        return
    output.write_facts(_facts(view))
    output.say()
    output.write_table(REVISION_COLUMNS, [_revision_row(revision) for revision in revisions])


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WrongUsageError(f"{file} can't be read: {error.strerror}") from None


def _warn_of_unwatched(entries: Sequence[ProjectEntry]) -> None:
    active = [entry for entry in entries if entry.active]
    without_budget = [entry.acronym for entry in active if not entry.terms.amount]
    without_contacts = [entry.acronym for entry in active if not entry.contacts]
    if without_budget:
        output.warn(f"no budget, so no alerts: {_named(without_budget)}")
    if without_contacts:
        output.warn(f"no contacts, so the operators get the alerts: {_named(without_contacts)}")


def _named(acronyms: Sequence[str]) -> str:
    rest = len(acronyms) - MOST_NAMED
    return ", ".join(acronyms[:MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


# --- for people ----------------------------------------------------------------------------------------------

COLUMNS = (
    Column("id", right=True),
    Column("acronym"),
    Column("name", words=True),
    Column("budget", right=True),
    Column("spent", right=True),
    Column("used", right=True),
    Column("ends"),
    Column("read, UTC"),
    Column("note", words=True),
)
REVISION_COLUMNS = (
    Column("revision", right=True),
    Column("budget", right=True),
    Column("period"),
    Column("made, UTC"),
    Column("by"),
    Column("reason", words=True),
)


def _row(view: ProjectView) -> list[Cell | str]:
    return [
        str(view.id),
        view.acronym,
        view.name,
        _budget(view),
        output.amount(view.spent),
        _used(view),
        str(view.period.end) if view.period else "",
        output.minute(view.updated_at) or "not yet",
        Cell(_note(view), "yellow"),
    ]


def _budget(view: ProjectView) -> str:
    return output.budget(view.budget.terms if view.budget else None)


def _percent(view: ProjectView) -> Decimal | None:
    return view.budget.percent(view.spent) if view.budget else None


def _used(view: ProjectView) -> Cell:
    percent = _percent(view)
    style = "" if percent is None or percent < HIGH else "bold red" if percent >= FULL else "yellow"
    return Cell(output.percent(percent), style)


def _note(view: ProjectView) -> str:
    if not view.active:
        return "not active"
    if view.budget and not view.period:
        return "outside its period"
    return view.problem or ""


def _summary(views: Sequence[ProjectView]) -> str:
    percents = [percent for view in views if (percent := _percent(view)) is not None]
    full = sum(percent >= FULL for percent in percents)
    high = sum(HIGH <= percent < FULL for percent in percents)
    active = sum(view.active for view in views)
    return f"{len(views):,} projects, {active:,} active; {high:,} at 80 % or more, {full:,} at 100 % or more."


def _facts(view: ProjectView) -> Iterable[tuple[str, Cell | str]]:
    return [
        ("project", f"{view.acronym} (id {view.id})"),
        ("name", view.name),
        ("active", "yes" if view.active else "no"),
        ("groups", "\n".join(f"{group}  (subscription {subscription})" for subscription, group in view.scopes)),
        ("contacts", "\n".join(view.contacts) or "none; the operators get its mails"),
        ("language", {"en": "English", "fr": "French"}.get(view.language or "", "English and French")),
        ("budget", _budget(view)),
        ("period", f"{view.period.start} up to, and not with, {view.period.end}" if view.period else "none today"),
        ("spent", output.amount(view.spent)),
        ("used", _used(view)),
        ("mailed", ", ".join(f"{threshold} %" for threshold in view.alerts) or "no alert in this period"),
        ("costs read", f"{output.minute(view.updated_at)} UTC" if view.updated_at else "not yet"),
        ("problem", Cell(view.problem or "", "yellow")),
    ]


def _revision_row(revision: RevisionView) -> list[Cell | str]:
    rule = revision.terms.rule
    until = f" to {rule.end}" if rule.end else ""
    return [
        str(revision.number),
        output.budget(revision.terms),
        f"{rule.kind} from {rule.start if rule.end else f'{rule.start:%m-%d}'}{until}",
        output.minute(revision.made_at),
        revision.made_by,
        revision.reason,
    ]


# --- for programs --------------------------------------------------------------------------------------------


def _listed(view: ProjectView) -> dict[str, Any]:
    percent = _percent(view)
    return {
        "id": view.id,
        "acronym": view.acronym,
        "name": view.name,
        "budget": _plain(view.budget.terms.amount if view.budget else None),
        "currency": view.currency,
        "spent": plain(view.spent),
        "percent": _plain(percent),
        "period_start": view.period.start.isoformat() if view.period else None,
        "period_end": view.period.end.isoformat() if view.period else None,
        "updated_at": output.iso(view.updated_at),
        "active": view.active,
    }


def _shown(view: ProjectView, revisions: Sequence[RevisionView]) -> dict[str, Any]:
    return _listed(view) | {
        "language": view.language,
        "contacts": list(view.contacts),
        "resource_groups": [{"subscription_id": account, "name": group} for account, group in view.scopes],
        "alerts": list(view.alerts),
        "problem": view.problem,
        "revisions": [_revision(revision) for revision in revisions],
    }


def _revision(revision: RevisionView) -> dict[str, Any]:
    rule = revision.terms.rule
    return {
        "number": revision.number,
        "budget": _plain(revision.terms.amount),
        "currency": revision.terms.currency or None,
        "period": rule.kind.value,
        "period_start": rule.start.isoformat(),
        "period_end": rule.end.isoformat() if rule.end else None,
        "made_at": output.iso(revision.made_at),
        "made_by": revision.made_by,
        "reason": revision.reason,
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
