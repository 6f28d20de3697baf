"""Which budget Azure is to have for a project, and how the one that it has differs. Compares only, and asks nobody.

What Azure takes (the reference of Microsoft.Consumption/budgets, 2024-08-01): an amount above 0, a start on the first
of a month and within the present period, an end after it, up to five notifications. What it can't change: the start
("Start date of budgets cannot be updated. Please delete and create a new budget.": azure-quickstart-templates #7095,
CanadaPubSecALZ #317), the time grain and a notification's threshold type (Terraform's azurerm provider makes a new
budget for either; azure-sdk-for-go #15303). An old start stays good from period to period.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal

from shared.domain.budgets import Rollover
from shared.domain.charges import key_of_group
from shared.domain.money import EXACT, plain
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy
from shared.domain.texts import shortened
from shared.pipeline.azure_budgets.names import azure_name
from shared.ports.azure import AZURE, AzureBudget, BudgetNotice
from shared.ports.projects import ProjectView

# Marks a budget as ours: one of our name without it was made by someone else.
LOCK_NOTICE = "budget-warden-lock"
AT_OR_ABOVE = "GreaterThanOrEqualTo"
TIME_GRAINS = {
    PeriodKind.ANNUAL: "Annually",
    PeriodKind.QUARTERLY: "Quarterly",
    PeriodKind.MONTHLY: "Monthly",
    # A fixed period of a year at most is one annual period, which the budget's end cuts short.
    PeriodKind.FIXED: "Annually",
}
CENT = Decimal("0.01")
# A budget whose periods recur goes on at their turn by itself, when this app is down.
YEARS_AHEAD = 10
ENDS_WELL_AFTER = timedelta(days=31)
# "Budget start date must be on or after June 1, 2017": what is older is no date that anybody chose.
EARLIEST_START = date(2017, 6, 1)


class UnmappableError(ValueError):
    """Azure can't have this project's budget; the text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class WantedBudget:
    """The budget that Azure is to have. recurs: it goes on after `period`, the present one."""

    budget: AzureBudget
    rule: PeriodRule
    period: Period
    recurs: bool


def why_none(view: ProjectView) -> str | None:
    """Why Azure is to have no budget for the project, as the end of a sentence; None where it is to have one."""
    if not view.project.active:
        return "the project is inactive"
    if view.project.lock is LockPolicy.NEVER:
        return "the project is marked as never to be locked"
    if view.budget is None or view.budget.amount is None:
        return "the project has no budget now"
    return None


def wanted_budget(
    view: ProjectView, action_group_id: str, currency_of_subscription: str | None = None
) -> WantedBudget | None:
    """The budget that Azure is to have for the project; None where it is to have none (`why_none`).

    currency_of_subscription: None where nobody knows it. Raises UnmappableError.
    """
    if view.budget is None or view.budget.amount is None or why_none(view):
        return None
    rule = view.budget.terms.rule
    period = _period(view)
    _check_period(rule, period)
    _check_place(view, currency_of_subscription)
    recurs = rule.kind is not PeriodKind.FIXED and view.budget.terms.rollover is not Rollover.STOP
    notice = BudgetNotice(Decimal(100), AT_OR_ABOVE, forecast=False, action_groups=(action_group_id,))
    budget = AzureBudget(
        name=azure_name(view.project.acronym),
        amount=azure_amount(view.budget.amount),
        time_grain=TIME_GRAINS[rule.kind],
        first_day=period.start,
        last_day=_last_day(period, recurs),
        resource_groups=_groups(view),
        notices={LOCK_NOTICE: notice},
    )
    return WantedBudget(budget, rule, period, recurs)


def azure_amount(amount: Decimal) -> Decimal:
    """The amount in whole cents, rounded up: Azure's alert comes no sooner than 100 % is used.

    A cent at least, since Azure takes no budget of 0 (all is used up).
    """
    return max(CENT, amount.quantize(CENT, rounding=ROUND_CEILING, context=EXACT))


def is_ours(budget: AzureBudget) -> bool:
    """Whether the app made this budget, which then has the lock's notification."""
    return _own_notice(budget) is not None


def calls(budget: AzureBudget, action_group_id: str) -> bool:
    """Whether the lock's notification of a budget of ours calls this action group."""
    own = _own_notice(budget)
    return own is not None and _id_key(action_group_id) in map(_id_key, budget.notices[own].action_groups)


def differences(wanted: WantedBudget, found: AzureBudget) -> list[str]:
    """What is not as wanted, each as `amount 1000 -> 1200`; nothing where the budget can stay as it is."""
    target = wanted.budget
    compared = [
        (found.category.lower() != target.category.lower(), f"category {found.category} -> {target.category}"),
        (found.amount != target.amount, f"amount {plain(found.amount)} -> {plain(target.amount)}"),
        (_other_grain(wanted, found), f"time grain {found.time_grain} -> {target.time_grain}"),
        (not _same_groups(wanted, found), f"resource groups {_listed(found)} -> {_listed(target)}"),
        (not _same_notice(wanted, found), "the lock's notification"),
        (not _starts_well(wanted, found), f"first day {found.first_day} -> {target.first_day}"),
        (not _ends_well(wanted, found), f"last day {found.last_day} -> {target.last_day}"),
    ]
    return [text for differs, text in compared if differs]


def needs_new(wanted: WantedBudget, found: AzureBudget) -> bool:
    """Whether the budget differs in what Azure can't change: it is deleted, and made anew."""
    own = _own_notice(found)
    forecast = own is not None and found.notices[own].forecast
    return forecast or _other_grain(wanted, found) or not _starts_well(wanted, found)


def brought_to(wanted: WantedBudget, found: AzureBudget) -> AzureBudget:
    """`found` as it is to be put: what people added to it (notifications, addresses in ours) stays."""
    notices = _merged_notices(wanted, found)
    if needs_new(wanted, found):
        return replace(wanted.budget, notices=notices)
    last_day = found.last_day if _ends_well(wanted, found) else wanted.budget.last_day
    return replace(
        wanted.budget, name=found.name, first_day=found.first_day, last_day=last_day, notices=notices, e_tag=found.e_tag
    )


def currency_of(
    budgets: Iterable[AzureBudget], of_charges: frozenset[str], remembered: frozenset[str] = frozenset()
) -> str | None:
    """The currency of a subscription, from its budgets, else from its stored charges; None where it isn't clear.

    remembered: what Azure showed before: a budget that was deleted for its currency is not made again.

    No document says what Azure shows before a budget's first evaluation: first come those that have seen spending.
    """
    known = [budget for budget in budgets if budget.currency]
    evaluated = {str(budget.currency).upper() for budget in known if budget.current_spend}
    shown = {str(budget.currency).upper() for budget in known}
    found = evaluated or of_charges or shown or remembered
    return next(iter(found)) if len(found) == 1 else None


def _period(view: ProjectView) -> Period:
    if view.period is None:
        rule = view.terms.rule
        raise UnmappableError(f"today is not in its budget's period, {rule.start} to {rule.last_day}")
    return view.period


def _check_period(rule: PeriodRule, period: Period) -> None:
    if period.start.day != 1:
        raise UnmappableError(
            f"its periods begin on day {rule.start.day} of a month, and Azure's budgets begin on the first"
        )
    if rule.kind is PeriodKind.FIXED and period.end > period.start.replace(year=period.start.year + 1):
        raise UnmappableError(
            f"its period from {period.start} to {period.last_day} is longer than the 12 months of an Azure budget"
        )


def _check_place(view: ProjectView, currency_of_subscription: str | None) -> None:
    others = sorted({scope.provider for scope in view.scopes} - {AZURE})
    if others:
        raise UnmappableError(
            f"it also has costs at another provider ({', '.join(others)}), which Azure does not count"
        )
    subscriptions = sorted({scope.sub_account_id.lower() for scope in view.scopes})
    if len(subscriptions) > 1:
        raise UnmappableError(
            f"its resource groups are in {len(subscriptions)} subscriptions ({', '.join(subscriptions)}), "
            "and a budget of Azure's is for one"
        )
    currency = view.terms.currency
    if currency_of_subscription is not None and currency != currency_of_subscription:
        raise UnmappableError(
            f"its budget is in {currency}, and the subscription is billed in {currency_of_subscription}"
        )


def _groups(view: ProjectView) -> tuple[str, ...]:
    names = {key_of_group(scope.resource_group): scope.resource_group for scope in view.scopes}
    return tuple(sorted(names.values(), key=str.lower))


def _last_day(period: Period, recurs: bool) -> date:
    if recurs:
        return period.start.replace(year=period.start.year + YEARS_AHEAD) - timedelta(days=1)
    # Azure wants the end after the start, which the last day of a period of one day is not.
    return max(period.end, period.start + timedelta(days=2)) - timedelta(days=1)


def _other_grain(wanted: WantedBudget, found: AzureBudget) -> bool:
    return found.time_grain.lower() != wanted.budget.time_grain.lower()


def _starts_well(wanted: WantedBudget, found: AzureBudget) -> bool:
    if not wanted.recurs or not EARLIEST_START <= found.first_day < wanted.period.start:
        return found.first_day == wanted.period.start
    begun = wanted.rule.period_at(found.first_day)
    return begun is not None and begun.start == found.first_day


def _ends_well(wanted: WantedBudget, found: AzureBudget) -> bool:
    if wanted.recurs:
        return found.last_day >= wanted.period.end + ENDS_WELL_AFTER
    return found.last_day == wanted.budget.last_day


def _same_groups(wanted: WantedBudget, found: AzureBudget) -> bool:
    return found.resource_groups is not None and _keys(found) == _keys(wanted.budget)


def _same_notice(wanted: WantedBudget, found: AzureBudget) -> bool:
    """Whether ours is as wanted; mail addresses and roles that people added to it don't count."""
    own = _own_notice(found)
    return own is not None and _compared(found.notices[own]) == _compared(wanted.budget.notices[LOCK_NOTICE])


def _compared(notice: BudgetNotice) -> tuple[object, ...]:
    groups = set(map(_id_key, notice.action_groups))
    return notice.threshold, notice.operator.lower(), notice.forecast, notice.enabled, groups


def _merged_notices(wanted: WantedBudget, found: AzureBudget) -> dict[str, BudgetNotice]:
    """Ours as wanted, with the addresses that people added to it, and all the others."""
    own = _own_notice(found)
    others = {name: notice for name, notice in found.notices.items() if name != own}
    ours = wanted.budget.notices[LOCK_NOTICE]
    if own is None:
        return {**others, LOCK_NOTICE: ours}
    before = found.notices[own]
    return {**others, own: replace(ours, emails=before.emails, roles=before.roles)}


def _own_notice(budget: AzureBudget) -> str | None:
    """Our notification's name as the budget spells it."""
    return next((name for name in budget.notices if name.lower() == LOCK_NOTICE), None)


def _id_key(resource_id: str) -> str:
    """A resource's id as it is compared: Azure does not keep the case of what it was given."""
    return resource_id.strip("/").lower()


def _keys(budget: AzureBudget) -> set[str]:
    return {key_of_group(name) for name in budget.resource_groups or ()}


def _listed(budget: AzureBudget) -> str:
    return shortened(", ".join(sorted(_keys(budget))), 200) or "not set"
