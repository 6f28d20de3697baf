"""`budgets sync`: Azure's own budgets, kept in step with the projects'."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app
from shared.cli.failures import FailedError, later

if TYPE_CHECKING:
    from shared.pipeline.azure_budgets.sync import BudgetSync, SyncResult

# A function is killed after some minutes, and breaks off before; a person can wait.
WITHOUT_END = timedelta(days=1)
DONE = {"create": "created", "change": "changed", "replace": "deleted and made anew", "delete": "deleted"}


def sync(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be changed.")] = False,
    json: AsJson = False,
) -> None:
    """Make, change and delete Azure's budgets where they differ.

    Only those that this app has made; the night does the same.
    """
    from shared.pipeline.azure_budgets.sync import NO_ACTION_GROUP

    app = open_app()
    if app.settings.lock_action_group_id is None:
        raise FailedError(NO_ACTION_GROUP)
    subscriptions = app.budget_sync.subscriptions()
    if json:
        found = [_compared(app.budget_sync, each, dry_run) for each in output.tracked(subscriptions, "Comparing")]
        output.write_json([_listed(each) | {"dry_run": dry_run} for each in found])
        _refuse([each for each in found if not each.is_good])
        return
    if not subscriptions:
        output.say("No project is loaded yet: `python -m shared.cli projects load FILE.csv`")
        return
    if dry_run:
        output.say("Dry run: nothing of this is done.")
    bad = []
    for each in output.tracked(subscriptions, "Comparing"):
        output.say(f"{each}:", "bold")
        compared = _compared(app.budget_sync, each, dry_run)
        _write(compared)
        bad += [] if compared.is_good else [compared]
    _refuse(bad)


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of a subscription's budgets. error: why nothing could be compared, a sentence without its end."""

    subscription: str
    result: SyncResult | None = None
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether all are in step now."""
        return self.result is not None and not self.result.failed


def _compared(budgets: BudgetSync, subscription: str, dry_run: bool) -> Compared:
    """Brings one subscription's budgets in step."""
    from shared.ports.errors import LaterError, NeverError

    try:
        return Compared(subscription, budgets.sync(subscription, dry_run, longest=WITHOUT_END))
    except LaterError as error:
        return Compared(subscription, error=later(error))
    except NeverError as error:
        return Compared(subscription, error=error.reason)


def _write(compared: Compared) -> None:
    if compared.result is None:
        output.say(f"  failed: {compared.error}", "red")
    for line in report(compared.result) if compared.result else ():
        output.say(f"  {line}")


def _listed(compared: Compared) -> dict[str, Any]:
    result = compared.result
    changes = [output.chosen(each, "acronym", "what", "sentence") for each in result.changes] if result else []
    why = {"unmapped": result.unmapped, "failed": result.failed} if result else {"unmapped": (), "failed": ()}
    reasons = {name: [{"acronym": acronym, "reason": reason} for acronym, reason in each] for name, each in why.items()}
    return {"subscription_id": compared.subscription, "error": compared.error or None, "changes": changes} | reasons


def _refuse(bad: list[Compared]) -> None:
    if bad:
        raise FailedError(f"not all of Azure's budgets are in step: see {', '.join(each.subscription for each in bad)}")


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
