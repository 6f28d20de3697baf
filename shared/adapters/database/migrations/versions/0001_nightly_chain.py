"""The tables of the nightly chain.

Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.types import Money, UtcDateTime, key_text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("provider", key_text(20), nullable=False),
        sa.Column("sub_account_id", key_text(100), nullable=False),
        sa.Column("read_from", sa.Date(), nullable=True),
        sa.Column("read_until", sa.Date(), nullable=True),
        sa.Column("read_started_at", UtcDateTime(), nullable=True),
        sa.Column("suspect_days", sa.Integer(), nullable=False),
        sa.Column("suspect_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("provider", "sub_account_id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("origin", key_text(100), nullable=False),
        sa.Column("queue", sa.Unicode(length=100), nullable=False),
        sa.Column("body", sa.UnicodeText(), nullable=False),
        sa.Column("reason", sa.Unicode(length=1000), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("replayed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
        sa.UniqueConstraint("origin", name=op.f("uq_dead_letters_origin")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("acronym", sa.Unicode(length=50), nullable=False),
        sa.Column("acronym_key", key_text(50), nullable=False),
        sa.Column("name", sa.Unicode(length=200), nullable=False),
        sa.Column("language", sa.Unicode(length=2), nullable=True),
        sa.Column("contacts", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("budget_number", sa.Integer(), nullable=False),
        sa.Column("costs_read_at", UtcDateTime(), nullable=True),
        sa.Column("check_due_since", UtcDateTime(), nullable=True),
        sa.Column("check_requeued_at", UtcDateTime(), nullable=True),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=True),
        sa.Column("checked_usage", Money(), nullable=True),
        sa.Column("checked_thresholds", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("period_start", sa.Date(), nullable=True),
        sa.Column("period_end", sa.Date(), nullable=True),
        sa.Column("problem", sa.Unicode(length=1000), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("acronym_key", name=op.f("uq_projects_acronym_key")),
    )
    op.create_table(
        "runs",
        sa.Column("key", key_text(100), nullable=False),
        sa.Column("trigger", sa.Unicode(length=20), nullable=False),
        sa.Column("state", sa.Unicode(length=10), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("reported_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_started_at"), "runs", ["started_at"], unique=False)
    op.create_table(
        "budgets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("amount", Money(), nullable=True),
        sa.Column("currency", key_text(3), nullable=False),
        sa.Column("period_kind", sa.Unicode(length=10), nullable=False),
        sa.Column("period_rule_start", sa.Date(), nullable=False),
        sa.Column("period_rule_end", sa.Date(), nullable=True),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("made_by", sa.Unicode(length=100), nullable=False),
        sa.Column("reason", sa.Unicode(length=1000), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_budgets_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
        sa.UniqueConstraint("project_id", "number", name=op.f("uq_budgets_project_id_number")),
    )
    op.create_table(
        "mails",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", key_text(200), nullable=False),
        sa.Column("template", sa.Unicode(length=40), nullable=False),
        sa.Column("language", sa.Unicode(length=2), nullable=True),
        sa.Column("recipients", sa.JSON(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("run_key", key_text(100), nullable=True),
        sa.Column("message_id", sa.Unicode(length=200), nullable=False),
        sa.Column("state", sa.Unicode(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("first_attempt_at", UtcDateTime(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("claimant", sa.Unicode(length=100), nullable=True),
        sa.Column("claimed_until", UtcDateTime(), nullable=True),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("receipt", sa.Unicode(length=200), nullable=True),
        sa.Column("notes", sa.UnicodeText(), nullable=True),
        sa.Column("reason", sa.Unicode(length=1000), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_mails_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mails")),
        sa.UniqueConstraint("key", name=op.f("uq_mails_key")),
    )
    op.create_index(op.f("ix_mails_project_id"), "mails", ["project_id"], unique=False)
    op.create_index(op.f("ix_mails_run_key"), "mails", ["run_key"], unique=False)
    op.create_index(op.f("ix_mails_state"), "mails", ["state"], unique=False)
    op.create_table(
        "run_scopes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_key", key_text(100), nullable=False),
        sa.Column("subject", key_text(300), nullable=False),
        sa.Column("subscription_id", sa.Unicode(length=100), nullable=True),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("resource_group", sa.Unicode(length=100), nullable=True),
        sa.Column("state", sa.Unicode(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_queued_at", UtcDateTime(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.Unicode(length=1000), nullable=True),
        sa.ForeignKeyConstraint(["run_key"], ["runs.key"], name=op.f("fk_run_scopes_run_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_scopes")),
        sa.UniqueConstraint("run_key", "subject", name=op.f("uq_run_scopes_run_key_subject")),
    )
    op.create_index("ix_run_scopes_state", "run_scopes", ["state"], unique=False)
    op.create_table(
        "scopes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider", key_text(20), nullable=False),
        sa.Column("sub_account_id", key_text(100), nullable=False),
        sa.Column("group_key", key_text(100), nullable=False),
        sa.Column("x_resource_group_name", sa.Unicode(length=100), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_scopes_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scopes")),
        sa.UniqueConstraint(
            "provider", "sub_account_id", "group_key", name=op.f("uq_scopes_provider_sub_account_id_group_key")
        ),
    )
    op.create_index(op.f("ix_scopes_project_id"), "scopes", ["project_id"], unique=False)
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("budget_id", sa.Integer(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Unicode(length=20), nullable=False),
        sa.Column("usage", Money(), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("mail_key", key_text(200), nullable=True),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name=op.f("fk_alerts_budget_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint(
            "budget_id", "period_start", "threshold", name=op.f("uq_alerts_budget_id_period_start_threshold")
        ),
    )
    op.create_table(
        "charges",
        sa.Column("scope_id", sa.Integer(), nullable=False),
        sa.Column("charge_period_start", sa.Date(), nullable=False),
        sa.Column("service_name", key_text(200), nullable=False),
        sa.Column("billing_currency", key_text(3), nullable=False),
        sa.Column("billed_cost", Money(), nullable=False),
        sa.ForeignKeyConstraint(["scope_id"], ["scopes.id"], name=op.f("fk_charges_scope_id")),
        sa.PrimaryKeyConstraint(
            "scope_id", "charge_period_start", "service_name", "billing_currency", name=op.f("pk_charges")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unfinished_answers",
        sa.Column("run_scope_id", sa.Integer(), nullable=False),
        sa.Column("sub_account_id", key_text(100), nullable=False),
        sa.Column("window_start", sa.Date(), nullable=False),
        sa.Column("window_end", sa.Date(), nullable=False),
        sa.Column("progress", sa.LargeBinary(), nullable=False),
        sa.Column("kept_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_scope_id"], ["run_scopes.id"], name=op.f("fk_unfinished_answers_run_scope_id")
        ),
        sa.PrimaryKeyConstraint(
            "run_scope_id", "sub_account_id", "window_start", "window_end", name=op.f("pk_unfinished_answers")
        ),
    )


def downgrade() -> None:
    op.drop_table("unfinished_answers")
    op.drop_table("charges")
    op.drop_table("alerts")
    op.drop_index(op.f("ix_scopes_project_id"), table_name="scopes")
    op.drop_table("scopes")
    op.drop_index("ix_run_scopes_state", table_name="run_scopes")
    op.drop_table("run_scopes")
    op.drop_index(op.f("ix_mails_state"), table_name="mails")
    op.drop_index(op.f("ix_mails_run_key"), table_name="mails")
    op.drop_index(op.f("ix_mails_project_id"), table_name="mails")
    op.drop_table("mails")
    op.drop_table("budgets")
    op.drop_index(op.f("ix_runs_started_at"), table_name="runs")
    op.drop_table("runs")
    op.drop_table("projects")
    op.drop_table("dead_letters")
    op.drop_table("accounts")
