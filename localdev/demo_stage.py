"""What the demo's parts share: the app's commands, run and shown, and waiting for what the app does."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 110
LOG = "host.log"
# What is waited for takes a second or two; this is for a machine that is very busy.
WAIT_SECONDS = 60
# Where the output goes into a file there is no terminal whose width would matter. Tables are written as for a terminal
# of that width then: the lines that the commands write for programs would be too long to be read.
AS_TERMINAL = {"TTY_COMPATIBLE": "1", "TERM": "dumb", "LINES": "100"}

console = Console() if sys.stdout.isatty() else Console(width=WIDTH)


class DemoFailedError(Exception):
    """Something in the demo's story did not happen; the text says what."""


def say(text: str) -> None:
    """Prints a line for the reader, whole."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def shown(path: Path) -> str:
    """A path as one would type it in the project's folder."""
    return str(path.relative_to(ROOT))


def command(environment: Mapping[str, str], *arguments: str, given: str | None = None) -> str:
    """Runs one of the app's commands and returns what it wrote. Raises DemoFailedError. given: its standard input."""
    return _run(arguments, os.environ | environment, captured=True, given=given)


def show_command(environment: Mapping[str, str], *arguments: str, only: str = "", width: int = 0) -> None:
    """Prints a command as one would type it, and what it writes; `only`: just the lines with this text.

    width: what a table may take; 0 for all that there is.
    """
    say(f"\n$ python -m shared.cli {' '.join(map(_quoted, arguments))}")
    if only:
        lines = command(environment, *arguments).splitlines()
        say("\n".join(line for line in lines if only in line))
        return
    wide = os.environ | environment | ({"COLUMNS": str(width)} if width else {})
    if console.is_terminal:
        sys.stdout.flush()
        _run(arguments, wide, captured=False)
    else:
        lines = _run(arguments, {"COLUMNS": str(WIDTH)} | wide | AS_TERMINAL, captured=True).splitlines()
        say("\n".join(line.rstrip() for line in lines).rstrip())


def together(*work: Callable[[], object]) -> None:
    """Does all of this at once, and comes back when all of it is done. Raises what one of them raised."""
    with ThreadPoolExecutor(len(work)) as pool:
        for each in [pool.submit(one) for one in work]:
            each.result()


def say_folded(text: str) -> None:
    """Prints a longer text, indented, in lines that fit."""
    say(textwrap.fill(text, min(WIDTH, console.width), initial_indent="  ", subsequent_indent="  "))


def keep_log(folder: Path, wrote: str) -> None:
    """Adds what a host wrote to the demo's log."""
    with (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(wrote)


def wait_until(what: str, condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Comes back when the condition holds. Raises DemoFailedError, which says `what` did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoFailedError(f"within {seconds:g} seconds this did not happen: {what}")
        time.sleep(0.05)


def _run(arguments: Sequence[str], environment: Mapping[str, str], captured: bool, given: str | None = None) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "shared.cli", *arguments],
        cwd=ROOT,
        env=environment,
        input=given,
        capture_output=captured,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if run.returncode:
        wrote = f":\n{run.stdout}{run.stderr}" if captured else "; what it wrote is above."
        raise DemoFailedError(f"`python -m shared.cli {' '.join(arguments)}` failed{wrote}")
    return run.stdout or ""


def _quoted(argument: str) -> str:
    return f'"{argument}"' if " " in argument else argument
