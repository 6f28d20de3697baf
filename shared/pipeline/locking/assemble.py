"""Puts the parts of locking together: who works with whom."""

from __future__ import annotations

from dataclasses import dataclass

from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.locking.claims import Claims
from shared.pipeline.locking.dry_run import DryRun
from shared.pipeline.locking.enforce import Enforcement
from shared.pipeline.locking.groups import GroupLocks
from shared.pipeline.locking.handler import Locker
from shared.pipeline.locking.lock import Locking, LockRules
from shared.pipeline.locking.machines import MachineStops
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.records import Records
from shared.pipeline.locking.refuse import Refusals
from shared.pipeline.locking.unlock import Unlocking
from shared.pipeline.stage import Retry
from shared.ports.azure import AzureBudgets
from shared.ports.clock import Clock
from shared.ports.locks import LockLedger


@dataclass(frozen=True, slots=True)
class LockParts:
    """What locking is given from outside."""

    ledger: LockLedger
    budgets: AzureBudgets
    groups: GroupLocks
    mails: LockMails
    rules: LockRules
    dead_letters: DeadLetters
    retry: Retry
    clock: Clock


def assemble_locker(parts: LockParts) -> Locker:
    """The handler of `project-lock` messages."""
    claims = Claims(parts.ledger)
    records = Records(parts.ledger, parts.mails, parts.rules.mode, parts.groups.level)
    return Locker(
        locking=_locking(parts, claims, records),
        unlocking=Unlocking(parts.groups, parts.mails, records, parts.rules.mode),
        ledger=parts.ledger,
        claims=claims,
        records=records,
        dead_letters=parts.dead_letters,
        retry=parts.retry,
        clock=parts.clock,
    )


def _locking(parts: LockParts, claims: Claims, records: Records) -> Locking:
    groups, mails, rules = parts.groups, parts.mails, parts.rules
    refusals = Refusals(records, mails, rules.mode)
    machines = MachineStops(groups, records, claims, parts.retry) if rules.stop_compute else None
    return Locking(
        budgets=parts.budgets,
        rules=rules,
        retry=parts.retry,
        refusals=refusals,
        dry_run=DryRun(groups, mails, records, refusals, rules.stop_compute),
        enforcement=Enforcement(parts.ledger, claims, groups, machines, mails, records, refusals),
    )
