"""What becomes of errors: one plain sentence on stderr, and an exit code. 0 good, 1 failed, 2 wrong usage or input."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from typer import Abort

if TYPE_CHECKING:
    from datetime import timedelta

    from shared.ports.errors import LaterError

FAILED = 1
WRONG_USAGE = 2
STOPPED = 130


class FailedError(Exception):
    """What was asked for could not be done; the text is a sentence for the person who asked."""

    exit_code = FAILED


class WrongUsageError(FailedError):
    """What was asked for can't be right: an unknown project, a faulty file."""

    exit_code = WRONG_USAGE


def explain(error: Exception) -> tuple[str, int]:
    """The sentence and the exit code of an error that ended a command."""
    from shared.services.errors import RequestError

    if isinstance(error, FailedError):
        return str(error), error.exit_code
    if isinstance(error, Abort):
        # Ctrl-C or Ctrl-D at a question.
        return "stopped: there was no answer", STOPPED
    return _sentence(error), WRONG_USAGE if isinstance(error, RequestError) else FAILED


def _sentence(error: Exception) -> str:
    from shared.ports.errors import LaterError, NeverError
    from shared.services.errors import RequestError, UnknownProjectError
    from shared.services.project_csv import ProjectFileError
    from shared.settings import SettingsError

    match error:
        case ProjectFileError():
            sentence = "\n  ".join(["nothing was loaded, because of the file:", *error.faults])
        case UnknownProjectError():
            sentence = f"{error}; `python -m shared.cli projects list` shows them all"
        case LaterError():
            sentence = later(error)
        case RequestError() | NeverError() | SettingsError():
            sentence = str(error)
        case ImportError():
            sentence = f"a package that is needed here is not installed: {error.name}"
        case OSError(strerror=str(reason)):
            sentence = f"the operating system refuses: {reason}"
        case _:
            sentence = _unforeseen(error)
    return sentence


def later(error: LaterError) -> str:
    """Why something can't be done now, and when to try again; what has to be mended first, the reason says itself."""
    from shared.ports.errors import UntilMendedError

    if isinstance(error, UntilMendedError):
        return error.reason
    return f"{error.reason.rstrip('.')}; try again {_after(error.wait)}"


def _after(wait: timedelta | None) -> str:
    if not wait:
        return "in a while"
    minutes, seconds = divmod(round(wait.total_seconds()), 60)
    return f"in {minutes} min {seconds} s" if minutes else f"in {seconds} s"


def _unforeseen(error: Exception) -> str:
    """Says where, and not what: the text of such an error may hold a setting's value."""
    from shared.services.installation import UPGRADE

    kind = type(error).__name__
    if kind == "ProgrammingError" and type(error).__module__.startswith("sqlalchemy"):
        return f"the database refuses a statement; if its tables are missing or old, run: {UPGRADE}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return (
        f"something that nobody foresaw went wrong ({kind} in {where}); "
        "`python -m shared.cli --debug COMMAND` shows all of it"
    )
