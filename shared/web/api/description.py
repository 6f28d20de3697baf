"""The API's own description."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import __version__
from shared.web.api import changes, operations, projects
from shared.web.api.answers import ApiRoute, described
from shared.web.guard import open_to
from shared.web.signin import Role

router = APIRouter(prefix="/api/v1", route_class=ApiRoute)
DESCRIBED = (projects.router, operations.router, changes.router)


@router.get("/openapi.json", include_in_schema=False)
@open_to(Role.SIGNED_IN)
def openapi(_request: Request) -> JSONResponse:
    """OpenAPI 3.1."""
    return described([route for each in DESCRIBED for route in each.routes], __version__)
