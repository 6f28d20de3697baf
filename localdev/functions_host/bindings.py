"""Builds the values that triggers hand to functions, and encodes what HTTP functions hand back.

The converters are those of azure-functions, fed as the worker feeds them.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azure.functions import meta
from azure.storage.queue import QueueMessage

from localdev.functions_host.app import converter

# The package's own annotations leave out what these calls return.
_datum: Any = meta.Datum
# What the host says of a queue message besides its text, by its name in lower case.
_NAMES = ("Id", "DequeueCount", "PopReceipt", "InsertionTime", "ExpirationTime", "NextVisibleTime")
PROPERTIES = {name.lower(): name for name in _NAMES}


def queue_value(message: QueueMessage) -> Any:
    """Builds what a queue function receives."""
    metadata = {
        "Id": _datum(message.id, "string"),
        "DequeueCount": _datum(message.dequeue_count, "int"),
        "PopReceipt": _datum(message.pop_receipt, "string"),
        "InsertionTime": _datum(_time(message.inserted_on), "string"),
        "ExpirationTime": _datum(_time(message.expires_on), "string"),
        "NextVisibleTime": _datum(_time(message.next_visible_on), "string"),
    }
    content = str(message.content)
    return converter("queueTrigger").decode(_datum(content, "string"), trigger_metadata=metadata | _members(content))


def _members(content: str) -> dict[str, Any]:
    """A message's own members, which take the place of the properties of the same names.

    As the host's Utility.ApplyBindingData does it: whatever their case, but for lists and nulls.
    """
    try:
        members = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(members, dict):
        return {}
    return {
        PROPERTIES[name.lower()]: _datum(json.dumps(value), "json")
        if isinstance(value, dict)
        else _datum(str(value), "string")
        for name, value in members.items()
        if name.lower() in PROPERTIES and value is not None and not isinstance(value, list)
    }


def _time(value: datetime | None) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S+00:00") if value else ""


def timer_value() -> Any:
    """Builds what a timer function receives."""
    return converter("timerTrigger").decode(_datum(json.dumps({"IsPastDue": False}), "json"), trigger_metadata={})


def http_value(
    method: str, url: str, headers: Mapping[str, str], query: Mapping[str, str], route: Mapping[str, str], body: bytes
) -> Any:
    """Builds what an HTTP function receives."""
    value = {
        "method": _datum(method, "string"),
        "url": _datum(url, "string"),
        "headers": {name.lower(): _datum(text, "string") for name, text in headers.items()},
        "query": {name: _datum(text, "string") for name, text in query.items()},
        "params": {name: _datum(text, "string") for name, text in route.items()},
        "body": _datum(body, "bytes"),
    }
    return converter("httpTrigger").decode(_datum(value, "http"), trigger_metadata={})


def http_answer(value: Any) -> Any:
    """Encodes what an HTTP function returned as the worker does, to a datum with `type` and `value`."""
    try:
        return converter("http").encode(value, expected_type=None)
    except NotImplementedError as error:
        raise TypeError(f"a value of type {type(value).__name__} is no answer over HTTP") from error
