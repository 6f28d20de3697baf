"""What is known of each month of a sub-account, and what became of each query of a scope.

Revises: 0008
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import needed, optional
from shared.adapters.database.types import UtcDateTime, key_text
from shared.domain.periods import Period, split_at_month_ends

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DAY = timedelta(days=1)
OLD: dict[str, Any] = {"read_from": sa.Date(), "read_until": sa.Date(), "read_started_at": UtcDateTime()}
NEW: dict[str, Any] = {
    "month": sa.Date(),
    "source": key_text(20),
    "read_from": sa.Date(),
    "read_through": sa.Date(),
    "begun_at": UtcDateTime(),
    "good_on": sa.Date(),
    "state": sa.Unicode(10),
    "reason": sa.Unicode(1000),
    "suspect_nights": sa.Integer(),
    "suspect_on": sa.Date(),
}
KEY: dict[str, Any] = {"provider": key_text(20), "sub_account_id": key_text(100)}


def upgrade() -> None:
    op.create_table(
        "coverage",
        *needed(**KEY, **{name: NEW[name] for name in ("month", "source")}),
        *optional(**{name: NEW[name] for name in ("read_from", "read_through", "begun_at", "good_on")}),
        *needed(state=NEW["state"]),
        *optional(reason=NEW["reason"]),
        *needed(suspect_nights=NEW["suspect_nights"]),
        *optional(suspect_on=NEW["suspect_on"]),
        sa.PrimaryKeyConstraint("provider", "sub_account_id", "month", name=op.f("pk_coverage")),
    )
    # Not in SQL that is applied by hand: the next night then reads all that is needed once more.
    if not op.get_context().as_sql:
        _say_it_by_month()
    for name in ("suspect_on", "suspect_days", *reversed(OLD)):
        op.drop_column("accounts", name)
    # It holds nothing for longer than a day: what broke off is asked for anew.
    op.drop_table("unfinished_answers")
    op.create_table(
        "answers",
        *needed(run_scope_id=sa.Integer(), **KEY, window_start=sa.Date(), window_end=sa.Date()),
        *needed(state=sa.Unicode(10), tries=sa.Integer()),
        *optional(reason=sa.Unicode(1000), progress=sa.LargeBinary()),
        *needed(kept_at=UtcDateTime()),
        *_key_of_answers("answers"),
    )


def _say_it_by_month() -> None:
    """Every month since `read_from` had been read, up to the day of the last whole reading."""
    accounts = sa.table("accounts", *(sa.column(name, kind) for name, kind in {**KEY, **OLD}.items()))
    read = sa.select(accounts).where(accounts.c.read_from.is_not(None), accounts.c.read_until.is_not(None))
    connection = op.get_bind()
    rows = [row for account in connection.execute(read).all() for row in _months(*account)]
    if rows:
        connection.execute(_coverage().insert(), rows)


def _months(
    provider: str, sub_account_id: str, read_from: date, read_until: date, started_at: datetime | None
) -> Iterator[dict[str, Any]]:
    begun_at = started_at or datetime.combine(read_until, time(), UTC)
    for days in split_at_month_ends(Period(min(read_from, read_until), read_until + DAY)):
        yield {
            "provider": provider,
            "sub_account_id": sub_account_id,
            "month": days.start.replace(day=1),
            "source": "",
            "read_from": days.start,
            "read_through": days.end - DAY,
            "begun_at": begun_at,
            "good_on": read_until,
            "state": "good",
            "suspect_nights": 0,
        }


def _coverage() -> sa.TableClause:
    return sa.table("coverage", *(sa.column(name, kind) for name, kind in {**KEY, **NEW}.items()))


def _key_of_answers(table: str) -> list[sa.schema.SchemaItem]:
    key = ["run_scope_id", *KEY, "window_start", "window_end"]
    return [
        sa.ForeignKeyConstraint(["run_scope_id"], ["run_scopes.id"], name=op.f(f"fk_{table}_run_scope_id")),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
    ]


def downgrade() -> None:
    op.drop_table("answers")
    op.create_table(
        "unfinished_answers",
        *needed(run_scope_id=sa.Integer(), **KEY, window_start=sa.Date(), window_end=sa.Date()),
        *needed(progress=sa.LargeBinary(), kept_at=UtcDateTime()),
        *_key_of_answers("unfinished_answers"),
    )
    for column in optional(**OLD):
        op.add_column("accounts", column)
    op.add_column("accounts", sa.Column("suspect_days", sa.Integer(), server_default="0", nullable=False))
    op.add_column("accounts", sa.Column("suspect_on", sa.Date(), nullable=True))
    if not op.get_context().as_sql:
        _say_it_by_account()
    op.drop_table("coverage")


def _say_it_by_account() -> None:
    """As far back as no month is missing, and up to the oldest of what was read last."""
    accounts = sa.table("accounts", *(sa.column(name, kind) for name, kind in {**KEY, **OLD}.items()))
    coverage, connection = _coverage(), op.get_bind()
    rows = connection.execute(sa.select(coverage).where(coverage.c.read_from.is_not(None)).order_by(coverage.c.month))
    months: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        months.setdefault((row.provider, row.sub_account_id), []).append(row)
    for (provider, sub_account_id), known in months.items():
        whole = [known[-1]]
        for earlier in reversed(known[:-1]):
            if earlier.read_through + DAY != whole[-1].read_from:
                break
            whole.append(earlier)
        values = {
            "read_from": whole[-1].read_from,
            "read_until": known[-1].good_on,
            "read_started_at": known[-1].begun_at,
        }
        this = (accounts.c.provider == provider) & (accounts.c.sub_account_id == sub_account_id)
        connection.execute(accounts.update().where(this).values(values))
