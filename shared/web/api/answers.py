"""What holds for every answer of the API: its description, conditional requests, CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Coroutine, Mapping
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from typing_extensions import override

from shared.web.guard import Guarded

PROBLEM = "application/problem+json"
# Whoever opens a list in a spreadsheet would have these evaluated.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
KEPT = {"cache-control": "private, no-cache"}

Limit = Annotated[int, Query(ge=1, le=1000)]


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(
        description="A sentence for a person: what was wrong, and what would be right.",
        examples=["There is no project NOBODY."],
    )


def refusal(description: str) -> dict[str, Any]:
    """How a refusal is described."""
    return {"description": description, "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


REFUSALS: dict[int | str, dict[str, Any]] = {
    401: refusal("Nobody is signed in."),
    403: refusal("Whoever is signed in may not do this."),
    422: refusal("Something in the request can't be right; nothing was done."),
    502: refusal("Another service refuses the app; the detail says which, and what helps."),
    503: refusal("The database, or another service, is away; Retry-After says when to ask again."),
}
UNKNOWN: dict[int | str, dict[str, Any]] = {404: refusal("There is nothing of that name that you may see.")}
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It is as it was when the ETag was given."}}
READ: dict[int | str, dict[str, Any]] = REFUSALS | UNCHANGED
AS_CSV: dict[int | str, dict[str, Any]] = READ | {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


class ApiRoute(Guarded):
    """A route whose answers have an ETag, and lists of which can be had as CSV."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        is_list = "text/csv" in (self.responses.get(200) or {}).get("content", {})

        async def answered(request: Request) -> Response:
            response = await handle(request)
            if request.method != "GET" or response.status_code != 200:
                return response
            if is_list and _prefers_csv(request.headers.get("accept", "")):
                response = Response(_as_csv(json.loads(bytes(response.body))), media_type="text/csv")
            return _unless_known(request, response)

        return answered


def _unless_known(request: Request, response: Response) -> Response:
    tag = f'"{sha256(bytes(response.body)).hexdigest()[:32]}"'
    headers = KEPT | {"etag": tag, "vary": "accept"}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response


def _prefers_csv(accept: str) -> bool:
    """Whether CSV is named, and JSON not before it."""
    kinds = [each.split(";")[0].strip().lower() for each in accept.split(",")]
    return "text/csv" in kinds and "application/json" not in kinds[: kinds.index("text/csv")]


def _as_csv(found: Any) -> str:
    """A row for each item; what an item lists itself is JSON in its cell."""
    items: list[Mapping[str, Any]] = found["items"]
    names = list(dict.fromkeys(name for each in items for name in each))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_cell(each.get(name)) for name in names] for each in items)
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    is_amount = text[1:2].isdigit() and text[:1] == "-"
    return f"'{text}" if text.startswith(FORMULAS) and not is_amount else text


def described(routes: list[Any], version: str) -> JSONResponse:
    """OpenAPI's description of these routes."""
    about = get_openapi(
        title="Budget Warden",
        version=version,
        summary="What cloud projects spend, and what became of it.",
        description=(
            "Amounts are decimal texts beside their currency, times RFC 3339 in UTC, days whole days in UTC. A figure "
            "that is not complete says what it lacks (`missing`). Whoever signs in sees the projects of which they are "
            "a contact; viewers see all, operators may change what can be changed. Errors are RFC 9457."
        ),
        routes=routes,
    )
    schemas = about.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return JSONResponse(about)
