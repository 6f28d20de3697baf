"""`allocations`: rules that give projects shares of what no project owns."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, command_group, given_reason, open_app, refuse_empty, user_name
from shared.cli.costs import given_as_json, missing_in
from shared.cli.failures import WrongUsageError
from shared.cli.files import HERE, content_of, path_in
from shared.cli.output import Cell, Column
from shared.domain.allocation import Method
from shared.domain.money import plain
from shared.domain.texts import named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.allocation import Given, Rule
    from shared.ports.allocations import RuleChange, RuleVersion, RuleView
    from shared.services.allocations import EndedRule, LoadedRules, RuleDetails

commands = command_group("Rules that give projects shares of what no project owns.")
RuleName = Annotated[str, typer.Argument(metavar="NAME", help="The rule's name, in any case.")]
DAY = timedelta(days=1)
WORDS = {
    Method.FIXED: "fixed percents",
    Method.PROPORTIONAL: "by the projects' own costs in that sub-account",
    Method.EVERYWHERE: "by the projects' own costs, wherever they are",
}


@commands.command()
def load(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", parser=path_in, help="CSV, or - for the standard input; docs/allocation.md has its columns."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the rules.")] = "loaded",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change, rule by rule.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Load it though a rule goes on that was ended by hand.")] = False,
    json: AsJson = False,
) -> None:
    """Load rules from CSV, all or none. Rules that it does not name stay as they are.

    A changed rule counts from its first day on; the days before stay with what it said then.
    """
    content, name = content_of(file), "the standard input" if file == HERE else file.name
    why = given_reason(reason)
    loaded = open_app().allocation_service.load(content, user_name(), why, agreed=yes, dry_run=dry_run)
    if json:
        output.write_json(_loaded(loaded))
    else:
        _say_loaded(name, loaded, dry_run)
    _say_checked(loaded, json)
    if loaded.needs_consent and not yes:
        if not dry_run:
            raise WrongUsageError(
                "nothing was loaded: a rule would go on that was ended by hand; if it is to, add --yes"
            )
        output.warn("it would not be loaded without --yes: a rule would go on that was ended by hand")


@commands.command("list")
def list_rules(json: AsJson = False) -> None:
    """List rules: what each gives, by what, from when on."""
    service = open_app().allocation_service
    views, acronyms = service.listed(), service.acronyms()
    if json:
        output.write_json([_rule(view, acronyms) for view in views])
    elif not views:
        output.say("There is no rule: `python -m shared.cli allocations load FILE.csv`")
    else:
        output.write_records(RULES, views)


@commands.command()
def show(
    name: RuleName,
    month: Annotated[str, typer.Option(help="Of which month; by default the present one.", metavar="YYYY-MM")] = "",
    json: AsJson = False,
) -> None:
    """Show one: its versions, and what it gave to whom in a month, with the rest.

    Amounts are rounded to cents, but not with --json. Days are in UTC.
    """
    details = open_app().allocation_service.get(name, month)
    if json:
        output.write_json(_rule(details.view, details.acronyms) | _given(details))
    else:
        _write(details)


@commands.command()
def end(
    name: RuleName,
    last_day: Annotated[str, typer.Option("--last-day", help="The last day on which it counts.", metavar="DATE")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the rule.")],
    json: AsJson = False,
) -> None:
    """End a rule with a day. What it gave up to that day stays."""
    refuse_empty(**{"--last-day": last_day})
    why, service = given_reason(reason), open_app().allocation_service
    ended = service.end(name, last_day, why, user_name())
    if json:
        output.write_json(_rule(ended.view, ended.acronyms))
    else:
        output.say(f"{ended.view.latest.name} ends with {ended.view.latest.last_day}.")
    _say_checked(ended, json)


# --- for people ----------------------------------------------------------------------------------------------


def _say_loaded(file: str, loaded: LoadedRules, dry_run: bool) -> None:
    for change in loaded.changes:
        if dry_run or not loaded.loaded:
            output.say(_in_words(change, loaded.acronyms), "yellow" if change.ended else "")
    new = sum(change.before is None for change in loaded.changes)
    would, changed = ("would be ", "would change") if dry_run else ("", "changed")
    if loaded.loaded or dry_run:
        others = len(loaded.changes) - new
        output.say(f"{file}: {would}{new:,} added, {others:,} {changed}, {loaded.unchanged:,} unchanged.")
    for sentence in loaded.warnings:
        output.warn(sentence)


def _say_checked(done: LoadedRules | EndedRule, json: bool) -> None:
    acronyms = [done.acronyms.get(each, str(each)) for each in done.checked]
    output.say_checked(acronyms, done.unasked, is_for_programs=json)


def _in_words(change: RuleChange, acronyms: Mapping[int, str]) -> str:
    rule, before, ended = change.after, change.before, change.ended
    shares = ", ".join(_shares(rule, acronyms))
    what = f"{rule.name}: {rule.pool}, {_days(rule)}, {WORDS[rule.method]}: {shares}"
    if ended:
        return f"{what}; it was ended with {ended.rule.last_day} by {ended.made_by}, and goes on"
    if before is None:
        return f"new: {what}"
    was = ", ".join(_shares(before, acronyms))
    return what if was == shares else f"{what} (before: {was})"


def _days(rule: Rule) -> str:
    return f"from {rule.first_day} on" if rule.last_day is None else f"{rule.first_day} to {rule.last_day}"


def _first(view: RuleView) -> str:
    return str(view.in_force[0].first) if view.in_force else ""


def _last(view: RuleView) -> str:
    until = view.in_force[-1].until if view.in_force else None
    return str(until - DAY) if until else ""


def _counting(view: RuleView) -> str:
    if not view.in_force:
        return "none"
    last = _last(view)
    return f"{_first(view)} to {last}" if last else f"from {_first(view)} on"


def _note(view: RuleView) -> Cell:
    return Cell("" if view.in_force else "counts on no day", "yellow")


def _projects(rule: Rule) -> str:
    return f"{len(rule.shares):,}" if rule.shares else "all"


RULES: output.Table[RuleView] = {
    Column("rule", words=True): lambda view: view.latest.name,
    Column("sub-account", words=True): lambda view: view.latest.pool.sub_account_id,
    Column("group", words=True): lambda view: view.latest.pool.group or "",
    Column("shares", words=True): lambda view: view.latest.method.value,
    Column("projects", right=True): lambda view: _projects(view.latest),
    Column("from"): _first,
    Column("to"): _last,
    Column("note", words=True): _note,
}


def _versions(acronyms: Mapping[int, str]) -> output.Table[RuleVersion]:
    return {
        Column("version", right=True): lambda version: str(version.number),
        Column("from"): lambda version: "" if version.rule.is_end else str(version.rule.first_day),
        Column("to"): lambda version: str(version.rule.last_day or ""),
        Column("shares", words=True): lambda version: _says(version.rule, acronyms),
        Column("made, UTC"): lambda version: output.minute(version.made_at),
        Column("by", words=True): lambda version: version.made_by,
        Column("reason", words=True): lambda version: version.reason,
    }


def _says(rule: Rule, acronyms: Mapping[int, str]) -> str:
    shares = [share.removesuffix(" %") for share in _shares(rule, acronyms)]
    return "" if rule.is_end else f"{rule.method}: {named(shares)}"


def _write(details: RuleDetails) -> None:
    view, rule = details.view, details.view.latest
    facts = [
        ("rule", rule.name),
        ("allocates", str(rule.pool)),
        ("shares", WORDS[rule.method]),
        ("projects", "\n".join(_shares(rule, details.acronyms))),
        ("days", _counting(view)),
    ]
    output.write_facts(facts)
    output.say()
    output.write_records(_versions(details.acronyms), view.versions)
    output.say()
    output.say(f"What it gave, {details.days.start} to {details.days.last_day}:", "bold")
    if details.given:
        output.write_records(_table(details), details.given)
    elif details.counts:
        output.say("Nothing: no costs without a project are stored of these days on which it counts.")
    else:
        output.say("Nothing: it counts on none of these days.")
    for sentence in missing_in(details.gaps):
        output.say(f"Incomplete: {sentence}", "yellow")


def _shares(rule: Rule, acronyms: Mapping[int, str]) -> list[str]:
    if not rule.shares:
        return ["all projects"]
    return [
        acronyms.get(each.project_id, str(each.project_id)) + (f" {plain(each.percent)} %" if each.percent else "")
        for each in rule.shares
    ]


def _table(details: RuleDetails) -> output.Table[Given]:
    acronyms = details.acronyms
    return {
        Column("project", words=True): lambda given: _whose(given, acronyms),
        Column("allocated", right=True): lambda given: output.money(given.amount, given.currency),
        Column("note", words=True): lambda given: Cell(details.note(given), "yellow"),
    }


def _whose(given: Given, acronyms: Mapping[int, str]) -> str:
    return "rest, unallocated" if given.project_id is None else acronyms.get(given.project_id, str(given.project_id))


# --- for programs --------------------------------------------------------------------------------------------


def _loaded(loaded: LoadedRules) -> dict[str, Any]:
    return {
        "loaded": loaded.loaded,
        "added": sum(change.before is None for change in loaded.changes),
        "changed": sum(change.before is not None for change in loaded.changes),
        "unchanged": loaded.unchanged,
        "changes": [
            {"name": each.after.name, "new": each.before is None, "undoes_an_end": each.ended is not None}
            for each in loaded.changes
        ],
        "warnings": list(loaded.warnings),
    }


def _rule(view: RuleView, acronyms: Mapping[int, str]) -> dict[str, Any]:
    latest = view.latest
    return {
        "name": latest.name,
        **output.chosen(latest.pool, "provider", "sub_account_id"),
        "resource_group": latest.pool.group,
        "method": latest.method,
        "shares": _shares_as_json(latest, acronyms),
        "in_force": [
            {"first_day": each.first, "last_day": each.until and each.until - DAY, "version": _number(view, each.rule)}
            for each in view.in_force
        ],
        "versions": [
            output.chosen(version.rule, "first_day", "last_day", "method")
            | {"shares": _shares_as_json(version.rule, acronyms), "is_end": version.rule.is_end}
            | output.chosen(version, "number", "made_at", "made_by", "reason")
            for version in view.versions
        ],
    }


def _shares_as_json(rule: Rule, acronyms: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"project": acronyms.get(share.project_id), "percent": share.percent} for share in rule.shares]


def _number(view: RuleView, rule: Rule) -> int:
    return next(version.number for version in view.versions if version.rule is rule)


def _given(details: RuleDetails) -> dict[str, Any]:
    return {
        "first_day": details.days.start,
        "last_day": details.days.last_day,
        "given": given_as_json(details.given, details.acronyms),
        "missing": list(map(str, details.gaps)),
    }
