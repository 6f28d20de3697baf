"""What a period will have cost at its end, between which bounds, and when its budget is used up.

The method is the *mean of the whole weeks since the last change of level*; docs/forecast.md says it in words and
how it was chosen, and `make bench` measures it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext
from itertools import accumulate, groupby

from shared.domain.money import EXACT, add, stored
from shared.domain.periods import Period

DAY = timedelta(days=1)
# With one or two days, a weekend or a single purchase would be taken for the pace.
MIN_DAYS = 3
MIN_WARNING_DAYS = 14
WEEK = 7
# So many of the latest weeks have to differ from so many before them, or more, to be a new level: in this share of
# all pairs of a latest and an earlier week, the latest has to be the dearer one (or the cheaper).
LATEST_WEEKS, EARLIER_WEEKS = 2, 4
CLEARLY = Decimal("0.9")
LONGEST_BURST = 10
# A normal distribution has 80 % of its mass within so many standard deviations of its mean.
DEVIATIONS_FOR_80_PERCENT = Decimal("1.28")
# The pace itself can change: work stops, grows, or has a burst, and nothing in the days before shows it. Set so that
# the bounds hold in 80 % of the back-test's cases: days that were quiet so far would promise far too much.
CHANGE_OF_PACE = Decimal("0.75")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a period will have cost at its end, in the budget's currency, to the 10 places that are stored.

    low, high: the bounds that hold in 80 % of cases. data_days: the whole days that it rests on, from the first
    with a charge.
    """

    total: Decimal
    low: Decimal
    high: Decimal
    data_days: int


@dataclass(frozen=True, slots=True)
class _Projection:
    """The whole days' cost, and what is known and expected of the days from `start` (`days` of them) to the end.

    known: costs from `start` on so far. spread: one standard deviation of what a day costs in the mean of them all.
    """

    whole_cost: Decimal
    start: date
    days: int
    known: Mapping[date, Decimal]
    pace: Decimal
    spread: Decimal
    data_days: int

    def cost_after(self, days: int) -> Decimal:
        """The period's cost when so many of the days to come are over; it never falls as they grow.

        A day that is not whole costs the pace, or what is known of it where that is more.
        """
        until = self.start + days * DAY
        over = sum((max(cost - self.pace, Decimal(0)) for day, cost in self.known.items() if day < until), Decimal(0))
        return stored(self.whole_cost + self.pace * days + over)


def forecast(daily: Mapping[date, Decimal], period: Period, today: date) -> Forecast | None:
    """The period's total at its end; None with fewer than MIN_DAYS whole days of data.

    daily: cost by UTC day in the budget's currency; a day without a row cost nothing, and days outside of the
    period don't count.
    """
    return expected(daily, None, period, today)[0]


def used_up_on(daily: Mapping[date, Decimal], amount: Decimal, period: Period, today: date) -> date | None:
    """The day on which the budget is used up, by what was spent or by the forecast; None if not within the period.

    For a budget that is used up already it is the day on which that happened; otherwise it is today or later (or
    the period's last day, where today is past it).
    """
    return expected(daily, amount, period, today)[1]


def expected(
    daily: Mapping[date, Decimal],
    amount: Decimal | None,
    period: Period,
    today: date,
    opening: Decimal = Decimal(0),
) -> tuple[Forecast | None, date | None]:
    """`forecast` and `used_up_on`, at the cost of one; without an amount nothing is used up.

    opening: what was spent in the period besides, on days that nobody knows: before all the others.
    """
    if opening:
        found, used_up = expected(daily, None if amount is None else EXACT.subtract(amount, opening), period, today)
        if found:
            found = Forecast(
                add(found.total, opening), add(found.low, opening), add(found.high, opening), found.data_days
            )
        return found, period.start if amount is not None and opening >= amount else used_up
    spent = spent_between(daily, period.start, period.end)
    with localcontext(EXACT):
        ahead = _projection(daily, period, today)
        found = _forecast(ahead, spent) if ahead else None
        if amount is None:
            return found, None
        if spent >= amount:
            return found, _day_reached(daily, amount, period)
        return found, _used_up_on(ahead, amount, period, today) if ahead else None


def warns(forecast: Forecast | None, spent: Decimal, amount: Decimal, period: Period, today: date) -> bool:
    """Whether people should hear now that the budget (not used up yet) will be so before its period ends.

    False with fewer than MIN_WARNING_DAYS whole days of data, and for an amount of 0 or less, whatever credits there
    are: that is used up. To tell it once, although the forecast may fall below the amount and come back, is the
    caller's.
    """
    if amount <= 0 or forecast is None or forecast.data_days < MIN_WARNING_DAYS or today not in period:
        return False
    return spent < amount <= forecast.total


def as_told(forecast: Forecast, spent: Decimal) -> Forecast:
    """The forecast rounded to what it is worth, for people: to the second digit of half the width of its bounds.

    What is spent stays spent: the lower bound is not below it.
    """
    half = (forecast.high - forecast.low) / 2
    if half < 1:
        return forecast
    unit = Decimal(1).scaleb(max(half.adjusted() - 1, 0))
    total, low, high = (
        (amount / unit).to_integral_value() * unit for amount in (forecast.total, forecast.low, forecast.high)
    )
    return Forecast(total, max(low, spent), max(high, total), forecast.data_days)


def spent_between(daily: Mapping[date, Decimal], start: date, end: date) -> Decimal:
    """What was spent on the days start <= day < end."""
    with localcontext(EXACT):
        return sum((cost for day, cost in daily.items() if start <= day < end), Decimal(0))


def _forecast(ahead: _Projection, spent: Decimal) -> Forecast:
    total = ahead.cost_after(ahead.days)
    margin = DEVIATIONS_FOR_80_PERCENT * ahead.spread * ahead.days
    # What is spent stays spent.
    return Forecast(total, stored(max(total - margin, spent)), stored(total + margin), ahead.data_days)


def _used_up_on(ahead: _Projection, amount: Decimal, period: Period, today: date) -> date | None:
    if ahead.cost_after(ahead.days) < amount:
        return None
    days = bisect_left(range(ahead.days), amount, key=ahead.cost_after)
    return min(max(ahead.start + (days - 1) * DAY, today), period.end - DAY)


def _day_reached(daily: Mapping[date, Decimal], amount: Decimal, period: Period) -> date | None:
    total = Decimal(0)
    for day in sorted(day for day in daily if day in period):
        total = add(total, daily[day])
        if total >= amount:
            return day
    return None


def _projection(daily: Mapping[date, Decimal], period: Period, today: date) -> _Projection | None:
    # Costs arrive 8 to 24 hours late (Microsoft's documentation), so at night a good part of yesterday's are still
    # missing. How much can't be seen from the figure: yesterday is never a whole day, rather than a low one.
    start = min(max(today - DAY, period.start), period.end)
    whole = _whole_days(daily, Period(period.start, start)) if start > period.start else []
    if len(whole) < MIN_DAYS:
        return None
    days = (period.end - start).days
    pace, spread = _pace(whole, days)
    known = {day: cost for day, cost in daily.items() if day >= start}
    return _Projection(sum(whole, Decimal(0)), start, days, known, pace, spread, len(whole))


def _whole_days(daily: Mapping[date, Decimal], span: Period) -> list[Decimal]:
    """The costs day by day, from the first charge on: before it, the project had not begun to cost anything."""
    first = min((day for day, cost in daily.items() if cost and span.start <= day < span.end), default=span.start)
    days = map(date.fromordinal, range(first.toordinal(), span.end.toordinal()))
    return [daily.get(day, Decimal(0)) for day in days]


def _pace(whole: Sequence[Decimal], days_to_come: int) -> tuple[Decimal, Decimal]:
    """What a day to come is expected to cost, and the standard deviation of that for the mean of all of them."""
    # Whole weeks, so that weekends weigh as they should; single days where there are too few to tell weeks apart.
    size = WEEK if len(whole) >= 2 * WEEK else 1
    # A credit lowers what is spent, and is not expected again: it must not silence a warning.
    charged = [max(cost, Decimal(0)) for cost in whole]
    means = _latest_means(_without_burst(charged), size)
    level = means[: _days_stopped(whole) // size] or (_present_level(means) if size == WEEK else means)
    pace = _mean(level)
    if not days_to_come:
        return pace, Decimal(0)
    variance = sum(((each - pace) ** 2 for each in means), Decimal(0)) / (len(means) - 1)
    # That of the mean which we know, and that of the mean which is to come.
    sampling = variance * (Decimal(1) / len(level) + Decimal(size) / days_to_come)
    # The longer it went on so far, the less likely is a change in the days that are left.
    change = (CHANGE_OF_PACE * pace) ** 2 * days_to_come / (days_to_come + len(whole))
    return pace, (sampling + change).sqrt()


def _without_burst(costs: Sequence[Decimal]) -> list[Decimal]:
    """The costs with the dearest ten days (at most a third of the days) capped at the dearest day outside them.

    What happened once is not expected to happen again. A bill that comes every month is: there is one outside too.
    """
    length = min(LONGEST_BURST, len(costs) // 3)
    sums = [Decimal(0), *accumulate(costs)]
    first = max(range(len(costs) - length + 1), key=lambda start: sums[start + length] - sums[start])
    before, burst, after = costs[:first], costs[first : first + length], costs[first + length :]
    cap = max([*before, *after])
    return [*before, *(min(cost, cap) for cost in burst), *after]


def _days_stopped(whole: Sequence[Decimal]) -> int:
    """For how many days there has been nothing, if that is a week or more and was never so long before; or 0."""
    runs = [len(list(days)) if nothing else 0 for nothing, days in groupby(whole, key=lambda cost: not cost)]
    return runs[-1] if runs[-1] >= WEEK and runs[-1] > max(runs[:-1], default=0) else 0


def _latest_means(costs: Sequence[Decimal], size: int) -> list[Decimal]:
    """The mean of each `size` days, latest first; the oldest days that don't fill one are left out."""
    ends = range(len(costs), size - 1, -size)
    return [_mean(costs[end - size : end]) for end in ends]


def _present_level(weeks: list[Decimal]) -> list[Decimal]:
    """The latest weeks where they clearly lie above or below those before them; otherwise all weeks."""
    latest, earlier = weeks[:LATEST_WEEKS], weeks[LATEST_WEEKS:]
    if len(earlier) < EARLIER_WEEKS:
        return weeks
    enough = CLEARLY * len(latest) * len(earlier)
    dearer = sum(new > old for new in latest for old in earlier)
    cheaper = sum(new < old for new in latest for old in earlier)
    return latest if max(dearer, cheaper) > enough else weeks


def _mean(costs: Sequence[Decimal]) -> Decimal:
    return sum(costs, Decimal(0)) / len(costs)
