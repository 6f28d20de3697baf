"""Runs a Functions app on this machine: `python -m localdev.host --app DIR`.

Queues are polled where the app's settings say (Azurite, usually), timers fire in UTC, HTTP functions are
served on a loopback port. Exit codes: 0 stopped or drained, 1 failed, 2 wrong usage.
"""

import argparse
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

try:
    from localdev.functions_host.errors import HostError
    from localdev.functions_host.host import LEASE_SECONDS, Host, Options
    from localdev.processes import stop_on_signals
except ModuleNotFoundError as missing:
    sys.exit(f"error: {missing.name} is not installed in {sys.prefix}: `pip install -r requirements.txt` installs it")

log = logging.getLogger("host")
FINISH_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Runs the host until it is told to stop, or until the queues are drained; gives the exit code."""
    wanted = _parser().parse_args(arguments)
    _set_up_log(wanted)
    stopping = stop_on_signals()
    options = _options(wanted)
    host = Host(options)
    try:
        host.load()
        code = _drain(host, wanted, stopping) if wanted.once or wanted.drain else _serve(host, stopping)
    except HostError as error:
        log.debug("", exc_info=error)
        print(f"error: {error}{_hint(options)}", file=sys.stderr, flush=True)
        code = _stop(host, 1)
    return code


def _serve(host: Host, stopping: threading.Event) -> int:
    host.start_queues()
    host.start_http()
    host.start_timers()
    _say_ready(host)
    stopping.wait()
    return _stop(host)


def _drain(host: Host, wanted: argparse.Namespace, stopping: threading.Event) -> int:
    for name in wanted.once:
        host.timer(name)
    host.start_queues()
    _say_ready(host)
    # A signal in the middle must not wait for the drain: what is running finishes, the rest stays queued.
    threading.Thread(target=lambda: _leave_on(stopping, host), daemon=True).start()
    for name in wanted.once:
        host.fire(name)
    failures = host.drain(wanted.drain_timeout)
    _stop(host)
    if failures:
        print(f"error: {len(failures)} failed for good: {', '.join(failures[:5])}", file=sys.stderr, flush=True)
    return 1 if failures else 0


def _leave_on(stopping: threading.Event, host: Host) -> None:
    stopping.wait()
    _exit_now(_stop(host))


def _stop(host: Host, code: int = 0) -> int:
    """Lets running functions finish; what takes longer is cut off, and its message comes back by itself."""
    if not host.stop(FINISH_SECONDS):
        log.warning("functions still run after %.0f s: their messages come back when their leases end", FINISH_SECONDS)
        _exit_now(code)
    return code


def _exit_now(code: int) -> None:
    # Threads that run functions can't be ended from outside, and a plain exit would wait for them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say_ready(host: Host) -> None:
    print(f"Ready: {host.describe()}", flush=True)


def _options(wanted: argparse.Namespace) -> Options:
    app = wanted.app.resolve()
    return Options(
        app=app,
        settings=(wanted.settings or app / "local.settings.json").resolve(),
        lease=wanted.lease,
        port=wanted.port,
        function_key=wanted.function_key,
        people=json.loads(wanted.people.read_text("utf-8")) if wanted.people else {},
    )


def _hint(options: Options) -> str:
    example = options.app / "local.settings.json.example"
    if options.settings.exists() or not example.exists():
        return ""
    return f" (there is no {options.settings}; `cp {example.name} {options.settings.name}` makes one)"


def _set_up_log(wanted: argparse.Namespace) -> None:
    level = logging.DEBUG if wanted.verbose else logging.WARNING if wanted.quiet else logging.INFO
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.Formatter.converter = time.gmtime
    log.setLevel(level)
    # The SDK logs every request with its headers at INFO.
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localdev.host", description="Run a Functions app locally.")
    parser.add_argument("--app", type=Path, default=Path(), help="folder of the app (the current one)")
    parser.add_argument("--settings", type=Path, help="settings file (local.settings.json of the app)")
    parser.add_argument("--port", type=int, default=7071, help="port for HTTP functions, 0 for any (7071)")
    parser.add_argument("--function-key", default="", help="key for HTTP functions that need one (none: open)")
    parser.add_argument(
        "--people",
        type=Path,
        help="JSON: who can be chosen to be signed in, with the claims that Entra would hand on; then set "
        "WEBSITE_AUTH_ENABLED to true",
    )
    parser.add_argument("--lease", type=_lease, default=LEASE_SECONDS, help="seconds a message stays hidden (600)")
    parser.add_argument(
        "--once",
        metavar="NAME",
        action="append",
        default=[],
        help="fire this timer (given again: one after the other), drain the queues, exit",
    )
    parser.add_argument("--drain", action="store_true", help="drain the queues, exit")
    parser.add_argument("--drain-timeout", type=float, default=3600.0, help="seconds for draining (3600)")
    parser.add_argument("--verbose", action="store_true", help="tracebacks of failures too")
    parser.add_argument("--quiet", action="store_true", help="warnings and errors only")
    return parser


def _lease(text: str) -> int:
    seconds = int(text)
    if not 1 <= seconds <= 7 * 24 * 3600:
        raise argparse.ArgumentTypeError("it takes 1 second to 7 days")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
