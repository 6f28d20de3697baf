"""A revision that changes neither the amount nor the period repeats nothing: no mail, no notice, no lock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.domain.locks import LockMode
from shared.domain.projects import ProjectEntry
from shared.messages import LockAction
from tests.pipeline.conftest import Chain, entry
from tests.pipeline.test_lock import (
    BEING_LOCKED,
    DAY,
    NOT_LOCKED,
    RG,
    is_locked,
    never_put,
    to_contacts,
    to_operators,
    unwell_for_a_day,
    used,
)
from tests.pipeline.test_notify import with_terms


@pytest.fixture
def told(chain: Chain) -> Chain:
    chain.azure_locks.add_group(RG)
    return chain


def nights_after(chain: Chain, *entries: ProjectEntry) -> None:
    """Loads each, and has a night after it."""
    for each in entries:
        chain.load(each)
        chain.tonight()
        chain.work_off(24)


def test_that_a_project_has_no_budget(told: Chain) -> None:
    none = entry(amount=None)
    nights_after(told, none, with_terms(none, thresholds=(90,)), with_terms(none, thresholds=(80,)))
    assert to_operators(told) == ["P11 has no budget"]
    nights_after(told, entry(), none)
    assert to_operators(told) == ["P11 has no budget"] * 2


def test_that_its_costs_are_in_another_currency(told: Chain) -> None:
    told.load(entry(currency="USD"))
    used(told, "10")
    before = to_operators(told)
    nights_after(told, with_terms(entry(currency="USD"), thresholds=(90,)))
    assert to_operators(told) == before == ["P11 can't be watched: two currencies"]


def test_what_a_rehearsal_would_do(told: Chain) -> None:
    told.configure(lock_mode=LockMode.DRY_RUN)
    told.load(entry())
    used(told, "1000")
    nights_after(told, with_terms(entry(), thresholds=(90, 100)), with_terms(entry(), thresholds=(100,)))
    assert to_operators(told) == ["P11 would be locked now"]
    nights_after(told, entry(amount="900"))
    assert to_operators(told) == ["P11 would be locked now"] * 2


def test_a_lock_that_an_operator_has_taken_off(told: Chain) -> None:
    told.configure(lock_mode=LockMode.ENFORCE)
    told.load(entry())
    used(told, "1000")
    told.clock.forward(seconds=1)
    told.lock_service.order("P11", LockAction.UNLOCK, "needed", "olga")
    told.drain()
    nights_after(told, with_terms(entry(), thresholds=(90,)), with_terms(entry(), thresholds=(90, 100)))
    assert not is_locked(told)
    nights_after(told, entry(amount="900"))
    assert is_locked(told)


def test_that_a_lock_could_not_be_put_on(told: Chain) -> None:
    told.configure(lock_mode=LockMode.ENFORCE)
    never_put(told)
    told.load(entry())
    used(told, "1000")
    nights_after(told, with_terms(entry(), thresholds=(90, 100)), with_terms(entry(), thresholds=(100,)))
    assert to_contacts(told) == [BEING_LOCKED, NOT_LOCKED]
    told.azure_locks.fails = lambda _call, _group: None
    told.clock.now += timedelta(minutes=1)
    used(told, "1000")
    assert is_locked(told)
    assert len(to_contacts(told)) == 3


def test_a_lock_of_which_contacts_had_read_before_the_revision(told: Chain) -> None:
    told.configure(lock_mode=LockMode.ENFORCE)
    told.load(entry())
    unwell_for_a_day(told)
    told.spend("1000", DAY)
    told.tonight()
    told.work_off(1)
    told.load(with_terms(entry(), thresholds=(100,)))
    told.azure_locks.fails = lambda _call, _group: None
    told.work_off(1)
    assert is_locked(told)
    assert to_contacts(told) == [BEING_LOCKED]
