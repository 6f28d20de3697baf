"""Costs from AWS Cost Explorer: daily charges of all the accounts that a cloud account reads, by service.

Each page is paid for, so it is counted before it is asked for, no page that has come is asked for again the same night,
and botocore tries nothing by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.adapters.costs.aws_access import AwsAccess, Session
from shared.adapters.costs.aws_answer import Answer, has_meters
from shared.adapters.costs.aws_errors import DENIED, Asked, StaleError
from shared.adapters.costs.progress import BrokenOff, packed, unpacked
from shared.domain.aws import AWS
from shared.domain.charges import CostMetric
from shared.domain.periods import DAY, Period
from shared.domain.quota import Quota
from shared.ports.clock import Clock, utc_now
from shared.ports.cloud_accounts import CloudAccount, ConnectionType
from shared.ports.costs import AccountsAnswer, AccountsQuery, MayCall, SubAccount, Tried
from shared.ports.errors import CallsUsedError, LaterError, NeverError, NoAnswerError, PauseError
from shared.ports.export_runs import closed_on

METRICS = {CostMetric.ACTUAL: "UnblendedCost", CostMetric.AMORTIZED: "AmortizedCost"}
# A month of an organization with 1,000 accounts, 20 services each, has 600,000 rows.
MOST_PAGES = 1000
# So many accounts are named to AWS; of more, all are read, and the others left out here.
MOST_NAMED = 100
# Costs are refreshed up to three times a day: pages from before and after that do not belong together.
PROGRESS_LASTS = timedelta(hours=2)
# Between two pages of an answer: loops without were refused (boto/botocore #1820).
BETWEEN_PAGES = timedelta(seconds=0.5)
# How often a night begins an answer anew of which AWS refuses a page.
MOST_BEGINNINGS_ANEW = 2
NOT_IN_USE = "AWSOrganizationsNotInUseException"


@dataclass
class AwsCosts:
    """An AccountsSource that asks AWS Cost Explorer. Safe to use from several threads; loads botocore when it asks.

    metric: ActualCost (unblended) or AmortizedCost; ValueError for another. sleep: waits so many seconds.
    """

    access: AwsAccess
    metric: str = CostMetric.ACTUAL
    clock: Clock = utc_now
    sleep: Callable[[float], None] = time.sleep

    provider = AWS
    connection_type = ConnectionType.COST_EXPLORER.value
    longest_window = timedelta(days=31)
    months_of_history = 13
    month_closed_on = closed_on(AWS)
    has_groups = False
    # AWS publishes none. Loops of 60 calls and more were refused, and up to ten a second were advised
    # (boto/botocore #1820); a page takes a second or so.
    quota = Quota(120, 7200, 1.0, units_in_shortest=2, units_at_once=2)
    price, price_currency = Decimal("0.01"), "USD"

    def __post_init__(self) -> None:
        self._measure = METRICS[CostMetric(self.metric)]

    def read_all(
        self, query: AccountsQuery, may_call: MayCall, progress: bytes | None = None, until: datetime | None = None
    ) -> AccountsAnswer:
        """The answer to a query. Raises CallsUsedError where `may_call` says no, LaterError, NoAnswerError, NeverError.

        progress: of an earlier LaterError for the same query: what had come by then is not asked for again.
        until: no page but a first one is asked for after it.
        """
        if query.window.days > self.longest_window.days:
            raise NoAnswerError(
                f"AWS is asked for {self.longest_window.days} days at most; {query.window.days} were asked for."
            )
        try:
            return self._read(query, may_call, progress, until)
        except LaterError as error:
            # Whatever failed before a page came, those of before were paid for.
            error.progress = error.progress or progress
            raise

    def _read(
        self, query: AccountsQuery, may_call: MayCall, progress: bytes | None, until: datetime | None
    ) -> AccountsAnswer:
        wanted = self._wanted(query.cloud_account)
        request = request_of(query, self._measure, wanted)
        answer = self._begun(query, request, wanted, progress)
        if wanted is not None and not wanted:
            return answer.whole()
        session = self.access.session_of(query.cloud_account)
        asked = _of_costs(query.cloud_account, session)
        with self.access.asking(asked):
            client = self.access.client("ce", session, session.partition)
        with closing(client):
            return _Asking(self, client, asked, request, may_call, until).to_the_end(answer).whole()

    def sub_accounts(self, cloud_account: CloudAccount) -> Mapping[str, SubAccount] | None:
        """The accounts of its organization, or those of it that it reads, by id.

        None where listing them is not allowed, or it is one account alone. Raises LaterError, NeverError.
        """
        if not cloud_account.is_organization:
            return None
        session = self.access.session_of(cloud_account)
        asked = Asked("list the accounts of the organization", session.signed_by, "")
        try:
            with (
                self.access.asking(asked),
                closing(self.access.client("organizations", session, session.partition)) as client,
            ):
                listed = _listed(client, cloud_account.organizational_unit)
        except ListingDeniedError:
            return None
        if cloud_account.reads is None or cloud_account.organizational_unit:
            return listed
        return {each: account for each, account in listed.items() if each in cloud_account.reads}

    def test(self, cloud_account: CloudAccount, may_call: MayCall) -> Tried:
        """Signs in, asks for yesterday's costs, and looks whether accounts can be listed.

        Raises CallsUsedError, LaterError.
        """
        signed_in_as = None
        try:
            signed_in_as = self.access.session_of(cloud_account).signed_in_as
            yesterday = self.clock().date() - DAY
            # One page is enough to see whether costs can be read.
            self.read_all(
                AccountsQuery(cloud_account, Period(yesterday, yesterday + DAY)), may_call, until=self.clock()
            )
        except PauseError:
            pass  # its first page has come
        except NeverError as error:
            return Tried(signed_in_as, can_read=False, missing=(error.reason,))
        return Tried(signed_in_as, can_read=True, missing=tuple(self._missing(cloud_account)))

    def _missing(self, account: CloudAccount) -> Iterator[str]:
        if account.is_organization and self.sub_accounts(account) is None:
            yield (
                "The accounts of the organization can't be listed, so that those without costs are not known: allow "
                "organizations:ListAccounts to the role."
            )
        if self.access.takes_any_external_id(account):
            yield (
                f"The role {account.role_arn} can be taken on with any external id: its trust policy has to ask for "
                f"that of cloud account {account.id} ({account.name}), by a condition on sts:ExternalId."
            )

    def _wanted(self, account: CloudAccount) -> frozenset[str] | None:
        """The accounts that are read; None for all that come."""
        if not account.is_organization:
            return frozenset({account.external_account_id})
        if not account.organizational_unit:
            return None if account.reads is None else frozenset(account.reads)
        listed = self.sub_accounts(account)
        if listed is None:
            raise NeverError(
                f"The accounts of the organizational unit {account.organizational_unit} can't be listed: allow "
                "organizations:ListAccountsForParent and organizations:ListOrganizationalUnitsForParent to the role."
            )
        return frozenset(listed).union(account.reads or ())

    def _begun(
        self, query: AccountsQuery, request: Mapping[str, Any], wanted: frozenset[str] | None, progress: bytes | None
    ) -> Answer:
        """The answer as far as it has come."""
        now, begun_anew = self.clock(), 0
        kept = unpacked(progress) if progress else None
        if kept and kept.asked == asked_for(query, request):
            begun_anew = kept.begun_anew
            if kept.pages and now - kept.begun_at <= PROGRESS_LASTS:
                answer = Answer(query, self._measure, wanted, kept.begun_at, begun_anew)
                for body in kept.pages:
                    answer.add(json.loads(body))
                return answer
        return Answer(query, self._measure, wanted, now, begun_anew)


@dataclass
class _Asking:
    """Asks for one page after another."""

    source: AwsCosts
    client: Any
    asked: Asked
    request: Mapping[str, Any]
    may_call: MayCall
    until: datetime | None

    def to_the_end(self, answer: Answer) -> Answer:
        """The whole answer, begun anew where AWS says that its pages no longer belong together."""
        is_first = True
        while not answer.is_whole:
            if not is_first and self.until is not None and self.source.clock() >= self.until:
                reason = f"AWS's answer is long; page {len(answer.pages) + 1} is next."
                raise PauseError(reason, timedelta(0), self._progress(answer))
            if not is_first:
                self.source.sleep(BETWEEN_PAGES.total_seconds())
            answer, is_first = self._one_page_on(answer), False
        return answer

    def _one_page_on(self, answer: Answer) -> Answer:
        try:
            answer.add(self._page(answer))
        except StaleError as error:
            return self._anew(answer, error)
        except LaterError as error:
            error.progress = self._progress(answer)
            raise
        return answer

    def _anew(self, answer: Answer, error: StaleError) -> Answer:
        if answer.begun_anew == MOST_BEGINNINGS_ANEW:
            raise NoAnswerError(
                f"AWS does not go on with its answer, which was begun anew {MOST_BEGINNINGS_ANEW} times: {error}"
            )
        return Answer(answer.query, answer.metric, answer.wanted, answer.begun_at, answer.begun_anew + 1)

    def _page(self, answer: Answer) -> Mapping[str, Any]:
        if len(answer.pages) >= MOST_PAGES:
            raise NoAnswerError(f"AWS's answer does not end: after {MOST_PAGES} pages there is still another one.")
        if not self.may_call():
            raise CallsUsedError(
                "The paid calls to AWS that this cloud account may make a day (AWS_CALLS_PER_DAY) are made."
            )
        token = {"NextPageToken": answer.token} if answer.token else {}
        with self.source.access.asking(self.asked):
            page: Mapping[str, Any] = self.client.get_cost_and_usage(**self.request, **token)
        return page

    def _progress(self, answer: Answer) -> bytes | None:
        if not answer.pages and not answer.begun_anew:
            return None
        asked = asked_for(answer.query, self.request)
        return packed(BrokenOff(answer.bodies(), answer.token or "", asked, answer.begun_at, answer.begun_anew))


def _of_costs(account: CloudAccount, session: Session) -> Asked:
    return Asked(
        f"tell the costs of cloud account {account.id} ({account.name})",
        session.signed_by,
        f"Check that a policy of {session.signed_by} allows ce:GetCostAndUsage, and that nothing denies it.",
    )


def request_of(query: AccountsQuery, measure: str, wanted: frozenset[str] | None) -> Mapping[str, Any]:
    """What GetCostAndUsage is asked. Its period's end is not included, as ours."""
    keys = ("SERVICE", "USAGE_TYPE") if has_meters(query) else ("LINKED_ACCOUNT", "SERVICE")
    filters: list[dict[str, Any]] = []
    if wanted is not None and len(wanted) <= MOST_NAMED:
        filters.append({"Dimensions": {"Key": "LINKED_ACCOUNT", "Values": sorted(wanted)}})
    if query.cloud_account.without_credits:
        filters.append({"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}})
    request: dict[str, Any] = {
        "TimePeriod": {"Start": str(query.window.start), "End": str(query.window.end)},
        "Granularity": "DAILY",
        "Metrics": [measure],
        "GroupBy": [{"Type": "DIMENSION", "Key": key} for key in keys],
    }
    if filters:
        # AWS takes no `And` of one.
        request["Filter"] = filters[0] if len(filters) == 1 else {"And": filters}
    return request


def asked_for(query: AccountsQuery, request: Mapping[str, Any]) -> str:
    """The whole question, with whom it is asked of."""
    account = query.cloud_account
    return json.dumps([account.id, account.external_account_id, account.role_arn, request], sort_keys=True)


class ListingDeniedError(Exception):
    """The role may not list accounts."""


def _listed(client: Any, unit: str | None) -> Mapping[str, SubAccount]:
    """The accounts of an organization, or of a unit and all below it. Raises ListingDeniedError."""
    from botocore.exceptions import ClientError

    try:
        accounts = _under(client, unit) if unit else _all_of(client.list_accounts, "Accounts")
        return {
            each["Id"]: SubAccount(each["Id"], str(each.get("Name") or ""), _state(each), _joined_on(each))
            for each in accounts
        }
    except ClientError as error:
        if error.response["Error"]["Code"] in DENIED | {NOT_IN_USE}:
            raise ListingDeniedError from error
        raise


def _state(account: Mapping[str, Any]) -> str:
    # `Status` is what it was called until September 2026.
    return str(account.get("State") or account.get("Status") or "")


def _joined_on(account: Mapping[str, Any]) -> date | None:
    joined = account.get("JoinedTimestamp")
    return joined.astimezone(UTC).date() if isinstance(joined, datetime) else None


def _under(client: Any, unit: str) -> Iterator[Mapping[str, Any]]:
    """The accounts in a unit and below it; each unit is looked into once, whatever lists it."""
    left, seen = [unit], {unit}
    while left:
        parent = left.pop()
        yield from _all_of(client.list_accounts_for_parent, "Accounts", ParentId=parent)
        for each in _all_of(client.list_organizational_units_for_parent, "OrganizationalUnits", ParentId=parent):
            if each["Id"] not in seen:
                seen.add(each["Id"])
                left.append(each["Id"])


def _all_of(call: Any, what: str, **asked: str) -> Iterator[Mapping[str, Any]]:
    token, seen = None, set[str]()
    while True:
        page = call(**asked, **({"NextToken": token} if token else {}))
        yield from page[what]
        token = page.get("NextToken")
        if not token:
            return
        if token in seen:
            raise NeverError("AWS's list of accounts goes in a circle: it leads to a page that was read already.")
        seen.add(token)
