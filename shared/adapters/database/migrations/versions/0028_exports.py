"""Cost exports: their history, what they delivered, and who feeds what.

Revises: 0027
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import JSON, Boolean, Column, Date, Integer, Unicode

from shared.adapters.database.types import Money, UtcDateTime, fitted, key_text

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exports",
        Column("id", Integer, primary_key=True),
        Column("key", key_text(400), nullable=False, unique=True),
        Column("provider", key_text(20), nullable=False),
        Column("external_id", fitted(400), nullable=False),
        Column("name", fitted(200), nullable=False),
        Column("dataset", Unicode(10), nullable=False),
        Column("width", Integer, nullable=False),
        Column("billing_account", fitted(200), nullable=False),
        Column("found_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "export_runs",
        Column("id", Integer, primary_key=True),
        Column("export_id", Integer, sa.ForeignKey("exports.id"), nullable=False, index=True),
        Column("cloud_account_id", Integer),
        Column("run_id", fitted(200, key_text), nullable=False),
        Column("place", fitted(1100), nullable=False),
        Column("container", fitted(100), nullable=False),
        Column("content", key_text(64), nullable=False),
        Column("submitted_at", UtcDateTime),
        Column("days_start", Date),
        Column("days_end", Date),
        Column("modified_at", UtcDateTime, nullable=False),
        Column("found_at", UtcDateTime, nullable=False),
        Column("state", Unicode(10), nullable=False, index=True),
        Column("started_at", UtcDateTime),
        Column("finished_at", UtcDateTime),
        Column("parts", Integer),
        Column("rows", sa.BigInteger),
        Column("size", sa.BigInteger),
        Column("totals", JSON),
        Column("reason", fitted(2000)),
        *(Column(name, Integer) for name in ("added", "changed", "removed")),
        *(Column(name, Date) for name in ("changed_from", "changed_until")),
        Column("made", Integer),
        Column("verdicts", JSON),
        Column("periods", JSON),
    )
    op.create_table(
        "export_parts",
        Column("run_id", Integer, sa.ForeignKey("export_runs.id"), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("name", fitted(1100), nullable=False),
        Column("etag", fitted(200), nullable=False),
        Column("size", sa.BigInteger, nullable=False),
        Column("rows", sa.BigInteger),
        Column("staged_at", UtcDateTime),
        Column("periods", JSON),
        Column("odd", JSON),
    )
    op.create_table(
        "export_sums",
        *(Column(name, Integer, primary_key=True, autoincrement=False) for name in ("run_id", "bucket", "number")),
        Column("sums", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "export_spoken",
        Column("export_id", Integer, primary_key=True, autoincrement=False),
        *_account(),
        Column("billing_period", Date, primary_key=True),
        Column("run_id", Integer, primary_key=True, autoincrement=False),
        Column("days", JSON, nullable=False),
        Column("outside", Boolean, nullable=False),
    )
    op.create_table(
        "export_months",
        *_account(),
        Column("month", Date, primary_key=True),
        Column("export_ids", JSON, nullable=False),
    )
    op.create_table(
        "export_feeds",
        *_account(),
        Column("export_id", Integer, primary_key=True, autoincrement=False),
        Column("first_day", Date),
        Column("last_day", Date),
    )
    op.create_table(
        "export_orders",
        Column("id", Integer, primary_key=True),
        Column("source", key_text(400), nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("by", fitted(100), nullable=False),
        Column("provider", key_text(20)),
        Column("sub_account_id", key_text(100)),
    )

    op.create_table(
        "export_charges",
        Column("scope_id", Integer, sa.ForeignKey("scopes.id"), primary_key=True, autoincrement=False),
        Column("export_id", Integer, primary_key=True, autoincrement=False),
        *(Column(name, Date, primary_key=True) for name in ("billing_period", "charge_period_start")),
        Column("service_name", key_text(200), primary_key=True),
        Column("billing_currency", key_text(3), primary_key=True),
        Column("billed_cost", Money(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_coverage",
        *_account(),
        Column("month", Date, primary_key=True),
        Column("source", key_text(20), nullable=False),
        *(Column(name, Date) for name in ("read_from", "read_through", "good_on", "suspect_on", "compared_on")),
        *(Column(name, UtcDateTime) for name in ("begun_at", "suspect_at")),
        Column("state", Unicode(10), nullable=False),
        Column("reason", fitted(1000)),
        Column("suspect_nights", Integer, nullable=False),
        Column("odd", JSON),
    )


def downgrade() -> None:
    tables = "group_coverage export_charges export_orders export_feeds export_months export_spoken export_sums"
    for name in (*tables.split(), "export_parts", "export_runs", "exports"):
        op.drop_table(name)


def _account() -> list[Column[str]]:
    kinds = {"provider": key_text(20), "sub_account_id": key_text(100), "group_key": key_text(100)}
    return [Column(name, kind, primary_key=True) for name, kind in kinds.items()]
