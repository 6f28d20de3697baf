"""The ASGI app: its routes, and what holds for every answer."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func
from fastapi import FastAPI
from starlette.routing import BaseRoute

from shared.domain.texts import readable
from shared.pipeline.events import event
from shared.web import problems, sync
from shared.web.api import changes, description, operations, projects
from shared.web.guard import Guarded, who_may
from shared.web.pages import forms, shell
from shared.web.pages import operations as operation_pages
from shared.web.pages import projects as project_pages
from shared.web.signin import SignIn

if TYPE_CHECKING:
    from shared.composition import Composition

ROUTERS = (
    sync.router,
    projects.router,
    operations.router,
    changes.router,
    description.router,
    shell.router,
    forms.router,
    project_pages.router,
    operation_pages.router,
)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Nothing of an answer runs, is framed, is kept, or tells another site where it was followed from.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"strict-transport-security", b"max-age=31536000"),
)


Handler = Callable[[func.HttpRequest, func.Context], Awaitable[func.HttpResponse]]


def made(warden: Composition) -> Handler:
    """What answers the calls of the function `Web`."""
    middleware: Any = func.AsgiMiddleware
    handler: Handler = middleware(Answering(routes(warden))).handle_async
    return handler


def routes(warden: Composition) -> FastAPI:
    """The routes. Raises TypeError for one that does not say who may call it."""
    # Its own description and pages would be open to all; and a path with a slash too many is no other place.
    app = FastAPI(openapi_url=None, redirect_slashes=False, exception_handlers=problems.HANDLERS)
    settings = warden.settings
    app.state.warden = warden
    app.state.sign_in = SignIn(settings.signs_in, settings.operator_role, settings.viewer_role, settings.signs_in_here)
    app.state.kept_status = sync.Kept()
    app.state.seen_operators = set[tuple[str, date]]()
    for route in every_route():
        if not isinstance(route, Guarded) or who_may(route.endpoint) is None:
            raise TypeError(f"{route} does not say who may call it")
    for router in ROUTERS:
        app.include_router(router)
    return app


def every_route() -> Iterator[BaseRoute]:
    """All there are."""
    for router in ROUTERS:
        yield from router.routes


class Answering:
    """Puts what holds for every answer around an app: paths with and without the last slash, HEAD, headers, errors."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request. An error that nobody foresaw is noted and answered: raised, it would be an empty 500."""
        begun = False
        is_head = scope["method"] == "HEAD"

        async def sent(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                its = {name for name, _ in message.get("headers", ())}
                message["headers"] = [*message.get("headers", ()), *(each for each in HEADERS if each[0] not in its)]
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        path = scope["path"].rstrip("/") or "/"
        asked = {**scope, "path": path, "raw_path": path.encode(), "method": "GET" if is_head else scope["method"]}
        try:
            await self._app(asked, receive, sent)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever called gets an answer
            # What it says may be of the database's rows.
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(at.filename).name}:{at.lineno}"
            event("page_failed", level=logging.ERROR, path=readable(path), reason=type(error).__name__, at=where)
            if not begun:
                await problems.sorry(path)(asked, receive, sent)
