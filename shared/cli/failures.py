"""What becomes of errors: one plain sentence on stderr, and an exit code. 0 good, 1 failed, 2 wrong usage or input."""

from __future__ import annotations

import traceback
from pathlib import Path

FAILED = 1
WRONG_USAGE = 2
STOPPED = 130

UPGRADE = "python -m shared.cli db upgrade"


class FailedError(Exception):
    """What was asked for could not be done; the text is a sentence for the person who asked."""

    exit_code = FAILED


class WrongUsageError(FailedError):
    """What was asked for can't be right: an unknown project, a faulty file."""

    exit_code = WRONG_USAGE


def explain(error: Exception) -> tuple[str, int]:
    """The sentence and the exit code of an error that ended a command."""
    from shared.pipeline.project_file import ProjectFileError
    from shared.ports.errors import LaterError, NeverError
    from shared.services.errors import RequestError, UnknownProjectError
    from shared.settings import SettingsError

    match error:
        case FailedError():
            return str(error), error.exit_code
        case UnknownProjectError():
            return f"{error}; `python -m shared.cli projects list` shows them all", WRONG_USAGE
        case RequestError():
            return str(error), WRONG_USAGE
        case ProjectFileError():
            listed = "\n".join(f"  {fault}" for fault in error.faults)
            return f"nothing was loaded, because of the file:\n{listed}", WRONG_USAGE
        case LaterError():
            sentence = f"{error.reason}; try again in a while"
        case NeverError() | SettingsError():
            sentence = str(error)
        case ImportError():
            sentence = f"a package that is needed here is not installed: {error.name}"
        case OSError(strerror=str(reason)):
            sentence = f"the operating system refuses: {reason}"
        case _:
            sentence = _unforeseen(error)
    return sentence, FAILED


def _unforeseen(error: Exception) -> str:
    """Says where, and not what: the text of such an error may hold a setting's value."""
    kind = type(error).__name__
    if kind == "ProgrammingError" and type(error).__module__.startswith("sqlalchemy"):
        return f"the database refuses a statement; if its tables are missing or old, run: {UPGRADE}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return (
        f"something that nobody foresaw went wrong ({kind} in {where}); "
        "`python -m shared.cli --debug COMMAND` shows all of it"
    )
