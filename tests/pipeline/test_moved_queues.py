"""Queues that are moved in the middle of a night: what lay on the old ones is sent again onto the new.

As the run book says, after a `run`: the watchdog does not ask for a lock again, the next check does.
"""

from __future__ import annotations

from datetime import date

import pytest

from shared.domain.locks import LockMode
from shared.messages import Queue
from shared.ports.azure import ResourceGroup
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry

DAY = date(2026, 11, 12)


@pytest.mark.parametrize("lost", list(Queue))
def test_what_lay_on_the_old_queues_is_sent_again_within_the_hour(chain: Chain, lost: Queue) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.load(entry(11), entry(12))
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-12"))
    chain.spend("850", DAY)
    chain.spend("1010", DAY, "rg-12")
    chain.tonight()
    while taken := chain.queues.take():
        for queue, text, _ in taken:
            if queue is not lost:
                chain.work(queue, text)
    for _ in range(4):
        chain.clock.forward(minutes=16)
        chain.look()
        chain.drain()
    chain.run_now()
    chain.drain()
    assert sorted(subject.split("]")[0] for subject in chain.subjects()) == ["[P11", "[P12"]
    assert "rg-12" in {group for (_, group), held in chain.azure_locks.groups.items() if held}
