"""Runs the simulator by itself: `python -m localdev.azure_sim --help`."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from localdev.azure_sim import demo_charges
from localdev.azure_sim.charges import ChargeBook
from localdev.azure_sim.made_up import made_up
from localdev.azure_sim.quota import Guardrail, Quota
from localdev.azure_sim.simulator import AzureSimulator
from localdev.simulator import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line with the URL when it listens, and answers until SIGTERM or Ctrl-C. Returns an exit code."""
    options = _parser().parse_args(arguments)
    return serve("Azure", lambda: _simulator(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localdev.azure_sim", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    parser.add_argument("--no-quota", action="store_true", help="count query units, but refuse nothing")
    parser.add_argument("--guardrail", action="store_true", help="refuse more than 4 calls a minute a scope, 20 in all")
    parser.add_argument("--plain", action="store_true", help="same names, order and spelling in every answer")
    charges = parser.add_mutually_exclusive_group()
    charges.add_argument("--seed", type=int, help="make charges up")
    charges.add_argument("--demo", action="store_true", help="the sample projects' spending, up to yesterday (UTC)")
    made = parser.add_argument_group("made-up charges")
    made.add_argument("--subscriptions", default="", help="ids, joined by commas")
    made.add_argument("--groups", type=int, default=10, help="per subscription")
    made.add_argument("--services", type=int, default=8)
    made.add_argument("--days", type=int, default=60)
    made.add_argument("--end-day", type=date.fromisoformat, help="default: yesterday (UTC)")
    made.add_argument("--currency", default="USD")
    return parser


def _simulator(options: argparse.Namespace) -> AzureSimulator:
    return AzureSimulator(
        _book(options),
        vary=not options.plain,
        quota=None if options.no_quota else Quota(),
        guardrail=Guardrail() if options.guardrail else None,
        port=options.port,
    )


def _book(options: argparse.Namespace) -> ChargeBook:
    if options.demo:
        return demo_charges.book(datetime.now(UTC).date())
    subscriptions = [name.strip() for name in options.subscriptions.split(",") if name.strip()]
    if options.seed is not None:
        return made_up(
            seed=options.seed,
            subscriptions=subscriptions,
            groups_per_subscription=options.groups,
            services=options.services,
            days=options.days,
            end_day=options.end_day or datetime.now(UTC).date() - timedelta(days=1),
            currency=options.currency,
        )
    return ChargeBook()


if __name__ == "__main__":
    sys.exit(main())
