"""A message's way: it is read, a stage works on it, and what the stage wants sent is sent, here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from shared.messages import PARSERS, QUEUES, Message, MessageError, Queue, is_batch, one_by_one, traced
from shared.pipeline.budget_alert import AlertAnswer
from shared.pipeline.dead_letters import POISONED, DeadLetters
from shared.pipeline.events import event, log
from shared.pipeline.stage import Outgoing, outgoing
from shared.ports.errors import LaterError, NeverError
from shared.ports.queues import MessageSender
from shared.ports.telemetry import Telemetry

Stage = Callable[[Any, str], Iterable[Outgoing]]
"""Takes a message of its kind, and the queue message's id."""
Call = tuple[str, str | None]
"""A call of a function: its name, and the host's trace parent."""
NO_CALL: Call = ("", None)
BURIED_AGAIN_IN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Chain:
    """stages: gives what works on each kind of message; it is built with the first of them. named: `Naming.by_id`.

    Work is committed before anything is sent: whoever breaks off in between is called again, and finds what is done.
    Every method raises LaterError and NeverError where the queues don't take a message; the host tries again.
    """

    stages: Mapping[type[Message], Callable[[], Stage]]
    named: Callable[[Message], Message | list[Outgoing]]
    dead_letters: DeadLetters
    sender: MessageSender
    telemetry: Telemetry

    def take(self, queue: Queue, body: str, origin: str, times: int = 1, call: Call = NO_CALL) -> None:
        """Works on a message of a queue. origin: `origin_of` it. One that can't be right is kept as a dead letter.

        times: how often it was taken. Whoever worked on a set of projects has died if it comes back, perhaps of one of
        them, which the others shall not share the fate of. call: of the function.
        """
        try:
            message = PARSERS[queue](body)
        except MessageError as error:
            with self.telemetry.working(*call):
                self.dead_letters.record(queue, body, str(error), origin)
            return
        with self.telemetry.working(*call, message.envelope.trace_parent, on_many=is_batch(message)):
            try:
                alone = one_by_one(message) if times > 1 else []
                self.send(outgoing(alone) or self._worked_on(message, origin))
            except MessageError as error:
                self.dead_letters.record(queue, body, str(error), origin)

    def _worked_on(self, message: Message, origin: str) -> Iterable[Outgoing]:
        """What the message's stage wants sent. Raises MessageError."""
        named = self.named(message)
        return named if isinstance(named, list) else self.stages[type(named)]()(named, origin)

    def begin(self, wanted: Iterable[Outgoing], call: Call) -> None:
        """Sends what a timer's work wants sent, which a generator does only now. call: of the function."""
        with self.telemetry.working(*call):
            self.send(wanted)

    def bury(self, queue: Queue, body: str, origin: str, reason: str = POISONED, *, call: Call = NO_CALL) -> None:
        """Takes what the host gave up on: a message of a queue's `-poison` queue.

        The host forgets what fails there five times, within an hour: a copy goes back in its place. What can't be sent
        then is in the database, where the watchdog finds it.
        """
        with self.telemetry.working(*call):
            try:
                wanted = self.dead_letters.bury(queue, body, origin, reason)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing may be lost of it
                log.warning("burial_put_off queue=%s", queue, exc_info=not isinstance(error, LaterError))
                self.sender.put_back_poisoned(queue, body, BURIED_AGAIN_IN)
            else:
                self.send(wanted)

    def take_alert(self, answer: AlertAnswer, call: Call = NO_CALL) -> AlertAnswer:
        """Sends what an alert asks for; the answer to its caller, who tries again on a 503 only."""
        name = answer.message.budget_name if answer.message else None
        try:
            self.begin([Outgoing(answer.message)] if answer.message else [], call)
        except (LaterError, NeverError) as unwell:
            answer = AlertAnswer(503, unwell.reason)
        level = logging.WARNING if answer.status >= HTTPStatus.BAD_REQUEST else logging.INFO
        event("budget_alert", level=level, status=answer.status, budget=name, said=answer.said)
        return answer

    def send(self, wanted: Iterable[Outgoing]) -> int:
        """Sends messages, in order; returns how many. A generator goes on after each message once that is sent."""
        count = 0
        for each in wanted:
            message = traced(each.message, self.telemetry.trace_parent())
            self.sender.send(QUEUES[type(message)], message, each.delay)
            count += 1
        return count
