"""What operators change over HTTP, with a reason; ordered twice under one Idempotency-Key, it is done once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from typing_extensions import override

from shared.messages import LockAction
from shared.ports.changes import acting
from shared.services.budgets import Wish
from shared.services.errors import RequestError, UnknownError
from shared.web.api import models
from shared.web.api.answers import REFUSALS, UNKNOWN, refusal
from shared.web.api.operations import Number
from shared.web.api.projects import Name, visible
from shared.web.guard import Guarded, open_to, warden_of
from shared.web.problems import ProblemError
from shared.web.signin import Role

KEY = "idempotency-key"
LONGEST_KEY = 100
BUSY: dict[int | str, dict[str, Any]] = {409: refusal("The same order, or what it is about, is being worked on.")}
CHANGE = REFUSALS | UNKNOWN | BUSY | {400: refusal("The body is no JSON in UTF-8.")}
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=LONGEST_KEY,
        description="A text of yours for this order: sent again within a day, it is done once, and answered as before.",
    ),
]


class OnceRoute(Guarded):
    """A route whose orders are done once for each key."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            key = request.headers.get(KEY, "").strip()
            # Who may not call is told so by the route itself, and a key that is none as well.
            if not key or len(key) > LONGEST_KEY or request.app.state.sign_in.who(request.headers).role < Role.OPERATOR:
                return await handle(request)
            return await _once(request, key, handle)

        return answered


async def _once(request: Request, key: str, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
    ledger, principal = warden_of(request).idempotency, request.app.state.sign_in.who(request.headers)
    by, now = (principal.id or principal.name)[:100], warden_of(request).clock()
    digest = sha256(f"{request.method} {request.url.path}\n".encode() + await request.body()).hexdigest()
    known = await run_in_threadpool(ledger.claim, by, key, digest, now)
    if known is not None:
        if known.digest != digest:
            raise ProblemError(422, "This Idempotency-Key was used for another order; give this one a key of its own.")
        if known.status is None or known.body is None:
            raise ProblemError(409, "The same order is being worked on; ask again in a moment.", {"Retry-After": "5"})
        return Response(known.body, known.status, {"idempotency-replayed": "true"}, media_type="application/json")
    try:
        response = await handle(request)
    except Exception:
        await run_in_threadpool(ledger.forget, by, key)
        raise
    await run_in_threadpool(ledger.keep, by, key, response.status_code, bytes(response.body).decode())
    return response


router = APIRouter(prefix="/api/v1", route_class=OnceRoute, tags=["changes"])


class Order(BaseModel):
    """What somebody orders, and why."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(max_length=2000, examples=["storm season: approved"])


class BudgetOrder(Order):
    """What of a budget is to be different; what is left out stays."""

    amount: str = Field("", max_length=100, description="A decimal as a text.", examples=["15000.00"])
    currency: str = Field("", max_length=100)
    rollover: str = Field("", max_length=100, examples=["reset", "carry_over", "draw_down", "stop"])
    period: str = Field("", max_length=100, examples=["annual", "quarterly", "monthly", "fixed"])
    period_start: str = Field("", max_length=100)
    period_end: str = Field("", max_length=100, description="The last day.")
    thresholds: str = Field("", max_length=100, description="Percents, joined by commas.", examples=["25,50,80,100"])
    opening_balance: str = Field("", max_length=100)


class Revised(BaseModel):
    """A budget as it is now. number: of the revision; null where all was so already."""

    id: int
    acronym: str
    number: int | None
    budget: models.Amount | None
    currency: models.Currency | None
    percent: models.Amount | None
    unasked: str | None = Field(description="Why its check could not be asked for now; the next run does it.")


class LockOrdered(BaseModel):
    """What was asked for; the project's decisions say what became of it."""

    acronym: str
    action: str
    locked_since: datetime | None
    lock_mode: str


class Started(BaseModel):
    """A run that was started."""

    run: str
    messages: int


class RunOrder(BaseModel):
    """What is to be read now: a project, a subscription, or all; since a day, whatever is known."""

    model_config = ConfigDict(extra="forbid")

    project: str = Field("", max_length=200)
    subscription: str = Field("", max_length=200)
    since: str = Field("", max_length=40)


@router.post("/projects/{project}/budget", responses=CHANGE, summary="Revise a budget")
@open_to(Role.OPERATOR)
def revise_budget(request: Request, project: Name, order: BudgetOrder, _key: Key = None) -> Revised:
    """As `budgets set`: a new revision, if anything is different; its project is checked."""
    found = visible(request, project).view.project
    wish = Wish(**order.model_dump(exclude={"reason"}))
    if wish.is_empty:
        raise RequestError("say what is to change: an amount, or another field of the budget")
    revised = warden_of(request).budget_service.revise(str(found.id), wish, order.reason, acting().name)
    view = revised.project
    return Revised(
        id=found.id,
        acronym=found.acronym,
        number=revised.number,
        budget=view.terms.amount,
        currency=view.currency,
        percent=view.percent,
        unasked=revised.unasked,
    )


@router.post("/projects/{project}/lock", responses=CHANGE, status_code=202, summary="Lock a project")
@open_to(Role.OPERATOR)
def lock(request: Request, project: Name, order: Order, _key: Key = None) -> LockOrdered:
    """Whatever it has spent. It stays until somebody orders the unlock."""
    return _order(request, project, LockAction.LOCK, order)


@router.post("/projects/{project}/unlock", responses=CHANGE, status_code=202, summary="Take a project's lock off")
@open_to(Role.OPERATOR)
def unlock(request: Request, project: Name, order: Order, _key: Key = None) -> LockOrdered:
    """It is not locked again by itself until its budget is revised, or its next period begins."""
    return _order(request, project, LockAction.UNLOCK, order)


def _order(request: Request, project: str, action: LockAction, order: Order) -> LockOrdered:
    found = visible(request, project).view.project
    ordered = warden_of(request).lock_service.order(str(found.id), action, order.reason, acting().name)
    return LockOrdered(acronym=ordered.acronym, action=action, locked_since=ordered.held_since, lock_mode=ordered.mode)


@router.post("/dead-letters/{letter_id}/replay", responses=CHANGE, summary="Send a dead letter again")
@open_to(Role.OPERATOR)
def replay(request: Request, letter_id: Number, _key: Key = None) -> models.Letter:
    """Once its cause is mended."""
    if (refused := warden_of(request).dead_letter_service.replay(letter_id)) is not None:
        if warden_of(request).dead_letter_service.get(letter_id) is None:
            raise UnknownError(refused)
        raise RequestError(refused)
    return _letter(request, letter_id)


@router.post("/dead-letters/{letter_id}/discard", responses=CHANGE, summary="Put a dead letter aside")
@open_to(Role.OPERATOR)
def discard(request: Request, letter_id: Number, order: Order, _key: Key = None) -> models.Letter:
    """Nothing is to become of it."""
    _letter(request, letter_id)
    warden_of(request).dead_letter_service.discard([letter_id], order.reason, acting().name)
    return _letter(request, letter_id)


def _letter(request: Request, letter_id: int) -> models.Letter:
    letter = warden_of(request).dead_letter_service.get(letter_id)
    if letter is None:
        raise UnknownError(f"there is no dead letter {letter_id}")
    return models.Letter.model_validate(letter)


@router.post("/runs", responses=CHANGE, status_code=202, summary="Read costs now")
@open_to(Role.OPERATOR)
def start_run(request: Request, order: RunOrder, _key: Key = None) -> Started:
    """As `run`: `/runs/{key}` says how far it is."""
    run, messages = warden_of(request).run_service.start(order.subscription, order.project, order.since)
    return Started(run=run, messages=messages)
