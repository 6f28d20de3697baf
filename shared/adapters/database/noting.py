"""Writes what is changed into the audit, in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection

from shared.adapters.database.chunks import insert_rows
from shared.adapters.database.tables import changes
from shared.ports.changes import Actor, Change, acting


def note(connection: Connection, made: Sequence[Change], actor: Actor | None = None) -> None:
    """Writes changes down. actor: whose they are, where that is not whoever acts now."""
    actor = actor or acting()
    insert_rows(connection, changes, [row_of(change, actor) for change in made])


def row_of(change: Change, actor: Actor) -> dict[str, Any]:
    """A change's row, under a key of its own."""
    who = {"by": change.by or actor.name, "by_id": actor.id, "via": actor.via, "key": uuid4().hex}
    return asdict(change) | who
