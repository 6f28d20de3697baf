"""Requests, answers and routes as Azure Resource Manager has them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from localdev import http
from localdev.azure_sim.faults import Fault
from localdev.http import Answer


@dataclass
class Request(http.Request):
    """One HTTP request; names in `query` and `parameters` are in lower case."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None

    @property
    def path(self) -> str:
        """The path without the query, percent-decoded; ARM takes `//`, which scopes with a slash lead to, for `/`."""
        return unquote(re.sub("/{2,}", "/", self.target.split("?", 1)[0]))

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; a name that comes twice keeps its last value."""
        pairs = parse_qsl(urlsplit(self.target).query, keep_blank_values=True)
        return {name.lower(): value for name, value in pairs}

    @property
    def origin(self) -> str:
        """The scheme and host that the client asked."""
        return f"http://{self.headers.get('Host', '127.0.0.1')}"


class AzureError(Exception):
    """A refusal in Azure's envelope: `{"error": {"code": …, "message": …}}`."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})

    def answer(self) -> Answer:
        """The error as an HTTP answer."""
        answer = json_answer({"error": {"code": self.code, "message": str(self)}}, self.status)
        answer.headers += self.headers.items()
        return answer


JSON_TYPE = ("Content-Type", "application/json; charset=utf-8")


def json_answer(value: Any, status: int = 200) -> Answer:
    """The value as a JSON answer; a Decimal is a number with all its digits, what JSON doesn't know (a date) text."""
    text = json.dumps(value, default=_marked)
    return Answer(status, MARKED_NUMBER.sub(r"\1", text).encode(), [JSON_TYPE])


MARKED_NUMBER = re.compile(r'"\\u0000(-?\d+(?:\.\d+)?)"')


def _marked(value: Any) -> str:
    """Text in place of the value; of a Decimal such that the quotes around it can be taken off again."""
    return f"\0{value:f}" if isinstance(value, Decimal) and value.is_finite() else str(value)


Handler = Callable[[Request], Answer]


class Routes:
    """Which handler answers which method and path; paths are compared without regard to case, as ARM does."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, template: str, handler: Handler) -> None:
        """Adds a route; `{name}` in the template stands for one segment, found in `request.parameters`."""
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
        self._routes.append((method, re.compile(f"{pattern}/?", re.IGNORECASE), handler))

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """The handler and the path's parameters. AzureError: 404 for the path, 405 for the method."""
        known_path = False
        for route_method, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match and route_method == method:
                return handler, match.groupdict()
            known_path = known_path or match is not None
        if known_path:
            raise AzureError(
                405, "MethodNotAllowed", f"The requested resource does not support http method '{method}'."
            )
        raise AzureError(404, "InvalidResourceType", f"The resource type could not be found for the path '{path}'.")
