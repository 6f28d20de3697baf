"""`budgets set`: what a project may spend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, ProjectName, given_reason, open_app, user_name
from shared.cli.failures import WrongUsageError
from shared.cli.project_facts import carried_in, opening_in_words, rule_in_words, terms_for_programs
from shared.services.budgets import NoCurrencyError, Wish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.composition import Composition
    from shared.domain.budgets import BudgetTerms
    from shared.ports.projects import ProjectView
    from shared.services.budgets import Revised


def set_budget(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    project: ProjectName,
    reason: Annotated[str, typer.Option(help="Why; kept with the revision.")],
    amount: Annotated[
        str | None, typer.Argument(help="The new amount, such as 12500.00; 0 for no budget; left out: as it is.")
    ] = None,
    currency: Annotated[str, typer.Option(help="Another currency than now, such as CAD.")] = "",
    rollover: Annotated[
        str, typer.Option(help="What follows a period: reset, carry_over, draw_down or stop.", metavar="WORD")
    ] = "",
    period: Annotated[
        str, typer.Option(help="How often it begins anew: annual, quarterly, monthly or fixed.", metavar="WORD")
    ] = "",
    period_start: Annotated[str, typer.Option(help="The period's first day.", metavar="DAY")] = "",
    period_end: Annotated[str, typer.Option(help="A fixed period's last day.", metavar="DAY")] = "",
    opening_balance: Annotated[
        str, typer.Option(help="Spent in this period before the costs that can be read; 0 for none.", metavar="AMOUNT")
    ] = "",
    thresholds: Annotated[
        str,
        typer.Option(help="Percents of its own, such as 50,90,100; or default: those of the settings.", metavar="LIST"),
    ] = "",
    json: AsJson = False,
) -> None:
    """Give a project another budget: a new revision of it.

    It counts from now on; what the options don't name stays as it is, and the revision before is kept.
    """
    wish = _wish(
        Wish(amount or "", currency, rollover, period, period_start, period_end, thresholds, opening_balance),
        amount_is_empty=amount is not None and not amount.strip(),
    )
    why = given_reason(reason)
    revised = _revise(open_app(), project, wish, why)
    acronym = revised.project.project.acronym
    if json:
        output.write_json(_listed(revised))
    elif revised.number is None:
        now = output.budget(revised.before)
        output.say(f"The budget of {acronym} has all of that already ({now}); nothing was changed.")
    else:
        output.say("; ".join([*_said(revised), f"this is revision {revised.number}."]))
    if revised.unasked:
        output.warn(f"the budget is saved, but {revised.unasked}; it is compared with the usage in the next run")


def _listed(revised: Revised) -> dict[str, Any]:
    """number: of the new revision; None where nothing was to be changed."""
    project = output.chosen(revised.project.project, "id", "acronym")
    before, after = terms_for_programs(revised.before), terms_for_programs(revised.project.terms)
    return project | {"number": revised.number} | after | {"before": before}


def _wish(wish: Wish, amount_is_empty: bool) -> Wish:
    """The wish, if it is one. Raises WrongUsageError."""
    if amount_is_empty:
        raise WrongUsageError("the amount is empty; write digits, such as 12500.00, or leave it out")
    if wish.is_empty:
        raise WrongUsageError("say what is to change: an amount, or an option such as --rollover carry_over")
    if wish.amount.startswith("--"):
        option = wish.amount.partition("=")[0]
        raise WrongUsageError(f"there is no option {option}; `budgets set --help` names all of them")
    return wish


def _revise(app: Composition, project: str, wish: Wish, reason: str) -> Revised:
    try:
        return app.budget_service.revise(project, wish, reason, user_name())
    except NoCurrencyError as error:
        raise WrongUsageError(f"{error}, such as --currency CAD") from None


# --- what is said of it --------------------------------------------------------------------------------------


def _said(revised: Revised) -> Iterator[str]:
    """What is now, and what was before."""
    was, terms = revised.before, revised.project.terms
    now, before = output.budget(terms), output.budget(was)
    change = f"stays {now}" if now == before else f"is now {now} (it was {before})"
    yield f"The budget of {revised.project.project.acronym} {change}{_carried(revised.project)}"
    others = {
        "period is": (rule_in_words(was), rule_in_words(terms)),
        "rollover is": (was.rollover.value, terms.rollover.value),
        "thresholds are": (_in_words(was), _in_words(terms)),
        "opening balance is": (opening_in_words(was), opening_in_words(terms)),
    }
    for name, (earlier, to_be) in others.items():
        if earlier != to_be:
            yield f"its {name} now {to_be} (before: {earlier})"


def _in_words(terms: BudgetTerms) -> str:
    return output.thresholds(terms.thresholds or ()) or "those of the settings"


def _carried(project: ProjectView) -> str:
    """What is to be had in this period, where something came into it from the one before."""
    if project.budget is None or project.amount is None or not project.budget.carried:
        return ""
    carried, currency = project.budget.carried, project.currency
    joined = ", " if carried < 0 else ", and "
    return f"{joined}{carried_in(carried, currency)}: {output.money(project.amount, currency)} in this period"
