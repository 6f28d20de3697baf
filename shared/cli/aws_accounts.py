"""`cloud-accounts add`, `show` and `test`: AWS accounts, what they read, and whether they can."""

from __future__ import annotations

import json as texts
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app, refuse_empty
from shared.cli.cloud_accounts import AccountId, listed, name_of, why
from shared.cli.credentials import given_keys
from shared.cli.failures import FAILED
from shared.cli.output import Column
from shared.domain.aws import AWS
from shared.ports.cloud_accounts import UNGROUPED, ConnectionType
from shared.services.errors import RequestError

if TYPE_CHECKING:
    from shared.ports.cloud_accounts import CloudAccount
    from shared.ports.payers import Member, Sync
    from shared.services.aws_accounts import Added, Shown

LONGEST_PROVIDER = 20
SETTINGS = ("role_arn", "external_id", "is_organization", "reads", "organizational_unit", "detail", "without_credits")
TEST = "`python -m shared.cli cloud-accounts test {}`"

MEMBERS: output.Table[Member] = {
    Column("sub-account"): attrgetter("id"),
    Column("name", spare=1): lambda member: member.name or "",
    Column("state"): lambda member: member.state or "",
    Column("left on"): lambda member: str(member.left_on or ""),
    Column("read since", spare=2): lambda member: str(member.read_since or ""),
}

SYNCS: output.Table[Sync] = {
    Column("run", spare=1): attrgetter("run_key"),
    Column("ended, UTC"): lambda sync: output.minute(sync.finished_at),
    Column("charges", right=True): lambda sync: f"{sync.rows:,}",
    Column("cost", right=True): lambda sync: output.exact(sync.totals or {}),
    Column("services", right=True, spare=2): lambda sync: f"{sync.services:,}",
    Column("seconds", right=True, spare=3): lambda sync: f"{sync.seconds:,.1f}",
    Column("calls", right=True): lambda sync: f"{sync.calls:,}",
    Column("errors", words=True): lambda sync: " ".join(sync.errors),
}


def add(  # noqa: PLR0913, PLR0917 - an option each
    provider: Annotated[str, typer.Argument(metavar="aws", help="The provider: others register themselves.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    role_arn: Annotated[str | None, typer.Option("--role-arn", help="The role that is taken on there.")] = None,
    account: Annotated[
        str | None, typer.Option(help="Without a role: whose the access keys are.", metavar="ID")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option("--external-id", help="Of the role's trust policy; made if it is not given.")
    ] = None,
    payer: Annotated[bool, typer.Option("--payer", help="It is the payer of an organization at AWS.")] = False,
    accounts: Annotated[
        str | None, typer.Option(help="Of its accounts only these, joined by ; .", metavar="IDS")
    ] = None,
    organizational_unit: Annotated[
        str | None, typer.Option("--organizational-unit", help="Only those in it, and below.", metavar="OU")
    ] = None,
    detail: Annotated[str, typer.Option(help="service, or meter (of one account only).")] = "service",
    without_credits: Annotated[
        bool, typer.Option("--without-credits", help="Leave credits and refunds out of its costs.")
    ] = False,
    organization: Annotated[str, typer.Option(help="By which you group cloud accounts.", metavar="NAME")] = UNGROUPED,
    access_keys: Annotated[
        bool, typer.Option("--access-keys", help="Sign in by access keys, asked for or from the standard input.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Add an AWS account, or an organization's payer, and write the policies to paste there.

    Azure subscriptions register themselves, and `add-exports` adds cost exports.
    """
    from shared.services.aws_accounts import Wanted

    if provider.lower() != AWS:
        # Where access keys were written as arguments, it may be one of them.
        what = f"'{provider}'" if provider.isalpha() and len(provider) < LONGEST_PROVIDER else "that"
        raise RequestError(
            f"{what} can't be added: aws can; Azure subscriptions register themselves, and "
            "`cloud-accounts add-exports` adds cost exports"
        )
    chosen = {"--role-arn": role_arn, "--account": account, "--accounts": accounts}
    refuse_empty(**chosen, **{"--organizational-unit": organizational_unit})
    added = open_app().aws_account_service.add(
        Wanted(
            name,
            role_arn or "",
            account or "",
            external_id,
            payer,
            accounts or "",
            organizational_unit or "",
            detail,
            without_credits,
            organization,
            given_keys() if access_keys else None,
        )
    )
    if json:
        policies = {"trust_policy": added.trust, "permission_policy": added.allowed}
        output.write_json(_settings(added.account) | policies)
    else:
        _write_added(added)


def _write_added(added: Added) -> None:
    account = added.account
    what = "the organization of AWS account" if account.is_organization else "AWS account"
    output.say(f"{name_of(account)} is {what} {account.external_account_id}, which each night reads from now on.")
    whose = "of the user whose access keys these are"
    if added.trust is not None:
        whose = f"of the role {account.role_arn}"
        output.say(f"\nThe trust policy {whose}:\n")
        output.say(texts.dumps(added.trust, indent=2))
    output.say(f"\nA policy {whose}, which allows what reading takes and nothing else:\n")
    output.say(texts.dumps(added.allowed, indent=2))
    output.say(f"\n{TEST.format(account.id)} tells whether that works.")


def show(account: AccountId, json: AsJson = False) -> None:
    """Show a cloud account: its settings, whom it reads, its last syncs, and what they cost."""
    shown = open_app().aws_account_service.shown(account)
    if json:
        output.write_json(_as_json(shown))
    else:
        _write(shown)


def test(account: AccountId, json: AsJson = False) -> None:
    """Sign in to an AWS account and ask for a day's costs (0.01 USD): says what is missing. Exit code 1 if it can't."""
    with output.working("Asking AWS …"):
        known, tried = open_app().aws_account_service.test(account)
    if json:
        output.write_json(
            {"id": known.id, "name": known.name} | output.chosen(tried, "signed_in_as", "can_read", "missing")
        )
    else:
        signed_in = f" as {tried.signed_in_as}" if tried.signed_in_as else ""
        output.say(f"{name_of(known)} can{'' if tried.can_read else 'not'} be read{signed_in}.")
        for each in tried.missing:
            output.warn(each)
    if not tried.can_read:
        raise typer.Exit(FAILED)


def _write(shown: Shown) -> None:
    account = shown.account
    facts = [
        ("cloud account", f"{account.id} ({account.name})"),
        ("organization", account.organization),
        ("provider", account.provider),
        ("connection", account.connection_type),
        ("account", account.external_account_id),
        ("organization's payer", "yes" if account.is_organization else ""),
        ("reads only", ", ".join(account.reads or ())),
        ("organizational unit", account.organizational_unit or ""),
        ("role", account.role_arn or ""),
        ("external id", account.external_id or ""),
        ("detail", account.detail),
        ("credits and refunds", "left out" if account.without_credits else ""),
        ("status", account.status),
        ("why", why(account)),
        ("last synced, UTC", output.minute(account.last_synced_at)),
    ]
    if shown.source:
        facts.append(("paid calls today", f"{shown.calls:,} ({_cost(shown, shown.calls)})"))
    output.write_facts(facts)
    if shown.members:
        output.say("\nIt reads:\n")
        output.write_records(MEMBERS, shown.members)
    for each, by in shown.left_out.items():
        output.say(f"\nIt leaves out {each}, which {_reads(each, by)}.")
    if shown.syncs:
        output.say("\nIts last syncs:\n")
        output.write_records(SYNCS, shown.syncs)


def _reads(sub_account: str, by: CloudAccount) -> str:
    if by.connection_type == ConnectionType.COST_EXPORT:
        return f"exports feed: `exports use query --for {sub_account}` changes that"
    return f"cloud account {by.id} ({by.name}) reads"


def _cost(shown: Shown, calls: int) -> str:
    source = shown.source
    return output.money(calls * source.price, source.price_currency) if source else ""


def _settings(account: CloudAccount) -> dict[str, Any]:
    return listed(account) | output.chosen(account, *SETTINGS)


def _as_json(shown: Shown) -> dict[str, Any]:
    members = [output.chosen(each, "id", "name", "state", "left_on", "read_since") for each in shown.members]
    syncs = [
        output.chosen(
            each, "run_key", "started_at", "finished_at", "rows", "totals", "services", "seconds", "calls", "errors"
        )
        for each in shown.syncs
    ]
    left_out = [{"id": each, "read_by": by.id} for each, by in shown.left_out.items()]
    paid = {"calls_today": shown.calls, "cost_today": _cost(shown, shown.calls) or None}
    return _settings(shown.account) | {"members": members, "left_out": left_out, "syncs": syncs} | paid
