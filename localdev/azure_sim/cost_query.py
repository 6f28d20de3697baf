"""The route of the Cost Management Query API at subscription scope (API version 2025-03-01)."""

import binascii
import json
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import date
from itertools import count
from typing import Any
from urllib.parse import quote
from uuid import UUID

from localdev.azure_sim import spoil
from localdev.azure_sim.arm import own_url
from localdev.azure_sim.charges import ChargeBook
from localdev.azure_sim.faults import CLIENT_RETRY_AFTER, ENTITY_RETRY_AFTER, QPU_RETRY_AFTER, TENANT_RETRY_AFTER
from localdev.azure_sim.pages import Pages, Position, Table
from localdev.azure_sim.query import CostQuery, parse_query
from localdev.azure_sim.quota import PER_IDENTITY, PER_SCOPE, Guardrail, Quota
from localdev.azure_sim.record import Record
from localdev.azure_sim.wire import JSON_TYPE, AzureError, Request, Routes
from localdev.http import Answer

PATH = "/subscriptions/{subscription}/providers/Microsoft.CostManagement/query"
DEFAULT_PAGE, LARGEST_PAGE = 1000, 5000
QPU_CONSUMED = "x-ms-ratelimit-microsoft.costmanagement-qpu-consumed"
QPU_REMAINING = "x-ms-ratelimit-microsoft.costmanagement-qpu-remaining"

# In which header the guardrail's limits say how long to wait.
GUARDRAIL = {PER_SCOPE.name: ENTITY_RETRY_AFTER, PER_IDENTITY.name: CLIENT_RETRY_AFTER}


class CostQueryApi:
    """Answers cost queries out of a book for each metric, within a quota and behind a guardrail, if there is one; with
    `vary`, as irregularly as Azure does."""

    def __init__(
        self, books: Mapping[str, ChargeBook], quota: Quota, guardrail: Guardrail | None, record: Record, vary: bool
    ) -> None:
        self._quota, self._guardrail, self._record, self._vary = quota, guardrail, record, vary
        self._pages = {metric: Pages(book, vary) for metric, book in books.items()}
        self._numbers = count()
        self._refusals = count()

    def add_to(self, routes: Routes) -> None:
        """Adds what this API answers to the simulator's routes."""
        routes.add("POST", PATH, self.query)

    def query(self, request: Request) -> Answer:
        """One page of the query in the request's body."""
        subscription = request.parameters["subscription"].lower()
        size = _page_size(request)
        query = parse_query(request.body)
        token = request.query.get("$skiptoken")
        start = _position(token, subscription, query) if token else Position(query.first, 0)
        qpu = 0 if token else query.qpu
        self._count_call(request, subscription)
        self._use_quota(qpu)
        number = next(self._numbers)
        table, following = self._pages[query.metric].cut(subscription, query, start, size, number)
        self._record.page(subscription, len(table.rows), qpu)
        next_link = _next_link(request, _token(following, subscription, query)) if following else None
        answer = self._answer(request, table, next_link, number)
        answer.headers += [(QPU_CONSUMED, str(qpu)), (QPU_REMAINING, self._quota.remaining())]
        return answer

    def _count_call(self, request: Request, subscription: str) -> None:
        waits = self._guardrail.take(subscription, request.headers.get("Authorization", "")) if self._guardrail else {}
        if waits:
            raise spoil.too_many_requests({GUARDRAIL[name]: str(math.ceil(wait)) for name, wait in waits.items()})

    def _use_quota(self, qpu: int) -> None:
        wait = self._quota.take(qpu) if qpu else 0
        if wait > 0:
            headers = self._retry_headers(max(1, math.ceil(wait)))
            raise spoil.too_many_requests(headers | {QPU_REMAINING: self._quota.remaining()})

    def _retry_headers(self, seconds: int) -> dict[str, str]:
        """The wait, and now and then a shorter or a longer one for another of Azure's limits."""
        turn = next(self._refusals) % 3 if self._vary else 0
        headers = {QPU_RETRY_AFTER: str(seconds)}
        if turn == 1:
            headers = {ENTITY_RETRY_AFTER: "1"} | headers
        if turn == 2:
            headers |= {TENANT_RETRY_AFTER: str(seconds + 1)}
        return headers

    def _answer(self, request: Request, table: Table, next_link: str | None, number: int) -> Answer:
        if request.fault:
            table = spoil.spoil_table(request.fault, table)
        body = _body(request.parameters["subscription"], table, next_link, number)
        return Answer(200, body, [JSON_TYPE])


def _page_size(request: Request) -> int:
    text = request.query.get("$top", str(DEFAULT_PAGE))
    if text.isascii() and text.isdigit() and 1 <= int(text) <= LARGEST_PAGE:
        return int(text)
    raise AzureError(400, "BadRequest", f"Invalid $top: '{text}'; valid values: 1 to {LARGEST_PAGE}.")


def _token(position: Position, subscription: str, query: CostQuery) -> str:
    content = [position.day.toordinal(), position.index, subscription, query.digest]
    return b64encode(json.dumps(content).encode()).decode()


def _position(token: str, subscription: str, query: CostQuery) -> Position:
    """Where the token's page begins; AzureError if it was not made for this query."""
    try:
        day, index, *made_for = json.loads(b64decode(token, validate=True))
    except (ValueError, TypeError, binascii.Error):
        raise AzureError(400, "BadRequest", "Invalid query definition: Invalid $skiptoken.") from None
    if made_for != [subscription, query.digest]:
        raise AzureError(400, "BadRequest", "Invalid query definition: The $skiptoken was made for another query.")
    return Position(date.fromordinal(day), index)


def _next_link(request: Request, token: str) -> str:
    """The next page's full URL, on the host that the client asked."""
    kept = {name: request.query[name] for name in ("api-version", "$top") if name in request.query}
    pairs = [f"{name}={quote(value, safe='')}" for name, value in (kept | {"$skiptoken": token}).items()]
    return f"{own_url(request)}?{'&'.join(pairs)}"


def _body(subscription: str, table: Table, next_link: str | None, number: int) -> bytes:
    """The answer's JSON. Rows are joined from text, so that no amount passes through a float."""
    name = str(UUID(int=number + 1))
    head: dict[str, Any] = {
        "id": f"subscriptions/{subscription}/providers/Microsoft.CostManagement/query/{name}",
        "name": name,
        "type": "Microsoft.CostManagement/query",
        "location": None,
        "sku": None,
        "eTag": None,
    }
    columns = [{"name": column.name, "type": column.type} for column in table.columns]
    rows = ",\n".join([f"[{','.join(row)}]" for row in table.rows])
    properties = f'{{"nextLink":{json.dumps(next_link)},"columns":{json.dumps(columns)},"rows":[{rows}]}}'
    return f'{json.dumps(head)[:-1]},"properties":{properties}}}'.encode()
