"""`reconcile`: whether what is stored is what the providers' APIs and exports say."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app, refuse_empty
from shared.cli.failures import FAILED
from shared.domain.coverage import month_in_words
from shared.domain.reconcile import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.domain.reconcile import Difference
    from shared.services.reconcile import Compared, ComparedRun, Reconciled


def reconcile(
    month: Annotated[str, typer.Option(metavar="MONTH", help="Which month, such as 2026-09.")],
    subscription: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this subscription, or other sub-account.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare what is stored of a month with its provider's API and with cost exports, to the last digit.

    Each difference that can be explained is: rounding, currency, amortized (the other metric), billing period, not
    read yet, newer run. Exit code 1 where one is left unexplained, or nothing was there to compare with.
    """
    refuse_empty(**{"--month": month, "--subscription": subscription})
    with output.working("Comparing …"):
        found = open_app().reconcile_service.reconcile(month, subscription or "")
    if json:
        output.write_json(_listed(found))
    else:
        _write(found)
    if found.not_compared or not found.is_explained:
        raise typer.Exit(FAILED)


# --- for people ----------------------------------------------------------------------------------------------


def _write(found: Reconciled) -> None:
    for each in found.accounts:
        output.say(f"{each.sub_account_id} ({each.provider})", "bold")
        output.write_facts(_facts(each))
        output.say()
    for run in found.runs:
        output.say(f"export {run.export}, run {run.run}", "bold")
        output.write_facts([("its sum", output.exact(run.exact)), ("stored", output.exact(run.stored)), *_of_run(run)])
        output.say()
    output.say(f"{month_in_words(found.days.start)}: {_in_all(found)}.", "yellow" if found.not_compared else "")


def _facts(each: Compared) -> Iterator[tuple[str, output.Cell | str]]:
    yield "stored", output.exact(each.stored)
    yield "API", f"not asked: {each.not_asked}" if each.api is None else output.exact(each.api)
    for name, totals in each.exports.items():
        yield f"export {name}", output.exact(totals)
    for name, differences in each.differences.items():
        for difference in differences:
            yield f"{name} less stored", _difference(difference)


def _of_run(run: ComparedRun) -> list[tuple[str, output.Cell]]:
    return [("difference", _difference(each)) for each in run.differences]


def _difference(difference: Difference) -> output.Cell:
    said = f"{output.exact(difference.amounts)}: {difference.cause} ({difference.why})"
    return output.Cell(said, "red" if difference.cause is Cause.UNEXPLAINED else "")


def _in_all(found: Reconciled) -> str:
    if found.not_compared:
        return f"nothing was compared: {found.not_compared}"
    causes = Counter(each.cause for each in found.differences)
    told = ", ".join(f"{causes[each]:,} {each}" for each in Cause if causes[each])
    many = "1 sub-account" if len(found.accounts) == 1 else f"{len(found.accounts):,} sub-accounts"
    if unasked := sum(each.api is None for each in found.accounts):
        many += f" (of {unasked:,} no API was asked)"
    return f"{many}, {f'differences: {told}' if told else 'no difference'}"


# --- for programs --------------------------------------------------------------------------------------------


def _listed(found: Reconciled) -> dict[str, Any]:
    return {
        "first_day": found.days.start,
        "last_day": found.days.last_day,
        "accounts": [
            output.chosen(each, "provider", "sub_account_id", "stored", "api", "exports")
            | {"not_asked": each.not_asked or None}
            | {"differences": {name: list(map(_said, found)) for name, found in each.differences.items()}}
            for each in found.accounts
        ],
        "runs": [
            output.chosen(each, "export", "run", "exact", "stored")
            | {"differences": list(map(_said, each.differences))}
            for each in found.runs
        ],
        "not_compared": found.not_compared or None,
        "unexplained": sum(each.cause is Cause.UNEXPLAINED for each in found.differences),
    }


def _said(difference: Difference) -> dict[str, Any]:
    return output.chosen(difference, "amounts", "cause", "why")
