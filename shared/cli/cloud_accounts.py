"""`cloud-accounts`: where costs are read from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.cli import output
from shared.cli.app import AsJson, command_group, open_app
from shared.cli.output import Cell, Column
from shared.ports.cloud_accounts import AccountStatus

if TYPE_CHECKING:
    from shared.ports.cloud_accounts import CloudAccount

commands = command_group("Where costs are read from.")

STYLES = {AccountStatus.ACTIVE: "green", AccountStatus.ERROR: "red", AccountStatus.DISABLED: "yellow"}
COLUMNS = (
    Column("id", right=True),
    Column("name", words=True),
    Column("provider"),
    Column("connection"),
    Column("account"),
    Column("status"),
    Column("last synced, UTC"),
    Column("error", words=True),
)


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
        output.write_table(COLUMNS, [_row(account) for account in accounts])


def _row(account: CloudAccount) -> list[Cell | str]:
    return [
        str(account.id),
        account.name,
        account.provider,
        account.connection_type,
        account.external_account_id,
        Cell(account.status, STYLES.get(account.status, "")),
        output.minute(account.last_synced_at),
        account.last_sync_error or "",
    ]


def _listed(account: CloudAccount) -> dict[str, Any]:
    ours = output.chosen(account, "id", "name", "organization")
    theirs = output.chosen(account, "provider", "connection_type", "external_account_id")
    return ours | theirs | output.chosen(account, "status", "last_synced_at", "last_sync_error")
