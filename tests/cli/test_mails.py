"""`mails`: what became of them, and sending one again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from shared.cli.app import user_name
from shared.composition import Composition
from shared.domain.deliveries import Delivery, DeliveryState, Role
from shared.ports.mails import NewMail, Topic
from tests.cli.commands import DIE1, EAU, Cli, queued, write_csv

AT = datetime(2026, 11, 20, 2, 12, tzinfo=UTC)
BOTH = ("ann@example.com", "bob@example.com")


@pytest.fixture
def mailed(cli: Cli, app: Composition) -> Composition:
    """Of DIE1 an alert that one of two has not got; a notice that failed; of EAU an alert that waits."""
    cli("projects", "load", write_csv(DIE1, EAU))
    alert = NewMail(
        "1", "alert", BOTH, {}, topic=Topic.ALERT, project_id=11, threshold=80, period_start=date(2026, 4, 1)
    )
    notice = NewMail("2", "notice", ("ops@example.com",), {"subject": "Costs could not be read"}, topic=Topic.OTHER)
    waiting = NewMail("3", "alert", ("eve@example.com",), {}, topic=Topic.ALERT, project_id=12, threshold=50)
    for mail in (alert, notice, waiting):
        app.mails.claim(app.mails.add(mail, AT), "me", AT + timedelta(minutes=5), AT)
    refused = Delivery(BOTH[1], Role.TO, DeliveryState.REFUSED, "550 unknown")
    app.mails.mark_sent(1, "", (Delivery(BOTH[0], Role.TO, DeliveryState.TAKEN), refused), AT)
    app.mails.mark_failed(2, "me", "no recipient")
    app.mails.release(3, "me", "the server is busy (421)", AT + timedelta(hours=1))
    return app


def test_the_last_mails_are_listed_with_what_became_of_them(cli: Cli, mailed: Composition) -> None:
    waits, failed, sent = cli("mails", "list", "--json").json
    assert (sent["acronym"], sent["topic"], sent["threshold"], sent["state"]) == ("DIE1", "alert", 80, "sent")
    assert (sent["to"], sent["arrived"], sent["sent_at"]) == ([*BOTH], False, "2026-11-20T02:12:00+00:00")
    assert {each["recipient"]: each["state"] for each in sent["deliveries"]} == {BOTH[0]: "taken", BOTH[1]: "refused"}
    assert (failed["subject"], failed["state"], failed["reason"]) == (
        "Costs could not be read",
        "failed",
        "no recipient",
    )
    assert (waits["state"], waits["due_at"]) == ("pending", "2026-11-20T03:12:00+00:00")


def test_people_read_about_what_each_was_and_who_lacks_it(cli: Cli, mailed: Composition) -> None:
    _, waits, failed, sent = cli("mails", "list").out.splitlines()
    assert "EAU" in waits
    assert "50 %" in waits
    assert "the server is busy (421); tried next at 2026-11-20 03:12 UTC" in waits
    assert "Costs could not be read" in failed
    assert "sent in part" in sent
    assert "not for bob@example.com (550 unknown)" in sent


def test_one_projects_mails_or_those_that_have_not_arrived(cli: Cli, mailed: Composition) -> None:
    def ids(*arguments: str) -> list[int]:
        return [each["id"] for each in cli("mails", "list", *arguments, "--json").json]

    assert ids("die1") == [1]
    assert ids("--limit", "1") == [3]
    assert ids("--unsent") == [3, 2, 1]
    mailed.mails.mark_sent(3, "", (Delivery("eve@example.com", Role.TO, DeliveryState.TAKEN),), AT)
    assert ids("--unsent") == [2, 1]
    assert ids("EAU", "--unsent") == []
    assert cli("mails", "list", "EAU", "--unsent").out == "There is no such mail.\n"
    assert cli("mails", "list", "NOBODY").code == 2


def asked_for() -> list[int]:
    """The mails that were asked for on the queue, each with when that was."""
    sent = queued("QueueEmailNotification")
    assert all(each.keys() == {"EmailId", "Replayed", "FirstQueuedAt"} for each in sent)
    return [each["EmailId"] for each in sent]


@pytest.mark.parametrize("mail_id", [2, 3])
def test_a_mail_that_has_failed_or_waits_is_asked_for_itself(
    cli: Cli, mailed: Composition, queue_names: dict[str, str], mail_id: int
) -> None:
    assert f"Mail {mail_id} is queued for " in cli("mails", "resend", str(mail_id)).out
    assert asked_for() == [mail_id]


def test_a_mail_that_was_sent_goes_out_a_second_time_as_it_was_written(
    cli: Cli, mailed: Composition, queue_names: dict[str, str]
) -> None:
    resent = cli("mails", "resend", "1", "--json").json
    assert resent == {"mail_id": 4, "to": [*BOTH]}
    assert asked_for() == [4]
    before, after = mailed.mails.get(1), mailed.mails.get(4)
    assert before is not None
    assert after is not None
    assert (after.mail.topic, after.mail.threshold, after.mail.to) == (Topic.ALERT, 80, BOTH)
    assert after.mail.key.startswith("again/1/2026-11-20T12:00")
    assert after.mail.key.endswith(f"/{user_name()}")
    # A reader's mail program would take it for the one that it has.
    assert after.message_id != before.message_id


def test_a_mail_can_be_sent_to_others_only(cli: Cli, mailed: Composition, queue_names: dict[str, str]) -> None:
    assert cli("mails", "resend", "3", "--to", "new@example.com", "--json").json["to"] == ["new@example.com"]
    waits, sent = mailed.mails.get(3), mailed.mails.get(4)
    assert waits is not None
    assert sent is not None
    assert (waits.mail.to, sent.mail.to) == (("eve@example.com",), ("new@example.com",))


def test_a_mail_that_was_sent_again_to_whoever_lacked_it_is_no_longer_unsent(
    cli: Cli, mailed: Composition, queue_names: dict[str, str]
) -> None:
    def resent(mail_id: int, address: str, state: DeliveryState, role: Role = Role.TO) -> int:
        copy: int = cli("mails", "resend", str(mail_id), "--to", address, "--json").json["mail_id"]
        mailed.mails.claim(copy, "me", AT + timedelta(minutes=5), AT)
        mailed.mails.mark_sent(copy, "", (Delivery(address, role, state, "450 full"),), AT)
        return copy

    def unsent() -> list[int]:
        return [each["id"] for each in cli("mails", "list", "--unsent", "--json").json]

    resent(1, BOTH[0], DeliveryState.TAKEN)
    assert unsent() == [3, 2, 1], "who has it already is not who lacked it"
    resent(1, BOTH[1], DeliveryState.TAKEN, Role.INSTEAD)
    again = resent(1, BOTH[1], DeliveryState.REFUSED)
    assert unsent() == [again, 3, 2, 1]
    resent(again, BOTH[1], DeliveryState.TAKEN)
    assert unsent() == [3, 2], "a copy's copy counts for both"
    for mail_id in (2, 3):
        resent(mail_id, "new@example.com", DeliveryState.TAKEN)
    assert unsent() == [3], "another address stands for one that failed; what waits is still to be sent"


def test_a_second_mail_that_can_not_be_queued_is_said_to_be_on_its_way(cli: Cli, mailed: Composition) -> None:
    outcome = cli("mails", "resend", "1")
    assert (outcome.code, outcome.out) == (0, f"Mail 4 is written for {', '.join(BOTH)}.\n")
    assert "the watchdog has it sent, within eight hours at most: don't ask for it again" in outcome.err
    assert cli("mails", "resend", "2").code == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["9"], "there is no mail 9"), (["1", "--to", "nobody"], "'nobody' is no mail address"), (["x"], "'ID")],
)
def test_what_can_not_be_sent_is_refused(cli: Cli, mailed: Composition, arguments: list[str], sentence: str) -> None:
    outcome = cli("mails", "resend", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence in outcome.err
    assert mailed.mails.get(4) is None


def test_mails_that_wait_are_put_aside_with_a_reason(cli: Cli, mailed: Composition) -> None:
    assert cli("mails", "discard", "3", "--all", "--reason", "x").code == 2
    assert cli("mails", "discard", "3", "--reason", " ").code == 2
    refused = cli("mails", "discard", "9", "3", "--reason", "restored").err
    assert "nothing is left to be put aside" in refused and ": 9; put aside: 3" in refused
    assert "Put aside: 0 mails." in cli("mails", "discard", "--all", "--reason", "restored").out
    (waited,) = [each for each in cli("mails", "list", "--json").json if each["id"] == 3]
    assert (waited["state"], waited["reason"]) == ("failed", f"put aside by {user_name()}: restored")


def test_what_was_put_aside_needs_no_hand_any_more(cli: Cli, mailed: Composition) -> None:
    def needs_hand() -> bool:
        return "not delivered to all" in cli("status", "--quiet").out

    assert needs_hand()
    assert cli("mails", "discard", "1", "2", "3", "--reason", "drill").out == "Put aside: 3 mails.\n"
    assert not needs_hand()
    assert cli("mails", "list", "--unsent", "--json").json == []
    assert [line.count("put aside by") for line in cli("mails", "list").out.splitlines()[1:]] == [1, 1, 1]
