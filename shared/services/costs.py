"""Where the money went: stored charges of a project, of a sub-account, of nobody, or of all, summed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from shared.domain.allocation import Given
from shared.domain.coverage import DAY, Gap, without_rate
from shared.domain.currencies import Conversion, convert
from shared.domain.money import add
from shared.domain.periods import Period, month_of
from shared.domain.projects import Project, provider_of
from shared.ports.allocations import AllocationLedger
from shared.ports.clock import Clock
from shared.ports.projects import ProjectLedger, ProjectView
from shared.ports.rates import RateLedger
from shared.ports.spending import By, Estimated, Selection, SpendingLedger, Spent
from shared.services.allocations import amounts
from shared.services.errors import RequestError
from shared.services.projects import is_answered_for, view_of
from shared.services.terms import parse_day


@dataclass(frozen=True, slots=True)
class CostsWish:
    """What a person wants to see, as they wrote it; empty for what does not matter.

    first, last: days. unallocated: only what no project owns. owner, department, cost_centre: only what the projects
    have spent for which these answer. provider: whose subscription or other sub-account is meant.
    """

    project: str = ""
    subscription: str = ""
    unallocated: bool = False
    first: str = ""
    last: str = ""
    owner: str = ""
    department: str = ""
    cost_centre: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Costs:
    """What was spent on these days: days and months in their order, all else by currency, the dearest first.

    opening: what the project's opening balance adds within these days, in `opening_currency`; no sum holds it.
    allocated: what rules gave the projects whose costs these are (of_projects), or else what they gave to whom, and
    their rests; that is a part of what is unallocated, and no sum of a project's holds it. acronyms: of these projects.
    names: of sub-accounts, by provider and id, where they are told apart and have any.
    gaps: what the sums lack. estimated: what of them may still change. cut_from: the last day that was asked for, where
    it is in the future. in_one: what all of it comes to in `currency`, where some of it was converted: that of the
    project's budget, or, of many projects or none, the reporting currency.
    """

    days: Period
    by: By
    spent: Sequence[Spent]
    gaps: Sequence[Gap]
    project: Project | None = None
    sub_account_id: str | None = None
    unallocated: bool = False
    opening: Decimal = Decimal(0)
    opening_currency: str = ""
    cut_from: date | None = None
    allocated: Sequence[Given] = ()
    acronyms: Mapping[int, str] = field(default_factory=dict)
    of_projects: bool = False
    in_one: Decimal | None = None
    currency: str = ""
    converted: Conversion = field(default_factory=Conversion)
    estimated: Sequence[Estimated] = ()
    names: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def totals(self) -> Mapping[str, Decimal]:
        """What all of it comes to, by currency: two are never added."""
        totals: dict[str, Decimal] = {}
        for each in self.spent:
            totals[each.currency] = totals.get(each.currency, Decimal(0)) + each.cost
        return dict(sorted(totals.items()))

    @property
    def left(self) -> Mapping[str, Decimal]:
        """What of unallocated costs no rule gave to anybody, by currency."""
        given = amounts(self.allocated)
        return {currency: total - given.get(currency, Decimal(0)) for currency, total in self.totals.items()}


@dataclass(frozen=True, slots=True)
class CostService:
    """reporting: the currency of totals over projects, or empty. Raises LaterError where the database is away."""

    projects: ProjectLedger
    spending: SpendingLedger
    allocations: AllocationLedger
    clock: Clock
    rates: RateLedger | None = None
    reporting: str = ""

    def costs(self, wish: CostsWish, by: By) -> Costs:
        """The sums; without a first day, of the project's period (or else the month) that holds the last day, up to it.

        Raises RequestError; UnknownProjectError among them.
        """
        return self.breakdown(wish, [by])[by]

    def breakdown(self, wish: CostsWish, bys: Collection[By], view: ProjectView | None = None) -> dict[By, Costs]:
        """The same by each of these, of which together less is asked of the database.

        view: how the project stands that is wished for, where that is known already.
        """
        answers = wish.owner or wish.department or wish.cost_centre
        if wish.unallocated and (wish.project or answers):
            raise RequestError("unallocated costs are those of no project; leave one of the two out")
        if wish.project and answers:
            raise RequestError("name a project, or who answers for projects, not both")
        today = self.clock().date()
        if view is None and wish.project:
            view = view_of(self.projects, wish.project, self.clock())
        first, last = asked_days(wish.first, wish.last)
        days = _days(first, min(last or today, today), view, today)
        ids = (view.project.id,) if view else self._answered_for(wish) if answers else None
        which = Selection(days, ids, unallocated=wish.unallocated)
        if wish.subscription.strip():
            provider, account = known_sub_account(self.spending, wish.subscription, wish.provider)
            which = replace(which, provider=provider, sub_account_id=account)
        sums = self.spending.breakdown(which, bys)
        by = next(iter(bys))
        found = Costs(
            days,
            by,
            sums[by],
            self.spending.lacking(which, today),
            sub_account_id=which.sub_account_id,
            unallocated=which.unallocated,
            cut_from=last if last and last > today else None,
            allocated=self._allocated(which),
            of_projects=ids is not None,
            estimated=self.spending.estimated(which),
        )
        if found.allocated:
            named = [view.project] if view else [entry.project for entry in self.projects.entries()]
            found = replace(found, acronyms={each.id: each.acronym for each in named})
        found = _of_project(found, view) if view else found
        found = self._in_one(found, which, view.terms.currency if view else self.reporting, sums.get(By.DAY))
        names = self.spending.sub_account_names() if By.SUB_ACCOUNT in bys else {}
        return {by: _by(found, by, spent, names) for by, spent in sums.items()}

    def _in_one(self, found: Costs, which: Selection, currency: str, by_day: Sequence[Spent] | None) -> Costs:
        """With what it comes to in this currency. Without a ledger of rates nothing is converted.

        by_day: the sums by day, where they are known.
        """
        foreign = found.totals.keys() - {currency}
        if self.rates is None or not currency or (found.project and not foreign):
            return found
        by_day = by_day or self.spending.sums(which, By.DAY)
        rates = self.rates.rates([currency, *foreign], which.days)
        others = [(date.fromisoformat(each.key[0]), each.currency, each.cost) for each in by_day]
        converted = convert(sorted(each for each in others if each[1] != currency), currency, rates)
        total = add(found.totals.get(currency, Decimal(0)), converted.total)
        gaps = (*found.gaps, *without_rate(converted))
        return replace(found, in_one=total, converted=converted, gaps=gaps, currency=currency)

    def _allocated(self, which: Selection) -> list[Given]:
        account = (which.provider, which.sub_account_id) if which.provider and which.sub_account_id else None
        given = self.allocations.given(which.days, account)
        if which.project_ids is None:
            return given
        return [each for each in given if each.project_id in set(which.project_ids)]

    def _answered_for(self, wish: CostsWish) -> tuple[int, ...]:
        projects = (entry.project for entry in self.projects.entries())
        found = (each.id for each in projects if is_answered_for(each, wish.owner, wish.department, wish.cost_centre))
        if ids := tuple(found):
            return ids
        raise RequestError(
            "no project has this owner, department or cost centre; `costs --by owner` and its like list them"
        )


def _by(found: Costs, by: By, spent: Sequence[Spent], names: Mapping[tuple[str, str], str]) -> Costs:
    in_order = sorted(spent, key=_by_time if by in (By.DAY, By.MONTH) else _by_cost)
    return replace(found, by=by, spent=in_order, names=names if by is By.SUB_ACCOUNT else {})


def _of_project(found: Costs, view: ProjectView) -> Costs:
    opening = view.terms.opening
    if opening is None or opening.period_start not in found.days or found.sub_account_id:
        return replace(found, project=view.project)
    return replace(found, project=view.project, opening=opening.amount, opening_currency=view.terms.currency)


def known_sub_account(spending: SpendingLedger, written: str, of: str = "") -> tuple[str, str]:
    """The provider and id of a sub-account as they are stored, however they are spelled; of: its provider, if said.

    Raises RequestError for one that is unknown, and for an id that two providers have.
    """
    every = spending.stored_sub_accounts(written.strip())
    found = [each for each in every if not of.strip() or each[0].casefold() == provider_of(of).casefold()]
    if not found:
        whose = f" of {of.strip()}" if of.strip() else ""
        raise RequestError(
            f"nothing is known of a subscription {written.strip()}{whose}; `projects show` tells those of a project"
        )
    if len(found) > 1:
        whose = " and of ".join(provider for provider, _ in found)
        raise RequestError(f"{written.strip()} is a sub-account of {whose}; --provider says which is meant")
    return found[0]


def asked_days(first_text: str, last_text: str) -> tuple[date | None, date | None]:
    """The first and the last day as a person wrote them; None for one that is empty. Raises RequestError."""
    try:
        first, last = parse_day(first_text.strip()), parse_day(last_text.strip())
    except ValueError as error:
        raise RequestError(str(error)) from None
    if first and last and first > last:
        raise RequestError(f"the first day, {first}, is after the last, {last}")
    return first, last


def _days(first: date | None, last: date, view: ProjectView | None, today: date) -> Period:
    period = (view.terms.rule.period_at(last) if view else None) or month_of(last)
    first = first or period.start
    if first > today:
        raise RequestError(
            f"the first day, {first}, is in the future: nothing was spent yet (today is {today}, in UTC)"
        )
    return Period(first, last + DAY)


def _by_time(spent: Spent) -> tuple[tuple[str, ...], str]:
    return spent.key, spent.currency


def _by_cost(spent: Spent) -> tuple[str, Decimal, tuple[str, ...]]:
    return spent.currency, -spent.cost, spent.key
