"""`projects forget`: who its people were goes; what was spent, told and decided stays."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from shared.composition import Composition
from shared.domain.deliveries import Delivery, DeliveryState, Role
from shared.messages import Queue
from shared.ports.mails import MailState, NewMail, Topic
from tests.cli.commands import DIE1, EAU, LOCKED, LOCKED_AT, Cli, decided, write_csv

AT = datetime(2026, 11, 20, 2, 12, tzinfo=UTC)
PEOPLE = ("ann@example.com", "bob@example.com", "cat@example.com")
OVER = DIE1.replace(",true", ",false") + ",Ann Example"
OWNED = "id,acronym,name,subscription_id,resource_groups,budget,currency,period,period_start,period_end,contacts,"
OWNED += "language,active,owner"


@pytest.fixture
def over(cli: Cli, app: Composition) -> Composition:
    """DIE1 is over. Of its mails one was sent, to all but one; one has failed, and one waits."""
    cli("projects", "load", write_csv(OVER, EAU + ",", header=OWNED))
    for key, state in (("1", "sent"), ("2", "failed"), ("3", "pending")):
        alert = NewMail(key, "alert", PEOPLE[:2], {"name": "x"}, cc=PEOPLE[2:], topic=Topic.ALERT, project_id=11)
        mail_id = app.mails.add(alert, AT)
        app.mails.claim(mail_id, "me", AT + timedelta(minutes=5), AT)
        refused = Delivery(PEOPLE[1], Role.TO, DeliveryState.REFUSED, f"550 no {PEOPLE[1]}")
        if state == "sent":
            app.mails.mark_sent(mail_id, "", (Delivery(PEOPLE[0], Role.TO, DeliveryState.TAKEN), refused), AT)
        elif state == "failed":
            app.mails.mark_failed(mail_id, "me", f"reaches nobody ({PEOPLE[0]})")
            app.letters.record(Queue.EMAIL, f'{{"EmailId": {mail_id}}}', f"reaches nobody ({PEOPLE[0]})", "a", AT)
        else:
            app.mails.release(mail_id, "me", f"busy: {PEOPLE[0]}", AT, (refused,))
    told = {"subject": "Mails could not be sent", "intro": "", "lines": [f"no {PEOPLE[0]}"], "advice": None}
    app.mails.add(NewMail("n", "notice", ("ops@example.com",), told, topic=Topic.MAILS_FAILED), AT)
    app.letters.record(Queue.EMAIL, '{"EmailId": 99}', "eve@example.com", "b", AT)
    decided(app, LOCKED, None, LOCKED_AT)
    return app


def test_no_address_of_its_people_is_left_anywhere(cli: Cli, over: Composition) -> None:
    outcome = cli("projects", "forget", "die1")
    assert outcome.out == "Forgotten: 1 contact, 3 mails, 1 dead letter.\n"
    dump = "\n".join(sqlite3.connect(over.database.url.database or "").iterdump())
    assert [who for who in (*PEOPLE, "Ann Example") if who in dump] == []
    assert "eve@example.com" in dump
    assert "ops@example.com" in dump


def test_what_was_decided_stays_and_no_mail_goes_out_again(cli: Cli, over: Composition) -> None:
    before = cli("audit", "DIE1", "--json").json
    cli("projects", "forget", "DIE1")
    assert cli("audit", "DIE1", "--json").json == before != []
    states = {each["id"]: each["state"] for each in cli("mails", "list", "DIE1", "--json").json}
    assert states == {1: MailState.SENT, 2: MailState.FAILED, 3: MailState.FAILED}
    again = NewMail("3", "alert", PEOPLE, {"name": "x"}, topic=Topic.ALERT, project_id=11)
    assert over.mails.add(again, AT) == 3
    assert over.mails.get(3).mail.to == ()
    assert over.mails.stuck(AT + timedelta(days=2)) == [4]
    assert "forgotten" in cli("mails", "resend", "1", "--to", "x@example.com").err
    assert cli("projects", "forget", "DIE1", "--json").json == {"contacts": 0, "mails": 3, "letters": 0}


def test_an_active_projects_people_are_not_forgotten(cli: Cli, over: Composition) -> None:
    outcome = cli("projects", "forget", "EAU")
    assert outcome.code == 2
    assert "EAU is active" in outcome.err
    assert cli("projects", "forget", "NOBODY").code == 2
