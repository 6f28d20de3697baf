"""The tables. Every column's type means the same on SQLite, PostgreSQL and SQL Server.

Where the charges of a project are: charges → scope_owners (by day; none for unallocated spend) → projects.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, Boolean, Column, Date, ForeignKey, Index, Integer, Unicode, UniqueConstraint
from sqlalchemy.types import TypeEngine

from shared.adapters.database.types import Converted, Money, UtcDateTime, cleaned, fitted, key_text, sorted_text
from shared.domain.allocation import Method
from shared.domain.budgets import Rollover
from shared.domain.coverage import CoverageState
from shared.domain.deliveries import DeliveryState, Role
from shared.domain.exports.runs import Dataset, Width
from shared.domain.exports.runs import RunState as ExportRunState
from shared.domain.locks import LockWhy, Outcome
from shared.domain.periods import PeriodKind
from shared.domain.projects import LockPolicy
from shared.messages import LockAction, LockTrigger
from shared.ports.changes import Action, Via
from shared.ports.charges import AnswerState
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.mails import LONGEST_RECEIPT, MailState, Topic
from shared.ports.runs import RunState, RunTrigger, ScopeState

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# What stands in keys, of which no part is ever empty, for all groups of a sub-account.
WHOLE = "*"
Kind = TypeEngine[Any] | type[TypeEngine[Any]]


def table(name: str, *columns: sa.schema.SchemaItem, **options: Any) -> sa.Table:
    """One of the app's tables."""
    return sa.Table(name, metadata, *columns, **options)


def needed(**kinds: Kind) -> list[Column[Any]]:
    """Columns that are never empty, by name."""
    return [Column(name, kind, nullable=False) for name, kind in kinds.items()]


def optional(**kinds: Kind) -> list[Column[Any]]:
    """Columns that may be empty, by name."""
    return [Column(name, kind) for name, kind in kinds.items()]


def key(**kinds: Kind) -> list[Column[Any]]:
    """The columns of the primary key, by name."""
    return [Column(name, kind, primary_key=True) for name, kind in kinds.items()]


# A project, the revision of its budget that counts, and what its last check saw. What `domain.projects.Project` says
# stands in the columns whose keys are its fields.
projects = table(
    "projects",
    Column("id", Integer, primary_key=True, autoincrement=False),
    # The key is in lower case, so that no two projects differ by case only.
    Column("acronym_key", key_text(50), nullable=False, unique=True),
    *needed(acronym=Unicode(50), name=Unicode(200), contacts=Converted(JSON(), list, tuple), active=Boolean()),
    *optional(language=Unicode(2)),
    *optional(owner=Unicode(200), department=Unicode(200), cost_centre=Unicode(100)),
    Column("lock_policy", Converted(Unicode(10), str, LockPolicy), key="lock", nullable=False, server_default="auto"),
    # The number (not the id: that would make a circle of foreign keys) of the revision that counts.
    *needed(budget_number=Integer()),
    # When the watchdog last asked for that check again stands apart, so that it stays known which run made it due.
    *optional(costs_read_at=UtcDateTime(), check_due_since=UtcDateTime(), check_requeued_at=UtcDateTime()),
    # Counts checks; its update is the lock under which a check runs.
    *needed(checks=Integer()),
    *optional(checked_at=UtcDateTime(), checked_usage=Money()),
    *optional(checked_thresholds=Converted(JSON(none_as_null=True), sorted, frozenset)),
    # The period in which that was. A check in another one starts afresh.
    *optional(period_start=Date(), period_end=Date(), problem=fitted(1000)),
    # What the last check expected of the period in this row; empty where it could not tell.
    *optional(forecast_total=Money(), forecast_low=Money(), forecast_high=Money(), forecast_days=Integer()),
    *optional(used_up_on=Date()),
)

# Every revision of every budget; an amount that is empty or 0 means none.
budgets = table(
    "budgets",
    *key(id=Integer()),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    *needed(number=Integer(), currency=key_text(3)),
    *needed(period_kind=Converted(Unicode(10), str, PeriodKind), period_rule_start=Date()),
    *optional(amount=Money(), period_rule_end=Date()),
    Column("rollover", Converted(Unicode(12), str, Rollover), nullable=False, server_default="reset"),
    # Percents of its own; empty for those of the settings.
    *optional(thresholds=Converted(JSON(none_as_null=True), list, tuple)),
    # What was spent before the charges that can be read, and in which period (its first day).
    *optional(opening_balance=Money(), opening_period_start=Date()),
    *needed(made_at=UtcDateTime(), made_by=fitted(100), reason=fitted(1000)),
    # The first revision in a row that gives the same amount for the same period; empty where that is this one.
    *optional(same_since=Integer()),
    # Whether a projects file said so, and nobody by hand.
    Column("by_load", Boolean, nullable=False, server_default=sa.false()),
    UniqueConstraint("project_id", "number"),
)

# How a project stands: ports.standings.Standing, as far as its own row and that of its lock don't say it. `searched`:
# domain.standings.searched. Empty from `as_of` on where nothing has been worked out.
standings = table(
    "standings",
    Column("project_id", ForeignKey("projects.id"), primary_key=True, autoincrement=False),
    *needed(acronym_key=fitted(100, sorted_text), searched=cleaned()),
    *optional(as_of=UtcDateTime(), currency=sorted_text(3), period_start=Date(), period_end=Date()),
    *optional(amount=Money(), spent=Money(), allocated=Money(), percent=Money(), converted=Money()),
    *optional(rate_sources=JSON(none_as_null=True), last_rate_day=Date(), lacks_from=Date(), ends_on=Date()),
    # A list of [currency, day].
    *optional(unrated=JSON(none_as_null=True)),
)

# A period of a project's budget that was opened, and what came into it from the one before.
budget_periods = table(
    "budget_periods",
    *key(id=Integer()),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    *needed(period_start=Date(), period_end=Date()),
    # In another currency than the budget's, what was carried does not count.
    *needed(currency=key_text(3), carried=Money(), stopped=Boolean()),
    # What was carried is final: no late charge of the period before changes it any more.
    *needed(settled=Boolean(), opened_at=UtcDateTime()),
    # It is over, no night reads its days again, and it was compared with its budget for the last time.
    Column("closed", Boolean, nullable=False, server_default=sa.false()),
    # What its last check saw, once the project's row holds another period.
    *optional(checked_usage=Money()),
    *optional(checked_thresholds=Converted(JSON(none_as_null=True), sorted, frozenset)),
    UniqueConstraint("project_id", "period_start"),
)

# Where costs are read from, and how. `credentials` are sealed.
cloud_accounts = table(
    "cloud_accounts",
    *key(id=Integer()),
    *needed(name=Unicode(200), organization=Unicode(100), provider=key_text(20), connection_type=key_text(20)),
    *needed(external_account_id=key_text(200), detail=Unicode(10)),
    *needed(status=Converted(Unicode(10), str, AccountStatus)),
    *optional(role_arn=Unicode(300), external_id=Unicode(200), credentials=sa.LargeBinary()),
    *optional(last_synced_at=UtcDateTime(), last_sync_error=fitted(1000), last_manual_sync_at=UtcDateTime()),
    *optional(disabled_why=fitted(1000)),
    Column("is_organization", Boolean, nullable=False, server_default=sa.false()),
    *optional(reads=Converted(JSON(none_as_null=True), list, tuple), organizational_unit=Unicode(100)),
    Column("without_credits", Boolean, nullable=False, server_default=sa.false()),
    UniqueConstraint("provider", "connection_type", "external_account_id"),
    # No id comes twice: one that is gone may stand in a message, or in a sync under way.
    sqlite_autoincrement=True,
)

# The keys of ENCRYPTION_KEYS that have sealed credentials: what each has sealed tells whether it is still the same.
sealing_keys = table(
    "sealing_keys",
    *key(key_id=key_text(40)),
    *needed(sealed=Unicode(200), made_at=UtcDateTime()),
)

# How much of a currency one euro was worth on a day, as the European Central Bank has set it.
rates = table(
    "rates",
    *key(day=Date(), currency=key_text(3)),
    *needed(per_euro=Money()),
)

# What the organization has fixed for its budgets: what one `base` is worth in `to`. Rows are only ever added.
fixed_rates = table(
    "fixed_rates",
    *key(id=Integer()),
    *needed(base=key_text(3), to=key_text(3), first_day=Date(), last_day=Date(), rate=Money()),
    *needed(made_at=UtcDateTime(), made_by=fitted(100), reason=fitted(1000)),
)

# The sub-accounts, and which cloud account feeds each.
accounts = table(
    "accounts",
    *key(provider=key_text(20), sub_account_id=key_text(100)),
    *optional(cloud_account_id=Integer()),
    # As its provider lists it: ports.payers.Member.
    *optional(name=fitted(200), state=fitted(40), left_on=Date(), read_since=Date()),
)

# How many paid calls a cloud account has made on a day.
paid_calls = table(
    "paid_calls",
    *key(cloud_account_id=Integer(), day=Date()),
    *needed(calls=Integer()),
)

# What each sync of a cloud account came to: ports.payers.Sync.
syncs = table(
    "syncs",
    *key(cloud_account_id=Integer(), run_key=key_text(100)),
    *needed(started_at=UtcDateTime(), finished_at=UtcDateTime(), rows=Integer(), totals=JSON(), services=Integer()),
    *needed(calls=Integer(), errors=JSON()),
    *optional(days_unfit=Integer(), left_out=JSON(none_as_null=True)),
    *optional(answered=JSON(none_as_null=True), service_names=JSON(none_as_null=True)),
)

# What is known of one month of a sub-account's charges: domain.coverage.Coverage.
coverage = table(
    "coverage",
    *key(provider=key_text(20), sub_account_id=key_text(100), month=Date()),
    *needed(source=key_text(20)),
    *optional(read_from=Date(), read_through=Date(), begun_at=UtcDateTime(), good_on=Date()),
    *needed(state=Converted(Unicode(10), str, CoverageState)),
    *optional(reason=fitted(1000)),
    *needed(suspect_nights=Integer()),
    *optional(suspect_on=Date(), suspect_at=UtcDateTime()),
    *optional(compared_on=Date(), odd=JSON(none_as_null=True), estimated_from=Date()),
)


# The same of a group of it, where exports of groups feed it.
group_coverage = table(
    "group_coverage",
    *key(provider=key_text(20), sub_account_id=key_text(100), group_key=key_text(100), month=Date()),
    *needed(source=key_text(20)),
    *optional(read_from=Date(), read_through=Date(), begun_at=UtcDateTime(), good_on=Date()),
    *needed(state=Converted(Unicode(10), str, CoverageState)),
    *optional(reason=fitted(1000)),
    *needed(suspect_nights=Integer()),
    *optional(suspect_on=Date(), suspect_at=UtcDateTime()),
    *optional(compared_on=Date(), odd=JSON(none_as_null=True), estimated_from=Date()),
)

# Which days the answers of the last day have stored, of which groups (none named: of all).
stored_answers = table(
    "stored_answers",
    *key(id=Integer()),
    *needed(provider=key_text(20), sub_account_id=key_text(100), window_start=Date(), window_end=Date()),
    *needed(begun_at=UtcDateTime(), group_keys=Converted(JSON(), sorted, frozenset)),
    Index("ix_stored_answers_account", "provider", "sub_account_id"),
)

# A resource group of a sub-account, and the project that owns it now.
scopes = table(
    "scopes",
    *key(id=Integer()),
    *needed(provider=key_text(20), sub_account_id=key_text(100), x_resource_group_name=Unicode(100)),
    # In lower case: groups are compared without regard to case. Empty for charges outside of any group.
    *needed(group_key=key_text(100)),
    Column("project_id", ForeignKey("projects.id"), index=True),
    UniqueConstraint("provider", "sub_account_id", "group_key"),
)

# Whose the charges of a scope are, by day (domain.owners.Ownership): they stay with the project that had it then.
scope_owners = table(
    "scope_owners",
    *key(id=Integer()),
    Column("scope_id", ForeignKey("scopes.id"), nullable=False, index=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    # settles_on: from this day on no night reads the days of an ownership that has ended.
    *optional(owned_from=Date(), owned_until=Date(), settles_on=Date()),
)

# The key is the whole row but for the amount: SQLite keeps it once, in key order.
charges = table(
    "charges",
    Column("scope_id", ForeignKey("scopes.id"), primary_key=True),
    *key(charge_period_start=Date(), service_name=key_text(200), billing_currency=key_text(3)),
    *needed(billed_cost=Money()),
    sqlite_with_rowid=False,
)

# What charges are made of, where their cloud account asks for meters; each charge is what its meters come to. They are
# apart, so that the key of `charges` stays as the version before knows it (docs/architecture.md).
charge_meters = table(
    "charge_meters",
    Column("scope_id", ForeignKey("scopes.id"), primary_key=True),
    *key(charge_period_start=Date(), service_name=key_text(200), sku_meter=key_text(200), billing_currency=key_text(3)),
    *needed(billed_cost=Money()),
    sqlite_with_rowid=False,
)

# Every version of every rule that allocates charges of no project: domain.allocation.Rule. Rows are only ever added.
# A condition on a tag would be one more column here, empty for rules without one.
allocation_rules = table(
    "allocation_rules",
    *key(id=Integer()),
    # The key is in lower case, so that no two rules differ by case only.
    *needed(name_key=key_text(100), name=Unicode(100), number=Integer()),
    *needed(provider=key_text(20), sub_account_id=key_text(100)),
    # Empty for all that no rule of a group allocates.
    *optional(group_key=key_text(100), x_resource_group_name=Unicode(100)),
    *needed(method=Converted(Unicode(30), str, Method), first_day=Date()),
    *optional(last_day=Date()),
    *needed(made_at=UtcDateTime(), made_by=fitted(100), reason=fitted(1000)),
    UniqueConstraint("name_key", "number"),
)

# Whom a version gives shares, in its order; a proportional one without any gives them to all projects.
allocation_shares = table(
    "allocation_shares",
    Column("rule_id", ForeignKey("allocation_rules.id"), primary_key=True),
    Column("project_id", ForeignKey("projects.id"), primary_key=True, index=True),
    *needed(position=Integer()),
    *optional(percent=Money()),
)

exports = table(
    "exports",
    *key(id=Integer()),
    # domain.exports.runs.Export: its key, and what it says.
    Column("key", key_text(400), nullable=False, unique=True),
    *needed(provider=key_text(20), external_id=fitted(400), name=fitted(200)),
    *needed(dataset=Converted(Unicode(10), str, Dataset), width=Converted(Integer(), int, Width)),
    *needed(billing_account=fitted(200), found_at=UtcDateTime()),
)

# What exports have delivered, those that feed nothing too: for each day what the newest run says that speaks for it.
# In `charges` is what of it counts, by day and service.
export_charges = table(
    "export_charges",
    Column("scope_id", ForeignKey("scopes.id"), primary_key=True),
    *key(export_id=Integer(), billing_period=Date(), charge_period_start=Date()),
    *key(service_name=key_text(200), billing_currency=key_text(3)),
    *needed(billed_cost=Money()),
    sqlite_with_rowid=False,
)

# Every run that was found: ports.export_runs.RunRecord.
export_runs = table(
    "export_runs",
    *key(id=Integer()),
    Column("export_id", ForeignKey("exports.id"), nullable=False, index=True),
    *optional(cloud_account_id=Integer()),
    *needed(run_id=fitted(200, key_text), place=fitted(1100), container=fitted(100), content=key_text(64)),
    *optional(submitted_at=UtcDateTime(), days_start=Date(), days_end=Date()),
    *needed(modified_at=UtcDateTime(), found_at=UtcDateTime()),
    Column("state", Converted(Unicode(10), str, ExportRunState), nullable=False, index=True),
    *optional(started_at=UtcDateTime(), finished_at=UtcDateTime(), parts=Integer()),
    *optional(rows=sa.BigInteger(), size=sa.BigInteger(), totals=JSON(), reason=fitted(2000)),
    *optional(added=Integer(), changed=Integer(), removed=Integer(), changed_from=Date(), changed_until=Date()),
    # Of one whose parts are all read: how many buckets of its sums are charges already, and what was said of those.
    *optional(made=Integer(), verdicts=JSON(none_as_null=True)),
    # The billing periods in its rows, once its charges are made.
    *optional(periods=JSON(none_as_null=True)),
)

# Of a run that is being imported. periods: the billing periods in its rows; odd: what a person should know.
export_parts = table(
    "export_parts",
    Column("run_id", ForeignKey("export_runs.id"), primary_key=True),
    *key(number=Integer()),
    *needed(name=fitted(1100), etag=fitted(200), size=sa.BigInteger()),
    *optional(rows=sa.BigInteger(), staged_at=UtcDateTime(), periods=JSON(), odd=JSON()),
)

# What the parts of a run come to, those of some sub-accounts together (a bucket); gone when they are charges.
export_sums = table(
    "export_sums",
    *key(run_id=Integer(), bucket=Integer(), number=Integer()),
    *needed(sums=sa.LargeBinary()),
)

# For which days a run has spoken, where a newer one has not for all of them: domain.exports.days.Spoken.
export_spoken = table(
    "export_spoken",
    *key(export_id=Integer(), provider=key_text(20), sub_account_id=key_text(100), group_key=key_text(100)),
    *key(billing_period=Date(), run_id=Integer()),
    *needed(days=JSON(), outside=Boolean()),
)

# Whose charges of a month count, of a sub-account or a group of it, where that is exports' (by their ids).
export_months = table(
    "export_months",
    *key(provider=key_text(20), sub_account_id=key_text(100), group_key=key_text(100), month=Date()),
    *needed(export_ids=JSON()),
)

# Which exports feed a sub-account, or a group of it: domain.exports.feeding.Feed. None where the query does.
export_feeds = table(
    "export_feeds",
    *key(provider=key_text(20), sub_account_id=key_text(100), group_key=key_text(100), export_id=Integer()),
    *optional(first_day=Date(), last_day=Date()),
)

# What operators ordered by `exports use`: domain.exports.feeding.Order. Rows are only ever added.
export_orders = table(
    "export_orders",
    *key(id=Integer()),
    *needed(source=key_text(400), at=UtcDateTime(), by=fitted(100)),
    *optional(provider=key_text(20), sub_account_id=key_text(100)),
)

# A threshold that counts as told, for one revision in one period. `outcome`: domain.thresholds.AlertOutcome.
alerts = table(
    "alerts",
    *key(id=Integer()),
    Column("budget_id", ForeignKey("budgets.id"), nullable=False),
    *needed(period_start=Date(), threshold=Integer(), outcome=Unicode(20), usage=Money(), made_at=UtcDateTime()),
    # The key of its mail (mails.key), which is written in the same transaction.
    *optional(mail_key=key_text(200)),
    UniqueConstraint("budget_id", "period_start", "threshold"),
)

mails = table(
    "mails",
    *key(id=Integer()),
    Column("key", key_text(200), nullable=False, unique=True),
    # `context` is what the template needs.
    *needed(template=Unicode(40), recipients=JSON(), context=JSON(), message_id=Unicode(200)),
    *optional(language=Unicode(2)),
    # What it is about: its topic (ports.mails.Topic), and of which project, revision, period and threshold.
    Column("topic", Converted(key_text(30), str, Topic), nullable=False, server_default="other"),
    Column("project_id", ForeignKey("projects.id"), index=True),
    *optional(budget_number=Integer(), period_start=Date(), threshold=Integer()),
    Column("run_key", key_text(100), index=True),
    Column("state", Converted(Unicode(10), str, MailState), nullable=False),
    *needed(attempts=Integer(), made_at=UtcDateTime(), due_at=UtcDateTime()),
    *optional(first_attempt_at=UtcDateTime(), claimant=Unicode(100), claimed_until=UtcDateTime()),
    # `notes`: whom earlier versions left out; now that is in `deliveries`.
    *optional(sent_at=UtcDateTime(), receipt=fitted(LONGEST_RECEIPT), notes=cleaned(), reason=fitted(1000)),
    # By an operator: whoever lacks it is to lack it.
    *optional(discarded_at=UtcDateTime()),
    Index("ix_mails_topic_project_id", "topic", "project_id"),
    # By the state alone, each check of some projects would look through all mails that wait.
    Index("ix_mails_state_project_id", "state", "project_id"),
)

# What became of a mail for each recipient, once it was handed over. An address that is none may be as long as it likes.
deliveries = table(
    "deliveries",
    Column("mail_id", ForeignKey("mails.id"), primary_key=True),
    *key(role=Converted(key_text(10), str, Role), recipient=fitted(320, key_text)),
    *needed(state=Converted(Unicode(10), str, DeliveryState)),
    *optional(reason=fitted(1000)),
)

runs = table(
    "runs",
    *key(key=key_text(100)),
    *needed(trigger=Converted(Unicode(20), str, RunTrigger), state=Converted(Unicode(10), str, RunState)),
    Column("started_at", UtcDateTime, nullable=False, index=True),
    *optional(finished_at=UtcDateTime(), reported_at=UtcDateTime()),
    # Of a night: the occurrence of its schedule. Of every run: when the last of its messages is to be taken.
    *optional(scheduled_for=UtcDateTime(), planned_until=UtcDateTime()),
)

# Since when a timer's schedule is the one that it is.
schedules = table(
    "schedules",
    *key(name=key_text(50)),
    *needed(text=fitted(300), since=UtcDateTime()),
)

run_scopes = table(
    "run_scopes",
    *key(id=Integer()),
    Column("run_key", ForeignKey("runs.key"), nullable=False),
    # The target in words, unique within the run.
    *needed(subject=key_text(300)),
    *optional(subscription_id=Unicode(100), project_id=Integer(), resource_group=Unicode(100)),
    *optional(cloud_account_id=Integer(), provider=key_text(20)),
    # The days that are read whatever is known of them; empty for what is due.
    *optional(since_day=Date(), before_day=Date()),
    *needed(state=Converted(Unicode(10), str, ScopeState), attempts=Integer()),
    *optional(first_queued_at=UtcDateTime(), due_at=UtcDateTime(), finished_at=UtcDateTime(), reason=fitted(1000)),
    UniqueConstraint("run_key", "subject"),
    Index("ix_run_scopes_state", "state"),
)

# What became of the queries of a scope that is not final. `progress`: of one that broke off after some of its pages;
# what it holds only its provider's adapter can read.
answers = table(
    "answers",
    Column("run_scope_id", ForeignKey("run_scopes.id"), primary_key=True),
    *key(provider=key_text(20), sub_account_id=key_text(100), window_start=Date(), window_end=Date()),
    *needed(state=Converted(Unicode(10), str, AnswerState), tries=Integer()),
    *optional(reason=fitted(1000), progress=sa.LargeBinary()),
    *needed(kept_at=UtcDateTime()),
)

# The lock of a project: whether the app has put one on it, what was ordered, and who works on that now.
locks = table(
    "locks",
    Column("project_id", ForeignKey("projects.id"), primary_key=True, autoincrement=False),
    *optional(held_since=UtcDateTime()),
    # A list of [subscription id, resource group].
    *needed(groups=JSON()),
    # What counted when it was last found right: see domain.locks.HeldLock.
    *optional(why=Converted(Unicode(12), str, LockWhy), budget_number=Integer(), period_start=Date()),
    *optional(currency=key_text(3), amount=Money(), spent=Money(), spent_on=Date(), seen_on=Date()),
    *optional(counted=Converted(JSON(none_as_null=True), sorted, frozenset)),
    # What an operator ordered last, and for which revision and period: see domain.locks.LockOrder.
    *optional(ordered_locks=Boolean(), ordered_at=UtcDateTime(), ordered_by=fitted(100)),
    *optional(ordered_number=Integer(), ordered_period_start=Date()),
    # When it is to be looked at again, whatever else happens.
    *optional(look_due_at=UtcDateTime()),
    # When Azure called with an alert that could not be used yet.
    *optional(alerted_at=UtcDateTime()),
    *optional(claimant=Unicode(100), claimed_until=UtcDateTime()),
)

# Our budgets in Azure, as they were written or seen last: see ports.azure_budgets.SeenBudget.
azure_budgets = table(
    "azure_budgets",
    *key(subscription_id=key_text(100), name=key_text(100)),
    *optional(project_id=Integer()),
    *needed(counts=Unicode(20), since=UtcDateTime()),
    *optional(spend=Money(), currency=key_text(3)),
    *needed(is_evaluated=Boolean(), is_there=Boolean()),
)

# Every decision about a lock. Rows are only ever added. `acronym`: as it was then.
audit = table(
    "audit",
    *key(id=Integer()),
    Column("key", key_text(200), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    *needed(at=UtcDateTime(), acronym=Unicode(50), action=Converted(Unicode(10), str, LockAction)),
    *needed(outcome=Converted(Unicode(20), str, Outcome), reason=fitted(1000)),
    *needed(trigger=Converted(Unicode(20), str, LockTrigger), asked=fitted(1000), figures=JSON(), details=JSON()),
    *optional(by=fitted(100), run_key=fitted(100, key_text)),
)

# What people changed. Rows are only ever added. key: of what is noted once only; else made up.
changes = table(
    "changes",
    *key(id=Integer()),
    Column("key", key_text(200), nullable=False, unique=True),
    *needed(at=UtcDateTime(), by=fitted(100), via=Converted(Unicode(20), str, Via)),
    *optional(by_id=fitted(100)),
    *needed(action=Converted(Unicode(40), str, Action), subject=fitted(300), reason=fitted(1000), details=JSON()),
    Column("project_id", ForeignKey("projects.id"), index=True),
)

# Changes that were ordered over HTTP under a key: ports.idempotency.KeptAnswer. at: when the key was taken.
idempotency_keys = table(
    "idempotency_keys",
    *key(by=key_text(100), key=key_text(100)),
    *needed(digest=key_text(64), at=UtcDateTime()),
    *optional(status=Integer(), body=cleaned()),
)

dead_letters = table(
    "dead_letters",
    *key(id=Integer()),
    # The id of the queue message, so that recording it twice makes one row.
    Column("origin", fitted(100, key_text), nullable=False, unique=True),
    *needed(queue=Unicode(100), body=cleaned(), reason=fitted(1000), at=UtcDateTime()),
    *optional(replayed_at=UtcDateTime()),
    # By an operator, who has looked at it. told_at: when a mail told the operators of it.
    *optional(discarded_at=UtcDateTime(), discarded_by=fitted(100), discard_reason=fitted(1000), told_at=UtcDateTime()),
)
