"""`smoke-test`, and an installation whose costs are made up."""

from __future__ import annotations

import email
import json
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from shared.composition import Composition
from shared.messages import UpdateMessage, parse_email
from shared.settings import load
from tests.cli.commands import DIE1, PROJECT, Cli, queued, write_csv

OPERATORS = "platform-team@example.com"


def sent() -> list[EmailMessage]:
    files = sorted(Path(".local/outbox").glob("*.eml"))
    return [email.message_from_bytes(file.read_bytes(), policy=default) for file in files]


def test_one_of_every_kind_of_mail_reaches_the_operators(
    cli: Cli, app: Composition, queue_names: dict[str, str]
) -> None:
    app = Composition(load())
    said = cli("smoke-test")
    assert f"Queued for {OPERATORS}: 20 mails." in said.out
    for body in queued("QueueEmailNotification"):
        list(app.deliverer.deliver_each(parse_email(json.dumps(body)), "m1"))
    views = app.mails.listed(None, 100)
    assert {view.stored.state for view in views} == {"sent"}
    kinds = {path.parent.name for path in PROJECT.glob("shared/templates/*/subject.txt")}
    assert {view.stored.mail.template for view in views} == kinds
    for mail in sent():
        assert (mail["To"], mail["Cc"], mail["Bcc"]) == (OPERATORS, None, None)
    assert all(view.stored.mail.project_id is None for view in views)


def test_without_operators_there_is_nobody_to_send_it_to(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMAIL_OPERATORS")
    assert "EMAIL_OPERATORS is empty" in cli("smoke-test").err
    assert cli("mails", "list", "--json").json == []


def test_in_staging_with_made_up_costs_a_project_is_mailed_about_and_every_word_is_marked(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARDEN_STAGING", "true")
    monkeypatch.setenv("USE_MADE_UP_COSTS", "true")
    mark = "staging, made-up costs"
    loaded = cli("projects", "load", write_csv(DIE1.replace("annual,2026-04-01", "monthly,")))
    assert mark in loaded.err
    app = Composition(load())
    (check,) = app.updater.update(UpdateMessage(project_id=11), "m1")
    (alert,) = app.notifier.notify(check.message, "m2")
    app.deliverer.deliver(alert.message, "m3")
    (mail,) = sent()
    assert mail["To"] == OPERATORS
    assert mail["Subject"].strip().startswith(f"[{mark}] [DIE1]")
    assert f"[{mark}] For: ann@example.com" in mail.get_body(("plain",)).get_content()
    checked = cli("check", "--json")
    assert "USE_MADE_UP_COSTS tells the costs of " in checked.out
    assert "marked as" in checked.out
