"""The tables. Every column's type means the same on SQLite, PostgreSQL and SQL Server.

Where the charges of a project are: charges → scopes (whose project_id is empty for unallocated spend) → projects.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Unicode,
    UnicodeText,
    UniqueConstraint,
)

from shared.adapters.database.types import Converted, Money, UtcDateTime, key_text
from shared.domain.projects import LockPolicy

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A project, the revision of its budget that counts, and what its last check saw. What `domain.projects.Project` says
# stands in the columns whose keys are its fields.
projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("acronym", Unicode(50), nullable=False),
    # In lower case, so that no two projects differ by case only.
    Column("acronym_key", key_text(50), nullable=False, unique=True),
    Column("name", Unicode(200), nullable=False),
    Column("language", Unicode(2)),
    Column("contacts", Converted(JSON(), list, tuple), nullable=False),
    Column("active", Boolean, nullable=False),
    # The number (not the id: that would make a circle of foreign keys) of the revision that counts.
    Column("budget_number", Integer, nullable=False),
    Column("costs_read_at", UtcDateTime),
    Column("check_due_since", UtcDateTime),
    # When the watchdog last asked for that check again: apart, so that it stays known which run made it due.
    Column("check_requeued_at", UtcDateTime),
    # Counts checks; its update is the lock under which a check runs.
    Column("checks", Integer, nullable=False),
    Column("checked_at", UtcDateTime),
    Column("checked_usage", Money),
    Column("checked_thresholds", JSON(none_as_null=True)),
    # The period in which that was. A check in another one starts afresh.
    Column("period_start", Date),
    Column("period_end", Date),
    Column("problem", Unicode(1000)),
    Column("lock_policy", Converted(Unicode(10), str, LockPolicy), key="lock", nullable=False, server_default="auto"),
    # What the last check expected of the period in this row; empty where it could not tell.
    Column("forecast_total", Money),
    Column("forecast_low", Money),
    Column("forecast_high", Money),
    Column("forecast_days", Integer),
    Column("used_up_on", Date),
)

# Every revision of every budget; an amount that is empty or 0 means none.
budgets = Table(
    "budgets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("amount", Money),
    Column("currency", key_text(3), nullable=False),
    Column("period_kind", Unicode(10), nullable=False),
    Column("period_rule_start", Date, nullable=False),
    Column("period_rule_end", Date),
    Column("rollover", Unicode(12), nullable=False, server_default="reset"),
    # Percents of its own; empty for those of the settings.
    Column("thresholds", JSON(none_as_null=True)),
    Column("made_at", UtcDateTime, nullable=False),
    Column("made_by", Unicode(100), nullable=False),
    Column("reason", Unicode(1000), nullable=False),
    UniqueConstraint("project_id", "number"),
)

# A period of a project's budget that was opened, and what came into it from the one before.
budget_periods = Table(
    "budget_periods",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("period_start", Date, nullable=False),
    Column("period_end", Date, nullable=False),
    # In another currency than the budget's, what was carried does not count.
    Column("currency", key_text(3), nullable=False),
    Column("carried", Money, nullable=False),
    Column("stopped", Boolean, nullable=False),
    # What was carried is final: no late charge of the period before changes it any more.
    Column("settled", Boolean, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    UniqueConstraint("project_id", "period_start"),
)

# Where costs are read from, and how: see ports.cloud_accounts.
cloud_accounts = Table(
    "cloud_accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Unicode(200), nullable=False),
    Column("organization", Unicode(100), nullable=False),
    Column("provider", key_text(20), nullable=False),
    Column("connection_type", key_text(20), nullable=False),
    Column("external_account_id", key_text(200), nullable=False),
    Column("role_arn", Unicode(300)),
    Column("external_id", Unicode(200)),
    # Sealed.
    Column("credentials", LargeBinary),
    Column("detail", Unicode(10), nullable=False),
    Column("status", Unicode(10), nullable=False),
    Column("last_synced_at", UtcDateTime),
    Column("last_sync_error", Unicode(1000)),
    Column("last_manual_sync_at", UtcDateTime),
    UniqueConstraint("provider", "connection_type", "external_account_id"),
)
# How much of a sub-account has been read, and since when its answers have been suspiciously empty.
accounts = Table(
    "accounts",
    metadata,
    Column("provider", key_text(20), primary_key=True),
    Column("sub_account_id", key_text(100), primary_key=True),
    Column("read_from", Date),
    Column("read_until", Date),
    Column("read_started_at", UtcDateTime),
    Column("suspect_days", Integer, nullable=False),
    Column("suspect_on", Date),
    # Which cloud account feeds it.
    Column("cloud_account_id", Integer),
)

# A resource group of a sub-account, and the project that owns it.
scopes = Table(
    "scopes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("provider", key_text(20), nullable=False),
    Column("sub_account_id", key_text(100), nullable=False),
    # In lower case: groups are compared without regard to case. Empty for charges outside of any group.
    Column("group_key", key_text(100), nullable=False),
    Column("x_resource_group_name", Unicode(100), nullable=False),
    Column("project_id", ForeignKey("projects.id"), index=True),
    UniqueConstraint("provider", "sub_account_id", "group_key"),
)

charges = Table(
    "charges",
    metadata,
    Column("scope_id", ForeignKey("scopes.id"), primary_key=True),
    Column("charge_period_start", Date, primary_key=True),
    Column("service_name", key_text(200), primary_key=True),
    Column("billing_currency", key_text(3), primary_key=True),
    Column("billed_cost", Money, nullable=False),
    # The key is the whole row but for the amount: SQLite keeps it once, in key order.
    sqlite_with_rowid=False,
)

# A threshold that counts as told, for one revision in one period. `outcome`: mailed, passed over, not mailed,
# carried (told under the revision before).
alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("budget_id", ForeignKey("budgets.id"), nullable=False),
    Column("period_start", Date, nullable=False),
    Column("threshold", Integer, nullable=False),
    Column("outcome", Unicode(20), nullable=False),
    Column("usage", Money, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    # The key of its mail (mails.key), which is written in the same transaction.
    Column("mail_key", key_text(200)),
    UniqueConstraint("budget_id", "period_start", "threshold"),
)

mails = Table(
    "mails",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", key_text(200), nullable=False, unique=True),
    Column("template", Unicode(40), nullable=False),
    Column("language", Unicode(2)),
    Column("recipients", JSON, nullable=False),
    # What its template needs.
    Column("context", JSON, nullable=False),
    Column("project_id", ForeignKey("projects.id"), index=True),
    Column("run_key", key_text(100), index=True),
    Column("message_id", Unicode(200), nullable=False),
    Column("state", Unicode(10), nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("first_attempt_at", UtcDateTime),
    Column("due_at", UtcDateTime, nullable=False),
    Column("claimant", Unicode(100)),
    Column("claimed_until", UtcDateTime),
    Column("sent_at", UtcDateTime),
    Column("receipt", Unicode(200)),
    Column("notes", UnicodeText),
    Column("reason", Unicode(1000)),
    # What it is about: its topic (ports.mails.Topic), and of which project, revision, period and threshold.
    Column("topic", key_text(30), nullable=False, server_default="other"),
    Column("budget_number", Integer),
    Column("period_start", Date),
    Column("threshold", Integer),
    Index("ix_mails_topic_project_id", "topic", "project_id"),
)

runs = Table(
    "runs",
    metadata,
    Column("key", key_text(100), primary_key=True),
    Column("trigger", Unicode(20), nullable=False),
    Column("state", Unicode(10), nullable=False),
    Column("started_at", UtcDateTime, nullable=False, index=True),
    Column("finished_at", UtcDateTime),
    Column("reported_at", UtcDateTime),
)

run_scopes = Table(
    "run_scopes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_key", ForeignKey("runs.key"), nullable=False),
    # The target in words, unique within the run.
    Column("subject", key_text(300), nullable=False),
    Column("subscription_id", Unicode(100)),
    Column("project_id", Integer),
    Column("resource_group", Unicode(100)),
    Column("state", Unicode(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_queued_at", UtcDateTime),
    Column("due_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("reason", Unicode(1000)),
    Column("provider", key_text(20)),
    Column("cloud_account_id", Integer),
    UniqueConstraint("run_key", "subject"),
    Index("ix_run_scopes_state", "state"),
)

# Answers that broke off after some of their pages; what they hold only their provider's adapter can read.
unfinished_answers = Table(
    "unfinished_answers",
    metadata,
    Column("run_scope_id", ForeignKey("run_scopes.id"), primary_key=True),
    Column("provider", key_text(20), primary_key=True),
    Column("sub_account_id", key_text(100), primary_key=True),
    Column("window_start", Date, primary_key=True),
    Column("window_end", Date, primary_key=True),
    Column("progress", LargeBinary, nullable=False),
    Column("kept_at", UtcDateTime, nullable=False),
)

# The lock of a project: whether the app has put one on it, and who works on that now.
locks = Table(
    "locks",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True, autoincrement=False),
    Column("held_since", UtcDateTime),
    Column("by_hand", Boolean, nullable=False),
    # What counted when it was locked: see domain.locks.HeldLock.
    Column("budget_number", Integer),
    Column("period_start", Date),
    Column("amount", Money),
    Column("spent", Money),
    # A list of [subscription id, resource group].
    Column("groups", JSON, nullable=False),
    # Unlocked by hand: it is not locked again for this revision in this period.
    Column("released_number", Integer),
    Column("released_period_start", Date),
    Column("claimant", Unicode(100)),
    Column("claimed_until", UtcDateTime),
)

# Every decision about a lock. Rows are only ever added.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", key_text(200), nullable=False, unique=True),
    Column("at", UtcDateTime, nullable=False),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    # As it was then.
    Column("acronym", Unicode(50), nullable=False),
    Column("action", Unicode(10), nullable=False),
    Column("outcome", Unicode(20), nullable=False),
    Column("reason", Unicode(1000), nullable=False),
    Column("trigger", Unicode(20), nullable=False),
    Column("by", Unicode(100)),
    Column("asked", Unicode(1000), nullable=False),
    Column("figures", JSON, nullable=False),
    Column("details", JSON, nullable=False),
    Column("run_key", key_text(100)),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Integer, primary_key=True),
    # The id of the queue message, so that recording it twice makes one row.
    Column("origin", key_text(100), nullable=False, unique=True),
    Column("queue", Unicode(100), nullable=False),
    Column("body", UnicodeText, nullable=False),
    Column("reason", Unicode(1000), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("replayed_at", UtcDateTime),
)
