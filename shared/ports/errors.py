"""The two kinds of errors that leave an adapter: later, and never."""

from __future__ import annotations

from datetime import timedelta

from shared.domain.texts import storable


class LaterError(Exception):
    """It can't be done now and may work later: throttled, unwell, out of reach.

    reason: as a database takes it, whatever the other side said.
    wait: how long the other side asks us to wait; None where it does not say.
    progress: where a long answer broke off, what is needed to go on with it from there; None to begin anew.
    """

    def __init__(self, reason: str, wait: timedelta | None = None, progress: bytes | None = None) -> None:
        self.reason = storable(reason)
        super().__init__(self.reason)
        self.wait = wait
        self.progress = progress


class PauseError(LaterError):
    """Work that is getting on: it goes on after `wait`, however often that was so."""


class CallsUsedError(LaterError):
    """The paid calls of the day are made: the rest is asked for on another one."""


class UntilMendedError(LaterError):
    """It works once somebody has mended what `reason` names: tried again as well, and nobody is told to wait."""


class NeverError(Exception):
    """It can't be done, however often it is tried. `reason` is a sentence for a person."""

    def __init__(self, reason: str) -> None:
        self.reason = storable(reason)
        super().__init__(self.reason)


class NoAnswerError(NeverError):
    """One query gets no answer that could be taken: others of the same source may be answered well."""


class GoneError(NeverError):
    """What was asked about is not there."""


class NoSubscriptionError(GoneError):
    """There is no such subscription, as far as the app's identity can see: it is gone, or in another tenant."""


class NoCostsError(NeverError):
    """The provider serves no costs of this account, and nobody here has to do anything: told once, not each night.

    passes_within: for how long that is so of every new account; None where it is there to stay.
    """

    def __init__(self, reason: str, passes_within: timedelta | None = None) -> None:
        super().__init__(reason)
        self.passes_within = passes_within
