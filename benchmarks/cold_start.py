"""Cold start: what importing the app takes, against the library that every Python function has to import."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import fleet
from benchmarks.figure import Figure

PROCESSES = 9
AIM = 5.0
# Each is needed by some functions only, so that none may be loaded with the app.
SDKS = (
    "azure.core",
    "azure.identity",
    "azure.mgmt.costmanagement",
    "azure.mgmt.consumption",
    "azure.storage.queue",
    "jwt",
    "cryptography",
    "sendgrid",
    "smtplib",
    "jinja2",
    "alembic",
    "pyodbc",
    "polars",
    "psycopg",
    "typer",
    "rich",
)
PROGRAM = """
import json, sys, time
begun = time.perf_counter()
import {module}
seconds = time.perf_counter() - begun
print(json.dumps({{"seconds": seconds, "modules": sorted(sys.modules)}}))
"""


def measure() -> Iterator[Figure]:
    """Both imports in fresh processes, one after the other; the interpreter's own start is not counted."""
    floors, imports = [], []
    _imported("function_app")  # writes the byte code, as the deployment does
    for _ in range(PROCESSES):
        floors.append(_imported("azure.functions"))
        imports.append(_imported("function_app"))
    yield _time(floors, imports)
    yield _sdks(imports[-1]["modules"])


def _imported(module: str) -> dict[str, Any]:
    """How long a new Python takes to import the module, and which modules it has then."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)],
        cwd=fleet.ROOT,
        env=os.environ | fleet.LEAST_SETTINGS,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def _time(floors: list[dict[str, Any]], imports: list[dict[str, Any]]) -> Figure:
    bare, app = ([run["seconds"] * 1000 for run in runs] for runs in (floors, imports))
    floor = statistics.median(bare)
    return Figure(
        name="Cold start: import function_app",
        measured=statistics.median(app),
        unit="ms",
        floor=floor,
        floor_is="import azure.functions",
        most=AIM * floor,
        note=f"median of {PROCESSES} fresh processes, without the interpreter's own start",
        detail={"function_app": app, "azure.functions": bare},
    )


def _sdks(modules: list[str]) -> Figure:
    loaded = [name for name in SDKS if name in modules]
    return Figure(
        name="Cold start: SDKs loaded that only some functions need",
        measured=len(loaded),
        unit="SDKs",
        most=0,
        note=f"of {len(SDKS)} looked for; loaded: {', '.join(loaded) or 'none'}",
    )
