"""`cloud-accounts`: where costs are read from."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, ask_or_refuse, command_group, open_app, user_name
from shared.cli.output import Cell, Column
from shared.domain.texts import named
from shared.messages import LARGEST_ID
from shared.ports.cloud_accounts import UNGROUPED, AccountStatus, ConnectionType

if TYPE_CHECKING:
    from shared.ports.cloud_accounts import CloudAccount
    from shared.services.cloud_accounts import Fed

commands = command_group("Where costs are read from.")

AccountId = Annotated[int, typer.Argument(min=1, max=LARGEST_ID, metavar="ID", help="Its id in the list.")]
STYLES = {AccountStatus.ACTIVE: "green", AccountStatus.ERROR: "red", AccountStatus.DISABLED: "yellow"}


def why(account: CloudAccount) -> str:
    """Why its state is what it is."""
    if account.is_of_files:
        return "imported by hand, or from one that was removed: nobody looks for more"
    if account.status is AccountStatus.DISABLED:
        return account.disabled_why or "nobody said why"
    return account.last_sync_error or ""


TABLE: output.Table[CloudAccount] = {
    Column("id", right=True): lambda account: str(account.id),
    Column("name", spare=3): attrgetter("name"),
    Column("provider", spare=2): attrgetter("provider"),
    Column("connection", spare=4): attrgetter("connection_type"),
    Column("account"): attrgetter("external_account_id"),
    Column("status"): lambda account: Cell(account.status, STYLES.get(account.status, "")),
    Column("last synced, UTC", spare=1): lambda account: output.minute(account.last_synced_at),
    Column("why", words=True): why,
    # Where nobody groups them, there is nothing to be said.
    Column("organization", spare=5): lambda account: "" if account.organization == UNGROUPED else account.organization,
}


@commands.command("list")
def list_accounts(json: AsJson = False) -> None:
    """List the cloud accounts: whether each works, and when its costs were last read.

    Azure subscriptions are among them as soon as a project names them.
    """
    accounts = open_app().cloud_account_service.accounts()
    if json:
        output.write_json([listed(account) for account in accounts])
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
        output.write_json(listed(account))
    else:
        output.say(
            f"Cloud account {account.id} is {account.external_account_id}; "
            "`python -m shared.cli exports scan` looks there now, CostExportScanner within the day."
        )


@commands.command("set")
def set_organization(
    account: AccountId,
    organization: Annotated[str, typer.Option(help="By which you group cloud accounts.", metavar="NAME")],
    json: AsJson = False,
) -> None:
    """Put a cloud account with others, under the name of an organization of yours: what `sync --organization` reads."""
    known = open_app().cloud_account_service.set_organization(account, organization)
    if json:
        output.write_json(_as_json(known))
    else:
        output.say(f"{name_of(known.account)} is of {known.account.organization} now.")


@commands.command()
def disable(
    account: AccountId,
    reason: Annotated[str, typer.Option(help="Why; shown by `cloud-accounts list`.")] = "",
    json: AsJson = False,
) -> None:
    """Read nothing from a cloud account, until it is enabled again. What is stored stays.

    Of exports, what lies there is not looked at, nor by the cloud account of a folder around it.
    """
    known = open_app().cloud_account_service.disable(account, user_name(), reason)
    if json:
        output.write_json(_as_json(known))
        return
    output.say(f"{name_of(known.account)} is disabled: nothing is read from it. What is stored stays.")
    if known.sub_accounts:
        output.warn(f"nobody reads the costs of {_whom(known)} now; figures say what they lack")


@commands.command()
def enable(account: AccountId, json: AsJson = False) -> None:
    """Read from a cloud account again that is disabled."""
    known = open_app().cloud_account_service.enable(account)
    if json:
        output.write_json(_as_json(known))
    else:
        is_of_exports = known.account.connection_type == ConnectionType.COST_EXPORT
        now = "exports scan" if is_of_exports else "run"
        output.say(f"{name_of(known.account)} is read again; `python -m shared.cli {now}` does it now.")


@commands.command()
def remove(
    account: AccountId,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask, though it feeds something.")] = False,
    json: AsJson = False,
) -> None:
    """Take a cloud account away, such as a mistyped one. What is stored stays, and the history of its exports.

    Asks where it feeds something: nobody reads the costs of that from then on. One that registers itself comes back:
    disable it.
    """
    service = open_app().cloud_account_service
    known = service.shown(account)
    if known.sub_accounts and not yes:
        _ask(known, json)
    service.remove(account)
    if json:
        output.write_json(_as_json(known) | {"done": True})
        return
    output.say(f"{name_of(known.account)} is removed. What is stored stays.")
    if known.comes_back:
        output.warn(f"{known.comes_back} `cloud-accounts disable` keeps such a one from being read")


def _ask(known: Fed, json: bool) -> None:
    if json:
        output.write_json(_as_json(known) | {"done": False})
    else:
        output.say(
            f"{name_of(known.account)} feeds {_whom(known)}, whose costs nobody reads then. What is stored stays."
        )
    ask_or_refuse("Remove it?", json)


def _whom(known: Fed) -> str:
    """`3 sub-accounts (1caa…, 2caa… and 1 more)`."""
    return f"{output.count(len(known.sub_accounts), 'sub-account')} ({named(known.sub_accounts)})"


def name_of(account: CloudAccount) -> str:
    """As `Cloud account 7 (prod)`."""
    return f"Cloud account {account.id} ({account.name})"


def _as_json(known: Fed) -> dict[str, Any]:
    return listed(known.account) | output.chosen(known, "sub_accounts", "comes_back")


def listed(account: CloudAccount) -> dict[str, Any]:
    """As `--json` lists it."""
    ours = output.chosen(account, "id", "name", "organization")
    theirs = output.chosen(account, "provider", "connection_type", "external_account_id")
    return ours | theirs | output.chosen(account, "status", "last_synced_at", "last_sync_error", "disabled_why")
