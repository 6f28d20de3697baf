"""Stand-ins for what lies behind our own ports; each passes the contract suite of its port (tests/contracts)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from shared.adapters.mail.mime import check, recipients
from shared.domain.charges import ChargeSet, key_of_group
from shared.domain.exports.runs import Blob
from shared.domain.periods import Period
from shared.domain.quota import Quota
from shared.messages import Message, Queue, origin_of, to_json
from shared.ports.azure import AZURE
from shared.ports.blobs import BlobStore, ListedBlob
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.costs import (
    AccountsAnswer,
    AccountsQuery,
    CostAnswer,
    CostQuery,
    MayCall,
    SubAccount,
    Tried,
)
from shared.ports.errors import CallsUsedError, GoneError, NeverError, NoAnswerError
from shared.ports.mails import Handover, OutgoingMail, Refusal
from shared.ports.notes import Note

SOME_QUOTA = Quota(50, 500, 10.0, 12, 10)


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **step: float) -> None:
        self.now += timedelta(**step)


def charges_of(answer: CostAnswer) -> ChargeSet:
    """An answer's charges, where they are of one currency at most."""
    charges, *others = answer.charges or (ChargeSet(),)
    assert not others
    return charges


@dataclass
class FakeCosts:
    """A provider's charges, as (sub-account, group, day, service) → amount, in one currency.

    currency_of: in another, by their day. odd: what is wrong with rows of each answer, by group key.
    """

    charges: dict[tuple[str, str, date, str], Decimal] = field(default_factory=dict)
    currency_of: Callable[[date], str] = lambda _day: "CAD"
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    accounts: frozenset[str] | None = None
    queries: list[CostQuery] = field(default_factory=list)
    resumed: list[bytes | None] = field(default_factory=list)
    fails: Callable[[CostQuery], Exception | None] = lambda _query: None
    provider: str = AZURE
    connection_type: str = "COST_MANAGEMENT"
    longest_window: timedelta = timedelta(days=31)
    months_of_history: int = 13
    month_closed_on: int = 5
    quota: Quota = SOME_QUOTA
    has_groups: bool = True
    odd: dict[str, str] = field(default_factory=dict)

    def read(self, query: CostQuery, progress: bytes | None = None, until: datetime | None = None) -> CostAnswer:
        if query.provider != self.provider or (query.resource_groups and not self.has_groups):
            raise NeverError(f"{self.provider} can't be asked that: {query}.")
        if query.window.days > self.longest_window.days:
            raise NeverError(f"{self.provider} answers {self.longest_window.days} days at most.")
        self.queries.append(query)
        self.resumed.append(progress)
        error = self.fails(query)
        if error is not None:
            raise error
        if self.accounts is not None and query.sub_account_id not in self.accounts:
            raise NeverError(f"There is no account {query.sub_account_id}.")
        return CostAnswer(self._charges(query), self.clock(), dict(self.odd))

    def _charges(self, query: CostQuery) -> tuple[ChargeSet, ...]:
        answers: dict[str, ChargeSet] = {}
        wanted = {key_of_group(group) for group in query.resource_groups}
        for (account, group, day, service), amount in self.charges.items():
            in_group = not wanted or key_of_group(group) in wanted
            if account == query.sub_account_id and day in query.window and in_group:
                currency = self.currency_of(day)
                answer = answers.setdefault(currency, ChargeSet())
                answer.add(group if self.has_groups else "", day, service, amount, currency)
        return tuple(each.rounded() for each in answers.values())


@dataclass
class FakeCostsWithTotals(FakeCosts):
    """One that tells totals, too. totals_asked: of which."""

    totals_asked: list[CostQuery] = field(default_factory=list)

    def totals(self, query: CostQuery) -> dict[str, Decimal]:
        self.totals_asked.append(query)
        error = self.fails(query)
        if error is not None:
            raise error
        charges = self._charges(query)
        return {str(each.billing_currency): sum(each.amounts.values(), Decimal(0)) for each in charges}


@dataclass
class FakePayers:
    """Providers whose payers are asked for all sub-accounts: (payer, sub-account, day, service) → amount, in USD.

    currency_of: in another, by payer and day. listed: what each payer lists; None where that is not allowed.
    page_days: how many days of an answer a page holds; pages_of_a_day: how many such there are. asked: the payer and
    the days of each query; answered: the days of those that came whole. pages: how many were handed out.
    """

    charges: dict[tuple[str, str, date, str], Decimal] = field(default_factory=dict)
    currency_of: Callable[[str, date], str] = lambda _payer, _day: "USD"
    listed: dict[str, list[SubAccount] | None] = field(default_factory=dict)
    page_days: int = 31
    pages_of_a_day: int = 1
    answered: list[Period] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    asked: list[tuple[str, Period]] = field(default_factory=list)
    pages: int = 0
    fails: Callable[[AccountsQuery], Exception | None] = lambda _query: None
    provider: str = "aws"
    connection_type: str = "COST_EXPLORER"
    longest_window: timedelta = timedelta(days=31)
    months_of_history: int = 13
    month_closed_on: int = 10
    quota: Quota = SOME_QUOTA
    has_groups: bool = False
    price: Decimal = Decimal("0.01")
    price_currency: str = "USD"

    def read_all(
        self, query: AccountsQuery, may_call: MayCall, progress: bytes | None = None, until: datetime | None = None
    ) -> AccountsAnswer:
        payer = query.cloud_account
        if query.window.days > self.longest_window.days:
            raise NoAnswerError(f"{self.provider} answers {self.longest_window.days} days at most.")
        self.asked.append((payer.external_account_id, query.window))
        if (error := self.fails(query)) is not None:
            raise error
        for _ in range(-(-query.window.days // self.page_days) * self.pages_of_a_day):
            if not may_call():
                raise CallsUsedError("The paid calls of the day are made.")
            self.pages += 1
        self.answered.append(query.window)
        found: dict[str, dict[str, ChargeSet]] = {}
        for (whose, account, day, service), amount in self.charges.items():
            if whose == payer.external_account_id and day in query.window and account in (payer.reads or (account,)):
                currency = self.currency_of(whose, day)
                charges = found.setdefault(account, {}).setdefault(currency, ChargeSet())
                charges.add("", day, service, amount, currency)
        sets = {account: tuple(each.rounded() for each in its.values()) for account, its in found.items()}
        return AccountsAnswer(sets, self.clock())

    def sub_accounts(self, cloud_account: CloudAccount) -> dict[str, SubAccount] | None:
        listed = self.listed.get(cloud_account.external_account_id)
        if listed is None:
            return None
        return {each.id: each for each in listed if each.id in (cloud_account.reads or (each.id,))}

    def test(self, cloud_account: CloudAccount, may_call: MayCall) -> Tried:
        yesterday = self.clock().date() - timedelta(days=1)
        try:
            self.read_all(AccountsQuery(cloud_account, Period(yesterday, yesterday + timedelta(days=1))), may_call)
        except NeverError as error:
            return Tried(None, can_read=False, missing=(error.reason,))
        is_listed = self.sub_accounts(cloud_account) is not None or not cloud_account.is_organization
        missing = () if is_listed else ("The accounts of the organization can't be listed.",)
        return Tried(f"the reader of {cloud_account.external_account_id}", can_read=True, missing=missing)


@dataclass
class FakeQueues:
    """Queues in memory: what was sent, with its delay, what was put back onto their `-poison` queues, and notes."""

    sent: list[tuple[Queue, str, timedelta]] = field(default_factory=list)
    poisoned: list[tuple[Queue, str, timedelta]] = field(default_factory=list)
    fails: Callable[[], Exception | None] = lambda: None
    notes: dict[Note, str] = field(default_factory=dict)

    def noted(self, note: Note) -> str | None:
        error = self.fails()
        if error is not None:
            raise error
        return self.notes.get(note)

    def write(self, note: Note, text: str) -> None:
        error = self.fails()
        if error is not None:
            raise error
        self.notes[note] = text

    def send(self, queue: Queue, message: Message | str, delay: timedelta = timedelta(0)) -> None:
        error = self.fails()
        if error is not None:
            raise error
        text = message if isinstance(message, str) else to_json(message)
        self.sent.append((queue, text, max(delay, timedelta(0))))

    def next_in(self, queue: Queue) -> str | None:
        error = self.fails()
        if error is not None:
            raise error
        return next((text for name, text, delay in self.sent if name is queue and not delay), None)

    def put_back_poisoned(self, queue: Queue, text: str, delay: timedelta) -> None:
        error = self.fails()
        if error is not None:
            raise error
        self.poisoned.append((queue, text, delay))

    def count_poisoned(self, queue: Queue) -> int:
        error = self.fails()
        if error is not None:
            raise error
        return sum(name is queue for name, _, _ in self.poisoned)

    def take_poisoned(self, queue: Queue, bury: Callable[[str, str], None]) -> None:
        for each in [each for each in self.poisoned if each[0] is queue and not each[2]]:
            bury(each[1], origin_of(None, None, each[1]))
            self.poisoned.remove(each)

    def check(self) -> None:
        """All queues are there."""

    def take(self) -> list[tuple[Queue, str, timedelta]]:
        """What was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent


@dataclass
class FakeBlobs(BlobStore):
    """Containers in memory. fails: by the name of what is asked (`listed`, `read` …). asked: how often, by that."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    containers: dict[str, dict[str, tuple[bytes, ListedBlob]]] = field(default_factory=dict)
    fails: Callable[[str], Exception | None] = lambda _what: None
    asked: list[str] = field(default_factory=list)

    def put(self, container: str, name: str, content: bytes) -> ListedBlob:
        """Somebody writes a blob; each time with an ETag of its own."""
        blobs = self.containers.setdefault(container, {})
        self.written = getattr(self, "written", 0) + 1
        listed = ListedBlob(name, Blob(len(content), f"0x{self.written:X}"), self.clock().replace(microsecond=0))
        blobs[name] = (content, listed)
        return listed

    def delete(self, container: str, name: str) -> None:
        del self.containers[container][name]

    def listed(self, container: str, folder: str = "") -> Iterator[ListedBlob]:
        start = f"{folder.strip('/')}/" if folder.strip("/") else ""
        blobs = self._in(container, "listed")
        yield from (listed for name, (_, listed) in sorted(blobs.items()) if name.startswith(start))

    def found(self, container: str, names: Collection[str]) -> dict[str, ListedBlob]:
        blobs = self._in(container, "found")
        return {name: blobs[name][1] for name in names if name in blobs}

    def read(self, container: str, name: str, most: int) -> tuple[bytes, ListedBlob] | None:
        found = self._in(container, "read").get(name)
        return found and (found[0][: most + 1], found[1])

    def download(self, container: str, listed: ListedBlob, path: Path) -> bool:
        content, now = self._in(container, "download").get(listed.name, (b"", None))
        if now is None or now.blob.etag != listed.blob.etag:
            return False
        path.write_bytes(content)
        return True

    def write(self, container: str, name: str, content: bytes) -> None:
        self._meet("write")
        self.put(container, name, content)

    def _in(self, container: str, what: str) -> dict[str, tuple[bytes, ListedBlob]]:
        self._meet(what)
        if container not in self.containers:
            raise GoneError(f"there is no container {container}")
        return self.containers[container]

    def _meet(self, what: str) -> None:
        self.asked.append(what)
        error = self.fails(what)
        if error is not None:
            raise error


@dataclass
class FakeMailer:
    """A mail provider in memory. refuses: recipients, by address. sent: what was taken, for those who got it."""

    sent: list[OutgoingMail] = field(default_factory=list)
    fails: Callable[[OutgoingMail], Exception | None] = lambda _mail: None
    refuses: dict[str, Refusal] = field(default_factory=dict)

    def check(self) -> str:
        return "it is there"

    def send(self, mail: OutgoingMail) -> Handover:
        error = self.fails(mail)
        if error is not None:
            raise error
        check(mail)
        roles = dict(zip(("to", "cc", "bcc"), recipients(mail), strict=True))
        taken = {name: tuple(each for each in found if each not in self.refuses) for name, found in roles.items()}
        if any(taken.values()):
            self.sent.append(replace(mail, **taken))
        asked = {address for found in roles.values() for address in found}
        refused = {address: self.refuses[address] for address in asked & self.refuses.keys()}
        return Handover(f"receipt-{len(self.sent)}", refused)
