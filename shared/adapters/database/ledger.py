"""What the ledgers share: methods whose bodies run inside a transaction of their own, and records made of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Row

from shared.adapters.database.engine import Database

P = ParamSpec("P")
T = TypeVar("T")
L = TypeVar("L", bound="Ledger")
Body = Callable[Concatenate[L, Connection, P], T]


@dataclass(frozen=True)
class Ledger:
    """A port on a SQL database."""

    database: Database


def writes(body: Body[L, P, T]) -> Callable[Concatenate[L, P], T]:
    """The body in a transaction (`Database.run`): it may run again from its start, and has no effect but there."""

    @wraps(body)
    def method(self: L, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.database.run(lambda connection: body(self, connection, *args, **kwargs))

    return method


def reads(body: Body[L, P, T]) -> Callable[Concatenate[L, P], T]:
    """The body in a transaction that only reads (`Database.read`)."""

    @wraps(body)
    def method(self: L, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.database.read(lambda connection: body(self, connection, *args, **kwargs))

    return method


def record(kind: type[T], row: Row[Any], **others: object) -> T:
    """A dataclass from the row's columns that are called like its fields, and these others."""
    return kind(**columns(row, kind, *others), **others)


def columns(source: object, kind: type[Any], *but: str) -> dict[str, Any]:
    """What `source` (a row, or a record of this kind) says in the fields of a dataclass, as it is; without some."""
    names = _names(kind)  # type: ignore[arg-type]  # mypy does not see that classes are hashable
    return {name: getattr(source, name) for name in names if name not in but}


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))
