"""`cloud-accounts`: where costs are read from."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, command_group, open_app
from shared.cli.output import Cell, Column
from shared.ports.cloud_accounts import AccountStatus

if TYPE_CHECKING:
    from shared.ports.cloud_accounts import CloudAccount

commands = command_group("Where costs are read from.")

STYLES = {AccountStatus.ACTIVE: "green", AccountStatus.ERROR: "red", AccountStatus.DISABLED: "yellow"}
TABLE: output.Table[CloudAccount] = {
    Column("id", right=True): lambda account: str(account.id),
    Column("name", spare=3): attrgetter("name"),
    Column("provider", spare=2): attrgetter("provider"),
    Column("connection", spare=4): attrgetter("connection_type"),
    Column("account"): attrgetter("external_account_id"),
    Column("status"): lambda account: Cell(account.status, STYLES.get(account.status, "")),
    Column("last synced, UTC", spare=1): lambda account: output.minute(account.last_synced_at),
    Column("error", words=True): lambda account: account.last_sync_error or "",
}


@commands.command("list")
def list_accounts(json: AsJson = False) -> None:
    """List the cloud accounts: whether each works, and when its costs were last read.

    Azure subscriptions are among them as soon as a project names them.
    """
    accounts = open_app().cloud_account_service.accounts()
    if json:
        output.write_json([_listed(account) for account in accounts])
    elif not accounts:
        output.say("There are no cloud accounts yet: `python -m shared.cli projects load FILE.csv` brings the first.")
    else:
        output.write_records(TABLE, accounts)


@commands.command("add-exports")
def add_exports(
    place: Annotated[str, typer.Argument(metavar="CONTAINER[/FOLDER]", help="Where they lie, in export storage.")],
    json: AsJson = False,
) -> None:
    """Have cost exports looked for in a further container, or in a folder of one.

    The one that COST_EXPORT_CONTAINER names is added by itself, where there is none.
    """
    account = open_app().cloud_account_service.add_exports(place)
    if json:
        output.write_json(_listed(account))
    else:
        output.say(
            f"Cloud account {account.id} is {account.external_account_id}; "
            "`python -m shared.cli exports scan` looks there now, CostExportScanner within the day."
        )


def _listed(account: CloudAccount) -> dict[str, Any]:
    ours = output.chosen(account, "id", "name", "organization")
    theirs = output.chosen(account, "provider", "connection_type", "external_account_id")
    return ours | theirs | output.chosen(account, "status", "last_synced_at", "last_sync_error")
