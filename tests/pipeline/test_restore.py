"""A backup that is restored as the run book says: what happened since is neither mailed nor locked again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from shared.adapters.database.engine import Database
from shared.domain.locks import LockMode
from shared.messages import LockAction, Queue
from shared.ports.azure import ResourceGroup
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry

DAY = date(2026, 11, 12)
FIRST = {11: "300", 12: "600", 13: "1010", 14: "1020"}
SECOND = {11: "850", 12: "1050", 13: "1011", 14: "1021"}
RAISED = entry(14, "9000")


@pytest.fixture
def chain(sqlite_url: str) -> Chain:
    chain = Chain(Database(sqlite_url), lock_mode=LockMode.ENFORCE)
    chain.load(*map(entry, FIRST))
    for project_id in FIRST:
        chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, f"rg-{project_id}"))
    return chain


def night(chain: Chain, spent: dict[int, str]) -> None:
    chain.clock.forward(days=1)
    for project_id, amount in spent.items():
        chain.spend(amount, DAY, f"rg-{project_id}")
    chain.night()


def copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


def locked(chain: Chain) -> set[str]:
    return {group for (_, group), held in chain.azure_locks.groups.items() if held}


def orders_of_the_day(chain: Chain) -> None:
    """13 is unlocked by hand, and 14 gets a larger budget."""
    chain.app.lock_service.order("P13", LockAction.UNLOCK, "agreed", "ann")
    chain.load(RAISED)


def without_mails(chain: Chain) -> None:
    """All but EmailNotificationHandler, which is switched off: its messages wait, and change nothing."""
    while taken := [each for each in chain.queues.take() if each[0] is not Queue.EMAIL]:
        for queue, text, _ in taken:
            chain.work(queue, text)


def test_after_a_restore_nothing_is_mailed_and_nothing_is_locked_again(chain: Chain, tmp_path: Path) -> None:
    night(chain, FIRST)
    assert locked(chain) == {"rg-13", "rg-14"}
    copy(tmp_path / "warden.db", tmp_path / "backup.db")
    orders_of_the_day(chain)
    night(chain, SECOND)
    assert locked(chain) == {"rg-12"}
    mailed, called = len(chain.mailer.sent), len(chain.azure_locks.calls)

    chain.database.close()
    copy(tmp_path / "backup.db", tmp_path / "warden.db")
    orders_of_the_day(chain)
    chain.run_now()
    without_mails(chain)
    assert len(chain.app.mail_service.discard(None, "restored", "ann")) >= 2
    for _ in range(3):
        night(chain, SECOND)
        chain.look()
        chain.drain()
    again = [mail.subject for mail in chain.mailer.sent[mailed:]]
    assert again == []
    assert locked(chain) == {"rg-12"}
    assert [call for call in chain.azure_locks.calls[called:] if call[0] == "put" and call[1] != "rg-12"] == []
