"""What the ledgers share: methods whose bodies run inside a transaction of their own, and records made of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Row

from shared.adapters.database.engine import Database

P = ParamSpec("P")
T = TypeVar("T")
L = TypeVar("L", bound="Ledger")
Body = Callable[Concatenate[L, Connection, P], T]


class Ledger:
    """A port on a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database


def writes(body: Body[L, P, T]) -> Callable[Concatenate[L, P], T]:
    """The body in a transaction (`Database.run`): it may run again from its start, and has no effect but there."""

    @wraps(body)
    def method(self: L, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._database.run(lambda connection: body(self, connection, *args, **kwargs))

    return method


def reads(body: Body[L, P, T]) -> Callable[Concatenate[L, P], T]:
    """The body in a transaction that only reads (`Database.read`)."""

    @wraps(body)
    def method(self: L, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._database.read(lambda connection: body(self, connection, *args, **kwargs))

    return method


def record(kind: type[T], row: Row[Any], **others: object) -> T:
    """A dataclass from the row's columns that are called like its fields, and these others."""
    names = [field.name for field in fields(kind) if field.name not in others]  # type: ignore[arg-type]
    return kind(**{name: getattr(row, name) for name in names}, **others)
