"""What commands share: the app, built from the settings, the person who uses it, and an option."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.failures import FAILED, WrongUsageError
from shared.cli.files import somebody_types
from shared.services import reasons

if TYPE_CHECKING:
    from shared.composition import Composition

LOCAL_FILE = Path("local.settings.json")
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else.")]


def command_group(about: str) -> typer.Typer:
    """Commands under one name. The callback makes a group of them even where there is only one."""
    commands = typer.Typer(help=about, no_args_is_help=True)
    commands.callback()(lambda: None)
    return commands


def open_app(*only: str) -> Composition:
    """The app as the environment, and local.settings.json in this folder, set it. Raises SettingsError.

    only: the names of the settings that are read, where the others need not be there.
    """
    # Imported here, so that --help and wrong usage are answered at once.
    from shared import settings
    from shared.composition import Composition
    from shared.ports.changes import Actor, Via, act_as

    app = Composition(settings.load(local_file=LOCAL_FILE, only=only))
    act_as(Actor(user_name(), Via.COMMAND_LINE))
    if app.settings.mark:
        from shared.cli import output

        output.warn(f"this installation is marked: {app.settings.mark}")
    return app


def refuse_empty(**options: str | None) -> None:
    """An option that is there and empty is a script's variable that was not set. Raises WrongUsageError."""
    for name, text in options.items():
        if text is not None and not text.strip():
            raise WrongUsageError(f"{name} is empty; say what it is, or leave it out")


def ask_or_refuse(question: str, json: bool) -> None:
    """Has a person agree; where there is nobody to ask, raises WrongUsageError."""
    if json or not somebody_types():
        raise WrongUsageError("nothing was changed; where this is meant, add --yes")
    if not typer.confirm(question):
        raise typer.Exit(FAILED)


def _named(text: str) -> str:
    if not text.strip():
        raise WrongUsageError("PROJECT is empty; say which, by its acronym or its id")
    return text


ProjectName = Annotated[str, typer.Argument(help="The project's acronym, in any case, or its id.", callback=_named)]


def given_reason(text: str) -> str:
    """A person's reason, which is kept for good. Raises WrongUsageError where it says nothing, or can't be kept."""
    if not text.strip():
        raise WrongUsageError('say why: --reason "…"')
    return reasons.given_reason(text, "--reason")


def user_name() -> str:
    """Who runs this, as the operating system vouches for it: LOGNAME and the like, which anybody sets, don't count."""
    try:
        import pwd
    except ImportError:  # Windows has none, and its own call
        return os.getlogin()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a number that no user has.
        return f"user {os.getuid()}"
