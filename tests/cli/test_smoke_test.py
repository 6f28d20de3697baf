"""`smoke-test`, and an installation whose costs are made up."""

from __future__ import annotations

import email
import json
from decimal import Decimal
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from shared.composition import Composition
from shared.messages import UpdateMessage, parse_email
from shared.settings import load
from tests.cli.commands import DIE1, FIRST, HEADER, PROJECT, Cli, queued, write_csv

OPERATORS = "platform-team@example.com"
PAYER, SHOP = "200000000002", "300000000003"


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


def test_an_organization_at_aws_is_made_up_too_and_a_project_over_two_clouds_has_one_figure_and_a_marked_mail(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USE_MADE_UP_COSTS", "true")
    both = DIE1.replace("annual,2026-04-01", "monthly,") + f",{SHOP}"
    cli("projects", "load", write_csv(both, header=f"{HEADER},aws_accounts"))
    add = ("cloud-accounts", "add", "aws", "--name", "prod", "--role-arn", f"arn:aws:iam::{PAYER}:role/costs")
    assert "made-up costs" in cli(*add, "--payer").err
    tried = cli("cloud-accounts", "test", "2")
    assert (tried.code, tried.out) == (0, "Cloud account 2 (prod) can be read.\n")
    assert "Its costs are made up (USE_MADE_UP_COSTS): AWS was not asked." in tried.err
    app = Composition(load())
    checks = [*app.updater.update(UpdateMessage(subscription_id=FIRST), "m1")]
    checks += app.updater.update(UpdateMessage(cloud_account_id=2), "m2")
    mails = [mail for check in checks for mail in app.notifier.notify(check.message, "m3")]
    for number, mail in enumerate(mails):
        app.deliverer.deliver(mail.message, f"m{4 + number}")
    shown = cli("cloud-accounts", "show", "2", "--json").json
    names = {each["id"]: each["name"] for each in shown["members"]}
    assert (names[PAYER], names[SHOP], len(names)) == ("prod", "Data innovation", 4)
    assert (shown["status"], shown["calls_today"], shown["cost_today"]) == ("active", 0, "0.00 USD")
    assert shown["syncs"][0]["errors"] == []
    costs = cli("costs", "DIE1", "--by", "sub-account", "--json").json["costs"]
    sums = {each["sub_account_id"]: Decimal(each["cost"]) for each in costs}
    # It has two groups in Azure.
    assert round(sums[FIRST] / sums[SHOP], 6) == 2
    assert Decimal(cli("projects", "show", "DIE1", "--json").json["spent"]) == sums[FIRST] + sums[SHOP]
    assert sent()
    assert all(mail["Subject"].strip().startswith("[made-up costs] [DIE1]") for mail in sent())
