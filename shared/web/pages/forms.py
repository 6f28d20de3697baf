"""Forms: what operators change by a page. Each holds what a cookie of ours does, which no other site can know."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import RedirectResponse

from shared.messages import LARGEST_ID, LockAction
from shared.ports.changes import acting
from shared.ports.cloud_accounts import ConnectionType
from shared.services.budgets import Wish
from shared.services.errors import RequestError
from shared.web.api.projects import visible
from shared.web.guard import open_to, warden_of
from shared.web.pages.shell import FORM_COOKIE, PageRoute
from shared.web.problems import ProblemError
from shared.web.signin import Role

router = APIRouter(route_class=PageRoute, include_in_schema=False)
LARGEST = 64 * 1024
FIELD = "token"


async def filled(request: Request) -> Mapping[str, str]:
    """What somebody filled in. Raises ProblemError for what was not sent by one of our own pages."""
    body = await request.body()
    if len(body) > LARGEST:
        raise ProblemError(422, "This form is too long.")
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body)))
    except ValueError:
        raise ProblemError(422, "This is no form.") from None
    known, given = request.cookies.get(FORM_COOKIE, ""), fields.pop(FIELD, "")
    if not known or not hmac.compare_digest(known.encode(), given.encode("utf-8", "surrogateescape")):
        raise ProblemError(403, "This form is from another time or place: open its page again, and send it from there.")
    return fields


Filled = Annotated[Mapping[str, str], Depends(filled)]


@router.post("/finops/projects/{project}/budget")
@open_to(Role.OPERATOR)
def revise_budget(request: Request, project: str, form: Filled) -> Response:
    """Another amount."""
    found = visible(request, project).view.project
    amount = form.get("amount", "").strip()
    if not amount:
        raise RequestError("the amount is empty; write digits, such as 12500.00")
    wish = Wish(amount=amount, currency=form.get("currency", "").strip())
    warden_of(request).budget_service.revise(str(found.id), wish, form.get("reason", ""), acting().name)
    return _back(f"/finops/projects/{found.id}?done=budget")


@router.post("/finops/projects/{project}/sync")
@open_to(Role.OPERATOR)
def sync(request: Request, project: str, form: Filled) -> Response:  # noqa: ARG001 - the form says that it is ours
    """Its costs, now."""
    found = visible(request, project).view.project
    warden_of(request).run_service.start(project=str(found.id))
    return _back(f"/finops/projects/{found.id}?done=sync")


@router.post("/finops/projects/{project}/{action}")
@open_to(Role.OPERATOR)
def order_lock(request: Request, project: str, action: LockAction, form: Filled) -> Response:
    """The lock, or its end."""
    found = visible(request, project).view.project
    warden_of(request).lock_service.order(str(found.id), action, form.get("reason", ""), acting().name)
    return _back(f"/finops/projects/{found.id}?done={action}")


@router.post("/finops/accounts/{cloud_account_id}/sync")
@open_to(Role.OPERATOR)
def sync_account(
    request: Request,
    cloud_account_id: Annotated[int, Path(ge=1, le=LARGEST_ID)],
    form: Filled,  # noqa: ARG001 - the form says that it is ours
) -> Response:
    """Its costs, now; of AWS, one of an organization in so many minutes."""
    warden = warden_of(request)
    account = warden.cloud_account_service.shown(cloud_account_id).account
    if account.connection_type == ConnectionType.COST_MANAGEMENT:
        warden.run_service.start(subscription=account.external_account_id)
    else:
        service, every = warden.aws_sync_service, timedelta(minutes=warden.settings.sync_minutes)
        (planned,) = service.plan(cloud_account_id)
        if not planned.left:
            raise RequestError(service.outcomes([planned], "")[0].errors[0])
        service.start_in_turn(planned, every)
    return _back("/finops/accounts?done=sync")


@router.post("/finops/dead-letters/{letter_id}/replay")
@open_to(Role.OPERATOR)
def replay(
    request: Request,
    letter_id: Annotated[int, Path(ge=1, le=LARGEST_ID)],
    form: Filled,  # noqa: ARG001 - the form says that it is ours
) -> Response:
    """Sent again."""
    if (refused := warden_of(request).dead_letter_service.replay(letter_id)) is not None:
        raise RequestError(refused)
    return _back("/finops/dead-letters?done=replay")


@router.post("/finops/dead-letters/{letter_id}/discard")
@open_to(Role.OPERATOR)
def discard(request: Request, letter_id: Annotated[int, Path(ge=1, le=LARGEST_ID)], form: Filled) -> Response:
    """Put aside."""
    warden_of(request).dead_letter_service.discard([letter_id], form.get("reason", ""), acting().name)
    return _back("/finops/dead-letters?done=discard")


def _back(path: str) -> Response:
    """To the page that shows what became of it; who loads that again orders nothing."""
    return RedirectResponse(path, 303)
