"""Runs the simulator by itself, with the demo's organization: `python -m localdev.aws_sim --help`."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime

from localdev.aws_sim import demo_organization
from localdev.simulator import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line with the URL when it listens, and answers until SIGTERM or Ctrl-C. Returns an exit code."""
    options = _parser().parse_args(arguments)
    return serve(
        "AWS",
        lambda: demo_organization.simulator(
            options.night or _today(),
            options.others,
            today=None if options.night else _today,
            rows_a_page=options.rows_a_page,
            port=options.port,
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localdev.aws_sim", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    parser.add_argument("--rows-a-page", type=int, default=5000, help="of Cost Explorer (default: as many as AWS)")
    parser.add_argument("--others", type=int, default=0, help="so many further accounts, made up")
    parser.add_argument(
        "--night", type=date.fromisoformat, help="charges are of the 60 days before it (default: before today, UTC)"
    )
    return parser


def _today() -> date:
    return datetime.now(UTC).date()


if __name__ == "__main__":
    sys.exit(main())
