"""Asking Azure: how many calls and query units a night of the whole fleet takes.

The real scheduler and updater run against the simulator, whose own statistics count what it was asked.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import fleet
from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process
from localdev.azure_sim import PUBLISHED_LIMITS, SimulatorControl
from shared.adapters.costs.azure import AzureCosts
from shared.domain import windows
from shared.messages import UpdateMessage

ROWS_PER_CALL = 5000
MONTHS = windows.due_windows({}, None, fleet.NIGHT.date(), fleet.DEFAULTS.lookback_days, AzureCosts.months_of_history)


def measure() -> Iterator[Figure]:
    """Query units and calls of one night."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as folder, fleet.simulator("--no-quota") as azure:
        database_url = f"sqlite:///{Path(folder) / 'warden.db'}"
        in_fresh_process(fleet.load_projects, database_url)
        in_fresh_process(one_night, database_url, fleet.url_of(azure))
        asked = SimulatorControl(fleet.url_of(azure)).stats()
    yield _units(asked)
    yield _calls(asked)


def one_night(database_url: str, azure_url: str) -> None:
    """All the night's updates, one after the other."""
    warden = fleet.app(database_url, azure_url)
    for number, wanted in enumerate(warden.scheduler.tonight()):
        if isinstance(wanted.message, UpdateMessage):
            warden.updater.update(wanted.message, f"benchmark-{number}")


def _units(asked: dict[str, Any]) -> Figure:
    least = len(fleet.SUBSCRIPTIONS) * len(MONTHS)
    note = f"for {asked['rows']:,} rows; {_one_query_a_project()}"
    return Figure(
        name="Asking Azure: query units a night",
        measured=asked["qpu"],
        unit="units",
        floor=least,
        floor_is="one per subscription and month",
        most=least,
        note=note,
        detail=asked,
    )


def least_calls() -> int:
    """How many full pages a subscription's rows take, each month's part rounded up."""
    a_day = fleet.GROUPS * fleet.SERVICES
    return sum(math.ceil(month.days * a_day / ROWS_PER_CALL) for month in MONTHS)


def _calls(asked: dict[str, Any]) -> Figure:
    least = least_calls() * len(fleet.SUBSCRIPTIONS)
    return Figure(
        name="Asking Azure: calls a night",
        measured=asked["calls"],
        unit="calls",
        floor=least,
        floor_is="one per 5,000 rows of a month",
        most=least,
        note=f"{asked['throttled']} refused",
    )


def _one_query_a_project() -> str:
    """The same night asked for project by project. Arithmetic: nobody waited for it."""
    units = len(fleet.SUBSCRIPTIONS) * fleet.GROUPS * len(MONTHS)
    return f"by arithmetic, one query a project would take {units:,} units: {_hours(units):.0f} hours of the quota"


def _hours(units: int) -> float:
    """How long the published quota takes to let so many units through: the slowest of its windows decides."""
    return max(units / limit.units * limit.seconds for limit in PUBLISHED_LIMITS if units > limit.units) / 3600
