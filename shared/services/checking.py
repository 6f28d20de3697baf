"""Having projects compared with their budgets once something about them has changed."""

from __future__ import annotations

from collections.abc import Iterable

from shared.messages import Envelope, Queue, notifications
from shared.ports.errors import LaterError, NeverError
from shared.ports.queues import MessageSender


def ask_for_checks(queues: MessageSender, project_ids: Iterable[int]) -> str | None:
    """Asks for the check of these projects; why that can't be now, which changes nothing of what was done."""
    try:
        for message in notifications(project_ids, Envelope()):
            queues.send(Queue.NOTIFICATION, message)
    except (LaterError, NeverError) as error:
        return error.reason
    return None
