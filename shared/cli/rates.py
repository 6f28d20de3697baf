"""`rates`: what currencies are worth, by day, and as the organization has fixed it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, command_group, given_reason, open_app, refuse_empty, user_name
from shared.cli.files import content_of, path_in
from shared.cli.output import Cell, Column
from shared.domain.money import plain

if TYPE_CHECKING:
    from shared.domain.currencies import FixedRate
    from shared.ports.rates import FixedRecord
    from shared.services.rates import Checks, RateList

commands = command_group("What currencies are worth, by day, and as it was fixed.")


@commands.command()
def update(
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            parser=path_in,
            help="The ECB's file, as CSV or ZIP, or -; by default it is asked.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Keep a file's rates though one is a third off, or of a weekend.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Bring exchange rates up to date, as each night does where CURRENCY_CONVERSION is ecb."""
    content = None if file is None else content_of(file)
    found = open_app().rate_service.update(content, agreed=yes)
    if json:
        output.write_json(output.chosen(found, "changed", "newest") | _checked(found.checks))
    else:
        output.say(f"{output.count(found.changed, 'rate')} new or changed. The newest are of {found.newest}.")
    output.say_checked(found.checks.checked, found.checks.unasked, is_for_programs=json)


@commands.command("list")
def list_rates(json: AsJson = False) -> None:
    """List what is known: the newest day, the currencies, and fixed rates."""
    found = open_app().rate_service.listed()
    if json:
        output.write_json(_as_json(found))
        return
    output.write_facts(_facts(found))
    if found.fixed:
        output.say()
        output.write_records(FIXED, found.fixed)


@commands.command("set")
def set_rate(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The currency of the charges, such as USD.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="The budgets' currency, such as CAD.")],
    rate: Annotated[str, typer.Argument(metavar="RATE", help="How much of TO one BASE is worth, such as 1.3750.")],
    first: Annotated[str, typer.Option("--from", help="The first day of the charges.", metavar="DATE")],
    last: Annotated[str, typer.Option("--to", help="The last day of the charges.", metavar="DATE")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the rate.")],
    json: AsJson = False,
) -> None:
    """Fix a rate for charges of some days, such as a fiscal year's. It counts before the ECB's.

    Of two for the same day, the one that was set last counts. It is of one direction: BASE to TO.
    """
    refuse_empty(**{"--from": first, "--to": last})
    why = given_reason(reason)
    fixed, checks = open_app().rate_service.fix(base, to, rate, (first, last), why, user_name())
    if json:
        output.write_json(_fixed(fixed) | _checked(checks))
    else:
        output.say(f"{_worth(fixed)} for charges of {fixed.days.start} to {fixed.days.last_day}.")
    output.say_checked(checks.checked, checks.unasked, is_for_programs=json)


# --- for people ----------------------------------------------------------------------------------------------


def _worth(fixed: FixedRate) -> str:
    return f"1 {fixed.base} is {plain(fixed.rate)} {fixed.to}"


def _facts(found: RateList) -> list[tuple[str, Cell | str]]:
    facts: list[tuple[str, Cell | str]] = [("conversion", found.converting), ("newest", _newest(found))]
    if found.current:
        facts.append(("currencies", f"{len(found.current) + 1}: {', '.join(sorted([*found.current, 'EUR']))}"))
    if found.ended:
        facts.append(("no longer set", ", ".join(f"{each} ({day})" for each, day in found.ended.items())))
    return facts


def _newest(found: RateList) -> Cell:
    if found.newest is None:
        return Cell("none: `python -m shared.cli rates update`", "yellow")
    return Cell(f"{found.newest} (old)", "yellow") if found.is_old else Cell(str(found.newest))


FIXED: output.Table[FixedRecord] = {
    Column("fixed rate"): lambda record: _worth(record.fixed),
    Column("from"): lambda record: str(record.fixed.days.start),
    Column("to"): lambda record: str(record.fixed.days.last_day),
    Column("set, UTC", spare=1): lambda record: output.minute(record.made_at),
    Column("by", words=True, spare=2): lambda record: record.made_by,
    Column("reason", words=True): lambda record: record.reason,
}


# --- for programs --------------------------------------------------------------------------------------------


def _fixed(fixed: FixedRate) -> dict[str, Any]:
    days = {"first_day": fixed.days.start, "last_day": fixed.days.last_day}
    return {"base": fixed.base, "to": fixed.to, "rate": fixed.rate, **days}


def _checked(checks: Checks) -> dict[str, Any]:
    return {"checked": sorted(checks.checked), "unasked": checks.unasked}


def _as_json(found: RateList) -> dict[str, Any]:
    return {
        "conversion": found.converting,
        "newest": found.newest,
        "old": found.is_old,
        "currencies": [{"currency": each, "last_day": day} for each, day in sorted(found.last_days.items())],
        "fixed": [_fixed(each.fixed) | output.chosen(each, "made_at", "made_by", "reason") for each in found.fixed],
    }
