"""Sealing: what is sealed opens by its key and in its place alone, and says in words why it does not."""

from __future__ import annotations

from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.sealing import KeyRing, key_id_of
from shared.ports.errors import NeverError

NOW, OLD = bytes(range(32)), bytes(range(32, 64))
RING = KeyRing({"now": NOW, "old": OLD})
PLACE, WHOSE = "cloud_accounts.credentials.7", "The keys of 7"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_what_is_sealed_opens_again(text: str) -> None:
    assert RING.unseal(RING.seal(text, PLACE), PLACE, WHOSE) == text


def test_a_sealed_text_has_its_form_and_is_never_the_same_twice() -> None:
    sealed = RING.seal("secret", PLACE)
    form, key_id, content = sealed.split(".")
    assert (form, key_id, key_id_of(sealed)) == ("v1", "now", "now")
    raw = urlsafe_b64decode(content + "=" * (-len(content) % 4))
    assert len(raw) == 12 + len(b"secret") + 16
    # By the library alone: AES-256-GCM, bound to the form, the key and the place.
    assert AESGCM(NOW).decrypt(raw[:12], raw[12:], f"v1.now.{PLACE}".encode()) == b"secret"
    assert len({RING.seal("secret", PLACE) for _ in range(100)}) == 100


def test_an_older_key_still_opens_what_it_sealed() -> None:
    sealed = KeyRing({"old": OLD}).seal("secret", PLACE)
    assert RING.unseal(sealed, PLACE, WHOSE) == "secret"


def refused(ring: KeyRing, sealed: str, place: str = PLACE) -> str:
    with pytest.raises(NeverError) as error:
        ring.unseal(sealed, place, WHOSE)
    # Nothing that was tried hangs on the error.
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return error.value.reason


def test_a_text_that_was_moved_to_another_row_does_not_open() -> None:
    assert "moved from another row" in refused(RING, RING.seal("secret", PLACE), "cloud_accounts.credentials.8")


def test_a_text_of_which_any_letter_was_changed_or_that_was_cut_does_not_open() -> None:
    sealed = RING.seal("secret", PLACE)
    start = sealed.rindex(".") + 1
    for at in range(start, len(sealed) - 1):
        other = "A" if sealed[at] != "A" else "B"
        assert WHOSE in refused(RING, sealed[:at] + other + sealed[at + 1 :])
        assert WHOSE in refused(RING, sealed[:at])


def test_a_text_under_the_name_of_another_key_does_not_open() -> None:
    sealed = RING.seal("secret", PLACE).replace("v1.now.", "v1.old.")
    assert "do not open by the key 'old'" in refused(RING, sealed)


def test_a_key_that_left_the_ring_is_named_with_what_to_do() -> None:
    sealed = KeyRing({"gone": OLD}).seal("secret", PLACE)
    assert refused(RING, sealed) == (
        "The keys of 7 are sealed by the key 'gone', which ENCRYPTION_KEYS does not have: add it behind the current "
        "one; `python -m shared.cli cloud-accounts reseal` then seals them anew."
    )


@pytest.mark.parametrize("text", ["", "secret", "v1.now.", "v1.now.AAAA", "v2.now.AAAA", "v1.now.é", "v1.now.A"])
def test_what_is_no_sealed_text_is_called_damaged(text: str) -> None:
    assert refused(RING, text) == "The keys of 7 are damaged: what is stored is no sealed text. Give them again."


def test_without_keys_nothing_is_sealed_and_the_setting_is_named() -> None:
    with pytest.raises(NeverError, match="ENCRYPTION_KEYS is missing"):
        KeyRing({}).seal("secret", PLACE)


def test_a_ring_shows_no_key() -> None:
    assert repr(RING) == "KeyRing()"
