"""Rules that allocate what no project owns: every version is a row that is never changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, and_, insert, select, true, update
from typing_extensions import override

from shared.adapters.database.allocated import may_get, splits, stored_rules
from shared.adapters.database.chunks import in_chunks, insert_rows, kept_or
from shared.adapters.database.cloud_accounts import lock_accounts
from shared.adapters.database.ledger import Ledger, columns, reads, writes
from shared.adapters.database.tables import allocation_rules, allocation_shares, projects, scopes
from shared.domain.allocation import Given, Rule, Share, clash, in_force, rule_key, summed
from shared.domain.periods import Period
from shared.ports.allocations import AllocationLedger, Approval, RuleChange, RuleVersion, RuleView
from shared.ports.errors import NeverError


class RefusedError(Exception):
    """There is no approval of a load; it takes back what the transaction has written."""

    def __init__(self, changes: list[RuleChange]) -> None:
        super().__init__()
        self.changes = changes


@dataclass(frozen=True)
class SqlAllocations(Ledger, AllocationLedger):
    """AllocationLedger on a SQL database."""

    @override
    def load(
        self, rules: Sequence[Rule], made_by: str, reason: str, now: datetime, approval: Approval
    ) -> list[RuleChange]:
        def write(connection: Connection) -> list[RuleChange]:
            _lock(connection, rules)
            known = _by_key(connection)
            changes = [change for rule in rules if (change := _change(known.get(rule_key(rule.name), ()), rule))]
            _write(connection, known, [change.after for change in changes], made_by, reason, now)
            if not approval(changes):
                raise RefusedError(changes)
            return changes

        try:
            return self.database.run(write)
        except RefusedError as refused:
            return refused.changes

    @override
    @writes
    def end(
        self, connection: Connection, name: str, last_day: date, made_by: str, reason: str, now: datetime
    ) -> RuleView | None:
        known = _by_key(connection)
        if (versions := known.get(rule_key(name))) is None:
            return None
        _write(connection, known, [versions[-1].rule.ended(last_day)], made_by, reason, now)
        return _view(_by_key(connection)[rule_key(name)])

    @override
    @reads
    def due_projects(self, connection: Connection, names: Sequence[str]) -> list[int]:
        due: set[int] = set()
        for getting in _getting(names):
            which = select(projects.c.id).where(getting, projects.c.check_due_since.is_not(None))
            due.update(connection.scalars(which))
        return sorted(due)

    @override
    @reads
    def rules(self, connection: Connection) -> list[RuleView]:
        return [_view(versions) for versions in stored_rules(connection)]

    @override
    @reads
    def given(self, connection: Connection, days: Period, account: tuple[str, str] | None = None) -> list[Given]:
        found = splits(connection, stored_rules(connection), days)
        return summed(each for each in found if account in (None, each.rule.pool.key[:2]))


def _lock(connection: Connection, rules: Sequence[Rule]) -> None:
    """Two loads at once never make rules that clash: the second waits, and sees what the first did."""
    accounts = {rule.pool.key[:2] for rule in rules}
    for provider in sorted({each for each, _ in accounts}):
        lock_accounts(connection, provider, {account for each, account in accounts if each == provider})


Known = dict[str, list[RuleVersion]]
"""The versions of all rules, oldest first, by the rule's key"""


def _by_key(connection: Connection) -> Known:
    return {rule_key(versions[0].rule.name): versions for versions in stored_rules(connection)}


def _view(versions: Sequence[RuleVersion]) -> RuleView:
    return RuleView(versions, in_force([each.rule for each in versions]))


def _change(versions: Sequence[RuleVersion], rule: Rule) -> RuleChange | None:
    if not versions:
        return RuleChange(None, rule)
    last = versions[-1]
    return None if last.rule.says(rule) else RuleChange(last.rule, rule, last if last.rule.is_end else None)


def _write(
    connection: Connection, known: Known, rules: Sequence[Rule], made_by: str, reason: str, now: datetime
) -> None:
    """Writes new versions. Raises NeverError where they can't count beside the others."""
    versions = {key: [each.rule for each in stored] for key, stored in known.items()}
    for rule in rules:
        versions.setdefault(rule_key(rule.name), []).append(rule)
        _write_one(connection, rule, len(versions[rule_key(rule.name)]), made_by, reason, now)
    for rule in rules:
        if (owner := _owner(connection, rule)) is not None:
            raise NeverError(
                f"the rule {rule.name} can't allocate {rule.pool}: it belongs to {owner}, and what it costs is its own"
            )
    if found := clash(versions.values()):
        one, other, day = found
        raise NeverError(
            f"the rules {one.name} and {other.name} would both allocate {one.pool} on {day}; end one of them before"
        )
    _mark_due(connection, rules, now)


def _write_one(connection: Connection, rule: Rule, number: int, made_by: str, reason: str, now: datetime) -> None:
    provider, sub_account_id, group_key = rule.pool.key
    pool = {"provider": provider, "sub_account_id": sub_account_id, "group_key": group_key}
    row = columns(rule, Rule, "pool", "shares") | pool | {"x_resource_group_name": rule.pool.group}
    row |= {"name_key": rule_key(rule.name), "number": number, "made_at": now, "made_by": made_by, "reason": reason}
    (rule_id,) = connection.execute(insert(allocation_rules).values(row)).inserted_primary_key or (None,)
    shares = [
        {"rule_id": rule_id, "position": position, **columns(share, Share)}
        for position, share in enumerate(rule.shares)
    ]
    insert_rows(connection, allocation_shares, shares)


def _owner(connection: Connection, rule: Rule) -> str | None:
    """The project that owns the group which the rule is to allocate."""
    provider, sub_account_id, group_key = rule.pool.key
    if group_key is None or rule.is_end:
        return None
    owner = select(projects.c.acronym).join(scopes, scopes.c.project_id == projects.c.id)
    this = (scopes.c.provider == provider) & (scopes.c.sub_account_id == sub_account_id)
    return connection.scalar(owner.where(this, scopes.c.group_key == group_key))


def _mark_due(connection: Connection, rules: Sequence[Rule], now: datetime) -> None:
    """Whoever gets a share, or got one by a version before, is due for a check."""
    for getting in _getting([rule.name for rule in rules]):
        due = update(projects).where(getting)
        connection.execute(due.values(check_due_since=kept_or(projects.c.check_due_since, now)))


def _getting(names: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """The active projects to which these rules may give something, in chunks of rules."""
    for some in in_chunks(list(map(rule_key, names))):
        yield and_(projects.c.active == true(), may_get(allocation_rules.c.name_key.in_(some)))
