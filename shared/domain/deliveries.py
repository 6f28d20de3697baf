"""What became of a mail for each of its recipients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Role(StrEnum):
    """Why somebody gets a mail. `instead`: an operator, since it reaches nobody for whom it is."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"
    INSTEAD = "instead"


class DeliveryState(StrEnum):
    """What the provider says of a recipient. The last two are final."""

    LATER = "later"
    REFUSED = "refused"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a mail for one recipient. reason: in the words of who refused it."""

    recipient: str
    role: Role
    state: DeliveryState
    reason: str | None = None

    @property
    def key(self) -> tuple[Role, str]:
        """Whose it is, within its mail."""
        return self.role, self.recipient


def merged(known: Iterable[Delivery], news: Iterable[Delivery]) -> tuple[Delivery, ...]:
    """All that is known with the news: what was taken stays so, and what was refused for good is at most taken."""
    found = {each.key: each for each in known}
    for each in news:
        before = found.get(each.key)
        if before is None or before.state is DeliveryState.LATER or each.state is DeliveryState.TAKEN:
            found[each.key] = each
    return tuple(found.values())


def missing(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Who is to be asked again."""
    return [each for each in deliveries if each.state is DeliveryState.LATER]


def taken(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Who has it."""
    return [each for each in deliveries if each.state is DeliveryState.TAKEN]


def refused(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Whose address does not work."""
    return [each for each in deliveries if each.state is DeliveryState.REFUSED]


def is_made_up_for(deliveries: Iterable[Delivery], again: Iterable[Delivery]) -> bool:
    """Whether nobody lacks a mail any more, by what became of its copies: whoever was refused has one, or an address
    that the mail did not have, and that stands for whoever lacks it.
    """
    having = {each.recipient for each in taken(again) if each.role is not Role.INSTEAD}
    lacking = {each.recipient for each in deliveries if each.state is not DeliveryState.TAKEN}
    known = {each.recipient for each in deliveries}
    return bool(having - known) or bool(having and lacking <= having)


def is_for(delivery: Delivery, blind_copies_count: bool) -> bool:
    """Whether the recipient is one of those for whom the mail is. blind_copies_count: they may be all it is for."""
    return blind_copies_count or delivery.role is not Role.BCC


def has_arrived(deliveries: Iterable[Delivery], blind_copies_count: bool) -> bool:
    """Whether somebody has it for whom it is, or an operator instead."""
    return any(each.state is DeliveryState.TAKEN and is_for(each, blind_copies_count) for each in deliveries)


def all_final(deliveries: Iterable[Delivery], why: Callable[[str], str]) -> tuple[Delivery, ...]:
    """Nobody is asked any more: who was to be asked again counts as refused. why: of the reason so far, says so."""
    return tuple(
        replace(each, state=DeliveryState.REFUSED, reason=why(each.reason or ""))
        if each.state is DeliveryState.LATER
        else each
        for each in deliveries
    )


def in_words(deliveries: Iterable[Delivery]) -> str:
    """Who does not have it, and why; each recipient once."""
    return "; ".join(dict.fromkeys(f"{each.recipient} ({each.reason})" for each in deliveries))
