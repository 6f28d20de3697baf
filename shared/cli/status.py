"""`status`: the page for a Monday morning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output, runs
from shared.cli.app import AsJson, open_app
from shared.cli.failures import FAILED, FailedError, WrongUsageError
from shared.domain.locks import Outcome
from shared.ports.runs import RunState
from shared.services.status import FULL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.composition import Composition
    from shared.ports.projects import ProjectView
    from shared.services.status import Status

# So many projects are named.
MOST_NAMED = 20


def status(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the last runs.")] = 5,
    fail_over: Annotated[
        int | None,
        typer.Option(min=1, metavar="PERCENT", help="Fail only if an active project has used so much of its budget."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only what needs a hand; nothing where all is well.")] = False,
    page: Annotated[bool, typer.Option("--page", help="With --json: all of the page, not only the runs.")] = False,
    json: AsJson = False,
) -> None:
    """Show how all stands: last night, what needs a hand, what is locked, what is nearly used up, the last runs.

    The exit code is 1 where something needs a hand; with --fail-over, where a project is that far, and only then.
    """
    if page and not json:
        raise WrongUsageError("--page goes with --json")
    app = open_app()
    found = app.status_service.status(limit)
    if json:
        views = [runs.as_json(view) for view in found.runs]
        output.write_json(_page(found) | {"runs": views} if page else views)
    elif quiet:
        _write_hands(found)
    else:
        _write(found)
    if fail_over is not None:
        _fail_over(app, fail_over)
    elif found.hands:
        raise typer.Exit(FAILED)


def _fail_over(app: Composition, percent: int) -> None:
    """Raises FailedError where a project is that far. What its figure lacks can only add, so that it is warned of."""
    active = [view for view in app.project_service.listed() if view.project.active and view.budget]
    unsure = [view for view in active if view.problem or view.gaps]
    over = [view for view in active if view.percent is not None and view.percent >= percent]
    if unsure:
        names = output.named([view.project.acronym for view in unsure])
        output.warn(f"not all costs are known of {names}; `python -m shared.cli projects list` shows what is missing")
    if over:
        named = output.named([f"{view.project.acronym} ({output.percent(view.percent)}{_by(view)})" for view in over])
        raise FailedError(f"{output.count(len(over), 'project')} at {percent:,} % or more: {named}")


# --- for people ----------------------------------------------------------------------------------------------


def _write(found: Status) -> None:
    if not found.runs:
        output.say("There was no run yet: `python -m shared.cli run` starts one.")
    in_all = output.in_all(found.totals) if found.totals.by_currency else ""
    usage = [("locked", _locked(found)), ("at 80 % or more", _high(found))]
    output.write_facts([("last night", _night(found)), *usage, ("used in all", in_all)])
    output.say()
    if found.hands:
        output.say("Needs a hand:", "bold")
    _write_hands(found)
    if not found.hands:
        output.say("Nothing needs a hand.", "green")
    runs.write_incomplete(found.incomplete)
    if found.decisions:
        counts = ", ".join(f"{found.decisions[each]:,} {each}" for each in Outcome if found.decisions.get(each))
        output.say()
        output.say(f"Decisions about locks in the last day: {counts} (`python -m shared.cli audit`)")
    if found.runs:
        output.say()
        output.write_records(runs.TABLE, found.runs)
        runs.write_errors(found.runs)


def _write_hands(found: Status) -> None:
    for sentence in found.hands:
        output.say(f"  {sentence}", "red")


def _night(found: Status) -> str:
    night = found.night
    if night is None:
        return "there was none yet" if found.runs else ""
    if night.state is RunState.RUNNING or night.finished_at is None:
        return f"{night.key}, running since {output.minute(night.started_at)} UTC"
    how = "complete" if night.is_complete else "not complete" if night.state is RunState.DONE else "failed in part"
    return f"{night.key}, {how}: done {output.minute(night.finished_at)} UTC, in {runs.took(night)}"


def _locked(found: Status) -> output.Cell:
    locked = [f"{view.project.acronym} since {view.locked_since:%Y-%m-%d}" for view in found.locked]
    return output.Cell(_named(locked) or "none", "yellow" if locked else "")


def _high(found: Status) -> output.Cell:
    high = [
        f"{view.project.acronym} {output.percent(view.percent)}{_with_allocated(view)}{_converted(view)}"
        for view in found.high
    ]
    is_full = any(view.percent is not None and view.percent >= FULL for view in found.high)
    return output.Cell(_named(high) or "none", "red" if is_full else "yellow" if high else "")


def _converted(view: ProjectView) -> str:
    return f" (converted by {view.converted})" if view.converted.sources else ""


def _by(view: ProjectView) -> str:
    return f", converted by {view.converted}" if view.converted.sources else ""


def _with_allocated(view: ProjectView) -> str:
    return f" (with {output.money(view.allocated, view.currency)} allocated)" if view.allocated else ""


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f", and {more:,} more" if more > 0 else "")


# --- for programs --------------------------------------------------------------------------------------------


def _page(found: Status) -> dict[str, Any]:
    return {
        "needs_hand": found.hands,
        "last_night": runs.as_json(found.night) if found.night else None,
        "missed_night": found.missed,
        "dead_letters": len(found.letters),
        "undelivered": [view.stored.id for view in found.mails],
        "locked": list(map(_project, found.locked)),
        "high": list(map(_project, found.high)),
        "missing": [{"what": str(gap), "projects": acronyms} for gap, acronyms in found.incomplete.gaps],
        "unread": [{"account": account, "project": acronym} for account, acronym in found.unread.items()],
        "totals": output.totals(found.totals),
        "decisions": dict(found.decisions),
    }


def _project(view: ProjectView) -> dict[str, Any]:
    figures = output.chosen(view, "percent", "allocated", "locked_since") | output.converted(view.converted)
    return output.chosen(view.project, "id", "acronym") | figures
