"""`costs`: where the money went."""

from __future__ import annotations

import csv as csv_format
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app, refuse_empty
from shared.cli.failures import WrongUsageError
from shared.cli.output import Column
from shared.domain.coverage import DAY, day_in_words
from shared.domain.money import plain
from shared.domain.texts import named
from shared.ports.spending import KEYS, By
from shared.services.costs import CostsWish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date
    from decimal import Decimal

    from shared.domain.allocation import Given
    from shared.domain.coverage import Gap
    from shared.ports.spending import Estimated, Spent
    from shared.services.costs import Costs

ALLOCATED: output.Table[Given] = {
    Column("by rule", words=True): lambda given: given.rule,
    Column("amount", right=True): lambda given: output.money(given.amount, given.currency),
}
TITLES = {"sub_account_id": "sub-account", "resource_group": "resource group", "cost_centre": "cost centre"}
NOTHING = {"resource_group": "outside of any group", "project": "unallocated", "meter": "not told"}
NOTHING |= dict.fromkeys(("owner", "department", "cost_centre"), "none")
# Of all sub-accounts together, more gaps than this are counted.
MOST_GAPS = 10


def costs(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    project: Annotated[
        str | None, typer.Argument(help="Only this project's: its acronym, in any case, or its id.")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="The first day; by default that of the budget's period, or month."),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="The last day; by default, and at most, today.")
    ] = None,
    by: Annotated[By, typer.Option(case_sensitive=False, help="What to sum by.")] = By.SERVICE,
    subscription: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this subscription's, or other sub-account's.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Whose --subscription it is, where two have that id.")
    ] = None,
    unallocated: Annotated[bool, typer.Option("--unallocated", help="Only what belongs to no project.")] = False,
    owner: Annotated[str | None, typer.Option(help="Only of this owner's projects.", metavar="TEXT")] = None,
    department: Annotated[str | None, typer.Option(help="Only of this department's.", metavar="TEXT")] = None,
    cost_centre: Annotated[str | None, typer.Option(help="Only of this cost centre's.", metavar="TEXT")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV, and nothing else.")] = False,
    json: AsJson = False,
) -> None:
    """Show what was spent, and on what, in a project, in a subscription, or in all.

    Days are in UTC. Amounts are rounded to cents, but not with --csv and --json. Currencies are never added.
    """
    if csv and json:
        raise WrongUsageError("write --csv or --json, not both")
    answers = {"--owner": owner, "--department": department, "--cost-centre": cost_centre}
    refuse_empty(**{"PROJECT": project, "--from": first, "--to": last, "--subscription": subscription} | answers)
    refuse_empty(**{"--provider": provider})
    if provider is not None and subscription is None:
        raise WrongUsageError("--provider goes with --subscription")
    of_whom = (owner or "", department or "", cost_centre or "")
    found = open_app().cost_service.costs(
        CostsWish(
            project or "", subscription or "", unallocated, first or "", last or "", *of_whom, provider=provider or ""
        ),
        by,
    )
    if found.cut_from:
        output.warn(f"{found.cut_from} is in the future; these are the costs up to {found.days.last_day}, today in UTC")
    if json:
        output.write_json(_listed(found))
    elif csv:
        _write_csv(found)
    else:
        _write(found, " and ".join(filter(None, of_whom)))


# --- for people ----------------------------------------------------------------------------------------------


def _write(found: Costs, of_whom: str) -> None:
    output.say(f"{_whose(found, of_whom)}, {found.days.start} to {found.days.end - DAY}, by {found.by}:", "bold")
    output.say()
    if found.spent:
        output.write_records(_table(found), found.spent)
        output.say()
        output.say(f"In all {_totals(found)}.")
    else:
        output.say("No costs are stored.")
    if found.in_one is not None and found.converted.sources:
        total, which = output.money(found.in_one, found.currency), "budget's" if found.project else "reporting"
        output.say(f"In the {which} currency {total}, by {found.converted}.")
    if found.opening:
        balance = output.money(found.opening, found.opening_currency)
        output.say(f"Besides, the budget's opening balance: {balance}.")
    _write_allocated(found)
    for sentence in missing_in(found.gaps):
        output.say(f"Incomplete: {sentence}", "yellow")
    for since, ids in _by_day(found.estimated).items():
        output.say(f"Estimated: its provider may still change the costs of {named(ids)} since {day_in_words(since)}.")


def _write_allocated(found: Costs) -> None:
    """Apart from what was spent: what rules gave the projects, and what of unallocated costs is left."""
    given = [each for each in found.allocated if each.project_id is not None and each.amount]
    if not given:
        return
    output.say()
    output.say("Allocated besides:" if found.of_projects else "Allocated of what no project owns:", "bold")
    output.write_records({Column("project", words=True): partial(_getter, found=found), **ALLOCATED}, given)
    if found.unallocated:
        left = " and ".join(output.money(amount, currency) for currency, amount in found.left.items())
        output.say(f"Left unallocated: {left}.")


def _getter(given: Given, found: Costs) -> str:
    return found.acronyms.get(given.project_id or 0, "")


def _whose(found: Costs, of_whom: str) -> str:
    project = found.project.acronym if found.project else of_whom
    whose = f"Costs of {project}" if project else "All costs"
    if found.unallocated:
        whose = "Costs of no project"
    return f"{whose} in {found.sub_account_id}" if found.sub_account_id else whose


def _table(found: Costs) -> output.Table[Spent]:
    keys: dict[Column, Callable[[Spent], output.Cell | str]] = {
        Column(TITLES.get(name, name), words=True): partial(_part, name=name, place=place)
        for place, name in enumerate(KEYS[found.by])
        # Ids of sub-accounts and names of groups are long, and mostly of one provider.
        if name != "provider" or found.by is not By.RESOURCE_GROUP or len({each.key[place] for each in found.spent}) > 1
    }
    totals, names = found.totals, found.names
    if any(each.key in names for each in found.spent):
        keys[Column("name", words=True)] = lambda spent: names.get((spent.key[0], spent.key[1]), "")
    return {
        **keys,
        Column("cost", right=True): lambda spent: output.money(spent.cost, spent.currency),
        Column("share", right=True): lambda spent: _share(spent, totals),
    }


def _part(spent: Spent, name: str, place: int) -> str:
    return spent.key[place] or NOTHING.get(name, "")


def _share(spent: Spent, totals: Mapping[str, Decimal]) -> str:
    total = totals[spent.currency]
    return output.percent(spent.cost * 100 / total) if spent.cost >= 0 and total > 0 else ""


def _totals(found: Costs) -> str:
    together = " and ".join(output.money(total, currency) for currency, total in found.totals.items())
    return f"{together}; currencies are not added" if len(found.totals) > 1 else together


def missing_in(gaps: Sequence[Gap]) -> list[str]:
    """What figures lack, in so many sentences as a person reads."""
    missing = list(map(str, gaps[:MOST_GAPS]))
    rest = len(gaps) - len(missing)
    return [*missing, f"and {rest:,} more (`costs --json` names them)"] if rest else missing


def _by_day(estimated: Sequence[Estimated]) -> dict[date, list[str]]:
    days: dict[date, list[str]] = {}
    for each in sorted(estimated, key=lambda each: (each.since, each.sub_account_id)):
        days.setdefault(each.since, []).append(each.sub_account_id)
    return days


# --- for programs --------------------------------------------------------------------------------------------


def _write_csv(found: Costs) -> None:
    writer = csv_format.writer(output.in_utf8(), lineterminator="\n")
    writer.writerow((*KEYS[found.by], "cost", "currency"))
    writer.writerows((*each.key, plain(each.cost), each.currency) for each in found.spent)
    for sentence in missing_in(found.gaps):
        output.warn(f"incomplete: {sentence}")


def _listed(found: Costs) -> dict[str, Any]:
    names = KEYS[found.by]
    return {
        "project": found.project.acronym if found.project else None,
        "sub_account_id": found.sub_account_id,
        "unallocated": found.unallocated,
        "first_day": found.days.start,
        "last_day": found.days.end - DAY,
        "by": found.by,
        "costs": [
            dict(zip(names, each.key, strict=True)) | _called(each, found) | output.chosen(each, "cost", "currency")
            for each in found.spent
        ],
        "totals": dict(found.totals),
        **_in_one(found),
        "opening_balance": found.opening,
        "allocated": given_as_json(found.allocated, found.acronyms),
        "left": dict(found.left) if found.unallocated else None,
        "missing": list(map(str, found.gaps)),
        "estimated": [output.chosen(each, "sub_account_id", "since") for each in found.estimated],
    }


def _called(spent: Spent, found: Costs) -> dict[str, Any]:
    """What its provider calls a sub-account; null where nobody has said."""
    return {"name": found.names.get((spent.key[0], spent.key[1]))} if found.by is By.SUB_ACCOUNT else {}


def _in_one(found: Costs) -> dict[str, Any]:
    if found.in_one is None:
        return {}
    if found.project:
        return {"in_budget_currency": found.in_one, **output.converted(found.converted)}
    return output.in_reporting_currency(found.in_one, found.currency, found.converted)


def given_as_json(given: Sequence[Given], acronyms: Mapping[int, str]) -> list[dict[str, Any]]:
    """What rules gave: each with its rule, the project's acronym (null for the rest), amount and currency."""
    return [
        {"rule": each.rule, "project": None if each.project_id is None else acronyms.get(each.project_id)}
        | output.chosen(each, "amount", "currency")
        for each in given
    ]
