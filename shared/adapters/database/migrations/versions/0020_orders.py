"""What an operator ordered last, with its time; what a lock rests on; when it is to be looked at again.

Revises: 0019
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from shared.adapters.database.tables import optional
from shared.adapters.database.types import UtcDateTime, key_text

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

ORDER, INCOMPLETE, OVER = "order", "incomplete", "over budget"
NEW: dict[str, Any] = {
    "why": sa.Unicode(12),
    "currency": key_text(3),
    "seen_on": sa.Date(),
    "counted": sa.JSON(none_as_null=True),
    "ordered_locks": sa.Boolean(),
    "ordered_at": UtcDateTime(),
    "ordered_by": sa.Unicode(100),
    "ordered_number": sa.Integer(),
    "ordered_period_start": sa.Date(),
    "look_due_at": UtcDateTime(),
}
OLD: dict[str, Any] = {"released_number": sa.Integer(), "released_period_start": sa.Date()}
KEPT: dict[str, Any] = {
    "project_id": sa.Integer(),
    "held_since": UtcDateTime(),
    "claimed_until": UtcDateTime(),
    "budget_number": sa.Integer(),
    "period_start": sa.Date(),
    "by_hand": sa.Boolean(),
    "incomplete": sa.Boolean(),
}


def _locks() -> sa.TableClause:
    return sa.table("locks", *(sa.column(name, kind) for name, kind in {**KEPT, **OLD, **NEW}.items()))


def upgrade() -> None:
    for column in optional(**NEW):
        op.add_column("locks", column)
    locks = _locks()
    here = locks.c
    by_hand = here.by_hand == sa.true()
    was_held = by_hand | here.budget_number.is_not(None)
    why = sa.case((by_hand, ORDER), (here.incomplete == sa.true(), INCOMPLETE), else_=OVER)
    today = datetime.now(UTC).date()
    op.execute(locks.update().where(was_held).values(why=why, currency=_currency(locks), seen_on=today))
    locked = _ordered(locks, sa.true(), here.budget_number, here.period_start)
    op.execute(locks.update().where(by_hand).values(locked))
    released = _ordered(locks, sa.false(), here.released_number, here.released_period_start)
    op.execute(locks.update().where(here.released_number.is_not(None)).values(released))
    # Each is looked at once, by the rules of now.
    due_at = sa.func.coalesce(_decided(locks), here.held_since, here.claimed_until)
    op.execute(locks.update().values(look_due_at=due_at))
    op.drop_column("locks", "incomplete", mssql_drop_default=True)
    for name in ("by_hand", *OLD):
        op.drop_column("locks", name)


def _ordered(locks: sa.TableClause, is_lock: Any, number: Any, start: Any) -> dict[str, Any]:
    """The last order, of which only the audit knows when it was."""
    at = sa.func.coalesce(_decided(locks, by_order=True), locks.c.held_since, _decided(locks))
    return {"ordered_locks": is_lock, "ordered_at": at, "ordered_number": number, "ordered_period_start": start}


def _decided(locks: sa.TableClause, by_order: bool = False) -> sa.ScalarSelect[Any]:
    kinds: dict[str, Any] = {"project_id": sa.Integer(), "trigger": sa.Unicode(20), "at": UtcDateTime()}
    audit = sa.table("audit", *(sa.column(name, kind) for name, kind in kinds.items()))
    found = sa.select(sa.func.max(audit.c.at)).where(audit.c.project_id == locks.c.project_id)
    return (found.where(audit.c.trigger == "operator") if by_order else found).scalar_subquery()


def _currency(locks: sa.TableClause) -> sa.ScalarSelect[Any]:
    kinds: dict[str, Any] = {"project_id": sa.Integer(), "number": sa.Integer(), "currency": key_text(3)}
    budgets = sa.table("budgets", *(sa.column(name, kind) for name, kind in kinds.items()))
    its = (budgets.c.project_id == locks.c.project_id) & (budgets.c.number == locks.c.budget_number)
    return sa.select(budgets.c.currency).where(its).scalar_subquery()


def downgrade() -> None:
    for name in ("by_hand", "incomplete"):
        op.add_column("locks", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
    for column in optional(**OLD):
        op.add_column("locks", column)
    locks = _locks()
    here = locks.c
    for name, word in (("by_hand", ORDER), ("incomplete", INCOMPLETE)):
        op.execute(locks.update().where(here.why == word).values({name: sa.true()}))
    released = {"released_number": here.ordered_number, "released_period_start": here.ordered_period_start}
    op.execute(locks.update().where(here.ordered_locks == sa.false()).values(released))
    for name in reversed(NEW):
        op.drop_column("locks", name)
