"""`budget`: what a project may spend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli import output
from shared.cli.app import open_app, project_id, user_name
from shared.cli.failures import WrongUsageError

if TYPE_CHECKING:
    from decimal import Decimal

    from shared.composition import Composition
    from shared.domain.budgets import BudgetTerms

commands = typer.Typer(help="What a project may spend.", no_args_is_help=True)


@commands.callback()
def group() -> None:
    """What a project may spend."""


# Unknown options are left to the argument, so that -5 is told to be no amount rather than no option.
@commands.command("set", context_settings={"ignore_unknown_options": True})
def set_budget(
    project: Annotated[str, typer.Argument(help="The project's acronym, in any case, or its id.")],
    amount: Annotated[str, typer.Argument(help="The new amount, such as 12500.00; 0 for no budget.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the revision.")],
    currency: Annotated[str, typer.Option(help="Another currency than now, such as CAD.")] = "",
) -> None:
    """Give a project another budget.

    It counts from now on; the period stays as it is, and the revision before is kept.
    """
    wanted = _amount(amount)
    if not reason.strip():
        raise WrongUsageError('say why: --reason "…"')
    app = open_app()
    found = project_id(app, project)
    present = app.projects.revisions(found)[-1].terms
    terms = replace(present, amount=wanted, currency=_currency(currency, present, wanted))
    if terms == present:
        output.say(f"The budget of {project} is {output.budget(terms)} already; nothing was changed.")
        return
    number = app.projects.revise_budget(found, terms, user_name(), reason.strip(), app.clock())
    now, before = output.budget(terms), output.budget(present)
    output.say(f"The budget of {project} is now {now} (it was {before}); this is revision {number}.")
    _ask_for_check(app, found)


def _amount(text: str) -> Decimal:
    from shared.domain.money import MoneyError, parse_amount

    try:
        return parse_amount(text)
    except MoneyError as error:
        raise WrongUsageError(str(error)) from None


def _currency(text: str, present: BudgetTerms, wanted: Decimal) -> str:
    from shared.domain.money import MoneyError, parse_currency

    if not text:
        if wanted and not present.currency:
            raise WrongUsageError("the project has no currency yet; add one, such as --currency CAD")
        return present.currency
    try:
        return parse_currency(text)
    except MoneyError as error:
        raise WrongUsageError(str(error)) from None


def _ask_for_check(app: Composition, project: int) -> None:
    """The budget is saved; where the queue is away, the check that is due now comes a little later by itself."""
    from shared.messages import NotificationMessage, Queue
    from shared.ports import LaterError, NeverError

    try:
        app.queues.send(Queue.NOTIFICATION, NotificationMessage((project,)))
    except (LaterError, NeverError) as error:
        output.warn(f"the budget is saved, but {error.reason}; it is compared with the usage in the next run")
