"""Cloud accounts, what a mail is about, stored forecasts.

Revises: 0002
"""

from datetime import date
from typing import Any

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import needed, optional
from shared.adapters.database.types import Money, UtcDateTime, key_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FORECAST: dict[str, Any] = {
    "forecast_total": Money(),
    "forecast_low": Money(),
    "forecast_high": Money(),
    "forecast_days": sa.Integer(),
    "used_up_on": sa.Date(),
}
SUBJECT: dict[str, Any] = {"budget_number": sa.Integer(), "period_start": sa.Date(), "threshold": sa.Integer()}
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
    for column in optional(**FORECAST):
        op.add_column("projects", column)


def _add_cloud_accounts() -> None:
    op.create_table(
        "cloud_accounts",
        *needed(id=sa.Integer(), name=sa.Unicode(200), organization=sa.Unicode(100)),
        *needed(provider=key_text(20), connection_type=key_text(20), external_account_id=key_text(200)),
        *optional(role_arn=sa.Unicode(300), external_id=sa.Unicode(200), credentials=sa.LargeBinary()),
        *needed(detail=sa.Unicode(10), status=sa.Unicode(10)),
        *optional(last_synced_at=UtcDateTime(), last_sync_error=sa.Unicode(1000), last_manual_sync_at=UtcDateTime()),
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
    provider: dict[str, Any] = {"provider": key_text(20)} if with_provider else {}
    key = ["run_scope_id", *provider, "sub_account_id", "window_start", "window_end"]
    op.create_table(
        "unfinished_answers",
        *needed(run_scope_id=sa.Integer(), **provider, sub_account_id=key_text(100)),
        *needed(window_start=sa.Date(), window_end=sa.Date(), progress=sa.LargeBinary(), kept_at=UtcDateTime()),
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
    same = (accounts.c.provider == scopes.c.provider) & (accounts.c.sub_account_id == scopes.c.sub_account_id)
    pending: Any = sa.literal_column("'pending'")
    values: dict[str, Any] = {
        "name": scopes.c.sub_account_id,
        "organization": sa.literal_column("'default'"),
        "provider": scopes.c.provider,
        "connection_type": sa.literal_column("'COST_MANAGEMENT'"),
        "external_account_id": scopes.c.sub_account_id,
        "detail": sa.literal_column("'service'"),
        "status": sa.case((accounts.c.read_until.is_(None), pending), else_=sa.literal_column("'active'")),
        "last_synced_at": accounts.c.read_started_at,
    }
    cloud_accounts = sa.table("cloud_accounts", *map(sa.column, ("id", *values)))
    named = (
        sa.select(*values.values())
        .select_from(scopes.outerjoin(accounts, same))
        .where(scopes.c.project_id.is_not(None), scopes.c.provider == sa.literal_column("'azure'"))
        .distinct()
    )
    op.execute(cloud_accounts.insert().from_select(list(values), named))
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
    for column in optional(**SUBJECT):
        op.add_column("mails", column)
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
    there = set(connection.scalars(sa.select(sa.table("projects", sa.column("id")).c.id)))
    read = [_subject(*mail) for mail in connection.execute(found).all()]
    subjects = [each for each in read if each.get("its_project_id") in there]
    if subjects:
        subject = mails.update().values(**{name: sa.bindparam(f"its_{name}") for name in names[3:]})
        connection.execute(subject.where(mails.c.id == sa.bindparam("its_id")), subjects)


def _subject(mail_id: int, topic: str, key: str) -> dict[str, object]:
    """alert/11/2/2026-11-01/80, warning/11/2/2026-11-01, operators/no-budget/11/2, operators/currency/11/2/EUR.

    Empty for what is none of these: somebody's own row must not stop the upgrade.
    """
    try:
        project, number, *rest = key.removeprefix("operators/").split("/")[1:]
        told: dict[str, list[str | None]] = {"alert": [*rest], "early-warning": [*rest, None]}
        day, threshold = told.get(topic, [None, None])
        return {
            "its_id": mail_id,
            "its_project_id": _number(project),
            "its_budget_number": _number(number),
            "its_period_start": date.fromisoformat(day) if day is not None else None,
            "its_threshold": _number(threshold) if threshold is not None else None,
        }
    except ValueError:
        return {}


def _number(text: str) -> int:
    if not 0 <= int(text) < 2**31:
        raise ValueError(f"no column holds {text}")
    return int(text)


def downgrade() -> None:
    for name in reversed(FORECAST):
        op.drop_column("projects", name)
    op.drop_index(op.f("ix_mails_state_project_id"), table_name="mails")
    op.create_index(op.f("ix_mails_state"), "mails", ["state"], unique=False)
    op.drop_index(op.f("ix_mails_topic_project_id"), table_name="mails")
    for name in reversed(SUBJECT):
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
