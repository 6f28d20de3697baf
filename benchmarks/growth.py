"""Growth: nights of 1,000, 10,000 and 40,000 projects with the quota out of the way, and the nights after them.

What grows in proportion takes four times as long for four times the projects; memory does not grow at all. The emulator
looks through all of a queue for each message that is taken or deleted, which Azure's own queues don't: what that comes
to is measured apart, and is a part of the first night, in which mails wait.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from azure.storage.queue import QueueClient

from benchmarks import fleet
from benchmarks.figure import Figure
from benchmarks.nights import Night, installation, night
from localdev.azurite import Azurite

# Subscriptions of 500 projects.
FEW, MANY, MOST = 2, 20, 80
# As much as the settings take: the last of 40,000 projects may begin after 10 seconds.
UNPACED = {"COST_QPU_PER_MINUTE": "1000", "COST_QPU_PER_HOUR": "10000"}
IN_PROPORTION = MOST / MANY
MOST_TIME, MOST_MEMORY = 4.2, 1.5
# host.json's batchSize.
BATCH = 4


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
    many, most = found[MANY], found[MOST]
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
        detail={str(count): [*nights.first.failed, *nights.after.failed] for count, nights in found.items()},
    )
    yield _grown("Growth: the host's memory, 40,000 projects in that of 10,000", memory, MOST_MEMORY, "MB")
    yield _emulator(many, most, {str(count * fleet.GROUPS): asdict(nights) for count, nights in found.items()})


def _nights(count: int) -> Nights:
    subscriptions = fleet.MOST_SUBSCRIPTIONS[:count]
    with installation(subscriptions, "--no-quota", **UNPACED) as environment:
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


def _emulator(many: Nights, most: Nights, detail: dict[str, object]) -> Figure:
    """What the emulator alone takes for the first nights' mails, where all of them wait."""
    quick, slow = (_drained(nights.first.mails) for nights in (many, most))
    return Figure(
        name="Growth: Azurite alone with the first night's mails, 40,000 projects in those of 10,000",
        measured=slow / quick,
        unit="times",
        floor=IN_PROPORTION,
        floor_is="in proportion",
        note=f"{many.first.mails:,} messages taken and deleted in {quick:.1f} s, {most.first.mails:,} in {slow:.1f} s",
        detail=detail,
    )


def _drained(messages: int) -> float:
    """The seconds that a full queue takes to be emptied, a batch at a time as host.json has it."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as name, Azurite(Path(name), in_memory=True) as azurite:
        queue = QueueClient.from_connection_string(azurite.connection_string, "mails")
        queue.create_queue()
        for number in range(messages):
            queue.send_message(f'{{"EmailId": {number}}}')
        begun = time.perf_counter()
        while batch := list(next(queue.receive_messages(messages_per_page=BATCH, max_messages=BATCH).by_page(), [])):
            for message in batch:
                queue.delete_message(message)
        return time.perf_counter() - begun
