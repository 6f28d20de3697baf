"""`budgets`: Azure's own budgets, kept in step with the projects'."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli import output
from shared.cli.app import command_group, open_app
from shared.cli.failures import FailedError

if TYPE_CHECKING:
    from shared.pipeline.azure_budgets.sync import BudgetSync, SyncResult

commands = command_group("Azure's own budgets, kept in step with the projects'.")

# A function is killed after some minutes, and breaks off before; a person can wait.
WITHOUT_END = timedelta(days=1)
DONE = {"create": "created", "change": "changed", "replace": "deleted and made anew", "delete": "deleted"}


@commands.command()
def sync(dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be changed.")] = False) -> None:
    """Make, change and delete Azure's budgets where they differ.

    Only those that this app has made; the night does the same.
    """
    from shared.pipeline.azure_budgets.sync import NO_ACTION_GROUP

    app = open_app()
    if app.settings.lock_action_group_id is None:
        raise FailedError(NO_ACTION_GROUP)
    subscriptions = app.budget_sync.subscriptions()
    if not subscriptions:
        output.say("No project is loaded yet: `python -m shared.cli projects load FILE.csv`")
        return
    if dry_run:
        output.say("Dry run: nothing of this is done.")
    bad = [
        each for each in output.tracked(subscriptions, "Comparing") if not _is_synced(app.budget_sync, each, dry_run)
    ]
    if bad:
        raise FailedError(f"not all of Azure's budgets are in step: see {', '.join(bad)}")


def _is_synced(budgets: BudgetSync, subscription: str, dry_run: bool) -> bool:
    """Brings one subscription's budgets in step, and says how; False where something failed."""
    from shared.ports.errors import LaterError, NeverError

    output.say(f"{subscription}:", "bold")
    try:
        result = budgets.sync(subscription, dry_run, longest=WITHOUT_END)
    except LaterError as error:
        output.say(f"  failed: {error.reason.rstrip('.')}; try again {_after(error.wait)}", "red")
        return False
    except NeverError as error:
        output.say(f"  failed: {error.reason}", "red")
        return False
    for line in report(result):
        output.say(f"  {line}")
    return not result.failed


def report(result: SyncResult) -> list[str]:
    """A line on each budget, and one for the sum."""
    counts = [
        *((sum(change.what == what for change in result.changes), done) for what, done in DONE.items()),
        (len(result.unmapped), "without a budget in Azure"),
        (len(result.failed), "failed"),
    ]
    return [
        *(f"{change.what}: {change.sentence}" for change in result.changes),
        *(f"no budget in Azure: {acronym}: {reason}" for acronym, reason in result.unmapped),
        *(f"failed: {acronym}: {reason}" for acronym, reason in result.failed),
        ", ".join(f"{count} {text}" for count, text in counts if count) or "Azure's budgets are in step.",
    ]


def _after(wait: timedelta | None) -> str:
    if not wait:
        return "in a while"
    minutes, seconds = divmod(round(wait.total_seconds()), 60)
    return f"in {minutes} min {seconds} s" if minutes else f"in {seconds} s"
