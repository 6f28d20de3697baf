"""`projects lock` and `projects unlock`: by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, ProjectName, given_reason, open_app, user_name
from shared.domain.locks import LockMode
from shared.messages import LockAction

if TYPE_CHECKING:
    from shared.services.locks import Ordered

Why = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]


def lock(project: ProjectName, reason: Why, json: AsJson = False) -> None:
    """Ask for the lock of a project, whatever it has spent.

    It stays until `projects unlock` takes it off.
    """
    ordered = _order(project, LockAction.LOCK, reason)
    if json:
        output.write_json(_listed(ordered, LockAction.LOCK))
    else:
        if ordered.held_since:
            since = f"is locked already since {output.minute(ordered.held_since)} UTC"
            output.say(f"{ordered.acronym} {since}; it is made sure that every lock is there.")
        _say_asked(ordered, LockAction.LOCK)
    if ordered.mode is not LockMode.ENFORCE:
        done = "it is only written down what would be" if ordered.mode is LockMode.DRY_RUN else "it will be refused"
        output.warn(f"LOCK_MODE is {ordered.mode} here, so nothing will be locked: {done}")


def unlock(project: ProjectName, reason: Why, json: AsJson = False) -> None:
    """Ask for a project's lock to be taken off.

    It is not locked again by itself until its budget is revised or its next period begins.
    """
    ordered = _order(project, LockAction.UNLOCK, reason)
    if json:
        output.write_json(_listed(ordered, LockAction.UNLOCK))
        return
    if ordered.held_since is None:
        name = ordered.acronym
        output.say(f"{name} is not locked, as far as is known; it is made sure that none of our locks is left.")
    _say_asked(ordered, LockAction.UNLOCK)


def _order(project: str, action: LockAction, reason: str) -> Ordered:
    why = given_reason(reason)
    return open_app().lock_service.order(project, action, why, user_name())


def _listed(ordered: Ordered, action: LockAction) -> dict[str, Any]:
    return {
        "acronym": ordered.acronym,
        "action": action,
        "locked_since": ordered.held_since,
        "lock_mode": ordered.mode,
    }


def _say_asked(ordered: Ordered, action: LockAction) -> None:
    name = ordered.acronym
    output.say(f"Asked for the {action} of {name}; `audit {name}` shows what became of it.")
