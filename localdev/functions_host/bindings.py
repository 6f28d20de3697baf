"""Builds the values that triggers hand to functions, and takes apart what functions hand back.

The converters are those of azure-functions, fed as the worker feeds them. What becomes of an output after
that is the host's doing: FunctionBinding.ReadAsEnumerable in the source of azure-functions-host.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import azure.functions as func
from azure.functions import meta
from azure.storage.queue import QueueMessage

from localdev.functions_host.app import Output, converter

# The package's own annotations leave out what these calls return.
_datum: Any = meta.Datum


class OutValue(func.Out[Any]):
    """The object behind a parameter annotated func.Out: holds what the function sets."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        """Keeps a value; the last one counts."""
        self._value = val

    def get(self) -> Any:
        """Gives back what was set, None if nothing was."""
        return self._value


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
    return converter("queueTrigger").decode(_datum(str(message.content), "string"), trigger_metadata=metadata)


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


def encode(output: Output, value: Any) -> Any:
    """Encodes one output as the worker does, to a datum with `type` and `value`."""
    try:
        return converter(output.binding.type).encode(value, expected_type=None)
    except NotImplementedError as error:
        raise TypeError(f"the output {output.name} can't take a value of type {type(value).__name__}") from error


def queue_messages(datum: Any) -> list[bytes]:
    """Turns an encoded list of texts into the bodies of the messages that the host writes for it."""
    return [text.encode("utf-8") for text in json.loads(datum.value)]
