"""What a project may spend: a person's wish, turned into a new revision of its budget."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from shared.domain.budgets import BudgetTerms, OpeningBalance
from shared.domain.money import parse_amount, parse_currency, plain
from shared.domain.periods import PeriodRule, make_rule
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.projects import ProjectLedger, ProjectView
from shared.ports.queues import MessageSender
from shared.services.checking import ask_for_checks
from shared.services.errors import RequestError
from shared.services.projects import view_of
from shared.services.reasons import given_reason
from shared.services.terms import parse_day, parse_kind, parse_opening_balance, parse_rollover, parse_thresholds


class NoCurrencyError(RequestError):
    """An amount for a project that has no currency to have it in."""

    def __init__(self) -> None:
        super().__init__("the project has no currency yet; add one")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to be different, as they wrote it; empty for what is to stay."""

    amount: str = ""
    currency: str = ""
    rollover: str = ""
    period: str = ""
    period_start: str = ""
    period_end: str = ""
    thresholds: str = ""
    opening_balance: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether all is to stay."""
        return not any(astuple(self))


@dataclass(frozen=True, slots=True)
class Revised:
    """What became of a wish: the project after it, and the terms before. number: of the revision; None: it was so.

    unasked: why its check could not be asked for now; the budget is saved, and the next run compares it.
    """

    before: BudgetTerms
    project: ProjectView
    number: int | None = None
    unasked: str | None = None


@dataclass(frozen=True, slots=True)
class BudgetService:
    """Revises budgets."""

    projects: ProjectLedger
    queues: MessageSender
    clock: Clock

    def revise(self, project: str, wish: Wish, reason: str, made_by: str) -> Revised:
        """Gives the project of this acronym or id the budget that is wished for, and asks for its check.

        Raises RequestError; UnknownProjectError, NoCurrencyError among them.
        """
        why, now = given_reason(reason), self.clock()
        view = view_of(self.projects, project, now)
        terms = wished(view.terms, wish, now.date())
        stopped = view.budget is not None and view.budget.stopped
        if terms == view.terms and not stopped:
            return Revised(view.terms, view)
        said = {"before": _told(view.terms), "after": _told(terms)}
        with noted(Change(Action.BUDGET_REVISED, view.project.acronym, now, view.project.id, why, said, made_by)):
            number = self.projects.revise_budget(view.project.id, terms, made_by, why, now)
        after = self.projects.get(view.project.id, now.date()) or view
        return Revised(view.terms, after, number, ask_for_checks(self.queues, [view.project.id]))


def _told(terms: BudgetTerms) -> dict[str, Any]:
    """What the audit says of a budget."""
    amount = None if terms.amount is None else plain(terms.amount)
    days = {
        "period_start": terms.rule.start.isoformat(),
        "period_end": terms.rule.last_day and str(terms.rule.last_day),
    }
    said = {"amount": amount, "currency": terms.currency or None, "period": terms.rule.kind, **days}
    thresholds = None if terms.thresholds is None else list(terms.thresholds)
    return said | {"rollover": terms.rollover, "thresholds": thresholds}


def wished(present: BudgetTerms, wish: Wish, today: date) -> BudgetTerms:
    """The new terms. Raises RequestError."""
    try:
        amount = parse_amount(wish.amount) if wish.amount else present.amount
        balance = parse_opening_balance(wish.opening_balance) if wish.opening_balance else None
        currency = _currency(wish.currency, present, amount or balance)
        rule = _rule(wish, present.rule)
        opening = present.opening_for(currency) if balance is None else _opening(balance, rule, today)
        rollover = parse_rollover(wish.rollover, rule) if wish.rollover else present.rollover
        thresholds = parse_thresholds(wish.thresholds) if wish.thresholds else present.thresholds
    except ValueError as error:
        raise RequestError(str(error)) from None
    return BudgetTerms(amount, currency, rule, rollover, thresholds, opening)


def _opening(balance: Decimal, rule: PeriodRule, today: date) -> OpeningBalance | None:
    """It is of the period that holds today; of a fixed one, whenever that is."""
    period = rule.period_at(today)
    return OpeningBalance(balance, period.start if period else rule.start) if balance else None


def _currency(text: str, present: BudgetTerms, amount: Decimal | None) -> str:
    if not text and amount and not present.currency:
        raise NoCurrencyError
    return parse_currency(text) if text else present.currency


def _rule(wish: Wish, present: PeriodRule) -> PeriodRule:
    """Days of the present rule stay where the kind does."""
    if not (wish.period or wish.period_start or wish.period_end):
        return present
    kind = parse_kind(wish.period) if wish.period else present.kind
    same = kind is present.kind
    start = parse_day(wish.period_start) or (present.start if same else None)
    return make_rule(kind, start, parse_day(wish.period_end) or (present.last_day if same else None))
