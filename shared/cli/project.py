"""`project`: locking and unlocking one by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli import output
from shared.cli.app import ProjectName, given_reason, open_app, project_id, user_name
from shared.cli.failures import WrongUsageError
from shared.domain.locks import LockMode
from shared.domain.projects import LockPolicy
from shared.messages import LockAction, LockMessage, LockTrigger, Queue

if TYPE_CHECKING:
    from shared.composition import Composition
    from shared.ports.locks import LockFacts

commands = typer.Typer(help="One project's lock, by hand.", no_args_is_help=True)

# A message takes so much of a user's name.
LONGEST_NAME = 100
Why = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]


@commands.callback()
def group() -> None:
    """One project's lock, by hand."""


@commands.command()
def lock(project: ProjectName, reason: Why) -> None:
    """Ask for the lock of a project, whatever it has spent.

    It stays until `project unlock` takes it off.
    """
    why = given_reason(reason)
    app = open_app()
    facts = _facts(app, project)
    if facts.project.lock is LockPolicy.NEVER:
        raise WrongUsageError(
            f"{facts.project.acronym} is marked as never to be locked; to lock it, load it with auto in the column lock"
        )
    if facts.held_since:
        output.say(
            f"{facts.project.acronym} is locked already{_since(facts)}; it is made sure that every lock is there."
        )
    _ask(app, facts, LockAction.LOCK, why)
    mode = app.settings.lock_mode
    if mode is not LockMode.ENFORCE:
        done = "it is only written down what would be" if mode is LockMode.DRY_RUN else "it will be refused"
        output.warn(f"LOCK_MODE is {mode} here, so nothing will be locked: {done}")


@commands.command()
def unlock(project: ProjectName, reason: Why) -> None:
    """Ask for a project's lock to be taken off.

    It is not locked again by itself until its budget is revised or its next period begins.
    """
    why = given_reason(reason)
    app = open_app()
    facts = _facts(app, project)
    if facts.held_since is None:
        name = facts.project.acronym
        output.say(f"{name} is not locked, as far as is known; it is made sure that none of our locks is left.")
    _ask(app, facts, LockAction.UNLOCK, why)


def _facts(app: Composition, project: str) -> LockFacts:
    facts = app.lock_ledger.facts(project_id(app, project), app.clock())
    if facts is None:
        raise WrongUsageError(f"there is no project {project} any more")
    return facts


def _since(facts: LockFacts) -> str:
    return f" since {output.minute(facts.held_since)} UTC" if facts.held_since else ""


def _ask(app: Composition, facts: LockFacts, action: LockAction, reason: str) -> None:
    message = LockMessage(
        action=action,
        project_id=facts.project.id,
        reason=reason,
        trigger=LockTrigger.OPERATOR,
        by=user_name()[:LONGEST_NAME],
    )
    app.queues.send(Queue.LOCK, message)
    output.say(
        f"Asked for the {action} of {facts.project.acronym}; `audit {facts.project.acronym}` shows what became of it."
    )
