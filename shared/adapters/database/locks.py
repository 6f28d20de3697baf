"""Which projects are locked, and who works on that: a claim is a guarded update, and its row count says who has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, insert, literal, or_, select, update

from shared.adapters.database.audit import insert_entry
from shared.adapters.database.budget_periods import budget_in, present_periods
from shared.adapters.database.budget_rows import BUDGET_TERMS, CURRENT_BUDGET, AnyRow, terms_of
from shared.adapters.database.engine import Database
from shared.adapters.database.mails import insert_mails
from shared.adapters.database.tables import budgets, charges, locks, mails, projects, scopes
from shared.adapters.database.types import UtcDateTime
from shared.domain.budgets import Budget
from shared.domain.locks import HeldLock
from shared.domain.money import stored
from shared.domain.periods import Period
from shared.domain.projects import LockPolicy
from shared.ports.azure import AZURE, ResourceGroup
from shared.ports.locks import AuditEntry, Freed, Hold, LockFacts
from shared.ports.mails import MailState, NewMail


class SqlLocks:
    """The LockLedger on a SQL database. `sender_domain` is the right half of every mail's Message-ID.

    A claimant is a text of at most 100 characters.
    """

    def __init__(self, database: Database, sender_domain: str) -> None:
        self._database = database
        self._sender_domain = sender_domain

    def projects_in(self, subscription_id: str) -> list[tuple[int, str]]:
        """(id, acronym) of each project with groups in the subscription (see the port)."""
        return self._database.read(lambda connection: _projects_in(connection, subscription_id))

    def facts(self, project_id: int, now: datetime) -> LockFacts | None:
        """What is known of a project in the period that holds `now` (see the port)."""
        return self._database.read(lambda connection: _facts(connection, project_id, now.astimezone(UTC).date()))

    def claim(self, project_id: int, claimant: str, until: datetime, now: datetime) -> bool:
        """Takes the project's lock for work; False where it can't be had, and for an unknown project."""
        return self._database.run(lambda connection: _claim(connection, project_id, claimant, until, now))

    def release(self, project_id: int, claimant: str) -> None:
        """Ends the claim, if it is this claimant's."""
        self._database.run(lambda connection: _end_claim(connection, project_id, claimant, {}))

    def record(
        self,
        entry: AuditEntry,
        claimant: str,
        change: Hold | Freed | None,
        mails: Sequence[NewMail],
        now: datetime,
    ) -> bool:
        """Writes the decision, the new state and the mails in one transaction (see the port)."""
        values = _changed(change, now)

        def write(connection: Connection) -> bool:
            if not _end_claim(connection, entry.project_id, claimant, values):
                return False
            if insert_entry(connection, entry, now):
                insert_mails(connection, mails, now, self._sender_domain)
            return True

        return self._database.run(write)

    def keep(self, project_id: int, claimant: str, hold: Hold, now: datetime) -> None:  # noqa: ARG002 - the port's
        """Writes what counts for a lock that is there, or about to be, and ends the claim (see the port)."""
        values = _counted(hold.lock, hold.groups)
        self._database.run(lambda connection: _end_claim(connection, project_id, claimant, values))

    def held(self) -> int:
        """How many projects are locked."""
        return self._database.read(_count_held)

    def unsent(self, project_id: int) -> list[int]:
        """The ids of mails about the project that nobody has begun to send."""
        return self._database.read(lambda connection: _unsent(connection, project_id))


def held_in(row: AnyRow | None) -> HeldLock | None:
    """The lock in a row of `locks` (None: there is no row).

    With groups and without `held_since` it was about to be put on, and may be there.
    """
    if row is None or (row.held_since is None and not row.groups):
        return None
    return HeldLock(row.by_hand, row.budget_number, row.period_start, row.amount, row.spent)


def is_released(row: AnyRow | None, budget_number: int, period: Period | None) -> bool:
    """Whether a row of `locks` says that the project was unlocked by hand, for this revision and period."""
    start = period.start if period else None
    return row is not None and row.released_number == budget_number and row.released_period_start == start


# --- what is known -------------------------------------------------------------------------------------------


def _projects_in(connection: Connection, subscription_id: str) -> list[tuple[int, str]]:
    account = subscription_id.strip().lower()
    rows = connection.execute(
        select(projects.c.id, projects.c.acronym)
        .join_from(projects, scopes, scopes.c.project_id == projects.c.id)
        .where(scopes.c.provider == AZURE, scopes.c.sub_account_id == account)
        .distinct()
        .order_by(projects.c.id)
    )
    return [(row.id, row.acronym) for row in rows]


def _facts(connection: Connection, project_id: int, today: date) -> LockFacts | None:
    row = connection.execute(
        select(projects, budgets.c.id.label("budget_id"), *BUDGET_TERMS)
        .select_from(projects.join(budgets, CURRENT_BUDGET))
        .where(projects.c.id == project_id)
    ).one_or_none()
    if row is None:
        return None
    # Not the period in the row: the check that turns to a new one may be to come.
    period = terms_of(row).rule.period_at(today)
    opened = present_periods(connection, [row], today).get(project_id)
    groups = _groups(connection, project_id)
    return _lock_facts(
        row,
        budget_in(row, opened),
        period,
        groups,
        _sums(connection, project_id, period),
        connection.execute(select(locks).where(locks.c.project_id == project_id)).one_or_none(),
    )


def _lock_facts(
    row: AnyRow,
    budget: Budget,
    period: Period | None,
    groups: tuple[ResourceGroup, ...],
    sums: Mapping[str, Decimal],
    lock: AnyRow | None,
) -> LockFacts:
    currency = budget.terms.currency
    return LockFacts(
        project_id=row.id,
        acronym=row.acronym,
        name=row.name,
        language=row.language,
        contacts=tuple(row.contacts),
        active=row.active,
        lock=LockPolicy(row.lock_policy),
        groups=groups,
        budget=budget,
        period=period,
        usage=sums.get(currency, Decimal(0)),
        usage_known=row.costs_read_at is not None and bool(currency) and sums.keys() <= {currency},
        held=held_in(lock),
        held_groups=tuple(ResourceGroup(*group) for group in lock.groups) if lock else (),
        held_since=lock.held_since if lock else None,
        released=is_released(lock, budget.number, period),
    )


def _sums(connection: Connection, project_id: int, period: Period | None) -> dict[str, Decimal]:
    """What the project spent in the period, by currency."""
    if period is None:
        return {}
    rows = connection.execute(
        select(charges.c.billing_currency, func.sum(charges.c.billed_cost))
        .join_from(scopes, charges, charges.c.scope_id == scopes.c.id)
        .where(
            scopes.c.project_id == project_id,
            charges.c.charge_period_start >= period.start,
            charges.c.charge_period_start < period.end,
        )
        .group_by(charges.c.billing_currency)
    )
    return dict(rows.all())


def _groups(connection: Connection, project_id: int) -> tuple[ResourceGroup, ...]:
    rows = connection.execute(
        select(scopes.c.sub_account_id, scopes.c.x_resource_group_name)
        .where(scopes.c.project_id == project_id)
        .order_by(scopes.c.sub_account_id, scopes.c.group_key)
    )
    return tuple(ResourceGroup(account, name) for account, name in rows)


def _count_held(connection: Connection) -> int:
    counted = select(func.count()).select_from(locks).where(locks.c.held_since.is_not(None))
    return connection.execute(counted).scalar_one()


def _unsent(connection: Connection, project_id: int) -> list[int]:
    untouched = (mails.c.state == MailState.PENDING) & (mails.c.attempts == 0)
    # Alerts are the notifier's to hand on.
    about_locks = or_(mails.c.key.like("lock/%"), mails.c.key.like("operators/lock/%"))
    ids = select(mails.c.id).where(mails.c.project_id == project_id, untouched, about_locks).order_by(mails.c.id)
    return list(connection.scalars(ids))


# --- what is written -----------------------------------------------------------------------------------------


def _claim(connection: Connection, project_id: int, claimant: str, until: datetime, now: datetime) -> bool:
    claimed = {"claimant": claimant, "claimed_until": until}
    takeable = or_(locks.c.claimant.is_(None), locks.c.claimed_until <= now, locks.c.claimant == claimant)
    taken = connection.execute(update(locks).where(locks.c.project_id == project_id, takeable).values(claimed))
    if taken.rowcount == 1:
        return True
    if not _lacks_row(connection, project_id):
        return False
    # Two that make the row at once: one runs again, and sees the other's claim.
    connection.execute(insert(locks), [{"project_id": project_id, "by_hand": False, "groups": []} | claimed])
    return True


def _lacks_row(connection: Connection, project_id: int) -> bool:
    """Whether there is the project, and not yet its row in `locks`."""
    source = projects.outerjoin(locks, locks.c.project_id == projects.c.id)
    lacking = (projects.c.id == project_id) & locks.c.project_id.is_(None)
    return connection.scalar(select(projects.c.id).select_from(source).where(lacking)) is not None


def _end_claim(connection: Connection, project_id: int, claimant: str, values: Mapping[str, Any]) -> bool:
    """Ends the claim and writes `values`; False, and nothing is written, where the claimant doesn't have it."""
    ended = connection.execute(
        update(locks)
        .where(locks.c.project_id == project_id, locks.c.claimant == claimant)
        .values(claimant=None, claimed_until=None, **values)
    )
    return ended.rowcount == 1


def _changed(change: Hold | Freed | None, now: datetime) -> dict[str, Any]:
    """The columns of `locks` that a change sets."""
    match change:
        case Hold(lock, groups):
            return _held(lock, groups, now)
        case Freed(by_hand, number, start):
            return _freed(number if by_hand else None, start if by_hand else None)
        case None:
            return {}


def _held(lock: HeldLock, groups: Sequence[ResourceGroup], now: datetime) -> dict[str, Any]:
    return _counted(lock, groups) | {
        # An expression does not hand the column's type to a bare value.
        "held_since": func.coalesce(locks.c.held_since, literal(now, UtcDateTime())),
        "released_number": None,
        "released_period_start": None,
    }


def _counted(lock: HeldLock, groups: Sequence[ResourceGroup]) -> dict[str, Any]:
    return {
        "by_hand": lock.by_hand,
        "budget_number": lock.budget_number,
        "period_start": lock.period_start,
        "amount": lock.amount,
        # Azure's figure may have more places than are stored.
        "spent": None if lock.spent is None else stored(lock.spent),
        "groups": [[group.subscription_id, group.name] for group in groups],
    }


def _freed(released_number: int | None, released_period_start: date | None) -> dict[str, Any]:
    return {
        "held_since": None,
        "by_hand": False,
        "budget_number": None,
        "period_start": None,
        "amount": None,
        "spent": None,
        "groups": [],
        "released_number": released_number,
        "released_period_start": released_period_start,
    }
