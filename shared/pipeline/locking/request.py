"""A request to lock or unlock a project: what its message asks for, and what is known when it is looked into again.

That are the project's facts in the database, and what Azure's own budget shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from shared.domain.charges import key_of_group
from shared.domain.locks import Figure, Known, Wanted, held_on
from shared.domain.money import LARGEST_AMOUNT
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import Project
from shared.messages import LockAction, LockMessage, LockTrigger
from shared.pipeline.azure_budgets.evaluated import doubtful_until, looked_at
from shared.pipeline.azure_budgets.names import azure_name
from shared.pipeline.azure_budgets.wanted import is_ours
from shared.ports.azure import AzureBudget, AzureBudgets, ResourceGroup
from shared.ports.azure_budgets import SeenBudget, SeenBudgets
from shared.ports.errors import LaterError, NeverError
from shared.ports.locks import Hold, LockFacts

# Azure evaluates its budgets about once a day, and costs reach it a day late: what it shows in a period's first days
# may be what was spent in the period before. It does not say of when its figure is.
STALE_FOR = timedelta(days=2)
# Azure's word for how often a budget begins anew. Those of billing months begin on days that it does not say.
KINDS = {"monthly": PeriodKind.MONTHLY, "quarterly": PeriodKind.QUARTERLY, "annually": PeriodKind.ANNUAL}


@dataclass(frozen=True, slots=True)
class AzureSays:
    """What Azure's own budget shows, or why that isn't known, as a sentence's end; neither where it was not asked.

    is_silent: Azure could not be asked, and whoever says that its budget has called may be right. wait: set where it
    may answer later. again_on: set where its figure does not count now, and may from this day on.
    """

    figure: Figure | None = None
    unknown: str | None = None
    is_silent: bool = False
    wait: LaterError | None = None
    again_on: date | None = None


NOT_ASKED = AzureSays()


@dataclass(frozen=True, slots=True)
class Request:
    """One message on one project. origin: the queue message's id. now: when the work on it began.

    action: what is being done, where that is not what the message asks for.
    """

    message: LockMessage
    origin: str
    facts: LockFacts
    now: datetime
    azure: AzureSays = NOT_ASKED
    action: LockAction | None = None

    @property
    def project(self) -> Project:
        """The project that it is about."""
        return self.facts.project

    @property
    def ordered(self) -> bool:
        """Whether an operator says so."""
        return self.message.trigger is LockTrigger.OPERATOR

    @property
    def is_by_order(self) -> bool:
        """Whether what should be is what an operator ordered."""
        order = self.facts.order
        return order is not None and (order.locks or self.known.is_released)

    @property
    def doing(self) -> LockAction:
        """What is being done, or was asked for."""
        return self.action or self.message.action

    def asks(self, action: LockAction) -> bool:
        """Whether the message asks for this."""
        return self.message.action is action

    @property
    def is_look(self) -> bool:
        """Whether it only asks to look again."""
        return self.message.is_look

    @property
    def superseded_at(self) -> datetime | None:
        """When the later order was given that counts in the place of this one; None where there is none.

        One that was refused, and so withdrawn, undoes those before it all the same.
        """
        order, last, ordered_at = self.facts.order, self.facts.ordered_at, self.message.ordered_at
        if not self.ordered or last is None or (order and order.locks is (self.message.action is LockAction.LOCK)):
            return None
        return last if ordered_at is None or last > ordered_at else None

    @property
    def known(self) -> Known:
        """All that decides whether the project is to be locked."""
        facts, is_call = self.facts, self.message.trigger in (LockTrigger.ALERT, LockTrigger.MESSAGE)
        return Known(
            project=facts.project,
            counted=facts.counted,
            budget=facts.budget,
            period=facts.period,
            today=self.now.date(),
            database=self.database,
            azure=self.azure.figure,
            azure_unknown=self.azure.unknown,
            order=facts.order,
            held=facts.held,
            hinted=is_call and self.message.action is LockAction.LOCK and self.azure.is_silent,
        )

    @property
    def period_start(self) -> date | None:
        """The first day of the budget's period; None where there is none today."""
        return self.facts.period.start if self.facts.period else None

    @property
    def database(self) -> Figure | None:
        """What the costs that were read come to; None without a budget, or where they can't be added."""
        available = self.facts.budget.available
        if available is None or self.facts.period is None or not self.facts.usage_known:
            return None
        facts = self.facts
        return Figure(facts.usage, available, facts.budget.terms.currency, facts.lacks, str(facts.converted))

    @property
    def highest_known(self) -> Decimal | None:
        """The highest spending in the present period that anyone knows of; None where nobody knows any."""
        is_known = self.facts.usage_known and (self.database is None or self.database.is_known)
        by_azure = self._shown_by_azure if self.azure.figure else self._showed_before
        known = [by_azure, self.facts.usage if is_known else None]
        return max((spent for spent in known if spent is not None), default=None)

    @property
    def _shown_by_azure(self) -> Decimal | None:
        """What Azure shows now; more than can be stored is as good as the most that can."""
        return min(self.azure.figure.spent, LARGEST_AMOUNT) if self.azure.figure else None

    @property
    def _showed_before(self) -> Decimal | None:
        """What Azure showed in this period of these groups when it was locked: our own costs may be a day behind."""
        held, currency = self.facts.held, self.facts.budget.terms.currency
        is_like = held is not None and (held.period_start, held.currency) == (self.period_start, currency)
        is_like = is_like and held is not None and held.counted in (None, self.facts.counted)
        return held.spent if held and self.facts.period and is_like else None

    @property
    def this_budget(self) -> str:
        """The project, its budget (whatever else a revision changes) and the period: what is decided once for each."""
        return f"{self.project.id}/{self.facts.budget.first_number}/{self.period_start or 'no-period'}"

    def key(self, what: str, *parts: object) -> str:
        """The audit's key of what is decided once for this budget, and these parts; by order, once for the order.

        An order is known by its time: each time it is put back, it is another message.
        """
        ordered = (self.message.ordered_at or self.origin,) if self.ordered else ()
        return "/".join(map(str, (what, self.this_budget, *parts, *ordered)))

    def key_of_message(self, what: str) -> str:
        """The audit's key of what is decided once for this message."""
        return f"{what}/{self.this_budget}/{self.origin}"

    def hold(self, wanted: Wanted, groups: Iterable[ResourceGroup]) -> Hold:
        """A lock on these groups, with what it was decided on."""
        return Hold(held_on(wanted, self.known, self._shown_by_azure), tuple(groups))


def ask_azure(facts: LockFacts, budgets: AzureBudgets, seen: SeenBudgets, now: datetime) -> AzureSays:
    """What Azure's own budget for the project shows; writes down what is new about it. Raises LaterError."""
    subscriptions = {group.subscription_id for group in facts.groups}
    if facts.budget.amount is None or facts.period is None:
        return AzureSays(unknown="the project has no budget now")
    if len(subscriptions) != 1:
        counted = f"{len(subscriptions)} subscriptions, and an Azure budget is for one"
        return AzureSays(
            unknown=f"the project is in {counted}" if subscriptions else "it has no resource group in Azure"
        )
    subscription, name = subscriptions.pop(), azure_name(facts.project.acronym)
    tomorrow = now.date() + timedelta(days=1)
    before = seen.seen_in(subscription).get(name)
    if before and before.project_id not in (None, facts.project.id):
        return AzureSays(unknown="Azure's budget of its name is still another project's", again_on=tomorrow)
    try:
        found = budgets.get(subscription, name)
    except (NeverError, LaterError) as error:
        wait = error if isinstance(error, LaterError) else None
        return AzureSays(unknown=error.reason, is_silent=True, wait=wait)
    if found is None:
        return AzureSays(unknown="there is no Azure budget for it", again_on=tomorrow)
    after = looked_at(before, found, facts.project.id, now)
    if after != before and is_ours(found):
        seen.note(subscription, [after])
    return _shown_by(found, after, facts, facts.period, now.date())


def _shown_by(found: AzureBudget, seen: SeenBudget, facts: LockFacts, period: Period, today: date) -> AzureSays:
    tomorrow = today + timedelta(days=1)
    if facts.taken_over:
        return AzureSays(unknown="Azure's budget counts what a group has cost before it came to the project")
    if facts.left_credit:
        return AzureSays(unknown="Azure's budget lacks the credit of a group that has left the project")
    if counts_more(found, facts.groups, period, today):
        reason = "Azure's budget counts other resource groups or another period, and is not in step yet"
        return AzureSays(unknown=reason, again_on=tomorrow)
    if found.current_spend is None:
        return AzureSays(unknown="Azure has not evaluated its budget yet", again_on=tomorrow)
    currency = facts.budget.terms.currency
    if found.currency != currency:
        shown = found.currency or "no currency"
        return AzureSays(unknown=f"Azure's budget is in {shown}, and the project's in {currency}")
    # Our amount, not Azure's: the budget may have been raised since Azure's was changed.
    figure = Figure(found.current_spend, facts.budget.available or Decimal(0), currency)
    return _doubt(figure, seen, period, today) or AzureSays(figure)


def _doubt(figure: Figure, seen: SeenBudget, period: Period, today: date) -> AzureSays | None:
    """Why Azure's figure may be of something else than the project's groups in this period, and until when."""
    counts_from, evaluated_on = period.start + STALE_FOR, doubtful_until(seen)
    if evaluated_on is not None and today < evaluated_on:
        reason = "Azure may not have evaluated its budget since that was changed"
        return AzureSays(unknown=reason, again_on=today + timedelta(days=1))
    if today < counts_from:
        reason = "Azure's figure may still be that of the period before"
        return AzureSays(unknown=reason, again_on=counts_from if figure.is_full else None)
    return None


def counts_more(found: AzureBudget, groups: Iterable[ResourceGroup], period: Period, today: date) -> bool:
    """Whether Azure's budget may count what was not spent by these groups in this period; less does no harm.

    So it is until the next sync after a change, and with a budget that someone else made.
    """
    counted = {key_of_group(name) for name in found.resource_groups or ()}
    if not counted or not counted <= {key_of_group(group.name) for group in groups}:
        return True
    kind = KINDS.get(found.time_grain.lower())
    counting = PeriodRule(kind, found.first_day).period_at(min(today, found.last_day)) if kind else None
    return counting is None or max(counting.start, found.first_day) < period.start
