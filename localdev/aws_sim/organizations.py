"""Organizations: a payer, its members, and the units they lie in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from localdev.aws_sim.wire import AwsError, Call

ROOT = "r-root"


@dataclass
class AwsAccount:
    """An account of an organization. unit: in which it lies. joined_on: None where that is not told."""

    id: str
    name: str
    state: str = "ACTIVE"
    unit: str = ROOT
    joined_on: date | None = None


@dataclass
class Organization:
    """payer: its management account, which is one of `accounts`. units: the parent of each organizational unit.

    members_see_costs: whether its preferences let members use Cost Explorer.
    """

    payer: str
    accounts: dict[str, AwsAccount] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    members_see_costs: bool = True

    def add(self, account: AwsAccount) -> None:
        """A further account."""
        self.accounts[account.id] = account


class OrganizationsApi:
    """ListAccounts, ListAccountsForParent, ListOrganizationalUnitsForParent and DescribeOrganization."""

    def __init__(self, organizations: dict[str, Organization], page_size: int) -> None:
        self.organizations, self._page_size = organizations, page_size

    def of(self, account: str) -> Organization | None:
        """The organization that an account belongs to."""
        return next((each for each in self.organizations.values() if account in each.accounts), None)

    def answer(self, call: Call) -> Mapping[str, Any]:
        """The operation's result. AwsError."""
        call.check_allowed()
        organization = self.of(call.account)
        if organization is None:
            message = "Your account is not a member of an organization."
            raise AwsError(400, "AWSOrganizationsNotInUseException", message)
        if call.operation == "DescribeOrganization":
            return {"Organization": {"Id": "o-simulated", "MasterAccountId": organization.payer, "FeatureSet": "ALL"}}
        if call.account != organization.payer:
            raise AwsError(400, "AccessDeniedException", "You don't have permissions to access this resource.")
        return self._listed(call, organization)

    def _listed(self, call: Call, organization: Organization) -> Mapping[str, Any]:
        parent = call.given.get("ParentId")
        if call.operation == "ListOrganizationalUnitsForParent":
            units = [unit for unit, above in organization.units.items() if above == parent]
            return self._page(call, "OrganizationalUnits", [{"Id": unit, "Name": unit} for unit in units])
        if call.operation not in {"ListAccounts", "ListAccountsForParent"}:
            raise AwsError(400, "UnknownOperationException", f"The simulator does not play {call.operation}.")
        if call.operation == "ListAccountsForParent" and parent not in {ROOT, *organization.units}:
            raise AwsError(400, "ParentNotFoundException", "You specified parent that doesn't exist.")
        everyone = call.operation == "ListAccounts"
        accounts = [each for each in organization.accounts.values() if everyone or each.unit == parent]
        listed = [
            {
                "Id": each.id,
                "Arn": f"arn:aws:organizations::{organization.payer}:account/o-simulated/{each.id}",
                "Email": f"{each.id}@example.com",
                "Name": each.name,
                "State": each.state,
                **({"JoinedTimestamp": _noon(each.joined_on)} if each.joined_on else {}),
            }
            for each in accounts
        ]
        return self._page(call, "Accounts", listed)

    def _page(self, call: Call, name: str, rows: Sequence[Mapping[str, object]]) -> Mapping[str, Any]:
        start = int(call.given.get("NextToken") or 0)
        end = start + self._page_size
        return {name: rows[start:end], **({"NextToken": str(end)} if end < len(rows) else {})}


def _noon(day: date) -> float:
    """As AWS's JSON has times."""
    return datetime.combine(day, time(12), UTC).timestamp()
