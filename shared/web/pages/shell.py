"""What all pages share: language, frame, refusals in words, and the files beside them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Coroutine, Mapping
from datetime import date, datetime
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.routing import Match
from starlette.types import Scope
from typing_extensions import override

from shared.adapters.mail import formats
from shared.ports.errors import LaterError, NeverError
from shared.services.errors import RequestError
from shared.web import problems
from shared.web.guard import ANYBODY, Guarded, open_to, warden_of
from shared.web.problems import ProblemError
from shared.web.signin import NOBODY, Role

if TYPE_CHECKING:
    from decimal import Decimal

HERE = Path(__file__).resolve().parents[1]
STATIC, TEMPLATES = HERE / "static", HERE.parent / "templates" / "pages"
LANGUAGES = ("en", "fr")
FORM_COOKIE = "form"
DONE = ("budget", "lock", "unlock", "sync", "replay", "discard")
COOKIE, A_YEAR = "lang", 365 * 24 * 3600
KINDS = {".css": "text/css", ".svg": "image/svg+xml"}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "cache-control": "private, no-store",
    "vary": "Accept-Language, Cookie",
}
FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}
# Which page is for whom, in the order of the menu.
MENU = (
    ("projects", "/finops", Role.SIGNED_IN),
    ("accounts", "/finops/accounts", Role.VIEWER),
    ("imports", "/finops/imports", Role.VIEWER),
    ("unallocated", "/finops/unallocated", Role.VIEWER),
    ("runs", "/finops/runs", Role.VIEWER),
    ("letters", "/finops/dead-letters", Role.OPERATOR),
    ("changes", "/finops/changes", Role.OPERATOR),
    ("settings", "/finops/settings", Role.OPERATOR),
)
REFUSED = (ProblemError, RequestError, LaterError, NeverError, RequestValidationError)
SIGN_IN, SIGN_OUT = "/.auth/login/aad", "/.auth/logout"

router = APIRouter()


class PageRoute(Guarded):
    """A route that says in a page why it can't answer."""

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """No page lies where programs call."""
        return (Match.NONE, {}) if scope["path"].startswith("/finops/api/") else super().matches(scope)

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                if not warden_of(request).settings.has_pages:
                    raise ProblemError(404, "The pages are off: the setting WEB_URL says at which address they are.")
                return await handle(request)
            except REFUSED as error:
                kind = next(each for each in problems.HANDLERS if each in REFUSED and isinstance(error, each))
                refusal = await problems.HANDLERS[kind](request, error)
                said = json.loads(bytes(refusal.body))
                headers = {name: text for name, text in refusal.headers.items() if name == "retry-after"}
                return page(request, "refused", status=said["status"], headers=headers, said=said)

        return answered


router.route_class = PageRoute


# --- a page ------------------------------------------------------------------------------------------------------


def page(
    request: Request, name: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """A page by its template's name, in the language of whoever asks."""
    language, warden = language_of(request), warden_of(request)
    token = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
    done = request.query_params.get("done", "")
    texts, principal = texts_in(language), getattr(request.state, "principal", NOBODY)
    known = {
        "name": name,
        "language": language,
        "t": texts,
        "principal": principal,
        "is_operator": principal.role >= Role.OPERATOR,
        "token": token,
        "done": texts[f"done_{done}"] if done in DONE else "",
        "menu": [(texts[f"menu_{key}"], path, key) for key, path, least in MENU if principal.role >= least],
        "others": [(each, _in_language(request, each)) for each in LANGUAGES if each != language],
        "mark": warden.settings.mark,
        "now": warden.clock(),
        "style": static_path("warden.css"),
        "icon": static_path("icon.svg"),
        "sign_in": f"{SIGN_IN}?post_login_redirect_uri={quote(request.url.path)}",
        "sign_out": SIGN_OUT,
        "signs_in": warden.settings.signs_in or warden.settings.signs_in_here,
    }
    text = environment(language).get_template(f"{name}.html").render(known | values)
    answer = HTMLResponse(text, status, HEADERS | dict(headers or {}))
    if request.query_params.get(COOKIE) in LANGUAGES:
        answer.set_cookie(COOKIE, language, A_YEAR, path="/finops", secure=True, httponly=True, samesite="lax")
    if principal.role >= Role.OPERATOR:
        answer.set_cookie(FORM_COOKIE, token, path="/finops", secure=True, httponly=True, samesite="strict")
    return answer


def language_of(request: Request) -> str:
    """What was chosen by the switch, now or before, else what the browser prefers."""
    chosen = request.query_params.get(COOKIE) or request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    wishes = (each.split(";")[0].strip().lower()[:2] for each in request.headers.get("accept-language", "").split(","))
    return next((each for each in wishes if each in LANGUAGES), "en")


def _in_language(request: Request, language: str) -> str:
    others = [(name, text) for name, text in parse_qsl(request.url.query) if name != COOKIE]
    return f"?{urlencode([*others, (COOKIE, language)])}"


@cache
def texts_in(language: str) -> Mapping[str, str]:
    """All that pages say, by key."""
    texts: Mapping[str, str] = json.loads((TEMPLATES / f"{language}.json").read_text(encoding="utf-8"))
    return texts


@cache
def environment(language: str) -> Environment:
    """The templates, each compiled once in a process."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "money": partial(_money, language=language),
        "number": partial(_number, language=language),
        "percent": partial(formats.percent, language=language),
        "day": partial(formats.day, language=language),
        "moment": _moment,
        "ago": partial(ago, language=language),
    }
    return made


def _money(amount: Decimal, currency: str | None, language: str) -> str:
    return formats.money(amount, currency or "", language).strip()


def _number(value: int, language: str) -> str:
    return f"{value:,}".replace(",", formats.NO_BREAK_SPACE) if language == "fr" else f"{value:,}"


def _moment(at: datetime | None) -> str:
    """A moment, in UTC: `2026-11-20 02:10`."""
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def ago(at: datetime, now: datetime, language: str) -> str:
    """How long ago that was: `2 hours ago`, `il y a 2 heures`."""
    seconds = max(0, int((now - at).total_seconds()))
    units = (("day", 86_400), ("hour", 3600), ("minute", 60))
    unit, length = next((each for each in units if seconds >= each[1]), ("minute", 60))
    count, texts = seconds // length, texts_in(language)
    if unit == "minute" and count == 0:
        return texts["just_now"]
    return texts[f"ago_{unit}" if count == 1 else f"ago_{unit}s"].format(count)


def iso(value: date | None) -> str:
    """A day for a table."""
    return value.isoformat() if value else ""


# --- files -------------------------------------------------------------------------------------------------------


@cache
def _file(name: str) -> tuple[bytes, str]:
    """A file beside the pages, and the first letters of its hash."""
    content = (STATIC / name).read_bytes()
    return content, sha256(content).hexdigest()[:12]


def static_path(name: str) -> str:
    """Where a file is found; another address for each content."""
    stem, _, kind = name.rpartition(".")
    return f"/finops/static/{stem}.{_file(name)[1]}.{kind}"


@router.get("/finops/static/{name}", include_in_schema=False)
@open_to(ANYBODY)
def static(request: Request, name: str) -> Response:
    """A file beside the pages, which never changes under its address."""
    for each in STATIC.iterdir():
        if each.suffix in KINDS and static_path(each.name) == request.url.path:
            return Response(_file(each.name)[0], media_type=KINDS[each.suffix], headers=FOR_EVER)
    raise ProblemError(404, f"There is no file {name}.")
