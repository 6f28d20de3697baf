"""Projects over HTTP: listed, and each with its costs, mails and lock."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from shared.domain.coverage import DAY
from shared.ports.locks import AuditView
from shared.ports.mails import MailView
from shared.ports.projects import PeriodView, RevisionView
from shared.ports.spending import KEYS, By
from shared.ports.standings import Order, Standing, Wanted
from shared.services.costs import Costs, CostsWish
from shared.services.errors import RequestError, UnknownProjectError
from shared.services.projects import LONGEST_PAGE, PageWish, ProjectDetails
from shared.web.api import models
from shared.web.api.answers import AS_CSV, READ, UNKNOWN, ApiRoute, Limit
from shared.web.guard import open_to, warden_of, whose
from shared.web.signin import Role

router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["projects"])
Name = Annotated[str, Path(description="The project's acronym, in any case, or its id.", examples=["DIE1"])]
DayText = Annotated[str, Query(description="Year-month-day.", examples=["2026-11-30"], max_length=40)]
Text = Annotated[str, Query(max_length=200)]


def visible(request: Request, project: str) -> ProjectDetails:
    """A project that whoever calls may see. Raises UnknownProjectError for another's just as for none."""
    theirs = whose(request)
    try:
        found = warden_of(request).project_service.get(project)
    except RequestError:
        # What is said of acronyms that are alike names them.
        if theirs is None:
            raise
        raise UnknownProjectError(project) from None
    if theirs is not None and found.view.project.id not in theirs:
        raise UnknownProjectError(project)
    return found


@router.get("/projects", responses=AS_CSV, summary="Projects, by the page")
@open_to(Role.SIGNED_IN)
def list_projects(  # noqa: PLR0913, PLR0917 - each is a parameter of the address
    request: Request,
    search: Annotated[Text, Query(description="What the acronym or the name holds.")] = "",
    over: Annotated[
        int | None, Query(ge=0, le=100_000, description="Active ones that have used so many percent.")
    ] = None,
    stale: Annotated[bool, Query(description="Those of which costs are missing.")] = False,
    locked: Annotated[bool, Query(description="Those that are locked.")] = False,
    active: bool = False,
    owner: Text = "",
    department: Text = "",
    cost_centre: Text = "",
    sort: Order = Order.ID,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 100,
    cursor: Annotated[str, Query(max_length=2000, description="Of the page before: `next_cursor`.")] = "",
) -> models.Projects:
    """Those that you may see, as they stood when that was last worked out; amounts sort by currency, largest first."""
    wanted = Wanted(search, over, stale, locked, owner, department, cost_centre, active, whose(request))
    page = warden_of(request).project_service.page(PageWish(wanted, sort, cursor, limit))
    return models.Projects(
        items=[_listed(each) for each in page.standings],
        count=page.count,
        totals=[models.Total.model_validate(each) for each in page.totals],
        unknown=page.unknown,
        next_cursor=page.next_cursor,
    )


@router.get("/projects/{project}", responses=READ | UNKNOWN, summary="A project")
@open_to(Role.SIGNED_IN)
def get_project(request: Request, project: Name) -> models.ProjectOut:
    """With its scopes, budget, figures, periods and revisions."""
    return _project(visible(request, project))


@router.get("/projects/{project}/costs", responses=AS_CSV | UNKNOWN, summary="Where a project's money went")
@open_to(Role.SIGNED_IN)
def get_costs(
    request: Request,
    project: Name,
    first: Annotated[DayText, Query(alias="from")] = "",
    last: Annotated[DayText, Query(alias="to")] = "",
    by: By = By.SERVICE,
) -> models.Costs:
    """Summed; without days, of the present period. What is converted names its rates; currencies are never added."""
    found = visible(request, project)
    wish = CostsWish(str(found.view.project.id), first=first, last=last)
    return costs_out(warden_of(request).cost_service.costs(wish, by))


@router.get("/projects/{project}/mails", responses=AS_CSV | UNKNOWN, summary="What a project's people were told")
@open_to(Role.SIGNED_IN)
def get_mails(request: Request, project: Name, limit: Limit = 50) -> models.Mails:
    """Alerts and other mails, newest first, and whom they have reached."""
    found = visible(request, project)
    mails = warden_of(request).mail_service.listed(str(found.view.project.id), limit)
    return models.Mails(items=[mail_out(each) for each in mails])


@router.get("/projects/{project}/decisions", responses=AS_CSV | UNKNOWN, summary="What was decided about its lock")
@open_to(Role.SIGNED_IN)
def get_decisions(request: Request, project: Name, limit: Limit = 50) -> models.Decisions:
    """Oldest first."""
    found = visible(request, project)
    views = warden_of(request).lock_service.decisions(str(found.view.project.id), limit)
    return models.Decisions(items=[decision_out(each) for each in views])


# --- in their words ----------------------------------------------------------------------------------------------


def _listed(each: Standing) -> models.Listed:
    project, figures = each.project, each.figures
    first, last = models.ends(figures.period if figures else None)
    return models.Listed(
        id=project.id,
        acronym=project.acronym,
        name=project.name,
        active=project.active,
        known=each.known,
        currency=figures.currency if figures else None,
        amount=figures.amount if figures else None,
        spent=figures.spent if figures else None,
        allocated=figures.allocated if figures else None,
        percent=each.percent,
        converted=models.Converted.of(figures.converted if figures else None),
        forecast=models.ForecastOut.model_validate(each.forecast) if each.forecast else None,
        used_up_on=each.used_up_on,
        period_start=first,
        period_end=last,
        missing=list(map(str, each.gaps)),
        alerts=list(each.alerts),
        problem=each.problem,
        owner=project.owner,
        department=project.department,
        cost_centre=project.cost_centre,
        locked_since=each.locked_since,
        as_of=each.as_of,
        updated_at=each.updated_at,
    )


def _project(found: ProjectDetails) -> models.ProjectOut:
    view = found.view
    project, budget = view.project, view.budget
    first, last = models.ends(view.period)
    return models.ProjectOut(
        id=project.id,
        acronym=project.acronym,
        name=project.name,
        active=project.active,
        language=project.language,
        contacts=list(project.contacts),
        owner=project.owner,
        department=project.department,
        cost_centre=project.cost_centre,
        lock=project.lock,
        locked_since=view.locked_since,
        scopes=[models.SubAccount.model_validate(each) for each in view.scopes],
        currency=view.currency,
        budget=budget.terms.amount if budget else None,
        carried=budget.carried if budget else None,
        stopped=budget.stopped if budget else False,
        amount=view.amount,
        rollover=view.terms.rollover,
        thresholds=None if view.terms.thresholds is None else list(view.terms.thresholds),
        spent=view.spent,
        opening_balance=view.opening,
        allocated=view.allocated,
        percent=view.percent,
        converted=models.Converted.of(view.converted),
        forecast=models.ForecastOut.model_validate(view.forecast) if view.forecast else None,
        used_up_on=view.used_up_on,
        period_start=first,
        period_end=last,
        missing=list(map(str, view.gaps)),
        problem=view.problem,
        alerts=list(view.alerts),
        undelivered=dict(view.undelivered),
        updated_at=view.updated_at,
        periods=[_period(each) for each in found.periods],
        revisions=[revision_out(each) for each in found.revisions],
    )


def _period(each: PeriodView) -> models.Period:
    return models.Period(
        period_start=each.period.start,
        period_end=each.period.last_day,
        currency=each.currency or None,
        carried=each.carried,
        final=each.settled,
        stopped=each.stopped,
        spent=each.spent,
        allocated=each.allocated,
    )


def revision_out(each: RevisionView) -> models.Revision:
    """A revision of a budget."""
    terms = each.terms
    return models.Revision(
        number=each.number,
        budget=terms.amount,
        currency=terms.currency or None,
        period=terms.rule.kind,
        rollover=terms.rollover,
        thresholds=None if terms.thresholds is None else list(terms.thresholds),
        made_at=each.made_at,
        made_by=each.made_by,
        reason=each.reason,
    )


def costs_out(found: Costs) -> models.Costs:
    """Where money went."""
    names = KEYS[found.by]
    items = [
        models.Cost(of=dict(zip(names, each.key, strict=True)), cost=each.cost, currency=each.currency)
        for each in found.spent
    ]
    allocated = [
        models.Allocation(
            rule=each.rule,
            project=None if each.project_id is None else found.acronyms.get(each.project_id),
            amount=each.amount,
            currency=each.currency,
        )
        for each in found.allocated
    ]
    return models.Costs(
        project=found.project.acronym if found.project else None,
        sub_account_id=found.sub_account_id,
        unallocated=found.unallocated,
        first_day=found.days.start,
        last_day=found.days.end - DAY,
        by=found.by,
        items=items,
        totals=dict(found.totals),
        in_one=found.in_one,
        currency=found.currency or None,
        converted=models.Converted.of(found.converted),
        opening_balance=found.opening,
        allocated=allocated,
        missing=list(map(str, found.gaps)),
    )


def mail_out(view: MailView) -> models.MailOut:
    """A mail."""
    stored, mail = view.stored, view.stored.mail
    subject = mail.context.get("subject")
    return models.MailOut(
        id=stored.id,
        project=view.acronym,
        topic=mail.topic,
        threshold=mail.threshold,
        subject=None if subject is None else str(subject),
        to=list(mail.to),
        language=mail.language,
        made_at=view.made_at,
        state=stored.state,
        attempts=stored.attempts,
        sent_at=stored.sent_at,
        reason=stored.reason,
        deliveries=[models.Delivery.model_validate(each) for each in stored.deliveries],
    )


def decision_out(view: AuditView) -> models.Decision:
    """A decision about a lock."""
    entry = view.entry
    return models.Decision(
        id=view.id,
        at=view.at,
        project=view.acronym,
        action=entry.action,
        outcome=entry.outcome,
        reason=entry.reason,
        trigger=entry.trigger,
        by=entry.by,
        asked=entry.asked or None,
    )
