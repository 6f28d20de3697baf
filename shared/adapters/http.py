"""HTTP by the standard library, as the adapters use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urllib.request import OpenerDirector


def opener(is_local: bool = False) -> OpenerDirector:
    """Follows no redirect: another host would be shown the request's secrets. A time-out is for a whole answer.

    A proxy from the environment is used, but not to reach this machine itself (is_local).
    """
    from urllib import request

    from shared.adapters.bounded import BoundedHttp, BoundedHttps

    made = request.OpenerDirector()
    made.add_handler(request.ProxyHandler({} if is_local else None))
    for handler in (BoundedHttp, BoundedHttps, request.HTTPDefaultErrorHandler):
        made.add_handler(handler())
    made.add_handler(request.HTTPErrorProcessor())
    return made
