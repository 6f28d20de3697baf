"""When the messages that ask for costs may be taken, so that together they stay inside each source's quota."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain import quota
from shared.domain.windows import PARTS_AT_ONCE
from shared.messages import ScopeTarget
from shared.pipeline.asking import Asked, Asking
from shared.ports.runs import RunLedger, RunScope

# The longest stretch for which a share of the quota is counted.
HOUR = timedelta(hours=1)


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
        under_way = [scope for scope in self.runs.due_since(now - HOUR) if scope.id not in known]
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

    def _units(self, scope: RunScope, asked: Mapping[ScopeTarget, Asked], connection_type: str) -> int:
        """What the scope takes of a source. A single project's share is not known before: as that of two months."""
        first, source = next(iter(self.asking.sources.items()))
        each = asked.get(scope.target) or Asked(first, PARTS_AT_ONCE * source.quota.units_per_query)
        return each.units if each.connection_type == connection_type else 0
