"""How fast a budget is used, and when it will be used up at that pace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import reduce

from shared.domain.money import EXACT, add
from shared.domain.periods import Period

PACE_DAYS = 28


def spent_between(daily: Mapping[date, Decimal], start: date, end: date) -> Decimal:
    """What was spent on the days start <= day < end."""
    return reduce(add, (cost for day, cost in daily.items() if start <= day < end), Decimal(0))


def used_up_on(daily: Mapping[date, Decimal], amount: Decimal, period: Period, today: date) -> date | None:
    """The day on which the budget is used up at the present pace; None if not within the period.

    daily: cost by day in the budget's currency. The pace is the mean of the last 28 whole days of the period
    (whole weeks, so that weekends weigh as they should), or of as many as there are. For a budget that is
    used up already it is the day on which that happened.
    """
    spent = spent_between(daily, period.start, period.end)
    if spent >= amount:
        return _day_reached(daily, amount, period)
    start = max(period.start, today - timedelta(days=PACE_DAYS))
    days = (today - start).days
    recent = spent_between(daily, start, today)
    if days <= 0 or recent <= 0:
        return None
    missing = EXACT.divide(EXACT.multiply(EXACT.subtract(amount, spent), Decimal(days)), recent)
    # What is missing by whole days' spending is reached at the end of the last of them, which begins at today's start.
    days_left = missing.to_integral_value(ROUND_CEILING)
    if days_left > (period.end - today).days:
        return None
    return today + timedelta(days=int(days_left) - 1)


def _day_reached(daily: Mapping[date, Decimal], amount: Decimal, period: Period) -> date | None:
    total = Decimal(0)
    for day in sorted(day for day in daily if day in period):
        total = add(total, daily[day])
        if total >= amount:
            return day
    return None
