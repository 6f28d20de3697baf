"""Which projects are locked, who works on that, and what was decided; rows of the audit are added, never changed.

A claim is a guarded update, and its row count says who has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update
from typing_extensions import override

from shared.adapters.database.budget_periods import present_budgets
from shared.adapters.database.budget_rows import AnyRow, project_in, sums_within, terms_of, with_budget
from shared.adapters.database.chunks import kept_or
from shared.adapters.database.coverage import gaps_of
from shared.adapters.database.ledger import Ledger, reads, record, writes
from shared.adapters.database.mails import insert_mails
from shared.adapters.database.tables import audit, locks, mails, projects, scope_owners, scopes
from shared.domain.budgets import Budget
from shared.domain.coverage import Gap
from shared.domain.locks import HeldLock
from shared.domain.money import stored
from shared.domain.periods import Period
from shared.domain.projects import sub_account_key
from shared.ports.azure import AZURE, ResourceGroup
from shared.ports.locks import AuditEntry, AuditView, Freed, Hold, LockFacts, LockLedger
from shared.ports.mails import MailState, NewMail, Topic

NOT_RELEASED = dict.fromkeys(("released_number", "released_period_start"))
EMPTY: dict[str, Any] = {"by_hand": False, "incomplete": False, "groups": []}
NOT_HELD = dict.fromkeys(("held_since", "budget_number", "period_start", "amount", "spent"))


@dataclass(frozen=True)
class SqlLocks(Ledger, LockLedger):
    """LockLedger on a SQL database. `sender_domain` is the right half of every mail's Message-ID.

    lookback_days: how far back a night reads again.
    """

    sender_domain: str
    lookback_days: int

    @override
    @reads
    def projects_in(self, connection: Connection, subscription_id: str) -> list[tuple[int, str]]:
        here = (scopes.c.provider == AZURE) & (scopes.c.sub_account_id == sub_account_key(AZURE, subscription_id))
        found = select(projects.c.id, projects.c.acronym).join(scopes, scopes.c.project_id == projects.c.id).where(here)
        return [(row.id, row.acronym) for row in connection.execute(found.distinct().order_by(projects.c.id))]

    @override
    @reads
    def facts(self, connection: Connection, project_id: int, now: datetime) -> LockFacts | None:
        row = next(iter(with_budget(connection, [project_id])), None)
        if row is None:
            return None
        today = now.astimezone(UTC).date()
        # Not the period in the row: the check that turns to a new one may be to come.
        period = terms_of(row).rule.period_at(today)
        budget = present_budgets(connection, [row], today)[row.id]
        sums = sums_within(connection, [(row.id, period)] if period else []).get(row.id, {})
        spent = {currency: cost for (_, currency), cost in sums.items()}
        currency = budget.terms.currency
        lock = connection.execute(select(locks).where(locks.c.project_id == row.id)).one_or_none()
        return LockFacts(
            project=project_in(row),
            groups=_groups(connection, row.id),
            budget=budget,
            period=period,
            usage=budget.terms.used(spent.get(currency, Decimal(0)), period),
            usage_known=row.costs_read_at is not None and bool(currency) and spent.keys() <= {currency},
            held=held_in(lock),
            held_groups=tuple(ResourceGroup(*group) for group in lock.groups) if lock else (),
            held_since=lock.held_since if lock else None,
            released=is_released(lock, budget.number, period),
            taken_over=period is not None and _taken_over(connection, row.id, period),
            gaps=self._gaps(connection, row, budget, period, today),
        )

    def _gaps(
        self, connection: Connection, row: AnyRow, budget: Budget, period: Period | None, today: date
    ) -> tuple[Gap, ...]:
        if period is None or not row.active:
            return ()
        needed = {row.id: (period, bool(budget.terms.opening_in(period)))}
        return gaps_of(connection, needed, today, self.lookback_days, projects.c.id == row.id).get(row.id, ())

    @override
    @reads
    def held(self, connection: Connection) -> int:
        counted = select(func.count()).select_from(locks).where(locks.c.held_since.is_not(None))
        return connection.execute(counted).scalar_one()

    @override
    @reads
    def decisions(
        self, connection: Connection, project_id: int | None = None, limit: int | None = None
    ) -> list[AuditView]:
        newest = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if project_id is not None:
            newest = newest.where(audit.c.project_id == project_id)
        rows = reversed(connection.execute(newest).all())
        return [record(AuditView, row, entry=record(AuditEntry, row)) for row in rows]

    @override
    @writes
    def claim(self, connection: Connection, project_id: int, claimant: str, until: datetime, now: datetime) -> bool:
        claimed = {"claimant": claimant, "claimed_until": until}
        takeable = or_(locks.c.claimant.is_(None), locks.c.claimed_until <= now, locks.c.claimant == claimant)
        taken = connection.execute(update(locks).where(locks.c.project_id == project_id, takeable).values(claimed))
        if taken.rowcount == 1:
            return True
        without = projects.outerjoin(locks, locks.c.project_id == projects.c.id)
        lacks_row = (projects.c.id == project_id) & locks.c.project_id.is_(None)
        if connection.scalar(select(projects.c.id).select_from(without).where(lacks_row)) is None:
            return False
        # Two that make the row at once: one runs again, and sees the other's claim.
        connection.execute(insert(locks), [{"project_id": project_id, **EMPTY} | claimed])
        return True

    @override
    @writes
    def release(self, connection: Connection, project_id: int, claimant: str) -> None:
        _end_claim(connection, project_id, claimant, {})

    @override
    @writes
    def record(
        self,
        connection: Connection,
        entry: AuditEntry,
        claimant: str,
        change: Hold | Freed | None,
        mails: Sequence[NewMail],
        now: datetime,
    ) -> bool:
        if not _end_claim(connection, entry.project_id, claimant, _changed(change, now)):
            return False
        if connection.scalar(select(audit.c.id).where(audit.c.key == entry.key)) is None:
            acronym = select(projects.c.acronym).where(projects.c.id == entry.project_id)
            row = asdict(entry) | {"at": now, "acronym": connection.execute(acronym).scalar_one()}
            # Inline: without asking for the new id by OUTPUT, which SQL Server may refuse beside triggers (334).
            connection.execute(insert(audit).inline(), [row])
            insert_mails(connection, mails, now, self.sender_domain)
        return True

    @override
    @writes
    def keep(self, connection: Connection, project_id: int, claimant: str, hold: Hold) -> None:
        _end_claim(connection, project_id, claimant, _counted(hold))

    @override
    @reads
    def unsent(self, connection: Connection, project_id: int) -> list[int]:
        untouched = (mails.c.state == MailState.PENDING) & (mails.c.attempts == 0)
        # Alerts are the notifier's to send.
        wanted = (mails.c.project_id == project_id) & (mails.c.topic == Topic.LOCK) & untouched
        return list(connection.scalars(select(mails.c.id).where(wanted).order_by(mails.c.id)))


def held_in(row: AnyRow | None) -> HeldLock | None:
    """The lock in a row of `locks` (None: there is no row).

    With groups and without `held_since` it was about to be put on, and may be there.
    """
    if row is None or (row.held_since is None and not row.groups):
        return None
    return record(HeldLock, row)


def is_released(row: AnyRow | None, budget_number: int, period: Period | None) -> bool:
    """Whether a row of `locks` says that the project was unlocked by hand, for this revision and period."""
    start = period.start if period else None
    return row is not None and row.released_number == budget_number and row.released_period_start == start


def _taken_over(connection: Connection, project_id: int, period: Period) -> bool:
    own = (scope_owners.c.project_id == project_id) & scope_owners.c.owned_until.is_(None)
    came = select(scope_owners.c.id).where(own, scope_owners.c.owned_from > period.start)
    return connection.scalar(came.limit(1)) is not None


def _groups(connection: Connection, project_id: int) -> tuple[ResourceGroup, ...]:
    own = (scopes.c.project_id == project_id) & (scopes.c.provider == AZURE)
    found = select(scopes.c.sub_account_id, scopes.c.x_resource_group_name).where(own)
    rows = connection.execute(found.order_by(scopes.c.sub_account_id, scopes.c.group_key))
    return tuple(ResourceGroup(account, name) for account, name in rows)


def _end_claim(connection: Connection, project_id: int, claimant: str, values: Mapping[str, Any]) -> bool:
    """Ends the claim and writes `values`; False, and nothing is written, where the claimant doesn't have it."""
    own = (locks.c.project_id == project_id) & (locks.c.claimant == claimant)
    freed = update(locks).where(own).values(claimant=None, claimed_until=None, **values)
    return connection.execute(freed).rowcount == 1


def _changed(change: Hold | Freed | None, now: datetime) -> dict[str, Any]:
    """The columns of `locks` that a change sets."""
    if change is None:
        return {}
    if isinstance(change, Hold):
        return _counted(change) | NOT_RELEASED | {"held_since": kept_or(locks.c.held_since, now)}
    released = {"released_number": change.budget_number, "released_period_start": change.period_start}
    return NOT_HELD | EMPTY | (released if change.by_hand else NOT_RELEASED)


def _counted(hold: Hold) -> dict[str, Any]:
    # Azure's figure may have more places than are stored.
    spent = None if hold.lock.spent is None else stored(hold.lock.spent)
    return asdict(hold.lock) | {
        "spent": spent,
        "groups": [[group.subscription_id, group.name] for group in hold.groups],
    }
