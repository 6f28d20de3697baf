"""What a month costs, from what a night was counted to take: the figures of docs/cost.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

# List prices, US$, East US, pay as you go. docs/cost.md says where each is from, and of when: they are inputs.
A_GB_SECOND = 0.000026
A_MILLION_EXECUTIONS = 0.40
FREE_GB_SECONDS, FREE_EXECUTIONS = 100_000, 250_000
TEN_THOUSAND_QUEUE_OPERATIONS = 0.0004
A_GB_OF_LOGS = 2.76

NIGHTS = 30
INSTANCE_GB = 2
LEAST_SECONDS, STEP_SECONDS = 1.0, 0.1
# A message is put, taken and deleted.
OPERATIONS_A_MESSAGE = 3
# Reckoned: the platform looks at each of the queues and their poison queues twice a minute, day and night.
QUEUES, LOOKS_A_DAY = 8, 2 * 60 * 24
# The watchdog each 15 minutes, a probe of /api/health each 5; each the least that is billed.
SHORT_EXECUTIONS_A_DAY = 96 + 288
# Reckoned: what Application Insights writes around a line, besides the line.
ENVELOPE = 3


@dataclass(frozen=True)
class Counts:
    """What a night takes. billed_seconds: of all executions, each as if it had an instance to itself."""

    executions: int
    billed_seconds: float
    queue_messages: int
    log_bytes: int


@dataclass(frozen=True)
class Month:
    """What a month costs in US$. without_grant: functions, were none of it free."""

    functions: float
    without_grant: float
    storage: float
    logs: float

    @property
    def total(self) -> float:
        """Of the three."""
        return self.functions + self.storage + self.logs


def billed(seconds: float) -> float:
    """What an execution of so many seconds is billed as: a second at least, then steps of a tenth."""
    return max(LEAST_SECONDS, math.ceil(round(seconds / STEP_SECONDS, 6)) * STEP_SECONDS)


def month(night: Counts) -> Month:
    """Every night as this one."""
    short = SHORT_EXECUTIONS_A_DAY * NIGHTS
    gb_seconds = (night.billed_seconds * NIGHTS + short * LEAST_SECONDS) * INSTANCE_GB
    executions = night.executions * NIGHTS + short
    operations = (night.queue_messages * OPERATIONS_A_MESSAGE + QUEUES * LOOKS_A_DAY) * NIGHTS
    return Month(
        functions=_functions(max(0.0, gb_seconds - FREE_GB_SECONDS), max(0, executions - FREE_EXECUTIONS)),
        without_grant=_functions(gb_seconds, executions),
        storage=operations / 10_000 * TEN_THOUSAND_QUEUE_OPERATIONS,
        logs=night.log_bytes * ENVELOPE * NIGHTS / 1e9 * A_GB_OF_LOGS,
    )


def _functions(gb_seconds: float, executions: int) -> float:
    return gb_seconds * A_GB_SECOND + executions / 1e6 * A_MILLION_EXECUTIONS
