"""`run`: a run of the chain by hand; what is written of runs."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app, refuse_empty
from shared.cli.failures import FailedError
from shared.cli.output import Cell, Column
from shared.domain.texts import named
from shared.ports.runs import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shared.composition import Composition
    from shared.domain.coverage import Incomplete
    from shared.ports.runs import RunView
    from shared.services.runs import RunService

STYLES = {RunState.DONE: "green", RunState.RUNNING: "cyan", RunState.FAILED: "red"}
POLL_SECONDS = 0.5
LOOK_EVERY, NOBODY_AFTER = timedelta(seconds=5), timedelta(minutes=1)
NOBODY = (
    "nobody has taken the messages for a minute; does the app run, on this storage account? "
    "(On your own machine: `func start` or `python -m localdev.host`.) Still waiting; Ctrl-C ends that"
)
# So many of the things that figures lack are listed.
MOST_GAPS = 20


def run(
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run is finished.")] = False,
    since: Annotated[
        str | None, typer.Option(help="Read all from this day on again, such as 2026-04-01.", metavar="DATE")
    ] = None,
    subscription: Annotated[str | None, typer.Option(help="Only this subscription, by its id.", metavar="ID")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project, by its acronym or id.")] = None,
    json: AsJson = False,
) -> None:
    """Start a run now, besides the night's; with --since, one that reads again what was read before."""
    refuse_empty(**{"--since": since, "--subscription": subscription, "--project": project})
    app = open_app()
    with output.working("Starting a run …"):
        key, sent = app.run_service.start(subscription or "", project or "", since or "")
    what = f"project {project}" if project else output.count(sent, "subscription")
    queued = f"{what} queued." if sent else "no project is active, so there is nothing to read."
    view = None
    with noticing_ctrl_c() as stopped:
        if not json:
            output.say(f"Run {key}: {queued}")
        if wait and sent:
            view = wait_for(app, key, stopped)
    if json:
        output.write_json({"key": key, "queued": sent, "run": as_json(view) if view else None})
    elif view:
        write_outcome(app.run_service, view)
    elif sent:
        output.say("`python -m shared.cli status` shows how far it is.")
    if view and view.state is RunState.FAILED:
        raise FailedError(f"run {key} has failed: {_outcome(view)}")


# --- waiting -------------------------------------------------------------------------------------------------


@contextmanager
def noticing_ctrl_c() -> Iterator[threading.Event]:
    """Ctrl-C sets the event. An exception in its place can come in the middle of a driver's callback and get lost."""
    stopped = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(app: Composition, key: str, stopped: threading.Event, what: str = "subscriptions") -> RunView:
    """The finished run. Ends the command where the person has stopped waiting. what: what it reads, for people."""
    with output.counting(f"{what} read") as show:
        view = _until_finished(app, key, stopped, lambda view: _show(view, show))
    if view is None:
        output.warn("no longer waiting; the run goes on")
        raise KeyboardInterrupt
    return view


def _until_finished(
    app: Composition, key: str, stopped: threading.Event, show: Callable[[RunView], None]
) -> RunView | None:
    """The finished run; None where the person has stopped waiting. Says so where nobody takes the messages."""
    service, queue = app.run_service, Unmoved(app.clock())
    while not stopped.wait(POLL_SECONDS):
        view = service.get(key)
        if view is None:
            raise FailedError(f"run {key} is gone from the database")
        show(view)
        if view.state is not RunState.RUNNING:
            return view
        if queue.is_noticed(service.next_message, app.clock()):
            output.warn(NOBODY)
    return None


@dataclass
class Unmoved:
    """Notices, once, that the same message has been the next to be taken for a minute: looked at every few seconds."""

    looked_at: datetime
    message: str | None = None
    since: datetime | None = None
    told: bool = False

    def is_noticed(self, look: Callable[[], str | None], now: datetime) -> bool:
        """Whether this is the moment to say so. look: which message is the next; None where none waits."""
        if self.told or now < self.looked_at + LOOK_EVERY:
            return False
        self.looked_at, before = now, self.message
        self.message = look()
        if self.message is None or self.message != before or self.since is None:
            self.since = now
        self.told = self.message is not None and now >= self.since + NOBODY_AFTER
        return self.told


def _show(view: RunView, show: Callable[[int, int, str], None]) -> None:
    """How many subscriptions are through."""
    scopes = _scopes(view)
    waiting, total = scopes["waiting"] + scopes["deferred"], sum(scopes.values())
    show(total - waiting, total, f", {scopes['deferred']} deferred" if scopes["deferred"] else "")


# --- for people ----------------------------------------------------------------------------------------------


def took(view: RunView) -> str:
    """How long a run has taken; empty before its end."""
    if view.finished_at is None:
        return ""
    minutes, seconds = divmod(round((view.finished_at - view.started_at).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _state(view: RunView) -> Cell:
    if view.state is RunState.DONE and view.unsent:
        return Cell("done, mails unsent", "yellow")
    if view.state is RunState.DONE and not view.is_complete:
        return Cell("done, incomplete", "yellow")
    return Cell(view.state, STYLES.get(view.state, ""))


TABLE: output.Table[RunView] = {
    Column("run"): attrgetter("key"),
    Column("started, UTC", spare=3): lambda view: output.minute(view.started_at),
    Column("took", right=True, spare=2): took,
    Column("state", words=True): _state,
    Column("subscriptions", words=True): lambda view: _in_words(_scopes(view)),
    Column("mails", words=True, spare=1): lambda view: _in_words(_mails(view)),
}


def _in_words(counts: Mapping[str, int]) -> Cell:
    words = [f"{count:,} {state}" for state, count in counts.items() if count]
    bad = counts["failed"] or counts.get("suspect")
    return Cell(", ".join(words) or "none", "red" if bad else "yellow" if counts.get("deferred") else "")


def write_errors(views: Sequence[RunView]) -> None:
    """What became of what was not read, and which mails are not sent, by run."""
    for view in views:
        if view.errors or view.unsent or view.unchecked:
            output.say()
            output.say(f"{view.key}:", "bold")
        for scope, reason in view.errors:
            output.say(f"  {scope}: {reason}")
        for reason, count in view.unsent:
            output.say(f"  {output.count(count, 'mail')} not sent: {reason or 'not tried yet'}")
        if view.unchecked:
            output.say(f"  {named(view.unchecked)}: new costs were not compared with the budget yet")


def _outcome(view: RunView) -> str:
    scopes = _scopes(view)
    return f"{scopes['done']} done, {scopes['failed']} failed, {scopes['suspect']} suspect"


def write_outcome(service: RunService, view: RunView) -> None:
    """What a finished run has come to."""
    write_errors([view])
    if view.state is not RunState.FAILED:
        output.say(f"Run {view.key} is done: {_outcome(view)}.")
        write_incomplete(service.incomplete())


def write_incomplete(incomplete: Incomplete) -> None:
    """What figures lack, if anything."""
    if not incomplete.gaps:
        return
    output.say()
    figures = output.count(incomplete.projects, "figure")
    output.say(f"Incomplete: {figures} (`python -m shared.cli projects list` shows which)", "yellow")
    for line in incomplete.lines[:MOST_GAPS]:
        output.say(f"  {line}")
    if (more := len(incomplete.gaps) - MOST_GAPS) > 0:
        output.say(f"  … and {more:,} more")


# --- for programs --------------------------------------------------------------------------------------------


def as_json(view: RunView) -> dict[str, Any]:
    """A run, for programs."""
    errors = [{"scope": scope, "reason": reason} for scope, reason in view.errors]
    unsent = [{"reason": reason or None, "mails": count} for reason, count in view.unsent]
    missing = [{"what": str(gap), "projects": acronyms} for gap, acronyms in view.incomplete.gaps]
    counts = {"scopes": _scopes(view), "mails": _mails(view), "errors": errors, "unsent": unsent}
    lacks = {"unchecked": list(view.unchecked), "missing": missing}
    return (
        output.chosen(view, "key", "trigger", "state", "started_at", "finished_at")
        | {"complete": view.is_complete}
        | counts
        | lacks
    )


def _scopes(view: RunView) -> dict[str, int]:
    counts = {state: view.scopes.get(state, 0) for state in ("done", "deferred", "failed", "suspect")}
    return counts | {"waiting": view.scopes.get("planned", 0) + view.scopes.get("queued", 0)}


def _mails(view: RunView) -> dict[str, int]:
    """A claimed mail is being sent, and not yet sent."""
    pending = view.mails.get("pending", 0) + view.mails.get("claimed", 0)
    return {"sent": view.mails.get("sent", 0), "pending": pending, "failed": view.mails.get("failed", 0)}
