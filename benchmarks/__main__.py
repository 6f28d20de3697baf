"""Measures everything, or what `--only` names: `python -m benchmarks --help`.

The table goes to the terminal, all that was measured to .local/bench.json; `--markdown` prints the table for
docs/benchmarks.md in place of the terminal's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks import (
    asking_azure,
    cold_start,
    converting,
    exports,
    focus_out,
    forecast,
    growth,
    importing,
    listing,
    mailing,
    pages,
    two_clouds,
    updater,
    whole_night,
)
from benchmarks.figure import HEADINGS, Figure
from benchmarks.fleet import ROOT
from benchmarks.fresh import machine
from localdev.azurite import ensure_installed

BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "asking_azure": asking_azure.measure,
    "updater": updater.measure,
    "whole_night": whole_night.measure,
    "two_clouds": two_clouds.measure,
    "small_nights": whole_night.small_nights,
    "growth": growth.measure,
    "mailing": mailing.measure,
    "cold_start": cold_start.measure,
    "listing": listing.measure,
    "pages": pages.measure,
    "converting": converting.measure,
    "exports": exports.measure,
    "importing": importing.measure,
    "focus_out": focus_out.measure,
    "forecast": forecast.measure,
}
# Measured with another, unless they are asked for by name.
PARTS = {"small_nights"}
RESULTS = ROOT / ".local" / "bench.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and shows. Exit code 0 even where an aim is missed: the table says so."""
    wanted = _parser().parse_args(arguments)
    ensure_installed()
    found = machine()
    figures = list(_measured(wanted.only or [name for name in BENCHMARKS if name not in PARTS]))
    _write(found, figures)
    if wanted.markdown:
        print(_markdown(found, figures))
    else:
        _show(found, figures)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="may be given several times")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def _measured(names: list[str]) -> Iterator[Figure]:
    progress = Console(stderr=True, highlight=False)
    for name in names:
        begun = time.monotonic()
        progress.print(f"Measuring {name} …")
        for figure in BENCHMARKS[name]():
            # At once: what is measured is not lost with a later benchmark.
            progress.print(" | ".join(figure.cells()))
            yield figure
        progress.print(f"… {name} took {time.monotonic() - begun:.0f} s.")


def _write(found: dict[str, str], figures: list[Figure]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": found, "figures": [figure.as_json() for figure in figures]}
    RESULTS.write_text(json.dumps(content, indent=1), "utf-8")


def _show(found: dict[str, str], figures: list[Figure]) -> None:
    table = Table(title=_where(found), title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for figure in figures:
        table.add_row(*figure.cells())
    console = Console(highlight=False)
    console.print(table)
    for figure in figures:
        console.print(f"{figure.name}: {figure.note}.")
    console.print(f"Everything that was measured lies in {RESULTS.relative_to(ROOT)}.")


def _markdown(found: dict[str, str], figures: list[Figure]) -> str:
    headings = (*HEADINGS[:-1], "Met?")
    lines = [f"{_where(found)}.", "", _row(headings), _row(["---"] * len(headings))]
    lines += [_row(figure.cells()) for figure in figures]
    lines += ["", *(f"- {figure.name}: {figure.note}." for figure in figures if figure.note)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _where(found: dict[str, str]) -> str:
    return (
        f"Measured {found['date']} on {found['cores']} cores, {found['memory']}, "
        f"Python {found['python']}, {found['system']}"
    )


if __name__ == "__main__":
    sys.exit(main())
