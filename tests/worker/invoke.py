"""Plays the Functions host for the genuine Python worker; runs in the Python 3.13 environment, one app a process.

    python tests/worker/invoke.py APP_FOLDER

It writes one JSON object a line: first how loading went with the functions that were indexed, then one answer for
each request that it reads from its standard input, such as
`{"function": "ProjectUsageUpdater", "string": "{…}", "metadata": {"Id": "…"}}` (or `json`, or `bytes` in hex, or
`http` with the method, url, headers and body in hex of a request).
What the app or the worker print goes to the standard error.
"""

import asyncio
import json
import os
import sys
import uuid
from typing import Any, TextIO

from azure_functions_runtime import (
    functions_metadata_request,
    invocation_request,
    start_threadpool_executor,
    stop_threadpool_executor,
    worker_init_request,
)
from stand_ins import (
    InvocationRequest,
    ParameterBinding,
    RpcFunctionMetadata,
    RpcHttp,
    StatusResult,
    StreamingMessage,
    TypedData,
    WorkerInitRequest,
    request,
)


async def serve(folder: str, requests: TextIO, answers: TextIO) -> None:
    """Loads the app, then answers requests until there are no more."""
    # The worker finds the app, and the app its own packages, in the folder that it was told.
    sys.path.insert(0, folder)
    os.chdir(folder)
    loaded = await worker_init_request(request(StreamingMessage(worker_init_request=WorkerInitRequest(folder))))
    indexed = await functions_metadata_request(request(StreamingMessage(functions_metadata_request=object())))
    functions = {function.name: function for function in indexed.function_metadata_results or ()}
    described = {name: _described(function) for name, function in functions.items()}
    _write(answers, {**_outcome(loaded.result), "functions": described})
    start_threadpool_executor()
    for line in requests:
        wanted = json.loads(line)
        _write(answers, await _invoke(functions[wanted["function"]], wanted))
    stop_threadpool_executor()


async def _invoke(function: RpcFunctionMetadata, wanted: dict[str, Any]) -> dict[str, Any]:
    trigger = next(name for name, binding in function.bindings.items() if binding.type.endswith("Trigger"))
    metadata = {name: _metadatum(value) for name, value in wanted.get("metadata", {}).items()}
    invocation = InvocationRequest(
        str(uuid.uuid4()), function.function_id, [ParameterBinding(trigger, _data(wanted))], metadata
    )
    answer = await invocation_request(request(StreamingMessage(invocation_request=invocation)))
    outputs = {output.name: output.data.json for output in answer.output_data}
    return {**_outcome(answer.result), "outputs": outputs, "http": _answered(answer.return_value)}


def _answered(value: TypedData | None) -> dict[str, Any] | None:
    """What an HTTP function answers to its caller; None for other functions."""
    if value is None or value.http is None:
        return None
    answer = value.http
    return {"status": answer.status_code, "headers": dict(answer.headers), "body": (answer.body.bytes or b"").hex()}


def _data(wanted: dict[str, Any]) -> TypedData:
    if "http" in wanted:
        sent = dict(wanted["http"])
        body = bytes.fromhex(sent.pop("body"))
        return TypedData(http=RpcHttp(**sent, body=TypedData(bytes=body) if body else TypedData()))
    if "bytes" in wanted:
        return TypedData(bytes=bytes.fromhex(wanted["bytes"]))
    return TypedData(string=wanted.get("string"), json=wanted.get("json"))


def _metadatum(value: Any) -> TypedData:
    """The host sends text as it is, and numbers and times as JSON."""
    return TypedData(string=value) if isinstance(value, str) else TypedData(json=json.dumps(value))


def _described(function: RpcFunctionMetadata) -> dict[str, Any]:
    retry = function.retry_options
    return {
        "bindings": [json.loads(binding) for binding in function.raw_bindings],
        "retries": retry.max_retry_count if retry else None,
    }


def _outcome(result: StatusResult) -> dict[str, Any]:
    return {
        "succeeded": result.status == StatusResult.Success,
        "error": result.exception.message if result.exception else None,
    }


def _write(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers_file:
        os.dup2(2, 1)
        asyncio.run(serve(sys.argv[1], sys.stdin, answers_file))
