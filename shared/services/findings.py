"""How parts of an installation were found: good, or with what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.ports.errors import LaterError, UntilMendedError

Explain = Callable[[Exception], str]
"""What an error that nobody foresaw says to a person"""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part was found; `text` says what is there, or what to do.

    warning: the app can do its work, and something is worth a look.
    """

    part: str
    ok: bool
    text: str
    warning: str | None = None


def found(part: str, look: Callable[[], str | Finding], explain: Explain, advice: str = "") -> Finding:
    """How a part is found by looking. advice: what may help where it does not answer; a no says itself what would."""
    try:
        seen = look()
        return seen if isinstance(seen, Finding) else Finding(part, True, seen)
    except UntilMendedError as error:
        return Finding(part, False, error.reason)
    except LaterError as error:
        return Finding(part, False, "; ".join(each for each in (error.reason.rstrip("."), advice) if each))
    except Exception as error:  # noqa: BLE001 - every fault becomes a line of the report
        return Finding(part, False, explain(error))
