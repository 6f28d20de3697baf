"""The pages *Projects* and *Project*."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from shared.domain.aws import AWS
from shared.domain.forecast import as_told
from shared.domain.money import add
from shared.ports.azure import AZURE
from shared.ports.projects import ProjectView
from shared.ports.spending import By
from shared.ports.standings import Order, Wanted
from shared.services.costs import Costs, CostsWish
from shared.services.projects import PageWish
from shared.web.api.projects import visible
from shared.web.guard import open_to, warden_of, whose
from shared.web.pages import charts
from shared.web.pages.shell import PageRoute, page
from shared.web.signin import Role

router = APIRouter(route_class=PageRoute, include_in_schema=False)
A_PAGE = 50
MAILS, DECISIONS = 30, 30
# Past so many days, a chart of bars says nothing that its months would not.
MOST_BARS = 120
Text = Annotated[str, Query(max_length=200)]


@router.get("/finops")
@open_to(Role.SIGNED_IN)
def list_projects(  # noqa: PLR0913, PLR0917 - each is a field of the form
    request: Request,
    search: Text = "",
    over: Annotated[str, Query(pattern=r"^\s*\d{0,5}\s*$")] = "",
    stale: bool = False,
    locked: bool = False,
    active: bool = False,
    owner: Text = "",
    sort: Order = Order.USED,
    cursor: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """How projects stand."""
    least = int(over) if over.strip() else None
    wanted = Wanted(search, least, stale, locked, owner, active=active, project_ids=whose(request))
    found = warden_of(request).project_service.page(PageWish(wanted, sort, cursor, A_PAGE))
    chosen = {"search": search, "over": over.strip(), "owner": owner, "sort": sort.value}
    flags = {name: "true" for name, on in (("stale", stale), ("locked", locked), ("active", active)) if on}
    filters = {name: text for name, text in chosen.items() if text} | flags
    following = f"?{urlencode(filters | {'cursor': found.next_cursor})}" if found.next_cursor else ""
    return page(
        request,
        "projects",
        found=found,
        chosen=chosen | {name: name in flags for name in ("stale", "locked", "active")},
        is_filtered=bool(filters.keys() - {"sort"}),
        orders=list(Order),
        following=following,
        is_first=not cursor,
        first=f"?{urlencode(filters)}",
    )


@router.get("/finops/projects/{project}")
@open_to(Role.SIGNED_IN)
def show_project(request: Request, project: str) -> Response:
    """One of them."""
    details = visible(request, project)
    view, warden = details.view, warden_of(request)
    name = str(view.project.id)
    wished = (By.DAY, By.SERVICE, By.SUB_ACCOUNT, By.MONTH)
    costs = warden.cost_service.breakdown(CostsWish(name), wished, view)
    return page(
        request,
        "project",
        details=details,
        view=view,
        used=view.used,
        expected=as_told(view.forecast, view.used) if view.forecast else None,
        costs={by.value: found for by, found in costs.items()},
        days=_by_day(costs[By.DAY], view),
        links=[_link(*each) for each in dict.fromkeys((scope.provider, scope.sub_account_id) for scope in view.scopes)],
        mails=warden.mail_service.listed(name, MAILS),
        decisions=warden.lock_service.decisions(name, DECISIONS)[::-1],
        thresholds=view.terms.thresholds or warden.settings.thresholds,
    )


@dataclass(frozen=True, slots=True)
class Days:
    """What was spent by day in the budget's currency. spent: each day, with all until then; others: whether there are
    charges in other currencies, which are in neither.
    """

    spent: list[tuple[date, Decimal, Decimal]]
    bars: charts.Chart
    line: charts.Chart
    others: bool


def _by_day(found: Costs, view: ProjectView) -> Days | None:
    """None where nothing was spent, or there is no period today."""
    if view.period is None or not found.spent:
        return None
    by_day: Mapping[date, Decimal] = {
        date.fromisoformat(each.key[0]): each.cost for each in found.spent if each.currency == view.currency
    }
    total, spent = view.opening, []
    until = min(view.period.end, max(by_day, default=view.period.start) + timedelta(days=1))
    for number in range((until - view.period.start).days):
        day = view.period.start + timedelta(days=number)
        cost = by_day.get(day, Decimal(0))
        total = add(total, cost)
        spent.append((day, cost, total))
    a_day = view.amount / view.period.days if view.amount else None
    expected = as_told(view.forecast, view.used) if view.forecast else None
    return Days(
        spent[::-1],
        charts.bars([(f"{day}: {cost:,.2f}", cost) for day, cost, _ in spent[-MOST_BARS:]], a_day),
        charts.line(
            [each for _, _, each in spent],
            view.period.days,
            view.amount,
            (expected.low, expected.high) if expected else None,
        ),
        len(by_day) < len(found.spent),
    )


def _link(provider: str, sub_account: str) -> Mapping[str, Any]:
    """A sub-account, and its provider's own page of its costs, where we know that."""
    pages = {
        AZURE: "https://portal.azure.com/#view/Microsoft_Azure_CostManagement/Menu/~/costanalysis/scope/"
        f"%2Fsubscriptions%2F{sub_account}",
        AWS: "https://us-east-1.console.aws.amazon.com/costmanagement/home#/cost-explorer",
    }
    return {"provider": provider, "sub_account": sub_account, "page": pages.get(provider)}
