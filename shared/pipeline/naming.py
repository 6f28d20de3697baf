"""Messages by hand may name a project by its acronym; the stages are given its id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.messages import Message, MessageError, acronym_in, with_id
from shared.pipeline.stage import Outgoing, Retry
from shared.ports.errors import LaterError


@dataclass(frozen=True, slots=True)
class Naming:
    """find: the id of the project with an acronym; None where there is none. May raise LaterError."""

    find: Callable[[str], int | None]
    retry: Retry

    def by_id(self, message: Message) -> Message | list[Outgoing]:
        """The message with its project's id; while the database is away, the copy that comes again.

        Raises MessageError where there is no such project.
        """
        acronym = acronym_in(message)
        if acronym is None:
            return message
        try:
            project_id = self.find(acronym)
        except LaterError as error:
            return self.retry.later(message, error, "naming")
        if project_id is None:
            raise MessageError(f"there is no project {acronym}; `python -m shared.cli projects list` shows them all")
        return with_id(message, project_id)
