"""Calls functions as the Python worker does."""

import asyncio
import logging
import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from localdev.functions_host.app import CONTEXT, AppFunction
from localdev.functions_host.bindings import http_answer
from localdev.functions_host.errors import HostError

log = logging.getLogger("host")


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended, and the encoded HTTP answer of a function that has one."""

    ok: bool
    answer: Any = None


class TraceContext:
    """A trace for each call, as the host begins one."""

    def __init__(self) -> None:
        self.trace_parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        self.trace_state = ""
        self.attributes: dict[str, str] = {}


@dataclass(frozen=True)
class Context:
    """What a function is told of its own call."""

    invocation_id: str
    function_name: str
    trace_context: TraceContext = field(default_factory=TraceContext)


class Runner:
    """Runs invocations: plain functions in a pool of threads, async ones in an event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(worker_threads(), thread_name_prefix="function")
        self._loop = asyncio.new_event_loop()
        self._loop_thread = threading.Thread(target=self._loop.run_forever, name="event-loop", daemon=True)

    def start(self) -> None:
        """Starts the event loop."""
        self._loop_thread.start()

    def run(self, function: AppFunction, trigger_value: Callable[[], Any]) -> Outcome:
        """Runs one invocation to its end: builds the trigger's value, calls, encodes the answer."""
        invocation_id = str(uuid.uuid4())
        begun = time.perf_counter()
        try:
            answer = self._run(function, trigger_value, invocation_id)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what a function raises is its failure only
            self._log_failure(function, invocation_id, begun, error)
            return Outcome(ok=False)
        log.info("%s %s ok %.0f ms", function.name, invocation_id, (time.perf_counter() - begun) * 1000)
        return Outcome(ok=True, answer=answer)

    def _log_failure(self, function: AppFunction, invocation_id: str, begun: float, error: BaseException) -> None:
        detail = log.isEnabledFor(logging.DEBUG)
        milliseconds = (time.perf_counter() - begun) * 1000
        text = f"{type(error).__name__}: {error}"
        log.error(
            "%s %s failed %.0f ms: %s",
            function.name,
            invocation_id,
            milliseconds,
            text,
            exc_info=error if detail else None,
        )

    def _run(self, function: AppFunction, trigger_value: Callable[[], Any], invocation_id: str) -> Any:
        arguments = {function.trigger.name: trigger_value()}
        if function.takes_context:
            arguments[CONTEXT] = Context(invocation_id, function.name)
        returned = self._call(function, arguments)
        if returned is None:
            return None
        if not function.returns:
            raise RuntimeError(f"function {function.name} without a $return binding returned a non-None value")
        return http_answer(returned)

    def _call(self, function: AppFunction, arguments: Mapping[str, Any]) -> Any:
        if function.is_async:
            return asyncio.run_coroutine_threadsafe(_awaited(function.call(**arguments)), self._loop).result()
        return self._pool.submit(lambda: function.call(**arguments)).result()


async def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


def worker_threads() -> int:
    """Tells how many plain functions run at once: the worker's setting, or its default."""
    text = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
    if not text:
        return min(32, (os.cpu_count() or 1) + 4)
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise HostError(f"PYTHON_THREADPOOL_THREAD_COUNT is {text!r}; it takes a whole number from 1 to 1000.")
    return int(text)
