"""Syncs that other programs order: all costs, AWS accounts, one account; and what became of the last exports."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from shared.messages import LARGEST_ID
from shared.ports.errors import LaterError, NeverError
from shared.ports.runs import RunState
from shared.services.aws_syncs import Synced, TooSoonError
from shared.services.errors import RequestError, UnknownError
from shared.services.full_sync import LOOK_EVERY, Progress, in_words
from shared.web.guard import ANYBODY, Guarded, is_token, open_to, warden_of
from shared.web.signin import Role

if TYPE_CHECKING:
    from shared.composition import Composition

router = APIRouter(route_class=Guarded)
T = TypeVar("T")
# Azure cuts a call after 230 seconds; a Logic App of the Consumption plan, which says who it is, waits for 120.
ANSWERED_WITHIN, LOGIC_APPS_WITHIN = timedelta(seconds=200), timedelta(seconds=100)
LOGIC_APPS = "azure-logic-apps"
KNOWN_FOR = timedelta(seconds=30)
FAULTS = (RequestError, LaterError, NeverError)
DONE, STARTED = "Cost sync completed successfully", "Cost sync started"


async def _until(look: Callable[[T], T], is_through: Callable[[T], bool], first: T, request: Request) -> T:
    """What is seen in the end, or once nobody waits for more; a database that is away for a moment is asked again."""
    is_logic_app = request.headers.get("user-agent", "").lower().startswith(LOGIC_APPS)
    within = LOGIC_APPS_WITHIN if is_logic_app else ANSWERED_WITHIN
    seen, until = first, time.monotonic() + within.total_seconds()
    while not is_through(seen) and time.monotonic() < until:
        await asyncio.sleep(LOOK_EVERY.total_seconds())
        try:
            seen = await run_in_threadpool(look, seen)
        except LaterError:
            continue
    return seen


# --- all costs ---------------------------------------------------------------------------------------------------


@router.post("/finops/api/sync")
@open_to(ANYBODY)
async def sync(request: Request, x_sync_token: Annotated[str | None, Header()] = None) -> JSONResponse:
    """Reads all costs now: new cost exports, and a run of the rest."""
    warden = warden_of(request)
    if not is_token(x_sync_token, warden.settings.sync_token):
        return _sync_answer(403, "Forbidden", errors="The header X-Sync-Token is missing, or not the right one.")
    service = warden.sync_service
    try:
        begun = await run_in_threadpool(service.begin)
        progress = await _until(service.look, lambda each: each.is_through, Progress(begun), request)
    except FAULTS as error:
        return _sync_answer(500, "Cost sync failed", errors=str(error))
    output, run = "\n".join(in_words(progress)), begun.run
    if not progress.is_through:
        return _sync_answer(202, STARTED, output, run=run)
    if faults := progress.faults:
        return _sync_answer(500, "Cost sync failed", output, "\n".join(faults), run)
    return _sync_answer(200, DONE, output, run=run)


def _sync_answer(
    status: int, message: str, output: str = "", errors: str | None = None, run: str | None = None
) -> JSONResponse:
    said = {"success": errors is None, "message": message, "output": output, "errors": errors, "run": run}
    return JSONResponse(said, status)


# --- what became of exports --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Kept:
    """An answer that is asked for by anybody, so that asking often costs nothing."""

    text: str = ""
    until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, make: Callable[[], str]) -> str:
        """The answer, as it was half a minute ago at most; whoever comes meanwhile waits for the one who makes it."""
        with self.lock:
            if time.monotonic() >= self.until:
                self.text = make()
                self.until = time.monotonic() + KNOWN_FOR.total_seconds()
            return self.text


@router.get("/finops/api/sync/status")
@open_to(ANYBODY)
async def status(request: Request) -> JSONResponse:
    """How many runs of exports there were, and the last one that was imported; no id, and no sum."""
    warden = warden_of(request)
    kept = request.app.state.kept_status
    try:
        text = await run_in_threadpool(kept.get, lambda: json.dumps(_status(warden)))
    except FAULTS:
        return JSONResponse({"success": False, "error": "This can't be told now."}, 503, {"Retry-After": "30"})
    return JSONResponse(json.loads(text))


def _status(warden: Composition) -> dict[str, Any]:
    imports = warden.export_history.summary()
    stats = {
        "total_exports": imports.total,
        "completed": imports.completed,
        "failed": imports.failed,
        "processing": imports.processing,
    }
    latest = imports.latest and {
        "subscription": imports.latest.name,
        "billing_period_start": imports.latest.days.start.isoformat(),
        "billing_period_end": imports.latest.days.last_day.isoformat(),
        "records_imported": imports.latest.rows,
        "import_completed_at": f"{imports.latest.at:%Y-%m-%dT%H:%M:%SZ}",
    }
    return {"success": True, "stats": stats, "latest_export": latest}


# --- AWS accounts ------------------------------------------------------------------------------------------------


@router.get("/api/cron/sync-aws-costs")
@open_to(ANYBODY)
async def sync_aws_costs(request: Request, authorization: Annotated[str | None, Header()] = None) -> JSONResponse:
    """Reads each AWS account that is not disabled; one that fails stops no other."""
    warden = warden_of(request)
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not is_token(token.strip(), warden.settings.cron_secret):
        return JSONResponse({"error": "Unauthorized"}, 401, {"WWW-Authenticate": "Bearer"})
    service = warden.aws_sync_service
    try:
        planned = await run_in_threadpool(service.plan)
    except RequestError as error:
        # There is none, or all of them are disabled.
        return JSONResponse(_cron_answer([]) | {"message": str(error)})
    except (LaterError, NeverError) as error:
        return JSONResponse({"success": False, "error": str(error)}, 500)
    try:
        key = await run_in_threadpool(service.start_by_schedule, planned)
        ended = await _ended(warden, key, request)
        synced = await run_in_threadpool(service.outcomes, planned, key) if ended else []
    except FAULTS as error:
        return JSONResponse({"success": False, "error": str(error)}, 500)
    return JSONResponse(_cron_answer(synced)) if ended else JSONResponse({"success": True, "message": STARTED}, 202)


def _cron_answer(synced: list[Synced]) -> dict[str, Any]:
    results = [{"cloudAccountId": each.account.id, "name": each.account.name} | _result(each) for each in synced]
    return {
        "success": True,
        "syncedAccounts": len(synced),
        "successfulSyncs": sum(not each.errors for each in synced),
        "totalRecords": sum(each.charges for each in synced),
        "results": results,
    }


@router.post("/api/cloud-accounts/{cloud_account_id}/sync")
@open_to(Role.OPERATOR)
async def sync_account(request: Request, cloud_account_id: Annotated[int, Path(ge=1, le=LARGEST_ID)]) -> JSONResponse:
    """Reads one AWS account now; those of its organization wait for the next one to be read by hand."""
    warden = warden_of(request)
    service, every = warden.aws_sync_service, timedelta(minutes=warden.settings.sync_minutes)
    try:
        (planned,) = await run_in_threadpool(service.plan, cloud_account_id)
        if planned.left:
            key = await run_in_threadpool(service.start_in_turn, planned, every)
            if not await _ended(warden, key, request):
                return JSONResponse({"success": True, "message": STARTED}, 202)
        else:
            key = ""
        (synced,) = await run_in_threadpool(service.outcomes, [planned], key)
    except TooSoonError as error:
        return JSONResponse({"error": str(error)}, 429, {"Retry-After": str(error.seconds)})
    except UnknownError as error:
        return JSONResponse({"success": False, "error": str(error)}, 404)
    except RequestError as error:
        return JSONResponse({"success": False, "error": str(error)}, 409)
    except (LaterError, NeverError) as error:
        return JSONResponse({"success": False, "error": str(error)}, 503)
    return JSONResponse(_result(synced), 500 if synced.errors else 200)


async def _ended(warden: Composition, key: str, request: Request) -> bool:
    """Whether a run has ended before whoever called had to be answered; without a key there is none."""
    view = await _until(
        lambda _: warden.run_service.get(key),
        lambda view: view is not None and view.state is not RunState.RUNNING,
        None,
        request,
    ) if key else None  # fmt: skip
    return not key or (view is not None and view.state is not RunState.RUNNING)


def _result(synced: Synced) -> dict[str, Any]:
    if synced.errors:
        return {"success": False, "error": " ".join(synced.errors)}
    return {
        "success": True,
        "recordsCount": synced.charges,
        "totalAmount": float(_amount(synced.totals or {})),
        "services": list(synced.service_names),
    }


def _amount(totals: Mapping[str, Decimal]) -> Decimal:
    """What an account came to. Amounts in several currencies are never added: the largest one is told."""
    return max(totals.values(), key=abs, default=Decimal(0))
