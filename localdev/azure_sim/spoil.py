"""Applies a fault to a request that is refused for it, and to a good page that goes out wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from localdev.azure_sim.arm import not_permitted
from localdev.azure_sim.faults import Fault
from localdev.azure_sim.pages import Cells, Table
from localdev.azure_sim.wire import Answer, AzureError, HangUp, json_answer

AMOUNT, CURRENCY = 0, 4  # where these cells come from, see pages.Column.source


def refuse(fault: Fault, method: str, path: str) -> None:
    """Raises what a fault that spoils the whole request stands for; does nothing for the others."""
    if fault.kind == "silent":
        raise HangUp
    if fault.kind == "unauthorized":
        raise unauthorized("Authentication failed. The access token has expired.")
    if fault.kind == "forbidden":
        raise not_permitted(method, path)
    refusal = REFUSALS.get(fault.kind)
    if refusal:
        raise refusal(fault)


def throttled(fault: Fault) -> AzureError:
    """A 429 as Cost Management words it."""
    return too_many_requests(fault.throttle_headers())


def too_many_requests(headers: dict[str, str]) -> AzureError:
    """A 429 with these headers."""
    return AzureError(429, "429", "Too many requests. Please retry.", headers)


def unauthorized(message: str) -> AzureError:
    """A 401 with the challenge that Azure Resource Manager sends along."""
    challenge = 'Bearer authorization_uri="https://login.windows.net/common", error="invalid_token"'
    return AzureError(401, "AuthenticationFailed", message, {"WWW-Authenticate": challenge})


def _unavailable(fault: Fault) -> AzureError:
    headers = dict(fault.headers)
    if fault.seconds is not None:
        headers["Retry-After"] = str(fault.seconds)
    return AzureError(503, "ServiceUnavailable", "The service is temporarily unavailable.", headers)


def _server_error(fault: Fault) -> AzureError:
    message = "An internal server error occurred. Please retry."
    return AzureError(500, "InternalServerError", message, fault.headers)


def _gateway_timeout(fault: Fault) -> AzureError:
    message = "The gateway did not receive a response from the resource provider within the specified time period."
    return AzureError(504, "GatewayTimeout", message, fault.headers)


def _arm_throttled(fault: Fault) -> AzureError:
    seconds = 10 if fault.seconds is None else fault.seconds
    return AzureError(
        429,
        "SubscriptionRequestsThrottled",
        f"Number of requests for the subscription exceeded. Please try again after '{seconds}' seconds.",
        fault.headers or {"Retry-After": str(seconds)},
    )


def _conflict(fault: Fault) -> AzureError:
    message = "The request conflicts with another operation that is in progress on the resource."
    return AzureError(409, fault.code or "Conflict", message, fault.headers)


def _bad_request(fault: Fault) -> AzureError:
    return AzureError(400, fault.code or "BadRequest", "The request is not valid.", fault.headers)


def _not_found(fault: Fault) -> AzureError:
    return AzureError(404, fault.code or "ResourceNotFound", "The resource was not found.", fault.headers)


REFUSALS: dict[str, Callable[[Fault], AzureError]] = {
    "throttled": throttled,
    "throttled_many": throttled,
    "unavailable": _unavailable,
    "server_error": _server_error,
    "gateway_timeout": _gateway_timeout,
    "arm_throttled": _arm_throttled,
    "bad_request": _bad_request,
    "conflict": _conflict,
    "not_found": _not_found,
}


def spoil_table(fault: Fault, table: Table) -> Table:
    """The page's columns and rows, wrong in the way of the fault; unchanged if it is of another kind."""
    spoiler = TABLE_SPOILERS.get(fault.kind)
    return spoiler(fault, table) if spoiler else table


def spoil_next_link(fault: Fault, next_link: str | None, own_link: str) -> str | None:
    """The nextLink that the fault puts in the page; `own_link` is the URL of the page itself."""
    links = {
        "foreign_next_link": "https://management.example.com/subscriptions/0/providers/"
        "Microsoft.CostManagement/query?api-version=2025-03-01&$skiptoken=AQAAAA%3D%3D",
        "circular_next_link": own_link,
        "empty": None,
    }
    return links.get(fault.kind, next_link)


def spoil_answer(fault: Fault, answer: Answer) -> Answer:
    """The finished answer, wrong in the way of the fault; unchanged if it is of another kind.

    HangUp for an answer that gets lost: what was asked is done by then.
    """
    if fault.kind == "answer_lost":
        raise HangUp
    if fault.kind == "truncated":
        return replace(answer, cut_after=len(answer.body) // 2)
    if fault.kind == "invalid_json":
        return replace(answer, body=answer.body.replace(b":", b"=", 1))
    if fault.kind == "no_content":
        return Answer(204)
    return answer


def spoil_resource(fault: Fault, answer: Answer, own_link: str) -> Answer:
    """The good answer of a resource's API, wrong in the way of the fault; `own_link` is the URL of the request."""
    if fault.kind in ("empty", "foreign_next_link", "circular_next_link") and answer.body:
        content = json.loads(answer.body, parse_float=Decimal)
        if "value" in content:
            content["value"] = [] if fault.kind == "empty" else content["value"]
            content["nextLink"] = spoil_next_link(fault, content.get("nextLink"), own_link)
        return replace(answer, body=json_answer(content).body)
    return spoil_answer(fault, answer)


def _place(table: Table, source: int) -> int:
    return next(place for place, column in enumerate(table.columns) if column.source == source)


def _named(table: Table, beginning: str) -> int:
    """The place of the column whose name begins like that; a fault that can't be had answers 500."""
    for place, column in enumerate(table.columns):
        if column.name.lower().startswith(beginning.lower()):
            return place
    raise AzureError(500, "SimulatorFault", f"No column's name begins with '{beginning}'.")


def _with_cell(row: Cells, place: int, cell: str) -> Cells:
    return (*row[:place], cell, *row[place + 1 :])


def _empty(_fault: Fault, table: Table) -> Table:
    return Table(table.columns, [])


def _missing_column(fault: Fault, table: Table) -> Table:
    place = _place(table, AMOUNT) if fault.column is None else _named(table, fault.column)
    columns = table.columns[:place] + table.columns[place + 1 :]
    return Table(columns, [row[:place] + row[place + 1 :] for row in table.rows])


def _short_row(_fault: Fault, table: Table) -> Table:
    return Table(table.columns, [row[:-1] for row in table.rows[:1]] + table.rows[1:])


def _not_a_number(fault: Fault, table: Table) -> Table:
    place = _place(table, AMOUNT)
    first = [_with_cell(row, place, fault.cell) for row in table.rows[:1]]
    return Table(table.columns, first + table.rows[1:])


def _two_currencies(_fault: Fault, table: Table) -> Table:
    place = _place(table, CURRENCY)
    last = table.rows[-1:]
    other = '"EUR"' if last and last[0][place] != '"EUR"' else '"USD"'
    # A page of one row keeps it, so that there are two currencies in the end.
    kept = table.rows if len(table.rows) == 1 else table.rows[:-1]
    return Table(table.columns, kept + [_with_cell(row, place, other) for row in last])


TABLE_SPOILERS: dict[str, Callable[[Fault, Table], Table]] = {
    "empty": _empty,
    "missing_column": _missing_column,
    "short_row": _short_row,
    "not_a_number": _not_a_number,
    "two_currencies": _two_currencies,
}
