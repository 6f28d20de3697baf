"""What the API says of things: the same words as the command line's `--json`."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from shared.domain.currencies import Conversion, ConvertedSum
from shared.domain.money import plain
from shared.domain.periods import Period as Days

Amount = Annotated[
    Decimal,
    PlainSerializer(plain, return_type=str),
    Field(description="A decimal as a text, of up to 10 places.", examples=["1234.56"]),
]
Currency = Annotated[str, Field(description="ISO 4217.", examples=["CAD"])]


def ends(days: Days | None) -> tuple[date | None, date | None]:
    """The first day and the last one of a period, if there is one."""
    return (days.start, days.last_day) if days else (None, None)


class Said(BaseModel):
    """Read from a record of ours, by the names of its fields."""

    model_config = ConfigDict(from_attributes=True)


class Converted(BaseModel):
    """What of a sum was in other currencies, by whose rates, and of which day the last one is."""

    amount: Amount
    sources: list[str] = Field(examples=[["ECB"]])
    last_rate_day: date | None

    @classmethod
    def of(cls, found: Conversion | ConvertedSum | None) -> Converted | None:
        """None where nothing was converted."""
        if found is None or not found.sources:
            return None
        amount = found.amount if isinstance(found, ConvertedSum) else found.total
        return cls(amount=amount, sources=sorted(map(str, found.sources)), last_rate_day=found.last_rate_day)


class ForecastOut(Said):
    """What the period will have cost at its end; low and high hold in four cases of five."""

    total: Amount
    low: Amount
    high: Amount


class Total(Said):
    """What projects with a budget in one currency come to."""

    currency: Currency
    projects: int
    amount: Amount
    used: Amount


class Listed(BaseModel):
    """A project in a list."""

    id: int
    acronym: str
    name: str
    active: bool
    known: str = Field(description="What is known of it: current, due, unwatched, over or never.")
    currency: Currency | None
    amount: Amount | None = Field(description="What it may spend in this period; null without a budget.")
    spent: Amount | None
    allocated: Amount | None
    percent: Amount | None = Field(description="How much of it is used, rounded down.")
    converted: Converted | None
    forecast: ForecastOut | None
    used_up_on: date | None
    period_start: date | None
    period_end: date | None = Field(description="The last day.")
    missing: list[str] = Field(description="What the figures lack; they are complete where this is empty.")
    alerts: list[int] = Field(description="Thresholds of which its people were told in this period, in percent.")
    problem: str | None
    owner: str | None
    department: str | None
    cost_centre: str | None
    locked_since: datetime | None
    as_of: datetime | None = Field(description="When the figures were worked out.")
    updated_at: datetime | None = Field(description="When its costs were last read.")


class Projects(BaseModel):
    """A page of projects."""

    items: list[Listed]
    count: int = Field(description="Of the whole list.")
    totals: list[Total] = Field(description="Of the whole list, by currency.")
    unknown: int = Field(description="Of so many nothing is known of the present period; they are in no total.")
    next_cursor: str | None


class SubAccount(Said):
    """Where costs come from."""

    provider: str
    sub_account_id: str
    resource_group: str


class Period(BaseModel):
    """A period of a project's budget."""

    period_start: date
    period_end: date
    currency: Currency | None
    carried: Amount
    final: bool
    stopped: bool
    spent: Amount
    allocated: Amount


class Revision(BaseModel):
    """A revision of a project's budget."""

    number: int
    budget: Amount | None
    currency: Currency | None
    period: str
    rollover: str
    thresholds: list[int] | None
    made_at: datetime
    made_by: str
    reason: str


class ProjectOut(BaseModel):
    """A project."""

    id: int
    acronym: str
    name: str
    active: bool
    language: str | None
    contacts: list[str]
    owner: str | None
    department: str | None
    cost_centre: str | None
    lock: str
    locked_since: datetime | None
    scopes: list[SubAccount]
    currency: Currency | None
    budget: Amount | None
    carried: Amount | None
    stopped: bool
    amount: Amount | None
    rollover: str
    thresholds: list[int] | None = Field(description="Its own; null for those of the installation.")
    spent: Amount
    opening_balance: Amount
    allocated: Amount
    percent: Amount | None
    converted: Converted | None
    forecast: ForecastOut | None
    used_up_on: date | None
    period_start: date | None
    period_end: date | None
    missing: list[str]
    problem: str | None
    alerts: list[int]
    undelivered: dict[int, str]
    updated_at: datetime | None
    periods: list[Period]
    revisions: list[Revision]


class Cost(BaseModel):
    """A sum in one currency. What it is of, by the names that `by` has."""

    of: dict[str, str]
    cost: Amount
    currency: Currency


class Allocation(BaseModel):
    """What a rule gave a project of what no project owns; null for what is left."""

    rule: str
    project: str | None
    amount: Amount
    currency: Currency


class Costs(BaseModel):
    """What was spent on some days."""

    project: str | None
    sub_account_id: str | None
    unallocated: bool
    first_day: date
    last_day: date
    by: str
    items: list[Cost]
    totals: dict[str, Amount]
    in_one: Amount | None = Field(description="All of it in `currency`, where something was converted.")
    currency: Currency | None
    converted: Converted | None
    opening_balance: Amount
    allocated: list[Allocation]
    missing: list[str]


class Delivery(Said):
    """What became of a mail for one recipient."""

    recipient: str
    role: str
    state: str
    reason: str | None


class MailOut(BaseModel):
    """A mail, and whom it has reached."""

    id: int
    project: str | None
    topic: str
    threshold: int | None
    subject: str | None
    to: list[str]
    language: str | None
    made_at: datetime
    state: str
    attempts: int
    sent_at: datetime | None
    reason: str | None
    deliveries: list[Delivery]


class Decision(BaseModel):
    """A decision about a lock."""

    id: int
    at: datetime
    project: str
    action: str
    outcome: str
    reason: str
    trigger: str
    by: str | None
    asked: str | None


class CloudAccountOut(Said):
    """Where costs are read from."""

    id: int
    name: str
    organization: str
    provider: str
    connection_type: str
    external_account_id: str
    detail: str
    status: str
    last_synced_at: datetime | None
    last_sync_error: str | None
    disabled_why: str | None


class CloudAccountDetails(CloudAccountOut):
    """A cloud account, and what it feeds."""

    sub_accounts: list[str]


class ExportRun(BaseModel):
    """A run of a cost export."""

    id: int
    export: str
    provider: str
    dataset: str
    first_day: date | None
    last_day: date | None
    months: list[date]
    place: str
    submitted_at: datetime
    state: str
    reason: str | None
    found_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    parts: int | None
    rows: int | None
    size: int | None = Field(description="In bytes.")
    sums: dict[str, Amount]


class Feed(BaseModel):
    """Who feeds a sub-account, or a group of it."""

    provider: str
    sub_account_id: str
    group: str | None
    source: str
    name: str
    first_day: date | None
    last_day: date | None


class Failure(BaseModel):
    """What could not be read, and why."""

    scope: str
    reason: str


class Run(BaseModel):
    """A run of the chain: a night, or one by hand."""

    key: str
    trigger: str
    state: str
    complete: bool
    started_at: datetime
    finished_at: datetime | None
    scopes: dict[str, int]
    mails: dict[str, int]
    errors: list[Failure]
    unchecked: list[str]


class Gap(BaseModel):
    """What figures lack, and of which projects."""

    what: str
    projects: list[str]


class Letter(Said):
    """A message that failed for good."""

    id: int
    queue: str
    body: str
    reason: str
    at: datetime
    replayed_at: datetime | None
    discarded_at: datetime | None
    discarded_by: str | None
    discard_reason: str | None


class ChangeOut(Said):
    """What a person changed."""

    id: int
    at: datetime
    action: str
    subject: str
    project_id: int | None
    by: str
    by_id: str | None = Field(description="Entra's object id.")
    via: str
    reason: str
    details: dict[str, Any]


class Decisions(BaseModel):
    """Decisions about locks, oldest first."""

    items: list[Decision]


class Mails(BaseModel):
    """Mails, newest first."""

    items: list[MailOut]


class CloudAccounts(BaseModel):
    """Cloud accounts."""

    items: list[CloudAccountOut]


class ExportRuns(BaseModel):
    """Runs of exports, newest first."""

    items: list[ExportRun]


class Feeds(BaseModel):
    """Who feeds what."""

    items: list[Feed]


class Runs(BaseModel):
    """Runs, newest first."""

    items: list[Run]


class Coverage(BaseModel):
    """What figures lack today: what concerns most projects first; nothing where all is known."""

    items: list[Gap]


class Letters(BaseModel):
    """Dead letters, oldest first."""

    items: list[Letter]


class Changes(BaseModel):
    """Changes, oldest first. Ask for those after the last one's id; the newest of them may come in another order."""

    items: list[ChangeOut]
