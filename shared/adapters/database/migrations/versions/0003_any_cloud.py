"""Cloud accounts, what a mail is about, stored forecasts.

Revises: 0002
"""

from datetime import date

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.types import Money, UtcDateTime, key_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FORECAST = ("forecast_total", "forecast_low", "forecast_high")
# How the keys of 0.1.0's mails begin, and what such a mail is about.
TOPICS = {
    "alert/": "alert",
    "warning/": "early-warning",
    "lock/": "lock",
    "operators/lock/": "lock",
    "operators/costs/": "costs-failed",
    "operators/check/": "checks-failed",
    "operators/late/": "late-run",
    "operators/no-night/": "no-night",
    "operators/poison/": "dead-letters",
    "operators/mail/": "mails-failed",
    "operators/no-budget/": "no-budget",
    "operators/currency/": "currency",
    "operators/azure-budgets/": "azure-budgets",
    "message/": "message",
}


def upgrade() -> None:
    _add_cloud_accounts()
    _say_what_mails_are_about()
    for name in FORECAST:
        op.add_column("projects", sa.Column(name, Money(), nullable=True))
    op.add_column("projects", sa.Column("forecast_days", sa.Integer(), nullable=True))
    op.add_column("projects", sa.Column("used_up_on", sa.Date(), nullable=True))


def _add_cloud_accounts() -> None:
    op.create_table(
        "cloud_accounts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Unicode(length=200), nullable=False),
        sa.Column("organization", sa.Unicode(length=100), nullable=False),
        sa.Column("provider", key_text(20), nullable=False),
        sa.Column("connection_type", key_text(20), nullable=False),
        sa.Column("external_account_id", key_text(200), nullable=False),
        sa.Column("role_arn", sa.Unicode(length=300), nullable=True),
        sa.Column("external_id", sa.Unicode(length=200), nullable=True),
        sa.Column("credentials", sa.LargeBinary(), nullable=True),
        sa.Column("detail", sa.Unicode(length=10), nullable=False),
        sa.Column("status", sa.Unicode(length=10), nullable=False),
        sa.Column("last_synced_at", UtcDateTime(), nullable=True),
        sa.Column("last_sync_error", sa.Unicode(length=1000), nullable=True),
        sa.Column("last_manual_sync_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloud_accounts")),
        sa.UniqueConstraint(
            "provider",
            "connection_type",
            "external_account_id",
            name=op.f("uq_cloud_accounts_provider_connection_type_external_account_id"),
        ),
    )
    op.add_column("accounts", sa.Column("cloud_account_id", sa.Integer(), nullable=True))
    op.add_column("run_scopes", sa.Column("provider", key_text(20), nullable=True))
    op.add_column("run_scopes", sa.Column("cloud_account_id", sa.Integer(), nullable=True))
    # It holds nothing for longer than two hours.
    op.drop_table("unfinished_answers")
    _make_unfinished_answers(with_provider=True)
    _register_subscriptions()


def _make_unfinished_answers(with_provider: bool) -> None:
    provider = [sa.Column("provider", key_text(20), nullable=False)] if with_provider else []
    key = ["run_scope_id", *(["provider"] if with_provider else []), "sub_account_id", "window_start", "window_end"]
    op.create_table(
        "unfinished_answers",
        sa.Column("run_scope_id", sa.Integer(), nullable=False),
        *provider,
        sa.Column("sub_account_id", key_text(100), nullable=False),
        sa.Column("window_start", sa.Date(), nullable=False),
        sa.Column("window_end", sa.Date(), nullable=False),
        sa.Column("progress", sa.LargeBinary(), nullable=False),
        sa.Column("kept_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_scope_id"], ["run_scopes.id"], name=op.f("fk_unfinished_answers_run_scope_id")
        ),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_unfinished_answers")),
    )


def _register_subscriptions() -> None:
    """The subscriptions that projects name are the first cloud accounts."""
    scopes = sa.table("scopes", *map(sa.column, ("provider", "sub_account_id", "project_id")))
    accounts = sa.table(
        "accounts", *map(sa.column, ("provider", "sub_account_id", "read_until", "read_started_at", "cloud_account_id"))
    )
    names = (
        "name",
        "organization",
        "provider",
        "connection_type",
        "external_account_id",
        "detail",
        "status",
        "last_synced_at",
    )
    cloud_accounts = sa.table("cloud_accounts", *map(sa.column, ("id", *names)))
    same = (accounts.c.provider == scopes.c.provider) & (accounts.c.sub_account_id == scopes.c.sub_account_id)
    named = (
        sa.select(
            scopes.c.sub_account_id,
            sa.literal_column("'default'"),
            scopes.c.provider,
            sa.literal_column("'COST_MANAGEMENT'"),
            scopes.c.sub_account_id,
            sa.literal_column("'service'"),
            sa.case((accounts.c.read_until.is_(None), sa.literal_column("'pending'")), else_=sa.literal_column("'active'")),
            accounts.c.read_started_at,
        )
        .select_from(scopes.outerjoin(accounts, same))
        .where(scopes.c.project_id.is_not(None), scopes.c.provider == sa.literal_column("'azure'"))
        .distinct()
    )
    op.execute(cloud_accounts.insert().from_select(names, named))
    fed_by = sa.select(cloud_accounts.c.id).where(
        cloud_accounts.c.provider == accounts.c.provider,
        cloud_accounts.c.external_account_id == accounts.c.sub_account_id,
    )
    op.execute(accounts.update().values(cloud_account_id=fed_by.scalar_subquery()))


def _say_what_mails_are_about() -> None:
    op.alter_column(
        "mails", "figures", new_column_name="context", existing_type=sa.JSON(), existing_nullable=False
    )
    op.add_column("mails", sa.Column("topic", key_text(30), server_default="other", nullable=False))
    op.add_column("mails", sa.Column("budget_number", sa.Integer(), nullable=True))
    op.add_column("mails", sa.Column("period_start", sa.Date(), nullable=True))
    op.add_column("mails", sa.Column("threshold", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_mails_topic_project_id"), "mails", ["topic", "project_id"], unique=False)
    op.drop_index(op.f("ix_mails_state"), table_name="mails")
    op.create_index(op.f("ix_mails_state_project_id"), "mails", ["state", "project_id"], unique=False)
    mails = sa.table("mails", sa.column("key", sa.Unicode()), sa.column("topic", sa.Unicode()))
    for beginning, topic in TOPICS.items():
        # As literals, for those who apply the SQL by hand.
        begins = mails.c.key.like(sa.literal_column(f"'{beginning}%'"))
        op.execute(mails.update().where(begins).values(topic=sa.literal_column(f"'{topic}'")))
    if not op.get_context().as_sql:
        _take_keys_apart()


def _take_keys_apart() -> None:
    """Gives the mails about a budget their subject, which only their keys said.

    Not in SQL that is applied by hand: such mails then say their topic only. Nothing is mailed again for that: the key
    of a mail is still its own.
    """
    names = ("id", "key", "topic", "project_id", "budget_number", "period_start", "threshold")
    mails = sa.table("mails", *(sa.column(name, sa.Date() if name == "period_start" else None) for name in names))
    found = sa.select(mails.c.id, mails.c.topic, mails.c.key).where(
        mails.c.topic.in_(("alert", "early-warning", "no-budget", "currency"))
    )
    connection = op.get_bind()
    subjects = [_subject(*mail) for mail in connection.execute(found).all()]
    if subjects:
        subject = mails.update().values(**{name: sa.bindparam(f"its_{name}") for name in names[3:]})
        connection.execute(subject.where(mails.c.id == sa.bindparam("its_id")), subjects)


def _subject(mail_id: int, topic: str, key: str) -> dict[str, object]:
    """alert/11/2/2026-11-01/80, warning/11/2/2026-11-01, operators/no-budget/11/2, operators/currency/11/2/EUR."""
    project, number, *rest = key.removeprefix("operators/").split("/")[1:]
    return {
        "its_id": mail_id,
        "its_project_id": int(project),
        "its_budget_number": int(number),
        "its_period_start": date.fromisoformat(rest[0]) if topic in ("alert", "early-warning") else None,
        "its_threshold": int(rest[1]) if topic == "alert" else None,
    }


def downgrade() -> None:
    for name in ("used_up_on", "forecast_days", *reversed(FORECAST)):
        op.drop_column("projects", name)
    op.drop_index(op.f("ix_mails_state_project_id"), table_name="mails")
    op.create_index(op.f("ix_mails_state"), "mails", ["state"], unique=False)
    op.drop_index(op.f("ix_mails_topic_project_id"), table_name="mails")
    for name in ("threshold", "period_start", "budget_number"):
        op.drop_column("mails", name)
    op.drop_column("mails", "topic", mssql_drop_default=True)
    op.alter_column(
        "mails", "context", new_column_name="figures", existing_type=sa.JSON(), existing_nullable=False
    )
    op.drop_table("unfinished_answers")
    _make_unfinished_answers(with_provider=False)
    op.drop_column("run_scopes", "cloud_account_id")
    op.drop_column("run_scopes", "provider")
    op.drop_column("accounts", "cloud_account_id")
    op.drop_table("cloud_accounts")
