"""A whole night of 10,000 projects, from the timer to the last mail in the outbox, and an unchanged one after it.

The simulator has the published quota; and, for a smaller night of its own, the guardrail on calls too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from benchmarks import fleet
from benchmarks.cost import month
from benchmarks.figure import Figure
from benchmarks.nights import MAILER, NOTIFIER, TIMER, UPDATER, Night, installation, night
from localdev.azure_sim.quota import PER_IDENTITY
from shared.composition import Composition
from shared.domain import quota, windows

MOST_SECONDS = 120
# Behind the guardrail: so many subscriptions, whose two months are two pages each, so that a minute's calls don't do.
GUARDED, GUARDED_GROUPS = 10, 50
MOST_GUARDED_SECONDS = 90
MOST_MESSAGES_PER_PROJECT = 0.1
# Subscriptions, and groups in each.
SMALL = ((1, 100), (2, 500))
MOST_DOLLARS = 1.0
SUBSCRIPTIONS = len(fleet.SUBSCRIPTIONS)
PROJECTS = SUBSCRIPTIONS * fleet.GROUPS


def measure() -> Iterator[Figure]:
    """The first night, and the next one, in which no charge has changed."""
    with installation(fleet.SUBSCRIPTIONS, fleet.GROUPS) as environment:
        first = night(environment, fleet.NIGHT, SUBSCRIPTIONS)
        yield from _figures("first night", fleet.NIGHT, first)
        yield _messages(first)
        yield from _paid(PROJECTS, first)
        second = night(environment, fleet.NEXT_NIGHT, SUBSCRIPTIONS)
        yield from _figures("unchanged night", fleet.NEXT_NIGHT, second)
    yield from small_nights()
    with installation(fleet.SUBSCRIPTIONS[:GUARDED], GUARDED_GROUPS, "--guardrail") as environment:
        yield _guarded(night(environment, fleet.NIGHT, GUARDED, GUARDED_GROUPS))


def small_nights() -> Iterator[Figure]:
    """What nights of 100 and of 1,000 projects are paid for: `python -m benchmarks --only small_nights`."""
    for subscriptions, groups in SMALL:
        with installation(fleet.SUBSCRIPTIONS[:subscriptions], groups) as environment:
            yield from _paid(subscriptions * groups, night(environment, fleet.NIGHT, subscriptions, groups))


def _paid(number: int, found: Night) -> Iterator[Figure]:
    counts = found.counts
    paid = month(counts)
    yield Figure(
        name=f"Cost: a month of {number:,} projects, Functions, Storage and logs",
        measured=paid.total,
        unit="US$",
        most=MOST_DOLLARS,
        note=f"a night: {counts.executions:,} executions, {counts.billed_seconds:.1f} s billed, "
        f"{counts.queue_messages:,} queue messages, {counts.log_bytes:,} bytes of log, "
        f"{found.written_bytes / 1e6:.1f} MB written, database {found.database_bytes / 1e6:.1f} MB, "
        f"in use for {found.seconds:.0f} s; functions without the free grant {paid.without_grant:.2f} US$",
        detail=asdict(counts) | asdict(paid),
    )


def _figures(name: str, clock: datetime, found: Night) -> Iterator[Figure]:
    if found.failed:
        raise RuntimeError("the night had failures:\n" + "\n".join(found.failed))
    yield Figure(
        name=f"Whole night: {name}, {PROJECTS:,} projects",
        measured=found.seconds,
        unit="s",
        floor=_last_may_begin(clock),
        floor_is="reckoned: when the quota lets the last query begin",
        most=MOST_SECONDS,
        note=f"{found.units} units, {found.refused} refused, {found.mails:,} mails; {breakdown(found)}",
        detail=asdict(found),
    )


def _guarded(found: Night) -> Figure:
    """A night on which calls are what is short, and not query units."""
    if found.failed:
        raise RuntimeError("the night had failures:\n" + "\n".join(found.failed))
    answered = found.calls - found.refused
    return Figure(
        name=f"Whole night behind the guardrail: first night, {GUARDED * GUARDED_GROUPS:,} projects",
        measured=found.seconds,
        unit="s",
        floor=(math.ceil(answered / PER_IDENTITY.units) - 1) * PER_IDENTITY.seconds,
        floor_is=f"reckoned: when {PER_IDENTITY.units} calls a minute let the last one begin",
        most=MOST_GUARDED_SECONDS,
        note=f"{answered} pages of {GUARDED} subscriptions, {found.refused} calls refused, {found.units} units; "
        f"{breakdown(found)}",
        detail=asdict(found),
    )


def _last_may_begin(clock: datetime) -> float:
    """The second at which the scheduler's pace lets the last subscription be read: nothing is faster than that."""
    costs = Composition(fleet.DEFAULTS).costs
    due = windows.due_windows({}, None, clock.date(), fleet.DEFAULTS.lookback_days, costs.months_of_history)
    units = [len(due)] * len(fleet.SUBSCRIPTIONS)
    return quota.delays(units, costs.quota)[-1]


def breakdown(found: Night) -> str:
    """When what was done, and how long the messages took."""
    words = {UPDATER: "reading and storing", NOTIFIER: "checking", MAILER: "mails"}
    return "; ".join(
        f"{words[name]} from {stage.begun:.1f} s to {stage.ended:.1f} s, {stage.messages:,} messages "
        f"of {stage.in_hand / stage.messages:.2f} s each, side by side"
        for name, stage in found.stages.items()
        if name in words
    )


def _messages(found: Night) -> Figure:
    taken: dict[str, Any] = {name: stage.messages for name, stage in found.stages.items() if name != TIMER}
    besides = sum(taken.values()) - taken[MAILER]
    return Figure(
        name="Whole night: queue messages a project, besides those about mails",
        measured=besides / PROJECTS,
        unit="messages",
        most=MOST_MESSAGES_PER_PROJECT,
        note=f"{sum(taken.values()):,} in all ({', '.join(f'{name} {number:,}' for name, number in taken.items())}) "
        f"for {PROJECTS:,} projects and {found.mails:,} mails",
        detail=taken,
    )
