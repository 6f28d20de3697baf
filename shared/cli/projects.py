"""`projects`: loading and listing."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output, project_changes, project_facts
from shared.cli.app import AsJson, ProjectName, command_group, open_app, refuse_empty, user_name
from shared.cli.failures import WrongUsageError
from shared.cli.files import HERE, content_of, path_in
from shared.cli.output import Cell, Column
from shared.domain.currencies import Conversion, RateSource
from shared.ports.standings import Order
from shared.services.aws_check import ADD_AWS, unread_in_words
from shared.services.projects import ListWish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.ports.projects import ProjectView
    from shared.services.projects import LoadedFile
    from shared.services.totals import Totals

commands = command_group("Projects: load them, list them.")

HIGH, FULL = Decimal(80), Decimal(100)
# A night reads all costs: whoever was not read for longer than this was left out.
FRESH = timedelta(hours=36)


@commands.command()
def load(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            parser=path_in,
            help="CSV in UTF-8, or - for the standard input; the README says which columns.",
        ),
    ],
    correction: Annotated[
        bool, typer.Option("--correction", help="Groups that change hands take what they have cost with them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change, project by project.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Load it though a change needs consent.")] = False,
    json: AsJson = False,
) -> None:
    """Load projects from CSV, all or none; a SQLite database that is missing is made.

    Where a line is faulty, every fault is named, and nothing is loaded. Nor is it without --yes where a budget that was
    set by hand would be undone, a project would be at 100 % or more, or a fixed period would end a day later.
    """
    content, name = content_of(file), "the standard input" if file == HERE else file.name
    app = open_app()
    with output.working(f"Loading {name} …"):
        if not dry_run and app.make_missing_database() and not json:
            output.say(f"Made the database {app.database.url.database}.")
        loaded = app.project_service.load(content, user_name(), correction=correction, agreed=yes, dry_run=dry_run)
    if json:
        output.write_json(_loaded(loaded))
    else:
        _say_loaded(name, loaded, dry_run)
    asked = sum(change.needs_consent for change in loaded.changes)
    needs = f"what is said of {output.count(asked, 'project')}"
    if dry_run and asked and not yes:
        output.warn(f"it would not be loaded without --yes, for {needs}")
    elif not loaded.loaded and not dry_run:
        raise WrongUsageError(f"nothing was loaded, for {needs}; where all of it is meant, add --yes")


def _say_loaded(file: str, loaded: LoadedFile, dry_run: bool) -> None:
    """What was loaded; what would be, project by project; or, where that needs consent, what does."""
    for change in loaded.changes:
        if dry_run or (change.needs_consent and not loaded.loaded):
            output.say(project_changes.in_words(change), "yellow" if change.needs_consent else "")
    if loaded.loaded or dry_run:
        _say_result(file, loaded, dry_run)


def _say_result(file: str, loaded: LoadedFile, dry_run: bool) -> None:
    result = loaded.result
    would, change = ("would be ", "would change") if dry_run else ("", "changed")
    output.say(f"{file}: {would}{result.added:,} added, {result.changed:,} changed, {result.unchanged:,} unchanged.")
    if loaded.left_out:
        number = output.count(len(loaded.left_out), "project")
        are = "it is" if len(loaded.left_out) == 1 else "they are"
        output.say(f"Not in the file, and left as {are}: {number} ({output.named(loaded.left_out)}).")
    if result.handed_over:
        output.say(
            f"{output.count(result.handed_over, 'group')} {change} hands: what was spent up to today stays with the "
            "former owner. If that was never the right one, load the former file once more, then this one with "
            "--correction."
        )
    if loaded.guessed:
        output.warn(
            f"the file is not in UTF-8: it was read as windows-1252; see that this is right: {loaded.guessed[0]}"
        )
    if loaded.never_read:
        output.warn(
            f"no costs of these providers were read yet: {output.named(loaded.never_read)}; they come by exports "
            "(docs/exports.md), under the name that the files have"
        )
    if loaded.unread:
        output.warn(f"{unread_in_words(loaded.unread)}; {ADD_AWS}")
    if loaded.without_budget:
        output.warn(f"no budget, so no alerts: {output.named(loaded.without_budget)}")
    if loaded.without_contacts:
        output.warn(f"no contacts, so the operators get the alerts: {output.named(loaded.without_contacts)}")


@commands.command()
def export(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", parser=path_in, help="Where to write it; left out, or -: here.")
    ] = None,
) -> None:
    """Write all projects as the CSV that loads them again."""
    text = open_app().project_service.exported()
    if file is None or file == HERE:
        output.write_text(text)
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise WrongUsageError(f"{file} can't be written: {error.strerror}") from None
    output.say(f"Wrote {file}.")


@commands.command()
def forget(project: ProjectName, json: AsJson = False) -> None:
    """Forget who the people of a project that is over were: contacts, owner, its mails.

    Costs, budgets, alerts and decisions about its lock stay. A file that still names contacts brings them back.
    """
    forgotten = open_app().project_service.forget(project)
    if json:
        output.write_json(asdict(forgotten))
    else:
        counts = {"contact": forgotten.contacts, "mail": forgotten.mails, "dead letter": forgotten.letters}
        output.say(f"Forgotten: {', '.join(output.count(number, name) for name, number in counts.items())}.")


@commands.command("list")
def list_projects(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    over: Annotated[
        int | None, typer.Option(min=0, metavar="PERCENT", help="Only active ones that have used so much.")
    ] = None,
    subscription: Annotated[
        str | None, typer.Option(metavar="ID", help="Only those with this subscription or account.")
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Only those of which costs are missing.")] = False,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only those with this in their acronym or name, in any case.")
    ] = None,
    order: Annotated[Order, typer.Option("--sort", case_sensitive=False, help="What comes first.")] = Order.ID,
    most: Annotated[int | None, typer.Option("--limit", min=1, help="No more than so many.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.", metavar="TEXT")] = None,
    department: Annotated[str | None, typer.Option(help="Only of this department.", metavar="TEXT")] = None,
    cost_centre: Annotated[str | None, typer.Option(help="Only of this cost centre.", metavar="TEXT")] = None,
    json: AsJson = False,
) -> None:
    """List projects: budget, spent, what is to be expected.

    Amounts are those of the present period, rounded to cents (forecasts to whole units), but not with --json.
    Days are in UTC.
    """
    texts = {"--subscription": subscription, "--search": search}
    texts |= {"--owner": owner, "--department": department, "--cost-centre": cost_centre}
    refuse_empty(**texts)
    app = open_app()
    wish = ListWish(
        over, subscription or "", stale, search or "", owner or "", department or "", cost_centre or "", order, most
    )
    views = app.project_service.listed(wish)
    if json:
        output.write_json([_listed(view) for view in views])
    elif not views and wish == ListWish(order=order, most=most):
        output.say("No project is loaded yet: `python -m shared.cli projects load FILE.csv`")
    elif not views:
        output.say("There is no such project.")
    else:
        output.write_records(_table(app.clock()), views)
        output.say()
        output.say(_summary(views, app.total_service.of(views)))


@commands.command()
def show(project: ProjectName, json: AsJson = False) -> None:
    """Show one, with its budget's periods and revisions."""
    app = open_app()
    details = app.project_service.get(project)
    if json:
        output.write_json(_listed(details.view) | project_facts.as_json(details))
    else:
        project_facts.write(details, app.settings.thresholds, app.settings.lock_mode)


# --- for people ----------------------------------------------------------------------------------------------


def _table(now: datetime) -> output.Table[ProjectView]:
    return {
        Column("id", right=True, spare=7): lambda view: str(view.project.id),
        Column("acronym", words=True): attrgetter("project.acronym"),
        Column("name", words=True, spare=3): attrgetter("project.name"),
        Column("budget", right=True, spare=2): _budget,
        Column("spent", right=True, spare=1): lambda view: output.amount(view.spent),
        Column("allocated", right=True, spare=1): lambda view: output.amount(view.allocated) if view.allocated else "",
        Column("used", right=True): _used,
        Column("forecast", right=True, spare=5): lambda view: f"{view.forecast.total:,.0f}" if view.forecast else "",
        Column("used up", spare=4): lambda view: str(view.used_up_on or ""),
        Column("ends", spare=6): lambda view: str(view.period.last_day) if view.period else "",
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
    notes = [f"locked since {view.locked_since:%Y-%m-%d}{_only_azure(view)}"] if view.locked_since else []
    if not view.project.active:
        notes.append("not active")
    elif view.budget and not view.period:
        notes.append("outside its period")
    else:
        notes += [note for note in (view.problem, _reading(view, now)) if note]
    return Cell("; ".join(notes), "bold red" if view.locked_since else "yellow")


def _only_azure(view: ProjectView) -> str:
    return "" if all(each.can_be_locked for each in view.scopes) else ", in Azure alone"


def _reading(view: ProjectView, now: datetime) -> str:
    if view.updated_at is None and not view.spent and all(gap.state is None for gap in view.gaps):
        return "not read yet"
    if view.gaps:
        more = f", and {len(view.gaps) - 1} more" if len(view.gaps) > 1 else ""
        return f"{view.gaps[0].briefly}{more}"
    return "" if view.updated_at is None or now - view.updated_at < FRESH else f"last read {view.updated_at:%Y-%m-%d}"


def _summary(views: Sequence[ProjectView], totals: Totals) -> str:
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
        f"{_converted(views)}"
        f"{f' Used in all: {output.in_all(totals)}.' if totals.by_currency else ''}"
    )


def _converted(views: Sequence[ProjectView]) -> str:
    found = [view for view in views if view.converted.sources]
    if not found:
        return ""
    days = [view.converted.last_rate_day for view in found if view.converted.last_rate_day]
    sources = frozenset[RateSource]().union(*(view.converted.sources for view in found))
    by = Conversion(sources=sources, last_rate_day=max(days, default=None))
    return f" With charges in other currencies, by {by}: {output.named([view.project.acronym for view in found])}."


# --- for programs --------------------------------------------------------------------------------------------


def _loaded(loaded: LoadedFile) -> dict[str, Any]:
    lists = ("left_out", "without_budget", "without_contacts", "guessed", "never_read")
    return {
        "loaded": loaded.loaded,
        **output.chosen(loaded.result, "added", "changed", "unchanged", "handed_over"),
        "changes": [project_changes.as_json(change) for change in loaded.changes],
        **output.chosen(loaded, *lists),
        "unread": [{"account": account, "project": acronym} for account, acronym in loaded.unread.items()],
    }


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
        **output.chosen(view, "spent", "allocated", "percent"),
        **output.converted(view.converted),
        "opening_balance": view.opening,
        "forecast": output.chosen(view.forecast, "total", "low", "high") if view.forecast else None,
        "used_up_on": view.used_up_on,
        "period_start": period.start if period else None,
        "period_end": period.last_day if period else None,
        **output.chosen(view.project, "owner", "department", "cost_centre", "lock", "active"),
        **output.chosen(view, "locked_since", "updated_at"),
    }
