"""Cloud accounts at AWS: added, tried out, and looked at with what they read and what that cost."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.domain.aws import AWS, AwsNameError, Role, parse_account, parse_external_id, parse_role
from shared.domain.texts import folded, is_seen, odd, readable
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import UNGROUPED, AccountStatus, CloudAccount, CloudAccountLedger, ConnectionType
from shared.ports.costs import AccountsSource, CostSource, Tried
from shared.ports.credentials import AccessKeys, Credentials
from shared.ports.payers import Member, PayerLedger, Sync
from shared.services.cloud_accounts import feeding_others, given_organization, refuse_read_already
from shared.services.credentials import refuse_wrong
from shared.services.errors import RequestError

LONGEST_NAME, LONGEST_ROLE, LONGEST_EXTERNAL_ID = 200, 300, 200
DETAILS = ("service", "meter")
# Of an organizational unit, or of the root of all.
UNIT = re.compile("ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}|r-[0-9a-z]{4,32}")
SYNCS_SHOWN = 5
VERSION = "2012-10-17"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A cloud account as a person writes it. reads: account ids, joined by ; or ,. external_id: made where it is None.

    is_organization: it is the payer of an organization at AWS. organization: a text by which people group accounts.
    keys: what signs, to be kept sealed.
    """

    name: str
    role_arn: str = ""
    account: str = ""
    external_id: str | None = None
    is_organization: bool = False
    reads: str = ""
    organizational_unit: str = ""
    detail: str = "service"
    without_credits: bool = False
    organization: str = UNGROUPED
    keys: AccessKeys | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Added:
    """A new cloud account, with the policies to paste at AWS. trust: None where no role is taken on."""

    account: CloudAccount
    trust: Mapping[str, Any] | None
    allowed: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """A cloud account, and whom it reads. left_out: by sub-account that it would read, what feeds that instead.

    syncs: the last ones, the newest first. calls: today's, in UTC. source: None where it is asked for nothing.
    """

    account: CloudAccount
    members: tuple[Member, ...]
    left_out: Mapping[str, CloudAccount]
    syncs: tuple[Sync, ...]
    calls: int
    source: AccountsSource | None


@dataclass(frozen=True, slots=True)
class AwsAccountService:
    """role_arn: AWS_ROLE_ARN. sources: by connection type. Raises LaterError where the database is away."""

    ledger: CloudAccountLedger
    payers: PayerLedger
    credentials: Credentials
    sources: Mapping[str, CostSource | AccountsSource]
    role_arn: str | None
    calls_a_day: int
    clock: Clock

    def add(self, wanted: Wanted) -> Added:
        """Makes it, and seals its keys. Raises RequestError where it can't be right; NeverError without a key to seal
        by, and then there is none."""
        new, role = self._made(wanted)
        self._refuse_read_already(new)
        self._refuse_called_so(new.name)
        if wanted.keys is not None:
            refuse_wrong(wanted.keys)
        with noted(
            Change(Action.CLOUD_ACCOUNT_ADDED, f"{new.name} (AWS account {new.external_account_id})", self.clock())
        ):
            made = self.ledger.add(new)
        if made is None:
            raise RequestError(f"there is a cloud account of AWS account {new.external_account_id} already")
        if wanted.keys is not None:
            self._seal(made, wanted.keys)
        account = self._get(made)
        return Added(account, self._trust(account, role, wanted.keys), allowed_to(account))

    def shown(self, cloud_account_id: int) -> Shown:
        """One that is asked for all of its sub-accounts. Raises RequestError for another id."""
        account = self._get(cloud_account_id)
        members = self.payers.members(account.id)
        syncs = tuple(self.payers.syncs(account.id, SYNCS_SHOWN))
        met = syncs[0].left_out if syncs else ()
        ids = {*(account.reads or ()), *met, account.external_account_id} - {each.id for each in members}
        source = self.sources.get(account.connection_type)
        is_explored = account.connection_type == ConnectionType.COST_EXPLORER
        return Shown(
            account,
            tuple(members),
            feeding_others(self.ledger, account, sorted(ids)) if is_explored else {},
            syncs,
            self.payers.calls_on(account.id, self.clock().date()),
            source if isinstance(source, AccountsSource) else None,
        )

    def test(self, cloud_account_id: int) -> tuple[CloudAccount, Tried]:
        """Signs in, and makes one call, which is paid for. Raises RequestError for one that is not asked so,
        CallsUsedError, LaterError, NeverError."""
        account = self._get(cloud_account_id)
        source = self.sources.get(account.connection_type)
        if not isinstance(source, AccountsSource):
            raise RequestError(
                f"cloud account {account.id} ({account.name}) is read by {account.connection_type}; `check` tests that"
            )
        return account, source.test(
            account, lambda: self.payers.may_call(account.id, self.clock().date(), self.calls_a_day)
        )

    # --- what a person wrote ---

    def _made(self, wanted: Wanted) -> tuple[CloudAccount, Role | None]:
        """Raises RequestError where it can't be right."""
        try:
            role = self._role(wanted)
            account = role.account if role else parse_account(wanted.account.strip())
            external_id = self._external_id(wanted) if role else None
            reads = _ids(wanted.reads)
        except AwsNameError as error:
            raise RequestError(str(error)) from None
        _refuse_wrong_choice(wanted, external_id)
        return CloudAccount(
            id=0,
            name=_name(wanted.name),
            organization=given_organization(wanted.organization),
            provider=AWS,
            connection_type=ConnectionType.COST_EXPLORER,
            external_account_id=account,
            role_arn=role.arn if role else None,
            external_id=external_id,
            detail=wanted.detail,
            status=AccountStatus.PENDING,
            last_synced_at=None,
            last_sync_error=None,
            last_manual_sync_at=None,
            is_organization=wanted.is_organization,
            reads=reads,
            organizational_unit=wanted.organizational_unit or None,
            without_credits=wanted.without_credits,
        ), role

    def _role(self, wanted: Wanted) -> Role | None:
        if not wanted.role_arn:
            if wanted.keys is None or not wanted.account:
                raise RequestError(
                    "there is no role: write --role-arn, or --access-keys and --account for keys that are used as they "
                    "are"
                )
            return None
        role = parse_role(wanted.role_arn)
        if len(role.arn) > LONGEST_ROLE:
            raise RequestError(f"the role's ARN has {len(role.arn)} characters; {LONGEST_ROLE} at most are kept")
        if wanted.account and parse_account(wanted.account) != role.account:
            raise RequestError(f"the role is of AWS account {role.account}, and not of {wanted.account}")
        home = parse_role(self.role_arn).partition.name if self.role_arn else AWS
        if role.partition.name != home and wanted.keys is None:
            raise RequestError(
                f"the role is of {role.partition.name}, which nobody of {home} can take on: give it access keys "
                "(--access-keys)"
            )
        return role

    def _external_id(self, wanted: Wanted) -> str:
        return parse_external_id(made_external_id() if wanted.external_id is None else wanted.external_id)

    def _refuse_read_already(self, new: CloudAccount) -> None:
        account = new.external_account_id
        for each in self.ledger.accounts():
            if each.connection_type == new.connection_type and each.external_account_id == account:
                raise RequestError(f"cloud account {each.id} ({each.name}) is AWS account {account}")
        refuse_read_already(self.ledger, new, self._has_left)

    def _has_left(self, payer: CloudAccount, account: str) -> bool:
        """Whether a night would leave it to another, since it has left its organization."""
        return payer.is_organization and account in {each.id for each in self.payers.members(payer.id) if each.left_on}

    def _refuse_called_so(self, name: str) -> None:
        for each in self.ledger.accounts():
            if folded(each.name) == folded(name):
                raise RequestError(f"cloud account {each.id} is called {each.name} already: give this one another name")

    def _seal(self, cloud_account_id: int, keys: AccessKeys) -> None:
        try:
            self.credentials.keep(cloud_account_id, keys, self.clock())
        except Exception:
            # Without its keys it would fail night by night.
            self.ledger.remove(cloud_account_id)
            raise

    def _get(self, cloud_account_id: int) -> CloudAccount:
        account = self.ledger.get(cloud_account_id)
        if account is None:
            raise RequestError(f"there is no cloud account {cloud_account_id}; `cloud-accounts list` shows them")
        return account

    def _trust(self, account: CloudAccount, role: Role | None, keys: AccessKeys | None) -> Mapping[str, Any] | None:
        if role is None:
            return None
        user = f"arn:{role.partition.name}:iam::<account>:user/<whose access keys these are>"
        who = user if keys else self.role_arn or "<ARN of the user or role that signs in>"
        return {
            "Version": VERSION,
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": who},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": account.external_id}},
                }
            ],
        }


def allowed_to(account: CloudAccount) -> Mapping[str, Any]:
    """A policy that allows what reading the cloud account takes, and nothing else."""
    actions = ["ce:GetCostAndUsage"]
    if account.organizational_unit:
        actions += ["organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent"]
    elif account.is_organization:
        actions += ["organizations:ListAccounts"]
    return {"Version": VERSION, "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}


def made_external_id() -> str:
    """An external id that nobody guesses."""
    return f"warden-{secrets.token_hex(16)}"


def _ids(text: str) -> tuple[str, ...] | None:
    """The account ids in a text. Raises AwsNameError."""
    if not text.strip():
        return None
    ids = {parse_account(part.strip()) for part in re.split("[;,]", text) if part.strip()}
    if not ids:
        raise AwsNameError(f"'{readable(text, 40)}' names no account; leave --accounts out where all are meant")
    return tuple(sorted(ids))


def _name(text: str) -> str:
    name = text.strip()
    if not name or not is_seen(name) or len(name) > LONGEST_NAME:
        raise RequestError(
            f"'{readable(name, 40)}' is no name: write a line of at most {LONGEST_NAME} characters{odd(name)}"
        )
    return name


def _refuse_wrong_choice(wanted: Wanted, external_id: str | None) -> None:
    unit = wanted.organizational_unit
    if external_id and len(external_id) > LONGEST_EXTERNAL_ID:
        raise RequestError(f"the external id has {len(external_id)} characters; {LONGEST_EXTERNAL_ID} at most are kept")
    if wanted.detail not in DETAILS:
        raise RequestError(f"'{readable(wanted.detail, 40)}' is no detail: it is {' or '.join(DETAILS)}")
    if (wanted.reads.strip() or unit) and not wanted.is_organization:
        raise RequestError("--accounts and --organizational-unit choose what of an organization is read: add --payer")
    if wanted.reads.strip() and unit:
        raise RequestError("--accounts and --organizational-unit each choose what is read: write one of them")
    if unit and not UNIT.fullmatch(unit):
        raise RequestError(
            f"'{readable(unit, 40)}' is no organizational unit; its id is like ou-ab12-3c4d5e6f{odd(unit)}"
        )
    if wanted.detail == "meter" and wanted.is_organization:
        raise RequestError("meters can be had of one account only, not of an organization: leave --detail out")
