"""What projects have used together: by currency, and in that of REPORTING_CURRENCY where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from shared.domain.coverage import DAY, Gap, without_rate
from shared.domain.currencies import Conversion, convert
from shared.domain.money import add
from shared.domain.periods import Period
from shared.ports.projects import ProjectView
from shared.ports.rates import RateLedger
from shared.ports.spending import SpendingLedger

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Totals:
    """What some projects have used, what is allocated among it, each in its present period.

    by_currency: of their budgets; two are never added. in_one: what all they were charged, in whichever currency, comes
    to in `currency`; both None without a reporting currency.
    """

    by_currency: Mapping[str, Decimal] = field(default_factory=dict)
    currency: str | None = None
    in_one: Conversion | None = None

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Charges that are not in the sum, since nobody knows a rate for them."""
        return without_rate(self.in_one) if self.in_one else ()


@dataclass(frozen=True, slots=True)
class TotalService:
    """currency: the reporting currency, if there is one. Raises LaterError where the database is away."""

    spending: SpendingLedger
    rates: RateLedger
    currency: str | None

    def of(self, views: Sequence[ProjectView]) -> Totals:
        """The totals of these projects as they stand."""
        by_currency: dict[str, Decimal] = {}
        for view in views:
            if view.currency:
                by_currency[view.currency] = add(by_currency.get(view.currency, NOTHING), view.used)
        listed = {currency: total for currency, total in sorted(by_currency.items()) if total}
        return Totals(listed, self.currency, self._in_one(views, self.currency) if self.currency else None)

    def _in_one(self, views: Sequence[ProjectView], currency: str) -> Conversion:
        spans = [(view.project.id, view.period) for view in views if view.period]
        sums = {(day, of): cost for day, of, cost in self.spending.used_by_day(spans)}
        for view in views:
            # Nobody knows the days of what was spent before costs could be read.
            if view.opening and view.period and view.currency:
                first = (view.period.start, view.currency)
                sums[first] = add(sums.get(first, NOTHING), view.opening)
        if not sums:
            return Conversion()
        days = Period(min(day for day, _ in sums), max(day for day, _ in sums) + DAY)
        rates = self.rates.rates({currency, *(of for _, of in sums)}, days)
        return convert(((*key, cost) for key, cost in sorted(sums.items())), currency, rates)
