"""Which texts are addresses."""

from __future__ import annotations

import pytest

from shared.adapters.mail import addresses
from shared.adapters.mail.addresses import valid_addresses


@pytest.mark.parametrize(
    "address",
    [
        "a@b.ca",
        "ann.o'hara+budget@sub.example.com",
        "user@corp.local",
        "user@mail.corp.internal",
        "x@test.example",
        "x@dept.gc.ca",
        "x_y-z@example.org",
    ],
)
def test_real_addresses_are_taken_as_they_are(address: str) -> None:
    assert valid_addresses([address]) == ((address,), ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "blank"),
        ("   ", "blank"),
        ("ann", "@-sign"),
        ("@b.ca", "before the @-sign"),
        ("ann@", "after the @-sign"),
        ("ann@gmail", "period"),
        ("a@b.ca\nBcc: c@d.ca", "line break"),
        ("a@b.ca\r", "line break"),
        ("a@b.ca\u2028c@d.ca", "line break"),
        ("a@b.ca, c@d.ca", "after the @-sign"),
        ("x" * 300 + "@b.ca", "too long"),
        ("a@" + "b." * 200 + "ca", "too long"),
        ("é@b.ca", "not supported"),
        ("\ud83d@b.ca", "not supported"),
        ("a@[10.0.0.1]", "not allowed"),
    ],
)
def test_what_is_no_address_is_left_out_with_the_reason(text: str, reason: str) -> None:
    valid, ((shown, why),) = valid_addresses([text])
    assert valid == () and shown == text
    assert reason in why


def test_the_same_domain_in_another_case_is_the_same_address() -> None:
    assert valid_addresses(["ann@B.ca", "ann@b.CA", "bob@b.ca"]) == (("ann@b.ca", "bob@b.ca"), ())


def test_a_name_before_the_address_is_dropped() -> None:
    assert valid_addresses([" Ann Lee <ann@b.ca> "]) == (("ann@b.ca",), ())


def test_a_domain_in_other_letters_comes_back_in_ascii() -> None:
    assert valid_addresses(["ann@bücher.example"]) == (("ann@xn--bcher-kva.example",), ())


def test_good_and_bad_ones_are_told_apart_in_their_order() -> None:
    valid, invalid = valid_addresses(["z@b.ca", "bad", "a@b.ca", "worse"])
    assert valid == ("z@b.ca", "a@b.ca")
    assert [text for text, _ in invalid] == ["bad", "worse"]


def test_two_mails_may_be_the_first_of_a_process_at_the_same_time() -> None:
    for _ in range(2):
        addresses._take_internal_domains.cache_clear()
        assert valid_addresses(["user@corp.local"]) == (("user@corp.local",), ())
