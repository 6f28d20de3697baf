"""Which sub-accounts a cloud account may read that another one has read."""

from __future__ import annotations

from datetime import date

import pytest

from shared.domain.members import Claim, Held, has_moved, is_free

LEFT = date(2026, 11, 20)
NOBODYS = Held()
OWN = Held(by=1, is_read=True)
PAYERS = Held(by=1, is_read=True, is_payers=True, is_listed=True)
LEFT_PAYERS = Held(by=1, is_read=True, is_payers=True, is_listed=True, left_on=LEFT)
UNLISTED = Held(by=1, is_read=True, is_payers=True)
MEETS, LISTS = Claim(2, lists=True), Claim(2, lists=True, is_active=True)
CANT_LIST, ITSELF = Claim(2), Claim(2, is_itself=True)


@pytest.mark.parametrize(
    ("held", "free_for"),
    [
        (NOBODYS, {MEETS, LISTS, CANT_LIST, ITSELF}),
        (Held(by=1, is_read=False), {MEETS, LISTS, CANT_LIST, ITSELF}),
        (Held(by=1, is_payers=True, is_listed=True), {MEETS, LISTS, CANT_LIST, ITSELF}),
        (Held(by_exports=True), set()),
        (Held(by=1, by_exports=True, left_on=LEFT), set()),
        (OWN, set()),
        (PAYERS, set()),
        (LEFT_PAYERS, {LISTS, CANT_LIST, ITSELF}),
        (UNLISTED, {LISTS}),
    ],
)
def test_a_sub_account_is_free_once_its_source_has_let_it_go(held: Held, free_for: set[Claim]) -> None:
    assert {claim for claim in (MEETS, LISTS, CANT_LIST, ITSELF) if is_free(held, claim)} == free_for
    assert is_free(held, Claim(1)) is (held.by == 1 or held is NOBODYS)


@pytest.mark.parametrize(
    ("held", "claim", "moved"),
    [
        (NOBODYS, LISTS, True),
        (NOBODYS, ITSELF, False),
        (Held(by=1), LISTS, False),
        (Held(by=1, is_payers=True), LISTS, True),
        (Held(by=1, is_payers=True), ITSELF, False),
        (LEFT_PAYERS, ITSELF, True),
        (Held(left_on=LEFT), ITSELF, True),
    ],
)
def test_what_was_another_organization_s_is_told_by_nobody_else(held: Held, claim: Claim, moved: bool) -> None:
    assert has_moved(held, claim) is moved
