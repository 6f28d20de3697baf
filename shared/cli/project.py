"""`project`: locking and unlocking one by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli import output
from shared.cli.app import ProjectName, command_group, given_reason, open_app, user_name
from shared.domain.locks import LockMode
from shared.messages import LockAction

if TYPE_CHECKING:
    from shared.services.locks import Ordered

commands = command_group("One project's lock, by hand.")

Why = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]


@commands.command()
def lock(project: ProjectName, reason: Why) -> None:
    """Ask for the lock of a project, whatever it has spent.

    It stays until `project unlock` takes it off.
    """
    ordered = _order(project, LockAction.LOCK, reason)
    if ordered.held_since:
        since = output.minute(ordered.held_since)
        output.say(f"{ordered.acronym} is locked already since {since} UTC; it is made sure that every lock is there.")
    _say_asked(ordered, LockAction.LOCK)
    if ordered.mode is not LockMode.ENFORCE:
        done = "it is only written down what would be" if ordered.mode is LockMode.DRY_RUN else "it will be refused"
        output.warn(f"LOCK_MODE is {ordered.mode} here, so nothing will be locked: {done}")


@commands.command()
def unlock(project: ProjectName, reason: Why) -> None:
    """Ask for a project's lock to be taken off.

    It is not locked again by itself until its budget is revised or its next period begins.
    """
    ordered = _order(project, LockAction.UNLOCK, reason)
    if ordered.held_since is None:
        name = ordered.acronym
        output.say(f"{name} is not locked, as far as is known; it is made sure that none of our locks is left.")
    _say_asked(ordered, LockAction.UNLOCK)


def _order(project: str, action: LockAction, reason: str) -> Ordered:
    why = given_reason(reason)
    return open_app().lock_service.order(project, action, why, user_name())


def _say_asked(ordered: Ordered, action: LockAction) -> None:
    name = ordered.acronym
    output.say(f"Asked for the {action} of {name}; `audit {name}` shows what became of it.")
