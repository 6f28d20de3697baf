"""Applies a fault to a request that is refused for it, and to a good page that goes out wrong."""

from collections.abc import Callable
from dataclasses import replace

from localdev.azure_sim.arm import not_permitted
from localdev.azure_sim.faults import Fault
from localdev.azure_sim.pages import Cells, Table
from localdev.azure_sim.wire import AzureError
from localdev.http import Answer, HangUp

AMOUNT, CURRENCY = 0, 4  # where these cells come from, see pages.Column.source


def refuse(fault: Fault, method: str, path: str) -> None:
    """Raises what a fault that spoils the whole request stands for; does nothing for the others."""
    if fault.kind == "silent":
        raise HangUp
    if fault.kind == "unauthorized":
        raise unauthorized("Authentication failed. The access token is of another tenant.")
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
    return AzureError(409, "Conflict", message, fault.headers)


REFUSALS: dict[str, Callable[[Fault], AzureError]] = {
    "throttled": throttled,
    "throttled_many": throttled,
    "unavailable": _unavailable,
    "server_error": _server_error,
    "gateway_timeout": _gateway_timeout,
    "arm_throttled": _arm_throttled,
    "conflict": _conflict,
}


def spoil_table(fault: Fault, table: Table) -> Table:
    """The page's columns and rows, wrong in the way of the fault; unchanged if it is of another kind."""
    spoiler = TABLE_SPOILERS.get(fault.kind)
    return spoiler(table) if spoiler else table


def spoil_answer(fault: Fault, answer: Answer) -> Answer:
    """The finished answer, wrong in the way of the fault; unchanged if it is of another kind."""
    if fault.kind == "truncated":
        return replace(answer, cut_after=len(answer.body) // 2)
    if fault.kind == "invalid_json":
        return replace(answer, body=answer.body.replace(b":", b"=", 1))
    return answer


def _place(table: Table, source: int) -> int:
    return next(place for place, column in enumerate(table.columns) if column.source == source)


def _with_cell(row: Cells, place: int, cell: str) -> Cells:
    return (*row[:place], cell, *row[place + 1 :])


def _not_a_number(table: Table) -> Table:
    place = _place(table, AMOUNT)
    first = [_with_cell(row, place, "NaN") for row in table.rows[:1]]
    return Table(table.columns, first + table.rows[1:])


def _two_currencies(table: Table) -> Table:
    place = _place(table, CURRENCY)
    last = table.rows[-1:]
    other = '"EUR"' if last and last[0][place] != '"EUR"' else '"USD"'
    # A page of one row keeps it, so that there are two currencies in the end.
    kept = table.rows if len(table.rows) == 1 else table.rows[:-1]
    return Table(table.columns, kept + [_with_cell(row, place, other) for row in last])


TABLE_SPOILERS: dict[str, Callable[[Table], Table]] = {
    "not_a_number": _not_a_number,
    "two_currencies": _two_currencies,
}
