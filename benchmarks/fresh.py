"""Work in a process of its own: nothing that was loaded, cached or held before counts."""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_fresh_process(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` (a module's function) returns, run in a new Python."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()


def peak_memory_mb(process: int | None = None) -> float:
    """The most memory this process (another: on Linux only, else 0) has held so far, in MB (2^20 bytes)."""
    status = Path(f"/proc/{process or 'self'}/status")
    if status.exists():
        # Not getrusage, which on Linux counts what the parent held when it started us. A process that ends has no line.
        return int((re.findall(r"VmHWM:\s+(\d+) kB", status.read_text()) or ["0"])[0]) / 1024
    if process is not None:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def machine() -> dict[str, str]:
    """Where and when this is measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GB",
        "python": platform.python_version(),
        "system": platform.system(),
    }
