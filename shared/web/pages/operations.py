"""The pages of those who run the app: accounts, imports, what nobody owns, runs, dead letters, changes, settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from shared import __version__
from shared.ports.runs import RunState, RunView
from shared.ports.spending import By
from shared.services.costs import CostsWish
from shared.web.guard import open_to, warden_of
from shared.web.pages.shell import PageRoute, page
from shared.web.signin import Role

router = APIRouter(route_class=PageRoute, include_in_schema=False)
RUNS, IMPORTS, CHANGES = 100, 100, 100
Day = Annotated[str, Query(max_length=40)]


@router.get("/finops/accounts")
@open_to(Role.VIEWER)
def accounts(request: Request) -> Response:
    """Where costs are read from, and how that went."""
    return page(request, "accounts", accounts=warden_of(request).cloud_account_service.accounts())


@router.get("/finops/imports")
@open_to(Role.VIEWER)
def imports(request: Request) -> Response:
    """What became of cost exports."""
    history = warden_of(request).export_history
    return page(
        request, "imports", summary=history.summary(), runs=history.listed(limit=IMPORTS), feeds=history.feeds()
    )


@router.get("/finops/unallocated")
@open_to(Role.VIEWER)
def unallocated(
    request: Request, first: Annotated[Day, Query(alias="from")] = "", last: Annotated[Day, Query(alias="to")] = ""
) -> Response:
    """What no project owns, of this month or other days."""
    service = warden_of(request).cost_service
    wish = CostsWish(unallocated=True, first=first, last=last)
    found = service.breakdown(wish, (By.SUB_ACCOUNT, By.RESOURCE_GROUP, By.SERVICE))
    costs = {by.value: each for by, each in found.items()}
    return page(request, "unallocated", costs=costs, found=costs["sub-account"], first=first, last=last)


@router.get("/finops/runs")
@open_to(Role.VIEWER)
def runs(request: Request) -> Response:
    """The last nights, and what figures lack."""
    warden = warden_of(request)
    views = warden.run_service.recent(RUNS)
    return page(
        request,
        "runs",
        runs=views,
        incomplete=warden.run_service.incomplete(),
        weeks=list(_calendar(views, warden.clock().date())),
    )


@router.get("/finops/dead-letters")
@open_to(Role.OPERATOR)
def dead_letters(request: Request) -> Response:
    """Messages that failed for good."""
    return page(request, "letters", letters=warden_of(request).dead_letter_service.letters())


@router.get("/finops/changes")
@open_to(Role.OPERATOR)
def changes(request: Request, project: Annotated[str, Query(max_length=200)] = "") -> Response:
    """What people changed."""
    found = warden_of(request).change_service.listed(project.strip(), CHANGES)[::-1]
    return page(request, "changes", changes=found, project=project)


@router.get("/finops/settings")
@open_to(Role.OPERATOR)
def settings(request: Request) -> Response:
    """What is set, and never a secret."""
    return page(request, "settings", settings=warden_of(request).settings.shown(), version=__version__)


@router.get("/finops/{path:path}")
@open_to(Role.SIGNED_IN)
def nothing(request: Request, path: str) -> Response:
    """Any other address."""
    said = {"status": 404, "title": "", "detail": f"/finops/{path}"}
    return page(request, "refused", status=404, said=said)


def _calendar(views: list[RunView], today: date) -> Iterator[list[tuple[date, str]]]:
    """The last five weeks, from Monday on, each day with how its night ended: done, failed, running, or nothing."""
    ended: dict[date, str] = {}
    for view in reversed(views):
        if view.key.startswith("night-"):
            state = "done" if view.is_complete else "running" if view.state is RunState.RUNNING else "lacking"
            ended[view.started_at.date()] = state
    monday = today - timedelta(days=today.weekday() + 28)
    for week in range(5):
        days = [monday + timedelta(days=7 * week + number) for number in range(7)]
        yield [(day, ended.get(day, "none" if day <= today else "future")) for day in days]
