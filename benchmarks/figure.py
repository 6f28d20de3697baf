"""What a benchmark gives: figures, each next to a floor measured in the same run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure, in `unit`.

    floor: what it is compared with, in the same unit; floor_is says what that is, and whether it was measured or
    reckoned. most: the largest value that is as it should be; None where there is no aim. detail: all that was
    measured for it.
    """

    name: str
    measured: float
    unit: str
    floor: float | None = None
    floor_is: str = ""
    most: float | None = None
    note: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The figure in floors; None without a floor."""
        return self.measured / self.floor if self.floor else None

    @property
    def ok(self) -> bool | None:
        """Whether the aim is met; None without an aim."""
        return None if self.most is None else self.measured <= self.most

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {**asdict(self), "ratio": self.ratio, "ok": self.ok}

    def cells(self) -> list[str]:
        """The figure as a row of a table, under HEADINGS."""
        floor = "–" if self.floor is None else f"{shown(self.floor)} {self.unit}"
        aim = "–" if self.most is None else f"≤ {shown(self.most)} {self.unit}"
        return [
            self.name,
            f"{shown(self.measured)} {self.unit}",
            f"{floor} ({self.floor_is})" if self.floor_is else floor,
            "–" if self.ratio is None else f"{self.ratio:.2f}",
            aim,
            {True: "ok", False: "missed", None: "–"}[self.ok],
        ]


HEADINGS = ("Figure", "Measured", "Floor", "Ratio", "Aim", "")


def shown(value: float) -> str:
    """A number with as many digits as say something: 1,234 · 12.3 · 0.123."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
