"""Whether Azure has evaluated a budget since it counts what it counts. Compares only, and asks nobody.

Azure shows what was spent as of its last evaluation, about once a day, and says neither when that was nor of which
resource groups: after a change, the figure is that of what the budget counted before. So it is inferred, from time
alone: two days later Azure has evaluated. That it shows another amount before says nothing, since an evaluation that
had begun before the change may have ended after it; only a budget that is new has never counted anything else.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from shared.domain.charges import key_of_group
from shared.domain.texts import digest
from shared.ports.azure import AzureBudget
from shared.ports.azure_budgets import SeenBudget

# Evaluated about once a day, on costs that reach the budget a day late.
SURELY_EVALUATED_AFTER = timedelta(days=2)
# Of a budget that was changed before its first evaluation.
NOTHING_YET = Decimal(0)


def counts_of(budget: AzureBudget) -> str:
    """A digest of what it counts: the amount does not change what was spent."""
    groups = sorted({key_of_group(name) for name in budget.resource_groups or ()})
    filtered = "all" if budget.resource_groups is None else "some"
    return digest(filtered, *groups, budget.time_grain.lower(), str(budget.first_day), budget.category.lower())


def written(put: AzureBudget, found: AzureBudget | None, project_id: int | None, now: datetime) -> SeenBudget:
    """A budget that was just written. found: the one that it has changed."""
    spend = found.current_spend or NOTHING_YET if found else None
    currency = put.currency or (found.currency if found else None)
    return SeenBudget(put.name.lower(), project_id, counts_of(put), now, spend, currency=currency)


def looked_at(before: SeenBudget | None, found: AzureBudget, project_id: int | None, now: datetime) -> SeenBudget:
    """What is known of a budget now that it was looked at. One that was never seen has changed long ago."""
    counts, currency = counts_of(found), found.currency
    if before is None or not before.is_there:
        return SeenBudget(found.name.lower(), project_id, counts, now, found.current_spend, True, currency)
    seen = replace(before, project_id=project_id or before.project_id, currency=currency or before.currency)
    if counts != before.counts:
        return replace(seen, counts=counts, since=now, spend=found.current_spend or NOTHING_YET, is_evaluated=False)
    is_evaluated = before.is_evaluated or (before.spend is None and bool(found.current_spend))
    return replace(seen, is_evaluated=is_evaluated or now >= before.since + SURELY_EVALUATED_AFTER)


def doubtful_until(seen: SeenBudget) -> date | None:
    """The first day on which its figure counts; None where it does."""
    return None if seen.is_evaluated else (seen.since + SURELY_EVALUATED_AFTER).date() + timedelta(days=1)
