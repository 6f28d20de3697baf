"""What those who run the app look at over HTTP: costs of all, cloud accounts, exports, runs, dead letters, changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from shared.domain.exports.runs import RunState
from shared.messages import LARGEST_ID
from shared.ports.export_runs import Feeding, RunRecord
from shared.ports.runs import RunView
from shared.ports.spending import By
from shared.services.costs import CostsWish
from shared.services.errors import UnknownError
from shared.web.api import models
from shared.web.api.answers import AS_CSV, READ, UNKNOWN, ApiRoute, Limit
from shared.web.api.projects import DayText, Text, costs_out, decision_out, mail_out
from shared.web.guard import open_to, warden_of
from shared.web.signin import Role

router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["operations"])
Number = Annotated[int, Path(ge=1, le=LARGEST_ID)]


@router.get("/costs", responses=AS_CSV, summary="Where all money went")
@open_to(Role.VIEWER)
def all_costs(
    request: Request,
    first: Annotated[DayText, Query(alias="from")] = "",
    last: Annotated[DayText, Query(alias="to")] = "",
    by: By = By.SERVICE,
    sub_account: Text = "",
    provider: Annotated[Text, Query(description="Whose sub-account it is, where two have that id.")] = "",
    unallocated: Annotated[bool, Query(description="Only what no project owns.")] = False,
) -> models.Costs:
    """Of all projects, or of a sub-account; without days, of this month."""
    wish = CostsWish(subscription=sub_account, provider=provider, unallocated=unallocated, first=first, last=last)
    return costs_out(warden_of(request).cost_service.costs(wish, by))


@router.get("/decisions", responses=AS_CSV, summary="What was decided about locks")
@open_to(Role.VIEWER)
def decisions(request: Request, limit: Limit = 50) -> models.Decisions:
    """Of all projects, oldest first."""
    return models.Decisions(
        items=[decision_out(each) for each in warden_of(request).lock_service.decisions(None, limit)]
    )


@router.get("/mails", responses=AS_CSV, summary="The last mails")
@open_to(Role.VIEWER)
def mails(
    request: Request,
    limit: Limit = 50,
    unsent: Annotated[bool, Query(description="Only those that somebody does not have.")] = False,
) -> models.Mails:
    """Of all projects and to operators, newest first."""
    found = warden_of(request).mail_service.listed("", limit, unsent)
    return models.Mails(items=[mail_out(each) for each in found])


@router.get("/cloud-accounts", responses=AS_CSV, summary="Where costs are read from")
@open_to(Role.VIEWER)
def cloud_accounts(request: Request) -> models.CloudAccounts:
    """By provider and name; never with credentials."""
    found = warden_of(request).cloud_account_service.accounts()
    return models.CloudAccounts(items=[models.CloudAccountOut.model_validate(each) for each in found])


@router.get("/cloud-accounts/{cloud_account_id}", responses=READ | UNKNOWN, summary="A cloud account")
@open_to(Role.VIEWER)
def cloud_account(request: Request, cloud_account_id: Number) -> models.CloudAccountDetails:
    """With the ids of the sub-accounts that it feeds."""
    fed = warden_of(request).cloud_account_service.shown(cloud_account_id)
    account = models.CloudAccountOut.model_validate(fed.account).model_dump()
    return models.CloudAccountDetails(**account, sub_accounts=list(fed.sub_accounts))


@router.get("/exports/runs", responses=AS_CSV, summary="The history of cost exports")
@open_to(Role.VIEWER)
def export_runs(
    request: Request,
    export: Annotated[Text, Query(description="Its name in any case, or its key.")] = "",
    state: Annotated[list[RunState], Query(description="May be given several times.")] = [],  # noqa: B006 - FastAPI copies it
    limit: Limit = 50,
) -> models.ExportRuns:
    """The latest found first."""
    found = warden_of(request).export_history.listed(export, state, limit)
    return models.ExportRuns(items=[_export_run(each) for each in found])


@router.get("/exports/feeds", responses=AS_CSV, summary="Who feeds what")
@open_to(Role.VIEWER)
def feeds(request: Request) -> models.Feeds:
    """By sub-account."""
    return models.Feeds(items=[_feed(each) for each in warden_of(request).export_history.feeds()])


@router.get("/runs", responses=AS_CSV, summary="The last nights and runs")
@open_to(Role.VIEWER)
def runs(request: Request, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> models.Runs:
    """Newest first."""
    return models.Runs(items=[_run(each) for each in warden_of(request).run_service.recent(limit)])


@router.get("/runs/{key}", responses=READ | UNKNOWN, summary="A run")
@open_to(Role.VIEWER)
def run(request: Request, key: Annotated[str, Path(max_length=200)]) -> models.Run:
    """What it has read, told, and could not do."""
    view = warden_of(request).run_service.get(key)
    if view is None:
        raise UnknownError(f"there is no run {key}")
    return _run(view)


@router.get("/coverage", responses=AS_CSV, summary="What figures lack")
@open_to(Role.VIEWER)
def coverage(request: Request) -> models.Coverage:
    """Today, of all projects."""
    found = warden_of(request).run_service.incomplete()
    return models.Coverage(items=[models.Gap(what=str(gap), projects=list(names)) for gap, names in found.gaps])


@router.get("/dead-letters", responses=AS_CSV, summary="Messages that failed for good")
@open_to(Role.OPERATOR)
def dead_letters(
    request: Request, every: Annotated[bool, Query(description="Those that were replayed or discarded, too.")] = False
) -> models.Letters:
    """Oldest first."""
    found = warden_of(request).dead_letter_service.letters(every)
    return models.Letters(items=[models.Letter.model_validate(each) for each in found])


@router.get("/dead-letters/{letter_id}", responses=READ | UNKNOWN, summary="A dead letter")
@open_to(Role.OPERATOR)
def dead_letter(request: Request, letter_id: Number) -> models.Letter:
    """The message, and why it failed."""
    letter = warden_of(request).dead_letter_service.get(letter_id)
    if letter is None:
        raise UnknownError(f"there is no dead letter {letter_id}")
    return models.Letter.model_validate(letter)


@router.get("/changes", responses=AS_CSV | UNKNOWN, summary="The audit: what people changed")
@open_to(Role.OPERATOR)
def changes(
    request: Request,
    project: Annotated[Text, Query(description="Only of this one.")] = "",
    after: Annotated[
        int | None, Query(ge=0, le=LARGEST_ID, description="Those with a higher id, from the first on.")
    ] = None,
    limit: Limit = 100,
) -> models.Changes:
    """The last ones, or those after an id; oldest first. Rows are never changed."""
    found = warden_of(request).change_service.listed(project, limit, after)
    return models.Changes(items=[models.ChangeOut.model_validate(each) for each in found])


# --- in their words ----------------------------------------------------------------------------------------------


def _export_run(record: RunRecord) -> models.ExportRun:
    run = record.run
    first, last = models.ends(run.days)
    return models.ExportRun(
        id=record.id,
        export=run.export.name,
        provider=run.export.provider,
        dataset=run.export.dataset,
        first_day=first,
        last_day=last,
        months=list(record.periods),
        place=run.place,
        submitted_at=run.at,
        state=record.state,
        reason=record.reason,
        found_at=record.found_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        parts=record.parts,
        rows=record.rows,
        size=record.size,
        sums=dict(record.totals),
    )


def _feed(each: Feeding) -> models.Feed:
    first, last = models.ends(each.days)
    return models.Feed(
        provider=each.fed.provider,
        sub_account_id=each.fed.sub_account,
        group=each.fed.group_key or None,
        source=each.source,
        name=each.name,
        first_day=first,
        last_day=last,
    )


def _run(view: RunView) -> models.Run:
    return models.Run(
        key=view.key,
        trigger=view.trigger,
        state=view.state,
        complete=view.is_complete,
        started_at=view.started_at,
        finished_at=view.finished_at,
        scopes=dict(view.scopes),
        mails=dict(view.mails),
        errors=[models.Failure(scope=scope, reason=reason) for scope, reason in view.errors],
        unchecked=list(view.unchecked),
    )
