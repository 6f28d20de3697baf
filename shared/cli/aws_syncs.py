"""`cloud-accounts sync`: AWS accounts, read now."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output, runs
from shared.cli.app import AsJson, open_app, refuse_empty
from shared.cli.cloud_accounts import name_of
from shared.cli.failures import FailedError
from shared.messages import LARGEST_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.ports.runs import RunView
    from shared.services.aws_syncs import Planned, Synced

MILLISECOND = timedelta(milliseconds=1)


def sync(
    account: Annotated[
        int | None, typer.Argument(min=1, max=LARGEST_ID, metavar="[ID]", help="Its id in the list; all, without.")
    ] = None,
    organization: Annotated[
        str | None, typer.Option(help="Those that you have grouped under this name.", metavar="NAME")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="Read all from this day on again, such as 2026-11-01.", metavar="DATE")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Up to this day; today, without.", metavar="DATE")] = None,
    json: AsJson = False,
) -> None:
    """Read AWS accounts now, as the night does, and wait. Exit code 1 where not all of one could be read.

    Says before what that costs at least. Paid calls count among the day's (AWS_CALLS_PER_DAY). Without an account or an
    organization, all AWS accounts are read that are not disabled.
    """
    refuse_empty(**{"--organization": organization, "--from": first, "--to": last})
    app = open_app()
    service = app.aws_sync_service
    planned = service.plan(account, organization or "", first or "", last or "")
    if not json:
        _say_what_it_takes(planned)
    with runs.noticing_ctrl_c() as stopped:
        key = service.start(planned)
        if key and not json:
            output.say(f"Run {key} is begun.")
        view = runs.wait_for(app, key, stopped, "AWS accounts") if key else None
    synced = service.outcomes(planned, key)
    if json:
        output.write_json(_as_json(synced[0]) if account is not None else _all_as_json(synced, view))
    else:
        _write(synced, {each.account.id: each for each in planned})
    if bad := [name_of(each.account) for each in synced if each.errors]:
        raise FailedError(f"not all could be read of {output.named(bad)}")


# --- for people --------------------------------------------------------------------------------------------------


def _say_what_it_takes(planned: Iterable[Planned]) -> None:
    for each in planned:
        takes = f"at least {output.count(each.calls, 'paid call')} ({_price(each, each.calls)})"
        output.say(f"{name_of(each.account)}: {takes}; {each.left:,} of today's are left.")


def _write(synced: Iterable[Synced], planned: dict[int, Planned]) -> None:
    for each in synced:
        if each.was_begun:
            calls = f"{output.count(each.calls, 'paid call')} ({_price(planned[each.account.id], each.calls)})"
            figures = f"{output.count(each.charges, 'charge')} of {output.count(each.services, 'service')}"
            cost = output.exact(each.totals or {}) or "nothing"
            took = f"{each.took.total_seconds():,.1f} s"
            output.say(f"{name_of(each.account)}: {figures}, {cost}; {calls}, {took}.")
        for error in each.errors:
            output.say(f"{name_of(each.account)}: {error}", "red")


def _price(planned: Planned, calls: int) -> str:
    return output.money(calls * planned.price, planned.currency)


# --- for programs ------------------------------------------------------------------------------------------------


def _as_json(synced: Synced) -> dict[str, Any]:
    return {
        "success": not synced.errors,
        "recordsSaved": synced.charges,
        "executionTimeMs": synced.took // MILLISECOND,
        "errors": list(synced.errors),
    }


def _all_as_json(synced: Sequence[Synced], view: RunView | None) -> dict[str, Any]:
    """The whole in the words of each; and each, with whose it is."""
    took = view.finished_at - view.started_at if view and view.finished_at else timedelta()
    whole = {
        "success": not any(each.errors for each in synced),
        "recordsSaved": sum(each.charges for each in synced),
        "executionTimeMs": took // MILLISECOND,
        "errors": [f"{name_of(each.account)}: {error}" for each in synced for error in each.errors],
    }
    return whole | {"accounts": [output.chosen(each.account, "id", "name") | _as_json(each) for each in synced]}
