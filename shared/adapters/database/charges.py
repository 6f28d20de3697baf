"""Charges, and which of them have been read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, exists, false, func, insert, or_, select, true
from typing_extensions import override

from shared.adapters.database.allocated import may_get
from shared.adapters.database.budget_periods import present_budgets
from shared.adapters.database.budget_rows import BUDGET_RULE, CURRENT_BUDGET, WITH_BUDGET, AnyRow, period_in, rule_of
from shared.adapters.database.charge_rows import (
    Metered,
    Row,
    RowChanges,
    note_changes,
    stored_charges,
    write,
    write_meters,
)
from shared.adapters.database.chunks import insert_rows, kept_or, update_in
from shared.adapters.database.cloud_accounts import lock_accounts
from shared.adapters.database.coverage import (
    exported_groups,
    gaps_today,
    known_months,
    months_delivered,
    months_of,
    note_stored,
    stored_lately,
    write_months,
)
from shared.adapters.database.ledger import Ledger, reads, record, writes
from shared.adapters.database.owners import STILL_READ, owners_by_group, owners_of
from shared.adapters.database.scope_rows import Scopes, with_scopes
from shared.adapters.database.tables import (
    WHOLE,
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
from shared.adapters.database.types import largest_amount
from shared.domain.coverage import (
    Coverage,
    Incomplete,
    Known,
    Reading,
    ReadPart,
    doubt_about,
    fault_in,
    nights_lookback,
    not_outdated,
)
from shared.domain.money import plain
from shared.domain.periods import Period
from shared.messages import ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.charges import Account, Answered, AnswerState, ChargeLedger, ProjectScopes, Stored
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.costs import CostQuery
from shared.ports.errors import NeverError
from shared.ports.export_runs import closed_on

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
    def store(self, connection: Connection, scope_id: int, reading: Reading, now: datetime) -> Stored:
        reading = reading.restricted()
        if fault := fault_in(reading):
            raise NeverError(fault)
        lock_accounts(connection, reading.provider, [reading.sub_account_id])
        delivered = months_delivered(connection, reading.provider, reading.sub_account_id)
        known = months_of(connection, reading.provider, reading.sub_account_id)
        lookback = nights_lookback(self.lookback_days, closed_on(reading.provider))
        taken = _Taken(reading, lookback, known, delivered)
        stored = stored_lately(connection, reading.provider, reading.sub_account_id)
        names = {key: name for part in reversed(reading.parts) for key, name in part.group_names.items()}
        found = with_scopes(connection, reading.provider, reading.sub_account_id, names)
        read = {key: row for key, row in found.items() if reading.is_whole or key in reading.group_keys}
        ids = {key: row.id for key, row in read.items()}
        parts, changes, odd = list[ReadPart](), RowChanges(), dict[str, str]()
        metered = list[Metered]()
        counting = list(_not_delivered(reading, delivered))
        for part, exported in counting:
            current = not_outdated(part, stored)
            left = [(days, {key: ids[key] for key in ids.keys() - silent - exported}) for days, silent in current]
            its = RowChanges()
            for days, scope_ids in left:
                note_changes(connection, its, days, scope_ids)
            part_odd = {**_too_large(connection, its, reading.sub_account_id, ids), **part.odd}
            odd |= part_odd
            doubt = _doubt(connection, its, left, reading.night)
            # Without any left, what it would say is stored already, and newer: for its run, it has been read.
            if left and taken.believes(replace(part, odd=part_odd), doubt, current == [(part, frozenset())]):
                parts.append(part)
                changes.add(its)
                metered += [(*each, part_odd) for each in left]
        owners = owners_by_group(connection, reading.provider, reading.sub_account_id, odd) if odd else {}
        if reading.is_whole:
            write_months(connection, reading.provider, reading.sub_account_id, taken.changed)
        elif owners:
            # Some groups say nothing of the account, nor of what is missing of it.
            raise NeverError(odd[next(iter(owners))])
        write(connection, changes)
        write_meters(connection, metered)
        note_stored(connection, reading, parts, now)
        _note_answers(connection, scope_id, taken, now)
        if counting:
            _mark_due(connection, reading.night, [part.window for part, _ in counting], read, taken.suspect, now)
        told = tuple((reason, tuple(owners.get(key, {}).values())) for key, reason in odd.items())
        return Stored(
            added=len(changes.added),
            changed=len(changes.changed),
            removed=len(changes.removed),
            suspect=tuple(taken.suspect),
            odd=told,
        )

    @override
    @reads
    def incomplete(self, connection: Connection, today: date) -> Incomplete:
        budgeted = (projects.c.active == true()) & (budgets.c.amount > Decimal(0))
        rows = connection.execute(WITH_BUDGET.where(budgeted).order_by(projects.c.acronym_key)).all()
        budgets_now = present_budgets(connection, rows, today)
        lacking = gaps_today(connection, rows, budgets_now, today, self.lookback_days)
        return Incomplete.of({row.acronym: lacking.get(row.id, ()) for row in rows})

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
            write_months(connection, provider, sub_account_id, {month: known.compared(night, agrees)})

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
        connection.execute(delete(answers).where(*_is_answer(scope_id, query)))
        if progress is not None:
            begun = {"state": AnswerState.BEGUN, "tries": 0, "progress": progress, "kept_at": now}
            connection.execute(insert(answers).values(_answer_key(scope_id, query) | begun))

    @override
    @reads
    def kept_answer(self, connection: Connection, scope_id: int, query: CostQuery, since: datetime) -> bytes | None:
        kept = select(answers.c.progress).where(*_is_answer(scope_id, query), answers.c.kept_at >= since)
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


def _answer_key(scope_id: int, query: CostQuery) -> dict[str, Any]:
    """The window's end belongs to it: the next page is only given to whoever asks for the very same days."""
    window = {"window_start": query.window.start, "window_end": query.window.end}
    return {"run_scope_id": scope_id, "provider": query.provider, "sub_account_id": query.sub_account_id} | window


def _is_answer(scope_id: int, query: CostQuery) -> list[ColumnElement[bool]]:
    return [answers.c[name] == value for name, value in _answer_key(scope_id, query).items()]


def _note_answers(connection: Connection, scope_id: int, taken: _Taken, now: datetime) -> None:
    """Writes down what became of the queries."""
    reading, suspect = taken.reading, taken.suspect
    states = {
        part.window: (AnswerState.SUSPECT, suspect[part.window])
        if part.window in suspect
        else (AnswerState.READ, taken.gone.get(part.window))
        for part in reading.parts
    } | {window: (AnswerState.FAILED, reason) for window, reason in reading.failed}
    rows = []
    for window, (state, reason) in states.items():
        this = CostQuery(reading.provider, reading.sub_account_id, window)
        tries = connection.scalar(select(answers.c.tries).where(*_is_answer(scope_id, this))) or 0
        connection.execute(delete(answers).where(*_is_answer(scope_id, this)))
        outcome = {"state": state, "reason": reason, "tries": tries + 1, "kept_at": now}
        rows.append(_answer_key(scope_id, this) | outcome)
    insert_rows(connection, answers, rows)


@dataclass
class _Taken:
    """Goes through a reading's parts: which are believed, which are not and why, and what is known of months then."""

    reading: Reading
    lookback_days: int
    known: dict[date, Coverage]
    delivered: Mapping[date, frozenset[str]]
    suspect: dict[Period, str] = field(default_factory=dict)
    gone: dict[Period, str] = field(default_factory=dict)
    changed: dict[date, Coverage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for window, reason in self.reading.failed:
            if WHOLE not in self.delivered.get(_month(window), ()):
                self._know(self._of(window).failed(reason, self.reading.night, self.lookback_days))

    def believes(self, part: ReadPart, doubt: str | None, is_whole: bool) -> bool:
        """Whether the part is to be stored. is_whole: whether no newer answer has stored some of what it is about."""
        # Some groups say nothing of the account: where they are doubtful, they are never believed.
        believed = doubt is None
        if self.reading.is_whole:
            known = self._of(part.window)
            if not is_whole:
                part = replace(part, odd={**(known.odd or {}), **part.odd})
            believed, after = known.read(part, self.reading.night, self.lookback_days, doubt)
            self._know(replace(after, source=self.reading.source))
        if doubt:
            (self.gone if believed else self.suspect)[part.window] = doubt
        return believed

    def _of(self, window: Period) -> Coverage:
        return self.known.get(_month(window)) or Coverage(_month(window))

    def _know(self, after: Coverage) -> None:
        self.known[after.month] = self.changed[after.month] = after


def _month(window: Period) -> date:
    return window.start.replace(day=1)


def _not_delivered(
    reading: Reading, delivered: Mapping[date, frozenset[str]]
) -> Iterator[tuple[ReadPart, frozenset[str]]]:
    """The parts without what exports have delivered that feed it, and of which groups that is.

    An answer may have been on its way when the export took over; its charges would count beside the export's.
    """
    for part in reading.parts:
        exported = delivered.get(_month(part.window), frozenset())
        if WHOLE not in exported and (reading.is_whole or not reading.group_keys <= exported):
            yield part.without(exported) if exported else part, exported


def _doubt(
    connection: Connection, changes: RowChanges, left: Sequence[tuple[ReadPart, Mapping[str, int]]], night: date
) -> str | None:
    """`doubt_about` what these changes come from. What takes nothing away is no matter for doubt."""
    if not changes.take_away:
        return None
    stored = (
        row
        for days, scope_ids in left
        for row in stored_charges(connection, days.window, {key: scope_ids[key] for key in scope_ids.keys() - days.odd})
    )
    return doubt_about([charges for days, _ in left for charges in days.charges], stored, night)


def _too_large(
    connection: Connection, changes: RowChanges, sub_account_id: str, scope_ids: Mapping[str, int]
) -> dict[str, str]:
    """Takes the amounts out that can't be stored; what is wrong with them, by group."""
    largest = largest_amount(connection.dialect)
    group_keys = {scope_id: key for key, scope_id in scope_ids.items()}
    why = f"which can't be stored; the largest amount is {plain(largest)}."
    return {
        group_keys[row[0]]: f"The costs of {sub_account_id} came with {_in_words(row)}, {why}"
        for row in changes.set_aside(largest)
    }


def _in_words(row: Row) -> str:
    _, day, service, currency, cost = row
    return f"{plain(cost)} {currency} for {service} on {day}"


def _mark_due(
    connection: Connection,
    night: date,
    windows: Iterable[Period],
    read: Scopes,
    suspect: Collection[Period],
    now: datetime,
) -> None:
    """The projects of what was asked for are due for a check; their costs were read where the night's day was."""
    due: dict[str, Any] = {"check_due_since": kept_or(projects.c.check_due_since, now)}
    if any(night in window and window not in suspect for window in windows):
        due["costs_read_at"] = now
    owners = sorted(set(owners_of(connection, [row.id for row in read.values()])))
    update_in(connection, projects, owners, projects.c.active == true(), **due)
