"""When the messages that ask for costs may be taken, so that together they stay inside each source's quota."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain import quota
from shared.domain.windows import PARTS_AT_ONCE, split
from shared.messages import Envelope, ScopeTarget
from shared.pipeline.asking import Asked, Asking
from shared.ports.runs import RunLedger, RunScope, ScopeState

# The longest stretch for which a share of the quota is counted.
HOUR = timedelta(hours=1)
# A message that is taken so long after its time, as after a standstill of the host, has missed its turn.
TURN = timedelta(minutes=5)
# The queues' clock and ours may differ by this.
A_MOMENT = timedelta(seconds=10)
# By then a copy that had its turn has mostly been worked on.
AFTER_A_COPY = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Pace:
    """Plans from what is already on its way, of whichever run, and from what was asked for in the last hour."""

    runs: RunLedger
    asking: Asking

    def due(
        self, scopes: Sequence[RunScope], now: datetime, asked: Mapping[ScopeTarget, Asked] | None = None
    ) -> list[tuple[RunScope, datetime]]:
        """When each scope's message may be taken; those of one source are in their order.

        asked: what the accounts take, where that is known already.
        """
        if not scopes:
            return []
        asked = self.asking.targets() if asked is None else asked
        known = {scope.id for scope in scopes}
        under_way = [
            scope for scope in self.runs.due_since(now - HOUR) if scope.id not in known and not _missed(scope, now)
        ]
        due = []
        for connection_type, source in self.asking.sources.items():
            theirs = [(scope, units) for scope in scopes if (units := self._units(scope, asked, connection_type))]
            taken = [
                ((scope.due_at - now).total_seconds(), units)
                for scope in under_way
                if scope.due_at and (units := self._units(scope, asked, connection_type))
            ]
            waits = quota.delays([units for _, units in theirs], source.quota, taken)
            due += [(scope, now + timedelta(seconds=wait)) for (scope, _), wait in zip(theirs, waits, strict=True)]
        return due

    def turn(self, scope: RunScope, envelope: Envelope, now: datetime) -> datetime:
        """When a scope's message may be taken: now, or later because it has missed its turn.

        After a copy of it that waits for a turn of its own. What was put back has waited for its answer already.
        """
        planned = envelope.first_queued_at
        if envelope.attempt or planned is None or scope.due_at is None or now - planned < TURN:
            return now
        if scope.due_at - now > A_MOMENT:
            return scope.due_at + AFTER_A_COPY
        if not _missed(scope, now):
            return now
        ((_, due_at),) = self.due([scope], now)
        self.runs.mark_queued(scope.id, due_at, now)
        return due_at

    def _units(self, scope: RunScope, asked: Mapping[ScopeTarget, Asked], connection_type: str) -> int:
        """What the scope takes of a source. A single project's share is not known before: as that of two months, or
        of the days that it names.
        """
        first, source = next(iter(self.asking.sources.items()))
        left = scope.target.left
        windows = len(split(left, source.longest_window)) if left else PARTS_AT_ONCE
        each = asked.get(scope.target) or Asked(first, windows * source.quota.units_per_query)
        return max(each.units, 1) if each.connection_type == connection_type else 0


def _missed(scope: RunScope, now: datetime) -> bool:
    """Whether the scope's message waits, and has not been taken when it was to be."""
    waits = scope.state in (ScopeState.QUEUED, ScopeState.DEFERRED)
    return waits and scope.due_at is not None and now - scope.due_at > TURN
