"""Which projects are locked, who works on that, and what was decided; rows of the audit are added, never changed.

A claim is a guarded update, and its row count says who has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update
from typing_extensions import override

from shared.adapters.database.budget_periods import present_budgets
from shared.adapters.database.budget_rows import OWNED, AnyRow, project_in, sums_within, terms_of, with_budget
from shared.adapters.database.chunks import in_chunks, kept_or
from shared.adapters.database.converted import NOTHING_CONVERTED, converted_within, missing_before
from shared.adapters.database.coverage import gaps_of
from shared.adapters.database.ledger import Ledger, reads, record, writes
from shared.adapters.database.mails import insert_mails
from shared.adapters.database.noting import note
from shared.adapters.database.owners import owned_scopes
from shared.adapters.database.tables import (
    alerts,
    audit,
    budgets,
    charges,
    locks,
    mails,
    projects,
    scope_owners,
    scopes,
)
from shared.domain.budgets import Budget
from shared.domain.coverage import Gap, without_rate
from shared.domain.locks import FULL, HeldLock, LockOrder
from shared.domain.money import add, stored
from shared.domain.periods import Period
from shared.domain.projects import sub_account_key
from shared.domain.thresholds import AlertOutcome
from shared.ports.azure import AZURE, ResourceGroup
from shared.ports.changes import THE_APP, Action, Change
from shared.ports.locks import AuditEntry, AuditView, Freed, Hold, LockFacts, LockLedger
from shared.ports.mails import MailState, NewMail, Topic

NOT_HELD: dict[str, Any] = {"groups": [], "held_since": None} | dict.fromkeys(each.name for each in fields(HeldLock))
# When it was given stays: an order of before does not count, should it come after it.
NO_ORDER = dict.fromkeys(("ordered_locks", "ordered_by", "ordered_number", "ordered_period_start"))
# An order's own message carries it out before that.
CARRIED_OUT_WITHIN = timedelta(hours=1)


@dataclass(frozen=True)
class SqlLocks(Ledger, LockLedger):
    """LockLedger on a SQL database. `sender_domain` is the right half of every mail's Message-ID.

    lookback_days: how far back a night reads again. converts: whether charges in other currencies count.
    """

    sender_domain: str
    lookback_days: int
    converts: bool = False

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
        budget = present_budgets(connection, [row], today, self.converts)[row.id]
        sums = sums_within(connection, [(row.id, period)] if period else []).get(row.id, {})
        spent = {currency: cost for (_, currency), cost in sums.items()}
        currency = budget.terms.currency
        wanted = [(row.id, period, currency)] if period and self.converts else []
        # What is allocated counts for no lock, in whichever currency.
        converted = next(iter(converted_within(connection, wanted).values()), NOTHING_CONVERTED)
        before = missing_before(connection, [(row.id, budget, period)] if self.converts else [])
        whole = not converted.missing if self.converts else spent.keys() <= {currency}
        lock = connection.execute(select(locks).where(locks.c.project_id == row.id)).one_or_none()
        owned = owned_scopes(connection, projects.c.id == row.id).get(row.id, [])
        return LockFacts(
            project=project_in(row),
            groups=tuple(
                ResourceGroup(each.sub_account_id, each.resource_group) for each in owned if each.can_be_locked
            ),
            unreached=tuple(each for each in owned if not each.can_be_locked),
            budget=budget,
            period=period,
            usage=add(budget.terms.used(spent.get(currency, Decimal(0)), period), converted.total),
            usage_known=row.costs_read_at is not None and bool(currency) and whole,
            converted=converted,
            held=held_in(lock),
            held_groups=tuple(ResourceGroup(*group) for group in lock.groups) if lock else (),
            held_since=lock.held_since if lock else None,
            order=order_in(lock),
            ordered_at=lock.ordered_at if lock else None,
            alerted_at=lock.alerted_at if lock else None,
            taken_over=period is not None and _taken_over(connection, row.id, period),
            left_credit=period is not None and _left_credit(connection, row.id, period),
            gaps=(
                *self._gaps(connection, row, budget, period, today),
                *without_rate(converted),
                *chain.from_iterable(before.values()),
            ),
            told_at=_told_at(connection, row.id, budget, period),
            told_otherwise=_told_otherwise(connection, row.id, budget, period),
        )

    def _gaps(
        self, connection: Connection, row: AnyRow, budget: Budget, period: Period | None, today: date
    ) -> tuple[Gap, ...]:
        if period is None or not row.active:
            return ()
        needed = {row.id: (budget.decided_by(period), bool(budget.terms.opening_in(period)))}
        return gaps_of(connection, needed, today, self.lookback_days, projects.c.id == row.id).get(row.id, ())

    @override
    @writes
    def order(
        self, connection: Connection, project_id: int, is_lock: bool, at: datetime, by: str | None, now: datetime
    ) -> None:
        row = next(iter(with_budget(connection, [project_id])), None)
        if row is None:
            return
        _make_row(connection, project_id)
        period = terms_of(row).rule.period_at(now.astimezone(UTC).date())
        ordered = {"ordered_locks": is_lock, "ordered_at": at, "ordered_by": by}
        ordered |= {"ordered_number": row.same_since or row.budget_number}
        ordered |= {"ordered_period_start": period.start if period else None}
        ordered |= {"look_due_at": now + CARRIED_OUT_WITHIN}
        here = locks.c
        # The same order once more changes nothing: it is for what was then.
        is_other = (here.ordered_at == at) & (here.ordered_locks != is_lock)
        is_later = here.ordered_at.is_(None) | (here.ordered_at < at) | is_other
        connection.execute(update(locks).where(here.project_id == project_id, is_later).values(ordered))

    @override
    @writes
    def withdraw(self, connection: Connection, project_id: int, order: LockOrder) -> None:
        this = (locks.c.project_id == project_id) & (locks.c.ordered_at == order.at)
        connection.execute(update(locks).where(this).values(NO_ORDER))

    @override
    @writes
    def look_at(self, connection: Connection, project_id: int, due_at: datetime | None) -> None:
        connection.execute(update(locks).where(locks.c.project_id == project_id).values(look_due_at=due_at))

    @override
    @writes
    def alerted(self, connection: Connection, project_id: int, at: datetime | None) -> None:
        connection.execute(update(locks).where(locks.c.project_id == project_id).values(alerted_at=at))

    @override
    @reads
    def looks_due(self, connection: Connection, now: datetime) -> list[int]:
        due = select(locks.c.project_id).where(locks.c.look_due_at <= now).order_by(locks.c.project_id)
        return list(connection.scalars(due))

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
        return _make_row(connection, project_id, claimed)

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
            named = select(projects.c.acronym).where(projects.c.id == entry.project_id)
            acronym = connection.execute(named).scalar_one()
            row = asdict(entry) | {"at": now, "acronym": acronym}
            # Inline: without asking for the new id by OUTPUT, which SQL Server may refuse beside triggers (334).
            connection.execute(insert(audit).inline(), [row])
            said = {"outcome": entry.outcome, "trigger": entry.trigger, "asked": entry.asked}
            decided = Change(Action.LOCK_DECIDED, acronym, now, entry.project_id, entry.reason, said, entry.by)
            note(connection, [decided], THE_APP)
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


def _told_at(connection: Connection, project_id: int, budget: Budget, period: Period | None) -> datetime | None:
    if period is None:
        return None
    told = select(alerts.c.made_at, mails.c.context).join(mails, mails.c.key == alerts.c.mail_key)
    told = told.join(budgets, budgets.c.id == alerts.c.budget_id)
    this = (budgets.c.project_id == project_id) & (budgets.c.number >= budget.first_number)
    of_now = this & (alerts.c.period_start == period.start) & (alerts.c.threshold >= FULL)
    rows = connection.execute(told.where(of_now, alerts.c.outcome == AlertOutcome.MAILED))
    return max((row.made_at for row in rows if row.context.get("at_100") == "lock"), default=None)


def _told_otherwise(connection: Connection, project_id: int, budget: Budget, period: Period | None) -> bool:
    if period is None:
        return False
    about = (mails.c.project_id == project_id) & (mails.c.topic == Topic.LOCK) & (mails.c.threshold == FULL)
    of_now = (mails.c.budget_number >= budget.first_number) & (mails.c.period_start == period.start)
    contexts = connection.scalars(select(mails.c.context).where(about, of_now))
    return any(context.get("what") == "not locked" for context in contexts)


def held_in(row: AnyRow | None) -> HeldLock | None:
    """The lock in a row of `locks` (None: there is no row).

    With groups and without `held_since` it was about to be put on, and may be there.
    """
    if row is None or (row.held_since is None and not row.groups):
        return None
    return record(HeldLock, row)


def order_in(row: AnyRow | None) -> LockOrder | None:
    """What a row of `locks` says that an operator ordered last."""
    if row is None or row.ordered_locks is None:
        return None
    of_budget = (row.ordered_number, row.ordered_period_start)
    return LockOrder(row.ordered_locks, row.ordered_at, *of_budget, by=row.ordered_by)


def look_soon(connection: Connection, project_ids: Iterable[int], now: datetime) -> None:
    """Makes the locks of these projects due: something was changed that may decide about them."""
    for some in in_chunks(sorted(project_ids)):
        live = locks.c.project_id.in_(some) & locks.c.look_due_at.is_not(None)
        connection.execute(update(locks).where(live).values(look_due_at=now))


def _make_row(connection: Connection, project_id: int, values: Mapping[str, Any] | None = None) -> bool:
    """Makes the project's row with these values; False where it has one, or there is no such project."""
    without = projects.outerjoin(locks, locks.c.project_id == projects.c.id)
    lacks_row = (projects.c.id == project_id) & locks.c.project_id.is_(None)
    if connection.scalar(select(projects.c.id).select_from(without).where(lacks_row)) is None:
        return False
    # Two that make the row at once: one runs again, and sees the other's.
    connection.execute(insert(locks), [{"project_id": project_id, "groups": [], **(values or {})}])
    return True


def _taken_over(connection: Connection, project_id: int, period: Period) -> bool:
    own = (scope_owners.c.project_id == project_id) & scope_owners.c.owned_until.is_(None)
    came = select(scope_owners.c.id).where(own, scope_owners.c.owned_from > period.start)
    return connection.scalar(came.limit(1)) is not None


def _left_credit(connection: Connection, project_id: int, period: Period) -> bool:
    left = (scope_owners.c.project_id == project_id) & scope_owners.c.owned_until.is_not(None)
    day = charges.c.charge_period_start
    its = select(func.sum(charges.c.billed_cost)).join_from(scope_owners, charges, OWNED)
    spent = connection.scalar(its.where(left, day >= period.start, day < period.end))
    return spent is not None and spent < 0


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
        return _counted(change) | {"held_since": kept_or(locks.c.held_since, now)}
    return NOT_HELD


def _counted(hold: Hold) -> dict[str, Any]:
    # Azure's figure may have more places than are stored.
    spent = None if hold.lock.spent is None else stored(hold.lock.spent)
    return asdict(hold.lock) | {
        "spent": spent,
        "groups": [[group.subscription_id, group.name] for group in hold.groups],
    }
