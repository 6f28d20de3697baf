"""Messages that failed for good: looked at, and sent again once the cause is mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.messages import MessageError, Queue, as_replayed
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.dead_letters import DeadLetter, DeadLetterLedger
from shared.ports.errors import NeverError
from shared.ports.queues import MessageSender
from shared.services.reasons import given_reason


@dataclass(frozen=True, slots=True)
class DeadLetterService:
    """Every method raises LaterError where the database or the queues are away."""

    ledger: DeadLetterLedger
    sender: MessageSender
    clock: Clock

    def letters(self, replayed_too: bool = False) -> list[DeadLetter]:
        """The dead letters that wait, oldest first; those that were replayed or discarded only if asked for."""
        return self.ledger.letters(replayed_too)

    def get(self, letter_id: int) -> DeadLetter | None:
        """One dead letter."""
        return self.ledger.get(letter_id)

    def replay(self, letter_id: int) -> str | None:
        """Queues one again; returns a sentence where that can't be done, else None."""
        letter = self.ledger.get(letter_id)
        if letter is None:
            return f"There is no dead letter {letter_id}."
        try:
            # A mail that is put aside after this is not sent (`MailLedger.discard`).
            ordered_at = self.clock() if letter.queue == Queue.EMAIL else None
            self.sender.send(Queue(letter.queue), as_replayed(letter.body, ordered_at))
        except MessageError as error:
            return f"Dead letter {letter_id} can't be replayed: {error}."
        except NeverError as error:
            return error.reason
        with noted(Change(Action.DEAD_LETTER_REPLAYED, _named(letter_id), now := self.clock())):
            self.ledger.mark_replayed(letter_id, now)
        return None

    def discard(self, letter_ids: Sequence[int], reason: str, by: str) -> None:
        """Nothing is to become of these. by: who orders it. Raises RequestError where the reason can't be kept."""
        why, now = given_reason(reason), self.clock()
        for letter_id in letter_ids:
            with noted(Change(Action.DEAD_LETTER_DISCARDED, _named(letter_id), now, reason=why, by=by)):
                self.ledger.discard(letter_id, by, why, now)


def _named(letter_id: int) -> str:
    return f"dead letter {letter_id}"
