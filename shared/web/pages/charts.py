"""Charts: where their bars and lines lie, for a template to draw; each stands beside a table of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH, HEIGHT = 640, 180


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, in the chart's own units. label: what it says of itself."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """width, height: of the whole. line: points of a line, as SVG has them; level: where a straight line lies, if any;
    band: a polygon's points, if any. highest: what the upper edge stands for.
    """

    bars: Sequence[Bar]
    highest: Decimal
    line: str = ""
    level: float | None = None
    band: str = ""
    width: int = WIDTH
    height: int = HEIGHT


def bars(values: Sequence[tuple[str, Decimal]], level: Decimal | None = None) -> Chart:
    """A bar for each value, from 0; what is negative has none. level: a straight line across."""
    highest = max([value for _, value in values] + ([level] if level else []), default=Decimal(0)) or Decimal(1)
    step = WIDTH / max(len(values), 1)
    drawn = []
    for place, (label, value) in enumerate(values):
        height = max(0.0, float(value / highest)) * HEIGHT
        drawn.append(Bar(place * step, HEIGHT - height, max(step - 1, 0.5), height, label))
    return Chart(drawn, highest, level=_y(level, highest) if level else None)


def line(
    values: Sequence[Decimal], days: int, level: Decimal | None = None, band: tuple[Decimal, Decimal] | None = None
) -> Chart:
    """A line of values, one a day, of so many days; band: between which two values it is expected to end."""
    tops = [*values, *([level] if level else []), *(band or ())]
    highest = max(tops, default=Decimal(0)) or Decimal(1)
    step = WIDTH / max(days - 1, 1)
    points = [(place * step, _y(value, highest)) for place, value in enumerate(values)]
    end = [(WIDTH, _y(band[1], highest)), (WIDTH, _y(band[0], highest))] if band and points else []
    return Chart(
        (),
        highest,
        line=_points(points),
        level=_y(level, highest) if level else None,
        band=_points([points[-1], *end]) if end else "",
    )


def _y(value: Decimal, highest: Decimal) -> float:
    return HEIGHT - max(0.0, float(value / highest)) * HEIGHT


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
