"""Growth: nights of 1,000, 10,000 and 40,000 projects with the quota out of the way, and the nights after them.

What grows in proportion takes four times as long for four times the projects; memory does not grow at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from benchmarks import fleet
from benchmarks.figure import Figure
from benchmarks.nights import Night, installation, night

# Subscriptions of 500 projects.
FEW, MANY, MOST = 2, 20, 80
# As much as the settings take: the last of 40,000 projects may begin after 10 seconds.
UNPACED = {"COST_QPU_PER_MINUTE": "1000", "COST_QPU_PER_HOUR": "10000"}
IN_PROPORTION = MOST / MANY
MOST_TIME, MOST_MEMORY = 4.2, 1.5


@dataclass(frozen=True)
class Nights:
    """The first night of so many projects, and the one after it, in which no charge has changed."""

    first: Night
    after: Night

    @property
    def memory(self) -> float:
        """The host's most, in MB."""
        return max(self.first.memory, self.after.memory)


def measure() -> Iterator[Figure]:
    """Time and memory at 40,000 projects in those at 10,000, after the seconds themselves."""
    found = {count: _nights(count) for count in (FEW, MANY, MOST)}
    seconds = {
        "first night": {count: nights.first.seconds for count, nights in found.items()},
        "night after": {count: nights.after.seconds for count, nights in found.items()},
    }
    for name, taken in seconds.items():
        yield _grown(f"Growth: {name}, 40,000 projects in those of 10,000", taken, MOST_TIME, "s")
    memory = {count: nights.memory for count, nights in found.items()}
    failed = {count: len(nights.first.failed) + len(nights.after.failed) for count, nights in found.items()}
    yield Figure(
        name="Growth: invocations that failed, whose messages came again",
        measured=sum(failed.values()),
        unit="invocations",
        note=", ".join(f"{count * fleet.GROUPS:,} projects {number}" for count, number in failed.items()),
        detail={str(count * fleet.GROUPS): asdict(nights) for count, nights in found.items()},
    )
    yield _grown("Growth: the host's memory, 40,000 projects in that of 10,000", memory, MOST_MEMORY, "MB")


def _nights(count: int) -> Nights:
    subscriptions = fleet.MOST_SUBSCRIPTIONS[:count]
    with installation(subscriptions, fleet.GROUPS, "--no-quota", **UNPACED) as environment:
        first = night(environment, fleet.NIGHT, count)
        return Nights(first, night(environment, fleet.NEXT_NIGHT, count))


def _grown(name: str, measured: dict[int, float], most: float, unit: str) -> Figure:
    return Figure(
        name=name,
        measured=measured[MOST] / measured[MANY],
        unit="times",
        floor=IN_PROPORTION if unit == "s" else 1.0,
        floor_is="in proportion" if unit == "s" else "as much",
        most=most,
        note=", ".join(f"{count * fleet.GROUPS:,} projects {value:,.1f} {unit}" for count, value in measured.items()),
        detail={str(count): value for count, value in measured.items()},
    )
