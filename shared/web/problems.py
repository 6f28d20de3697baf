"""What went wrong, as RFC 9457 has it: application/problem+json."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from shared.ports.errors import LaterError, NeverError
from shared.services.errors import RequestError, UnknownError

SORRY = "Something went wrong here. It was noted, and operators see it; nothing was changed by half."
SORRY_PAGE = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Budget Warden</title></head><body><main>'
    f'<h1>This did not work</h1><p>{SORRY}</p><p lang="fr">Cela n’a pas fonctionné. L’erreur est notée, et les '
    "opérateurs la voient ; rien n’a été modifié à moitié.</p>"
    '<p><a href="/finops">Budget Warden</a></p></main></body></html>'
)
AGAIN_IN = 30


class ProblemError(Exception):
    """A call that can't be answered. detail: a sentence for a person."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that says it."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


def sorry(path: str) -> Response:
    """The answer to what nobody foresaw: to a person a page, of which nothing else can fail."""
    if path.partition("?")[0].startswith("/finops") and not path.startswith("/finops/api/"):
        return HTMLResponse(SORRY_PAGE, 500)
    return answer(500, SORRY)


async def of_problem(_request: Request, error: Exception) -> JSONResponse:
    """Of a ProblemError."""
    if not isinstance(error, ProblemError):
        raise TypeError(error)
    return answer(error.status, error.detail, error.headers)


async def of_service(_request: Request, error: Exception) -> JSONResponse:
    """Of what services and ports raise."""
    if isinstance(error, LaterError):
        return answer(503, _sentence(str(error)), {"Retry-After": str(AGAIN_IN)})
    status = 502 if isinstance(error, NeverError) else 404 if isinstance(error, UnknownError) else 422
    return answer(status, _sentence(str(error)))


async def of_route(_request: Request, error: Exception) -> JSONResponse:
    """Of what FastAPI refuses: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise TypeError(error)
    said = {
        400: "The body is no JSON in UTF-8.",
        404: "There is nothing under this address.",
        405: "This address does not take this method.",
    }
    return answer(error.status_code, said.get(error.status_code, str(error.detail)), error.headers)


async def of_input(_request: Request, error: Exception) -> JSONResponse:
    """Of a parameter or a body that can't be right. What was sent is not repeated."""
    if not isinstance(error, RequestValidationError):
        raise TypeError(error)
    faults = (f"{'.'.join(map(str, each['loc'][1:])) or each['loc'][0]}: {each['msg']}" for each in error.errors())
    return answer(422, _sentence("; ".join(faults)))


async def of_nobody_foresaw(request: Request, _error: Exception) -> Response:
    """Of all else; it is raised again, and noted by who answers."""
    return sorry(request.url.path)


Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]
HANDLERS: dict[int | type[Exception], Handler] = {
    Exception: of_nobody_foresaw,
    ProblemError: of_problem,
    RequestError: of_service,
    LaterError: of_service,
    NeverError: of_service,
    HTTPException: of_route,
    RequestValidationError: of_input,
}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")
