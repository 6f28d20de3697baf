"""Column types that mean the same on SQLite, PostgreSQL and SQL Server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Numeric, String, Unicode, UnicodeText
from sqlalchemy.types import TypeDecorator, TypeEngine

from shared.domain.money import EXACT, LARGEST_AMOUNT
from shared.domain.texts import fitting, storable

PLACES = 10
UNIT = Decimal(1).scaleb(-PLACES)
# What DECIMAL(28, 10) holds.
LARGEST_DECIMAL = Decimal(10**18 - 1)


def largest_amount(dialect: Dialect) -> Decimal:
    """What a column of Money holds on this database."""
    return LARGEST_AMOUNT if dialect.name == "sqlite" else LARGEST_DECIMAL


class Money(TypeDecorator[Decimal]):
    """An amount with 10 decimal places, exact, and exact when summed in SQL.

    SQLite has no decimal type, and SQLAlchemy's Numeric keeps floats there: amounts are kept as whole numbers
    of 10^-10, whose sums are exact up to 922 million and an error past that (SQLite raises "integer overflow").
    """

    impl = Numeric(28, PLACES)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """BIGINT on SQLite, DECIMAL(28, 10) elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(28, PLACES))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Raises ValueError for an amount that can't be held, or only rounded."""
        if value is None:
            return None
        largest = largest_amount(dialect)
        if not value.is_finite() or value.copy_abs() > largest:
            raise ValueError(f"{value} can't be stored; the largest amount is {largest:,}")
        scaled = value.scaleb(PLACES, context=EXACT)
        whole = int(scaled)
        if whole != scaled:
            raise ValueError(f"{value} can't be stored exactly; an amount has at most {PLACES} decimal places")
        return whole if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - SQLAlchemy's
        """The amount as it was stored, where it is not a whole number."""
        return None if value is None else Decimal(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Decimal | None] | None:
        """On SQLite it makes amounts of whole numbers without a step of SQLAlchemy's for each: there are millions."""
        if dialect.name != "sqlite":
            return super().result_processor(dialect, coltype)
        multiply = EXACT.multiply
        return lambda whole: None if whole is None else multiply(whole, UNIT)


class Converted(TypeDecorator[Any]):
    """A column of another type: `write` makes of the code's value what is stored, and `read` of that the value."""

    impl = Unicode
    cache_ok = True

    def __init__(self, impl: TypeEngine[Any], write: Callable[[Any], Any], read: Callable[[Any], Any]) -> None:
        super().__init__()
        # The class's own is only the default.
        self.impl = impl  # type: ignore[assignment]
        self.write, self.read = write, read

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's
        """What is stored."""
        return None if value is None else self.write(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's
        """The value."""
        return None if value is None else self.read(value)


def fitted(length: int, kind: Callable[[int], TypeEngine[str]] = Unicode) -> TypeEngine[str]:
    """Text from outside, which is cut and cleaned as it is written and compared."""
    return Converted(kind(length), partial(fitting, longest=length), str)


def cleaned() -> TypeEngine[str]:
    """Text from outside of any length, which is cleaned as it is written and compared."""
    return Converted(UnicodeText(), storable, str)


def key_text(length: int) -> TypeEngine[str]:
    """Text that is compared letter by letter, as keys are: the usual collation of SQL Server knows no case."""
    return Unicode(length).with_variant(Unicode(length, "Latin1_General_100_BIN2"), "mssql")


def sorted_text(length: int) -> TypeEngine[str]:
    """Text that is sorted letter by letter, too, on every database: collations of PostgreSQL leave out signs."""
    return key_text(length).with_variant(Unicode(length, "C"), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, sortable as text on SQLite, with its offset elsewhere."""

    impl = String(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """ISO text on SQLite; TIMESTAMPTZ, DATETIMEOFFSET elsewhere."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        utc = value.astimezone(UTC)
        return utc.isoformat(timespec="microseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """The time in UTC."""
        if value is None:
            return None
        return datetime.fromisoformat(value) if dialect.name == "sqlite" else value.astimezone(UTC)
