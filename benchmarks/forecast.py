"""The forecast's back-test: made-up spending, and what would have been forecast on several days of its period.

The floor is the straight line from the period's start: spent so far / days so far x days of the period. On the day of
a forecast, today's costs and yesterday's are known in part only, as they are when costs arrive 8 to 24 hours late.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from benchmarks.figure import Figure
from shared.domain.forecast import forecast, spent_between
from shared.domain.money import stored
from shared.domain.periods import Period, PeriodKind, PeriodRule

SHAPES = ("steady", "weekday", "growing", "burst", "stopped")
KINDS = (PeriodKind.ANNUAL, PeriodKind.QUARTERLY, PeriodKind.MONTHLY)
# Begins in a leap year, and lets periods lie anywhere in four years.
FIRST_DAY, DAYS = date(2024, 1, 1), 4 * 365
PARTS_OF_THE_PERIOD = (0.2, 0.35, 0.5, 0.65, 0.8)
SERIES = 100
SEED = 20261120
# A shape that is this much worse than the straight line would be materially worse.
AIM, AIM_OF_A_SHAPE = 1.0, 1.1
MISSED_BY_80_PERCENT, MOST_MISSED = 20.0, 25.0


@dataclass(frozen=True)
class Outcome:
    """How far off both were, in percent of the period's real total, and whether that lay within the bounds."""

    shape: str
    kind: PeriodKind
    error: float
    line_error: float
    within: bool


def measure() -> Iterator[Figure]:
    """Errors by shape and overall, then how often the total lay outside the bounds."""
    outcomes = list(back_test(SEED, SERIES))
    yield _errors("overall", outcomes, AIM)
    for shape in SHAPES:
        yield _errors(shape, [outcome for outcome in outcomes if outcome.shape == shape], AIM_OF_A_SHAPE)
    yield _bounds(outcomes)


def back_test(seed: int, series: int) -> Iterator[Outcome]:
    """Forecasts for `series` made-up projects of every shape and kind of period, five in each one's period."""
    rng = random.Random(seed)
    for shape in SHAPES:
        for kind in KINDS:
            for _ in range(series):
                yield from _outcomes(rng, shape, kind)


def median_errors(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """The method's median absolute percentage error, and the straight line's."""
    return (
        statistics.median(outcome.error for outcome in outcomes),
        statistics.median(outcome.line_error for outcome in outcomes),
    )


def _outcomes(rng: random.Random, shape: str, kind: PeriodKind) -> Iterator[Outcome]:
    start = date(2000, rng.randrange(1, 13), 1)
    period = PeriodRule(kind, start).period_at(FIRST_DAY + timedelta(days=rng.randrange(DAYS)))
    assert period is not None
    daily = made_up(rng, shape, period)
    total = spent_between(daily, period.start, period.end)
    for part in PARTS_OF_THE_PERIOD:
        today = period.start + timedelta(days=int(part * period.days))
        known = as_known(rng, daily, today)
        found = forecast(known, period, today)
        assert found is not None
        yield Outcome(
            shape,
            kind,
            _percent_off(found.total, total),
            _percent_off(straight_line(known, period, today), total),
            found.low <= total <= found.high,
        )


def made_up(rng: random.Random, shape: str, period: Period) -> dict[date, Decimal]:
    """What each day of the period costs, in one of the shapes and with noise."""
    level = 10 ** rng.uniform(0.5, 3.5)
    days = [period.start + timedelta(days=offset) for offset in range(period.days)]
    pairs = zip(_shape(rng, shape, days), _noise(rng, period.days), strict=True)
    return {day: stored(Decimal(level * factor * noise)) for day, (factor, noise) in zip(days, pairs, strict=True)}


def _shape(rng: random.Random, shape: str, days: list[date]) -> list[float]:
    count = len(days)
    if shape == "weekday":
        weekend = rng.uniform(0.05, 0.5)
        return [weekend if day.weekday() >= 5 else 1 for day in days]
    if shape == "growing":
        growth, by_factor = rng.uniform(0.5, 4), rng.random() < 0.5
        parts = [offset / count for offset in range(count)]
        return [(1 + growth) ** part if by_factor else 1 + growth * part for part in parts]
    if shape == "burst":
        first, length, factor = rng.randrange(count), rng.randint(5, 9), rng.uniform(3, 20)
        return [factor if first <= offset < first + length else 1 for offset in range(count)]
    if shape == "stopped":
        stop = rng.uniform(0.1, 0.9) * count
        return [1 if offset < stop else 0 for offset in range(count)]
    return [1.0] * count


def _noise(rng: random.Random, days: int) -> list[float]:
    """Factors around 1; in some projects a dear day is followed by dear ones."""
    deviation, memory = rng.uniform(0.05, 0.4), rng.choice((0, 0, 0.5, 0.8))
    factors, state = [], rng.gauss(0, deviation)
    for _ in range(days):
        state = memory * state + math.sqrt(1 - memory**2) * rng.gauss(0, deviation)
        factors.append(math.exp(state - deviation**2 / 2))
    return factors


def as_known(rng: random.Random, daily: Mapping[date, Decimal], today: date) -> dict[date, Decimal]:
    """What is known of the costs early on `today`: of today nearly nothing, of yesterday a part."""
    yesterday = today - timedelta(days=1)
    known = {day: cost for day, cost in daily.items() if day < yesterday}
    known[yesterday] = stored(daily[yesterday] * Decimal(rng.uniform(0.2, 1)))
    known[today] = stored(daily[today] * Decimal(rng.uniform(0, 0.05)))
    return known


def straight_line(known: Mapping[date, Decimal], period: Period, today: date) -> Decimal:
    """What the period costs if all of it costs what it did so far."""
    return spent_between(known, period.start, period.end) / (today - period.start).days * period.days


def _percent_off(forecast_total: Decimal, total: Decimal) -> float:
    return float(abs(forecast_total - total) / total * 100)


def _errors(name: str, outcomes: list[Outcome], aim: float) -> Figure:
    error, line_error = median_errors(outcomes)
    return Figure(
        name=f"Forecast: median error, {name}",
        measured=error,
        unit="%",
        floor=line_error,
        floor_is="straight line from the period's start",
        most=aim * line_error,
        note=", ".join(_by_kind(outcomes)),
        detail={"outcomes": len(outcomes), "within the bounds": _percent_within(outcomes)},
    )


def _by_kind(outcomes: list[Outcome]) -> Iterator[str]:
    for kind in KINDS:
        error, line_error = median_errors([outcome for outcome in outcomes if outcome.kind is kind])
        yield f"{kind} {error:.1f} % (straight line {line_error:.1f} %)"


def _bounds(outcomes: list[Outcome]) -> Figure:
    inside = {shape: _percent_within([outcome for outcome in outcomes if outcome.shape == shape]) for shape in SHAPES}
    return Figure(
        name="Forecast: totals outside the bounds",
        measured=100 - _percent_within(outcomes),
        unit="%",
        floor=MISSED_BY_80_PERCENT,
        floor_is="by definition: bounds that hold in 80 %",
        most=MOST_MISSED,
        note="inside: " + ", ".join(f"{shape} {percent:.0f} %" for shape, percent in inside.items()),
        detail={"inside": inside},
    )


def _percent_within(outcomes: list[Outcome]) -> float:
    return 100 * statistics.fmean(outcome.within for outcome in outcomes)
