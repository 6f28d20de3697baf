"""Charges, and which of them have been read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, Table, delete, exists, false, func, insert, or_, select, true
from typing_extensions import override

from shared.adapters.database.allocated import may_get
from shared.adapters.database.budget_periods import present_budgets
from shared.adapters.database.budget_rows import BUDGET_RULE, CURRENT_BUDGET, WITH_BUDGET, AnyRow, period_in, rule_of
from shared.adapters.database.cloud_accounts import lock_accounts
from shared.adapters.database.coverage import (
    exported_groups,
    known_months,
    lacks_today,
    months_of,
    write_months,
)
from shared.adapters.database.ledger import Ledger, reads, record, writes
from shared.adapters.database.owners import STILL_READ
from shared.adapters.database.storing import answer_key, is_answer, store
from shared.adapters.database.tables import (
    accounts,
    allocation_rules,
    answers,
    budget_periods,
    budgets,
    charges,
    cloud_accounts,
    projects,
    scope_owners,
    scopes,
)
from shared.domain.coverage import (
    LACKS_NOTHING,
    Incomplete,
    Known,
    Reading,
)
from shared.domain.periods import Period
from shared.messages import ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.charges import Account, Answered, AnswerState, ChargeLedger, ProjectScopes, Stored
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.costs import CostQuery

# Columns of an Account, in its order.
KEY = (scopes.c.provider, scopes.c.sub_account_id)
IN_ACCOUNT = (accounts.c.provider == scopes.c.provider) & (accounts.c.sub_account_id == scopes.c.sub_account_id)
OPENED = select(func.min(budget_periods.c.period_start)).where(budget_periods.c.project_id == projects.c.id)
UNCLOSED = OPENED.where(budget_periods.c.closed == false())
# Columns of an Answered, its key first.
ANSWERED = tuple(
    answers.c[name] for name in ("provider", "sub_account_id", "window_start", "window_end", "state", "tries", "reason")
)


@dataclass(frozen=True)
class SqlCharges(Ledger, ChargeLedger):
    """ChargeLedger on a SQL database. lookback_days: how far back a night reads again."""

    lookback_days: int

    @override
    @reads
    def accounts(self, connection: Connection, cloud_account_id: int | None = None) -> list[Account]:
        fed = accounts.c.cloud_account_id == cloud_account_id
        return _accounts(connection, true() if cloud_account_id is None else fed)

    @override
    @reads
    def fed_by(self, connection: Connection, cloud_account_id: int) -> list[Account]:
        fed = accounts.c.cloud_account_id == cloud_account_id
        named = {(each.provider, each.sub_account_id): each for each in _accounts(connection, fed)}
        keys = select(accounts.c.provider, accounts.c.sub_account_id).where(fed, accounts.c.left_on.is_(None))
        ids = [(*row,) for row in connection.execute(keys.order_by(accounts.c.provider, accounts.c.sub_account_id))]
        known = known_months(connection, {each for _, each in ids})
        return [named.get(key) or Account(*key, cloud_account_id, known=known.get(key, {})) for key in ids]

    @override
    @reads
    def account(self, connection: Connection, provider: str, sub_account_id: str) -> Account:
        for known in _accounts(connection, _is_of(scopes, provider, sub_account_id)):
            return known
        this = _is_of(accounts, provider, sub_account_id)
        feeding = connection.scalar(select(accounts.c.cloud_account_id).where(this))
        months = months_of(connection, provider, sub_account_id)
        exported = exported_groups(connection, [sub_account_id]).get((provider, sub_account_id), frozenset())
        return Account(provider, sub_account_id, feeding, known=months, exported_groups=exported)

    @override
    @reads
    def scopes_of(self, connection: Connection, project_id: int) -> ProjectScopes | None:
        project = connection.execute(WITH_BUDGET.where(projects.c.id == project_id)).one_or_none()
        if project is None:
            return None
        names = select(*KEY, scopes.c.x_resource_group_name).where(scopes.c.project_id == project_id)
        rows = connection.execute(names.order_by(*KEY, scopes.c.group_key))
        groups = {(*key,): tuple(row[2] for row in same) for key, same in groupby(rows, key=lambda row: row[:2])}
        return ProjectScopes(project.acronym, project.active, groups, rule_of(project) if project.amount else None)

    @override
    @writes
    def store(self, connection: Connection, scope_id: int, readings: Sequence[Reading], now: datetime) -> list[Stored]:
        return store(connection, scope_id, readings, now, self.lookback_days)

    @override
    @reads
    def incomplete(self, connection: Connection, today: date) -> Incomplete:
        budgeted = (projects.c.active == true()) & (budgets.c.amount > Decimal(0))
        rows = connection.execute(WITH_BUDGET.where(budgeted).order_by(projects.c.acronym_key)).all()
        budgets_now = present_budgets(connection, rows, today)
        lacking = lacks_today(connection, rows, budgets_now, today, self.lookback_days)
        return Incomplete.of({row.acronym: lacking.get(row.id, LACKS_NOTHING).gaps for row in rows})

    @override
    @reads
    def acronyms_of(self, connection: Connection, target: ScopeTarget) -> list[str]:
        named = select(projects.c.acronym).where(_is_about(target))
        return list(connection.scalars(named.order_by(projects.c.acronym_key)))

    @override
    @reads
    def totals(
        self, connection: Connection, provider: str, sub_account_id: str, days: Period
    ) -> dict[str, tuple[Decimal, int]]:
        currency, day = charges.c.billing_currency, charges.c.charge_period_start
        summed = select(currency, func.sum(charges.c.billed_cost), func.count()).join(scopes)
        of_days = (day >= days.start) & (day < days.end) & _is_of(scopes, provider, sub_account_id)
        rows = connection.execute(summed.where(of_days).group_by(currency)).all()
        return {row[0]: (row[1], row[2]) for row in rows}

    @override
    @writes
    def note_compared(
        self, connection: Connection, provider: str, sub_account_id: str, month: date, night: date, agrees: bool
    ) -> None:
        lock_accounts(connection, provider, [sub_account_id])
        known = months_of(connection, provider, sub_account_id).get(month)
        if known is not None and not known.is_exported:
            write_months(connection, provider, {sub_account_id: {month: known.compared(night, agrees)}})

    @override
    @reads
    def answers(self, connection: Connection, scope_id: int) -> list[Answered]:
        rows = connection.execute(select(*ANSWERED).where(answers.c.run_scope_id == scope_id).order_by(*ANSWERED[:4]))
        return [record(Answered, row, window=Period(row.window_start, row.window_end)) for row in rows]

    @override
    @writes
    def keep_answer(
        self, connection: Connection, scope_id: int, query: CostQuery, progress: bytes | None, now: datetime
    ) -> None:
        connection.execute(delete(answers).where(*is_answer(scope_id, query)))
        if progress is not None:
            begun = {"state": AnswerState.BEGUN, "tries": 0, "progress": progress, "kept_at": now}
            connection.execute(insert(answers).values(answer_key(scope_id, query) | begun))

    @override
    @reads
    def kept_answer(self, connection: Connection, scope_id: int, query: CostQuery, since: datetime) -> bytes | None:
        kept = select(answers.c.progress).where(*is_answer(scope_id, query), answers.c.kept_at >= since)
        progress = connection.scalar(kept)
        return None if progress is None else bytes(progress)

    @override
    @reads
    def currencies_of(self, connection: Connection, provider: str, sub_account_id: str, since: date) -> frozenset[str]:
        found = select(charges.c.billing_currency).distinct().join(scopes, charges.c.scope_id == scopes.c.id)
        of_account = _is_of(scopes, provider, sub_account_id)
        return frozenset(connection.scalars(found.where(of_account, charges.c.charge_period_start >= since)))

    @override
    @reads
    def due_projects_of(self, connection: Connection, target: ScopeTarget) -> list[int]:
        concerned = or_(_is_about(target), (projects.c.active == true()) & may_get(_rules_about(target)))
        due = select(projects.c.id).where(concerned, projects.c.check_due_since.is_not(None))
        return list(connection.scalars(due.order_by(projects.c.id)))

    @override
    @reads
    def turning_projects_of(self, connection: Connection, target: ScopeTarget, today: date) -> list[int]:
        return _turning(connection, _is_about(target), today)

    @override
    @reads
    def turning_projects_unasked(
        self, connection: Connection, connection_types: Collection[str], today: date
    ) -> list[int]:
        fed = scopes.join(accounts, IN_ACCOUNT).join(cloud_accounts, cloud_accounts.c.id == accounts.c.cloud_account_id)
        asked = (
            select(scopes.c.project_id)
            .select_from(fed)
            .where(
                scopes.c.project_id.is_not(None),
                cloud_accounts.c.status != AccountStatus.DISABLED,
                cloud_accounts.c.connection_type.in_(list(connection_types)),
            )
        )
        return _turning(connection, (projects.c.active == true()) & projects.c.id.not_in(asked), today)


def _turning(connection: Connection, which: ColumnElement[bool], today: date) -> list[int]:
    rows = connection.execute(WITH_BUDGET.where(which).order_by(projects.c.id))
    # The period in the row is that of the last check.
    return [row.id for row in rows if period_in(row) != rule_of(row).period_at(today)]


def _is_of(
    table: Table, provider: str | ColumnElement[str], sub_account_id: str | ColumnElement[str]
) -> ColumnElement[bool]:
    return (table.c.provider == provider) & (table.c.sub_account_id == sub_account_id)


def _accounts(connection: Connection, which: ColumnElement[bool]) -> list[Account]:
    owned = scopes.join(scope_owners, scope_owners.c.scope_id == scopes.c.id)
    owned = owned.join(projects, scope_owners.c.project_id == projects.c.id).join(budgets, CURRENT_BUDGET)
    rows = connection.execute(
        select(
            *(*KEY, accounts.c.cloud_account_id, projects.c.id),
            *(OPENED.scalar_subquery().label("opened"), UNCLOSED.scalar_subquery().label("unclosed")),
            *BUDGET_RULE,
        )
        .select_from(owned.outerjoin(accounts, IN_ACCOUNT))
        .where(projects.c.active == true(), STILL_READ, which)
        .distinct()
        .order_by(*KEY)
    ).all()
    ids = {row.sub_account_id for row in rows}
    known, exported = known_months(connection, ids), exported_groups(connection, ids)
    return [
        _account(list(same), known.get((*key,), {}), exported.get((*key,), frozenset()))
        for key, same in groupby(rows, key=lambda row: row[:2])
    ]


def _account(rows: Sequence[AnyRow], known: Known, exported: frozenset[str]) -> Account:
    """An account from a row for each of its active projects. A budget without an amount needs no days."""
    budgeted = [row for row in rows if row.amount]
    opened_from = min((row.opened for row in budgeted if row.opened), default=None)
    unclosed_from = min((row.unclosed for row in budgeted if row.unclosed), default=None)
    projects_too = (frozenset(map(rule_of, budgeted)), len({row.id for row in rows}), opened_from, unclosed_from)
    return Account(*(*rows[0][:3], *projects_too, known, exported))


def _is_about(target: ScopeTarget) -> ColumnElement[bool]:
    """The active projects that a target is about."""
    if target.project_id is not None:
        return (projects.c.active == true()) & (projects.c.id == target.project_id)
    owners = select(scope_owners.c.project_id).join(scopes, scopes.c.id == scope_owners.c.scope_id)
    if target.subscription_id is not None:
        owners = owners.where(_is_of(scopes, AZURE, target.subscription_id))
    else:
        owners = owners.join(accounts, IN_ACCOUNT).where(accounts.c.cloud_account_id == target.cloud_account_id)
    return (projects.c.active == true()) & projects.c.id.in_(owners)


def _rules_about(target: ScopeTarget) -> ColumnElement[bool]:
    """The rules that allocate what a target's sub-accounts cost."""
    if target.project_id is not None:
        return false()  # of its own groups only
    if target.subscription_id is not None:
        return _is_of(allocation_rules, AZURE, target.subscription_id)
    same = _is_of(allocation_rules, accounts.c.provider, accounts.c.sub_account_id)
    return exists().where(same, accounts.c.cloud_account_id == target.cloud_account_id)
