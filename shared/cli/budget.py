"""`budget`: what a project may spend."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli import output
from shared.cli.app import ProjectName, given_reason, open_app, project_id, user_name
from shared.cli.failures import WrongUsageError
from shared.cli.project_facts import carried_in, rule_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from shared.composition import Composition
    from shared.domain.budgets import Budget, BudgetTerms, Rollover
    from shared.domain.periods import PeriodRule

commands = typer.Typer(help="What a project may spend.", no_args_is_help=True)

OF_THE_SETTINGS = "default"


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a person wants to be different, as it was written; empty for what is to stay."""

    amount: str
    currency: str
    rollover: str
    period: str
    period_start: str
    period_end: str
    thresholds: str

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, name) for name in self.__slots__)


@commands.callback()
def group() -> None:
    """What a project may spend."""


# Unknown options are left to the argument, so that -5 is told to be no amount rather than no option.
@commands.command("set", context_settings={"ignore_unknown_options": True})
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
    period_end: Annotated[str, typer.Option(help="The day after a fixed period's last.", metavar="DAY")] = "",
    thresholds: Annotated[
        str, typer.Option(help="Percents of its own, such as 50,90,100; default for the settings'.", metavar="LIST")
    ] = "",
) -> None:
    """Give a project another budget: a new revision of it.

    It counts from now on; what the options don't name stays as it is, and the revision before is kept.
    """
    if amount is not None and not amount.strip():
        raise WrongUsageError("the amount is empty; write digits, such as 12500.00, or leave it out")
    wish = _Wish(amount or "", currency, rollover, period, period_start, period_end, thresholds)
    if wish.is_empty:
        raise WrongUsageError("say what is to change: an amount, or an option such as --rollover carry_over")
    why = given_reason(reason)
    app = open_app()
    found = project_id(app, project)
    present = app.projects.revisions(found)[-1].terms
    terms = _wished(present, wish)
    if terms == present and not _budget(app, found).stopped:
        output.say(f"The budget of {project} is so already ({output.budget(terms)}); nothing was changed.")
        return
    number = app.projects.revise_budget(found, terms, user_name(), why, app.clock())
    output.say("; ".join([*_said(project, present, terms, _budget(app, found)), f"this is revision {number}."]))
    _ask_for_check(app, found)


def _wished(present: BudgetTerms, wish: _Wish) -> BudgetTerms:
    """The new terms. Raises WrongUsageError."""
    from shared.pipeline.project_file import check_rollover, parse_rollover

    try:
        amount = _amount(wish.amount) if wish.amount else present.amount
        currency = _currency(wish.currency, present, amount)
        rule = _rule(wish, present.rule)
        rollover: Rollover = parse_rollover(wish.rollover) if wish.rollover else present.rollover
        if wish.rollover:
            check_rollover(rollover, rule)
        thresholds = _thresholds(wish.thresholds) if wish.thresholds else present.thresholds
    except ValueError as error:
        raise WrongUsageError(str(error)) from None
    return replace(present, amount=amount, currency=currency, rule=rule, rollover=rollover, thresholds=thresholds)


def _amount(text: str) -> Decimal:
    from shared.domain.money import parse_amount

    if text.startswith("--"):
        raise ValueError(f"there is no option {text.partition('=')[0]}; `budget set --help` names all of them")
    return parse_amount(text)


def _currency(text: str, present: BudgetTerms, amount: Decimal | None) -> str:
    from shared.domain.money import parse_currency

    if not text and amount and not present.currency:
        raise ValueError("the project has no currency yet; add one, such as --currency CAD")
    return parse_currency(text) if text else present.currency


def _rule(wish: _Wish, present: PeriodRule) -> PeriodRule:
    from shared.domain.periods import make_rule
    from shared.pipeline.project_file import parse_day, parse_kind

    if not (wish.period or wish.period_start or wish.period_end):
        return present
    kind = parse_kind(wish.period) if wish.period else present.kind
    same = kind is present.kind
    start = parse_day(wish.period_start) or (present.start if same else None)
    return make_rule(kind, start, parse_day(wish.period_end) or (present.end if same else None))


def _thresholds(text: str) -> tuple[int, ...] | None:
    if text.strip().lower() == OF_THE_SETTINGS:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,4}", part) and 0 < int(part) <= 1000 for part in parts):
        raise ValueError(
            f"'{text}' are no thresholds; write whole percents from 1 to 1000 such as 50,90,100, or {OF_THE_SETTINGS}"
        )
    return tuple(sorted({int(part) for part in parts}))


# --- what is said of it --------------------------------------------------------------------------------------


def _said(project: str, present: BudgetTerms, terms: BudgetTerms, budget: Budget) -> Iterator[str]:
    """What is now, and what was before. budget: in its present period."""
    now, before = output.budget(terms), output.budget(present)
    change = f"stays {now}" if now == before else f"is now {now} (it was {before})"
    yield f"The budget of {project} {change}{_carried(budget)}"
    others = {
        "period is": (rule_in_words(present), rule_in_words(terms)),
        "rollover is": (present.rollover.value, terms.rollover.value),
        "thresholds are": (_in_words(present), _in_words(terms)),
    }
    for name, (was, to_be) in others.items():
        if was != to_be:
            yield f"its {name} now {to_be} (before: {was})"


def _in_words(terms: BudgetTerms) -> str:
    return output.thresholds(terms.thresholds or ()) or "those of the settings"


def _carried(budget: Budget) -> str:
    """What is to be had in this period, where something came into it from the one before."""
    if budget.amount is None or not budget.carried:
        return ""
    currency = budget.terms.currency
    joined = ", " if budget.carried < 0 else ", and "
    return f"{joined}{carried_in(budget.carried, currency)}: {output.money(budget.amount, currency)} in this period"


def _budget(app: Composition, project: int) -> Budget:
    """A project's budget in its present period."""
    facts = app.lock_ledger.facts(project, app.clock())
    if facts is None:
        raise WrongUsageError(f"there is no project {project} any more")
    return facts.budget


def _ask_for_check(app: Composition, project: int) -> None:
    """The budget is saved; where the queue is away, the check that is due now comes a little later by itself."""
    from shared.messages import NotificationMessage, Queue
    from shared.ports.errors import LaterError, NeverError

    try:
        app.queues.send(Queue.NOTIFICATION, NotificationMessage((project,)))
    except (LaterError, NeverError) as error:
        output.warn(f"the budget is saved, but {error.reason}; it is compared with the usage in the next run")
