"""What became of a mail for each of its recipients."""

from __future__ import annotations

import pytest

from shared.domain.deliveries import Delivery, DeliveryState, Role, all_final, has_arrived, in_words, merged, missing

LATER, REFUSED, TAKEN = DeliveryState.LATER, DeliveryState.REFUSED, DeliveryState.TAKEN


def delivery(state: DeliveryState, role: Role = Role.TO, recipient: str = "a@b.ca") -> Delivery:
    return Delivery(recipient, role, state, None if state is TAKEN else "because")


@pytest.mark.parametrize(
    ("before", "news", "after"),
    [
        (LATER, TAKEN, TAKEN),
        (LATER, REFUSED, REFUSED),
        (REFUSED, TAKEN, TAKEN),
        (REFUSED, LATER, REFUSED),
        (TAKEN, LATER, TAKEN),
        (TAKEN, REFUSED, TAKEN),
    ],
)
def test_what_is_final_stays_and_what_was_taken_is_taken(
    before: DeliveryState, news: DeliveryState, after: DeliveryState
) -> None:
    assert merged([delivery(before)], [delivery(news)]) == (delivery(after),)


def test_a_recipient_may_be_one_in_two_ways() -> None:
    both = delivery(REFUSED), delivery(TAKEN, Role.BCC)
    assert merged(both[:1], both[1:]) == both


@pytest.mark.parametrize(
    ("role", "blind_copies_count", "arrived"),
    [
        (Role.TO, False, True),
        (Role.CC, False, True),
        (Role.INSTEAD, False, True),
        (Role.BCC, False, False),
        (Role.BCC, True, True),
    ],
)
def test_a_mail_has_arrived_when_somebody_has_it_for_whom_it_is(
    role: Role, blind_copies_count: bool, arrived: bool
) -> None:
    assert has_arrived([delivery(REFUSED), delivery(TAKEN, role, "x@b.ca")], blind_copies_count) is arrived
    assert not has_arrived([delivery(REFUSED), delivery(LATER, role, "x@b.ca")], blind_copies_count)


def test_who_is_not_asked_any_more_is_refused_with_the_reason_so_far() -> None:
    ended = all_final([delivery(TAKEN), delivery(LATER, recipient="c@b.ca")], lambda reason: f"given up: {reason}")
    assert missing(ended) == []
    assert ended[1] == Delivery("c@b.ca", Role.TO, REFUSED, "given up: because")
    assert in_words(ended[1:]) == "c@b.ca (given up: because)"
