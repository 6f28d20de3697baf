"""Stored charges as FOCUS files, for whoever reckons with them elsewhere."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from shared.domain.charges import CostMetric
from shared.domain.coverage import DAY, Gap
from shared.domain.periods import Period
from shared.domain.texts import readable
from shared.ports.clock import Clock
from shared.ports.focus import ChargeStore, FocusFormat, FocusWriter, Given
from shared.ports.projects import ProjectLedger
from shared.ports.spending import Selection, SpendingLedger
from shared.services.costs import asked_days, known_sub_account
from shared.services.errors import RequestError
from shared.services.projects import view_of


@dataclass(frozen=True, slots=True)
class FocusWish:
    """Which charges a person wants, as they wrote it. first, last: days. Without projects or subscriptions: all.

    provider: whose the subscriptions, or other sub-accounts, are.
    """

    first: str
    last: str
    projects: Sequence[str] = ()
    subscriptions: Sequence[str] = ()
    provider: str = ""


@dataclass(frozen=True, slots=True)
class FocusService:
    """Raises LaterError where the database is away. metric: which cost is stored."""

    projects: ProjectLedger
    spending: SpendingLedger
    charges: ChargeStore
    writer: FocusWriter
    metric: CostMetric
    clock: Clock

    def selected(self, wish: FocusWish) -> list[Selection]:
        """What the wish comes to. Raises RequestError; UnknownProjectError among them."""
        days, now = self._days(wish), self.clock()
        ids = sorted({view_of(self.projects, name, now).project.id for name in wish.projects})
        accounts = sorted({known_sub_account(self.spending, written, wish.provider) for written in wish.subscriptions})
        every = Selection(days, ids or None)
        return [replace(every, provider=provider, sub_account_id=account) for provider, account in accounts] or [every]

    def lacking(self, which: Sequence[Selection]) -> list[Gap]:
        """What the charges lack."""
        return [gap for each in which for gap in self.spending.lacking(each, self.clock().date())]

    def write(self, which: Sequence[Selection], path: Path, form: FocusFormat, force: bool = False) -> Given:
        """Writes a file, which is there whole or not at all; of a link, what it leads to.

        force: even where there is one already. Raises RequestError; NeverError where it can't be written.
        """
        if path.is_dir():
            raise RequestError(f"{_named(path)} is a folder; name a file in it")
        if path.exists() and not path.is_file():
            raise RequestError(f"{_named(path)} is a device or a pipe; name a file, or - for the standard output")
        if path.exists() and not force:
            raise _taken(path)
        if path.is_symlink():
            # What is moved to a link's place would take it, and leave what it leads to as it was.
            path = Path(os.path.realpath(path))
        if not path.parent.is_dir():
            raise RequestError(f"there is no folder {_named(path.parent)}")
        with self.charges.charges(which) as charges, _moved_into_place(path, force) as unfinished:
            return self.writer.write(charges, self.metric, unfinished, form)

    def stream(self, which: Sequence[Selection], out: BinaryIO) -> Given:
        """Writes CSV. Raises OSError."""
        with self.charges.charges(which) as charges:
            return self.writer.stream(charges, self.metric, out)

    def _days(self, wish: FocusWish) -> Period:
        first, last = asked_days(wish.first, wish.last)
        if first is None or last is None:
            raise RequestError("say from which day to which")
        today = self.clock().date()
        if last > today:
            raise RequestError(f"the last day, {last}, is in the future (today is {today}, in UTC)")
        return Period(first, last + DAY)


@contextmanager
def _moved_into_place(path: Path, force: bool) -> Iterator[Path]:
    """Where to write what is to be called so, once all of it is there. force: though something is called so by then."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield unfinished
        if not force:
            _claim(path)
        unfinished.replace(path)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


def _claim(path: Path) -> None:
    """Makes the file, as only one of two that write at once can. Raises RequestError."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        raise _taken(path) from None


def _taken(path: Path) -> RequestError:
    return RequestError(f"{_named(path)} is there already; take another name, or add --force")


def _named(path: Path) -> str:
    return readable(str(path), 200)
